"""The door between the threads: order, one terminal event, one stop flag per request, and leaving."""

import threading
from collections.abc import Callable, Iterator

import pytest
from PySide6.QtCore import QObject, Slot
from pytestqt.qtbot import QtBot

from app.engine_bridge import EngineBridge
from app.reports import ChatClosed, Report
from app.requests import CloseChat, Request
from kiv_engine.errors import CapacityError
from kiv_engine.events import Failed
from tests.app.scripted_session import wait_for_stop

WAIT_MS = 20_000
JOIN_S = 20.0


class Listener(QObject):
    """Keeps reports and the thread that they came in."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[Report] = []
        self.threads: set[threading.Thread] = set()

    @Slot(object)
    def on_report(self, report: Report) -> None:
        self.reports.append(report)
        self.threads.add(threading.current_thread())


class Session:
    """Does what `script` says."""

    def __init__(self, script: Callable[[Callable[[], bool]], Iterator[object]]) -> None:
        self.script = script
        self.closed = 0

    def handle(self, _request: Request, should_stop: Callable[[], bool]) -> Iterator[object]:
        return self.script(should_stop)

    def close(self) -> None:
        self.closed += 1


def opened(script: Callable[[Callable[[], bool]], Iterator[object]]) -> tuple[EngineBridge, Listener, Session]:
    session = Session(script)
    bridge, listener = EngineBridge(session), Listener()
    bridge.reported.connect(listener.on_report)
    return bridge, listener, session


def ended(bridge: EngineBridge) -> bool:
    bridge.close()
    return bridge.join(JOIN_S)


def test_reports_arrive_in_order_on_the_gui_thread(qtbot: QtBot) -> None:
    bridge, listener, session = opened(lambda _stop: iter([*range(50), ChatClosed()]))
    ids = [bridge.submit(CloseChat(number)) for number in range(3)]
    qtbot.waitUntil(lambda: len(listener.reports) == 153, timeout=WAIT_MS)
    assert [report.request_id for report in listener.reports] == [number for number in ids for _ in range(51)]
    assert [report.event for report in listener.reports[:50]] == list(range(50))
    assert listener.threads == {threading.current_thread()}
    assert ended(bridge)
    assert session.closed == 1


def raising(error: BaseException) -> Callable[[Callable[[], bool]], Iterator[object]]:
    def script(_stop: Callable[[], bool]) -> Iterator[object]:
        yield 1
        raise error

    return script


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CapacityError("Too large."), "Too large."),
        (ValueError("odd"), "Unexpected error: ValueError: odd. Try again"),
        (MemoryError(), "RAM ran out. "),
        (SystemExit(3), "Unexpected error: SystemExit: 3. "),
    ],
)
def test_whatever_is_raised_ends_in_one_failure(qtbot: QtBot, error: BaseException, message: str) -> None:
    bridge, listener, _session = opened(raising(error))
    bridge.submit(CloseChat(1))
    bridge.submit(CloseChat(2))
    qtbot.waitUntil(lambda: len(listener.reports) == 4, timeout=WAIT_MS)
    failures = [report.event for report in listener.reports if isinstance(report.event, Failed)]
    assert [failure.message.startswith(message) for failure in failures] == [True, True]
    assert ended(bridge)


def test_a_request_without_a_terminal_event_gets_one_and_nothing_follows_one(qtbot: QtBot) -> None:
    bridge, listener, session = opened(lambda _stop: iter([1]))
    bridge.submit(CloseChat(1))
    qtbot.waitUntil(lambda: len(listener.reports) == 2, timeout=WAIT_MS)
    assert isinstance(listener.reports[1].event, Failed)
    session.script = lambda _stop: iter([ChatClosed(), 2, ChatClosed()])
    bridge.submit(CloseChat(1))
    qtbot.waitUntil(lambda: len(listener.reports) == 3, timeout=WAIT_MS)
    assert ended(bridge)
    assert len(listener.reports) == 3


def until_stopped(stop: Callable[[], bool]) -> Iterator[object]:
    wait_for_stop(stop)
    yield ChatClosed()


def test_stopping_ends_only_the_request_that_is_meant(qtbot: QtBot) -> None:
    bridge, listener, _session = opened(until_stopped)
    first, second = bridge.submit(CloseChat(1)), bridge.submit(CloseChat(2))
    bridge.stop(first)
    qtbot.waitUntil(lambda: len(listener.reports) == 1, timeout=WAIT_MS)
    bridge.stop(first)
    assert [report.request_id for report in listener.reports] == [first]
    bridge.stop(second)
    qtbot.waitUntil(lambda: len(listener.reports) == 2, timeout=WAIT_MS)
    assert ended(bridge)


def test_closing_ends_what_runs_and_what_waits_and_tells_nothing_more() -> None:
    bridge, listener, session = opened(until_stopped)
    for number in range(3):
        bridge.submit(CloseChat(number))
    bridge.close()
    assert ended(bridge)
    assert listener.reports == []
    assert session.closed == 1


def test_a_bridge_that_was_never_used_closes() -> None:
    bridge, _listener, _session = opened(until_stopped)
    assert ended(bridge)
