"""A bar for how long a text a model holds on this PC, and the line that explains such bars."""

from typing import Final

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from app.views.theme import Theme

FULL_BAR_TOKENS: Final = 1_000_000
"""A bar this many tokens long is full: a million tokens are what the app is for."""


class FitBar(QWidget):
    """How many of a million tokens fit: in RAM in the accent's colour, with the disk in a pale one."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._shares = (0.0, 0.0)
        self.setFixedHeight(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def set_shares(self, in_ram: float, in_all: float) -> None:
        """Show shares, 0 to 1."""
        self._shares = (min(1.0, in_ram), min(1.0, in_all))
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        colors = self._theme.colors
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        pale = QColor(colors.accent)
        pale.setAlphaF(0.35)
        in_ram, in_all = self._shares
        for share, color in ((1.0, QColor(colors.hover)), (in_all, pale), (in_ram, QColor(colors.accent))):
            if share > 0:
                painter.setBrush(color)
                painter.drawRoundedRect(QRectF(0, 0, max(6.0, self.width() * share), self.height()), 3, 3)


class BarLegend(QLabel):
    """What a full bar is, and its two colours."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("caption")
        self.setWordWrap(True)
        self.setText(
            self.tr(
                "A full bar is a million tokens, or 2,500 pages: the strong part fits into RAM, the faint one on disk."
            )
        )
