"""Dialogs for files begin where a person's files are."""

from pathlib import Path

import pytest
from PySide6.QtCore import QStandardPaths
from PySide6.QtWidgets import QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from app.views.file_choice import FileChoice, documents_folder


class ScriptedDialog:
    """Answers in place of the system's dialogs, and notes where they began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = ""
        self.begun: list[Path] = []
        monkeypatch.setattr(QFileDialog, "getOpenFileNames", self._many)
        monkeypatch.setattr(QFileDialog, "getOpenFileName", self._one)
        monkeypatch.setattr(QFileDialog, "getSaveFileName", self._one)
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *given: self._one(*given)[0])

    def _one(self, _window: QWidget, _title: str, begin: str, *_kinds: str) -> tuple[str, str]:
        self.begun.append(Path(begin))
        return self.answer, ""

    def _many(
        self, _window: QWidget, _title: str, begin: str, *_kinds: str, **_options: object
    ) -> tuple[list[str], str]:
        self.begun.append(Path(begin))
        return [self.answer] if self.answer else [], ""


@pytest.fixture
def choice(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileChoice:
    """Of a person whose documents lie in a folder of their own."""
    monkeypatch.setattr(QStandardPaths, "writableLocation", lambda _kind: str(tmp_path))
    window = QWidget()
    qtbot.addWidget(window)
    return FileChoice(window)


def test_a_person_without_such_a_folder_begins_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QStandardPaths, "writableLocation", lambda _kind: str(tmp_path / "none"))
    assert documents_folder() == str(Path.home())


def test_dialogs_begin_with_the_documents_and_then_where_the_last_choice_was(
    choice: FileChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = ScriptedDialog(monkeypatch)
    assert (choice.documents(), choice.folder(), choice.exported(), choice.export("Tides")) == ([], None, None, None)
    assert dialog.begun == [tmp_path, tmp_path, tmp_path, tmp_path / "Tides.md"], "nothing was chosen"
    book = tmp_path / "books" / "book.txt"
    dialog.answer = str(book)
    assert choice.documents() == [book]
    assert choice.export("a/b: <c>") == Path(f"{book}.md"), "told to be Markdown, for it is no chat's name"
    assert dialog.begun[4:] == [tmp_path, book.parent / "a b c.md"]
