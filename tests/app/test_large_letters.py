"""Letters of another size: what is written still has room, or gives way as a whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QLabel, QScrollArea

from app.models.engine_status import EngineState
from app.views.settings_dialog import Choice
from tests.app.conftest import AppDriver
from tests.app.test_narrow_window import assert_welcome_has_room, resize

LARGE = 16


@pytest.fixture
def enlarged(driver: AppDriver, book: Path) -> Iterator[AppDriver]:
    """An answered question, and then larger letters."""
    resize(driver, 1280, 800)
    driver.controller.open_files([book])
    driver.until_read()
    driver.controller.ask("Who is the captain of the Second Bishop?")
    driver.until_answered()
    driver.until_state(EngineState.IDLE)
    enlarge(driver, LARGE)
    yield driver
    enlarge(driver, 0)


def enlarge(driver: AppDriver, points: int) -> None:
    driver.application.theme.set_points(points)
    QApplication.sendPostedEvents()


def test_the_question_and_its_field_have_room(enlarged: AppDriver) -> None:
    question, edit = enlarged.transcript.exchanges[0].question, enlarged.window.composer.edit
    assert question.height() >= question.heightForWidth(question.width())
    assert edit.height() >= edit.fontMetrics().lineSpacing()


def test_a_question_is_as_high_as_its_lines_after_any_change_of_size(enlarged: AppDriver) -> None:
    question = enlarged.transcript.exchanges[0].question
    for points in (24, *range(9, 16), 0):
        enlarge(enlarged, points)
        has_one_line = question.contentsRect().height() < 2 * question.fontMetrics().lineSpacing()
        assert has_one_line == (points < 24), f"{points} points"


def test_a_question_that_broke_in_a_narrow_window_stands_on_a_line_again(enlarged: AppDriver) -> None:
    question = enlarged.transcript.exchanges[0].question
    enlarge(enlarged, 15)
    resize(enlarged, 420, 600)
    assert question.contentsRect().height() >= 2 * question.fontMetrics().lineSpacing()
    resize(enlarged, 1280, 800)
    assert question.contentsRect().height() < 2 * question.fontMetrics().lineSpacing()


def test_headers_have_room_for_two_lines_and_are_of_one_height(enlarged: AppDriver) -> None:
    title, tokens, name = enlarged.window.title, enlarged.window.tokens, enlarged.window.document.name
    assert title.height() >= title.sizeHint().height()
    assert tokens.height() >= tokens.sizeHint().height()
    assert title.parentWidget().height() == name.parentWidget().height()


def test_figures_and_captions_are_written_in_full_or_not_at_all(enlarged: AppDriver) -> None:
    meters, evidence = enlarged.window.meters, enlarged.window.document.map
    assert not meters.parts["weights"].isVisible()
    assert meters.cpu.isVisible()
    for label in [*meters.findChildren(QLabel), evidence.caption]:
        assert not label.isVisible() or label.width() >= label.sizeHint().width(), label.text()
    enlarge(enlarged, 0)
    assert meters.parts["weights"].isVisible()


def test_the_settings_are_written_in_full_also_when_first_opened_with_large_letters(enlarged: AppDriver) -> None:
    enlarged.window.settings_action.trigger()
    dialog = enlarged.application.settings_dialog
    for part in range(dialog.parts.count()):
        dialog.open_part(part)
        QApplication.sendPostedEvents()
        assert dialog.parts.sizeHintForColumn(0) <= dialog.parts.viewport().width()
        page = dialog.pages.currentWidget()
        assert isinstance(page, QScrollArea)
        assert page.horizontalScrollBar().maximum() == 0, dialog.parts.item(part).text()
    dialog.hide()


def test_what_is_chosen_in_the_settings_is_written_in_full(enlarged: AppDriver) -> None:
    enlarged.window.settings_action.trigger()
    dialog = enlarged.application.settings_dialog
    for points in (24, LARGE):
        enlarge(enlarged, points)
        for part in range(dialog.parts.count()):
            dialog.open_part(part)
            QApplication.sendPostedEvents()
            for choice in dialog.pages.currentWidget().findChildren(Choice):
                assert choice.width() >= choice.sizeHint().width(), choice.currentText()
    dialog.hide()


def test_the_welcome_has_room_for_all_its_lines(enlarged: AppDriver) -> None:
    enlarged.controller.new_chat()
    QApplication.sendPostedEvents()
    assert_welcome_has_room(enlarged)
