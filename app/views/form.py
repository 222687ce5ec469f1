"""Rows of a dialog: a caption, a control, and a line that says what it does and costs."""

from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QGridLayout, QLabel, QLineEdit, QSizePolicy, QWidget

from app.views.theme import GAP

CONTROL_WIDTH: Final = 190


class Form(QWidget):
    """Captions on the left, controls on the right, a line in small letters below each pair."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(2 * GAP)
        self._grid.setVerticalSpacing(GAP // 2)
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnMinimumWidth(1, CONTROL_WIDTH)

    def add(self, caption: str, control: QWidget, explanation: str = "", *, wide: bool = False) -> QLabel:
        """Add a row; its line, which may change. A wide control stands below its caption."""
        row = self._grid.rowCount()
        label, line = QLabel(caption), QLabel(explanation)
        label.setBuddy(control)
        label.setWordWrap(True)
        line.setObjectName("caption")
        line.setWordWrap(True)
        line.setTextFormat(Qt.TextFormat.PlainText)
        for each in (control, *control.findChildren(QLineEdit)):  # a spin box has one inside
            each.setAccessibleName(caption)
        control.setAccessibleDescription(explanation)
        self._grid.addWidget(label, row, 0, 1, 2 if wide else 1)
        if wide:
            self._grid.addWidget(control, row + 1, 0, 1, 2)
        else:
            if not isinstance(control, QComboBox):  # only its names may widen the column, where letters are large
                control.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            self._grid.addWidget(control, row, 1)
        self._grid.addWidget(line, row + 2, 0, 1, 2)
        self._grid.setRowMinimumHeight(row + 3, 2 * GAP)
        line.setVisible(bool(explanation))
        return line

    def end(self) -> None:
        """All rows are there; what room is left is below them."""
        self._grid.setRowStretch(self._grid.rowCount(), 1)


def heading(text: str) -> QLabel:
    """The title of a part of a dialog."""
    label = QLabel(text)
    label.setObjectName("part")
    return label
