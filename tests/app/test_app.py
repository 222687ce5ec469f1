"""The app around a scripted session: every state and what the controls do in it."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication, QPaintEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QDialog, QFrame, QLineEdit, QPlainTextEdit, QTextEdit

from app.models.chat import ExchangeState, ReadingState
from app.models.engine_status import EngineState
from app.reports import Report
from app.requests import Ask, FileSource, LoadModel, Read, Said
from app.settings import ChatOptions
from app.views import announcer
from app.views.exchange_view import ExchangeView
from app.views.passage_row import PassageRow
from app.views.theme import DARK
from kiv_engine.errors import CapacityError, DamagedContextError, ModelNotFoundError, OutOfMemoryError
from kiv_engine.events import TextDelta
from tests.app.conftest import AppDriver
from tests.app.scripted_session import SENTENCE, WORDS, ScriptedSession

ANSWER = "".join(WORDS)


@pytest.fixture
def held(session: ScriptedSession) -> ScriptedSession:
    """Hold the model's loading from the start; must stand before `driver`."""
    session.held_at = {"load"}
    return session


def drop(driver: AppDriver, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, none = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    left = Qt.MouseButton.LeftButton
    driver.window.dragEnterEvent(QDragEnterEvent(QPoint(9, 9), copy, data, left, none))
    driver.window.dropEvent(QDropEvent(QPointF(9, 9), copy, data, left, none))


def type_and_send(driver: AppDriver, text: str) -> None:
    QTest.keyClicks(driver.window.composer.edit, text)
    QTest.keyClick(driver.window.composer.edit, Qt.Key.Key_Return)


def read_book(driver: AppDriver, book: Path) -> None:
    driver.controller.open_files([book])
    driver.until_read()


def test_a_question_typed_before_the_model_is_there_is_sent_when_it_is(
    held: ScriptedSession, driver: AppDriver
) -> None:
    driver.until_state(EngineState.LOADING)
    type_and_send(driver, "Who?")
    assert driver.chat.exchanges[0].state is ExchangeState.WAITING
    assert driver.window.composer.edit.toPlainText() == ""
    held.go()
    driver.until_answered()
    assert driver.chat.exchanges[0].answer == ANSWER


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


def test_escape_stops_an_answer_and_keeps_what_was_said(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    driver.session.held_at = {"write"}
    type_and_send(driver, "Who?")
    driver.until(lambda: driver.chat.exchanges[0].answer == WORDS[0])
    assert driver.status.state is EngineState.GENERATING
    QTest.keyClick(driver.window, Qt.Key.Key_Escape)
    driver.until_answered()
    exchange = driver.chat.exchanges[0]
    assert exchange.finished is not None
    assert (exchange.answer, exchange.finished.finish_reason) == (WORDS[0], "cancelled")
    assert "stopped by you" in driver.transcript.exchanges[0].footer.text()
    driver.until_state(EngineState.IDLE)


def test_a_click_on_a_passage_marks_it_in_the_document(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    view = driver.transcript.exchanges[0]
    assert "reused" in view.footer.text()
    assert len(view.rows) == 2
    for number, row in enumerate(view.rows):
        QTest.mouseClick(row, Qt.MouseButton.LeftButton)
        marks = driver.window.document.text.extraSelections()
        assert [mark.cursor.selectedText() for mark in marks] == [SENTENCE, SENTENCE]
        assert [other.isChecked() for other in view.rows] == [number == 0, number == 1]
        area = driver.window.document.text.viewport().rect()
        assert area.intersects(driver.window.document.text.cursorRect(marks[number].cursor))


def test_passages_of_a_second_document_are_found_there(driver: AppDriver, book: Path, tmp_path: Path) -> None:
    other = tmp_path / "notes.md"
    other.write_text("# Notes\n\nNothing here.\n" * 40)
    driver.controller.open_files([other, book])
    driver.until_read()
    assert [document.name for document in driver.chat.documents] == ["notes.md", "book.txt"]
    type_and_send(driver, "Who?")
    driver.until_answered()
    driver.chat.select(0, 1)
    marks = driver.window.document.text.extraSelections()
    assert [mark.cursor.selectedText() for mark in marks] == [SENTENCE, SENTENCE]


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


def test_several_questions_make_one_conversation(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    for question in ("Who?", "And when?"):
        type_and_send(driver, question)
    driver.until_answered(1)
    assert [exchange.answer for exchange in driver.chat.exchanges] == [ANSWER, ANSWER]
    driver.transcript.exchanges[1].copy_answer()
    assert QGuiApplication.clipboard().text() == ANSWER


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


def test_events_of_a_request_that_is_over_are_dropped(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    for request_id in range(6):
        driver.controller.on_report(Report(request_id, TextDelta("late", 1)))
    assert driver.chat.exchanges[0].answer == ANSWER


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
    assert driver.chat.documents[0].name == "Pasted text"
    assert driver.window.composer.edit.toPlainText() == "short"


def test_deleting_a_chat_that_is_read_stops_it(driver: AppDriver, book: Path) -> None:
    driver.session.held_at = {"read"}
    driver.controller.open_files([book])
    driver.until_reached("read")
    driver.window.sidebar.chat_deleted.emit(driver.chat)
    driver.until(lambda: driver.session.num_closed == 1)
    assert driver.chat.is_empty
    driver.until_state(EngineState.IDLE)


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


def test_search_finds_and_goes_around(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    QTest.keyClick(driver.window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    bar, text = driver.window.document.find_bar, driver.window.document.text
    assert bar.isVisible()
    QTest.keyClicks(bar.edit, "thornwick")
    first = text.textCursor().position()
    assert text.textCursor().selectedText() == "Thornwick"
    QTest.keyClick(bar.edit, Qt.Key.Key_Return)
    assert text.textCursor().position() > first
    QTest.keyClick(bar.edit, Qt.Key.Key_Return)
    assert text.textCursor().position() == first
    QTest.keyClicks(bar.edit, "xyz")
    assert bar.found.text() == "Not found"


def test_a_search_without_a_text_says_why_there_is_nothing_to_search(driver: AppDriver, book: Path) -> None:
    find, banner, bar = driver.window.find_action, driver.window.banner, driver.window.document.find_bar
    driver.until_state(EngineState.IDLE)
    assert not banner.isVisible()
    QTest.keyClick(driver.window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert banner.isVisible()
    assert banner.text.text() == banner.accessibleName() == "There is no document to search in: open one (Ctrl+O)."
    driver.session.held_at = {"open"}
    driver.controller.open_files([book])
    driver.until_reached("open")
    find.trigger()
    assert banner.text.text() == "The text to search in is not here before it is opened."
    assert not bar.isVisible()
    driver.session.go()
    driver.until_read()
    driver.until(lambda: not banner.isVisible())
    find.trigger()
    assert bar.isVisible()


def test_another_line_stays_when_there_is_a_text_to_search(driver: AppDriver, book: Path) -> None:
    banner = driver.window.banner
    driver.until_state(EngineState.IDLE)
    driver.window.find_action.trigger()
    banner.show_line("Something else.", is_error=True)
    driver.controller.open_files([book])
    driver.until_read()
    driver.until(lambda: driver.window.document.text.is_complete)
    assert banner.isVisible()
    assert banner.text.text() == "Something else."


def test_the_keyboard_goes_to_the_text_or_the_question_when_the_search_is_left(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    driver.window.find_action.trigger()
    QTest.keyClick(driver.window.document.find_bar.edit, Qt.Key.Key_Escape)
    assert driver.window.focusWidget() is driver.window.document.text
    driver.window.find_action.trigger()
    driver.window.document.find_bar.shut.click()
    assert driver.window.focusWidget() is driver.window.document.text
    driver.window.find_action.trigger()
    driver.controller.new_chat()
    assert not driver.window.document.find_bar.isVisible()
    assert driver.window.focusWidget() is driver.window.composer.edit


def test_search_goes_through_all_documents_and_both_ways(driver: AppDriver, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    texts = [
        "🪿 A goose.\nGOOSE " + "honk " * 400 + "goose",
        "x" * 995 + " wild duck",
        "goosegoose 🪿 " + "honk " * 250 + "Goose",
    ]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    driver.controller.open_files(paths)
    driver.until_read()
    view = driver.window.document.text
    driver.until(lambda: view.is_complete)

    def place() -> tuple[int, str]:
        return view.textCursor().selectionStart(), view.textCursor().selectedText()

    whole = view.toPlainText().encode("utf-16-le")
    shown = [(at, whole[2 * at : 2 * at + 10].decode("utf-16-le", "replace")) for at in range(len(whole) // 2)]
    places = [(at, word) for at, word in shown if word.lower() == "goose"]
    assert len(places) == 6
    for way in (places, places, places[-2::-1], places[::-1]):
        for expected in way:
            assert view.select_next("gOOSE", back=way != places)
            assert place() == expected
    assert view.select_next("x WILD")
    assert place()[1] == "x \u2029wild", "a line is cut for display, not for the search"
    assert not view.select_next("gander")


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


def test_quotes_and_numbers_are_looked_up_and_a_click_goes_there(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    claims = driver.transcript.exchanges[0].claims
    assert claims.isVisible()
    assert [button.text() for button in claims.buttons] == ["Second Bishop", "1503 · not found in the document"]
    QTest.mouseClick(claims.buttons[1], Qt.MouseButton.LeftButton)
    assert driver.chat.selected_claim is None
    QTest.mouseClick(claims.buttons[0], Qt.MouseButton.LeftButton)
    assert claims.buttons[0].isChecked()
    marks = driver.window.document.text.extraSelections()
    assert [mark.cursor.selectedText() for mark in marks] == [SENTENCE, SENTENCE, "Second Bishop"]
    area = driver.window.document.text.viewport().rect()
    assert area.intersects(driver.window.document.text.cursorRect(marks[2].cursor))
    QTest.mouseClick(driver.transcript.exchanges[0].rows[0], Qt.MouseButton.LeftButton)
    assert not claims.buttons[0].isChecked()


def test_a_question_can_be_answered_again_and_both_answers_stay(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    for question in ("Who?", "When?"):
        type_and_send(driver, question)
    driver.until_answered(1)
    first, when = driver.chat.exchanges
    driver.transcript.exchanges[0].again.click()
    driver.until_answered()
    again = driver.chat.exchanges[0]
    assert driver.chat.exchanges == [again]
    assert driver.session.asked[-1].history == ()
    assert [request.history for request in driver.session.asked[:2]] == [(), (Said("Who?", ANSWER),)]
    view = driver.transcript.exchanges[0]
    assert view.branches.place.text() == "2 of 2"
    view.branches.before.click()
    assert driver.chat.exchanges == [first, when]
    assert [view.exchange_id for view in driver.transcript.exchanges] == [first.id, when.id]
    assert driver.transcript.exchanges[0].branches.place.text() == "1 of 2"
    assert driver.chat.selected_exchange == when.id


def test_a_question_is_edited_in_place(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    view = driver.transcript.exchanges[0]
    view.edit.click()
    assert view.editor.isVisible()
    assert not view.question.isVisible()
    QTest.keyClick(view.editor.edit, Qt.Key.Key_Escape)
    assert not view.editor.isVisible()
    assert view.question.isVisible()
    view.edit.click()
    QTest.keyClicks(view.editor.edit, "Where?")
    QTest.keyClick(view.editor.edit, Qt.Key.Key_Return)
    driver.until_answered()
    assert [exchange.question for exchange in driver.chat.exchanges] == ["Where?"]
    assert [exchange.question for exchange in driver.chat.all_exchanges.values()] == ["Who?", "Where?"]


def test_an_answer_goes_on_while_another_branch_is_shown(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    driver.session.held_at = {"write"}
    driver.transcript.exchanges[0].again.click()
    driver.until(lambda: driver.chat.exchanges[0].answer == WORDS[0])
    running = driver.chat.exchanges[0]
    driver.transcript.exchanges[0].branches.after.click()
    assert driver.chat.exchanges[0] is not running
    driver.session.go()
    driver.until(lambda: running.state is ExchangeState.DONE)
    assert running.answer == ANSWER
    assert driver.chat.exchanges[0].answer == ANSWER


def test_what_failed_has_not_been_said(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    driver.session.fails_on = {Ask: MemoryError()}
    type_and_send(driver, "Who?")
    driver.until_answered()
    driver.session.fails_on = {}
    type_and_send(driver, "Where?")
    driver.until_answered(1)
    assert driver.session.asked[-1].history == ()
    driver.transcript.exchanges[0].again.click()
    driver.until_answered()
    assert [exchange.question for exchange in driver.chat.exchanges] == ["Who?"]
    assert driver.chat.exchanges[0].answer == ANSWER


def test_a_long_chat_shows_its_newest_questions_and_earlier_ones_when_asked(driver: AppDriver) -> None:
    for number in range(25):
        driver.controller.ask(f"Question {number}?")
    driver.until_answered(24)

    def shown() -> list[str]:
        return [view.question.text() for view in driver.transcript.exchanges]

    assert shown() == [f"Question {number}?" for number in range(15, 25)]
    assert driver.transcript.earlier.text() == "Show earlier questions (15)"
    driver.transcript.earlier.click()
    assert shown() == [f"Question {number}?" for number in range(5, 25)]
    driver.transcript.earlier.click()
    assert shown() == [f"Question {number}?" for number in range(25)]
    assert not driver.transcript.earlier.isVisible()
    driver.transcript.exchanges[3].again.click()
    driver.until(lambda: driver.chat.exchanges[3].state is ExchangeState.DONE)
    assert shown() == [f"Question {number}?" for number in range(4)]
    driver.transcript.exchanges[3].branches.before.click()
    assert shown() == [f"Question {number}?" for number in range(25)]


def test_of_a_full_transcript_the_oldest_question_goes_once_the_newest_stands(driver: AppDriver) -> None:
    for number in range(10):
        driver.controller.ask(f"Question {number}?")
    driver.until_answered(9)
    before = list(driver.transcript.exchanges)
    driver.controller.ask("Question 10?")
    assert driver.transcript.exchanges[:10] == before, "not together with what is built for the new one"
    assert len(driver.transcript.exchanges) == 11
    driver.until_answered(10)
    assert driver.transcript.exchanges[:9] == before[1:]
    assert len(driver.transcript.exchanges) == 10
    assert driver.transcript.earlier.text() == "Show earlier questions (1)"


def test_what_stands_above_an_answer_is_not_painted_anew_while_that_grows(
    driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted: list[PassageRow] = []
    paint = PassageRow.paintEvent

    def noted(row: PassageRow, event: QPaintEvent) -> None:
        if event.region().boundingRect().height() == row.height():
            painted.append(row)
        paint(row, event)

    monkeypatch.setattr(PassageRow, "paintEvent", noted)
    read_book(driver, book)
    for number, question in enumerate(("Who?", "Where?", "When?")):
        driver.controller.ask(question)
        driver.until_answered(number)
    above = {row for view in driver.transcript.exchanges for row in view.rows}
    bar, pieces = driver.transcript.verticalScrollBar(), ("Goose 0.\n\n", "Goose 1.\n\n", "Goose 2.")
    driver.session.words, driver.session.held_at = pieces, {"write"}
    QApplication.processEvents()
    painted.clear()
    driver.controller.ask("How many?")
    driver.until(lambda: "Goose 0." in driver.transcript.exchanges[-1].answer.toPlainText())
    end = bar.maximum()
    driver.session.go()
    driver.until_answered(3)
    for _ in range(3):  # what is shown last is laid out, and then painted
        QApplication.processEvents()
    assert bar.value() == bar.maximum() > end, "it stays at its end"
    assert painted
    assert not above.intersection(painted)


def test_a_passage_of_a_long_document_is_gone_to_once_its_text_has_come(driver: AppDriver) -> None:
    pour = driver.window.document.text._pour
    pour.setInterval(3_600_000)  # only the first piece of the text comes, however fast the machine is
    driver.controller.read_pasted(f"{'Words and more words. ' * 100_000}\n{SENTENCE}\n")
    driver.until_read()
    assert not driver.window.document.text.is_complete
    driver.window.find_action.trigger()
    QTest.keyClicks(driver.window.document.find_bar.edit, "second")
    assert driver.window.document.find_bar.found.text() == "Loading …"
    type_and_send(driver, "Who?")
    driver.until_answered()
    driver.chat.select(0, 0)
    pour.setInterval(0)
    driver.until(lambda: driver.window.document.text.is_complete)
    marks = driver.window.document.text.extraSelections()
    assert [mark.cursor.selectedText() for mark in marks] == [SENTENCE]
    assert driver.window.document.find_bar.found.text() == ""


def test_a_text_beyond_the_trained_length_is_told(driver: AppDriver) -> None:
    driver.controller.read_pasted("Some words. " * 3_000)
    driver.until_read()
    assert driver.transcript.card.beyond.isVisible()
    assert "2,048 tokens" in driver.transcript.card.beyond.text()


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


def test_a_relative_path_means_the_same_file_for_ever(
    driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(book.parent)
    driver.controller.open_files([Path(book.name)])
    assert driver.chat.documents[0].source == FileSource(book)


def test_a_document_that_has_changed_is_told_and_nothing_else_is_marked(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    QTest.mouseClick(driver.transcript.exchanges[0].claims.buttons[0], Qt.MouseButton.LeftButton)
    pane, first = driver.window.document, book.read_text(encoding="utf-8").index(SENTENCE)
    assert len(pane.text.extraSelections()) == 3
    assert not pane.changed.isVisible()
    words = book.read_text(encoding="utf-8")
    after = first + len(SENTENCE)
    book.write_text(words[:after] + " Now this is new." + words[after:], encoding="utf-8")
    driver.controller.set_options(ChatOptions("Be brief."), False)
    driver.controller.read_again()
    driver.until_read()
    driver.until(lambda: pane.text.is_complete)
    marked = [mark.cursor.selectedText() for mark in pane.text.extraSelections()]
    assert marked == [SENTENCE, "Second Bishop"], "the second passage stands elsewhere now"
    assert pane.changed.isVisible()
    driver.chat.select(0, 1)
    assert [mark.cursor.selectedText() for mark in pane.text.extraSelections()] == [SENTENCE]
    driver.chat.select(None)
    assert not pane.changed.isVisible()


def test_a_text_that_shows_other_colours_stays_where_it_is_scrolled_to(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    driver.chat.select(0, 1)
    bar = driver.window.document.text.verticalScrollBar()
    assert bar.value() > 0
    bar.setValue(0)
    driver.application.theme.choose(DARK)
    assert bar.value() == 0


def test_passages_say_how_far_into_their_document_they_are_also_while_its_text_is_not_here(
    driver: AppDriver, book: Path, tmp_path: Path
) -> None:
    other = tmp_path / "notes.md"
    other.write_text("# Notes\n\nNothing here.\n" * 400)
    driver.controller.open_files([other, book])
    driver.until_read()
    type_and_send(driver, "Who?")
    driver.until_answered()
    words = book.read_text(encoding="utf-8")
    shares = [words.index(SENTENCE) / len(words), words.rindex(SENTENCE) / len(words)]
    driver.chat.set_documents([replace(document, text=None) for document in driver.chat.documents])
    view = ExchangeView(driver.application.theme, driver.chat, 0)
    for row, share in zip(view.rows, shares, strict=True):
        assert float(re.search(r"^at ([\d.]+) %$", row._place)[1]) == pytest.approx(100 * share, abs=0.2)
        assert f", {row._place}: Captain" in row.accessibleName()
    view.deleteLater()


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
        f"Reading failed: There is no file {tmp_path / 'none.txt'}.",
        "Reading was stopped",
        "The answer was stopped",
        "The answer failed: Too large.",
    ]


def test_documents_that_were_only_opened_are_not_called_read(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    driver.chat.reading.opened = True
    driver.chat.reading_changed.emit()
    tokens = len(book.read_text(encoding="utf-8")) // 4
    assert driver.transcript.card.state.text() == f"All {tokens:,} tokens opened; read before"
    assert "RAM" not in driver.transcript.card.facts.text(), "they may lie on the disk"
