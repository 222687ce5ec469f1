"""Documents on their way into memory: opened, stopped, kept in another way, dropped, and brought back."""

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit, QWidget

from app.controllers.readings import stamped
from app.models.chat import ExchangeState, ReadingState
from app.models.engine_status import EngineState
from app.requests import Ask, FileSource, Read
from kiv_engine.errors import DamagedContextError, OutOfMemoryError
from tests.app.conftest import AppDriver, read_book, type_and_send
from tests.app.scripted_session import ANSWER, SENTENCE, ScriptedSession

COPY, LEFT, NONE = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


def drag(driver: AppDriver, *paths: Path) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    driver.window.dragEnterEvent(QDragEnterEvent(QPoint(9, 9), COPY, data, LEFT, NONE))
    return data


def drop(driver: AppDriver, *paths: Path) -> None:
    data = drag(driver, *paths)
    driver.window.dropEvent(QDropEvent(QPointF(9, 9), COPY, data, LEFT, NONE))


def test_while_files_are_dragged_the_window_says_where_they_will_be_read(driver: AppDriver, book: Path) -> None:
    overlay, told = driver.window.overlay, []
    for step in (lambda: None, lambda: drop(driver, book), lambda: driver.controller.ask("Who?")):
        step()
        drag(driver, book)
        assert overlay.isVisible()
        told.append(overlay.place.text())
        driver.window.dragLeaveEvent(QDragLeaveEvent())
        assert not overlay.isVisible()
    assert told == [
        "All of it, from beginning to end",
        "Behind the documents of this chat, in the same context",
        "In a new chat: documents come before the first question",
    ]
    driver.until_answered()


def test_the_window_takes_all_that_is_dropped_on_it_also_over_fields(driver: AppDriver, book: Path) -> None:
    drop(driver, book)
    driver.until_read()
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.window.find_action.trigger()
    driver.transcript.exchanges[0].edit.click()
    driver.window.sidebar.rename()
    parts = [each for each in driver.window.findChildren(QWidget) if each.window() is driver.window]
    assert sum(isinstance(each, QLineEdit) for each in parts) == 4
    assert [each for each in parts if each.acceptDrops()] == []


def test_a_dropped_file_is_read_and_shown(driver: AppDriver, book: Path) -> None:
    drop(driver, book)
    driver.until_read()
    tokens = len(book.read_text()) // 4
    card = driver.transcript.card
    assert card.isVisible()
    assert f"{tokens:,} tokens read" in card.state.text()
    assert "fits this PC" in card.facts.text()
    assert not card.beyond.isVisible()
    assert driver.window.tokens.text() == f"{tokens:,} of {tokens:,} tokens in context"
    driver.until(lambda: driver.window.document.text.is_complete)
    assert SENTENCE in driver.window.document.text.toPlainText()


def test_reading_can_be_stopped_asked_about_and_continued(driver: AppDriver, book: Path) -> None:
    driver.session.held_at = {"read"}
    driver.controller.open_files([book])
    driver.until_reached("read")
    driver.until(lambda: driver.transcript.card.stop.isVisible())
    driver.transcript.card.stop.click()
    driver.until_read(ReadingState.STOPPED)
    assert "Ask now, or continue" in driver.transcript.card.state.text()
    driver.session.go()
    driver.transcript.card.resume.click()
    driver.until_read()
    assert not driver.transcript.card.resume.isVisible()


def test_a_question_during_reading_waits_for_the_end(driver: AppDriver, book: Path) -> None:
    driver.session.held_at = {"read"}
    driver.controller.open_files([book])
    driver.until_reached("read")
    type_and_send(driver, "Who?")
    assert driver.chat.exchanges[0].state is ExchangeState.WAITING
    driver.session.go()
    driver.until_answered()
    assert driver.session.reached.index("ask") > driver.session.reached.index("read")


