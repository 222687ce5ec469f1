"""A million tokens with a scripted engine: the window reads, shows, tells where it looked, and goes there."""

from app.evidence import HEAT_BINS
from app.models.chat import ReadingState
from app.models.engine_status import EngineState
from tests.app.conftest import AppDriver
from tests.app.scripted_session import COMMON_BIN, SENTENCE

TOKENS = 1_000_000


def test_a_million_tokens_are_read_stopped_and_read_on(driver: AppDriver) -> None:
    driver.until_state(EngineState.IDLE)
    driver.session.held_at = {"read"}
    driver.controller.read_archive(TOKENS)
    reading = driver.chat.reading
    driver.until(lambda: reading.tokens_read >= TOKENS // 3)
    assert reading.state is ReadingState.READING
    driver.controller.stop()
    driver.until_read(ReadingState.STOPPED)
    assert TOKENS // 3 <= reading.tokens_read < reading.tokens_total
    line = driver.transcript.card.state.text()
    assert f"{reading.tokens_read:,} of {reading.tokens_total:,} tokens" in line
    driver.session.go()
    driver.controller.continue_reading()
    driver.until_read()
    assert reading.tokens_read == reading.tokens_total > 0.9 * TOKENS


def test_an_answer_about_a_million_tokens_is_followed_to_its_passages(driver: AppDriver) -> None:
    driver.until_state(EngineState.IDLE)
    driver.controller.read_archive(TOKENS)
    driver.until_read()
    pane = driver.window.document
    driver.until(lambda: pane.text.is_complete)
    [text] = pane.text.texts
    assert len(text.text) > 3_600_000
    assert pane.text.blockCount() == text.num_blocks
    driver.controller.ask("Who is it?")
    driver.until_answered()
    heat = list(pane.strip._heat)
    assert len(heat) == HEAT_BINS
    assert heat[COMMON_BIN] == 0
    passages = driver.chat.exchanges[0].passages
    assert driver.transcript.exchanges[0].rows
    assert len(passages) > 1
    for number, passage in enumerate(passages):
        assert heat[passage.start * HEAT_BINS // len(text.text)] > 0
        driver.chat.select(0, number)
        marks = pane.text.extraSelections()
        [mark] = [each for each in marks if pane.text.viewport().rect().intersects(pane.text.cursorRect(each.cursor))]
        assert mark.cursor.selectedText() == SENTENCE
        top, bottom = pane.text.visible_share()
        assert top <= passage.start / len(text.text) <= bottom
