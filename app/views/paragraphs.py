"""Paragraphs begin where their script does: on the right, if their first letter is a Hebrew or an Arabic one."""

import unicodedata
from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QTextDocument

EITHER_SIDE: Final = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignJustify
"""Qt takes this pair as right for a paragraph that is read from the right, and as plain left for any other; each by
itself would set all of them on the left, or stretch their lines."""


def align_by_script(document: QTextDocument) -> None:
    """Have the paragraphs of a QPlainTextEdit begin where their script does, which Qt does for rich text only."""
    option = document.defaultTextOption()
    option.setAlignment(EITHER_SIDE)
    document.setDefaultTextOption(option)


def direction_of(text: str) -> Qt.LayoutDirection:
    """From where a paragraph is read, by its first letter that says so."""
    kinds = (unicodedata.bidirectional(letter) for letter in text)
    first = next((kind for kind in kinds if kind in ("L", "R", "AL")), "L")
    return Qt.LayoutDirection.LeftToRight if first == "L" else Qt.LayoutDirection.RightToLeft
