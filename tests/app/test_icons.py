"""Icons: drawn once, since a list paints its own again and again, and as fine as the screen is."""

import pytest
from PySide6.QtCore import QEvent, QSize
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.views import icons
from app.views.icons import IconLabel
from tests.app.conftest import AppDriver


def test_an_icon_is_read_and_drawn_once_for_each_colour_and_size(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = icons.resource_text
    monkeypatch.setattr(icons, "resource_text", lambda name: (read.append(name), real(name))[1])
    icons.pixmap.cache_clear()
    for color in ("#123456", "#654321"):
        for _ in range(3):
            assert icons.pixmap("pin", color, 20, 2.0).toImage().pixelColor(20, 20).isValid()
    assert icons.pixmap("pin", "#123456", 12, 2.0).width() == 24
    assert read == ["icons/pin.svg"] * 3


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0, 3.0])
def test_icons_are_as_fine_as_the_screen_that_the_window_is_on(
    driver: AppDriver, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    window = driver.window
    drawn: list[float] = []
    real = icons.pixmap
    monkeypatch.setattr(icons, "pixmap", lambda *wanted: (drawn.append(wanted[-1]), real(*wanted))[1])
    monkeypatch.setattr(window, "devicePixelRatioF", lambda: scale)
    QApplication.sendEvent(window, QEvent(QEvent.Type.DevicePixelRatioChange))
    assert driver.application.theme.scale == scale
    whole = QSize(round(20 * scale), round(20 * scale))
    for icon in (window.menu_button.icon(), window.composer.send.icon(), window.sidebar.new_chat.icon()):
        assert icon.availableSizes() == [whole], "in pixels of the screen"
    if scale != 1:
        labels = window.findChildren(IconLabel)
        assert len(drawn) > len(labels) > 0
        assert set(drawn) == {scale}
