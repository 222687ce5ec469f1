"""Qt without a screen, and an app around a scripted session that is closed after each test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.application import Application
from app.folders import Folders
from app.machine import Machine
from app.models.chat import ExchangeState, ReadingState
from app.models.engine_status import EngineState
from tests.app.scripted_session import SENTENCE, ScriptedSession

WAIT_MS = 20_000


class AppDriver:
    """An app and what a test does with it."""

    def __init__(self, qtbot: QtBot, application: Application, session: ScriptedSession) -> None:
        self.qtbot, self.application, self.session = qtbot, application, session
        self.window, self.status, self.controller = application.window, application.status, application.controller

    @property
    def chat(self):
        return self.application.chats.current

    @property
    def transcript(self):
        return self.window.conversation.transcript

    def until(self, condition) -> None:
        self.qtbot.waitUntil(condition, timeout=WAIT_MS)

    def until_state(self, state: EngineState) -> None:
        self.until(lambda: self.status.state is state)

    def until_read(self, state: ReadingState = ReadingState.READ) -> None:
        self.until(lambda: self.chat.reading.state is state)

    def until_answered(self, number: int = 0) -> None:
        over = (ExchangeState.DONE, ExchangeState.FAILED)
        self.until(lambda: len(self.chat.exchanges) > number and self.chat.exchanges[number].state in over)
        self.until(lambda: all(view.is_shown for view in self.transcript.exchanges))

    def until_reached(self, step: str) -> None:
        self.until(lambda: step in self.session.reached)


def type_and_send(driver: AppDriver, text: str) -> None:
    """Ask with the keyboard."""
    QTest.keyClicks(driver.window.composer.edit, text)
    QTest.keyClick(driver.window.composer.edit, Qt.Key.Key_Return)


def read_book(driver: AppDriver, book: Path) -> None:
    """Have a file read to its end."""
    driver.controller.open_files([book])
    driver.until_read()


@pytest.fixture(autouse=True)
def _closed_windows_are_gone() -> Iterator[None]:
    """At once: those that are still there are styled anew with each window that follows."""
    yield
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def session() -> ScriptedSession:
    return ScriptedSession()


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "config", tmp_path / "data")


@contextmanager
def driven(
    qtbot: QtBot,
    qapp: QApplication,
    session: ScriptedSession,
    folders: Folders | None = None,
    machine: Machine | None = None,
) -> Iterator[AppDriver]:
    """The app, started, and closed in the end."""
    application = Application(qapp, session, folders, machine=machine)
    application.start()
    yield AppDriver(qtbot, application, session)
    session.go()
    application.window.close()
    assert application.closed_in_time
    application.window.deleteLater()
    application.deleteLater()


@pytest.fixture
def driver(qtbot: QtBot, qapp: QApplication, session: ScriptedSession, folders: Folders) -> Iterator[AppDriver]:
    """The app, started; what a test wants held, it holds before."""
    with driven(qtbot, qapp, session, folders) as driver:
        yield driver


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Several kilobytes with a passage that is found, a long line, and letters that take two UTF-16 units."""
    path = tmp_path / "book.txt"
    goose = "The goose 🪿 was counted at noon. " * 80
    path.write_text(f"Chapter one.\n\n{goose}\n\n{SENTENCE} So it was.\n\n{goose}\n{SENTENCE}\n", encoding="utf-8")
    return path
