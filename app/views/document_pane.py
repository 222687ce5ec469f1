"""The right pane: the full text of the documents, with search, marks for passages, and the heat strip as its map."""

from typing import Final

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QColor, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QHBoxLayout, QLabel, QTextEdit, QVBoxLayout, QWidget

from app.figures import as_place
from app.models.chat import Chat
from app.models.chat_list import ChatList, plain_tip
from app.quote_check import Place
from app.views.document_view import DocumentView
from app.views.evidence_map import EvidenceMap
from app.views.find_bar import DocumentFindBar
from app.views.heat_strip import WHOLE, HeatStrip
from app.views.icons import IconButton
from app.views.no_text import NoText
from app.views.theme import GAP, Theme
from app.views.title import Header, Title

PLACE_WIDTH: Final = 224
"""Pixels at most for where one is in a document; its name has the rest."""


class DocumentPane(QWidget):
    """Shows the documents of the chat that is shown, and the evidence of its selected answer.

    Signals:
        read_again_wanted: bring its documents back into memory.
    """

    read_again_wanted = Signal()

    def __init__(self, theme: Theme, chats: ChatList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("documentpane")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._chats = theme, chats
        self._chat: Chat | None = None
        self._is_to_reveal = False
        self.name = Title()
        self.name.setObjectName("title")
        self.place = Title()
        self.place.setObjectName("caption")
        self.place.setMaximumWidth(PLACE_WIDTH)
        self.search = IconButton(theme, "search", self.tr("Find in the document (Ctrl+F)"))
        self.text = DocumentView()
        self.text.setAccessibleName(self.tr("Document text"))
        self.strip = HeatStrip(theme)
        self.map = EvidenceMap(theme, chats)
        self.find_bar = DocumentFindBar(theme, self.text)
        self.changed = QLabel(self.tr("The document has changed since: what is not there any more is not marked"))
        self.changed.setObjectName("muted")
        self.changed.setWordWrap(True)
        self.changed.setContentsMargins(2 * GAP, GAP, 2 * GAP, GAP)
        self.changed.hide()
        self.empty = NoText(chats)
        self.empty.read_again_wanted.connect(self.read_again_wanted)
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
        self.name.setToolTip(plain_tip([text.name for text in texts]))
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
        self._show_place(is_whole=(first, last) == WHOLE)

    def _show_place(self, *, is_whole: bool) -> None:
        """Which document is on screen, and what of it: the page, section, row or line, and how far into it that is.

        `is_whole`: all of the text is on screen, so that one is nowhere in it.
        """
        texts, place = self._chats.current.opened_documents, self.text.place_on_top()
        if place is None or place[0] >= len(texts):
            self.name.setText(self.tr("Document"))
            return
        text, offset = texts[place[0]], place[1]
        self.name.setText(text.name)
        if len(texts) > 1:
            self.name.setText(self.tr("{0} · {1} of {2}").format(text.name, place[0] + 1, len(texts)))
        share = "" if is_whole else self.tr("at {0:.0f} %").format(100 * offset / max(1, len(text.text)))
        here = text.places.at(offset)
        self.place.setText(" · ".join(filter(None, (share, as_place(here.page, here.section, here.row, here.line)))))
        self.place.setToolTip(plain_tip([self.place.text()]))
