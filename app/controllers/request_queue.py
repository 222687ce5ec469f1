"""What waits for the engine, and the one request that runs there."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from app.models.engine_status import EngineState, EngineStatus
from app.reports import Report
from app.requests import Request


class Engine(Protocol):
    """Where requests go."""

    def submit(self, request: Request) -> int:
        """Queue a request; the number that its reports carry."""

    def stop(self, request_id: int) -> None:
        """Ask a request to end early."""


class RequestQueue:
    """Requests wait here, not in the engine, so that one can be taken back. Whoever adds one calls `advance` then.

    Attributes:
        running: the request that the engine has; None between two.
    """

    def __init__(
        self,
        engine: Engine,
        status: EngineStatus,
        take_next: Callable[[], Request | None],
        begin: Callable[[Request], None],
    ) -> None:
        """`take_next` pops what is next, with all that it needs, or says None to wait; `begin` tells that it runs."""
        self.running: Request | None = None
        self._engine, self._status = engine, status
        self._take_next, self._begin = take_next, begin
        self._waiting: deque[Request] = deque()
        self._running_id: int | None = None

    @property
    def waiting(self) -> Sequence[Request]:
        """What waits, the next one first."""
        return self._waiting

    def append(self, request: Request) -> None:
        """Have a request wait behind all others."""
        self._waiting.append(request)

    def put_first(self, request: Request) -> None:
        """Have a request wait before all others."""
        self._waiting.appendleft(request)

    def pop(self) -> Request:
        """Take out what is next."""
        return self._waiting.popleft()

    def take_back(self, is_unwanted: Callable[[Request], bool]) -> None:
        """Drop some of what waits."""
        self._waiting = deque(request for request in self._waiting if not is_unwanted(request))

    def advance(self) -> None:
        """Begin the next request, if none runs and it need not wait."""
        if self.running is not None or not self._waiting or (request := self._take_next()) is None:
            return
        self.running = request
        self._begin(request)
        self._running_id = self._engine.submit(request)

    def request_of(self, report: Report) -> Request | None:
        """What a report is about; None where that is over."""
        return self.running if report.request_id == self._running_id else None

    def end(self) -> None:
        """What ran is over; nothing runs until `advance`."""
        self.running = self._running_id = None

    def interrupt(self) -> None:
        """Ask what runs to end early, whatever it is."""
        if self._running_id is not None:
            self._engine.stop(self._running_id)

    def stop(self) -> None:
        """End a reading or an answer; what waits behind it goes on."""
        if self._running_id is not None and self._status.is_busy:
            self.interrupt()
            self._status.set_state(EngineState.STOPPING, self._status.busy_chat)
