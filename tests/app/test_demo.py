"""The demo and the pictures, driven by a scripted session: how they end, and what they leave to the user."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.application import Application
from app.demo import Demo, DemoOptions
from app.requests import LoadModel
from app.screenshots import Photographer
from kiv_engine.errors import ModelNotFoundError
from kiv_engine.terminal import BadInputError
from tests.app.conftest import AppDriver
from tests.app.scripted_session import WORDS, ScriptedSession


@pytest.fixture
def unstarted(qtbot: QtBot, qapp: QApplication, session: ScriptedSession) -> Iterator[AppDriver]:
    application = Application(qapp, session)
    yield AppDriver(qtbot, application, session)
    session.go()
    application.window.close()
    application.window.deleteLater()
    application.deleteLater()


@pytest.fixture
def left(qapp: QApplication, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which the app wanted to leave."""
    codes: list[int] = []
    monkeypatch.setattr(QApplication, "exit", codes.append)
    return codes


def test_the_demo_tells_once_and_then_the_window_is_the_users(
    qapp: QApplication, unstarted: AppDriver, left: list[int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Demo(qapp, unstarted.application, DemoOptions(1_000, "Who?", None, stays=True)).start()
    unstarted.until_answered()
    told = ""

    def is_told() -> bool:
        nonlocal told
        told += capsys.readouterr().out
        return "> Who?" in told

    unstarted.until(is_told)
    unstarted.controller.regenerate(0)
    unstarted.until(lambda: len(unstarted.chat.all_exchanges) == 2)
    unstarted.until_answered()
    unstarted.controller.open_files([tmp_path / "no such.txt"])
    unstarted.until(unstarted.window.banner.isVisible)
    assert left == []
    assert told.count("".join(WORDS)) == 1
    assert capsys.readouterr().out == ""


def test_pictures_need_a_folder(qapp: QApplication, unstarted: AppDriver, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="cannot be made"):
        Photographer(qapp, unstarted.application, tmp_path / "file" / "pictures", 1_000).start()


def test_a_state_that_there_is_not_is_told_with_those_that_there_are(
    qapp: QApplication, unstarted: AppDriver, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match=r"no state 'anwsered'; there are loading, .*, answered, "):
        Photographer(qapp, unstarted.application, tmp_path, 1_000, "anwsered")


def test_without_a_model_there_are_no_pictures(
    qapp: QApplication, unstarted: AppDriver, left: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unstarted.session.fails_on[LoadModel] = ModelNotFoundError("There is no model.")
    Photographer(qapp, unstarted.application, tmp_path, 1_000).start()
    unstarted.until(lambda: left == [1])
    assert "There is no model." in capsys.readouterr().err


def test_an_archive_too_short_for_pictures_of_reading_is_told(
    qapp: QApplication, unstarted: AppDriver, left: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unstarted.session.held_at = {"load"}
    Photographer(qapp, unstarted.application, tmp_path, 1_000).start()
    unstarted.until(lambda: (tmp_path / "01-loading-dark-1920.png").exists())
    unstarted.session.go()
    unstarted.until(lambda: left == [1])
    assert "give more --tokens" in capsys.readouterr().err
