"""Settings and options of a chat: what the dialogs change, what is kept, and what reaches the engine."""

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QContextMenuEvent, QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QMenu, QScrollArea, QTextBrowser

from app.figures import as_bytes
from app.folder_sizes import bytes_of
from app.folders import Folders
from app.models.chat import ReadingState
from app.models.engine_status import EngineState
from app.reports import ShelfMeasured
from app.requests import Said
from app.resources import resource_text
from app.settings import PRESETS, ChatOptions, Settings, load_settings
from app.views import folders_page, settings_dialog
from app.views.theme import DARK
from kiv_engine.config import KIVConfig, SamplingConfig
from tests.app.conftest import AppDriver
from tests.app.scripted_session import WORDS


@pytest.fixture
def damaged(folders: Folders) -> Folders:
    """A damaged file, from before the app starts; must stand before `driver`."""
    folders.config.mkdir()
    folders.settings.write_text("{")
    return folders


def choose(combo: object, value: object) -> None:
    combo.setCurrentIndex(combo.findData(value))
    combo.activated.emit(combo.currentIndex())


def test_folders_tell_where_things_lie_and_what_they_take(
    driver: AppDriver, folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, opened = tmp_path / "models", list[str]()
    for folder, size in ((models / "one", 70_000), (folders.contexts / "kept", 40_000), (folders.store, 30_000)):
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(bytes(size))
        (folder / "same").hardlink_to(folder / "data")
    monkeypatch.setattr("kiv_engine.model_places.model_folders", lambda: [models])
    monkeypatch.setattr(
        folders_page.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()) or len(opened) == 1
    )
    dialog = driver.application.settings_dialog
    driver.window.settings_action.trigger()
    assert not dialog.folders.rows, "nothing is counted before it is looked at"
    dialog.parts.setCurrentRow(settings_dialog.FOLDERS_PART)
    rows = dialog.folders.rows
    driver.until(lambda: len(rows) == 4 and all("count" not in row.taken.text() for row in rows.values()))
    assert list(rows) == [
        ("chats", folders.data),
        ("contexts", folders.contexts),
        ("settings", folders.config),
        ("models", models),
    ]
    assert rows["contexts", folders.contexts].taken.text() == as_bytes(40_960 + 32_768), "in whole blocks, links once"
    row = rows["models", models]
    assert (row.path.accessibleName(), row.taken.text()) == (str(models), as_bytes(73_728))
    row.copy.click()
    assert QGuiApplication.clipboard().text() == str(models)
    row.open.click()
    assert opened == [str(models)]
    row.open.click()
    assert row.line.text() == "Nothing on this PC opens folders; copy the path instead."
    models.rename(tmp_path / "elsewhere")
    row.open.click()
    assert row.line.text() == "Nothing is kept there yet."
    dialog.parts.setCurrentRow(0)
    dialog.parts.setCurrentRow(settings_dialog.FOLDERS_PART)
    driver.until(lambda: row.taken.text() == as_bytes(0))


def test_counting_ends_when_it_is_to_stop(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(9_000))
    assert bytes_of(tmp_path, lambda: True) == 0
    assert bytes_of(tmp_path, lambda: False) > 0
    assert bytes_of(tmp_path / "nowhere", lambda: False) == 0


def test_a_damaged_file_is_told_and_defaults_are_used(damaged: Folders, driver: AppDriver) -> None:
    text = driver.window.banner.text.text()
    assert "settings file is damaged" in text
    assert text.endswith(" The defaults are used. The file is kept as settings.json.damaged-1.")
    assert driver.application.preferences.settings == Settings()
    assert (damaged.config / "settings.json.damaged-1").read_text() == "{"


def test_the_look_follows_the_dialog_and_is_kept(driver: AppDriver, folders: Folders) -> None:
    dialog = driver.application.settings_dialog
    QTest.keyClick(driver.window, Qt.Key.Key_Comma, Qt.KeyboardModifier.ControlModifier)
    assert dialog.isVisible()
    choose(dialog.theme, "dark")
    choose(dialog.font_points, 14)
    assert driver.application.theme.colors == DARK
    assert driver.window.font().pointSizeF() == 14
    assert load_settings(folders.settings).settings == Settings(theme="dark", font_points=14)
    QTest.keyClick(driver.window, Qt.Key.Key_Plus, Qt.KeyboardModifier.ControlModifier)
    assert driver.window.font().pointSizeF() == 15
    QTest.keyClick(driver.window, Qt.Key.Key_0, Qt.KeyboardModifier.ControlModifier)
    assert driver.application.preferences.settings == Settings(theme="dark")
    assert dialog.font_points.currentData() == 0
    dialog.close()


