"""The map of an answer: across, the whole document; down, the answer's tokens. Bright is where a token looked."""

from itertools import pairwise
from typing import Final

import numpy as np
from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from app.evidence import ANSWER_TOKENS, HEAT_BINS, Evidence, Mass, hot_places
from app.models.chat import Chat
from app.models.chat_list import ChatList
from app.views.heat_strip import announce, draw_focus, moved_by, tinted
from app.views.theme import GAP, Theme, with_letters

HEIGHT: Final = 132
MIN_ROW: Final = 3
"""Pixels of a token, while there are few."""
SPOT: Final = 3
"""Pixels across of a single hit, so that it is seen."""
RING: Final = 4
"""Pixels of a check box around what it shows: its edge, which is seen with the keyboard, and its padding."""
WORDS: Final = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap)
CAPTION_FROM: Final = 420
"""From this width on there is room for the map's name."""


class MapPicture(QWidget):
    """Paints mass per token and bin; where there is none, words can stand in its place.

    With the keyboard: up and down go from token to token, left and right through the places that one looked at, from
    the brightest on; Enter chooses one.

    Signals:
        place_chosen: a share of the document, 0 to 1, that was clicked or chosen.
        token_pointed: number of the token under the mouse, or that the keyboard is at; -1 for none.
        place_pointed: the keyboard is at another place of the token.
    """

    place_chosen = Signal(float)
    token_pointed = Signal(int)
    place_pointed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._room: Mass = np.zeros((0, HEAT_BINS), np.float32)
        self._rows = self._room
        self._narrow = np.zeros((0, 0), np.float32)
        self._is_lit = False
        self._words = ""
        self._pointed = range(0)
        self._places: list[int] = []
        self._at = 0
        self._picture: QImage | None = None
        self.setMouseTracking(True)
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(self.tr("Map: where each word of the answer looked"))
        theme.changed.connect(self._on_theme_changed)

    @property
    def num_rows(self) -> int:
        return len(self._rows)

    @property
    def is_dark(self) -> bool:
        """Whether none of the tokens has mass anywhere."""
        return not self._is_lit

    @property
    def words(self) -> str:
        return self._words

    def set_words(self, words: str) -> None:
        """Have words stand in the middle, or none: for a picture without a spot."""
        self._words = words
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._is_lit, self._words = False, ""
        self._room = self._rows = np.zeros((0, HEAT_BINS), np.float32)
        self._narrow = self._narrow[:0]
        self._on_theme_changed()

    def add_rows(self, rows: Mass) -> None:
        """Show mass per token and bin (tokens, HEAT_BINS) below what is there."""
        before, after = len(self._rows), len(self._rows) + len(rows)
        if after > len(self._room):
            self._room = np.empty((2 * after, HEAT_BINS), np.float32)
            self._room[:before] = self._rows
        self._room[before:after] = rows
        self._is_lit = self._is_lit or bool(rows.any())
        self._rows = self._room[:after]
        self._on_theme_changed()

    def set_pointed(self, tokens: range) -> None:
        """Frame some tokens, and begin at the brightest place of theirs."""
        mass = self._rows[tokens.start : tokens.stop].sum(axis=0)
        self._places = hot_places(mass)
        if tokens != self._pointed or self._at >= len(self._places):
            self._at = int(np.argmax(mass[self._places])) if self._places else 0
        self._pointed = tokens
        self.update()

    @property
    def place(self) -> tuple[int, int, float] | None:
        """Number and count of the place that the keyboard is at, and where in the document that is, 0 to 1."""
        if not self._places:
            return None
        return self._at + 1, len(self._places), (self._places[self._at] + 0.5) / HEAT_BINS

    @Slot()
    def _on_theme_changed(self) -> None:
        self._picture = None
        self.update()

    @property
    def _row_height(self) -> float:
        """Pixels per token; few tokens do not fill the map."""
        return min(self.height() / max(1, len(self._rows)), 3.0 * MIN_ROW)

    # -- Qt ------------------------------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        return QSize(320, HEIGHT)

    def resizeEvent(self, _event: object) -> None:
        self._picture = None

    def paintEvent(self, _event: QPaintEvent) -> None:
        colors, painter = self._theme.colors, QPainter(self)
        painter.fillRect(self.rect(), QColor(colors.window))
        if self._picture is None:
            self._picture = self._paint_rows()
        height = self._row_height * len(self._rows)
        painter.drawImage(QRectF(1, 0, self.width() - 2, height), self._picture)  # its first and last column, too, stay
        if self._pointed:
            top, tall = self._pointed.start * self._row_height, len(self._pointed) * self._row_height
            tint = QColor(colors.accent)
            tint.setAlphaF(0.16)
            painter.fillRect(QRectF(0, top, self.width(), max(tall, 2)), tint)
            painter.fillRect(QRectF(0, top, 3, max(tall, 2)), QColor(colors.accent))
        if self._words:
            painter.setPen(QColor(colors.muted))
            painter.drawText(self.rect().adjusted(2 * GAP, 0, -2 * GAP, 0), WORDS, self._words)
        painter.setPen(QColor(colors.border))
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        if self.hasFocus():
            draw_focus(painter, self.rect(), QColor(colors.accent))
            if self.place is not None:
                painter.fillRect(QRectF(self.place[2] * self.width() - 1, 0, 2, self.height()), QColor(colors.accent))
        painter.end()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, last_row, last_place = event.key(), len(self._rows) - 1, len(self._places) - 1
        row = self._pointed.start if self._pointed else -1
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.place is not None:
            self.place_chosen.emit(self.place[2])
        elif (token := moved_by(key, row, last_row, Qt.Key.Key_Up, Qt.Key.Key_Down)) is not None:
            self.token_pointed.emit(token)
            self.place_pointed.emit()
        elif (at := moved_by(key, self._at, last_place, Qt.Key.Key_Left, Qt.Key.Key_Right)) is not None:
            self._at = at
            self.place_pointed.emit()
            self.update()
        else:
            super().keyPressEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.token_pointed.emit(-1)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.place_chosen.emit(min(1.0, max(0.0, event.position().x() / max(1, self.width()))))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        token = int(event.position().y() / max(self._row_height, 1e-6))
        self.token_pointed.emit(token if token < len(self._rows) else -1)

    def leaveEvent(self, _event: object) -> None:
        self.token_pointed.emit(-1)

    # -- painting ------------------------------------------------------------------------------------------------

    def _paint_rows(self) -> QImage:
        """A pixel is as bright as its brightest bin and token, and each hit some pixels wide."""
        height, width = max(1, round(self._row_height * len(self._rows))), max(1, self.width() - 2)
        self._make_narrow(width)
        pixels = squeezed(self._narrow, min(height, max(1, len(self._rows))), width)
        for _ in range(SPOT // 2):  # to both sides: one at the end of the document is seen as well
            wide = pixels.copy()
            wide[:, 1:] = np.maximum(wide[:, 1:], pixels[:, :-1])
            wide[:, :-1] = np.maximum(wide[:, :-1], pixels[:, 1:])
            pixels = wide
        return tinted(pixels / max(float(pixels.max(initial=0.0)), 1e-12), QColor(self._theme.colors.heat))

    def _make_narrow(self, width: int) -> None:
        """Bring the rows to a width; what they were before is kept: all bins of all words, each time, would be felt."""
        if self._narrow.shape[1] != width:
            self._narrow = np.zeros((0, width), np.float32)
        new = self._rows[len(self._narrow) :]
        self._narrow = np.concatenate([self._narrow, squeezed(new, len(new), width)])


def squeezed(values: Mass, rows: int, columns: int) -> Mass:
    """The largest of the values that fall together at a size of (rows, columns)."""
    if not values.size:
        return np.zeros((rows, columns), np.float32)
    count, width = values.shape
    if rows < count:  # one maximum after the other: reduceat along the rows takes ten times as long
        ends = (np.arange(rows + 1) * count + rows - 1) // rows  # value i falls to i * rows // count
        values = np.stack([values[start:end].max(axis=0) for start, end in pairwise(ends)])
    else:
        values = values[np.arange(rows) * count // rows]
    if columns < width:
        starts = (np.arange(columns) * width + columns - 1) // columns
        small: Mass = np.maximum.reduceat(values, starts, axis=1)
        return small
    return np.ascontiguousarray(values[:, np.arange(columns) * width // columns])


class EvidenceMap(QWidget):
    """The map of the selected answer with its controls, or why it has none. Hidden where none is to be expected.

    While the next answer begins it stays, empty: going and coming back with each question, it would have the whole pane
    laid out and painted twice.

    Signals:
        place_chosen: as that of MapPicture.
    """

    place_chosen = Signal(float)

    def __init__(self, theme: Theme, chats: ChatList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("evidence")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._chats = chats
        self._chat: Chat | None = None
        self._shown: tuple[Evidence, int | None, bool] | None = None
        self.caption = QLabel()
        self.caption.setObjectName("title")
        self.picture = MapPicture(theme)
        self.layer = QComboBox()
        self.layer.setMinimumContentsLength(7)
        self.layer.setAccessibleName(self.tr("Layer"))
        self.above = QCheckBox(self.tr("What stands out"))
        self.above.setAccessibleName(self.tr("Only what stands out"))
        self.above.setToolTip(self.tr("Leaves out what every answer hits, whatever it is about"))
        self.above.setChecked(True)
        self.word = QLabel()
        self.word.setObjectName("caption")
        self._head = QHBoxLayout()
        self._arrange()
        self.picture.place_chosen.connect(self.place_chosen)
        self.picture.token_pointed.connect(self._on_token_pointed)
        self.picture.place_pointed.connect(self._on_place_pointed)
        self.layer.currentIndexChanged.connect(self._show_rows)
        self.above.toggled.connect(self._show_rows)
        chats.current_changed.connect(self._on_current_changed)
        self._on_current_changed()

    def _arrange(self) -> None:
        self._head.setSpacing(GAP + GAP // 2)
        self._head.addWidget(self.caption, 1)
        self._head.addWidget(self.above)
        self._head.addWidget(self.layer)
        axis = QHBoxLayout()
        for text in (self.tr("beginning"), None, self.tr("end")):
            if text is None:
                axis.addStretch(1)
                axis.addWidget(self.word)
                axis.addStretch(1)
                continue
            label = QLabel(text)
            label.setObjectName("caption")
            axis.addWidget(label)
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * GAP - RING, GAP, 2 * GAP, GAP)
        column.setSpacing(GAP // 2)
        column.addLayout(self._head)
        picture = QHBoxLayout()
        picture.addWidget(self.picture)
        for row in (picture, axis):
            row.setContentsMargins(RING, 0, 0, 0)
            column.addLayout(row)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._give_way()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._give_way()

    def _give_way(self) -> None:
        """Half a word helps nobody. Without the name the box of `above` stands at the map's edge, its ring outside."""
        has_caption = self.width() >= with_letters(CAPTION_FROM, self.fontMetrics())
        self.caption.setVisible(has_caption)
        self._head.setContentsMargins(RING if has_caption else 0, 0, 0, 0)

    @property
    def _evidence(self) -> Evidence | None:
        return self._chats.current.selected_evidence

    @Slot()
    def _on_current_changed(self) -> None:
        if self._chat is not None:
            self._chat.selection_changed.disconnect(self._on_changed)
            self._chat.evidence_changed.disconnect(self._on_grown)
            self._chat.exchange_changed.disconnect(self._on_exchange_changed)
            self._chat.pointed_changed.disconnect(self._on_pointed)
        self._chat = self._chats.current
        self._chat.selection_changed.connect(self._on_changed)
        self._chat.evidence_changed.connect(self._on_grown)
        self._chat.exchange_changed.connect(self._on_exchange_changed)
        self._chat.pointed_changed.connect(self._on_pointed)
        self._on_changed()

    @Slot(int)
    def _on_grown(self, exchange: int) -> None:
        if exchange == self._chats.current.selected_exchange:
            self._on_changed()

    @Slot(int)
    def _on_exchange_changed(self, exchange: int) -> None:
        chat = self._chats.current
        if exchange == chat.selected_exchange and chat.all_exchanges[exchange].is_over:
            self._on_changed()

    @property
    def _is_to_come(self) -> bool:
        """Whether the selected answer is not there yet; one by section never has hits."""
        chat = self._chats.current
        exchange = None if chat.selected_exchange is None else chat.all_exchanges[chat.selected_exchange]
        return exchange is not None and not exchange.is_over and not exchange.by_section

    @Slot()
    def _on_changed(self) -> None:
        evidence = self._evidence
        is_from_disk = evidence is not None and any(evidence.heat) and not evidence.tokens and not self._is_to_come
        self.above.setVisible(not is_from_disk)
        self.layer.setVisible(not is_from_disk)
        if evidence is not None and evidence.tokens:
            self.show()
            self._offer_layers(evidence.layers)
            self._show_rows()
            return
        self.setVisible(is_from_disk or (self._is_to_come and not self.isHidden()))
        self._shown = None
        self.picture.clear()
        if is_from_disk:
            self._show_title()
            self.picture.set_words(self.tr("Where each word looked is not kept on the disk. Answer again to see it"))
        self._on_pointed()

    def _offer_layers(self, layers: list[int]) -> None:
        if [self.layer.itemData(place) for place in range(1, self.layer.count())] == layers and self.layer.count():
            return
        self.layer.blockSignals(True)
        self.layer.clear()
        self.layer.addItem(self.tr("All layers"), None)
        for layer in layers:
            self.layer.addItem(self.tr("Layer {0}").format(layer), layer)
        self.layer.setEnabled(bool(layers))
        only_all = self.tr("Of an older answer, the layers are not kept one by one")
        self.layer.setToolTip(self.tr("Whose searches are shown") if layers else only_all)
        self.layer.blockSignals(False)

    @Slot()
    def _show_rows(self) -> None:
        """Add what came since; begin anew only for another answer, layer or baseline."""
        evidence = self._evidence
        if evidence is None or not evidence.tokens:
            return
        layer, above = self.layer.currentData(), self.above.isChecked()
        if self._shown != (evidence, layer, above):
            self._shown = (evidence, layer, above)
            self.picture.clear()
        self.picture.add_rows(evidence.rows(layer, above=above, first=self.picture.num_rows))
        self.picture.set_words(self._words_for_nothing())
        self._show_title()
        self._on_pointed()

    def _show_title(self) -> None:
        """Tell of which answer the map is, where there are several."""
        chat, evidence = self._chats.current, self._evidence
        path = [exchange.id for exchange in chat.exchanges]
        title, of = self.tr("Evidence, by word"), chat.selected_exchange
        if len(path) > 1 and of in path:
            title = self.tr("Answer {0:,} of {1:,}").format(path.index(of) + 1, len(path))
        if evidence is not None and evidence.is_full:
            title = self.tr("The first {0:,} words").format(ANSWER_TOKENS)
        self.caption.setText(title)
        self.caption.setToolTip(
            self.tr("Where each word of the answer looked in the document; a row is a word.")
            + "\n"
            + self.tr("A click on another answer shows where that one looked.")
        )

    def _words_for_nothing(self) -> str:
        """What an empty picture of an answer that is there says; else nothing."""
        if not self.picture.is_dark or self._is_to_come:
            return ""
        if self.above.isChecked():
            words = self.tr(
                "Nothing stands out: this answer looked where every answer looks. Untick “{0}” to see where"
            )
            return words.format(self.above.text())
        return self.tr("Nothing of the document was fetched")

    @Slot(int)
    def _on_token_pointed(self, token: int) -> None:
        self._chats.current.point(range(token, token + 1) if token >= 0 else range(0))

    @Slot()
    def _on_pointed(self) -> None:
        chat, evidence = self._chats.current, self._evidence
        self.picture.set_pointed(chat.pointed)
        self.word.setText("")
        if chat.pointed and evidence is not None and chat.selected_exchange is not None:
            start, end = evidence.characters_of(chat.pointed)
            text = chat.all_exchanges[chat.selected_exchange].answer[start:end].strip()
            self.word.setText(f"“{text}”" if text else "")
        self._describe()

    @Slot()
    def _on_place_pointed(self) -> None:
        self._describe()
        announce(self.picture)

    def _describe(self) -> None:
        """Say in words what the picture shows of the word that is pointed at."""
        pointed, place = self._chats.current.pointed, self.picture.place
        lines = [self.tr("Up and down go from word to word")]
        if pointed:
            word = self.tr("Word {0:,} of {1:,} {2}")
            lines = [word.format(pointed.start + 1, self.picture.num_rows, self.word.text()).rstrip()]
        if self.picture.words:
            lines.append(self.picture.words)
        elif pointed and place is None:
            lines.append(self.tr("looked nowhere in particular"))
        elif pointed and place is not None:
            line = self.tr("place {0:,} of {1:,}, at {2:.0f} % of the document; Enter goes there")
            lines.append(line.format(place[0], place[1], 100 * place[2]))
        self.picture.setAccessibleDescription(", ".join(lines))
