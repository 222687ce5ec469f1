"""What the engine is doing decides what every control says and offers."""

import pytest

from app.models.engine_status import EngineState
from tests.app.conftest import AppDriver

State = EngineState
HINTS = {
    State.ABSENT: "No model is loaded; a question loads it first",
    State.LOADING: "The model is loading; you can type already, your question is sent when it is ready",
    State.READING: "Reading; a question is answered once everything is read. Esc stops",
    State.GENERATING: "Writing the answer. Esc stops",
    State.STOPPING: "Stopping …",
    State.ERROR: "There is no model; see the message above",
}
MODEL_BUTTON = {State.ABSENT: "No model", State.LOADING: "Loading …", State.ERROR: "No model"}
WELCOME = {State.LOADING: "The model is loading", State.ABSENT: "No model is loaded", State.ERROR: "No model is loaded"}
STOPS = {State.READING, State.GENERATING}


@pytest.mark.parametrize("state", EngineState)
def test_every_state_drives_every_control(driver: AppDriver, state: EngineState) -> None:
    driver.until_state(State.IDLE)
    window, status = driver.window, driver.status
    if state in MODEL_BUTTON:
        status.set_model(None)
    status.set_state(state)
    assert window.composer.hint.text() == HINTS.get(state, window.composer._model_line())
    is_busy = state in (*STOPS, State.STOPPING)
    assert window.composer.send.accessibleName() == ("Stop (Esc)" if is_busy else "Send (Enter)")
    assert window.composer.send.isEnabled() == (state in STOPS)
    assert window.model_button.text() == MODEL_BUTTON.get(state, "Built-in model")
    assert window.banner.restart.isVisible() == (state is State.ERROR)
    assert window.conversation.welcome.room.text().startswith(WELCOME.get(state, "This model: up to about"))
    window.composer.edit.setPlainText("Who?")
    assert window.composer.send.isEnabled(), "a question can be asked at any time, and waits"
    assert window.composer.send.accessibleName() == "Send (Enter)"