def test_engine_knobs_reach_the_engine_and_tell_their_cost(driver: AppDriver, book: Path) -> None:
    driver.until(lambda: driver.status.model is not None)
    dialog = driver.application.settings_dialog
    dialog.open_part(1)
    choose(dialog.retrieved, 512)
    choose(dialog.dtype, "int8")
    assert "524 KB" in dialog.retrieved_line.text(), "512 tokens of 1,024 bytes"
    assert "A million tokens: 272 MB." in dialog.dtype_line.text(), "in 8 bit, with their scales"
    dialog.close()
    driver.controller.open_files([book])
    driver.until_read()
    assert driver.session.read[-1].options.config == KIVConfig(retrieved_tokens=512, store_dtype="int8")


def test_a_million_tokens_in_8_bit_cost_what_the_engine_says_of_a_16_bit_model(driver: AppDriver) -> None:
    driver.until(lambda: driver.status.model is not None)
    dialog = driver.application.settings_dialog
    driver.status.set_model(replace(driver.status.model, row_bytes=36_864, int8_row_bytes=19_008))
    assert dialog.dtype_line.text().endswith("A million tokens: 36.9 GB.")
    choose(dialog.dtype, "int8")
    assert dialog.dtype_line.text().endswith("A million tokens: 19.0 GB.")


def test_the_list_of_shortcuts_has_the_keys_of_the_list_of_chats(driver: AppDriver) -> None:
    shown = dict(driver.window.shortcuts)
    assert shown["Enter or Ctrl+Enter"] == "Send"
    assert all("in the list" in shown[keys] for keys in ("F2", "Delete", "Menu key"))


