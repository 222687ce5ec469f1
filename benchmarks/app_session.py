"""The app with its real engine, offscreen, on chats and settings of its own: what the benchmarks of the app run in."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from app.__main__ import build_parser, run
from app.application import Application
from app.folders import Folders


def run_app(work: Callable[[QApplication, Application], None]) -> None:
    """Start the app as `./kiv` does, work with it, and leave. Its chats and settings are in a temporary folder."""

    def begin(qt: QApplication, application: Application, _options: object) -> None:
        work(qt, application)
        application.window.close()
        QTimer.singleShot(0, qt.quit)

    with tempfile.TemporaryDirectory() as folder:
        folders = Folders(Path(folder, "config"), Path(folder, "data"))
        run(build_parser().parse_args(["app"]), folders, f"kiv-benchmark-{os.getpid()}", begin)


def wait(qt: QApplication, is_over: Callable[[], bool], seconds: float = 3_600, every_ms: int = 50) -> None:
    """Run the event loop until something is so, or time is up."""
    end = time.perf_counter() + seconds
    check = QTimer(interval=every_ms)
    check.timeout.connect(lambda: qt.exit() if is_over() or time.perf_counter() >= end else None)
    check.start()
    qt.exec()
    check.stop()
