"""Icons are drawn once: a list paints its own again and again."""

import pytest
from pytestqt.qtbot import QtBot

from app.views import icons


def test_an_icon_is_read_and_drawn_once_for_each_colour_and_size(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = icons.resource_text
    monkeypatch.setattr(icons, "resource_text", lambda name: (read.append(name), real(name))[1])
    icons.pixmap.cache_clear()
    for color in ("#123456", "#654321"):
        for _ in range(3):
            assert icons.pixmap("pin", color).toImage().pixelColor(20, 20).isValid()
    assert icons.pixmap("pin", "#123456", 12).width() == 24
    assert read == ["icons/pin.svg"] * 3
