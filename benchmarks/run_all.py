"""Run the benchmarks one after another and keep each JSON line in results/NAME.json, with the machine it ran on.

    python benchmarks/run_all.py [--only NAME ...] [--small] [--results FOLDER] [-- OPTION ...]

A result that is not within its own limits is kept, too, and named at the end; the exit status is then 1.
--small takes minutes and shows that everything works; its figures mean nothing, so they need another --results.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from kiv_engine.evaluation.machine import describe_machine, seconds_elsewhere

HERE: Final = Path(__file__).resolve().parent
COMMANDS: Final = {"bench": ["--predict"], "eval": []}
"""Those that are commands of kiv, with their options; the report that they write is the result."""

SMALL: Final = {
    "importing": ["--runs", "2"],
    "app_start": ["--runs", "1"],
    "app_pane": ["--runs", "1", "--characters", "100000", "--exchanges", "12"],
    "app_search": ["--runs", "1", "--messages", "400"],
    "parsing": ["--pages", "50", "--runs", "1"],
    "app_memory": ["--minutes", "0.1", "--tokens", "3000"],
    "app_gaps": ["--runs", "1", "--seconds", "1", "--tokens", "3000"],
    "recording": ["--rounds", "5", "--tokens", "8192"],
    "bytes": ["--tokens", "12288"],
    "decode": ["--steps", "64", "--long", "16384"],
    "reading": ["--short", "2048", "--long", "8192"],
    "saving": ["--tokens", "8192"],
    "mass": ["--tokens", "8192"],
    "needles": ["--lengths", "4096", "--seeds", "1"],
    "find_more": ["--tokens", "4096", "--seeds", "1", "--questions", "2", "--budgets", "16"],
    "bench": ["--quick"],
    "eval": ["--lengths", "4096", "--seeds", "1", "--depths", "2"],
}
"""Every benchmark, quickest first, with its options for a trial."""


def run(name: str, options: list[str], results: Path) -> dict[str, Any]:
    """Run one benchmark, showing what it prints; its JSON line, or the report of a command of kiv."""
    print(f"== {name} {' '.join(options)}", flush=True)
    if name in COMMANDS:
        folder = results / "scratch" / name  # an interrupted evaluation goes on from there
        show([sys.executable, "-m", "kiv_engine.cli", name, *options, "--out", str(folder)])
        return dict(json.loads((folder / "report.json").read_text(encoding="utf-8")))
    return dict(json.loads(show([sys.executable, str(HERE / f"{name}.py"), *options])))


def show(command: list[str]) -> str:
    """Run a command, printing what it prints; its last line."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[1:])
    return last


def record(name: str, options: list[str], results: Path) -> dict[str, Any]:
    """Run one benchmark; its result with the machine, and how many processors others kept busy meanwhile."""
    before, begin = seconds_elsewhere(), time.perf_counter()
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    result = run(name, options, results)
    after = seconds_elsewhere()
    load = None if before is None or after is None else (after - before) / (time.perf_counter() - begin)
    return {"date": date, "load": load, "machine": describe_machine(), "options": options, "result": result}


def beyond_limits(result: dict[str, Any]) -> list[str]:
    """The limits that a result says it does not keep."""
    kept = {name: value for name, value in result.items() if name.endswith("within_limit")}
    return [
        f"{name} {part}".strip()
        for name, value in kept.items()
        for part, within in (value.items() if isinstance(value, dict) else [("", value)])
        if not within
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(SMALL), default=list(SMALL), metavar="NAME")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("options", nargs="*", help="behind --, for the one benchmark named by --only")
    arguments = parser.parse_args()
    if arguments.options and len(arguments.only) != 1:
        parser.error("options need exactly one benchmark, named by --only")
    if arguments.small and arguments.results.resolve() == HERE / "results":
        parser.error("--small needs a --results folder of its own")
    arguments.results.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    beyond: list[str] = []
    for name in arguments.only:
        options = SMALL[name] if arguments.small else arguments.options or COMMANDS.get(name, [])
        try:
            kept = record(name, options, arguments.results)
        except subprocess.CalledProcessError as error:
            print(error, file=sys.stderr)
            failed.append(name)
        else:
            (arguments.results / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            if not arguments.small:
                beyond += [f"{name} ({limit})" for limit in beyond_limits(kept["result"])]
    messages = [f"Failed: {', '.join(failed)}."] if failed else []
    messages += [f"Not within limits: {', '.join(beyond)}."] if beyond else []
    if messages:
        raise SystemExit(" ".join(messages))


if __name__ == "__main__":
    main()
