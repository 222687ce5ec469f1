"""The models page around scripted sessions: listing, downloading, stopping, changing the model, and going back."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QDesktopServices
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFileDialog, QLineEdit
from pytestqt.qtbot import QtBot

from app.application import Application
from app.folders import Folders
from app.models.chat import ReadingState
from app.models.engine_status import EngineState
from app.models.model_list import ModelList
from app.reports import (
    ConfigFetched,
    ModelListed,
    ModelsListed,
    ModelTimed,
    PcDescribed,
    TokenKept,
    TokenRemoved,
    WeightsFit,
)
from app.requests import (
    ChooseModelsFolder,
    DescribeModel,
    DownloadModel,
    KeepToken,
    ListModels,
    RemoveToken,
    Request,
    TimeModels,
)
from app.settings import load_settings
from app.views.model_row import ModelRowView
from app.views.models_dialog import ModelsDialog
from kiv_engine.doctor import WHY
from kiv_engine.errors import AccessError, CapacityError, ModelNotFoundError, TokenStoreError, UnsupportedModelError
from kiv_engine.events import Advantage, Downloaded, DownloadProgress
from tests.app.conftest import AppDriver
from tests.app.scripted_session import ScriptedSession

GB = 10**9
SMALL = ModelListed(
    "Small/Model-1B", 1.2, "Apache-2.0", False, 2 * GB, 32_768,
    (WeightsFit("none", 500_000, 2_000_000, 0), WeightsFit("4bit", 900_000, 3_000_000, 0)), "none", is_here=False,
)  # fmt: skip
LARGE = ModelListed(
    "Large/Model-70B", 70.0, "Own", True, 140 * GB, 8_192, (WeightsFit("4bit", 0, 0, 30 * GB),), "4bit", is_here=True
)


class ScriptedModels:
    """Lists two models; a download waits in its middle until `go` or a stop, and a measurement if it is `slow`."""

    def __init__(self, *, slow: bool = False) -> None:
        self.asked: list[Request] = []
        self._slow = slow
        self.error: BaseException | None = None
        self.refusal: UnsupportedModelError | None = None
        self._gate = threading.Event()

    def go(self) -> None:
        self._gate.set()

    def close(self) -> None:
        pass

    def handle(self, request: Request, should_stop: Callable[[], bool]) -> Iterator[object]:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        match request:
            case ListModels():
                yield PcDescribed((("RAM", "16.0 GB free of 24.0 GB"), ("CUDA", "Not usable. No GPU.")))
                yield from (SMALL, LARGE)
                yield ModelsListed(((SMALL.name, "for_million"),))
            case TimeModels(names):
                if not self._slow or self._waited(should_stop):
                    yield from (ModelTimed(name, 36_000.0, 1.25) for name in names)
                yield ModelsListed()
            case DescribeModel(name):
                yield ConfigFetched(name)
                yield replace(SMALL, name=name)
                yield ModelsListed()
            case KeepToken() | RemoveToken():
                yield {KeepToken: TokenKept, RemoveToken: TokenRemoved}[type(request)]()
            case ChooseModelsFolder(folder):
                yield PcDescribed((("Disk", f"9.0 GB free of 10.0 GB, for models in {folder}"),))
                yield replace(SMALL, is_here=True)
                yield ModelsListed(((SMALL.name, "for_million"),))
            case DownloadModel(name):
                yield from self._download(name, should_stop)

    def _download(self, name: str, should_stop: Callable[[], bool]) -> Iterator[object]:
        if self.refusal is not None:
            yield ConfigFetched(name)
            raise self.refusal
        yield DownloadProgress("model.safetensors", GB, 2 * GB, 5e6, 200.0)
        if self._waited(should_stop):
            yield Downloaded("/somewhere", 2 * GB, 2 * GB, 2.0, stopped=False)
        else:
            yield Downloaded("", GB, 2 * GB, 1.0, stopped=True)

    def _waited(self, should_stop: Callable[[], bool]) -> bool:
        """Wait until `go`; False after a stop."""
        while not self._gate.wait(0.01):
            if should_stop():
                return False
        return True


class ModelsDriver(AppDriver):
    """An app whose models page is open."""

    models: ScriptedModels

    @property
    def dialog(self) -> ModelsDialog:
        return self.application.models_dialog

    def view(self, name: str) -> ModelRowView:
        return self.dialog.views[name]

    def click(self, name: str) -> None:
        QTest.mouseClick(self.view(name).button, Qt.MouseButton.LeftButton)


def test_reasons_go_where_nothing_is_advised_any_more_and_stay_where_listing_failed(qapp: QApplication) -> None:
    models = ModelList()
    models.take(SMALL)
    models.set_listing(False, ((SMALL.name, "largest"),))
    models.set_listing(False)
    row = models.row(SMALL.name)
    assert row is not None
    assert (models.recommended, row.advantage) == ((SMALL.name,), "largest")
    models.set_listing(False, ())
    row = models.row(SMALL.name)
    assert row is not None
    assert (models.recommended, row.advantage) == ((), None)


@pytest.mark.parametrize("advantage", get_args(Advantage))
def test_a_model_to_take_says_why_as_the_command_line_does(advantage: Advantage, page: ModelsDriver) -> None:
    page.application.models.set_listing(False, ((SMALL.name, advantage),))
    first, *_ = page.view(SMALL.name).about.text().split(" · ")
    assert first.casefold() == WHY[advantage].casefold()


@pytest.fixture
def page(qtbot: QtBot, qapp: QApplication, session: ScriptedSession, folders: Folders) -> Iterator[ModelsDriver]:
    models = ScriptedModels()
    application = Application(qapp, session, folders, models)
    application.start()
    driver = ModelsDriver(qtbot, application, session)
    driver.models = models
    driver.until_state(EngineState.IDLE)
    application.window.models_action.trigger()
    driver.until(lambda: application.models.recommended == (SMALL.name,))
    yield driver
    session.go()
    models.go()
    application.window.close()
    assert application.closed_in_time
    application.window.deleteLater()
    application.deleteLater()


def test_the_page_says_what_this_pc_has_and_what_fits(page: ModelsDriver) -> None:
    assert "RAM: 16.0 GB free of 24.0 GB" in page.dialog.facts.text()
    small, large, demo = page.view(SMALL.name), page.view(LARGE.name), page.view("demo")
    assert small.about.text() == (
        "For a million tokens · 1.2 billion parameters · Apache-2.0 · trained on texts of up to 32,768 tokens"
    )
    assert small.fit.text() == "Up to 500,000 tokens in RAM, 2.0 million with the disk"
    assert (small.chip.isVisible(), large.chip.isVisible()) == (True, False)
    assert small.button.text() == "Get 2.00 GB"
    assert large.fit.text() == "Does not fit: 30.0 GB are missing"
    assert "its owner grants access" in large.about.text()
    assert (large.button.text(), large.button.isEnabled()) == ("Use", True), "a person may try anyway"
    assert (demo.button.text(), demo.button.isEnabled()) == ("In use", False)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            [("Processor", "X: 8 logical cores; AVX2"), ("CUDA", "Not usable. No GPU."), ("", "Install its driver.")],
            ["Processor: X: 8 logical cores", "Graphics card: No GPU.", "Install its driver."],
        ),
        (
            [("GPU", "RTX 4070, 12.0 GB"), ("CUDA", "Usable. PyTorch 2.9 uses the RTX 4070.")],
            ["Graphics card: RTX 4070, 12.0 GB", "PyTorch 2.9 uses the RTX 4070."],
        ),
    ],
)
def test_the_facts_of_this_pc_are_told_in_everyday_words(
    page: ModelsDriver, said: list[tuple[str, str]], shown: list[str]
) -> None:
    page.application.models.set_facts(tuple(said))
    for facts in (page.dialog.facts, page.application.first_run.facts):
        assert facts.text().split("\n") == shown
        assert "CUDA: " in facts.toolTip(), "what the doctor says is there in full"


def test_other_weights_fit_otherwise(page: ModelsDriver) -> None:
    small = page.view(SMALL.name)
    page.application.models.take(replace(SMALL, measured=(("none", "predicted 4.90 GB, measured 5.10 GB"),)))
    assert small.fit.text().endswith("\nWhen it was last used: predicted 4.90 GB, measured 5.10 GB")
    small.weights.setCurrentIndex(1)
    small.weights.chosen.emit()
    assert small.fit.text() == "Up to 900,000 tokens in RAM, 3.0 million with the disk"


def test_weights_that_are_spread_over_several_gpus_say_so(page: ModelsDriver) -> None:
    fits = (WeightsFit("none", 500_000, 2_000_000, 0, num_gpus=2), WeightsFit("bf16", 900_000, 3_000_000, 0))
    small = page.view(SMALL.name)
    page.application.models.take(replace(SMALL, fits=fits))
    assert small.fit.text() == "Up to 500,000 tokens in RAM, 2.0 million with the disk, spread over 2 GPUs"
    small.weights.setCurrentIndex(1)
    small.weights.chosen.emit()
    assert small.fit.text() == "Up to 900,000 tokens in RAM, 3.0 million with the disk"
    assert small.weights.currentText() == "16 bit"


def test_a_download_shows_how_far_it_is_and_can_be_stopped_and_resumed(page: ModelsDriver) -> None:
    small = page.view(SMALL.name)
    page.click(SMALL.name)
    page.until(lambda: small.fit.text() == "1.00 GB / 2.00 GB · 5.0 MB a second · 3:20 min left")
    assert small.button.text() == "Stop"
    page.click(SMALL.name)
    page.until(lambda: small.button.text() == "Get 2.00 GB")
    page.models.go()
    page.click(SMALL.name)
    page.until(lambda: small.button.text() == "Use")
    shown = page.application.settings_dialog.network.text().splitlines()
    assert [line[7:] for line in shown[:2]] == [
        "Small/Model-1B, from the HuggingFace hub: 1.00 GB are here",
        "Small/Model-1B, from the HuggingFace hub: 2.00 GB are here",
    ]


def test_a_model_that_is_refused_by_its_config_is_among_what_was_fetched(page: ModelsDriver) -> None:
    page.models.refusal = UnsupportedModelError("It needs remote code.")
    page.click(SMALL.name)
    page.until(lambda: page.view(SMALL.name).fit.text() == "It needs remote code.")
    assert page.application.settings_dialog.network.text()[7:].startswith(
        "Small/Model-1B, from the HuggingFace hub: its config"
    )


def test_what_a_download_fails_with_stands_in_its_row(page: ModelsDriver) -> None:
    page.models.error = ModelNotFoundError("The hub does not answer.")
    page.click(SMALL.name)
    page.until(lambda: page.view(SMALL.name).fit.text() == "The hub does not answer.")
    assert page.view(SMALL.name).button.text() == "Get 2.00 GB"


def test_a_gated_model_asks_for_a_token_and_is_tried_again(page: ModelsDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    token, opened = page.dialog.token, []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    page.models.error = AccessError("Access is granted by its owner.", SMALL.name)
    page.click(SMALL.name)
    page.until(token.isVisible)
    assert page.view(SMALL.name).fit.text() == "Access is granted by its owner."
    token.page.click()
    token.tokens.click()
    assert opened == ["https://huggingface.co/Small/Model-1B", "https://huggingface.co/settings/tokens"]
    assert token.field.echoMode() is QLineEdit.EchoMode.Password
    page.models.error = TokenStoreError("This system has no keyring.")
    token.field.setText("hf_secret")
    QTest.keyClick(token.field, Qt.Key.Key_Return)
    page.until(page.dialog.problem.isVisible)
    assert page.dialog.problem.text() == "This system has no keyring."
    assert token.isVisible()
    page.models.error = None
    token.keep.click()
    page.until(lambda: page.view(SMALL.name).button.text() == "Stop")
    page.until(lambda: page.models.asked[-2:] == [KeepToken("hf_secret"), DownloadModel(SMALL.name)])
    assert "hf_secret" not in repr(page.models.asked)
    assert (token.isHidden(), token.field.text(), page.dialog.problem.isHidden()) == (True, "", True)


def test_a_model_that_was_named_and_refused_is_looked_for_again(page: ModelsDriver) -> None:
    page.models.error = AccessError("It is private.", "Other/Model")
    page.dialog.name.setText("Other/Model")
    QTest.keyClick(page.dialog.name, Qt.Key.Key_Return)
    page.until(page.dialog.token.isVisible)
    page.models.error = None
    page.dialog.token.field.setText("hf_secret")
    page.dialog.token.keep.click()
    page.until(lambda: "Other/Model" in page.dialog.views)


def test_a_token_can_be_taken_back(page: ModelsDriver) -> None:
    dialog = page.dialog
    page.models.error = TokenStoreError("This system has no keyring.")
    dialog.forget.click()
    page.until(dialog.problem.isVisible)
    assert (dialog.problem.text(), dialog.forget.isEnabled()) == ("This system has no keyring.", True)
    page.models.error = None
    dialog.forget.click()
    page.until(lambda: not dialog.forget.isEnabled())
    assert page.models.asked[-1] == RemoveToken()
    assert (dialog.forget.text(), dialog.problem.isHidden()) == ("No token kept", True)
    dialog.on_token_kept()
    assert (dialog.forget.text(), dialog.forget.isEnabled()) == ("Forget access token", True)


def test_models_can_be_kept_elsewhere(page: ModelsDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    page.dialog.change_place.click()
    page.until(lambda: page.view(SMALL.name).button.text() == "Use")
    assert page.dialog.place.text() == f"Disk: 9.0 GB free of 10.0 GB, for models in {tmp_path}"


def test_another_model_can_be_named(page: ModelsDriver, tmp_path: Path) -> None:
    page.dialog.name.setText("  Other/Model ")
    QTest.keyClick(page.dialog.name, Qt.Key.Key_Return)
    page.until(lambda: "Other/Model" in page.dialog.views)
    assert page.dialog.name.text() == ""
    assert page.application.settings_dialog.network.text()[7:].startswith(
        "Other/Model, from the HuggingFace hub: its con"
    )
    page.models.error = ModelNotFoundError("There is no model 'Nowhere'.")
    page.dialog.name.setText(str(tmp_path))
    QTest.keyClick(page.dialog.name, Qt.Key.Key_Return)
    page.until(page.dialog.problem.isVisible)
    assert page.dialog.problem.text() == "There is no model 'Nowhere'."
    assert page.dialog.name.text() == str(tmp_path), "what was typed stays, to be mended"


def test_another_model_keeps_the_chat_reads_its_documents_anew_and_is_there_after_a_start(
    page: ModelsDriver, book: Path, folders: Folders
) -> None:
    page.controller.open_files([book])
    page.until_read()
    page.controller.ask("Who?")
    page.until_answered()
    page.click(LARGE.name)
    page.until(lambda: page.status.model is not None and page.status.model.name == LARGE.name)
    assert [(each.model, each.quantize) for each in page.session.loaded] == [("demo", "none"), (LARGE.name, "4bit")]
    assert page.chat.reading.state is ReadingState.CLOSED
    assert [each.answer for each in page.chat.exchanges] != [""]
    assert page.window.model_button.text() == "Model-70B"
    assert (page.view(LARGE.name).button.text(), page.view("demo").button.text()) == ("In use", "Use")
    page.controller.ask("And then?")
    page.until_answered(1)
    assert len(page.session.read) == 2
    kept = load_settings(folders.settings).settings
    assert (kept.model, kept.quantize) == (LARGE.name, "4bit")


def test_a_model_that_cannot_be_loaded_gives_way_to_the_one_before(page: ModelsDriver, folders: Folders) -> None:
    page.session.cannot_load[LARGE.name] = CapacityError("30 GB of RAM are missing.")
    page.click(LARGE.name)
    page.until(page.window.banner.isVisible)
    page.until_state(EngineState.IDLE)
    assert page.window.banner.text.text() == (
        "Large/Model-70B could not be loaded: 30 GB of RAM are missing. Going on with the built-in model."
    )
    assert page.status.model is not None
    assert page.status.model.name == "demo"
    assert load_settings(folders.settings).settings.model == "demo"


def test_loading_shows_how_far_it_is_and_can_be_stopped(page: ModelsDriver, book: Path, folders: Folders) -> None:
    """The chat stays, and the model that was in use comes back."""
    page.controller.open_files([book])
    page.until_read()
    page.session.held_at = {"tensors"}
    page.click(LARGE.name)
    large = page.view(LARGE.name)
    page.until(lambda: large.fit.text() == "Loading: 20 of 40 parts")
    assert large.button.text() == "Stop"
    assert page.window.model_button.text() == "Loading … 50%"
    page.click(LARGE.name)
    page.session.go()
    page.until(lambda: page.status.model is not None and page.status.model.name == "demo")
    assert page.window.banner.text.text() == "Loading Large/Model-70B was stopped. Going on with the built-in model."
    assert (large.button.text(), large.fit.text()) == ("Use", "Does not fit: 30.0 GB are missing")
    assert load_settings(folders.settings).settings.model == "demo"
    page.controller.ask("Who?")
    page.until_answered()
    assert page.chat.exchanges[0].answer


def test_a_model_that_is_chosen_while_another_is_loaded_takes_its_place_at_once(page: ModelsDriver) -> None:
    page.session.held_at = {"tensors"}
    page.click(LARGE.name)
    page.until(lambda: page.view(LARGE.name).button.text() == "Stop")
    page.controller.use_model("demo", "none")
    page.session.go()
    page.until(lambda: page.status.model is not None and page.status.model.name == "demo")
    assert [each.model for each in page.session.loaded] == ["demo", "demo"]
    assert not page.window.banner.isVisible()


def test_another_model_can_be_wanted_while_an_answer_is_written(page: ModelsDriver, book: Path) -> None:
    page.controller.open_files([book])
    page.until_read()
    page.session.held_at = {"write"}
    page.controller.ask("Who?")
    page.until_reached("write")
    page.click(LARGE.name)
    page.session.go()
    page.until(lambda: page.status.model is not None and page.status.model.name == LARGE.name)
    assert page.chat.exchanges[0].is_over
