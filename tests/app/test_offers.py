"""Where memory ran out, one click goes on with a smaller plan, or as it was; the chat stays."""

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.controllers.notices import PAGE_TOKENS
from app.engine_session import EngineSession
from app.folders import Folders
from app.models.chat import ExchangeState, ReadingState
from app.models.engine_status import EngineState
from app.reports import DocumentsRejected, NotHereError
from app.requests import Ask, FileSource, LoadModel, Read
from app.settings import load_settings
from kiv_engine.document import Document
from kiv_engine.errors import DocumentError, OutOfMemoryError
from kiv_engine.events import Failed, SmallerPlan
from tests.app.conftest import AppDriver

INT8 = SmallerPlan(store_dtype="int8")


def too_large(plan: SmallerPlan | None, *, is_predicted: bool, fit_tokens: int = 0) -> Failed:
    message = "The document has 900,000 tokens, which need 66.4 GB of RAM; about 280,000 tokens fit."
    error = OutOfMemoryError(message, 900_000, is_predicted=is_predicted, fit_tokens=fit_tokens)
    return Failed(message, error, plan)


def offers(driver: AppDriver) -> list[str]:
    banner = driver.window.banner
    return [button.text() for button in banner.offers if banner.isVisible() and button.isVisible()]


def click(driver: AppDriver, place: int) -> None:
    QTest.mouseClick(driver.window.banner.offers[place], Qt.MouseButton.LeftButton)


def fail_reading(driver: AppDriver, book: Path, failed: Failed) -> None:
    driver.session.fail_once = {Read: failed}
    driver.controller.open_files([book])
    driver.until(driver.window.banner.isVisible)
    driver.until_state(EngineState.IDLE)


def test_a_document_that_does_not_fit_is_read_with_a_smaller_plan(driver: AppDriver, book: Path, folders) -> None:
    fail_reading(driver, book, too_large(INT8, is_predicted=True))
    assert offers(driver) == ["Use 8 bit for older text", "Try anyway"]
    assert "66.4 GB of RAM" in driver.window.banner.text.text()
    click(driver, 0)
    driver.until_read()
    assert not driver.window.banner.isVisible()
    assert [document.name for document in driver.chat.documents] == [book.name]
    last = driver.session.read[-1]
    assert (last.options.config.store_dtype, last.anyway) == ("int8", False)
    assert driver.session.num_closed >= 1, "what was there before is given back"
    assert load_settings(folders.settings).settings.engine.store_dtype == "int8"


def test_it_can_be_tried_anyway(driver: AppDriver, book: Path) -> None:
    fail_reading(driver, book, too_large(None, is_predicted=True))
    assert offers(driver) == ["Try anyway"]
    click(driver, 0)
    driver.until_read()
    assert driver.session.read[-1].anyway
    assert len(driver.chat.documents) == 1


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (SmallerPlan(tokens=512_000), "At most about 512,000 tokens fit."),
        (
            SmallerPlan(store_dtype="int8", tokens=512_000),
            "With 8 bit for older text, at most about 512,000 tokens fit.",
        ),
    ],
)
def test_where_only_a_shorter_text_fits_its_length_is_told(
    driver: AppDriver, book: Path, plan: SmallerPlan, told: str
) -> None:
    fail_reading(driver, book, too_large(plan, is_predicted=False))
    assert offers(driver) == ["Unload the model"]
    assert driver.window.banner.text.text().endswith(told)


def test_sparse_reading_is_offered_in_place_of_exact_with_its_figures(
    driver: AppDriver, book: Path, folders: Folders
) -> None:
    plan = SmallerPlan(prefill="sparse", need_bytes=6_200_000_000, free_bytes=6_400_000_000)
    fail_reading(driver, book, too_large(plan, is_predicted=False))
    told = "With sparse reading, 6.20 GB are needed before the first token, and 6.40 GB are there."
    assert driver.window.banner.text.text().endswith(told)
    assert offers(driver) == ["Use sparse reading", "Unload the model"]
    click(driver, 0)
    driver.until_read()
    assert driver.session.read[-1].options.config.prefill == "sparse"
    assert load_settings(folders.settings).settings.engine.prefill == "sparse"


def test_as_much_as_fits_is_offered_by_its_length(driver: AppDriver, book: Path) -> None:
    driver.window.resize(900, 600)
    fail_reading(driver, book, too_large(INT8, is_predicted=True, fit_tokens=283_456))
    assert offers(driver) == ["Use 8 bit for older text", "Read the first 283,000 tokens", "Try anyway"]
    banner = driver.window.banner
    QApplication.sendPostedEvents()
    assert all(button.width() >= button.sizeHint().width() for button in banner.offers), "no words are cut off"
    assert all(button.mapTo(banner, button.rect().bottomRight()).y() < banner.height() for button in banner.offers)
    click(driver, 1)
    driver.until_read()
    last = driver.session.read[-1]
    assert (last.first_tokens, last.anyway, last.options.config.store_dtype) == (283_000, False, "auto")


