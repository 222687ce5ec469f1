"""Names of chats and documents, which may be longer than there is room, and the lines above the panes they stand in."""

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QWidget

from app.views.theme import GAP, with_letters


class Title(QLabel):
    """A line that gives way to what stands beside it: a longer one ends in an ellipsis.

    It stands on the left in whatever script it is, as what belongs to it does.
    """

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setTextFormat(Qt.TextFormat.PlainText)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        self.draw(painter, self.text())
        painter.end()

    def draw(self, painter: QPainter, line: str) -> None:
        """Draw a line in the room that there is."""
        text = self.fontMetrics().elidedText(line, Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)


class Header(QWidget):
    """The line above a pane, as high as those above the others."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._fit()

    def _fit(self) -> None:
        self.setFixedHeight(with_letters(6 * GAP, self.fontMetrics()))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._fit()
