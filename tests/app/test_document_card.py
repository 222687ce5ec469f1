"""The card of the documents: what it tells before anything is read, while that goes on, and when it was stopped."""

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel

from app.models.chat import ExchangeState, ReadingState
from app.models.engine_status import EngineState
from app.requests import Read, Said
from app.settings import ChatOptions
from kiv_engine.errors import OutOfMemoryError
from kiv_engine.events import Failed
from tests.app.conftest import AppDriver
from tests.app.scripted_session import WORDS

LONG = "Some words. " * 100_000
LONG_TOKENS = len(LONG) // 4


def rows(driver: AppDriver) -> list[tuple[str, str]]:
    """Name and tokens of each document, from top to bottom."""
    card = driver.transcript.card
    names = [card._names.itemAtPosition(row, 1).widget() for row in range(len(driver.chat.documents))]
    counts = [card._names.itemAtPosition(row, 2).widget() for row in range(len(driver.chat.documents))]
    assert all(isinstance(label, QLabel) for label in names + counts)
    return [(name.text(), count.text()) for name, count in zip(names, counts, strict=True)]


def colour(label: QLabel) -> str:
    return label.palette().windowText().color().name()


def stop_half_way(driver: AppDriver) -> None:
    driver.session.held_at = {"read"}
    driver.controller.read_pasted(LONG)
    driver.until_reached("read")
    driver.until(driver.transcript.card.stop.isVisible)
    driver.transcript.card.stop.click()
    driver.until_read(ReadingState.STOPPED)
    driver.session.go()
    driver.until_state(EngineState.IDLE)


def test_all_is_told_before_the_first_token_is_read(driver: AppDriver) -> None:
    driver.session.held_at = {"begin"}
    driver.controller.read_pasted(LONG)
    card = driver.transcript.card
    driver.until(lambda: "to read" in card.state.text())
    assert driver.chat.reading.tokens_read == 0
    assert rows(driver) == [("Pasted: “Some words. Some …”", "300,000 tokens")]
    assert card.facts.text() == "Needs 326 MB · fits this PC (up to about 4.2 million tokens)"
    assert colour(card.facts) == driver.application.theme.colors.muted
    assert card.state.text() == "0 of 300,000 tokens · about 3 h to read"
    assert card.stores.isVisible()
    assert card.stop.isVisible()
    assert card.beyond.isVisible()
    assert "2,048 tokens that the model was trained on" in card.beyond.text()
    assert colour(card.beyond) == driver.application.theme.colors.warning
    assert driver.window.tokens.text() == "0 of 300,000 tokens in context"
    driver.session.go()
    driver.until_read()
    assert card.state.text() == "All 300,000 tokens read in 2:21 min"


def test_while_it_is_read_rate_and_time_left_are_told(driver: AppDriver) -> None:
    driver.session.held_at = {"read"}
    driver.controller.read_pasted(LONG)
    driver.until_reached("read")
    state = driver.transcript.card.state
    driver.until(lambda: state.text() == "150,000 of 300,000 tokens · 2,125 tokens/s · 1:10 min left")
    assert driver.transcript.card.progress.value() == 500


def test_what_does_not_fit_is_not_called_fitting_if_it_is_read_anyway(driver: AppDriver) -> None:
    driver.session.fit_tokens = LONG_TOKENS - 1
    message = "The document has 300,000 tokens, which need 0.3 GB of RAM; about 299,999 tokens fit."
    driver.session.fail_once = {Read: Failed(message, OutOfMemoryError(message, LONG_TOKENS, is_predicted=True))}
    driver.controller.read_pasted(LONG)
    driver.until(driver.window.banner.isVisible)
    driver.until_state(EngineState.IDLE)
    QTest.mouseClick(driver.window.banner.offers[0], Qt.MouseButton.LeftButton)
    driver.until_read()
    assert driver.session.read[-1].anyway
    facts = driver.transcript.card.facts
    assert facts.text() == "Needs 326 MB · does not fit this PC (up to about 299,000 tokens do)"
    assert colour(facts) == driver.application.theme.colors.warning


