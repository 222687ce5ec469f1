"""What stands in a conversation, one below the other, in a column in the middle."""

from typing import Final

from PySide6.QtCore import QEvent, QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QWidget

from app.views.theme import GAP, Theme

TEXT_WIDTH: Final = 720
"""Lines longer than this are hard to read."""
BETWEEN: Final = 4 * GAP
ABOVE: Final = 3 * GAP
BELOW: Final = 2 * GAP
BESIDE: Final = 3 * GAP


class ExchangeStack(QWidget):
    """Widgets as wide as the column and as high as they need to be; buttons keep their size.

    Places them by hand: whenever one of them grows by a line, a layout asks all of them for all of their sizes, several
    times, which is felt while an answer is written. Here each is asked for one height, which those that did not change
    remember, and only what moved is placed anew. For the same reason it paints its background itself: Qt then knows
    that nothing shines through, and moves what is scrolled instead of painting it.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAttribute(Qt.WidgetAttribute.WA_StaticContents)
        theme.changed.connect(self.update)
        self._widgets: list[QWidget] = []
        self._whole_width = 0
        self._view = QSize()

    def insert(self, place: int, widget: QWidget) -> None:
        """Put a child in, with `place` others above it. It is placed when it is shown."""
        self._widgets.insert(place, widget)

    def remove(self, widget: QWidget) -> None:
        """Take a widget out and delete it."""
        self._widgets.remove(widget)
        widget.hide()
        widget.deleteLater()

    def set_room(self, whole_width: int, view: QSize) -> None:
        """Tell the width with the scroll bar's, in whose middle the column is, and what is seen at once, without it."""
        self._whole_width, self._view = whole_width, view
        self.arrange()

    def arrange(self) -> None:
        """Place what has moved."""
        width = min(TEXT_WIDTH, self._whole_width - 2 * BESIDE)
        if width <= 0:
            return
        left, top = (self._whole_width - width) // 2, ABOVE
        places: list[tuple[QWidget, QRect]] = []
        for widget in self._widgets:
            if not widget.isHidden():
                places.append((widget, placed(widget, left, top, width)))
                top += places[-1][1].height() + BETWEEN
        # Before anything is placed: whoever stays at the end scrolls now, and where something has changed its place by
        # then, Qt paints all that is seen instead of moving it.
        self.resize(self._view.width(), max(top - BETWEEN + BELOW, self._view.height()))
        for widget, area in places:
            if area != widget.geometry():
                widget.setGeometry(area)

    # -- Qt ------------------------------------------------------------------------------------------------------

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:  # comes when a widget's size may have changed
            self.arrange()
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(event.rect(), QColor(self._theme.colors.window))
        painter.end()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.arrange()  # what changed while it was hidden has told nobody


def placed(widget: QWidget, left: int, top: int, width: int) -> QRect:
    """Where a widget stands in a column from `left` on, `width` wide."""
    if widget.layout() is not None and widget.hasHeightForWidth():
        return QRect(left, top, width, widget.heightForWidth(width))
    size = widget.sizeHint()
    if widget.layout() is None:
        return QRect(left + (width - size.width()) // 2, top, size.width(), size.height())
    return QRect(left, top, width, size.height())
