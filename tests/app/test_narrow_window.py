"""A window that gets narrow, down to nothing: panes and figures give way and come back."""

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QSize
from PySide6.QtWidgets import QApplication, QLabel, QPushButton

from app.figures import as_short_tokens
from app.models.engine_status import EngineState
from app.requests import Ask
from app.views.main_window import DOCUMENT_FROM, LEAST_SIZE, SIDEBAR_FROM
from app.views.meters import Meter
from tests.app.conftest import AppDriver, read_book


def resize(driver: AppDriver, width: int, height: int = 600) -> None:
    driver.window.resize(width, height)
    QApplication.sendPostedEvents()


def assert_welcome_has_room(driver: AppDriver) -> None:
    welcome = driver.window.conversation.welcome
    for widget in welcome.widget().findChildren(QLabel) + welcome.widget().findChildren(QPushButton):
        if widget.isVisible():
            hint = widget.sizeHint().height()
            least = widget.heightForWidth(widget.width()) if widget.hasHeightForWidth() else hint
            assert widget.height() >= least, widget.text()
            left = widget.mapTo(welcome.viewport(), widget.rect().topLeft()).x()
            assert 0 <= left <= welcome.viewport().width() - widget.width(), widget.text()


def test_panes_give_way_and_come_back(driver: AppDriver) -> None:
    window = driver.window
    resize(driver, SIDEBAR_FROM - 1)
    assert (window.sidebar.isVisible(), window.document.isVisible()) == (False, True)
    resize(driver, DOCUMENT_FROM - 1)
    assert (window.sidebar.isVisible(), window.document.isVisible()) == (False, False)
    resize(driver, 1280)
    assert (window.sidebar.isVisible(), window.document.isVisible()) == (True, True)


def test_what_a_person_hides_or_shows_stays_so(driver: AppDriver) -> None:
    window = driver.window
    window.sidebar_button.click()
    resize(driver, 700)
    resize(driver, 1280)
    assert not window.sidebar.isVisible()
    resize(driver, 700)
    window.document_button.click()
    resize(driver, 690)
    assert window.document.isVisible()


def test_a_long_name_gives_way_instead_of_making_its_pane_wide(driver: AppDriver, tmp_path: Path) -> None:
    book = tmp_path / ("a very long name " * 12 + ".txt")
    book.write_text("Some words. " * 40)
    resize(driver, 1280, 800)
    driver.until_state(EngineState.IDLE)
    before = driver.window.document.width()
    driver.controller.open_files([book])
    driver.until_read()
    QApplication.sendPostedEvents()
    pane = driver.window.document
    assert pane.name.text() == pane.name.toolTip() == book.name
    assert pane.width() == before


@pytest.mark.parametrize("size", [QSize(1280, 800), QSize(1280, 500), QSize(760, 600), LEAST_SIZE])
def test_the_welcome_has_room_for_all_its_lines(driver: AppDriver, size: QSize) -> None:
    driver.until_state(EngineState.IDLE)
    resize(driver, size.width(), size.height())
    assert_welcome_has_room(driver)


@pytest.mark.parametrize("size", [QSize(0, 0), QSize(1, 1), LEAST_SIZE, QSize(500, 400)])
def test_no_size_is_too_small(driver: AppDriver, size: QSize) -> None:
    driver.controller.ask("Who?")
    driver.until_answered()
    resize(driver, size.width(), size.height())
    window = driver.window
    assert window.width() >= LEAST_SIZE.width()
    driver.window.grab()
    for widget in (window.composer.send, window.menu_button, window.meters.chart):
        place = widget.rect().translated(widget.mapTo(window, widget.rect().topLeft()))
        assert window.rect().contains(place), widget.accessibleName()
    window.document.resize(0, 0)
    window.document.text.resize(0, 0)
    window.document.grab()


