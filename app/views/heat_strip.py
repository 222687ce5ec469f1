"""The whole document as a narrow strip: where an answer looked, and which part is on screen."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PySide6.QtCore import QRect, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QWidget

from app.evidence import hot_places
from app.views.theme import Theme

WIDTH: Final = 24
FAINT: Final = 0.02
"""Less is not painted."""
WHOLE: Final = (0.0, 1.0)
"""All of the text is on screen."""


class HeatStrip(QWidget):
    """A scroll map. Top and bottom are the beginning and the end of the text.

    With the keyboard: up and down go from one hot place to the next, Home and End to the first and the last; Enter
    chooses one.

    Signals:
        place_chosen: a share of the text, 0 to 1, that was clicked or dragged to, or chosen.
    """

    place_chosen = Signal(float)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._heat: Sequence[float] = ()
        self._view = WHOLE
        self._places: list[int] = []
        self._at = 0
        self._picture: QImage | None = None
        self.setFixedWidth(WIDTH)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(self.tr("Map of the document"))
        self.setToolTip(self.tr("Where the answer looked; click to go there"))
        theme.changed.connect(self._on_theme_changed)

    def set_heat(self, heat: Sequence[float]) -> None:
        """Show another answer's heat: equal parts of the text, the largest is 1."""
        self._heat, self._places = heat, hot_places(heat)
        self._at = min(self._at, max(0, len(self._places) - 1))
        self._describe()
        self._on_theme_changed()

    def set_view(self, first: float, last: float) -> None:
        """Show which part of the text is on screen."""
        if (first, last) != self._view:
            self._view = (first, last)
            self.update()

    def _share(self) -> float | None:
        """Where the keyboard is, as a share of the text; None if there is nowhere to go."""
        return (self._places[self._at] + 0.5) / len(self._heat) if self._places else None

    def _describe(self) -> None:
        share = self._share()
        text = self.tr("The answer looked nowhere yet")
        if share is not None:
            line = self.tr("Place {0:,} of {1:,} where the answer looked, at {2:.0f} %; Enter goes there")
            text = line.format(self._at + 1, len(self._places), 100 * share)
        self.setAccessibleDescription(text)

    @Slot()
    def _on_theme_changed(self) -> None:
        self._picture = None
        self.update()

    # -- Qt ------------------------------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        return QSize(WIDTH, 200)

    def resizeEvent(self, _event: object) -> None:
        self._picture = None

    def paintEvent(self, _event: QPaintEvent) -> None:
        colors = self._theme.colors
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(colors.window))
        if self._picture is None:
            self._picture = self._paint_heat()
        painter.drawImage(self.rect().adjusted(1, 0, 0, 0), self._picture)
        painter.fillRect(0, 0, 1, self.height(), QColor(colors.border))
        if self._view != WHOLE:
            self._paint_view(painter)
        if self.hasFocus():
            draw_focus(painter, self.rect(), QColor(colors.accent))
            if (share := self._share()) is not None:
                painter.fillRect(QRectF(0, share * self.height() - 1.5, self.width(), 3), QColor(colors.accent))
        painter.end()

    def _paint_view(self, painter: QPainter) -> None:
        """Frame what is on screen."""
        color = QColor(self._theme.colors.accent)
        top, bottom = (share * self.height() for share in self._view)
        tint = QColor(color)
        tint.setAlphaF(0.14)
        painter.setBrush(tint)
        painter.setPen(color)
        painter.drawRect(QRectF(0.5, top + 0.5, self.width() - 1, max(bottom - top, 6) - 1))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        last, share = len(self._places) - 1, self._share()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and share is not None:
            self.place_chosen.emit(share)
            return
        moved = moved_by(event.key(), self._at, last, Qt.Key.Key_Up, Qt.Key.Key_Down)
        if moved is None:
            super().keyPressEvent(event)
            return
        self._at = moved
        self._describe()
        announce(self)
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.place_chosen.emit(min(1.0, max(0.0, event.position().y() / max(1, self.height()))))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self.mousePressEvent(event)

    # -- painting ------------------------------------------------------------------------------------------------

    def _paint_heat(self) -> QImage:
        """One row per pixel, as hot as the hottest of its bins, so that a single hit is never lost; three rows each."""
        height = max(1, self.height())
        heat = np.asarray(self._heat, np.float32)
        rows = np.zeros(height + 2, np.float32)
        np.maximum.at(rows, np.arange(len(heat)) * height // max(1, len(heat)), heat)
        thick = np.maximum(np.maximum(rows[2:], rows[1:-1]), rows[:-2])
        thick[:2] = np.maximum(rows[:2], np.maximum.accumulate(rows[:2]))
        return tinted(thick[:, None], QColor(self._theme.colors.heat))


def moved_by(key: int, at: int, last: int, before: Qt.Key, after: Qt.Key) -> int | None:
    """Where a key leads from a number between 0 and `last`; None for a key that does not move."""
    to = {before: at - 1, after: at + 1, Qt.Key.Key_Home: 0, Qt.Key.Key_End: last}
    return next((max(0, min(place, last)) for each, place in to.items() if each == key), None)


def announce(widget: QWidget) -> None:
    """Have a screen reader say what a widget's description has become."""
    QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(widget, widget.accessibleDescription()))


def draw_focus(painter: QPainter, area: QRect, color: QColor) -> None:
    """Frame what has the keyboard."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(color, 2))
    painter.drawRect(area.adjusted(1, 1, -1, -1))


def tinted(share: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", color: QColor) -> QImage:
    """A picture in one colour; the square root of `share`, 0 to 1, (rows, columns), is how opaque it is."""
    alpha = np.where(share > FAINT, np.sqrt(share) * 255, 0).astype(np.uint32)
    pixels = np.ascontiguousarray(alpha << 24 | color.rgb() & 0xFFFFFF, np.uint32)
    rows, columns = pixels.shape
    return QImage(pixels.tobytes(), columns, rows, 4 * columns, QImage.Format.Format_ARGB32).copy()
