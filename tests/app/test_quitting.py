"""Quitting: all threads are asked to end before any is waited for, and all together have one limit."""

import threading
from collections.abc import Callable, Iterator

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import application as application_module
from app.application import Application
from app.models.engine_status import EngineState
from app.reports import ChatClosed, ModelsListed
from app.requests import CloseChat, LoadModel, Request
from tests.app.conftest import AppDriver
from tests.app.scripted_session import wait_for_stop

TIMEOUT_S = 20


class WaitingSession:
    """Once it is asked to stop, waits for all others that were asked, too."""

    def __init__(self, all_asked: threading.Barrier, terminal: object) -> None:
        self.tell: Callable[[object], None] = lambda _event: None
        self.begun = threading.Event()
        self._all_asked, self._terminal = all_asked, terminal

    def handle(self, _request: Request, should_stop: Callable[[], bool]) -> Iterator[object]:
        self.begun.set()
        wait_for_stop(should_stop)
        self._all_asked.wait(TIMEOUT_S)
        yield self._terminal

    def close(self) -> None:
        """Nothing is held."""


def test_all_threads_are_asked_to_end_before_one_is_waited_for(qtbot: QtBot, qapp: QApplication) -> None:
    all_asked = threading.Barrier(2)
    engine, models = WaitingSession(all_asked, ChatClosed()), WaitingSession(all_asked, ModelsListed())
    application = Application(qapp, engine, models_session=models)
    application.bridge.submit(LoadModel())
    application.models_controller.list_models()
    assert engine.begun.wait(TIMEOUT_S)
    assert models.begun.wait(TIMEOUT_S)
    application.close()
    assert application.closed_in_time
    application.window.deleteLater()
    application.deleteLater()


def test_a_thread_that_is_stuck_does_not_keep_the_app_from_quitting(
    driver: AppDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application_module, "QUIT_S", 0.01)
    driver.until_state(EngineState.IDLE)
    stuck, gone_on = threading.Event(), threading.Event()

    def hang(*_arguments: object) -> Iterator[object]:
        stuck.set()
        gone_on.wait(TIMEOUT_S)
        yield ChatClosed()

    monkeypatch.setattr(driver.session, "handle", hang)
    driver.application.bridge.submit(CloseChat(1))
    driver.until(stuck.is_set)
    driver.window.close()
    assert not driver.application.closed_in_time
    gone_on.set()
    driver.application.closed_in_time = driver.application.bridge.join(TIMEOUT_S)


def test_what_the_window_s_own_code_raises_is_one_line_and_ctrl_c_quits(driver: AppDriver) -> None:
    driver.until_state(EngineState.IDLE)
    error = ZeroDivisionError("division by zero")
    driver.application.tell_uncaught(ZeroDivisionError, error, None)
    text = driver.window.banner.text.text()
    assert text.startswith("Unexpected error: ZeroDivisionError: division by zero. ")
    assert driver.window.isVisible()
    driver.application.tell_uncaught(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not driver.window.isVisible()
    assert driver.application.closed_in_time
