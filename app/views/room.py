"""How large a window opens: as wanted, or as the screen has room for it."""

from typing import Final

from PySide6.QtCore import QSize
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

FRAME: Final = QSize(16, 48)
"""Pixels that the system's frame and title may take around a window."""


def open_with_room(window: QWidget, wanted: QSize) -> None:
    """Give a window, before it is shown, the size that is wanted, or what its screen leaves it.

    A laptop's screen of 1920 x 1080 at 150 % is only 720 pixels high. Pictures that are made offscreen can have any
    size; what Qt calls the screen there is no screen.
    """
    if QGuiApplication.platformName() == "offscreen":
        window.resize(wanted)
    else:
        window.resize(wanted.boundedTo(window.screen().availableSize() - FRAME))
