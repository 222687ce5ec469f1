"""The app's start: from the exec of `./kiv` to the first paint of its window, which is before torch is imported.

Each run is `./kiv` as a person starts it, with its shell script, but offscreen, and with settings, chats and a window
of its own. The first run sets up what is not set up yet, fills the file cache, and is not counted. Where other things
run, look at the time that the process had the CPU.

    python benchmarks/app_start.py [--runs 3] [--kiv FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

CPU: Final = "CPU until then"
HERE: Final = Path(__file__).resolve().parent


def started(kiv: Path, folder: str) -> dict[str, float]:
    """Seconds of one start, to each mark that `first_paint` tells."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE / "first_paint"), os.environ.get("PYTHONPATH")))),
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_CONFIG_HOME": f"{folder}/config",
        "XDG_DATA_HOME": f"{folder}/data",
        "WAYLAND_DISPLAY": f"benchmark-{os.getpid()}",  # else a window that is open already would be shown instead
    }
    begin = time.time()
    printed = subprocess.run([kiv], check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout
    marks = json.loads(printed.splitlines()[-1])
    return {name: at - begin for name, at in marks.items() if name != CPU} | {CPU: marks[CPU]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kiv", type=Path, default=HERE.parent / "kiv", help="the script that is started")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [started(options.kiv.resolve(), folder) for _ in range(options.runs + 1)][1:]
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    for name, seconds in median.items():
        print(f"{name:14} {seconds * 1e3:8.0f} ms")
    result = {"benchmark": "app_start", "runs": options.runs, "median_s": median, "within_limit": median["painted"] < 1}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