def test_documents_are_kept_as_the_card_offers(driver: AppDriver, session: ScriptedSession, book: Path) -> None:
    read_book(driver, book)
    buttons = driver.transcript.card.stores.buttons
    assert [button.text().split(" · ")[0] for button in buttons.values()] == ["RAM", "RAM, 8 bit", "Disk"]
    assert all(button.text().endswith(("KB", "MB")) for button in buttons.values())
    assert [kind for kind, button in buttons.items() if button.isChecked()] == ["ram"]
    for kind in ("int8", "disk", "ram"):
        reads = len(session.read)
        QTest.mouseClick(buttons[kind], Qt.MouseButton.LeftButton)
        driver.until(lambda reads=reads: len(session.read) > reads)
        driver.until_read()
        config = session.read[-1].options.config
        assert (config.store_dtype == "int8", config.store != "ram") == (kind == "int8", kind == "disk")
        assert [each for each, button in buttons.items() if button.isChecked()] == [kind]
        assert driver.chat.options.store == kind
    type_and_send(driver, "Who?")
    driver.until_answered()
    assert session.asked[-1].options.config.store == "ram"


def test_a_document_that_does_not_fit_stays_and_can_be_kept_elsewhere(
    driver: AppDriver, session: ScriptedSession, book: Path
) -> None:
    session.fails_on[Read] = OutOfMemoryError("The document does not fit.")
    driver.controller.open_files([book])
    driver.until_read(ReadingState.CLOSED)
    driver.until_state(EngineState.IDLE)
    assert [document.name for document in driver.chat.documents] == ["book.txt"]
    assert "does not fit" in driver.transcript.card.state.text()
    del session.fails_on[Read]
    driver.controller.set_store("disk")
    driver.until_read()
    assert session.read[-1].options.config.store_folder is not None
    assert not driver.chat.reading.message


def test_a_bad_file_is_one_line_in_the_banner(driver: AppDriver, tmp_path: Path) -> None:
    song = tmp_path / "song.bin"
    song.write_bytes(b"a\0b")
    drop(driver, song)
    type_and_send(driver, "Who?")
    driver.until(driver.window.banner.isVisible)
    assert driver.window.banner.text.text() == "song.bin is not text: byte 0 is zero."
    assert not driver.window.banner.restart.isVisible()
    assert driver.chat.is_empty
    assert driver.window.composer.edit.toPlainText() == "Who?", "the question comes back"


def test_all_questions_about_a_bad_file_come_back_above_what_was_typed_meanwhile(
    driver: AppDriver, tmp_path: Path
) -> None:
    song = tmp_path / "song.bin"
    song.write_bytes(b"a\0b")
    driver.session.held_at = {"open"}
    driver.controller.open_files([song])
    driver.controller.ask("Who?")
    driver.controller.ask("When?")
    driver.until_reached("open")
    QTest.keyClicks(driver.window.composer.edit, "Where")
    driver.session.go()
    driver.until(lambda: not driver.chat.exchanges)
    assert driver.window.composer.edit.toPlainText() == "Who?\nWhen?\nWhere"


def test_a_question_about_a_bad_file_comes_back_in_its_own_chat(driver: AppDriver, tmp_path: Path) -> None:
    song = tmp_path / "song.bin"
    song.write_bytes(b"a\0b")
    driver.session.held_at = {"open"}
    driver.controller.open_files([song])
    driver.controller.ask("Who?")
    driver.until_reached("open")
    asked = driver.chat
    driver.controller.new_chat()
    QTest.keyClicks(driver.window.composer.edit, "Another")
    driver.session.go()
    driver.until(lambda: asked.draft == "Who?")
    assert driver.window.composer.edit.toPlainText() == "Another"
    driver.application.chats.show(asked)
    assert driver.window.composer.edit.toPlainText() == "Who?"


def test_documents_whose_kept_form_is_damaged_are_read_again_for_the_next_question(
    driver: AppDriver, book: Path
) -> None:
    read_book(driver, book)
    driver.session.fails_on = {Ask: DamagedContextError("layer3.keys is damaged. Read the document again.")}
    type_and_send(driver, "Who?")
    driver.until_answered()
    assert "is damaged" in driver.chat.exchanges[0].message
    assert "is damaged" in driver.window.banner.text.text()
    driver.session.fails_on = {}
    driver.until(lambda: driver.session.num_closed == 1)
    type_and_send(driver, "Who?")
    driver.until_answered(1)
    assert driver.chat.exchanges[1].answer == ANSWER
    assert len(driver.session.read) == 2
    assert driver.chat.reading.state is ReadingState.READ


