"""The states that the pictures script look as where the engine brings them about."""

from pathlib import Path

from PySide6.QtWidgets import QApplication

from app.models.engine_status import EngineState
from app.screenshots import ERROR_STEP, Photographer
from tests.app.conftest import AppDriver, read_book


def test_scripted_states_are_shown_and_named_so(
    driver: AppDriver, qapp: QApplication, book: Path, tmp_path: Path
) -> None:
    read_book(driver, book)
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.until_state(EngineState.IDLE)
    photographer = Photographer(qapp, driver.application, tmp_path, 1_000)
    steps = {name: (begin, is_there) for name, begin, is_there in photographer._steps if name.endswith("-scripted")}
    memory, stopping, error = steps
    assert error == ERROR_STEP
    window, status = driver.window, driver.status
    steps[memory][0]()
    assert steps[memory][1]()
    offers = [button.text() for button in window.banner.offers if button.isVisible()]
    assert offers == ["Use 8 bit for older text", "Read the first 734,000 tokens", "Try anyway"]
    steps[stopping][0]()
    assert status.state is EngineState.STOPPING
    assert window.composer.hint.text() == "Stopping …"
    said, view = driver.chat.exchanges[-1].answer, driver.transcript.exchanges[-1].answer
    driver.until(lambda: view.toPlainText() == said)
    steps[error][0]()
    assert steps[error][1]()
    assert status.state is EngineState.ERROR
    status.set_state(EngineState.IDLE)
