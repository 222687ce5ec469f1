"""Ctrl+F in the conversation: what is found, marked, gone to, and that it never takes the window long."""

from itertools import pairwise
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QTextDocument
from PySide6.QtTest import QTest

from app.models.chat import ExchangeState
from app.views import chat_search, conversation_view
from app.views.chat_search import ChatSearch, FoundPlace
from app.views.conversation_view import EXCHANGES_AT_ONCE
from app.views.exchange_view import ExchangeView
from app.views.theme import DARK, LIGHT
from tests.app.conftest import AppDriver, read_book

ANSWER = "**Geese** 🪿 of the *goose* yard:\n\n- a goose\n- no `cat`\n"


def say(driver: AppDriver, *said: tuple[str, str]) -> None:
    """Put questions with their answers into the chat, as they would come from the disk."""
    for question, answer in said:
        exchange = driver.chat.add_exchange(question)
        exchange.answer, exchange.state = answer, ExchangeState.DONE
        driver.chat.exchange_changed.emit(exchange.id)
    driver.until(lambda: all(view.is_shown for view in driver.transcript.exchanges))


def press_find(driver: AppDriver) -> None:
    QTest.keyClick(driver.window.focusWidget(), Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)


def marked(view: ExchangeView) -> list[tuple[str, str]]:
    """What is marked in an answer, and in which colour."""
    marks = view.answer.extraSelections()
    return [(mark.cursor.selectedText(), mark.format.background().color().name()) for mark in marks]


def until_told(driver: AppDriver, words: str) -> None:
    driver.until(lambda: driver.window.conversation.find_bar.found.text() == words)


def until_all_is_marked(driver: AppDriver) -> None:
    driver.until(lambda: not driver.transcript._find.isActive())


