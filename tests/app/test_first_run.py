"""The first page: shown once by itself, what it says, and what can be done on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QScrollArea
from pytestqt.qtbot import QtBot

from app.application import Application
from app.folders import Folders
from app.models.engine_status import EngineState
from app.requests import DownloadModel, TimeModels
from app.settings import load_settings
from app.views.first_run import FirstRunDialog
from tests.app.scripted_session import ScriptedSession
from tests.app.test_models import LARGE, SMALL, ModelsDriver, ScriptedModels


class FirstRunDriver(ModelsDriver):
    """An app that was started for the first time."""

    @property
    def dialog(self) -> FirstRunDialog:
        return self.application.first_run


@contextmanager
def welcomed(
    qtbot: QtBot, qapp: QApplication, session: ScriptedSession, folders: Folders, models: ScriptedModels
) -> Iterator[FirstRunDriver]:
    """An app that is started for the first time, up to where the models are timed; closed in the end."""
    application = Application(qapp, session, folders, models)
    application.start()
    application.welcome()
    driver = FirstRunDriver(qtbot, application, session)
    driver.models = models
    driver.until_state(EngineState.IDLE)
    driver.until(lambda: any(isinstance(request, TimeModels) for request in models.asked))
    yield driver
    models.go()
    application.window.close()
    assert application.closed_in_time
    application.window.deleteLater()
    application.deleteLater()


@pytest.fixture
def first(qtbot: QtBot, qapp: QApplication, session: ScriptedSession, folders: Folders) -> Iterator[FirstRunDriver]:
    with welcomed(qtbot, qapp, session, folders, ScriptedModels()) as driver:
        driver.until(lambda: not driver.application.models.is_timing)
        yield driver


def test_models_are_timed_no_longer_than_somebody_looks(
    qtbot: QtBot, qapp: QApplication, session: ScriptedSession, folders: Folders
) -> None:
    with welcomed(qtbot, qapp, session, folders, ScriptedModels(slow=True)) as driver:
        assert driver.application.models.is_timing
        QTest.mouseClick(driver.dialog.stay, Qt.MouseButton.LeftButton)
        driver.until(lambda: not driver.application.models.is_timing)
        row = driver.application.models.row(SMALL.name)
        assert row is not None
        assert row.timed is None
        driver.window.welcome_action.trigger()
        driver.until(lambda: driver.application.models.is_timing)


def test_it_tells_what_this_pc_can_do_and_which_models_suit_it(first: FirstRunDriver) -> None:
    assert "16.0 GB free" in first.dialog.facts.text()
    assert set(first.dialog.views) == {SMALL.name}, "only those to take"
    assert first.dialog.legend.isVisible(), "there are bars to explain"
    view = first.view(SMALL.name)
    assert view.button.text() == "Get 2.00 GB"
    assert view.fit.text() == (
        "Up to 500,000 tokens in RAM, 2.0 million with the disk\n"
        "About 60 min to read 250 pages; with 2,500 pages read, it writes a word in 1 s"
    )
    assert view.fit.toolTip() == "Estimated: 10 h to read a million tokens, and 1.2 tokens/s behind them"
    view.weights.show_value("4bit")
    view.weights.chosen.emit()
    assert "pages" not in view.fit.text(), "that was measured for the other weights"
    assert LARGE.name not in first.dialog.views
    assert first.dialog.stay.text() == "Stay with the built-in model"


def test_it_comes_once_and_can_be_had_again(first: FirstRunDriver, folders: Folders) -> None:
    assert first.dialog.isVisible()
    assert first.dialog.focusWidget() is first.dialog.stay
    QTest.keyClick(first.dialog, Qt.Key.Key_Return)
    assert not first.dialog.isVisible()
    assert load_settings(folders.settings).settings.welcomed
    first.application.welcome()
    assert not first.dialog.isVisible()
    timed = sum(isinstance(request, TimeModels) for request in first.models.asked)
    first.window.welcome_action.trigger()
    assert first.dialog.isVisible()
    first.until(lambda: not first.application.models.is_listing)
    assert sum(isinstance(request, TimeModels) for request in first.models.asked) == timed, "what is known is not timed"
    QTest.keyClick(first.dialog, Qt.Key.Key_Escape)
    assert not first.dialog.isVisible()


def test_ctrl_q_quits_from_it(first: FirstRunDriver) -> None:
    first.dialog.activateWindow()
    first.until(lambda: QApplication.activeWindow() is first.dialog)
    QTest.keyClick(first.dialog, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier)
    first.until(lambda: not first.window.isVisible())


def test_a_model_is_fetched_and_used_from_it(first: FirstRunDriver) -> None:
    first.click(SMALL.name)
    first.until(lambda: DownloadModel(SMALL.name) in first.models.asked)
    first.models.go()
    first.until(lambda: first.view(SMALL.name).button.text() == "Use")
    first.click(SMALL.name)
    first.until(lambda: first.status.model is not None and first.status.model.name == SMALL.name)
    assert first.dialog.stay.text() == "Begin"
    first.dialog.all.click()
    assert first.application.models_dialog.isVisible()
    assert not first.dialog.isVisible()


def test_every_control_of_it_has_a_name(first: FirstRunDriver) -> None:
    buttons = first.dialog.findChildren(QAbstractButton)
    assert len(buttons) >= 3
    assert all(button.accessibleName() for button in buttons if not button.objectName().startswith("qt_"))


def test_rows_and_buttons_end_in_one_line_with_a_scroll_bar_and_without(first: FirstRunDriver) -> None:
    dialog, view = first.dialog, first.view(SMALL.name)
    bar = dialog.findChildren(QScrollArea)[0].verticalScrollBar()
    for height, is_there in ((720, False), (340, True), (720, False)):
        dialog.resize(dialog.width(), height)
        first.until(lambda is_there=is_there: bar.isVisible() == is_there)
        first.until(lambda: view.mapTo(dialog, view.rect().topRight()).x() == dialog.stay.geometry().right())
