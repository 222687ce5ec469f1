"""While the app runs, garbage is collected on the window's thread and on no other."""

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.application import Application
from app.engine_session import import_for_good
from app.garbage import GarbageCollector
from app.models.engine_status import EngineState
from app.reports import ChatClosed
from app.requests import LoadModel, Request
from kiv_engine import garbage
from tests.app.conftest import AppDriver

TIMEOUT_S = 20


class Ring:
    """Only the garbage collector ends one; tells on which thread."""

    def __init__(self, ended_on: list[threading.Thread]) -> None:
        self.itself = self
        weakref.finalize(self, lambda: ended_on.append(threading.current_thread())).atexit = False


class Littering:
    """A session that leaves a ring behind with each request, and then does what it is told to."""

    def __init__(self, then: Callable[[], object], rings: int = 1) -> None:
        self.tell: Callable[[object], None] = lambda _event: None
        self.ended_on: list[threading.Thread] = []
        self.thread: threading.Thread | None = None
        self.seen: list[int] = []
        self._then, self._rings = then, rings

    def handle(self, _request: Request, should_stop: Callable[[], bool]) -> Iterator[object]:
        self.thread = threading.current_thread()
        for _ring in range(self._rings):
            Ring(self.ended_on)
        self._then()
        self.seen.append(len(self.ended_on))
        yield ChatClosed()

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def app_around(qapp: QApplication) -> Iterator[Callable[[Littering], Application]]:
    """Apps, started, and closed in the end."""
    applications: list[Application] = []

    def make(session: Littering) -> Application:
        applications.append(Application(qapp, session))
        applications[-1].start()
        return applications[-1]

    yield make
    for application in applications:
        application.window.close()
        assert application.closed_in_time
        application.window.deleteLater()
        application.deleteLater()


def test_nothing_is_collected_by_itself_from_the_start_of_the_app_to_its_end(driver: AppDriver) -> None:
    driver.until_state(EngineState.IDLE)
    assert not gc.isenabled()
    driver.window.close()
    assert gc.isenabled()


def test_what_the_engine_wants_collected_is_gone_when_it_goes_on(
    qtbot: QtBot, app_around: Callable[[Littering], Application]
) -> None:
    session = Littering(garbage.collect)
    app_around(session)
    qtbot.waitUntil(lambda: session.seen == [1], timeout=TIMEOUT_S * 1_000)
    assert session.thread is not threading.main_thread()
    assert session.ended_on == [threading.main_thread()]


def test_what_the_engine_leaves_behind_is_collected_in_time(
    qtbot: QtBot, app_around: Callable[[Littering], Application]
) -> None:
    session = Littering(lambda: None, rings=2 * gc.get_threshold()[0])
    app_around(session)
    qtbot.waitUntil(lambda: bool(session.ended_on), timeout=TIMEOUT_S * 1_000)
    assert set(session.ended_on) == {threading.main_thread()}


def test_an_engine_that_waits_for_a_collection_does_not_keep_the_app_from_quitting(
    app_around: Callable[[Littering], Application],
) -> None:
    begun = threading.Event()
    session = Littering(lambda: (begun.set(), garbage.collect()))
    application = app_around(session)
    application.bridge.submit(LoadModel())
    assert begun.wait(TIMEOUT_S)
    application.window.close()  # no event has been handled since
    assert application.closed_in_time
    assert session.seen == [0]


def test_each_generation_has_its_turn(qapp: QApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    collector, collected = GarbageCollector(), []
    monkeypatch.setattr(gc, "collect", collected.append)
    for counts in ((700, 10, 10), (701, 10, 10), (0, 11, 10), (701, 11, 11)):
        monkeypatch.setattr(gc, "get_count", lambda counts=counts: counts)
        monkeypatch.setattr(gc, "get_threshold", lambda: (700, 10, 10))
        collector.collect_due()
    assert collected == [0, 1, 2]
    monkeypatch.setattr(gc, "get_threshold", lambda: (0, 10, 10))
    collector.collect_due()
    assert collected == [0, 1, 2], "it is turned off"
    collector.deleteLater()


def test_without_an_app_garbage_is_collected_at_once_and_here() -> None:
    ended_on: list[threading.Thread] = []
    Ring(ended_on)
    thread = threading.Thread(target=garbage.collect)
    thread.start()
    thread.join(TIMEOUT_S)
    assert ended_on == [thread]


def test_what_is_imported_for_good_is_passed_by_and_nothing_collected_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kiv_imported_for_good.py").write_text(
        "import gc\nthresholds = gc.get_threshold()\nthings = [[], [[]]]\n"
    )
    (tmp_path / "kiv_cannot_be_imported.py").write_text("raise OSError('a damaged file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = gc.get_threshold()
    import_for_good("kiv_imported_for_good")
    module = sys.modules.pop("kiv_imported_for_good")
    assert module.thresholds[0] == 0
    assert gc.get_threshold() == before
    assert not any(each is module.things for each in gc.get_objects())
    with pytest.raises(OSError, match="damaged"):
        import_for_good("kiv_cannot_be_imported")
    assert gc.get_threshold() == before
    gc.unfreeze()
