"""The right pane: the full text of the documents, with search, marks for passages, and the heat strip as its map."""

import time
from typing import Final

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QColor, QHideEvent, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from app.document_text import DocumentText, fold
from app.models.chat import Chat
from app.models.chat_list import ChatList
from app.quote_check import Place
from app.views.composer import is_escape
from app.views.evidence_map import EvidenceMap
from app.views.heat_strip import HeatStrip
from app.views.icons import IconButton
from app.views.paragraphs import align_by_script
from app.views.theme import GAP, Theme
from app.views.title import Header, Title

POUR_BLOCKS: Final = 50
"""Blocks added to the text at once."""
POUR_S: Final = 0.006
"""So long blocks are added, before the window gets its turn."""


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
        self._pouring: list[tuple[DocumentText, int]] = []
        self._pour = QTimer(self, interval=0)
        self._pour.timeout.connect(self._on_pour)

    @property
    def is_complete(self) -> bool:
        """Whether all of the text is in the widget."""
        return not self._pouring

    def set_texts(self, texts: list[DocumentText]) -> None:
        """Show documents; what is there already stays."""
        if texts[: len(self._texts)] != self._texts:
            self.clear()
            self._texts = []
            self._pouring = []
        self._pouring += [(text, 0) for text in texts[len(self._texts) :]]
        self._texts = list(texts)
        if self._pouring:
            self._pour.start()
            self._on_pour()

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
        last = min(first + POUR_BLOCKS, text.num_blocks)
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

    def select_next(self, words: str, *, back: bool = False) -> bool:
        """Select where words stand next, or before, and around the end; False if they do not. The text is complete."""
        cursor, wanted, count = self.textCursor(), fold(words), len(self._texts)
        here, offset = self._place_at(cursor.selectionStart() if back else cursor.selectionEnd())
        for step in range(count + 1):  # of the document that it begins in, the other part comes last
            number = (here + (-step if back else step)) % count
            text, begins, ends = self._texts[number].folded, step == 0, step == count
            if back:
                at = text.rfind(wanted, max(0, offset - len(wanted)) if ends else 0, offset if begins else len(text))
            else:
                at = text.find(wanted, offset if begins else 0, offset + len(wanted) if ends else len(text))
            if at >= 0:
                self._select(self.cursor_at(number, at, at + len(wanted)))
                return True
        return False

    def _select(self, cursor: QTextCursor) -> None:
        """Select what a cursor spans, where one can read on: not on the last line of the view."""
        line = self.fontMetrics().lineSpacing()
        if not self.viewport().rect().adjusted(0, line, 0, -3 * line).contains(self.cursorRect(cursor).center()):
            self.reveal(cursor)
        self.setTextCursor(cursor)

    def share_of_block(self, number: int) -> float:
        """How far into all the text a block begins, 0 to 1, in characters."""
        before = 0
        for text in self._texts:
            if number < text.num_blocks:
                before += text.starts[number]
                break
            number -= text.num_blocks
            before += len(text.text)
        return before / max(1, sum(len(text.text) for text in self._texts))

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
        block = self.document().findBlock(cursor.selectionStart())
        self.verticalScrollBar().setValue(max(0, block.firstLineNumber() - 4))
        mark = QTextCursor(self.document())
        mark.setPosition(cursor.selectionStart())
        self.setTextCursor(mark)
        self.ensureCursorVisible()

    def visible_share(self) -> tuple[float, float]:
        """Which part of the text is on screen."""
        first = self.firstVisibleBlock().blockNumber()
        last = self.cursorForPosition(self.viewport().rect().bottomRight()).blockNumber()
        return self.share_of_block(first), self.share_of_block(last + 1)


