"""Icons drawn in the theme's colours, and buttons that follow the theme."""

from functools import lru_cache
from typing import Final

from PySide6.QtCore import QByteArray, QSize, Qt, Slot
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QLabel, QToolButton, QWidget

from app.resources import resource_text
from app.views.theme import Theme

ICON_PIXELS: Final = 20


@lru_cache(maxsize=256)
def pixmap(name: str, color: str, size: int, scale: float) -> QPixmap:
    """An icon in one colour, drawn for a screen with so many pixels to each of `size`."""
    svg = resource_text(f"icons/{name}.svg").replace("currentColor", color)
    picture = QPixmap(round(size * scale), round(size * scale))
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    QSvgRenderer(QByteArray(svg.encode())).render(painter)
    painter.end()
    picture.setDevicePixelRatio(scale)
    return picture


class IconButton(QToolButton):
    """A flat button with an icon; its name is for screen readers and the tool tip.

    `role` is the colour of the theme that the icon has.
    """

    def __init__(
        self,
        theme: Theme,
        icon: str,
        name: str,
        parent: QWidget | None = None,
        *,
        role: str = "muted",
        size: int = ICON_PIXELS,
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._icon = icon
        self._role = role
        self._size = size
        self.setAccessibleName(name)
        self.setToolTip(name)
        self.setIconSize(QSize(size, size))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAutoRaise(True)
        theme.changed.connect(self._draw)
        self._draw()

    def set_icon(self, icon: str, name: str) -> None:
        """Show another icon, for another purpose."""
        if icon != self._icon:
            self._icon = icon
            self._draw()
        self.setAccessibleName(name)
        self.setToolTip(name)

    @Slot()
    def _draw(self) -> None:
        colors, size, scale = self._theme.colors, self._size, self._theme.scale
        icon = QIcon(pixmap(self._icon, getattr(colors, self._role), size, scale))
        icon.addPixmap(pixmap(self._icon, colors.other, size, scale), QIcon.Mode.Disabled)
        self.setIcon(icon)


class IconLabel(QLabel):
    """A picture beside a text; screen readers read the text."""

    def __init__(self, theme: Theme, icon: str, parent: QWidget | None = None, *, size: int = ICON_PIXELS) -> None:
        super().__init__(parent)
        self._theme = theme
        self._icon = icon
        self._size = size
        self._role = "muted"
        self.setFixedSize(size, size)
        theme.changed.connect(self._draw)
        self._draw()

    def set_icon(self, icon: str, role: str) -> None:
        """Show another icon in another colour of the theme."""
        self._icon, self._role = icon, role
        self._draw()

    @Slot()
    def _draw(self) -> None:
        color = getattr(self._theme.colors, self._role)
        self.setPixmap(pixmap(self._icon, color, self._size, self._theme.scale))
