"""A layout that sets its widgets like words: from left to right, in as many lines as they need."""

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget

from app.views.theme import GAP


class FlowLayout(QLayout):
    """Lines as wide as the widget; widgets keep the size that they want, and hidden ones take no room.

    One that wants to be wider than all may be higher instead.
    """

    def __init__(self) -> None:
        super().__init__()
        self._items: list[QLayoutItem] = []
        self.setContentsMargins(0, 0, 0, 0)

    def _shown(self) -> list[QLayoutItem]:
        return [item for item in self._items if not is_hidden(item.widget())]

    def _place(self, area: QRect, *, really: bool) -> int:
        """Place all widgets; the height they take."""
        x, y, line = area.x(), area.y(), 0
        for item in self._shown():
            size = item.sizeHint()
            width, height = min(size.width(), area.width()), size.height()
            if width < size.width() and item.hasHeightForWidth():
                height = item.heightForWidth(width)
            if x + width > area.right() + 1 and line:
                x, y, line = area.x(), y + line + GAP, 0
            if really:
                item.setGeometry(QRect(QPoint(x, y), QSize(width, height)))
            x, line = x + width + GAP, max(line, height)
        return y + line - area.y()

    # -- QLayout -------------------------------------------------------------------------------------------------

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._place(QRect(0, 0, width, 0), really=False)

    def setGeometry(self, area: QRect) -> None:
        super().setGeometry(area)
        self._place(area, really=True)

    def sizeHint(self) -> QSize:
        return self.minimumSize()

    def minimumSize(self) -> QSize:
        return QSize(120, max((item.sizeHint().height() for item in self._shown()), default=0))


def is_hidden(widget: QWidget | None) -> bool:
    """Whether somebody hid it. One that is new, and shown with the next event, has its room from the beginning."""
    return (
        widget is not None and widget.isHidden() and widget.testAttribute(Qt.WidgetAttribute.WA_WState_ExplicitShowHide)
    )
