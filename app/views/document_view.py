"""The text of all documents of a chat, one below the other."""

import time
from typing import Final

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QPainter, QPaintEvent, QPalette, QResizeEvent, QTextBlock, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from app.document_text import DocumentText
from app.quote_check import Place
from app.views.paragraphs import align_by_script
from app.views.theme import GAP

POUR_BLOCKS: Final = 50
POUR_CHARACTERS: Final = 25_000
"""So many blocks, and about so many characters of them, are added to the text at once."""
POUR_S: Final = 0.006
"""So long blocks are added, before the window gets its turn."""
LINES_ABOVE: Final = 4
"""So many lines are shown above a place that is gone to."""


class DocumentView(QPlainTextEdit):
    """Read-only text of all documents, one below the other; knows where their characters are.

    A long text comes bit by bit. Places can be gone to once it is complete.

    Signals:
        completed: all of the text is there.
    """

    completed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("documenttext")
        self.setReadOnly(True)
        self.setAcceptDrops(False)
        self.setUndoRedoEnabled(False)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setWordWrapMode(self.wordWrapMode().WrapAtWordBoundaryOrAnywhere)
        align_by_script(self.document())
        self.document().setDocumentMargin(2 * GAP)
        self._texts: list[DocumentText] = []
        self._kept_on_top = (0, 0)  # while the scroll bar has this value: the position that was on top at first
        self._pouring: list[tuple[DocumentText, int]] = []
        self._pour = QTimer(self, interval=0)
        self._pour.timeout.connect(self._on_pour)

    @property
    def is_complete(self) -> bool:
        """Whether all of the text is in the widget."""
        return not self._pouring

    @property
    def texts(self) -> list[DocumentText]:
        """The documents, in their order."""
        return self._texts

    @property
    def selected_places(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The documents, and their characters, with which what is selected begins and ends. There are documents."""
        cursor = self.textCursor()
        return self._place_at(cursor.selectionStart()), self._place_at(cursor.selectionEnd())

    def set_texts(self, texts: list[DocumentText]) -> None:
        """Show documents; what is there already stays."""
        if texts[: len(self._texts)] != self._texts:
            self.clear()
            self._texts = []
            self._kept_on_top = (0, 0)
            self._pouring = []
        self._pouring += [(text, 0) for text in texts[len(self._texts) :]]
        self._texts = list(texts)
        if self._pouring:
            is_empty = self.document().isEmpty()
            self._pour.start()
            self._on_pour()
            if is_empty:  # else the cursor goes with the end, and a search begins there
                self.setTextCursor(QTextCursor(self.document()))

    @Slot()
    def _on_pour(self) -> None:
        """Add blocks for some milliseconds."""
        end = time.perf_counter() + POUR_S
        while self._pouring and time.perf_counter() < end:
            self._pour_some()
        if not self._pouring:
            self._pour.stop()
            self.completed.emit()

    def _pour_some(self) -> None:
        text, first = self._pouring[0]
        last = min(first + POUR_BLOCKS, 1 + text.block_at(text.starts[first] + POUR_CHARACTERS))
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        if text is not self._texts[0] or first:
            cursor.insertBlock()
        cursor.insertText(text.shown(first, last))
        self._pouring[0] = (text, last)
        if last == text.num_blocks:
            del self._pouring[0]

    # -- where things are ----------------------------------------------------------------------------------------

    def says_at(self, place: Place, text: str) -> bool:
        """Whether a text stands at a place; its lines may be broken otherwise."""
        if place.document >= len(self._texts):
            return False
        return self._texts[place.document].text[place.start : place.end].split() == text.split()

    def cursor_at(self, document: int, start: int, end: int) -> QTextCursor:
        """A cursor that spans characters of a document. The text is complete."""
        cursor = QTextCursor(self.document())
        cursor.setPosition(self._position(document, start))
        cursor.setPosition(self._position(document, end), QTextCursor.MoveMode.KeepAnchor)
        return cursor

    def _position(self, document: int, offset: int) -> int:
        text = self._texts[document]
        block = self.document().findBlockByNumber(self._first_block(document) + text.block_at(offset))
        return block.position() + min(text.units_before(offset), max(0, block.length() - 1))

    def _first_block(self, document: int) -> int:
        return sum(text.num_blocks for text in self._texts[:document])

    def _place_at(self, position: int) -> tuple[int, int]:
        """The document and the character that the widget has at a position."""
        block = self.document().findBlock(position)
        document, number = 0, block.blockNumber()
        while number >= self._texts[document].num_blocks:
            number -= self._texts[document].num_blocks
            document += 1
        return document, self._texts[document].offset_at(number, position - block.position())

    def select(self, text: DocumentText, start: int, end: int) -> None:
        """Select characters of a document, unless it is not one of these any more. The text is complete."""
        if text in self._texts:
            self._select(self.cursor_at(self._texts.index(text), start, end))

    def _select(self, cursor: QTextCursor) -> None:
        """Select what a cursor spans, where one can read on: not on the last line of the view."""
        line = self.fontMetrics().lineSpacing()
        if not self.viewport().rect().adjusted(0, line, 0, -3 * line).contains(self.cursorRect(cursor).center()):
            self.reveal(cursor)
        self.setTextCursor(cursor)

    def _share_at(self, position: int) -> float:
        """How far into all the text the widget's position is, 0 to 1, in characters."""
        if not self._texts:
            return 0.0
        document, offset = self._place_at(position)
        before = sum(len(text.text) for text in self._texts[:document])
        return (before + offset) / max(1, sum(len(text.text) for text in self._texts))

    def show_share(self, share: float) -> None:
        """Scroll to a place, given as a share of the characters."""
        offset = int(share * sum(len(text.text) for text in self._texts))
        for number, text in enumerate(self._texts):
            if offset <= len(text.text):
                self.reveal(self.cursor_at(number, offset, offset))
                return
            offset -= len(text.text)

    def reveal(self, cursor: QTextCursor) -> None:
        """Scroll so that a place stands in the upper part of the view."""
        self._show_line_of(cursor.selectionStart(), LINES_ABOVE)
        mark = QTextCursor(self.document())
        mark.setPosition(cursor.selectionStart())
        self.setTextCursor(mark)
        self.ensureCursorVisible()

    def _show_line_of(self, position: int, lines_above: int) -> None:
        """Scroll so that the line with a position has so many above it. The scroll bar counts lines."""
        block = self.document().findBlock(position)
        self.document().documentLayout().blockBoundingRect(block)  # lays it out
        line = block.layout().lineForTextPosition(position - block.position()).lineNumber()
        self._lay_out_above(block)
        self.verticalScrollBar().setValue(max(0, block.firstLineNumber() + line - lines_above))

    def _lay_out_above(self, block: QTextBlock) -> None:
        """Lay out a page above a block: the scroll bar takes what is not for one line a block, and would leap."""
        lines = self.viewport().height() // self.fontMetrics().lineSpacing()
        while lines > 0 and (block := block.previous()).isValid():
            self.document().documentLayout().blockBoundingRect(block)
            lines -= block.lineCount()

    @property
    def _top(self) -> int:
        """The position with which what is on screen begins. In lines from right to left, too."""
        block = self.firstVisibleBlock()
        number = self.verticalScrollBar().value() - block.firstLineNumber()
        is_laid_out = 0 <= number < block.layout().lineCount()
        return block.position() + (block.layout().lineAt(number).textStart() if is_laid_out else 0)

    def place_on_top(self) -> tuple[int, int] | None:
        """The document, and its character, with which what is on screen begins; None without documents."""
        return self._place_at(self._top) if self._texts else None

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        super().scrollContentsBy(dx, dy)
        self._lay_out_above(self.firstVisibleBlock())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The text stays where it is read, though its lines end elsewhere, and however many widths there are until it
        is scrolled: were each to keep its own first line, which begins sooner, the text would creep down.
        """
        value = self.verticalScrollBar().value()
        is_rewrapped = event.size().width() != event.oldSize().width()
        kept = self._kept_on_top[1] if value == self._kept_on_top[0] else self._top
        super().resizeEvent(event)
        if is_rewrapped and value:
            self._show_line_of(kept, 0)
            self._kept_on_top = (self.verticalScrollBar().value(), kept)

    def paintEvent(self, event: QPaintEvent) -> None:
        """With a line between two documents."""
        super().paintEvent(event)
        painter = QPainter(self.viewport())
        painter.setPen(self.palette().color(QPalette.ColorRole.Mid))
        for number in range(1, len(self._texts)):
            block = self.document().findBlockByNumber(self._first_block(number))
            if block.isValid() and block.isVisible():
                top = round(self.blockBoundingGeometry(block).translated(self.contentOffset()).top())
                painter.drawLine(2 * GAP, top, self.viewport().width() - 2 * GAP, top)
        painter.end()

    def visible_share(self) -> tuple[float, float]:
        """Which part of the text is on screen."""
        last = self.cursorForPosition(self.viewport().rect().bottomRight())
        return self._share_at(self._top), self._share_at(last.position())