@pytest.mark.parametrize("width", [LEAST_SIZE.width(), 519, 520, 679, 680, 799, 800, 1199, 1200])
def test_no_figure_in_the_strip_is_cut_off(driver: AppDriver, width: int) -> None:
    driver.until_state(EngineState.IDLE)
    meters = driver.window.meters
    resize(driver, width)
    meters.context.set_value("1,048,576 tokens")
    meters.rate.set_value("12,345 tokens/s")
    QApplication.sendPostedEvents()
    shown = [meter for meter in meters.findChildren(Meter) if meter.isVisible()]
    assert meters.context in shown
    for meter in shown:
        assert meter.value.width() >= meter.value.sizeHint().width(), meter.accessibleName()
        assert meter.mapTo(meters, meter.rect().topRight()).x() < meters.chart.x() < meters.width()


def test_why_an_answer_failed_is_told_whole_in_a_narrow_window(driver: AppDriver) -> None:
    driver.session.fails_on = {Ask: OSError("The disk is gone, " * 20)}
    driver.controller.ask("Who?")
    driver.until_answered()
    resize(driver, LEAST_SIZE.width())
    failed = driver.transcript.exchanges[0].waiting
    assert "The disk is gone" in failed.text()
    assert failed.width() <= driver.transcript.viewport().width()
    assert failed.height() >= failed.heightForWidth(failed.width()) > 2 * failed.fontMetrics().lineSpacing()


@pytest.mark.parametrize("width", [160, 300, 900])
def test_that_a_quote_was_not_found_is_told_whole_in_little_room(driver: AppDriver, book: Path, width: int) -> None:
    read_book(driver, book)
    driver.session.words = ("“Geese & ganders of the Salt Steps, never counted” was not said.",)
    driver.controller.ask("Who?")
    driver.until_answered()
    [button] = driver.transcript.exchanges[0].claims.buttons
    shown = button.shown(width)
    assert shown.endswith(" · not found in the document")
    assert ("…" in shown) == (width < button.sizeHint().width())
    assert "…" not in button.shown(button.sizeHint().width())
    beside = button.sizeHint().width() - button.fontMetrics().horizontalAdvance(button.shown(10_000))
    least = button.fontMetrics().horizontalAdvance("… · not found in the document")
    assert button.fontMetrics().horizontalAdvance(shown) <= max(width - beside, least)


@pytest.mark.parametrize("width", [LEAST_SIZE.width(), 520, DOCUMENT_FROM - 1, DOCUMENT_FROM, 799, 1280])
def test_the_context_s_length_is_told_in_the_room_that_there_is(driver: AppDriver, book: Path, width: int) -> None:
    read_book(driver, book)
    line, status = driver.window.tokens, driver.status
    measured = status.measured[driver.chat.number]
    for read, unread, short in ((1_048_576, 0, "1.04M / 1.04M"), (412_345, 487_655, "412k / 900k")):
        status.set_measured(replace(measured, num_tokens=read, unread_tokens=unread))
        resize(driver, width)
        shown = line.shown(line.width())
        assert line.fontMetrics().horizontalAdvance(shown) <= line.width()
        assert line.text() == line.toolTip() == f"{read:,} of {read + unread:,} tokens in context"
        assert shown in (line.text(), line.text().removesuffix(" in context"), f"{short} tokens", short)
        assert (shown == line.text()) == (line.sizeHint().width() <= line.width())
        line.grab()


def test_a_beginning_and_what_was_only_said_have_short_lines_too(driver: AppDriver, book: Path) -> None:
    driver.controller.ask("Who?")
    driver.until_answered()
    line, told = driver.window.tokens, driver.status.measured[driver.chat.number].num_tokens
    assert line.shown(0) == line.text().removesuffix(" tokens in context") == f"{told:,}"
    driver.controller.new_chat()
    driver.chat.set_options(replace(driver.chat.options, first_tokens=400))
    read_book(driver, book)
    total = driver.chat.reading.tokens_total
    assert line.text() == f"Only 400 of {total:,} tokens read"
    assert line.shown(0) == f"400 / {total:,} read"


def test_a_short_count_is_rounded_to_the_side_that_is_wanted() -> None:
    counts = (9_876, 10_999, 412_345, 999_000, 999_500, 1_048_576, 1_050_000)
    assert [as_short_tokens(count) for count in counts] == ["9,876", "10k", "412k", "999k", "0.99M", "1.04M", "1.05M"]
    up = [as_short_tokens(count, up=True) for count in counts]
    assert up == ["9,876", "11k", "413k", "999k", "1.00M", "1.05M", "1.05M"]
