"""What the parts of the memory are called, and their colours: a dot beside a name, a bar of shares."""

from collections.abc import Sequence

from PySide6.QtCore import QCoreApplication, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from app.views.theme import GAP, Theme


def part_names() -> dict[str, str]:
    """Of all PARTS, short ones."""
    return {
        "weights": tr("Model"),
        "hot": tr("Newest text"),
        "index": tr("Search"),
        "cold_keys": tr("Text labels"),
        "cold_values": tr("Text contents"),
        "program": tr("App and libraries"),
        "other": tr("Other programs"),
    }


def part_meanings() -> dict[str, str]:
    """Of all PARTS, what they are."""
    return {
        "weights": tr("The model itself (its weights)"),
        "hot": tr("The newest text, which every word of an answer sees in full (the hot window)"),
        "index": tr("What older text is searched with for every word of an answer (codes of its keys)"),
        "cold_keys": tr("What each word of older text is found by (its keys)"),
        "cold_values": tr("What is fetched of the words of older text that are found (their values)"),
        "program": tr("PyTorch and what it computes with, the window, texts of documents and chats"),
        "other": tr("What all other programs take"),
    }


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("MemoryParts", text)


class Bar(QWidget):
    """A bar of coloured shares, painted by hand."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._shares: Sequence[tuple[str, float]] = ()
        self.setFixedHeight(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def set_shares(self, shares: Sequence[tuple[str, float]]) -> None:
        """Colour names of the theme, and the share of the whole that each takes."""
        if shares != self._shares:
            self._shares = shares
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(96, 6)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._theme.colors.hover))
        whole = QPainterPath()
        whole.addRoundedRect(QRectF(self.rect()), 3, 3)
        painter.drawPath(whole)
        painter.setClipPath(whole)
        left = 0.0
        for role, share in self._shares:
            width = share * self.width()
            painter.setBrush(QColor(getattr(self._theme.colors, role)))
            painter.drawRect(QRectF(left, 0, width, self.height()))
            left += width
        painter.end()


class Dot(QWidget):
    """The colour of a part, as in the bar."""

    def __init__(self, theme: Theme, role: str) -> None:
        super().__init__()
        self._theme, self._role = theme, role
        self.setFixedSize(8, 8)
        theme.changed.connect(self.update)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(getattr(self._theme.colors, self._role)))
        painter.drawEllipse(self.rect())
        painter.end()


class PartName(QWidget):
    """A part in a legend: its dot and its name."""

    def __init__(self, theme: Theme, part: str) -> None:
        super().__init__()
        label = QLabel(part_names()[part])
        label.setObjectName("caption")
        self.setToolTip(part_meanings()[part])
        row = QHBoxLayout(self)
        row.setContentsMargins(0, GAP // 4, GAP // 2, 0)  # on the line of the title before it
        row.setSpacing(GAP // 2)
        row.addWidget(Dot(theme, part))
        row.addWidget(label)
