"""Python's garbage is collected on the window's thread only: objects of Qt that are in it must not end on another."""

import gc
import threading
from typing import Final

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from kiv_engine import garbage

INTERVAL_MS: Final = 500
"""What comes together in it is gone through in some milliseconds."""


class GarbageCollector(QObject):
    """Collects what Python would, when its counters say so, from a timer; and all of it when the engine asks.

    Lives on the GUI thread.
    """

    _wanted = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._was_automatic = False
        self._lock = threading.Lock()
        self._waits: set[threading.Event] = set()
        self._is_closing = True
        self._wanted.connect(self._on_wanted)
        self._timer = QTimer(self, interval=INTERVAL_MS)
        self._timer.timeout.connect(self.collect_due)

    def start(self) -> None:
        """From now on no other thread collects anything."""
        self._was_automatic, self._is_closing = gc.isenabled(), False
        gc.disable()
        garbage.collect_with(self.collect)
        self._timer.start()

    def close(self) -> None:
        """Let nobody wait for a collection any more: the GUI thread is about to wait for them."""
        with self._lock:
            self._is_closing = True
            waits, self._waits = self._waits, set()
        for done in waits:
            done.set()

    def stop(self) -> None:
        """Leave all to Python again, if it was left to it before. To be called when the other threads have ended."""
        self._timer.stop()
        garbage.collect_with()
        if self._was_automatic:
            gc.enable()

    def collect(self) -> None:
        """Collect everything, from any thread, and return when that is done; when the app is closing, at once."""
        if threading.current_thread() is threading.main_thread():
            gc.collect()
            return
        done = threading.Event()
        with self._lock:
            if self._is_closing:
                return
            self._waits.add(done)
            self._wanted.emit(done)
        done.wait()

    @Slot(object)
    def _on_wanted(self, done: threading.Event) -> None:
        gc.collect()
        with self._lock:
            self._waits.discard(done)
        done.set()

    @Slot()
    def collect_due(self) -> None:
        """Collect the oldest generation whose turn it is, and with it the younger ones.

        A first threshold of 0 turns that off, as it does with Python's own collections.
        """
        counts, most = gc.get_count(), gc.get_threshold()
        due = [generation for generation in range(len(counts)) if counts[generation] > most[generation]]
        if due and most[0]:
            gc.collect(due[-1])
