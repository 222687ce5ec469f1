"""What a question has below it: the way between its branches, and the editor that makes a new one."""

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.views.composer import QuestionEdit, show_active
from app.views.icons import IconButton
from app.views.theme import GAP, Theme


class BranchSwitcher(QWidget):
    """Like: ‹ 2 of 3 ›. Hidden where there is only one branch.

    Signals:
        step_wanted: 1 for the next branch, -1 for the one before.
    """

    step_wanted = Signal(int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.before = IconButton(theme, "left", self.tr("Previous branch"), size=16)
        self.after = IconButton(theme, "right", self.tr("Next branch"), size=16)
        self.place = QLabel()
        self.place.setObjectName("caption")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        for widget in (self.before, self.place, self.after):
            row.addWidget(widget)
        self.before.clicked.connect(self._on_before)
        self.after.clicked.connect(self._on_after)
        self.hide()

    def set_place(self, place: int, count: int) -> None:
        """Tell which of how many branches is shown."""
        self.place.setText(self.tr("{0} of {1}").format(place + 1, count))
        self.setVisible(count > 1)

    @Slot()
    def _on_before(self) -> None:
        self.step_wanted.emit(-1)

    @Slot()
    def _on_after(self) -> None:
        self.step_wanted.emit(1)


class QuestionEditor(QFrame):
    """Changes a question in place. Enter asks, Esc leaves it.

    Signals:
        edited: what to ask.
        cancelled: nothing.
    """

    edited = Signal(str)
    cancelled = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("composer")
        self.edit = QuestionEdit(takes_escape=True)
        self.edit.setAccessibleName(self.tr("Edit the question"))
        self.ask = QPushButton(self.tr("Ask"))
        self.ask.setObjectName("smallprimary")
        self.ask.setAccessibleName(self.tr("Ask this instead"))
        self.cancel = QPushButton(self.tr("Cancel"))
        self.cancel.setObjectName("small")
        self.cancel.setAccessibleName(self.tr("Leave the question as it is"))
        buttons = QHBoxLayout()
        buttons.setSpacing(GAP)
        buttons.addStretch(1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.ask)
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * GAP, GAP + GAP // 2, GAP + GAP // 2, GAP)
        column.setSpacing(GAP)
        column.addWidget(self.edit)
        column.addLayout(buttons)
        self.edit.entered.connect(self._on_ask)
        self.edit.focus_changed.connect(self._on_focus_changed)
        self.ask.clicked.connect(self._on_ask)
        self.cancel.clicked.connect(self.cancelled)
        self.edit.left.connect(self.cancelled)
        self.hide()

    def open(self, question: str) -> None:
        """Begin with the question as it is."""
        self.edit.setPlainText(question)
        self.edit.selectAll()
        self.edit.setFocus()

    @Slot(bool)
    def _on_focus_changed(self, active: bool) -> None:
        show_active(self, active)

    @Slot()
    def _on_ask(self) -> None:
        if text := self.edit.toPlainText().strip():
            self.edited.emit(text)
