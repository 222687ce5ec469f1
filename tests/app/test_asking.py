"""Questions and their answers in the window: asked, stopped, edited, and answered again as branches."""

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QPaintEvent, QTextDocument
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.models.chat import ExchangeState
from app.models.engine_status import EngineState
from app.reports import GoingBack, Report
from app.requests import Ask, Said
from app.views.exchange_view import ExchangeView
from app.views.passage_row import PassageRow
from app.views.theme import DARK, GAP
from app.views.title import Title
from kiv_engine.events import Passage, TextDelta
from tests.app.conftest import AppDriver, read_book, type_and_send
from tests.app.scripted_session import ANSWER, WORDS, ScriptedSession


@pytest.fixture
def held(session: ScriptedSession) -> ScriptedSession:
    """Hold the model's loading from the start; must stand before `driver`."""
    session.held_at = {"load"}
    return session


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
    assert "stopped\u00a0by\u00a0you" in driver.transcript.exchanges[0].footer.text()
    driver.until_state(EngineState.IDLE)


def test_a_passage_from_a_file_in_a_folder_has_a_line_for_its_whole_name(
    driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_book(driver, book)
    found = driver.session._passages
    places = (("The Whale", 12), ("some/folder/page.txt", None))

    def in_folders(chat: int) -> tuple[Passage, ...]:
        given = zip(found(chat), places, strict=True)
        return tuple(replace(passage, section=section, line=line) for passage, (section, line) in given)

    monkeypatch.setattr(driver.session, "_passages", in_folders)
    type_and_send(driver, "Who?")
    driver.until_answered()
    one, other = driver.transcript.exchanges[0].rows
    assert ", line 12, The Whale: " in one.accessibleName()
    assert ", some/folder/page.txt, at 98.9 %: " in other.accessibleName()
    assert other.height() == one.height() + other.fontMetrics().lineSpacing(), "the name has a line of its own"


def test_going_back_to_what_was_said_is_told_with_how_far_it_is(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    driver.session.held_at = {"ask"}
    driver.session.going_back = (GoingBack(0, 2_048), GoingBack(1_024, 2_048))
    type_and_send(driver, "Who?")
    back = "Going back to what was said in this chat … 1,024 of 2,048 tokens"
    driver.until(lambda: driver.transcript.exchanges[0].waiting.text() == back)
    driver.session.go()
    driver.until_answered()
    driver.session.held_at = {"ask"}
    driver.session.going_back = (GoingBack(0, 2_048), GoingBack(2_048, 2_048))
    type_and_send(driver, "Why?")
    driver.until(lambda: driver.chat.exchanges[1].going_back == GoingBack(2_048, 2_048))
    assert driver.transcript.exchanges[1].waiting.text() == "Reading the question …"


def test_several_questions_make_one_conversation(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    for question in ("Who?", "And when?"):
        type_and_send(driver, question)
    driver.until_answered(1)
    assert [exchange.answer for exchange in driver.chat.exchanges] == [ANSWER, ANSWER]
    driver.transcript.exchanges[1].copy_answer()
    assert QGuiApplication.clipboard().text() == ANSWER


def test_events_of_a_request_that_is_over_are_dropped(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    for request_id in range(6):
        driver.controller.on_report(Report(request_id, TextDelta("late", 1)))
    assert driver.chat.exchanges[0].answer == ANSWER


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


def test_what_is_typed_stands_in_the_middle_of_its_field_as_the_buttons_do(driver: AppDriver) -> None:
    composer, window = driver.window.composer, driver.window
    words = composer.edit.viewport().mapTo(window, composer.edit.cursorRect().center()).y()
    for button in (composer.open, composer.send):
        assert abs(button.mapTo(window, button.rect().center()).y() - words) <= 1


def test_passages_name_their_document_where_there_are_several(driver: AppDriver, book: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(book.read_text(encoding="utf-8") + "More.", encoding="utf-8")
    driver.controller.open_files([book])
    driver.until_read()
    driver.controller.ask("Who?")
    driver.until_answered()
    [plain, *_more] = driver.transcript.exchanges[0].rows
    assert book.name not in plain.toolTip()
    driver.controller.new_chat()
    driver.controller.open_files([book, other])
    driver.until_read()
    driver.controller.ask("Who?")
    driver.until_answered()
    view = driver.transcript.exchanges[0]
    view.fold.click()
    for passage, row in zip(driver.chat.exchanges[0].passages, view.rows, strict=True):
        name = driver.chat.documents[driver.chat.document_of(passage)].name
        assert name in row.toolTip()
        assert name in row.accessibleName()
        assert row.sizeHint().height() >= 2 * row.fontMetrics().lineSpacing() + 2 * GAP


def test_names_of_documents_with_tags_are_shown_as_they_are(driver: AppDriver, book: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a <hr> b.txt"
    odd.write_text(book.read_text(encoding="utf-8"), encoding="utf-8")
    driver.controller.open_files([odd, book])
    driver.until_read()
    driver.controller.ask("Who?")
    driver.until_answered()
    transcript, pane = driver.transcript, driver.window.document
    passages = [row.toolTip() for row in transcript.exchanges[0].rows if "hr" in row.toolTip()]
    names = [title.toolTip() for title in transcript.card.findChildren(Title) if "hr" in title.text()]
    assert passages
    assert names
    for tip in (*passages, *names, pane.name.toolTip()):
        shown = QTextDocument()
        shown.setHtml(tip)
        assert odd.name in shown.toPlainText()


@pytest.mark.parametrize("button", ["undo", "dismiss"])
def test_what_a_line_was_answered_with_gives_the_keyboard_to_the_next_question(driver: AppDriver, button: str) -> None:
    driver.window.activateWindow()
    driver.window.sidebar.chat_deleted.emit(driver.chat)
    pressed = getattr(driver.window.banner, button)
    pressed.setFocus()
    pressed.click()
    assert not driver.window.banner.isVisible()
    assert driver.window.focusWidget() is driver.window.composer.edit


def test_what_runs_in_another_chat_is_told_as_that(driver: AppDriver, book: Path) -> None:
    hint = driver.window.composer.hint
    driver.session.held_at = {"read"}
    driver.controller.open_files([book])
    driver.until_reached("read")
    busy = driver.chat
    assert hint.text().startswith("Reading;")
    driver.controller.new_chat()
    assert hint.text() == "Busy in another chat; a question waits for it. Esc stops it"
    driver.application.chats.show(busy)
    assert hint.text().startswith("Reading;")
    driver.session.go()
    driver.until_read()


def read_archive_and_ask(driver: AppDriver) -> ExchangeView:
    """Five passages, of which the last two are faint beside the first."""
    driver.controller.read_archive(4_000)
    driver.until_read()
    driver.controller.ask("Who?")
    driver.until_answered()
    assert [passage.weight for passage in driver.chat.exchanges[0].passages] == [0.41, 0.12, 0.05, 0.02, 0.004]
    return driver.transcript.exchanges[0]


def test_faint_passages_stand_behind_one_line_that_opens_and_closes(driver: AppDriver) -> None:
    view = read_archive_and_ask(driver)
    assert len(view.rows) == 3
    assert view.fold.text() == "2 fainter passages"
    assert view.fold.accessibleName() == "2 fainter passages, hidden: show"
    closed = view.height()
    QTest.mouseClick(view.fold, Qt.MouseButton.LeftButton)
    assert [row.isVisible() for row in view.rows] == [True] * 5
    assert view.fold.accessibleName() == "2 fainter passages, shown: hide"
    assert view.height() >= closed + sum(row.height() for row in view.rows[3:])
    view.fold.setFocus()
    for number in (3, 4):
        QTest.keyClick(driver.window, Qt.Key.Key_Tab)
        assert view.rows[number].hasFocus()
    QTest.keyClick(view.rows[4], Qt.Key.Key_Space)
    assert driver.chat.selected_passage == 4
    driver.application.theme.choose(DARK)
    assert view.rows[4].isVisible()
    QTest.keyClick(view.fold, Qt.Key.Key_Space)
    assert [row.isVisible() for row in view.rows] == [True] * 3 + [False] * 2
    QApplication.sendPostedEvents()
    assert view.height() == closed


def test_a_faint_passage_that_is_gone_to_is_shown(driver: AppDriver) -> None:
    view = read_archive_and_ask(driver)
    driver.chat.select(0, 3)
    assert view.rows[3].isVisible()
    assert view.rows[3].isChecked()


def test_where_all_passages_but_one_are_faint_that_one_is_shown(
    driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = driver.session._passages

    def one_strong(chat: int) -> tuple[Passage, ...]:
        return tuple(replace(passage, weight=0.9 if not n else 0.044) for n, passage in enumerate(found(chat)))

    monkeypatch.setattr(driver.session, "_passages", one_strong)
    read_book(driver, book)
    type_and_send(driver, "Who?")
    driver.until_answered()
    view = driver.transcript.exchanges[0]
    assert len(view.rows) == 1
    assert view.fold.text() == "1 fainter passage"
