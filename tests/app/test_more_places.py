"""Summaries and counts: what limits them is said, and more places are offered."""

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel

from app.views.exchange_view import ExchangeView
from app.views.more_places import BROAD
from kiv_engine.errors import EngineError
from tests.app.conftest import AppDriver


@pytest.mark.parametrize(
    "question",
    [
        "Summarize the book.",
        "How many ships came?",
        "List the harbours",
        "What are the main themes?",
        "Name every ship.",
        "Fasse das Buch zusammen.",
        "Gib mir eine Zusammenfassung!",
        "Wie viele Schiffe kamen an?",
        "Wieviele Gänse wurden gezählt?",
        "Zähle die Schiffe",
        "Nenne alle Häfen.",
        "Worum geht es im ganzen Buch?",
        "Résume le livre.",
        "Fais un résumé de ce texte",
        "Combien de navires sont arrivés ?",
        "Quels sont les thèmes principaux ?",
        "Cite tous les ports.",
        "Resume el libro.",
        "¿Cuántos barcos llegaron?",
        "Haz una lista de los puertos",
        "Nombra todos los barcos",
        "Riassumi il libro.",
        "Quante navi arrivarono?",
        "Elenca i porti",
        "Nomina tutte le navi",
        "Resuma o livro.",
        "Quantos navios chegaram?",
        "Liste os portos",
        "Diga todos os nomes",
        "Compte les navires",
        "Cuenta los barcos",
        "Conta le navi",
        "Conte os navios",
    ],
)
def test_questions_about_many_places(question: str) -> None:
    assert BROAD.search(question)


@pytest.mark.parametrize(
    "question",
    [
        "Who took the ship out?",
        "When did he enlist?",
        "What is the counter's name?",
        "Wer fuhr mit dem Schiff hinaus?",
        "Wann gingen sie zusammen fort?",
        "Qui a pris le bateau ?",
        "Quand est-il parti ?",
        "¿Quién tomó el barco?",
        "¿Dónde vive el capitán?",
        "Chi prese la nave?",
        "Dove abita il capitano?",
        "Quem levou o navio?",
        "When did they resume the voyage?",
        "Où veut-il aller demain ?",
        "De quoi parle ce conte ?",
        "¿Quién cuenta la historia?",
        "Onde mora o capitão?",
    ],
)
def test_questions_about_one_place(question: str) -> None:
    assert not BROAD.search(question)


def test_an_answer_with_more_places_is_another_branch(driver: AppDriver, tmp_path: Path) -> None:
    long = tmp_path / "long.txt"
    long.write_text("The goose was counted at noon. " * 600, encoding="utf-8")
    driver.controller.open_files([long])
    driver.until_read()
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.controller.ask("How many geese?")
    driver.until_answered(1)
    one, many = driver.transcript.exchanges
    assert (one.more.isVisible(), many.more.isVisible()) == (False, True)
    assert "at most 256 places" in many.more.line.text()
    assert many.more.buttons[0].text() == "With 512 places"
    many.more.buttons[0].setFocus()
    QTest.mouseClick(many.more.buttons[0], Qt.MouseButton.LeftButton)
    assert driver.window.focusWidget() is driver.window.composer.edit, "the button is gone"
    driver.until(lambda: driver.chat.exchanges[1].id == 2 and driver.chat.exchanges[1].is_over)
    assert [ask.retrieved_tokens for ask in driver.session.asked] == [0, 0, 512]
    again = driver.transcript.exchanges[1]
    driver.until(lambda: again.is_shown)
    assert "at most 512 places" in again.more.line.text()
    assert [button.isVisible() for button in again.more.buttons] == [False, True]


def test_nothing_is_offered_where_every_word_sees_the_whole_document(driver: AppDriver, book: Path) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    driver.controller.ask("How many geese?")
    driver.until_answered()
    assert not driver.transcript.exchanges[0].more.isVisible()


def test_below_an_answer_that_was_stopped_before_its_first_word_stands_only_why(
    driver: AppDriver, tmp_path: Path
) -> None:
    long = tmp_path / "long.txt"
    long.write_text("The goose was counted at noon. " * 600, encoding="utf-8")
    driver.controller.open_files([long])
    driver.until_read()
    driver.session.held_at = {"ask"}
    driver.controller.ask("How many geese?")
    driver.until_reached("ask")
    driver.controller.stop()
    driver.until_answered()
    [view] = driver.transcript.exchanges
    driver.until(lambda: view.is_shown)
    said = [label.text() for label in view.findChildren(QLabel) if label.isVisible() and label.text()]
    assert said[-2:] == ["The answer is empty.", "stopped\u00a0by\u00a0you"]
    assert not view.more.isVisible()


