"""`kiv eval` and `kiv bench`: progress on stderr, then a table, and one JSON line last."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from kiv_engine.evaluation.options import add_commands
from kiv_engine.evaluation.progress import Note, Progress
from kiv_engine.terminal import DONE, INTERRUPTED, Parser, StatusLine, StopFlag, draw_bar, time_left

if TYPE_CHECKING:
    from kiv_engine.evaluation.commands import Outcome


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands' options."""
    for parser in add_commands(commands):
        parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The whole command; returns the exit code."""
    from kiv_engine.evaluation import commands

    line = StatusLine(sys.stderr, waits=False)
    outcome: Outcome
    with StopFlag() as stop:
        steps = commands.run(options, stop)
        try:
            while True:
                show(line, next(steps))
        except StopIteration as finished:
            outcome = finished.value
        finally:
            line.close()
    if not options.json:
        print(outcome.table)
    print(json.dumps(outcome.line))
    return INTERRUPTED if outcome.stopped else DONE


def show(line: StatusLine, event: Progress | Note) -> None:
    """Draw an event."""
    if isinstance(event, Note):
        line.note(event.text)
    else:
        line.show(f"[{draw_bar(event.share)}] {event.share * 100:3.0f} %{time_left(event.eta_s)}  {event.label}")
