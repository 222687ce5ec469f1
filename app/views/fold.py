"""A line that stands for others, which it shows and hides."""

from PySide6.QtCore import QSize, Slot
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QPushButton, QWidget

from app.views.icons import pixmap
from app.views.theme import Theme

ICON_PIXELS = 14


class Fold(QPushButton):
    """Pressed while what it stands for is shown; a mouse click or the space bar changes that.

    `toggled` tells it, as of every such button.
    """

    def __init__(self, theme: Theme, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._theme = theme
        self.setObjectName("fold")
        self.setCheckable(True)
        self.setIconSize(QSize(ICON_PIXELS, ICON_PIXELS))
        self.toggled.connect(self._draw)
        theme.changed.connect(self._draw)
        self._draw()

    @Slot()
    def _draw(self) -> None:
        is_open = self.isChecked()
        name = self.tr("{0}, shown: hide") if is_open else self.tr("{0}, hidden: show")
        self.setAccessibleName(name.format(self.text()))
        icon = pixmap("down" if is_open else "right", self._theme.colors.muted, ICON_PIXELS, self._theme.scale)
        self.setIcon(QIcon(icon))