@pytest.mark.parametrize(
    ("fit_tokens", "offered"),
    [(5, []), (PAGE_TOKENS - 1, []), (PAGE_TOKENS, [f"Read the first {PAGE_TOKENS:,} tokens"])],
)
def test_a_beginning_that_is_less_than_a_page_is_not_offered(
    driver: AppDriver, book: Path, fit_tokens: int, offered: list[str]
) -> None:
    fail_reading(driver, book, too_large(None, is_predicted=True, fit_tokens=fit_tokens))
    assert offers(driver) == [*offered, "Try anyway"]


def test_an_offer_that_is_wider_than_the_window_stands_on_several_lines(driver: AppDriver, book: Path) -> None:
    driver.window.resize(900, 600)
    plan = SmallerPlan(quantize="4bit", store_dtype="int8", store="stores", hot_tokens=1_024)
    fail_reading(driver, book, too_large(plan, is_predicted=True))
    banner = driver.window.banner
    long, other = banner.offers[:2]
    assert (
        long.text() == "Use 4 bit weights, 8 bit for older text, the disk for older text, 1,024 newest tokens in full"
    )
    heights = []
    for width in (900, 240):
        banner.setFixedWidth(width)
        QApplication.sendPostedEvents()
        assert " ".join(long._lines(long.width())) == long.text()
        widest = max(long.fontMetrics().horizontalAdvance(line) for line in long._lines(long.width()))
        assert widest <= long.contentsRect().width()
        assert long.height() >= len(long._lines(long.width())) * long.fontMetrics().lineSpacing()
        assert other._lines(other.width()) == ["Try anyway"]
        assert other.mapTo(banner, other.rect().bottomRight()).y() < banner.height()
        heights.append(long.height())
    assert heights[0] == other.height() < heights[1]


def test_an_answer_that_ran_out_of_memory_is_given_with_a_smaller_plan(driver: AppDriver, book: Path) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.session.fail_once = {Ask: too_large(SmallerPlan(store="/old", hot_tokens=512), is_predicted=False)}
    driver.controller.ask("And then?")
    driver.until(lambda: driver.chat.exchanges[-1].state is ExchangeState.FAILED)
    driver.until_state(EngineState.IDLE)
    assert offers(driver) == ["Use the disk for older text, 512 newest tokens in full", "Unload the model"]
    click(driver, 0)
    driver.until(lambda: driver.chat.exchanges[-1].state is ExchangeState.DONE)
    assert [each.question for each in driver.chat.exchanges] == ["Who?", "And then?"]
    assert driver.chat.exchanges[0].answer, "what was said before is still there"
    config = driver.session.asked[-1].options.config
    assert (str(config.store), config.hot_tokens) == ("/old", 512)
    assert [said.question for said in driver.session.asked[-1].history] == ["Who?"]
    assert len(driver.session.read) == 2, "read again, with the smaller plan"


@pytest.mark.parametrize("place", [0, 1], ids=["smaller", "anyway"])
def test_a_model_that_does_not_fit_is_loaded_otherwise(driver: AppDriver, book: Path, place: int) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    driver.session.fail_once = {LoadModel: too_large(SmallerPlan(quantize="4bit"), is_predicted=True)}
    driver.controller.use_model("Large/Model-70B", "8bit")
    driver.until(driver.window.banner.isVisible)
    driver.until_state(EngineState.IDLE)
    assert driver.status.model is not None
    assert driver.status.model.name == "demo"
    assert offers(driver) == ["Use 4 bit weights", "Try anyway"]
    click(driver, place)
    driver.until(lambda: driver.status.model is not None and driver.status.model.name == "Large/Model-70B")
    expected = LoadModel("Large/Model-70B", "4bit") if place == 0 else LoadModel("Large/Model-70B", "8bit", anyway=True)
    assert driver.session.loaded[-1] == expected
    driver.controller.load_model()
    driver.until(lambda: len(driver.session.loaded) > 1 and driver.session.loaded[-2:] == [expected, expected])
    driver.until_state(EngineState.IDLE)
    assert driver.chat.reading.state is ReadingState.CLOSED
    driver.controller.ask("Who?")
    driver.until_answered()


def test_what_is_told_later_has_no_offers_of_before(driver: AppDriver, book: Path) -> None:
    fail_reading(driver, book, too_large(INT8, is_predicted=True))
    driver.controller.read_pasted("   ")
    assert offers(driver) == []


def answer_fails(driver: AppDriver, book: Path, error: BaseException) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    driver.session.fails_on = {Ask: error}
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.until_state(EngineState.IDLE)
    driver.session.fails_on = {}