def offered(driver: AppDriver, tmp_path: Path) -> ExchangeView:
    path = tmp_path / "long.txt"
    path.write_text("The goose was counted at noon. " * 3_000)
    driver.controller.open_files([path])
    driver.until_read()
    driver.controller.ask("Summarise all of it.")
    driver.until_answered()
    return driver.transcript.exchanges[0]


def test_going_by_section_collects_an_answer_of_each(driver: AppDriver, tmp_path: Path) -> None:
    first = offered(driver, tmp_path)
    assert first.more.sections.isVisible()
    assert "6 sections" in first.more.sections.accessibleName(), "23,250 tokens in parts of at most 4,096"
    driver.session.held_at = {"section"}
    first.more.sections.setFocus()
    first.more.sections.click()
    assert driver.window.focusWidget() is driver.window.composer.edit, "the button is gone"
    driver.until_reached("section")
    [view] = driver.transcript.exchanges
    driver.until(lambda: "Section 1 of 3" in view.waiting.text() and view.waiting.isVisible())
    driver.until(view.answer.isVisible)
    driver.session.go()
    driver.until_answered()
    assert driver.session.asked[-1].by_section
    exchange = driver.chat.exchanges[0]
    assert exchange.answer.count("Geese.") == 3
    assert not view.waiting.isVisible()
    assert not view.more.isVisible(), "there is no more to offer"
    assert len(driver.chat.siblings(exchange)) == 2, "the first answer stays"
    assert any("nothing was compared" in label.text() for label in view.findChildren(QLabel))


def test_going_by_section_can_be_stopped_and_keeps_what_was_said(driver: AppDriver, tmp_path: Path) -> None:
    first = offered(driver, tmp_path)
    driver.session.held_at = {"section"}
    first.more.sections.click()
    driver.until_reached("section")
    driver.until(lambda: bool(driver.chat.exchanges[0].answer))
    driver.controller.stop()
    driver.until_answered()
    assert driver.chat.exchanges[0].answer.count("Geese.") == 1
    assert driver.chat.exchanges[0].answer.endswith("\n\n---\n\nRead to the end: 1 of 3 sections.")
    assert "stopped\u00a0by\u00a0you" in driver.transcript.exchanges[0].footer.text()


def test_sections_in_which_nothing_was_found_share_a_line(driver: AppDriver, tmp_path: Path) -> None:
    first = offered(driver, tmp_path)
    driver.session.silent = {1, 2}
    driver.session.held_at = {"section"}
    first.more.sections.setFocus()
    first.more.sections.click()
    assert driver.window.focusWidget() is driver.window.composer.edit, "the button is gone"
    driver.until_reached("section")
    [view] = driver.transcript.exchanges
    driver.until(lambda: view.waiting.text() == "Section 1 of 3; Esc stops")
    assert view.waiting.isVisible(), "how far it is can be seen before anything is found"
    assert not view.has_answer
    driver.session.go()
    driver.until_answered()
    exchange = driver.chat.exchanges[0]
    assert exchange.answer == "#### Section 3 of 3\n\nGeese.\n\n---\n\nNothing found in 2 of 3 sections (1–2)."
    assert exchange.finished is not None
    assert exchange.finished.text == exchange.answer, "what is kept and exported is what is shown"
    assert "Nothing found in 2 of 3 sections" in view.answer.toPlainText()
    driver.controller.ask("And then?")
    driver.until_answered(1)
    assert driver.session.asked[-1].history[0].answer == exchange.answer, "what is said later follows what is shown"


def test_it_is_told_on_the_way_in_how_many_sections_nothing_was_found(driver: AppDriver, tmp_path: Path) -> None:
    first = offered(driver, tmp_path)
    driver.session.silent, lines = {1, 2}, []
    driver.application.chats.current.exchange_changed.connect(
        lambda _number: lines.append(driver.transcript.exchanges[0].waiting.text())
    )
    first.more.sections.click()
    driver.until_answered()
    assert "Section 3 of 3, nothing found in 2 so far; Esc stops" in lines


def test_where_nothing_was_found_at_all_one_line_says_so(driver: AppDriver, tmp_path: Path) -> None:
    first = offered(driver, tmp_path)
    driver.session.silent = {1, 2, 3}
    first.more.sections.click()
    driver.until_answered()
    assert driver.chat.exchanges[0].answer == "Nothing found in any of the 3 sections."


def test_a_failure_keeps_what_was_found_and_what_was_not(driver: AppDriver, tmp_path: Path) -> None:
    first = offered(driver, tmp_path)
    driver.session.silent = {2}
    driver.session.fails_in_section = {3: EngineError("The disk is gone.")}
    first.more.sections.click()
    driver.until_answered()
    answer = "#### Section 1 of 3\n\nGeese.\n\n---\n\nRead to the end: 2 of 3 sections. Nothing found in 1 of them (2)."
    assert driver.chat.exchanges[0].answer == answer
    assert driver.transcript.exchanges[0].waiting.text() == "Failed: The disk is gone."
