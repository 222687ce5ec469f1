"""How one chat is answered: its system prompt, and how the next token is drawn."""

from dataclasses import replace
from typing import Any, Final

from PySide6.QtCore import QSize, Signal, Slot
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QPlainTextEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.settings import PRESETS, ChatOptions
from app.views.form import Form
from app.views.room import open_with_room
from app.views.settings_dialog import Choice, page
from app.views.theme import GAP
from kiv_engine.config import SamplingConfig

CUSTOM: Final = "custom"
MAX_ANSWER: Final = 32_768
SIZE: Final = QSize(480, 720)


class ChatDialog(QDialog):
    """Edits the options of a chat.

    Signals:
        options_chosen: the ChatOptions, and whether new chats get them too.
    """

    options_chosen = Signal(object, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("This chat"))
        open_with_room(self, SIZE)
        names = {"Precise": self.tr("Precise"), "Balanced": self.tr("Balanced"), "Creative": self.tr("Creative")}
        self.preset = Choice([*((names[name], name) for name in PRESETS), (self.tr("Custom"), CUSTOM)])
        self.temperature = decimals(0, 2, 0.05)
        self.top_p = decimals(0.05, 1, 0.05)
        self.min_p = decimals(0, 1, 0.01)
        self.penalty = decimals(0.5, 2, 0.01)
        self.length = QSpinBox(minimum=1, maximum=MAX_ANSWER, singleStep=128)
        self.length.setGroupSeparatorShown(True)
        self.system = QPlainTextEdit()
        self.system.setObjectName("field")
        self.system.setFixedHeight(84)
        self.system.setTabChangesFocus(True)
        self.system.setPlaceholderText(self.tr("Such as: answer in one sentence"))
        self._arrange()
        self.preset.chosen.connect(self._on_preset)
        numbers = (self.temperature, self.top_p, self.min_p, self.penalty)
        for box in (*numbers, self.length):  # the style sheet's padding does not reach the field inside
            box.lineEdit().setTextMargins(GAP - 2, 0, GAP - 2, 0)
        for box in numbers:
            box.valueChanged.connect(self._show_preset)

    def _arrange(self) -> None:
        tr, form = self.tr, Form()
        form.add(
            tr("Instruction for the model (system prompt)"), self.system,
            tr("The model reads it before the documents; with another one it reads them again."), wide=True,
        )  # fmt: skip
        form.add(tr("Answers"), self.preset, tr("Precise: always the same. Creative: varied, and more often wrong."))
        form.add(tr("Variety (temperature)"), self.temperature, tr("0 always takes the likeliest word."))
        form.add(
            tr("Only likely words (top p)"),
            self.top_p,
            tr("Draws from the likeliest that have this share together; 1 is off."),
        )
        form.add(
            tr("No unlikely words (min p)"),
            self.min_p,
            tr("Leaves out those less likely than this share of the likeliest; 0 is off."),
        )
        form.add(
            tr("Against repetition (penalty)"), self.penalty, tr("Above 1, what was said comes less often; 1 is off.")
        )
        form.add(tr("Longest answer, in tokens"), self.length, tr("Four tokens are about three words."))
        form.end()
        box = QDialogButtonBox()
        self.for_all = box.addButton(tr("Use for new chats too"), QDialogButtonBox.ButtonRole.ActionRole)
        self.cancel = box.addButton(tr("Cancel"), QDialogButtonBox.ButtonRole.RejectRole)
        self.accept_button = box.addButton(tr("Use"), QDialogButtonBox.ButtonRole.AcceptRole)
        self.accept_button.setObjectName("primary")
        for button in box.buttons():
            button.setAccessibleName(button.text())
        self.for_all.clicked.connect(self._on_for_all)
        box.accepted.connect(self._on_accepted)
        box.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(page(tr("This chat"), form), 1)
        box.setContentsMargins(3 * GAP, GAP, 3 * GAP, 2 * GAP)
        column.addWidget(box)

    def open_with(self, options: ChatOptions) -> None:
        """Show the dialog with a chat's options."""
        self._options = options
        self.system.setPlainText(options.system)
        self.length.setValue(options.sampling.max_new_tokens)
        self._show_sampling(options.sampling)
        self.open()

    @property
    def options(self) -> ChatOptions:
        """As they are set in the dialog; what it does not show stays."""
        values: dict[str, Any] = {
            "temperature": round(self.temperature.value(), 4), "top_p": round(self.top_p.value(), 4),
            "min_p": round(self.min_p.value(), 4), "repetition_penalty": round(self.penalty.value(), 4),
            "max_new_tokens": self.length.value(),
        }  # fmt: skip
        sampling = replace(self._options.sampling, **values)
        return replace(self._options, system=self.system.toPlainText().strip(), sampling=sampling)

    def _show_sampling(self, sampling: SamplingConfig) -> None:
        for box, value in (
            (self.temperature, sampling.temperature),
            (self.top_p, sampling.top_p),
            (self.min_p, sampling.min_p),
            (self.penalty, sampling.repetition_penalty),
        ):
            box.setValue(value)
        self._show_preset()

    @Slot()
    def _on_preset(self) -> None:
        if sampling := PRESETS.get(self.preset.currentData()):
            self._show_sampling(sampling)

    @Slot()
    def _show_preset(self) -> None:
        self.preset.show_value(self.options.preset or CUSTOM)

    @Slot()
    def _on_for_all(self) -> None:
        self.options_chosen.emit(self.options, True)
        self.accept()

    @Slot()
    def _on_accepted(self) -> None:
        self.options_chosen.emit(self.options, False)
        self.accept()


def decimals(low: float, high: float, step: float) -> QDoubleSpinBox:
    """A box for a number with two places."""
    return QDoubleSpinBox(minimum=low, maximum=high, singleStep=step, decimals=2)