def test_where_memory_ran_out_the_model_can_be_unloaded_and_comes_back_for_a_question(
    driver: AppDriver, book: Path
) -> None:
    answer_fails(driver, book, MemoryError())
    words = driver.window.banner.text.text()
    assert "RAM ran out." in words
    assert "this app takes" in words
    assert "Close other programs, read less, keep older text in 8 bit or on the disk" in words
    assert offers(driver) == ["Unload the model"]
    click(driver, 0)
    driver.until(lambda: offers(driver) == ["Load the model"])
    driver.until_state(EngineState.ABSENT)
    assert "The model is unloaded." in driver.window.banner.text.text()
    assert driver.status.model is None
    assert driver.chat.reading.state is ReadingState.CLOSED
    assert driver.chat.exchanges[0].question == "Who?", "the chat is intact"
    driver.controller.ask("And now?")
    driver.until_answered(1)
    assert driver.chat.exchanges[1].state is ExchangeState.DONE
    assert len(driver.session.loaded) == len(driver.session.read) == 2


def test_what_needs_no_model_does_not_load_one(driver: AppDriver, book: Path) -> None:
    answer_fails(driver, book, MemoryError())
    click(driver, 0)
    driver.until(lambda: offers(driver) == ["Load the model"])
    driver.controller.new_chat()
    driver.controller.forget_context(driver.application.chats.at(1))
    assert driver.status.state is EngineState.ABSENT
    click(driver, 0)
    driver.until_state(EngineState.IDLE)
    assert len(driver.session.loaded) == 2


def test_after_an_error_that_nobody_foresaw_the_engine_starts_again_with_one_click(
    driver: AppDriver, book: Path
) -> None:
    answer_fails(driver, book, ValueError("odd"))
    assert "Unexpected error: ValueError: odd." in driver.window.banner.text.text()
    assert offers(driver) == ["Load the model again"]
    click(driver, 0)
    driver.until(lambda: len(driver.session.loaded) == 2)
    driver.until_state(EngineState.IDLE)
    driver.controller.regenerate(0)
    driver.until(lambda: driver.chat.exchanges[0].state is ExchangeState.DONE)


def test_several_documents_that_cannot_be_read_are_counted(driver: AppDriver, tmp_path: Path) -> None:
    driver.until_state(EngineState.IDLE)
    error = DocumentError("a.txt is not text.")
    driver.session.fail_once = {Read: Failed(str(error), error)}
    driver.controller.open_files([tmp_path / name for name in ("a.txt", "b.txt", "c.txt")])
    driver.until(driver.window.banner.isVisible)
    assert driver.window.banner.text.text().endswith("not text. And 2 more could not be read.")


def test_of_several_documents_those_that_cannot_be_read_are_counted_and_the_others_read(
    driver: AppDriver, book: Path, tmp_path: Path
) -> None:
    driver.until_state(EngineState.IDLE)
    driver.controller.open_files([tmp_path / "a.txt", book, tmp_path / "b.txt", tmp_path / "c.txt"])
    driver.until_read()
    told = driver.window.banner.text.text()
    reason = f"There is no file {tmp_path / 'a.txt'}: look whether it was moved or renamed."
    assert told == f"{reason} And 2 more could not be read."
    assert [document.name for document in driver.chat.documents] == [book.name]


def test_what_cannot_be_opened_of_several_files_is_reported_together(book: Path, tmp_path: Path) -> None:
    session, documents = EngineSession(), list[Document]()
    paths = (tmp_path / "a.txt", book, tmp_path / "b.txt")
    events = list(session._open([FileSource(path) for path in paths], lambda: False, documents))
    reason = f"There is no file {tmp_path / 'a.txt'}: look whether it was moved or renamed."
    assert events[-1] == DocumentsRejected(("a.txt", "b.txt"), reason)
    assert [document.name for document in documents] == [book.name]
    session.close()


def test_what_goes_wrong_in_the_window_leaves_no_state_behind(
    driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.until_state(EngineState.IDLE)
    driver.session.held_at = {"read"}
    driver.controller.open_files([book])
    driver.until_reached("read")
    monkeypatch.setattr(driver.controller._readings, "_finish", lambda *_: 1 / 0)
    with driver.qtbot.captureExceptions() as caught:
        driver.session.go()
        driver.until_state(EngineState.IDLE)
    assert [kind for kind, _error, _trace in caught] == [ZeroDivisionError]


def test_a_model_that_is_not_here_is_told_with_the_page_that_gets_it(driver: AppDriver) -> None:
    driver.until_state(EngineState.IDLE)
    driver.session.cannot_load["Owner/Gone"] = NotHereError("Owner/Gone")
    driver.controller.use_model("Owner/Gone", "none")
    driver.until(driver.window.banner.isVisible)
    assert driver.window.banner.text.text() == (
        "Owner/Gone could not be loaded: it is not on this PC; get it on the page of models (Ctrl+L). "
        "Going on with the built-in model."
    )
    driver.until_state(EngineState.IDLE)
