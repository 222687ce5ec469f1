"""`kiv screenshots` as a person runs it, for one state: a process of its own with the real engine; no display."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QColor, QImage

from app.screenshots import SIZES
from app.views.theme import THEMES

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600
TEXT_PIXELS = 3_000
"""Fewer differ from the ground where nothing is read and nothing is answered."""


def test_one_state_is_taken_in_both_themes_and_sizes(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the engine needs torch")
    folder = tmp_path / "pictures"
    command = [sys.executable, "-m", "app", "screenshots", str(folder), "--only", "answered", "--tokens", "20000"]
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT), "QT_SCALE_FACTOR": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "08-answered\n")
    taken = {path.name: QImage(str(path)) for path in folder.iterdir()}
    assert taken.keys() == {f"08-answered-{theme}-{size.width()}.png" for theme in THEMES for size in SIZES}
    for theme, colors in THEMES.items():
        for size in SIZES:
            picture = taken[f"08-answered-{theme}-{size.width()}.png"]
            assert picture.size() == size
            assert num_other_pixels(picture, QColor(colors.surface)) > TEXT_PIXELS


def num_other_pixels(picture: QImage, ground: QColor) -> int:
    """Of every second pixel of the document's pane, those that have not the ground's colour."""
    pane = picture.copy(picture.width() * 2 // 3, 100, picture.width() // 4, picture.height() // 2)
    places = (QPoint(x, y) for x in range(0, pane.width(), 2) for y in range(0, pane.height(), 2))
    return sum(pane.pixelColor(place) != ground for place in places)