def test_a_document_after_a_question_opens_a_new_chat(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    first = driver.chat
    read_book(driver, book)
    assert driver.chat is not first
    assert "new chat" in driver.window.banner.text.text()
    assert driver.application.chats.rowCount() == 2


def test_a_long_text_that_is_pasted_is_a_document(driver: AppDriver) -> None:
    QGuiApplication.clipboard().setText("short")
    driver.window.composer.edit.paste()
    assert driver.window.composer.edit.toPlainText() == "short"
    QGuiApplication.clipboard().setText(SENTENCE * 100)
    driver.window.composer.edit.paste()
    driver.until_read()
    assert driver.chat.documents[0].name == "Pasted: “Captain Anna Thornwick …”"
    assert driver.window.composer.edit.toPlainText() == "short"


def test_deleting_a_chat_that_is_read_stops_it(driver: AppDriver, book: Path) -> None:
    driver.session.held_at = {"read"}
    driver.controller.open_files([book])
    driver.until_reached("read")
    driver.window.sidebar.chat_deleted.emit(driver.chat)
    driver.until(lambda: driver.session.num_closed == 1)
    assert driver.chat.is_empty
    driver.until_state(EngineState.IDLE)


def test_a_text_beyond_the_trained_length_is_told(driver: AppDriver) -> None:
    driver.controller.read_pasted("Some words. " * 3_000)
    driver.until_read()
    assert driver.transcript.card.beyond.isVisible()
    assert "2,048 tokens" in driver.transcript.card.beyond.text()


def test_a_relative_path_means_the_same_file_for_ever(
    driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(book.parent)
    driver.controller.open_files([Path(book.name)])
    assert driver.chat.documents[0].source == FileSource(book)


def test_documents_that_were_only_opened_are_not_called_read(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    driver.chat.reading.opened = True
    driver.chat.reading_changed.emit()
    tokens = len(book.read_text(encoding="utf-8")) // 4
    assert driver.transcript.card.state.text() == f"All {tokens:,} tokens opened; read before"
    assert "RAM" not in driver.transcript.card.facts.text(), "they may lie on the disk"


def test_a_file_that_the_chat_has_is_read_again_only_where_it_has_changed(driver: AppDriver, book: Path) -> None:
    text, notes = driver.window.banner.text, book.with_name("notes.txt")
    notes.write_text("Some notes. " * 20)
    drop(driver, book, book)
    driver.until_read()
    assert [document.name for document in driver.chat.documents] == ["book.txt"], "named twice, read once"
    drop(driver, book)
    assert text.text() == "“book.txt” is already in this chat, and has not changed."
    drop(driver, book, notes)
    driver.until_read()
    assert [document.name for document in driver.chat.documents] == ["book.txt", "notes.txt"]
    drop(driver, book, notes)
    assert text.text() == "2 of these files are already in this chat, and have not changed."
    book.write_text(book.read_text() + "It went on.\n")
    drop(driver, book)
    driver.until_read()
    assert [document.name for document in driver.chat.documents] == ["book.txt", "notes.txt", "book.txt"]
    drop(driver, book)
    assert text.text() == "“book.txt” is already in this chat, and has not changed."
    assert len(driver.session.read) == 3


def test_a_line_that_only_tells_something_goes_with_the_next_question_and_an_error_stays(
    driver: AppDriver, book: Path
) -> None:
    banner = driver.window.banner
    read_book(driver, book)
    drop(driver, book)
    assert banner.isVisible()
    type_and_send(driver, "Who?")
    assert not banner.isVisible()
    driver.until_answered()
    for line in ({"is_error": True}, {"is_error": False, "can_undo": True}, {"is_error": False, "offers": ["Do it"]}):
        banner.show_line("Something is to be decided.", **line)
        type_and_send(driver, "And when?")
        assert banner.isVisible()
    driver.until_answered(3)


def test_another_chat_may_have_the_same_file(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    chat = driver.chat
    driver.controller.new_chat()
    drop(driver, book)
    driver.until_read()
    assert driver.chat is not chat


def test_a_file_that_could_not_be_read_and_a_folder_are_tried_again(driver: AppDriver, book: Path) -> None:
    driver.session.fails_on = {Read: OSError("The disk is gone")}
    drop(driver, book)
    driver.until(lambda: not driver.chat.documents)
    driver.session.fails_on = {}
    drop(driver, book)
    driver.until_read()
    for _time in range(2):
        drop(driver, book.parent / "gone.txt")
        driver.until(lambda: driver.status.state is EngineState.IDLE)
    assert stamped(book.parent).stamp is None
