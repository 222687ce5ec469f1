"""Run the benchmarks one after another and keep each JSON line in results/NAME.json, with the machine it ran on.

    python benchmarks/run_all.py [--only NAME ...] [--small] [--results FOLDER]

--small takes minutes and shows that everything works; its figures mean nothing, so they need another --results.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from kiv_engine.evaluation.machine import describe_machine, load_average

HERE: Final = Path(__file__).resolve().parent
SMALL: Final = {
    "importing": ["--runs", "2"],
    "recording": ["--rounds", "5", "--tokens", "8192"],
    "bytes": ["--tokens", "12288"],
    "decode": ["--steps", "64", "--long", "16384"],
    "reading": ["--short", "2048", "--long", "8192"],
    "mass": ["--tokens", "8192"],
    "needles": ["--lengths", "4096", "--seeds", "1"],
}
"""Every benchmark, quickest first, with its options for a trial."""


def run(name: str, options: list[str]) -> dict[str, Any]:
    """Run one benchmark, showing what it prints; its JSON line."""
    print(f"== {name} {' '.join(options)}", flush=True)
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, str(HERE / f"{name}.py"), *options]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line
    if process.returncode:
        raise SystemExit(f"{name} failed with exit code {process.returncode}.")
    return dict(json.loads(last))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(SMALL), default=list(SMALL), metavar="NAME")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    if arguments.small and arguments.results.resolve() == HERE / "results":
        parser.error("--small needs a --results folder of its own")
    arguments.results.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        options = SMALL[name] if arguments.small else []
        load = load_average()
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record = {
            "date": date,
            "load_before": load,
            "machine": describe_machine(),
            "options": options,
            "result": run(name, options),
        }
        path = arguments.results / f"{name}.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