class FindBar(QWidget):
    """Search in the text: Enter goes on, Shift+Enter back, Esc closes.

    Signals:
        left: it was closed while it had the keyboard.
    """

    left = Signal()

    def __init__(self, theme: Theme, view: DocumentView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._view = view
        self.edit = QLineEdit()
        self.edit.setPlaceholderText(self.tr("Find in the document"))
        self.edit.setAccessibleName(self.tr("Find in the document"))
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
        view.completed.connect(self._on_completed)
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
            self.found.setText(self.tr("Loading …"))
            return
        found = not words or self._view.select_next(words, back=back)
        self.found.setText("" if found else self.tr("Not found"))

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


class DocumentPane(QWidget):
    """Shows the documents of the chat that is shown, and the evidence of its selected answer."""

    def __init__(self, theme: Theme, chats: ChatList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("documentpane")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._chats = theme, chats
        self._chat: Chat | None = None
        self._is_to_reveal = False
        self.name = Title()
        self.name.setObjectName("title")
        self.place = QLabel()
        self.place.setObjectName("caption")
        self.search = IconButton(theme, "search", self.tr("Find in the document (Ctrl+F)"))
        self.text = DocumentView()
        self.text.setAccessibleName(self.tr("Document text"))
        self.strip = HeatStrip(theme)
        self.map = EvidenceMap(theme, chats)
        self.find_bar = FindBar(theme, self.text)
        self.changed = QLabel(self.tr("The document has changed since: what is not there any more is not marked"))
        self.changed.setObjectName("muted")
        self.changed.setWordWrap(True)
        self.changed.setContentsMargins(2 * GAP, GAP, 2 * GAP, GAP)
        self.changed.hide()
        self.empty = QLabel(self.tr("The text of the document\nappears here"))
        self.empty.setObjectName("muted")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._arrange()
        self._connect()
        self._on_current_changed()

    def _arrange(self) -> None:
        header = Header("paneheader")
        head = QHBoxLayout(header)
        head.setContentsMargins(2 * GAP, 0, GAP, 0)
        head.addWidget(self.name, 1)
        head.addWidget(self.place)
        head.addWidget(self.search)
        body = QHBoxLayout()
        body.setSpacing(0)
        body.addWidget(self.text, 1)
        body.addWidget(self.strip)
        body.addWidget(self.empty, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(header)
        column.addWidget(self.find_bar)
        column.addWidget(self.changed)
        column.addLayout(body, 1)
        column.addWidget(self.map)

    def _connect(self) -> None:
        self._chats.current_changed.connect(self._on_current_changed)
        self.search.clicked.connect(self.find_bar.open)
        self.strip.place_chosen.connect(self._on_place_chosen)
        self.map.place_chosen.connect(self._on_place_chosen)
        self.text.completed.connect(self._show_marks)
        self.text.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        self.text.verticalScrollBar().rangeChanged.connect(self._on_scrolled)
        self._theme.changed.connect(self._show_marks)

    @Slot()
    def _on_current_changed(self) -> None:
        if self._chat is not None:
            self._chat.documents_changed.disconnect(self._on_documents_changed)
            self._chat.selection_changed.disconnect(self._on_selection_changed)
            self._chat.evidence_changed.disconnect(self._on_evidence_changed)
            self._chat.pointed_changed.disconnect(self._show_heat)
        self._chat = self._chats.current
        self._chat.documents_changed.connect(self._on_documents_changed)
        self._chat.selection_changed.connect(self._on_selection_changed)
        self._chat.evidence_changed.connect(self._on_evidence_changed)
        self._chat.pointed_changed.connect(self._show_heat)
        self._on_documents_changed()
        self._on_selection_changed()

    @Slot()
    def _on_documents_changed(self) -> None:
        chat = self._chats.current
        texts = chat.opened_documents
        self.text.set_texts(texts)
        names = [text.name for text in texts]
        more = self.tr(" and {0} more").format(len(names) - 1) if len(names) > 1 else ""
        self.name.setText(names[0] + more if names else self.tr("Document"))
        self.name.setToolTip("\n".join(names))
        for widget in (self.text, self.strip, self.search, self.place):
            widget.setVisible(bool(texts))
        self.empty.setVisible(not texts)
        if not texts:
            self.find_bar.hide()
        self._on_scrolled()
        self._show_marks()

    @Slot(float)
    def _on_place_chosen(self, share: float) -> None:
        if self.text.is_complete:
            self.text.show_share(share)

    @Slot()
    def _on_selection_changed(self) -> None:
        """Mark the passages of the selected answer, and go to the selected one."""
        self._show_heat()
        self._is_to_reveal = True
        self._show_marks()

    @Slot()
    def _show_marks(self) -> None:
        """Mark what the selected answer found, where it still stands; once all texts are there, else we come back."""
        chat, marks = self._chats.current, []
        whole = self.text.is_complete and all(document.text and document.place for document in chat.documents)
        found = self._found() if whole else {}
        standing = [place for place, text in found.items() if self.text.says_at(place, text)]
        for place in standing:
            cursor = self.text.cursor_at(place.document, place.start, place.end)
            marks.append(self._mark(cursor, chosen=place == chat.selected_place))
            if place == chat.selected_place and self._is_to_reveal:
                self.text.reveal(cursor)
        self._is_to_reveal = self._is_to_reveal and not whole
        self.text.setExtraSelections(marks)
        self.changed.setVisible(len(standing) < len(found))

    def _found(self) -> dict[Place, str]:
        """Where the passages of the selected answer and its selected claim stood, and what they said."""
        chat = self._chats.current
        if chat.selected_exchange is None:
            return {}
        exchange = chat.all_exchanges[chat.selected_exchange]
        found = {chat.place_of(passage): passage.text for passage in exchange.passages}
        if chat.selected_claim is not None and (place := chat.selected_place):
            found.setdefault(place, exchange.claims[chat.selected_claim].text)
        return found

    @Slot(int)
    def _on_evidence_changed(self, exchange: int) -> None:
        if exchange == self._chats.current.selected_exchange:
            self._show_heat()

    @Slot()
    def _show_heat(self) -> None:
        """The heat of the word that is pointed at, or else of the whole answer."""
        chat, evidence = self._chats.current, self._chats.current.selected_evidence
        if evidence is None:
            self.strip.set_heat(())
        else:
            self.strip.set_heat(evidence.heat_of(chat.pointed) if chat.pointed else evidence.heat)

    def _mark(self, cursor: QTextCursor, *, chosen: bool) -> QTextEdit.ExtraSelection:
        look = QTextCharFormat()
        colors = self._theme.colors
        look.setBackground(QColor(colors.mark_strong if chosen else colors.mark))
        selection = QTextEdit.ExtraSelection()
        selection.cursor = cursor
        selection.format = look
        return selection

    @Slot()
    def _on_scrolled(self) -> None:
        first, last = self.text.visible_share()
        self.strip.set_view(first, last)
        self.place.setText(self.tr("at {0:.0f} %").format(100 * first))
