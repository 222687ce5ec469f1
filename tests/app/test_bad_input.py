"""What people drop and paste by mistake or by chance: one clear line, or read as it is; never a window that breaks.

Files that are empty, binary, huge, locked or no documents are the parsers' business: tests/engine/documents/. A window
without size is in test_narrow_window.py, settings damaged by hand are in test_settings.py and test_preferences.py.
"""

import os
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from PySide6.QtWidgets import QApplication, QLabel

from app.controllers.session_controller import MAX_FILES
from app.models.chat import ReadingState, first_words
from app.models.engine_status import EngineState
from tests.app.conftest import AppDriver
from tests.app.scripted_session import SENTENCE

ODD = (
    "two\nlines.txt",
    "<b>bold<br> & <img src=x>.txt",
    "reversed \u202etxt.exe.txt",
    "כרך ראשון.txt",
    "🪿 goose.txt",
    "-rf.txt",
    "x" * 240 + ".txt",
    " spaces .txt",
)


def drop(driver: AppDriver, data: QMimeData) -> None:
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    driver.window.dropEvent(QDropEvent(QPointF(9, 9), Qt.DropAction.CopyAction, data, left, none))


def drop_files(driver: AppDriver, paths: list[Path]) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    drop(driver, data)


def test_ten_thousand_files_at_once_are_a_slip_of_the_hand(driver: AppDriver, tmp_path: Path) -> None:
    drop_files(driver, [tmp_path / f"{number}.txt" for number in range(10_000)])
    assert driver.window.banner.isVisible()
    told = f"These are 10,000 files; open at most {MAX_FILES} at once, or the folder that they are in."
    assert driver.window.banner.text.text() == told
    assert driver.chat.is_empty
    assert driver.session.read == []


@pytest.mark.parametrize("unit", ["The goose was counted at noon.\n\n", "x"], ids=["paragraphs", "one word"])
def test_a_million_characters_that_are_pasted_are_a_document(driver: AppDriver, unit: str) -> None:
    text = (unit * 1_000_000)[:1_000_000]
    QGuiApplication.clipboard().setText(text)
    driver.window.composer.edit.paste()
    driver.until_read()
    driver.until(lambda: driver.window.document.text.is_complete)
    assert driver.window.composer.edit.toPlainText() == ""
    [document] = driver.chat.opened_documents
    assert document.text == text
    shown = driver.window.document.text.toPlainText()
    assert shown.replace("\n", "") == text.replace("\n", ""), "all of it is shown, however lines are cut"


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_odd_names_are_shown_as_they_are(driver: AppDriver, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(f"One. {SENTENCE}\n" * 30, encoding="utf-8")
    drop_files(driver, [path])
    driver.until_read()
    QApplication.sendPostedEvents()
    assert [document.name for document in driver.chat.documents] == [name]
    labels = [label for label in driver.window.findChildren(QLabel) if name in label.text() and label.text()]
    assert labels
    assert all(label.textFormat() is Qt.TextFormat.PlainText for label in labels), "nothing in a name is markup"
    assert driver.window.width() == 1280
    assert driver.window.composer.send.visibleRegion().boundingRect().width() > 0


@pytest.mark.parametrize(
    "odd",
    [
        "\x00\x01\x07\x1b[31m\x7f",
        "\u202e\u2066\u200f\ufeff",
        "אווז نعم ",
        "a\u0301\u0323" * 50,
        "\u2028\u2029\x0b\x0c",
        "🪿\ud83d",
    ],
    ids=ascii,
)
def test_a_passage_among_odd_characters_is_marked_where_it_stands(driver: AppDriver, odd: str) -> None:
    text = f"{odd * 40}\n{SENTENCE} {odd * 40}\n\n" + "The goose was counted. " * 100
    driver.controller.read_pasted(text)
    driver.until_read()
    driver.controller.ask("Who?")
    driver.until_answered()
    driver.chat.select(0, 0)
    driver.until(lambda: bool(driver.window.document.text.extraSelections()))
    [mark, *_others] = driver.window.document.text.extraSelections()
    assert mark.cursor.selectedText() == SENTENCE
    driver.window.grab()


def test_a_file_that_vanishes_before_its_turn_is_told(driver: AppDriver, tmp_path: Path) -> None:
    path = tmp_path / "gone.txt"
    path.write_text("The goose was counted.")
    driver.session.held_at = {"open"}
    drop_files(driver, [path])
    driver.until_reached("open")
    path.unlink()
    driver.session.go()
    driver.until(driver.window.banner.isVisible)
    assert driver.window.banner.text.text() == f"There is no file {path}: look whether it was moved or renamed."
    assert driver.chat.reading.state is ReadingState.NONE
    driver.until_state(EngineState.IDLE)


def test_a_text_that_is_dropped_is_a_document_and_an_empty_one_is_told(driver: AppDriver) -> None:
    for text, words in (("   \n", "The pasted text is empty."), ("The goose was counted. " * 30, "")):
        data = QMimeData()
        data.setText(text)
        drop(driver, data)
        if words:
            assert driver.window.banner.text.text() == words
    driver.until_read()
    assert driver.chat.documents[0].name == "Pasted: “The goose was counted. …”"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n  The harbor\twas\n\nfull", "The harbor was full"),
        ("The harbor was full of geese", "The harbor was full of …"),
        ("The harbor was full of it all", "The harbor was full of …"),
        ("x" * 5_000, f"{'x' * 23}…"),
        ("האווז נספר", "האווז נספר"),
    ],
)
def test_a_pasted_text_is_named_by_its_first_words(text: str, words: str) -> None:
    assert first_words(text) == words


def test_a_drop_of_neither_file_nor_text_does_nothing(driver: AppDriver) -> None:
    data = QMimeData()
    data.setUrls([QUrl("https://example.org/a.pdf")])
    data.setData("image/png", b"no picture")
    drop(driver, data)
    assert driver.session.read == []


def test_a_question_of_any_characters_is_asked_as_it_is(driver: AppDriver) -> None:
    question = "Who <b>is</b> \u202eאווז\n\n```\nx\n``` 🪿?" + " why" * 400
    driver.controller.ask(question)
    driver.until_answered()
    assert driver.session.asked[0].question == question
    bubble = driver.transcript.exchanges[0].question
    assert bubble.textFormat() is Qt.TextFormat.PlainText
    assert driver.window.width() == 1280
