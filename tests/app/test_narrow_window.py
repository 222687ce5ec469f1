"""A window that gets narrow, down to nothing: panes and figures give way and come back."""

import pytest
from PySide6.QtCore import QSize
from PySide6.QtWidgets import QApplication

from app.views.main_window import DOCUMENT_FROM, LEAST_SIZE, SIDEBAR_FROM
from tests.app.conftest import AppDriver


def resize(driver: AppDriver, width: int, height: int = 600) -> None:
    driver.window.resize(width, height)
    QApplication.sendPostedEvents()


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
