"""The app around a scripted session: its window, its failures, what screen readers are told, and its end."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QAbstractButton, QApplication, QDialog, QFrame, QLineEdit, QPlainTextEdit, QTextEdit

from app.models.chat import ExchangeState, ReadingState
from app.models.engine_status import EngineState
from app.requests import Ask, LoadModel, Read
from app.settings import ChatOptions
from app.views import announcer
from kiv_engine.errors import CapacityError, ModelNotFoundError
from tests.app.conftest import AppDriver, read_book, type_and_send
from tests.app.scripted_session import ANSWER, WORDS, ScriptedSession


def test_nothing_is_built_that_nobody_asked_for(driver: AppDriver) -> None:
    assert driver.window.findChildren(QDialog) == []
    driver.window.settings_action.trigger()
    assert driver.application.settings_dialog.isVisible()
    driver.application.settings_dialog.close()


def test_a_model_that_fails_to_load_can_be_loaded_again(session: ScriptedSession, driver: AppDriver) -> None:
    driver.until_state(EngineState.IDLE)
    session.fails_on[LoadModel] = ModelNotFoundError("There is no model.")
    driver.controller.load_model()
    driver.until_state(EngineState.ERROR)
    banner = driver.window.banner
    assert "There is no model." in banner.text.text()
    driver.controller.read_pasted("")
    assert "The pasted text is empty." in banner.text.text()
    assert banner.restart.isVisible(), "whatever else is told, there is no other way to load it"
    assert not banner.dismiss.isVisible()
    session.fails_on.clear()
    driver.window.banner.restart.click()
    driver.until_state(EngineState.IDLE)
    assert not driver.window.banner.isVisible()


@pytest.mark.parametrize("error", [CapacityError("Too large."), MemoryError(), ValueError("odd")])
def test_a_failure_leaves_the_app_usable(driver: AppDriver, book: Path, error: BaseException) -> None:
    driver.session.fails_on[Read] = error
    driver.controller.open_files([book])
    driver.until(driver.window.banner.isVisible)
    driver.session.fails_on = {Ask: error}
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    assert driver.chat.exchanges[0].state is ExchangeState.FAILED
    driver.session.fails_on.clear()
    type_and_send(driver, "Who?")
    driver.until_answered(1)
    assert driver.chat.exchanges[1].answer == ANSWER


def test_a_title_has_the_header_s_width_and_the_context_s_length_below(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    driver.chat.rename("The Archive of Pellingwater")
    QApplication.sendPostedEvents()
    for label in (driver.window.title, driver.window.tokens):
        assert label.isVisible()
        assert label.width() >= label.sizeHint().width()


def test_a_long_title_gives_way_to_what_stands_beside_it(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    driver.chat.rename("A title that is much too long for the header of a window " * 3)
    QApplication.sendPostedEvents()
    title, tokens = driver.window.title, driver.window.tokens
    assert tokens.width() >= tokens.sizeHint().width()
    assert title.width() < title.sizeHint().width()
    assert driver.window.width() == 1280


@pytest.mark.parametrize("width", [1280, 1920])
def test_the_welcome_stands_above_the_question(driver: AppDriver, width: int) -> None:
    driver.window.resize(width, 800)
    QApplication.sendPostedEvents()
    area = driver.window.conversation.welcome.findChild(QFrame, "droparea")
    view, composer = driver.window.conversation, driver.window.composer
    left, right = area.mapTo(view, area.rect().topLeft()).x(), area.mapTo(view, area.rect().topRight()).x()
    assert (
        left == composer.mapTo(driver.window, composer.rect().topLeft()).x() - view.mapTo(driver.window, QPoint()).x()
    )
    assert abs(left + right + 1 - view.width()) <= 1


def test_quitting_while_an_answer_is_written_is_clean(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    driver.session.held_at = {"write"}
    type_and_send(driver, "Who?")
    driver.until_reached("write")
    driver.window.close()
    assert driver.application.closed_in_time


def test_every_control_has_a_name_for_screen_readers(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    kinds = (QAbstractButton, QLineEdit, QPlainTextEdit, QTextEdit)
    controls = [widget for kind in kinds for widget in driver.window.findChildren(kind)]
    assert len(controls) > 15
    nameless = [repr(widget) for widget in controls if not widget.accessibleName()]
    assert nameless == []


def test_qt_keeps_its_references_to_none(driver: AppDriver) -> None:
    before = sys.getrefcount(None)
    point = QPoint()
    for number in range(5_000):
        point.setX(number)
    assert sys.getrefcount(None) > before - 1_000


def test_screen_readers_are_told_what_is_over(driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        announcer, "QAccessible", SimpleNamespace(updateAccessibility=lambda event: said.append(event.message()))
    )
    driver.until_state(EngineState.IDLE)
    said.clear()
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    driver.until_state(EngineState.IDLE)
    assert said == ["Reading is over", "The answer is finished"]
    driver.controller.new_chat()
    driver.chat.set_options(ChatOptions(first_tokens=100))
    read_book(driver, book)
    driver.until_state(EngineState.IDLE)
    assert said[2:] == ["The beginning is read"]


def test_screen_readers_are_told_of_what_was_stopped_and_what_failed(
    driver: AppDriver, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        announcer, "QAccessible", SimpleNamespace(updateAccessibility=lambda event: said.append(event.message()))
    )
    driver.until_state(EngineState.IDLE)
    said.clear()
    driver.controller.open_files([tmp_path / "none.txt"])
    driver.until(driver.window.banner.isVisible)
    driver.session.held_at = {"read", "write"}
    driver.controller.open_files([book])
    driver.until_reached("read")
    driver.controller.stop()
    driver.until_read(ReadingState.STOPPED)
    type_and_send(driver, "Who?")
    driver.until(lambda: driver.chat.exchanges[0].answer == WORDS[0])
    driver.controller.stop()
    driver.until_answered()
    driver.session.fails_on = {Ask: CapacityError("Too large.")}
    type_and_send(driver, "When?")
    driver.until_answered(1)
    driver.until_state(EngineState.IDLE)
    assert said == [
        f"Reading failed: There is no file {tmp_path / 'none.txt'}: look whether it was moved or renamed.",
        "Reading was stopped",
        "The answer was stopped",
        "The answer failed: Too large.",
    ]
