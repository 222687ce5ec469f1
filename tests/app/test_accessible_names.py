"""A walk over every window, dialog and state: whatever takes the keyboard, or parts two panes, has a name for screen
readers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QApplication, QSplitterHandle, QWidget

from app.views.link_dialog import LinkDialog
from tests.app.conftest import AppDriver

INNER = ("qt_",)
"""Parts of Qt's own controls, which stand for the whole."""


def nameless(window: QWidget) -> list[str]:
    """What is shown in a window, takes the keyboard or parts two panes, and has no name."""
    found = []
    for widget in window.findChildren(QWidget):
        is_handle = isinstance(widget, QSplitterHandle)  # Qt makes it, but it stands for itself
        is_worked = (is_handle or widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and widget.isVisibleTo(window)
        if not is_worked or (not is_handle and widget.objectName().startswith(INNER)):
            continue
        told = QAccessible.queryAccessibleInterface(widget)
        if told is not None and not told.text(QAccessible.Text.Name).strip():
            found.append(f"{type(widget).__name__} {widget.objectName()}")
    return found


def test_a_control_without_a_name_is_seen(driver: AppDriver) -> None:
    driver.window.composer.send.setAccessibleName("")
    driver.window.composer.send.setToolTip("")
    driver.window.panes.handle(1).setAccessibleName("")
    assert sorted(nameless(driver.window)) == ["IconButton send", "QSplitterHandle qt_splithandle_"]


STATES: dict[str, Callable[[AppDriver], None]] = {
    "welcome": lambda driver: None,
    "chart": lambda driver: driver.window.chart_action.trigger(),
    "banner": lambda driver: driver.controller.read_pasted(""),
    "deleted": lambda driver: driver.window.sidebar.chat_deleted.emit(driver.chat),
    "search": lambda driver: driver.window.search_action.trigger(),
    "rename": lambda driver: driver.window.sidebar.rename(),
}


@pytest.mark.parametrize("state", STATES)
def test_before_a_document(driver: AppDriver, state: str) -> None:
    STATES[state](driver)
    QApplication.sendPostedEvents()
    assert nameless(driver.window) == []


def test_with_a_document_and_answers(driver: AppDriver, book: Path) -> None:
    driver.session.held_at = {"read"}
    driver.controller.open_files([book])
    driver.until_reached("read")
    driver.until(lambda: driver.transcript.card.stop.isVisible())
    assert nameless(driver.window) == []
    driver.session.go()
    driver.until_read()
    driver.session.words = ("A [link](https://example.org) and\n\n```python\nx = 1\n```\n\n| a |\n|---|\n| 1 |\n",)
    driver.controller.ask("Count all the geese.")
    driver.until_answered()
    view = driver.transcript.exchanges[0]
    driver.until(lambda: len(view.answer.code.buttons) == 1)
    view.more.offer("Count all of them.", 256)
    view.more.offer_sections(20_000)
    driver.window.find_action.trigger()
    driver.window.document.find_bar.open()
    view.again.click()
    driver.until_answered()
    driver.transcript.exchanges[0].edit.click()
    assert nameless(driver.window) == []


DIALOGS: dict[str, Callable[[AppDriver], QWidget]] = {
    "settings": lambda driver: driver.application.settings_dialog,
    "this chat": lambda driver: driver.application.chat_dialog,
    "models": lambda driver: driver.application.models_dialog,
    "first run": lambda driver: driver.application.first_run,
    "link": lambda driver: LinkDialog(QUrl("https://example.org"), driver.window),
}


@pytest.mark.parametrize("name", DIALOGS)
def test_in_a_dialog(driver: AppDriver, name: str) -> None:
    dialog = DIALOGS[name](driver)
    dialog.show()
    pages = getattr(dialog, "pages", None)
    for number in range(pages.count() if pages else 1):
        if pages:
            pages.setCurrentIndex(number)
        assert nameless(dialog) == []
    assert dialog.windowTitle()
    dialog.close()


def test_letters_of_the_largest_size_leave_every_control_inside_its_window(driver: AppDriver) -> None:
    preferences = driver.application.preferences
    preferences.set(replace(preferences.settings, font_points=18))
    QApplication.sendPostedEvents()
    area = driver.window.rect()
    for widget in (driver.window.composer.send, driver.window.menu_button, driver.window.document_button):
        place = widget.rect().translated(widget.mapTo(driver.window, widget.rect().topLeft()))
        assert area.contains(place), widget.accessibleName()