def test_words_are_found_as_they_are_shown_and_gone_through(driver: AppDriver) -> None:
    driver.application.theme.choose(LIGHT)
    say(driver, ("Is a goose < a cat & a Goose?", ANSWER), ("And 🪿 goose?", "No **go**ose."))
    bar = driver.window.conversation.find_bar
    press_find(driver)
    assert bar.isVisible()
    assert not driver.window.document.find_bar.isVisible()
    assert bar.edit.hasFocus()
    QTest.keyClicks(bar.edit, "goose")
    until_all_is_marked(driver)
    until_told(driver, "1 of 6")
    first, second = driver.transcript.exchanges
    plain, strong = LIGHT.mark, LIGHT.mark_strong
    assert marked(first) == [("goose", plain)] * 2
    assert marked(second) == [("goose", plain)]
    shown = QTextDocument()
    shown.setHtml(first.question.text())
    assert shown.toPlainText() == "Is a goose < a cat & a Goose?"
    assert (first.question.text().count(plain), first.question.text().count(strong)) == (1, 1)
    for key, told in (("Return", "2"), ("Return", "3"), ("Return", "4"), ("Return", "5"), ("Return", "6")):
        QTest.keyClick(bar.edit, getattr(Qt.Key, f"Key_{key}"))
        until_all_is_marked(driver)
        until_told(driver, f"{told} of 6")
    assert marked(second) == [("goose", strong)]
    assert marked(first) == [("goose", plain)] * 2
    bar.find_next()
    until_told(driver, "1 of 6")
    QTest.keyClick(bar.edit, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    until_told(driver, "6 of 6")
    until_all_is_marked(driver)
    driver.application.theme.choose(DARK)
    assert marked(second) == [("goose", DARK.mark_strong)]
    assert DARK.mark in first.question.text()
    QTest.keyClick(bar.edit, Qt.Key.Key_Escape)
    until_all_is_marked(driver)
    assert not bar.isVisible()
    assert driver.window.composer.edit.hasFocus()
    assert marked(first) == marked(second) == []
    assert first.question.text() == "Is a goose < a cat & a Goose?"


def test_the_key_searches_in_what_has_the_keyboard(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    conversation, document = driver.window.conversation.find_bar, driver.window.document.find_bar
    press_find(driver)
    assert (conversation.isVisible(), document.isVisible()) == (False, True), "nothing was asked yet"
    document.shut.click()
    say(driver, ("Who?", "A goose."))
    driver.window.composer.edit.setFocus()
    press_find(driver)
    assert (conversation.isVisible(), document.isVisible()) == (True, False)
    conversation.shut.click()
    driver.transcript.exchanges[0].answer.setFocus()
    press_find(driver)
    assert (conversation.isVisible(), document.isVisible()) == (True, False)
    driver.window.document.text.setFocus()
    press_find(driver)
    assert document.edit.hasFocus()
    assert ("Ctrl+F", "Find in the conversation or the document") in driver.window.shortcuts


def test_what_is_asked_or_shown_meanwhile_is_looked_through(driver: AppDriver) -> None:
    say(driver, ("A goose?", "No."))
    bar = driver.window.conversation.find_bar
    press_find(driver)
    QTest.keyClicks(bar.edit, "goose")
    until_told(driver, "1 of 1")
    say(driver, ("And then?", "Two geese, and a goose."))
    until_told(driver, "1 of 2")
    until_all_is_marked(driver)
    assert [text for text, _color in marked(driver.transcript.exchanges[1])] == ["goose"]
    QTest.keyClicks(bar.edit, "y")
    until_told(driver, "Not found")
    until_all_is_marked(driver)
    assert marked(driver.transcript.exchanges[1]) == []
    bar.edit.clear()
    bar.edit.textEdited.emit("")
    until_told(driver, "")
    driver.controller.new_chat()
    assert not bar.isVisible(), "it has nothing to search in"


def test_a_place_in_an_earlier_exchange_is_shown_and_scrolled_to(driver: AppDriver) -> None:
    said = [(f"Question {n}?", f"Answer {n}.\n\n" + "More words.\n\n" * 9) for n in range(3 * EXCHANGES_AT_ONCE)]
    said[4] = ("The fifth?", "Words.\n\n" * 60 + "Here is the *needle*.\n\n" + "Words.\n\n" * 60)
    say(driver, *said)
    assert len(driver.transcript.exchanges) == EXCHANGES_AT_ONCE
    bar = driver.window.conversation.find_bar
    press_find(driver)
    QTest.keyClicks(bar.edit, "needle")
    until_told(driver, "1 of 1")
    until_all_is_marked(driver)
    view = next(view for view in driver.transcript.exchanges if view.exchange_id == 4)
    spot = view.mapTo(driver.transcript.viewport(), view.middle_of(FoundPlace(4, in_answer=True, number=0)))
    assert driver.transcript.viewport().rect().contains(spot)
    assert [text for text, _color in marked(view)] == ["needle"]


def test_a_search_begins_at_what_is_on_screen(driver: AppDriver) -> None:
    say(driver, *[(f"Goose {n}?", "Words.\n\n" * 40) for n in range(6)])
    bar = driver.window.conversation.find_bar
    press_find(driver)
    seen = driver.transcript.first_seen
    assert seen > 0
    QTest.keyClicks(bar.edit, "goose")
    until_told(driver, f"{seen + 1} of 6")


def test_a_long_chat_gives_the_window_its_turn(driver: AppDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Clock:
        @staticmethod
        def perf_counter() -> float:
            return now[0]

    def slow(text: str) -> str:
        now[0] += 0.003
        return text

    monkeypatch.setattr(chat_search, "time", Clock)
    monkeypatch.setattr(chat_search, "shown_text", slow)
    say(driver, *[(f"Goose {n}?", f"A goose {n}.") for n in range(30)])
    search, told, turns = ChatSearch(), list[int](), list[int]()
    search.counted.connect(lambda: told.append(len(search.places)))
    search._look.timeout.connect(lambda: turns.append(len(search.places)))
    search.start("goose", driver.chat.exchanges)
    assert not search.is_complete
    driver.until(lambda: bool(told))
    assert told == [60]
    assert max(later - earlier for earlier, later in pairwise(turns)) <= 4, "two exchanges a turn"
    search.start("goose 7", driver.chat.exchanges)
    assert search.is_complete, "what was looked through once is kept"
    assert search.places == [FoundPlace(7, in_answer=in_answer, number=0) for in_answer in (False, True)]


def test_an_older_place_is_shown_with_what_stands_around_it_one_by_one(
    driver: AppDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(driver, *[(f"Goose {n}?", "A goose.") for n in range(4 * EXCHANGES_AT_ONCE)])
    transcript, later = driver.transcript, driver.transcript.later
    assert not later.isVisible()
    monkeypatch.setattr(conversation_view, "FIND_S", 1e-9)
    shown: list[int] = []
    transcript._find.timeout.connect(lambda: shown.append(len(transcript.exchanges)))
    transcript.show_found("goose", FoundPlace(12, in_answer=True, number=0), go=True)
    until_all_is_marked(driver)
    assert shown[0] == 1
    assert shown[-1] == EXCHANGES_AT_ONCE
    assert max(later - earlier for earlier, later in pairwise(shown)) == 1

    def ids() -> list[int]:
        return [view.exchange_id for view in transcript.exchanges]

    assert ids() == list(range(8, 18)) or ids() == list(range(7, 17))
    assert all(marked(view) for view in transcript.exchanges)
    hidden = 4 * EXCHANGES_AT_ONCE - ids()[-1] - 1
    assert later.isVisible()
    assert later.more.text() == f"Show later questions ({hidden})"
    assert later.y() > transcript.exchanges[-1].geometry().bottom()
    spot, first = transcript.exchanges[4].mapTo(transcript.viewport(), transcript.rect().topLeft()), ids()[0]
    QTest.mouseClick(later.more, Qt.MouseButton.LeftButton)
    assert ids() == list(range(first, first + 2 * EXCHANGES_AT_ONCE))
    assert transcript.exchanges[4].mapTo(transcript.viewport(), transcript.rect().topLeft()) == spot
    transcript.show_earlier()
    assert ids() == list(range(first + 2 * EXCHANGES_AT_ONCE))
    QTest.mouseClick(later.newest, Qt.MouseButton.LeftButton)
    assert ids() == list(range(3 * EXCHANGES_AT_ONCE, 4 * EXCHANGES_AT_ONCE))
    assert not later.isVisible()
    assert transcript.verticalScrollBar().value() == transcript.verticalScrollBar().maximum()


def test_what_is_asked_leaves_an_older_place(driver: AppDriver) -> None:
    say(driver, *[(f"Goose {n}?", f"A goose {n}.") for n in range(3 * EXCHANGES_AT_ONCE)])
    place = FoundPlace(3, in_answer=False, number=0)
    driver.transcript.show_found("goose", place, go=True)
    until_all_is_marked(driver)
    assert driver.transcript.later.isVisible()
    driver.window.copy_action.trigger()
    assert QGuiApplication.clipboard().text() == f"A goose {3 * EXCHANGES_AT_ONCE - 1}."
    driver.transcript.show_found("goose", place, go=True)
    until_all_is_marked(driver)
    say(driver, ("And then?", "Nothing."))
    assert not driver.transcript.later.isVisible()
    assert driver.transcript.exchanges[-1].question.text() == "And then?"
