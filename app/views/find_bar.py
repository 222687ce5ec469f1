"""Search, in the text of the documents and elsewhere."""

from PySide6.QtCore import QEvent, QObject, Qt, Signal, Slot
from PySide6.QtGui import QHideEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QWidget

from app.document_text import DocumentText
from app.views.composer import is_escape
from app.views.document_view import DocumentView
from app.views.icons import IconButton
from app.views.occurrences import Occurrences
from app.views.theme import GAP, Theme


class FindBar(QWidget):
    """A field for words, and which place is shown: Enter goes on, Shift+Enter back, Esc closes. `name` says in what it
    searches.

    Signals:
        left: it was closed while it had the keyboard.
    """

    left = Signal()

    def __init__(self, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.edit = QLineEdit()
        self.edit.setPlaceholderText(name)
        self.edit.setAccessibleName(name)
        self.edit.setAcceptDrops(False)  # the window takes what is dropped
        self.found = QLabel()
        self.found.setObjectName("caption")
        self.before = IconButton(theme, "up", self.tr("Find previous (Shift+Enter)"))
        self.after = IconButton(theme, "down", self.tr("Find next (Enter)"))
        self.shut = IconButton(theme, "close", self.tr("Close search (Esc)"))
        row = QHBoxLayout(self)
        row.setContentsMargins(2 * GAP, GAP, GAP, GAP)
        row.setSpacing(GAP // 2)
        row.addWidget(self.edit, 1)
        for widget in (self.found, self.before, self.after, self.shut):
            row.addWidget(widget)
        self.before.clicked.connect(self.find_previous)
        self.after.clicked.connect(self.find_next)
        self.shut.clicked.connect(self.hide)
        self.edit.textEdited.connect(self._on_edited)
        self.edit.installEventFilter(self)
        self.hide()

    @Slot()
    def open(self) -> None:
        """Show the bar and take the keyboard."""
        self.show()
        self.edit.setFocus()
        self.edit.selectAll()

    @Slot()
    def find_next(self) -> None:
        """Go to the next place, from the end to the beginning."""
        self._find()

    @Slot()
    def find_previous(self) -> None:
        """Go to the place before."""
        self._find(back=True)

    @Slot()
    def _on_edited(self) -> None:
        """Look for other words, from the place on that is shown."""
        raise NotImplementedError

    def _find(self, *, back: bool = False) -> None:
        """Go to the next place or the one before."""
        raise NotImplementedError

    @Slot(int, int)
    def _on_counted(self, number: int, count: int) -> None:
        words = self.tr("{0:,} of {1:,}") if count else self.tr("Not found")
        self.found.setText(words.format(number, count))

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        if is_escape(event) and event.type() == QEvent.Type.ShortcutOverride:
            event.accept()  # else the window takes it, to stop the engine
            return True
        if event.type() != QEvent.Type.KeyPress:
            return False
        key, shift = event.key(), event.modifiers() & Qt.KeyboardModifier.ShiftModifier  # type: ignore[attr-defined]
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            (self.find_previous if shift else self.find_next)()
            return True
        if key == Qt.Key.Key_Escape:
            self.hide()
            return True
        return False

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        if self.window().focusWidget() in (self.edit, self.before, self.after, self.shut):
            self.left.emit()


class DocumentFindBar(FindBar):
    """Searches in the text of the documents."""

    def __init__(self, theme: Theme, view: DocumentView, parent: QWidget | None = None) -> None:
        super().__init__(theme, self.tr("Find in the document"), parent)
        self._view = view
        self._occurrences = Occurrences(self)
        self._occurrences.found.connect(self._on_found)
        self._occurrences.counted.connect(self._on_counted)
        view.completed.connect(self._on_completed)

    @Slot()
    def _on_edited(self) -> None:
        cursor = self._view.textCursor()
        cursor.setPosition(cursor.selectionStart())
        self._view.setTextCursor(cursor)
        self.find_next()

    @Slot()
    def _on_completed(self) -> None:
        if self.isVisible() and self.edit.text():
            self.find_next()

    def _find(self, *, back: bool = False) -> None:
        words = self.edit.text()
        if not self._view.is_complete:
            self._occurrences.stop()
            self.found.setText(self.tr("Loading …"))
            return
        self.found.setText("")  # where it takes no time, it is counted before this is painted
        if not words or not self._view.texts:
            self._occurrences.stop()
            return
        start, end = self._view.selected_places
        self._occurrences.seek(words, self._view.texts, start if back else end, back=back)

    @Slot(object, int, int)
    def _on_found(self, text: DocumentText, start: int, end: int) -> None:
        if self._view.is_complete:
            self._view.select(text, start, end)
