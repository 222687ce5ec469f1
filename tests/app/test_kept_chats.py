"""The app keeps its chats, and brings them back at the next start; their names and drafts."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QTextDocument
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.application import Application
from app.folders import Folders
from app.history import ChatFile
from app.models.chat import ChatDocument, ExchangeState, ReadingState
from app.requests import Said, TextSource
from app.saved_chats import ChatsFound, SavedExchange
from app.settings import ChatOptions
from app.views.theme import LIGHT
from tests.app.conftest import AppDriver, read_book
from tests.app.scripted_session import SENTENCE, WORDS, ScriptedSession

ANSWER = "".join(WORDS)
PASTED = "Pasted: “Captain Anna Thornwick …”"


@pytest.fixture
def restarted(qtbot: QtBot, qapp: QApplication, folders: Folders) -> Iterator[Callable[[], AppDriver]]:
    """Starts the app anew, over the same files."""
    drivers: list[AppDriver] = []

    def start() -> AppDriver:
        session = ScriptedSession()
        application = Application(qapp, session, folders)
        application.start()
        drivers.append(AppDriver(qtbot, application, session))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.session.go()
        driver.window.close()
        assert driver.application.closed_in_time
        driver.window.deleteLater()
        driver.application.deleteLater()


def chat_titles(driver: AppDriver) -> list[str]:
    found = driver.window.sidebar.found
    return [found.index(row, 0).data() for row in range(found.rowCount())]


def leave(driver: AppDriver) -> None:
    driver.window.close()
    assert driver.application.closed_in_time


def test_of_documents_whose_beginning_was_read_the_beginning_is_read_again(
    restarted: Callable[[], AppDriver], book: Path
) -> None:
    first = restarted()
    first.controller.set_options(ChatOptions(first_tokens=700), True)
    first.controller.open_files([book])
    first.until_read()
    first.controller.ask("Who?")
    first.until_answered()
    first.controller.new_chat()
    assert first.chat.options.first_tokens == 0, "that is nothing for other documents"
    leave(first)

    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.window.sidebar.found.chat_at(second.window.sidebar.found.index(1, 0)))
    second.until(lambda: second.chat.is_loaded)
    assert second.transcript.card.state.text().startswith("Not in memory; the first 700 tokens are opened")
    second.controller.ask("And then?")
    second.until_answered(1)
    assert second.chat.reading.is_beginning_only
    assert second.chat.reading.tokens_read == 700 < second.chat.placed_tokens


def test_going_by_section_is_offered_also_before_the_document_is_opened_again(
    restarted: Callable[[], AppDriver], tmp_path: Path
) -> None:
    long = tmp_path / "long.txt"
    long.write_text("The goose was counted at noon. " * 3_000, encoding="utf-8")
    first = restarted()
    first.controller.open_files([long])
    first.until_read()
    first.controller.ask("Summarise all of it.")
    first.until_answered()
    leave(first)

    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.window.sidebar.found.chat_at(second.window.sidebar.found.index(1, 0)))
    second.until(lambda: second.chat.is_loaded and second.transcript.exchanges[0].is_shown)
    assert second.chat.reading.state is ReadingState.CLOSED
    assert "6 sections" in second.transcript.exchanges[0].more.sections.accessibleName()
    assert second.transcript.exchanges[0].more.sections.isVisible()


def test_a_chat_comes_back_and_goes_on(restarted: Callable[[], AppDriver], book: Path) -> None:
    first = restarted()
    first.controller.open_files([book])
    first.controller.ask("Who?")
    first.until_answered()
    first.controller.regenerate(0)
    first.until_answered()
    first.controller.ask("When?")
    first.until_answered(1)
    first.controller.set_options(ChatOptions("", ChatOptions().sampling), False)
    before = first.chat
    leave(first)

    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    assert chat_titles(second) == ["New chat", "Who?"]
    second.application.chats.show(second.window.sidebar.found.chat_at(second.window.sidebar.found.index(1, 0)))
    second.until(lambda: second.chat.is_loaded)
    assert second.chat.options == before.options
    assert [(each.id, each.question, each.answer) for each in second.chat.exchanges] == [
        (1, "Who?", ANSWER), (2, "When?", ANSWER),
    ]  # fmt: skip
    for exchange in before.all_exchanges.values():
        other = second.chat.all_exchanges[exchange.id]
        assert (other.finished, other.claims) == (exchange.finished, exchange.claims)
        assert other.evidence.heat == pytest.approx(exchange.evidence.heat, abs=1e-6)
    assert second.chat.reading.state is ReadingState.CLOSED
    assert second.transcript.card.again.isVisible()
    assert second.transcript.exchanges[0].branches.place.text() == "2 of 2"
    second.controller.ask("And then?")
    second.until_answered(2)
    assert second.session.asked[-1].history == (Said("Who?", ANSWER), Said("When?", ANSWER))
    second.chat.select(2, 0)
    marks = second.window.document.text.extraSelections()
    assert [mark.cursor.selectedText() for mark in marks] == [SENTENCE, SENTENCE]


def test_a_file_that_has_not_changed_since_is_not_read_twice_after_a_new_start(
    restarted: Callable[[], AppDriver], book: Path
) -> None:
    first = restarted()
    read_book(first, book)
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: second.chat.is_loaded)
    second.controller.open_files([book])
    second.until_read()
    assert len(second.chat.documents) == 1, "it is only brought back"
    second.controller.open_files([book])
    assert "already in this chat" in second.window.banner.text.text()
    assert len(second.session.read) == 1


def test_where_the_text_would_be_one_click_opens_the_documents_of_a_chat_from_before(
    restarted: Callable[[], AppDriver], book: Path
) -> None:
    first = restarted()
    read_book(first, book)
    first.controller.ask("Who?")
    first.until_answered()
    leave(first)
    second = restarted()
    empty = second.window.document.empty
    assert (empty.isVisible(), empty.again.isVisible()) == (True, False)
    assert "appears here" in empty.words.text()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: second.chat.is_loaded)
    assert "Not in memory" in empty.words.text()
    second.chat.select(0, 0)
    empty.again.setFocus()
    empty.again.click()
    assert second.window.focusWidget() is second.window.composer.edit, "the button goes"
    second.until_read()
    assert not empty.isVisible()
    second.until(lambda: bool(second.window.document.text.extraSelections()))
    assert not second.chat.exchanges[1:], "nothing had to be asked"


def test_what_was_being_written_is_kept(restarted: Callable[[], AppDriver], book: Path) -> None:
    first = restarted()
    first.controller.open_files([book])
    first.until_read()
    first.session.held_at = {"write"}
    first.controller.ask("Who?")
    first.until(lambda: first.chat.exchanges[0].answer == WORDS[0])
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: bool(second.chat.exchanges))
    exchange = second.chat.exchanges[0]
    assert (exchange.answer, exchange.state) == (WORDS[0], ExchangeState.UNFINISHED)
    line = second.transcript.exchanges[0].waiting
    assert line.text() == "The app was closed before this answer was finished. Answer again for all of it."
    assert line.objectName() == "muted", "closing it was no failure"
    assert second.transcript.exchanges[0].again.isVisible()
    second.transcript.exchanges[0].again.click()
    second.until_answered()
    assert second.chat.exchanges[0].answer == ANSWER


def test_a_deleted_chat_can_be_brought_back_until_the_app_is_closed(
    restarted: Callable[[], AppDriver], book: Path
) -> None:
    first = restarted()
    for question in ("One?", "Two?"):
        first.controller.new_chat()
        first.controller.ask(question)
        first.until_answered()
    assert chat_titles(first) == ["Two?", "One?"]
    first.window.sidebar.list.setFocus()
    QTest.keyClick(first.window.sidebar.list, Qt.Key.Key_Delete)
    assert chat_titles(first) == ["One?"]
    assert "“Two?” was deleted" in first.window.banner.text.text()
    assert first.window.banner.undo.isVisible()
    first.window.banner.undo.click()
    assert chat_titles(first) == ["Two?", "One?"]
    assert first.chat.exchanges[0].answer == ANSWER
    first.controller.ask("More?")
    first.until_answered(1)
    first.window.sidebar.chat_deleted.emit(first.chat)
    assert first.window.banner.undo.isVisible()
    first.application.keeper.forget_deleted()  # as after UNDO_MS
    assert not first.window.banner.undo.isVisible()
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    assert chat_titles(second) == ["New chat", "One?"]


def test_each_chat_keeps_what_is_typed_in_it_also_over_a_new_start(restarted: Callable[[], AppDriver]) -> None:
    first = restarted()
    edit, chats = first.window.composer.edit, first.application.chats
    for question in ("One?", "Two?"):
        first.controller.new_chat()
        first.controller.ask(question)
        first.until_answered()
        QTest.keyClicks(edit, f"And after {question}")
    two = first.chat
    first.controller.new_chat()
    assert edit.toPlainText() == ""
    assert not first.window.composer.send.isEnabled()
    chats.show(two)
    assert edit.toPlainText() == "And after Two?"
    assert first.window.composer.send.isEnabled()
    QTest.keyClicks(edit, "!")
    assert two.draft == "And after Two?!", "one types on behind it"
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 3)
    edit, sent = second.window.composer.edit, []
    for row in range(2):
        second.application.chats.show(second.application.chats.at(row))
        sent.append(edit.toPlainText())
    assert sent == ["And after Two?!", "And after One?"]
    second.until(lambda: second.chat.is_loaded)
    QTest.keyClick(edit, Qt.Key.Key_Return)
    second.until_answered(1)
    assert (second.chat.exchanges[1].question, second.chat.draft) == ("And after One?", "")


def test_what_is_typed_in_a_new_chat_is_kept_until_it_is_deleted(
    restarted: Callable[[], AppDriver], folders: Folders
) -> None:
    first = restarted()
    QTest.keyClicks(first.window.composer.edit, "Who?")
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    chats = second.application.chats
    assert [chats.at(row).draft for row in range(2)] == ["Who?", ""]
    chats.show(chats.at(0))
    second.until(lambda: second.chat.is_loaded)
    second.window.composer.edit.clear()
    leave(second)
    file = ChatFile(folders.history)
    assert file.chats() == ()
    file.close()


def test_a_new_chat_is_empty_and_a_draft_waits_in_the_list(restarted: Callable[[], AppDriver]) -> None:
    driver = restarted()
    chats, edit, new = driver.application.chats, driver.window.composer.edit, driver.window.new_action
    QTest.keyClicks(edit, "Who wrote the first letter?")
    drafted = driver.chat
    assert chats.about(drafted) == "", "it is on screen"
    new.trigger()
    assert (edit.toPlainText(), chats.rowCount()) == ("", 2)
    assert chats.about(drafted) == "Draft: Who wrote the first letter?"
    assert chats.index(chats.row(drafted)).data(Qt.ItemDataRole.AccessibleTextRole).endswith(chats.about(drafted))
    QTest.keyClicks(edit, "  ")
    with driver.qtbot.waitSignal(chats.dataChanged, check_params_cb=lambda first, *_: chats.at(first.row()) is drafted):
        chats.show(drafted)
    assert edit.toPlainText() == "Who wrote the first letter?"
    new.trigger()
    assert (driver.chat is not drafted, chats.rowCount()) == (True, 2), "blanks are no draft: it is taken again"
    QTest.keyClicks(edit, "And when?")
    chats.show(drafted)
    driver.chat.set_documents([ChatDocument("letter.txt")])
    new.trigger()
    assert {chats.about(chats.at(row)) for row in range(3)} == {"Draft: And when?", f"Draft: {drafted.draft}", ""}
    drafted.set_draft("")
    drafted.set_title("Who?")
    assert chats.about(drafted) == "letter.txt"
    leave(driver)


def test_chats_are_renamed_pinned_and_searched(restarted: Callable[[], AppDriver]) -> None:
    driver = restarted()
    for question in ("Geese?", "Ducks?", "Swans?"):
        driver.controller.new_chat()
        driver.controller.ask(question)
        driver.until_answered()
    sidebar = driver.window.sidebar
    driver.application.chats.show(sidebar.found.chat_at(sidebar.found.index(2, 0)))
    sidebar.toggle_pin()
    assert chat_titles(driver) == ["Geese?", "Swans?", "Ducks?"]
    index = sidebar.list.currentIndex()
    assert sidebar.found.setData(index, "  All about   geese ")
    assert not sidebar.found.setData(sidebar.list.currentIndex(), "  ")
    assert driver.chat.title == "All about geese"
    driver.application.keeper.save()
    QTest.keyClick(driver.window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    for words, titles in {"duck": ["Ducks?"], "about gee": ["All about geese"], "zebra": []}.items():
        sidebar.search.setText(words)
        driver.until(lambda titles=titles: chat_titles(driver) == titles)
    assert sidebar.nothing.isVisible()
    sidebar.search.setText("")
    driver.until(lambda: len(chat_titles(driver)) == 3)
    assert driver.chat.title == "All about geese"
    leave(driver)
    again = restarted()
    again.until(lambda: again.application.chats.rowCount() == 4)
    assert chat_titles(again)[0] == "All about geese"


def test_chats_of_one_file_are_called_by_their_first_questions(
    restarted: Callable[[], AppDriver], book: Path, tmp_path: Path
) -> None:
    first = restarted()
    chats, row = first.application.chats, first.application.chats.index
    for number, question in enumerate(("Who?", "When?", "")):
        first.controller.new_chat()
        read_book(first, book)
        assert (row(0).data(), first.chat.about) == ("book.txt", "")
        if question:
            first.controller.ask(question)
            assert first.window.title.text() == question
            first.until_answered()
            first.controller.ask("And then?")
            first.until_answered(1)
            assert row(0).data() == question, number
    chats.at(0).rename("book.txt")  # which it is called anyway
    assert not chats.at(0).title
    assert chat_titles(first) == ["book.txt", "When?", "Who?"]
    assert row(1).data(Qt.ItemDataRole.ToolTipRole) == "When?\nbook.txt"
    assert row(1).data(Qt.ItemDataRole.AccessibleTextRole) == "When?, book.txt"
    assert row(0).data(Qt.ItemDataRole.ToolTipRole) == row(0).data(Qt.ItemDataRole.AccessibleTextRole) == "book.txt"
    chats.at(0).rename("All about geese")
    first.controller.ask("Where?")
    first.until_answered()
    assert chats.at(0).title == "All about geese"
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 4)
    assert chat_titles(second)[1:] == ["All about geese", "When?", "Who?"]
    second.window.sidebar.search.setText("book.txt wh")
    second.until(lambda: chat_titles(second) == ["When?", "Who?"])


def test_the_list_shows_what_a_chat_is_about_below_its_name(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    view, theme = driver.window.sidebar.list, driver.application.theme

    def dark_lines() -> int:
        picture = driver.window.sidebar.grab().toImage()
        row = view.visualRect(view.model().index(0, 0)).translated(view.mapTo(driver.window.sidebar, QPoint()))
        rows, columns = range(row.top(), row.bottom()), range(row.left() + 8, row.right() - 40)
        dark = [y for y in rows if any(picture.pixelColor(x, y).lightnessF() < 0.6 for x in columns)]
        return sum(y - 1 not in dark for y in dark)

    theme.choose(LIGHT)
    assert dark_lines() == 1, "the document's name"
    driver.controller.ask("Noon")
    driver.until_answered()
    assert dark_lines() == 2


def test_names_with_line_ends_and_tags_are_shown_as_they_are(driver: AppDriver) -> None:
    driver.chat.set_title("What does <hr> do?")
    driver.chat.set_documents([ChatDocument("<b>two\nlines<hr>.txt")])
    assert driver.chat.about == "<b>two lines<hr>.txt"
    tip = QTextDocument()
    tip.setHtml(driver.application.chats.index(0).data(Qt.ItemDataRole.ToolTipRole))
    assert tip.toPlainText() == "What does <hr> do?\n<b>two\nlines<hr>.txt"


def test_a_question_that_could_not_be_asked_leaves_no_name(driver: AppDriver, tmp_path: Path) -> None:
    song = tmp_path / "song.bin"
    song.write_bytes(b"a\0b")
    driver.session.held_at = {"open"}
    driver.controller.open_files([song])
    driver.controller.ask("Who?")
    assert driver.chat.name == "Who?"
    driver.session.go()
    driver.until(lambda: driver.chat.draft == "Who?")
    assert (driver.chat.name, driver.window.title.text()) == ("", "New chat")


def test_a_question_that_could_not_be_asked_comes_back_each_time_and_is_not_kept_as_asked(
    restarted: Callable[[], AppDriver], book: Path, folders: Folders
) -> None:
    first = restarted()
    read_book(first, book)
    first.controller.ask("Who?")
    first.until_answered()
    leave(first)
    book.unlink()
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: second.chat.is_loaded)
    for _time in range(2):
        second.session.held_at = {"open"}
        second.controller.ask("And when?")
        second.until(lambda: "open" in second.session.reached)
        second.application.keeper.save()
        second.session.go()
        second.until(lambda: second.chat.draft == "And when?")
        second.chat.set_draft("")
    leave(second)
    file = ChatFile(folders.history)
    [chat] = file.chats()
    assert [each.question for each in file.exchanges(chat.key)] == ["Who?"]
    file.close()


def test_a_pasted_text_comes_back_with_its_chat_and_looking_at_it_is_no_change(
    restarted: Callable[[], AppDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = restarted()
    first.controller.read_pasted(SENTENCE * 20)
    first.controller.ask("Who?")
    first.until_answered()
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    kept = second.application.chats.at(0)
    assert kept.documents[0].source == TextSource(PASTED, "")
    saved: list[object] = []
    for name in ("save_chat", "save_exchange"):
        monkeypatch.setattr(second.application.history, name, lambda *given: saved.append(given))
    second.application.chats.show(kept)
    second.until(lambda: kept.is_loaded)
    second.application.keeper.save()
    assert saved == []
    assert kept.documents[0].source == TextSource(PASTED, SENTENCE * 20)
    second.controller.read_again()
    second.until_read()
    assert second.chat.opened_documents[0].text == SENTENCE * 20


def test_documents_that_cannot_be_read_stay_as_they_are_on_the_disk(
    restarted: Callable[[], AppDriver], folders: Folders, book: Path
) -> None:
    first = restarted()
    first.controller.open_files([book])
    first.controller.ask("Who?")
    first.until_answered()
    leave(first)
    with sqlite3.connect(folders.history) as damaged:
        damaged.execute("UPDATE chat SET documents = '[{'")
    damaged.close()
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: second.chat.is_loaded)
    assert [exchange.answer for exchange in second.chat.exchanges] == [ANSWER]
    second.controller.ask("When?")
    second.until_answered(1)
    leave(second)
    file = sqlite3.connect(folders.history)
    assert file.execute("SELECT documents, path FROM chat").fetchall() == [("[{", "[0, 1]")]
    file.close()


def test_what_could_not_be_kept_is_tried_again(
    restarted: Callable[[], AppDriver], book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, full = ChatFile.save_exchange, sqlite3.OperationalError("database or disk is full")

    def refuse(*_given: object) -> None:
        raise full

    monkeypatch.setattr(ChatFile, "save_exchange", refuse)
    first = restarted()
    first.controller.open_files([book])
    first.controller.ask("Who?")
    first.until_answered()
    first.application.keeper.save()
    first.application.keeper.search("book")
    first.until(lambda: first.application.chats.found is not None)  # all that came before has been tried
    assert "disk is full" in first.window.banner.text.text()
    monkeypatch.setattr(ChatFile, "save_exchange", keep)
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: [exchange.answer for exchange in second.chat.exchanges] == [ANSWER])


def test_a_chat_whose_only_file_cannot_be_read_does_not_come_back(
    restarted: Callable[[], AppDriver], tmp_path: Path, folders: Folders
) -> None:
    first = restarted()
    first.session.held_at = {"open"}
    first.controller.open_files([tmp_path / "no such.txt"])
    first.until_reached("open")
    first.application.keeper.save()
    first.session.go()
    first.until(lambda: first.chat.is_empty)
    leave(first)
    file = ChatFile(folders.history)
    assert file.chats() == ()
    file.close()


def test_what_was_searched_for_before_filters_nothing_any_more(driver: AppDriver) -> None:
    keeper, chats = driver.application.keeper, driver.application.chats
    keeper.search("geese")
    keeper.search("")
    keeper.on_report(ChatsFound("geese", frozenset()))
    assert chats.found is None
    keeper.search(" ducks ")
    keeper.on_report(ChatsFound("geese", frozenset({"old"})))
    driver.until(lambda: chats.found == frozenset())


def test_a_chat_that_cannot_be_loaded_takes_nothing_that_would_be_lost(
    restarted: Callable[[], AppDriver], book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = restarted()
    first.controller.open_files([book])
    first.controller.ask("Who?")
    first.until_answered()
    leave(first)
    load = ChatFile.exchanges

    def refuse(_file: ChatFile, _key: str) -> tuple[SavedExchange, ...]:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(ChatFile, "exchanges", refuse)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    kept = second.application.chats.at(0)
    second.application.chats.show(kept)
    second.until(lambda: "cannot be loaded" in second.window.banner.text.text())
    second.controller.ask("When?")
    second.controller.read_again()
    assert (kept.all_exchanges, kept.reading.state) == ({}, ReadingState.CLOSED)
    assert second.window.composer.edit.toPlainText() == "When?"
    second.controller.open_files([book])
    assert second.chat is not kept
    monkeypatch.setattr(ChatFile, "exchanges", load)
    second.application.chats.show(kept)
    second.until(lambda: [exchange.question for exchange in second.chat.exchanges] == ["Who?"])
    second.controller.ask("When?")
    second.until_answered(1)
    assert [exchange.id for exchange in second.chat.exchanges] == [0, 1]


def test_a_damaged_file_is_told(restarted: Callable[[], AppDriver], folders: Folders) -> None:
    folders.data.mkdir()
    folders.history.write_bytes(b"nonsense" * 999)
    driver = restarted()
    driver.until(driver.window.banner.isVisible)
    assert "kept aside as chats.sqlite3.damaged-1" in driver.window.banner.text.text()
