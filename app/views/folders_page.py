"""Where the app keeps what it keeps: each folder with what it takes, to be opened or copied."""

from pathlib import Path

from PySide6.QtCore import QSize, Qt, QUrl, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.figures import as_bytes
from app.folders import FolderPart
from app.models.chat_list import plain_tip
from app.reports import FolderMeasured
from app.views.theme import GAP


class FolderRow(QWidget):
    """One folder."""

    def __init__(self, name: str, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder = folder
        self.name, self.taken = QLabel(name), QLabel(self.tr("Being counted …"))
        self.path, self.line = PathLabel(str(folder)), QLabel()
        for label in (self.taken, self.line):
            label.setObjectName("caption")
        self.line.setWordWrap(True)
        self.line.hide()
        self.open = self._button(self.tr("Open"), self.tr("Open the folder: {0}").format(name))
        self.copy = self._button(self.tr("Copy path"), self.tr("Copy the path: {0}").format(name))
        self.open.clicked.connect(self._on_open)
        self.copy.clicked.connect(self._on_copy)
        above, below = QHBoxLayout(), QHBoxLayout()
        above.addWidget(self.name)
        above.addStretch(1)
        above.addWidget(self.taken)
        below.setSpacing(GAP)
        for widget, stretch in ((self.path, 1), (self.open, 0), (self.copy, 0)):
            below.addWidget(widget, stretch)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP // 2)
        column.addLayout(above)
        column.addLayout(below)
        column.addWidget(self.line)

    @staticmethod
    def _button(text: str, name: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName("small")
        button.setAccessibleName(name)
        button.setAutoDefault(False)
        return button

    def tell(self, count: int) -> None:
        """It takes so many bytes."""
        self.taken.setText(as_bytes(count))

    @Slot()
    def _on_open(self) -> None:
        """Show it in the system's own window for files."""
        if not self._folder.is_dir():
            self._tell(self.tr("Nothing is kept there yet."))
        elif not QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder))):
            self._tell(self.tr("Nothing on this PC opens folders; copy the path instead."))

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(str(self._folder))
        self._tell(self.tr("Copied."))

    def _tell(self, line: str) -> None:
        self.line.setText(line)
        self.line.show()


class PathLabel(QLabel):
    """A path in one line, in its middle as short as there is room; whole for the mouse and screen readers."""

    def __init__(self, path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path = path
        self.setObjectName("muted")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setAccessibleName(path)
        self.setToolTip(plain_tip([path]))

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance(self._path), self.fontMetrics().lineSpacing())

    def resizeEvent(self, _event: object) -> None:
        self.setText(self.fontMetrics().elidedText(self._path, Qt.TextElideMode.ElideMiddle, self.width()))


class FoldersPage(QWidget):
    """A row for each folder that was measured."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: dict[tuple[FolderPart, Path], FolderRow] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2 * GAP)
        self._column.addStretch(1)

    @Slot(object)
    def show_folder(self, told: FolderMeasured) -> None:
        """Show a folder, and what it takes once that is counted."""
        key = (told.part, told.folder)
        if key not in self.rows:
            self.rows[key] = FolderRow(self._names()[told.part], told.folder)
            self._column.insertWidget(len(self.rows) - 1, self.rows[key])
        if told.bytes is not None:
            self.rows[key].tell(told.bytes)

    def _names(self) -> dict[FolderPart, str]:
        return {
            "chats": self.tr("Chats"),
            "contexts": self.tr("Documents that were read (kept contexts)"),
            "models": self.tr("Models"),
            "settings": self.tr("Settings"),
        }
