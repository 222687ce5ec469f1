"""`kiv eval` and `kiv bench`: from the options to the files of a folder and the report."""

import argparse
import datetime
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from kiv_engine.engine import Engine
from kiv_engine.errors import ConfigError
from kiv_engine.evaluation import bench_report
from kiv_engine.evaluation.bench import QUICK, Bench, BenchPlan
from kiv_engine.evaluation.eval_report import as_markdown, make_report, needle_maps, overview
from kiv_engine.evaluation.journal import ResultsError
from kiv_engine.evaluation.machine import describe_machine, load_average
from kiv_engine.evaluation.prediction import gpu_of, predict
from kiv_engine.evaluation.progress import Note, Progress
from kiv_engine.evaluation.run import QUICK_LENGTHS, QUICK_QUADRATIC_TOKENS, Evaluation, Plan
from kiv_engine.stopping import ShouldStop

PREDICTED_TOKENS: Final = (4_096, 131_072, 1_048_576)

Run = Generator[Progress | Note, None, "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its table for people and its JSON line."""

    table: str
    line: dict[str, Any]
    stopped: bool


def run(options: argparse.Namespace, should_stop: ShouldStop) -> Run:
    """Run a command; yields progress and returns its outcome. Raises EngineErrors fit to be shown."""
    return (yield from _COMMANDS[options.command](options, should_stop))


def evaluate(options: argparse.Namespace, should_stop: ShouldStop) -> Run:
    """`kiv eval`."""
    plan = eval_plan(options)
    engine = Engine.load(options.model, quantize=options.quantize, device=options.device)
    evaluation = Evaluation(engine, plan, Path(options.out))
    yield from evaluation.run(should_stop)
    report = make_report(evaluation, options.model, stopped=should_stop())
    files = {"report.json": json.dumps(report, indent=1) + "\n", "report.md": as_markdown(report)}
    if plot := needle_maps(report):
        files["needles.svg"] = plot
    write(Path(options.out), files)
    return Outcome(overview(report), eval_line(report, options.out), should_stop())


def eval_plan(options: argparse.Namespace) -> Plan:
    """What the options ask for. Raises ConfigError."""
    chosen: dict[str, Any] = {}
    if options.quick:
        chosen = {"lengths": QUICK_LENGTHS, "seeds": 1, "quadratic_tokens": QUICK_QUADRATIC_TOKENS}
    if options.lengths is not None:
        chosen["lengths"] = tuple(sorted({whole("lengths", text) for text in options.lengths}))
    for name, option in (("seeds", options.seeds), ("num_depths", options.depths)):
        if option is not None:
            chosen[name] = whole(name.removeprefix("num_"), option)
    if options.tasks is not None:
        chosen["tasks"] = options.tasks
    if options.peers is not None:
        chosen |= {"entrants": options.peers, "quadratic_tokens": max(chosen.get("lengths", Plan.lengths), default=0)}
    return Plan(**chosen)


def bench(options: argparse.Namespace, should_stop: ShouldStop) -> Run:
    """`kiv bench`."""
    gpu = gpu_of(options.predict) if options.predict is not None else None
    folder = Path(options.out)
    make_folder(folder)
    engine = Engine.load(options.model, quantize=options.quantize, device=options.device)
    run = Bench(engine, QUICK if options.quick else BenchPlan())
    report: dict[str, Any] = {
        "report": "bench",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model_name": options.model,
        "machine": describe_machine(),
        "load_before": load_average(),
        "threads": torch.get_num_threads(),
    }
    report |= {**run.report, "complete": False}
    if gpu is not None:
        report["prediction"] = predict(gpu, PREDICTED_TOKENS)
    try:
        for event in run.run(should_stop):
            write_bench(folder, report)  # what is measured is kept, whatever ends the run
            yield event
        report["complete"] = not should_stop()
    except Exception as error:
        report["failure"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        write_bench(folder, report)
    tables = "\n\n".join(bench_report.sections(report))
    return Outcome(tables, {**report, "folder": options.out}, should_stop())


def make_folder(folder: Path) -> None:
    """Make sure, before anything is measured, that the report can be written. Raises ResultsError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").touch()
    except OSError as error:
        raise ResultsError(f"{folder} cannot take the results: {error.strerror or error}.") from error


def write_bench(folder: Path, report: dict[str, Any]) -> None:
    """Write the files of `kiv bench`."""
    files = {"report.json": json.dumps(report, indent=1) + "\n", "report.md": bench_report.as_markdown(report)}
    write(folder, files | bench_report.plots(report))


def whole(name: str, text: str) -> int:
    """A whole number of an option."""
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{name} is {text!r}; give whole numbers.") from None


def eval_line(report: dict[str, Any], folder: str) -> dict[str, Any]:
    """The JSON line: a few figures per length, and where the rest is."""
    lengths: dict[str, Any] = {}
    for length, by_name in report["lengths"].items():
        lengths[length] = {
            name: {part: row["all"].get(part) for part in ("questions", "rate", "ceiling", "agreement")}
            for name, row in by_name.items()
        }
    kept = ("report", "model", "complete", "default_mode", "left_out")
    return {**{name: report[name] for name in kept}, "lengths": lengths, "folder": folder}


def write(folder: Path, files: dict[str, str]) -> None:
    """Write a report's files."""
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")


_COMMANDS: dict[str, Callable[[argparse.Namespace, ShouldStop], Run]] = {"eval": evaluate, "bench": bench}
