"""The app's start: from the start of its process to the first paint of its window, which is before torch is imported.

Each run is a fresh process, offscreen, that does all that `./kiv` does once it is set up (but for its shell script,
some ten milliseconds): it looks for a window that is there, and has settings, chats and a shelf, in a folder of its
own. The first run fills the file cache and is not counted. Where other things run, look at the time that the process
had the CPU.

    python benchmarks/app_start.py [--runs 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

CPU: Final = "CPU until then"
ROOT: Final = Path(__file__).resolve().parent.parent


def started(folder: str) -> dict[str, float]:
    """Seconds of one start, to each mark that the child tells."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen"}
    begin = time.time()
    command = [sys.executable, __file__, "--child", folder]
    printed = subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True).stdout
    marks = json.loads(printed.splitlines()[-1])
    return {name: at - begin for name, at in marks.items() if name != CPU} | {CPU: marks[CPU]}


def child(folder: Path) -> None:
    """Start the app, and leave at its window's first paint."""
    marks = {"python": time.time()}
    from app.__main__ import begin, build_parser, check_display, run

    check_display(may_be_offscreen=False)
    from PySide6.QtCore import QEvent, QObject
    from PySide6.QtWidgets import QApplication

    marks["Qt imported"] = time.time()
    from app.application import Application
    from app.folders import Folders

    marks["app imported"] = time.time()

    class Watcher(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.UpdateRequest:
                watched.event(event)
                marks["painted"] = time.time()
                marks[CPU] = time.process_time()
                print(json.dumps(marks), flush=True)
                os._exit(0)
            return False

    def begin_watched(qt: QApplication, application: Application, options: argparse.Namespace) -> None:
        application.window.installEventFilter(Watcher(application))
        begin(qt, application, options)

    folders = Folders(folder / "config", folder / "data")
    run(build_parser().parse_args(["app"]), folders, f"kiv-benchmark-{os.getpid()}", begin_watched)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
    with tempfile.TemporaryDirectory() as folder:
        runs = [started(folder) for _ in range(options.runs + 1)][1:]
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    for name, seconds in median.items():
        print(f"{name:14} {seconds * 1e3:8.0f} ms")
    result = {"benchmark": "app_start", "runs": options.runs, "median_s": median, "within_limit": median["painted"] < 1}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
