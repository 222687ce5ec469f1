"""The door between the window and the engine's thread. Only this file and history.py make threads."""

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from PySide6.QtCore import QObject, Signal

from app.failure_words import explained, failure_of
from app.reports import Report, is_terminal
from app.requests import Request
from kiv_engine.errors import EngineError, is_out_of_memory
from kiv_engine.events import Failed

THREAD_NAME: Final = "kiv-engine"

logger = logging.getLogger(__name__)


class Session(Protocol):
    """What runs on the engine's thread.

    Attributes:
        tell: set by the bridge; reports an event of the request under way from inside a call that cannot yield it.
    """

    tell: Callable[[object], None]

    def handle(self, request: Request, should_stop: Callable[[], bool]) -> Iterator[object]:
        """Events, the terminal one last."""

    def close(self) -> None:
        """Give everything back."""


@dataclass(frozen=True)
class Job:
    """A request with its number and its own stop flag: a shared one would un-stop what is still winding down."""

    id: int
    request: Request
    stop: threading.Event = field(default_factory=threading.Event)


class EngineBridge(QObject):
    """Hands requests to the engine's thread, one after another, and its events back.

    Whatever the engine raises, every request ends with exactly one terminal event. Lives on the GUI thread.

    Signals:
        reported: a Report. Receivers are slots of QObjects; anything else would run on the engine's thread. (`event`
            would override a method of QObject.)
    """

    reported = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None, *, thread: str = THREAD_NAME) -> None:
        super().__init__(parent)
        self._session = session
        self._thread_name = thread
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._jobs: dict[int, Job] = {}
        self._ids = itertools.count(1)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def submit(self, request: Request) -> int:
        """Queue a request; the number that its reports carry."""
        job = Job(next(self._ids), request)
        self._jobs[job.id] = job
        self._waiting.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._thread_name, daemon=True)
            self._thread.start()
        return job.id

    def stop(self, request_id: int) -> None:
        """Ask a request to end early; its terminal event still comes."""
        if job := self._jobs.get(request_id):
            job.stop.set()

    def close(self) -> None:
        """Ask everything to end; nothing more is reported."""
        self._closing.set()
        for job in list(self._jobs.values()):
            job.stop.set()
        self._waiting.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if the thread is stuck in a call that cannot be stopped."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # -- on the engine's thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._waiting.get()) is not None:
            if not self._closing.is_set():
                self._work(job)
            self._jobs.pop(job.id, None)
        self._session.close()

    def _work(self, job: Job) -> None:
        """Report the events of one request up to its terminal one, and make one if none comes."""
        self._session.tell = partial(self._report, job)
        for event in self._events(job):
            self._report(job, explained(event) if isinstance(event, Failed) else event)
            if is_terminal(event):
                return
        self._report(job, failure_of(RuntimeError(f"no result of {type(job.request).__name__}")))

    def _events(self, job: Job) -> Iterator[object]:
        try:
            yield from self._session.handle(job.request, job.stop.is_set)
        except GeneratorExit:  # the terminal event has been taken
            raise
        except BaseException as error:
            if not (isinstance(error, EngineError) or is_out_of_memory(error)):
                logger.warning("%s failed", type(job.request).__name__, exc_info=error)
            yield failure_of(error)

    def _report(self, job: Job, event: object) -> None:
        if not self._closing.is_set():
            self.reported.emit(Report(job.id, event))
