"""Starting: how long `import kiv_engine` takes, and `./kiv --help` where it has been set up.

Fresh processes that import it alternate with empty ones; the difference of the medians is the import. The first of each
kind is not counted: it fills the file cache. The repository's root is added to the path, as an installed package is.

    python benchmarks/importing.py [--runs 20]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def seconds(command: list[str]) -> float:
    """How long a command takes, from start to exit."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    begin = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def medians(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    """Median seconds of each command; the commands take turns."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, command in commands.items():
            times[name].append(seconds(command))
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    commands = {
        "empty python": [sys.executable, "-c", "pass"],
        "import kiv_engine": [sys.executable, "-c", "import kiv_engine"],
    }
    if (ROOT / ".venv").is_dir():
        commands["./kiv --help"] = [str(ROOT / "kiv"), "--help"]
    median = medians(commands, options.runs)
    for name, taken in median.items():
        print(f"{name:20} {taken * 1e3:8.1f} ms")
    result = {
        "benchmark": "importing",
        "runs": options.runs,
        "median_s": median,
        "import_s": median["import kiv_engine"] - median["empty python"],
        "kiv_help_s": median.get("./kiv --help"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