def test_ctrl_enter_sends_too(driver: AppDriver) -> None:
    driver.until_state(EngineState.IDLE)
    QTest.keyClicks(driver.window.composer.edit, "Who?")
    QTest.keyClick(driver.window.composer.edit, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    driver.until_answered()
    assert driver.chat.exchanges[-1].question == "Who?"


def test_the_list_of_chats_is_worked_with_keys(driver: AppDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    sidebar, offered, deleted = driver.window.sidebar, [], []
    texts = lambda menu: [action.text() for action in menu.actions() if action.text()]  # noqa: E731
    monkeypatch.setattr(QMenu, "popup", lambda menu, _at: offered.extend(texts(menu)))  # it needs a screen
    sidebar.chat_deleted.connect(deleted.append)
    sidebar.list.setFocus()
    QTest.keyClick(sidebar.list, Qt.Key.Key_F2)
    [editor] = sidebar.list.findChildren(QLineEdit)
    editor.setText("Geese")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    driver.until(lambda: driver.chat.title == "Geese")
    at = sidebar.list.inputMethodQuery(Qt.InputMethodQuery.ImCursorRectangle).center()  # as Qt does for the key
    asked = QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, at, sidebar.list.mapToGlobal(at))
    QApplication.sendEvent(driver.window.focusWidget(), asked)
    assert offered == ["Rename", "Pin", "Delete"]
    QTest.keyClick(sidebar.list, Qt.Key.Key_Delete)
    assert [chat.title for chat in deleted] == ["Geese"]


def test_the_model_is_named_and_leads_to_the_page_of_models(driver: AppDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.application.models_controller, "list_models", lambda: None)  # that takes torch
    driver.until_state(EngineState.IDLE)
    dialog = driver.application.settings_dialog
    dialog.open_part(1)
    assert dialog.model.text() == "Built-in model …"
    driver.controller.use_model("Owner/A-Model-With-A-Very-Long-Name-8B-Instruct", "none")
    driver.until(lambda: dialog.model.toolTip() == "A-Model-With-A-Very-Long-Name-8B-Instruct")
    assert dialog.model.text().count("…") == 2
    assert dialog.model.accessibleName() == "Models; in use: A-Model-With-A-Very-Long-Name-8B-Instruct"
    dialog.model.setFocus()
    QTest.keyClick(dialog.model, Qt.Key.Key_Space)
    assert not dialog.isVisible()
    assert driver.application.models_dialog.isVisible()
    driver.application.models_dialog.close()


def test_how_much_is_kept_is_chosen_and_told(driver: AppDriver, book: Path) -> None:
    dialog = driver.application.settings_dialog
    driver.status.set_shelf(ShelfMeasured(3, 2_500_000_000))
    driver.window.settings_action.trigger()
    assert "Now: 3 texts, 2.50 GB." in dialog.kept_line.text()
    dialog.close()
    driver.status.set_shelf(ShelfMeasured(1, 3_100_000))
    driver.window.settings_action.trigger()
    assert "Now: 1 text, 3.1 MB." in dialog.kept_line.text()
    choose(dialog.kept, 0)
    driver.controller.open_files([book])
    driver.until_read()
    assert driver.session.read[0].options.kept_gb == 0


def test_a_value_from_the_file_that_the_dialog_does_not_offer_is_kept(driver: AppDriver) -> None:
    dialog = driver.application.settings_dialog
    driver.application.preferences.set(Settings(engine=KIVConfig(hot_tokens=333)))
    assert dialog.hot.currentText() == "333"
    choose(dialog.retrieved, 128)
    assert driver.application.preferences.settings.engine == KIVConfig(hot_tokens=333, retrieved_tokens=128)


def test_about_shows_the_version_and_the_licences(driver: AppDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_dialog, "version", lambda name: f"1.2.3 of {name}")
    dialog = driver.application.settings_dialog
    [about] = dialog.parts.findItems("About", Qt.MatchFlag.MatchExactly)
    dialog.open_part(dialog.parts.row(about))
    page = dialog.pages.currentWidget()
    assert "KIV Desktop 1.2.3 of kiv-desktop" in " ".join(label.text() for label in page.findChildren(QLabel))
    [licences] = page.findChildren(QTextBrowser)
    for row in resource_text("THIRD_PARTY.md").splitlines():
        if row.startswith("| "):
            assert row.split("|")[1].strip() in licences.toPlainText()


def test_the_chat_dialog_shows_all_its_lines_at_once(driver: AppDriver) -> None:
    driver.window.chat_options_action.trigger()
    dialog = driver.application.chat_dialog
    driver.until(lambda: dialog.isVisible())
    QApplication.sendPostedEvents()
    [area] = [each for each in dialog.findChildren(QScrollArea) if each.widget() is not None]
    assert area.verticalScrollBar().maximum() == 0
    [caption] = [label for label in dialog.findChildren(QLabel) if "system prompt" in label.text()]
    assert caption.height() < 2 * caption.fontMetrics().lineSpacing()
    dialog.reject()


def test_no_line_of_the_chat_dialog_covers_a_field(driver: AppDriver) -> None:
    driver.window.chat_options_action.trigger()
    dialog = driver.application.chat_dialog
    driver.until(lambda: dialog.isVisible())
    lines = [label for label in dialog.findChildren(QLabel) if "before the documents" in label.text()]
    assert lines[0].geometry().top() > dialog.system.geometry().bottom()
    assert lines[0].height() >= lines[0].heightForWidth(lines[0].width())
    dialog.reject()


def test_all_keys_of_the_window_are_told(driver: AppDriver) -> None:
    QTest.keyClick(driver.window, Qt.Key.Key_F1)
    dialog = driver.application.settings_dialog
    told = [label.text() for label in dialog.pages.currentWidget().findChildren(QLabel)]
    for action in driver.window.actions():
        assert action.shortcut().toString() in told
        assert action.text().removesuffix(" …") in told
    assert {"Ctrl+Shift+O", "Ctrl+Shift+P", "Shift+Enter"} <= set(told)
    dialog.close()


def test_a_folder_that_cannot_be_written_is_told(driver: AppDriver, folders: Folders) -> None:
    folders.config.write_text("a file in its place")
    driver.application.preferences.set(Settings(theme="light"))
    assert "cannot be kept" in driver.window.banner.text.text()


def test_a_preset_sets_the_sampling_of_this_chat(driver: AppDriver, book: Path) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    dialog = driver.application.chat_dialog
    driver.window.options_button.click()
    choose(dialog.preset, "Creative")
    assert dialog.temperature.value() == 1
    dialog.temperature.setValue(0.85)
    assert dialog.preset.currentText() == "Custom"
    choose(dialog.preset, "Balanced")
    dialog.length.setValue(99)
    dialog.accept_button.click()
    driver.controller.ask("Who?")
    driver.until_answered()
    sampling = driver.session.asked[-1].sampling
    assert ChatOptions(sampling=sampling).preset == "Balanced"
    assert sampling.max_new_tokens == 99
    assert driver.chat.reading.state is ReadingState.READ
    driver.controller.new_chat()
    assert driver.chat.options == ChatOptions()


def test_another_system_prompt_has_the_documents_read_again(driver: AppDriver, book: Path) -> None:
    driver.controller.open_files([book])
    driver.controller.ask("Who?")
    driver.until_answered()
    options = ChatOptions("Be brief.", PRESETS["Precise"])
    driver.controller.set_options(options, True)
    driver.until(lambda: driver.session.num_closed == 1)
    assert driver.chat.reading.state is ReadingState.CLOSED
    assert driver.transcript.card.again.isVisible()
    driver.controller.ask("And when?")
    driver.until_answered(1)
    assert driver.session.read[-1].options.system == "Be brief."
    assert driver.session.asked[-1].history == (Said("Who?", "".join(WORDS)),)
    assert driver.chat.reading.state is ReadingState.READ
    assert driver.chat.opened_documents[0].text == book.read_text(encoding="utf-8")
    driver.controller.new_chat()
    assert driver.chat.options == options
    assert driver.application.preferences.settings.chat == options


def test_a_document_that_is_gone_when_it_is_read_again_is_told(driver: AppDriver, tmp_path: Path) -> None:
    book = tmp_path / "here.txt"
    book.write_text("Words. " * 200)
    driver.controller.open_files([book])
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.controller.set_options(ChatOptions("Other", SamplingConfig()), False)
    book.unlink()
    driver.controller.ask("When?")
    driver.until(lambda: driver.window.composer.edit.toPlainText() == "When?")
    assert driver.chat.reading.state is ReadingState.CLOSED
    assert [document.name for document in driver.chat.documents] == ["here.txt"]
    assert len(driver.chat.exchanges) == 1
    book.write_text("Words. " * 200)
    driver.transcript.card.again.click()
    driver.until_read()


def test_another_system_prompt_while_documents_are_read_and_questions_wait(driver: AppDriver, book: Path) -> None:
    driver.session.held_at = {"read"}
    driver.controller.open_files([book])
    driver.controller.ask("Who?")
    driver.until_reached("read")
    driver.controller.set_options(ChatOptions("Be brief."), False)
    driver.session.go()
    driver.until_answered()
    assert [request.options.system for request in driver.session.read] == ["", "Be brief."]
    assert driver.session.asked[0].options.system == "Be brief."
    assert driver.chat.reading.state is ReadingState.READ
    assert driver.chat.reading.tokens_read == driver.chat.reading.tokens_total == len(book.read_text()) // 4


def test_another_system_prompt_while_a_file_is_parsed_and_questions_wait(driver: AppDriver, book: Path) -> None:
    driver.session.held_at = {"open"}
    driver.controller.open_files([book])
    driver.controller.ask("Who?")
    driver.until_reached("open")
    driver.controller.set_options(ChatOptions("Be brief."), False)
    driver.session.go()
    driver.until_answered()
    assert [document.name for document in driver.chat.documents] == ["book.txt"]
    assert driver.chat.reading.state is ReadingState.READ
    assert driver.chat.reading.tokens_read == len(book.read_text()) // 4
    assert driver.session.asked[0].options.system == "Be brief."


@pytest.mark.parametrize("step", ["open", "read"])
def test_bringing_documents_back_can_be_stopped_and_loses_none(driver: AppDriver, book: Path, step: str) -> None:
    driver.controller.open_files([book])
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.controller.set_options(ChatOptions("Be brief."), False)
    driver.until(lambda: driver.session.num_closed == 1)
    driver.session.reached.clear()
    driver.session.held_at = {step}
    driver.controller.ask("When?")
    driver.until_reached(step)
    driver.controller.stop()
    driver.until_read(ReadingState.CLOSED)
    driver.until(lambda: driver.session.num_closed == 2)
    assert [document.name for document in driver.chat.documents] == ["book.txt"]
    assert driver.chat.documents[0].place is not None
    assert driver.window.composer.edit.toPlainText() == "When?", "it is not answered without the documents"
    assert len(driver.session.asked) == 1
    driver.session.go()
    driver.transcript.card.again.click()
    driver.until_read()
    assert driver.chat.reading.tokens_read == driver.chat.reading.tokens_total == len(book.read_text()) // 4


def test_one_of_several_documents_that_is_gone_stays_in_its_chat(driver: AppDriver, book: Path, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("Notes. " * 200)
    driver.controller.open_files([other, book])
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.controller.set_options(ChatOptions("Be brief."), False)
    other.unlink()
    driver.controller.ask("When?")
    driver.until_read(ReadingState.CLOSED)
    driver.until(lambda: driver.session.num_closed == 2)
    assert driver.window.composer.edit.toPlainText() == "When?"
    assert "There is no file" in driver.window.banner.text.text()
    assert "There is no file" in driver.transcript.card.state.text()
    assert [document.name for document in driver.chat.documents] == ["notes.txt", "book.txt"]
    other.write_text("Notes. " * 200)
    driver.controller.ask("When?")
    driver.until_answered(1)
    assert [document.text is not None for document in driver.chat.documents] == [True, True]


def test_a_document_dropped_on_a_closed_chat_is_read_behind_those_that_are_there(
    driver: AppDriver, book: Path, tmp_path: Path
) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("Notes. " * 200)
    driver.controller.open_files([book])
    driver.until_read()
    driver.controller.set_options(ChatOptions("Be brief."), False)
    driver.until_read(ReadingState.CLOSED)
    driver.controller.open_files([other])
    driver.until_read()
    assert [request.sources[0].name for request in driver.session.read[1:]] == ["book.txt", "notes.txt"]
    assert [document.text is not None for document in driver.chat.documents] == [True, True]
