"""How smooth the window stays: gaps between ticks of a 60 Hz clock on the GUI thread, offscreen, with the real engine.

The clock runs at rest, while the built-in model reads an archive, and while it answers; chats and what is read are
kept, in a temporary folder. On a machine that does other things the gaps at rest tell how much of the rest is noise.
Then answers are stopped while they are written: how long that takes, the longest of some. Each run is a process of its
own; of several the medians are told.

    python benchmarks/app_gaps.py [--runs 3] [--seconds 30] [--tokens 200000] [--explain]

With --explain every gap over 20 ms is told apart: the GUI thread's time at work, its wait for a core (Linux tells), and
the processor time of what Qt delivered. What is left is rest, or a wait for Python's lock. The last line of each phase
leaves out the waits for a core: what the gaps would have been on a machine with nothing else to do, more or less.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from app_session import run_app, wait
from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Slot
from PySide6.QtWidgets import QApplication

from app.application import Application
from app.models.engine_status import EngineState
from app.settings import ChatOptions
from kiv_engine.config import SamplingConfig

TICK_MS: Final = 16
LIMITS_MS: Final = {"p99": 20, "p99.9": 50}
STOP_LIMIT_MS: Final = 200
STOPS: Final = 10
EXPLAINED_MS: Final = 20
QUESTION: Final = "Who runs the Golden Crumb barbershop?"


class Clock(QObject):
    """Notes the time of every tick."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks: list[float] = []
        self._timer = QTimer(self, interval=TICK_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_tick)
        self._timer.start()

    @Slot()
    def _on_tick(self) -> None:
        self.ticks.append(time.perf_counter())

    def gaps_ms(self, begin: float, end: float) -> np.ndarray:
        """Milliseconds between the ticks of a stretch of time."""
        return 1e3 * np.diff([tick for tick in self.ticks if begin <= tick <= end])


