"""Whether the app's memory stays flat while one asks and asks: its resident bytes, offscreen, with the real engine.

The built-in model reads an archive; then one of the archive's questions is asked after another, all in one chat, for
some minutes. Questions and answers stay in the context, so its index and store grow a little with them: the engine
tells by how much, and the limit is for all else. With --again each question is asked in place of the one before, as a
branch: the context goes back each time, does not grow, and the limit is for the whole process. Compared are the medians
of the second minute, in which all is warm, and of the last. One question follows the other at once, or as a person
would ask, --every so many seconds.

    python benchmarks/app_memory.py [--minutes 10] [--tokens 20000] [--every 0] [--again]
"""

import argparse
import itertools
import json
import os
import statistics
import time
from dataclasses import dataclass
from typing import Final

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import psutil
from app_session import run_app, wait
from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtWidgets import QApplication

from app.application import Application
from app.models.chat import ExchangeState, ReadingState
from app.models.engine_status import EngineState, EngineStatus
from kiv_engine.archive import write_archive

SAMPLE_MS: Final = 500
LIMIT: Final = 1.05
QUESTIONS: Final = 200


@dataclass(frozen=True)
class Sample:
    """Bytes at a time: of the process, and of the context as the engine tells them."""

    time: float
    resident: int
    context: int


class Meter(QObject):
    """Notes the bytes twice a second."""

    def __init__(self, status: EngineStatus) -> None:
        super().__init__()
        self.samples: list[Sample] = []
        self._status, self._process = status, psutil.Process()
        self._timer = QTimer(self, interval=SAMPLE_MS)
        self._timer.timeout.connect(self._on_time)
        self._timer.start()

    @Slot()
    def _on_time(self) -> None:
        context = sum(each.memory.total.total for each in self._status.measured.values())
        self.samples.append(Sample(time.perf_counter(), self._process.memory_info().rss, context))

    def between(self, begin: float, end: float) -> tuple[float, float]:
        """The medians of a stretch of time."""
        found = [sample for sample in self.samples if begin <= sample.time <= end]
        return (
            statistics.median(sample.resident for sample in found),
            statistics.median(sample.context for sample in found),
        )


def ask_for(
    qt: QApplication, application: Application, minutes: float, tokens: int, every: float, again: bool
) -> dict[str, float]:
    """What the memory was in the second part of as many as there are minutes, and in the last."""
    status, chat, controller = application.status, application.chats.current, application.controller
    application.start()
    wait(qt, lambda: status.state is EngineState.IDLE)
    controller.read_archive(tokens)
    wait(qt, lambda: chat.reading.state is ReadingState.READ and status.state is EngineState.IDLE)
    # Half as long and counted roughly: such an archive is how the one that is read begins.
    facts = write_archive(tokens // 2, lambda pieces: [len(piece) // 4 for piece in pieces]).facts[:QUESTIONS]
    questions = itertools.cycle(fact.question for fact in facts)
    meter = Meter(status)
    begin = time.perf_counter()
    end = begin + 60 * minutes

    def go_on() -> bool:
        if status.state is EngineState.IDLE and time.perf_counter() >= begin + every * len(chat.all_exchanges):
            if again and chat.exchanges:
                controller.ask_instead(chat.exchanges[0].id, next(questions))
            else:
                controller.ask(next(questions))
        return False

    wait(qt, go_on, 60 * minutes)
    part = (end - begin) / max(3.0, minutes)
    (early, early_context), (late, late_context) = (
        meter.between(begin + part, begin + 2 * part),
        meter.between(end - part, end),
    )
    return {
        "answers": sum(exchange.state is ExchangeState.DONE for exchange in chat.all_exchanges.values()),
        "early_bytes": early,
        "late_bytes": late,
        "late_over_early": late / early,
        "context_grew_bytes": late_context - early_context,
        "rest_late_over_early": (late - late_context + early_context) / early,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--every", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    result: dict[str, float] = {}
    run_app(lambda qt, application: result.update(ask_for(qt, application, **vars(options))))
    early, late, grew = (result[name] / 1e6 for name in ("early_bytes", "late_bytes", "context_grew_bytes"))
    print(f"{result['answers']:.0f} answers in {options.minutes:g} min: {early:,.0f} MB, then {late:,.0f} MB")
    rest = result["rest_late_over_early"]
    print(f"ratio {result['late_over_early']:.3f}; without the {grew:.1f} MB of the context {rest:.3f}, limit {LIMIT}")
    within = (result["late_over_early"] if options.again else rest) <= LIMIT
    print(json.dumps({"benchmark": "app_memory", **vars(options), **result, "within_limit": within}))


if __name__ == "__main__":
    main()
