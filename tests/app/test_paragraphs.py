"""Paragraphs begin on the side on which their script does: in the document, in a question, and in a passage's row."""

import pytest
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QPlainTextEdit
from pytestqt.qtbot import QtBot

from app.views.composer import QuestionEdit
from app.views.document_view import DocumentView
from app.views.paragraphs import direction_of
from app.views.passage_row import PassageRow
from app.views.theme import LIGHT, Theme

HEBREW, ARABIC = "האווז נספר בצהריים", "عُدَّت الإوزة عند الظهر"
LONG = "The goose was counted at noon, and again in the evening, and nobody knew why. " * 3
LEFT, RIGHT = Qt.LayoutDirection.LeftToRight, Qt.LayoutDirection.RightToLeft


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("", LEFT), ("41.", LEFT), ("“Noon”", LEFT), (f"Noon: {HEBREW}", LEFT),
        (HEBREW, RIGHT), (ARABIC, RIGHT), (f"41. «{ARABIC}» at noon", RIGHT),
    ],
)  # fmt: skip
def test_the_first_letter_that_has_a_direction_says_it(text: str, direction: Qt.LayoutDirection) -> None:
    assert direction_of(text) is direction


def lines(edit: QPlainTextEdit, number: int) -> list[tuple[float, float]]:
    """How far a paragraph's lines are from the left and the right of their room."""
    layout = edit.document().findBlockByNumber(number).layout()
    found = [layout.lineAt(line) for line in range(layout.lineCount())]
    gaps = [(line.naturalTextRect().left() - line.x(), line) for line in found]
    return [(left, line.x() + line.width() - line.naturalTextRect().right()) for left, line in gaps]


@pytest.mark.parametrize("kind", [DocumentView, QuestionEdit])
def test_each_paragraph_begins_on_its_own_side(qtbot: QtBot, kind: type[QPlainTextEdit]) -> None:
    edit = kind()
    qtbot.addWidget(edit)
    edit.resize(900, 300)  # wide enough for large letters
    edit.setPlainText("\n".join((HEBREW, "Noon.", ARABIC, LONG)))
    edit.show()
    for number, is_right in enumerate((True, False, True)):
        [(left, right)] = lines(edit, number)
        # Qt rounds widths to whole pixels, with some letters by one.
        assert (left > 100 and abs(right) < 2) if is_right else (abs(left) < 2 and right > 100)
    assert len(lines(edit, 3)) > 1
    assert all(abs(left) < 1 and right > 0 for left, right in lines(edit, 3)), "lines are not stretched"


@pytest.mark.parametrize("text", [HEBREW, ARABIC, "Noon."])
def test_a_passage_stands_on_its_side(qtbot: QtBot, qapp, text: str) -> None:
    theme = Theme(qapp, LIGHT)
    row = PassageRow(theme, 0.5, 1.0, "at 3 %", text)
    qtbot.addWidget(row)
    row.resize(600, row.sizeHint().height())
    row.show()
    area = QRect(row._text_left(), 0, row.width() - row._text_left(), row.height())
    left, right = ink(row.grab(area).toImage())
    before, behind = left, area.width() - right
    assert (before < 20 < 200 < behind) if text == "Noon." else (behind < 20 < 200 < before)


def ink(picture: QImage) -> tuple[int, int]:
    """The first and the last column that is not the ground."""
    ground = QColor(picture.pixelColor(0, 0))
    columns = [
        x for x in range(picture.width())
        if any(picture.pixelColor(x, y) != ground for y in range(picture.height()))
    ]  # fmt: skip
    return columns[0], columns[-1]