def read_beginning(driver: AppDriver) -> None:
    """Have the first half of what does not fit read, as it is offered."""
    driver.session.fit_tokens = LONG_TOKENS // 2
    message = "The document has 300,000 tokens, which need 0.3 GB of RAM; about 150,000 tokens fit."
    error = OutOfMemoryError(message, LONG_TOKENS, is_predicted=True, fit_tokens=LONG_TOKENS // 2)
    driver.session.fail_once = {Read: Failed(message, error)}
    driver.controller.read_pasted(LONG)
    driver.until(driver.window.banner.isVisible)
    driver.until_state(EngineState.IDLE)
    assert driver.transcript.card.state.text() == message
    offer = driver.window.banner.offers[0]
    assert (offer.text(), offer.accessibleName()) == ("Read the first 150,000 tokens",) * 2
    offer.setFocus()
    QTest.keyClick(offer, Qt.Key.Key_Space)


BEGINNING = "The first 150,000 of 300,000 tokens are read. The rest is not: answers know nothing of it"


def test_of_what_does_not_fit_a_beginning_is_read_and_called_that(driver: AppDriver) -> None:
    card = driver.transcript.card
    driver.until_state(EngineState.IDLE)
    driver.session.held_at = {"read"}
    read_beginning(driver)
    driver.until_reached("read")
    line = "90,000 of the first 150,000 tokens; the rest, to 300,000, is not read · 2,125 tokens/s · 28 s left"
    driver.until(lambda: card.state.text() == line)
    assert card.progress.value() == 600
    driver.session.go()
    driver.until_read()
    driver.until_state(EngineState.IDLE)
    assert card.state.text() == BEGINNING
    assert not card.progress.isVisible()
    assert card.facts.text() == "Needs 326 MB · does not fit this PC (up to about 150,000 tokens do)"
    assert driver.window.tokens.text() == "Only 150,000 of 300,000 tokens read"
    driver.controller.ask("Who?")
    driver.until_answered()
    assert driver.chat.exchanges[0].state is ExchangeState.DONE
    assert driver.window.tokens.text() == "Only 150,000 of 300,000 tokens read"
    assert (card.resume.text(), card.resume.accessibleName()) == ("Read the rest anyway",) * 2
    card.resume.click()
    driver.until_read()
    last = driver.session.read[-1]
    assert (last.sources, last.anyway, last.first_tokens) == ((), True, 0)
    assert card.state.text().startswith("All 300,000 tokens read in ")


def test_a_beginning_is_what_is_opened_again(driver: AppDriver) -> None:
    read_beginning(driver)
    driver.until_read()
    driver.until_state(EngineState.IDLE)
    driver.controller.unload_model()
    driver.until_read(ReadingState.CLOSED)
    line = "Not in memory; the first 150,000 tokens are opened with your next question"
    driver.until(lambda: driver.transcript.card.state.text() == line)
    driver.controller.ask("Who?")
    driver.until_answered()
    assert driver.chat.exchanges[0].state is ExchangeState.DONE
    assert driver.session.read[-1].first_tokens == 150_000
    assert driver.transcript.card.state.text() == BEGINNING


def test_a_beginning_that_is_kept_in_another_way_is_read_to_its_end(driver: AppDriver) -> None:
    read_beginning(driver)
    driver.until_read()
    driver.until_state(EngineState.IDLE)
    driver.controller.set_store("int8")
    driver.until_read()
    assert driver.chat.reading.tokens_read == LONG_TOKENS
    assert driver.chat.options.first_tokens == 0
    assert driver.chat.options.for_new_chats.store == ""


@pytest.mark.parametrize("first", [0, 150_000])
def test_a_document_that_is_not_added_after_all_changes_nothing(driver: AppDriver, book: Path, first: int) -> None:
    driver.chat.set_options(ChatOptions(first_tokens=first))
    driver.controller.read_pasted(LONG)
    driver.until_read()
    driver.until_state(EngineState.IDLE)
    line, documents = driver.transcript.card.state.text(), list(driver.chat.documents)
    driver.session.held_at = {"open"}
    driver.controller.open_files([book])
    driver.until_state(EngineState.READING)
    driver.controller.stop()
    driver.until_state(EngineState.IDLE)
    assert driver.chat.documents == documents
    assert driver.chat.reading.is_beginning_only == bool(first)
    told = driver.transcript.card.state.text()
    assert (told == BEGINNING == line) if first else told.startswith("All 300,000 tokens read in ")


def test_a_beginning_is_told_by_what_is_read_and_not_by_what_is_wanted_next(driver: AppDriver) -> None:
    driver.session.held_at = {"read"}
    driver.controller.read_pasted(LONG)
    driver.until(lambda: driver.transcript.card.state.text().startswith("150,000 of 300,000 tokens · "))
    driver.chat.set_options(ChatOptions(first_tokens=LONG_TOKENS // 2))
    assert driver.transcript.card.state.text().startswith("150,000 of 300,000 tokens · ")
    assert driver.transcript.card.progress.value() == 500
    driver.session.go()
    driver.until_read()
    assert driver.transcript.card.state.text().startswith("All 300,000 tokens read in ")


def test_documents_are_read_in_the_order_that_is_shown(driver: AppDriver, tmp_path: Path) -> None:
    paths = []
    for name, words in (("b.txt", 40), ("c.txt", 10), ("a.txt", 30)):
        paths.append(tmp_path / name)
        paths[-1].write_text(f"This is {name}. " * words)
    driver.controller.open_files(paths[:2])
    driver.controller.open_files(paths[2:])
    driver.until_read()
    assert rows(driver) == [("b.txt", "150 tokens"), ("c.txt", "37 tokens"), ("a.txt", "112 tokens")]
    places = [(document.place.start, document.place.tokens) for document in driver.chat.documents]
    assert places == [(0, 150), (150, 37), (187, 112)]
    shown = driver.window.document.text
    driver.until(lambda: shown.is_complete)
    found = [shown.toPlainText().index(f"This is {name}") for name in ("b.txt", "c.txt", "a.txt")]
    assert found == sorted(found)


def test_what_was_read_until_a_stop_can_be_asked_about_and_reading_goes_on_after_that(driver: AppDriver) -> None:
    stop_half_way(driver)
    card = driver.transcript.card
    stopped = "150,000 of 300,000 tokens read. Ask now, or continue"
    assert card.state.text() == stopped
    assert (card.resume.text(), card.resume.accessibleName()) == (
        "Continue · 1 min",
        "Continue reading: about 1 min",
    )
    assert driver.window.tokens.text() == "150,000 of 300,000 tokens in context"
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.until_state(EngineState.IDLE)
    assert driver.window.tokens.text() == "150,037 of 300,037 tokens in context"
    assert card.state.text() == stopped
    assert card.resume.isVisible()
    card.resume.setFocus()
    QTest.keyClick(card.resume, Qt.Key.Key_Space)
    driver.until_read()
    assert driver.session.read[-1].sources == ()
    assert driver.chat.reading.tokens_read == LONG_TOKENS
    assert not card.resume.isVisible()
    driver.controller.ask("And when?")
    driver.until_answered(1)
    assert driver.session.asked[-1].history == (Said("Who?", "".join(WORDS)),)


def test_a_document_opened_after_that_question_goes_into_a_new_chat(driver: AppDriver, book: Path) -> None:
    stop_half_way(driver)
    first = driver.chat
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.controller.open_files([book])
    driver.until_read()
    assert driver.chat is not first
    assert first.reading.state is ReadingState.STOPPED
    driver.application.chats.show(first)
    assert driver.transcript.card.resume.isVisible()