def core_wait_s() -> float:
    """How long this thread has waited for a core, where the system tells."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


class EventLog(QObject):
    """Notes the processor time of every event between two ticks; what is inside another one counts for itself.

    Attributes:
        gaps_ms: without the waits for a core.
    """

    def __init__(self, qt: QApplication) -> None:
        super().__init__()
        self.gaps_ms: list[float] = []
        self._ticked = self._began = self._waited = self._cpu = 0.0
        self._now = ""
        self._spent: Counter[str] = Counter()
        self._timer = QTimer(self, interval=TICK_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_tick)
        self._timer.start()
        qt.installEventFilter(self)

    def eventFilter(self, receiver: QObject, event: QEvent) -> bool:
        self._count(f"{type(receiver).__name__}.{event.type().name}")
        return False

    def _count(self, following: str) -> None:
        cpu = time.thread_time()
        self._spent[self._now] += cpu - self._cpu
        self._cpu, self._now = cpu, following

    @Slot()
    def _on_tick(self) -> None:
        self._count("")
        now, cpu, waited = time.perf_counter(), time.thread_time(), core_wait_s()
        gap, work, wait = (1e3 * each for each in (now - self._ticked, cpu - self._began, waited - self._waited))
        if self._ticked:
            self.gaps_ms.append(gap - wait)
            if gap - wait > EXPLAINED_MS:
                parts = ", ".join(f"{name} {1e3 * each:.1f}" for name, each in self._spent.most_common(10))
                print(f"{gap:5.1f} ms: {work:5.1f} at work, {wait:5.1f} without a core: {parts}")
        self._ticked, self._began, self._waited = now, cpu, waited
        self._spent.clear()

    def tell(self, phase: str) -> None:
        """Print the percentiles of a phase, and begin the next one."""
        shares = "  ".join(f"p{share:g} {np.percentile(self.gaps_ms, share):.1f}" for share in (50, 99, 99.9, 100))
        print(f"{phase} without waits for a core: {shares}")
        self.gaps_ms.clear()


def measured(qt: QApplication, clock: Clock, seconds: float, is_over: Callable[[], bool]) -> dict[str, float]:
    """Percentiles of the gaps until time is up, or what is measured is over."""
    begin = time.perf_counter()
    wait(qt, is_over, seconds)
    gaps = clock.gaps_ms(begin, time.perf_counter())
    percentiles = {f"p{share:g}": float(np.percentile(gaps, share)) for share in (50, 99, 99.9)}
    return {**percentiles, "max": float(gaps.max()), "seconds": time.perf_counter() - begin}


def figures(
    qt: QApplication, application: Application, seconds: float, tokens: int, tell: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """The gaps at rest, while reading and while answering."""
    clock = Clock()
    status, chat, controller = application.status, application.chats.current, application.controller
    application.start()
    wait(qt, lambda: status.state is EngineState.IDLE)
    tell("loading")
    results = {"rest": measured(qt, clock, min(5.0, seconds), lambda: False)}
    tell("rest")
    controller.read_archive(tokens)
    wait(qt, lambda: chat.reading.tokens_read > 0)
    results["reading"] = measured(qt, clock, seconds, lambda: status.state is EngineState.IDLE)
    tell("reading")
    wait(qt, lambda: status.state is EngineState.IDLE)
    chat.set_options(ChatOptions("", SamplingConfig(temperature=1.0, max_new_tokens=4_000, seed=1)))
    end = time.perf_counter() + seconds

    def go_on() -> bool:
        """The model ends its answers soon: ask and ask again."""
        if status.state is EngineState.IDLE:
            controller.ask(QUESTION)
        return time.perf_counter() > end

    results["answering"] = measured(qt, clock, seconds, go_on)
    tell("answering")
    results["stopping"] = {"longest": max(stops_ms(qt, application))}
    return results


def stops_ms(qt: QApplication, application: Application) -> list[float]:
    """How long stops take, from the wish to the engine's rest, of answers that are being written."""
    status, controller, found = application.status, application.controller, []
    controller.stop()  # of what was measured before, the last answer goes on
    wait(qt, lambda: status.state is EngineState.IDLE)
    while len(found) < STOPS:
        controller.ask(QUESTION)
        wait(qt, lambda: status.state is EngineState.GENERATING, every_ms=1)
        begin = time.perf_counter()
        controller.stop()
        wait(qt, lambda: status.state is EngineState.IDLE, every_ms=1)
        found.append(1e3 * (time.perf_counter() - begin))
    return found


def one_run(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The figures of one run, in this process."""
    results: dict[str, dict[str, float]] = {}

    def work(qt: QApplication, application: Application) -> None:
        log = EventLog(qt) if options.explain else None
        results.update(
            figures(qt, application, options.seconds, options.tokens, log.tell if log else lambda _phase: None)
        )
        if log is not None:
            qt.removeEventFilter(log)

    run_app(work)
    return results


def medians(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The median of each figure."""
    return {
        phase: {name: statistics.median(run[phase][name] for run in runs) for name in figures_of_it}
        for phase, figures_of_it in runs[0].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if options.runs == 1 or options.explain:
        results = one_run(options)
    else:
        again = ["--runs", "1", "--seconds", str(options.seconds), "--tokens", str(options.tokens)]
        command = [sys.executable, __file__, *again]
        printed = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(options.runs)]
        results = medians([json.loads(each.stdout.splitlines()[-1])["gaps_ms"] for each in printed])
    for name, gaps in results.items():
        print(f"{name:10}" + "".join(f"  {key} {value:7.1f}" for key, value in gaps.items()))
    within = {
        name: all(results[name][key] < limit for key, limit in LIMITS_MS.items()) for name in ("reading", "answering")
    }
    within["stopping"] = results["stopping"]["longest"] < STOP_LIMIT_MS
    result = {"benchmark": "app_gaps", "runs": options.runs, "tokens": options.tokens, "gaps_ms": results}
    print(json.dumps({**result, "within_limit": within}))


if __name__ == "__main__":
    main()
