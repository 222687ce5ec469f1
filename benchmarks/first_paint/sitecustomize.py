"""Makes any Python that has this folder on PYTHONPATH leave at the first paint of the app's window.

Its last line of output is JSON: when Python was up, when the app was imported, and when the window was painted, in
seconds since 1970; and the CPU time of the process until then, that of the shell that became it included.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

APPLICATION = "app.application"
marks = {"python": time.time()}


class Finder(MetaPathFinder):
    """Looks on as the app is imported."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        if name != APPLICATION:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_watch(module: ModuleType) -> None:
            execute(module)
            watch(module)

        spec.loader.exec_module = execute_and_watch  # type: ignore[method-assign]
        return spec


def watch(application: ModuleType) -> None:
    """Leave when the window of an Application has painted itself for the first time."""
    from PySide6.QtCore import QEvent, QObject

    marks["app imported"] = time.time()

    class Watcher(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.UpdateRequest:
                watched.event(event)
                marks["painted"] = time.time()
                print(json.dumps(marks | {"CPU until then": time.process_time()}), flush=True)
                os._exit(0)
            return False

    start = application.Application.start

    def start_watched(self: object, *arguments: object) -> None:
        watcher = Watcher(self)
        self.window.installEventFilter(watcher)  # type: ignore[attr-defined]
        start(self, *arguments)

    application.Application.start = start_watched


sys.meta_path.insert(0, Finder())
