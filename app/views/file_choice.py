"""The system's dialogs for files: what to read, where to write a chat, and which one to take back."""

import re
from pathlib import Path

from PySide6.QtCore import QObject, QStandardPaths
from PySide6.QtWidgets import QFileDialog, QWidget

from kiv_engine.documents.kinds import KINDS


class FileChoice(QObject):
    """Begins in the folder of the last choice; first in that of the user's documents, wherever the app was started."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._folder = documents_folder()

    def documents(self) -> list[Path]:
        """Files to read."""
        patterns = " ".join(f"*.{extension}" for kind in KINDS for extension in kind.extensions)
        kinds = self.tr("Documents ({0});;All files (*)").format(patterns)
        hide_patterns = QFileDialog.Option.HideNameFilterDetails
        names, _kind = QFileDialog.getOpenFileNames(
            self._window, self.tr("Open documents"), self._folder, kinds, options=hide_patterns
        )
        return [self._chosen(name) for name in names]

    def folder(self) -> Path | None:
        """A folder to read."""
        name = QFileDialog.getExistingDirectory(self._window, self.tr("Open a folder"), self._folder)
        return self._chosen(name) if name else None

    def export(self, title: str) -> Path | None:
        """Where to write a chat; its kind is told by the name."""
        names = {".md": "Markdown", ".pdf": "PDF", ".html": "HTML", ".json": self.tr("JSON, to be imported again")}
        kinds = {f"{name} (*{suffix})": suffix for suffix, name in names.items()}
        plain = " ".join(re.sub(r'[\\/:*?"<>|\x00-\x1f]', " ", title).split()) or self.tr("Chat")
        proposed = str(Path(self._folder, plain + ".md"))
        name, kind = QFileDialog.getSaveFileName(self._window, self.tr("Export this chat"), proposed, ";;".join(kinds))
        if not name:
            return None
        path = self._chosen(name)
        return path if path.suffix.lower() in names else Path(name + kinds.get(kind, ".md"))

    def exported(self) -> Path | None:
        """A chat that was exported as JSON."""
        kinds = self.tr("Chats (*.json)")
        name, _kind = QFileDialog.getOpenFileName(self._window, self.tr("Import a chat"), self._folder, kinds)
        return self._chosen(name) if name else None

    def _chosen(self, name: str) -> Path:
        path = Path(name)
        self._folder = str(path.parent)
        return path


def documents_folder() -> str:
    """The user's documents, or the home folder where there is none for them."""
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    return folder if Path(folder).is_dir() else str(Path.home())
