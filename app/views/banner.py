"""One line above the conversation: what went wrong, or what was done instead."""

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from app.views.icons import IconButton, IconLabel
from app.views.theme import GAP, Theme


class Banner(QWidget):
    """Hidden until there is something to tell.

    Signals:
        restart_wanted: load the model again.
        undo_wanted: bring back what was deleted.
    """

    restart_wanted = Signal()
    undo_wanted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frame = QFrame(self)
        self._frame.setObjectName("banner")
        self._icon = IconLabel(theme, "warning")
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.restart = QPushButton(self.tr("Try again"))
        self.restart.setObjectName("small")
        self.restart.setAccessibleName(self.tr("Load the model again"))
        self.restart.clicked.connect(self._on_restart)
        self.undo = QPushButton(self.tr("Undo"))
        self.undo.setObjectName("small")
        self.undo.setAccessibleName(self.tr("Undo"))
        self.undo.clicked.connect(self._on_undo)
        self.dismiss = IconButton(theme, "close", self.tr("Dismiss"))
        self.dismiss.clicked.connect(self.hide)
        outer = QHBoxLayout(self)
        outer.setContentsMargins(0, 2 * GAP, 0, GAP)
        outer.addWidget(self._frame)
        layout = QHBoxLayout(self._frame)
        layout.setContentsMargins(2 * GAP, GAP, GAP, GAP)
        layout.setSpacing(GAP)
        layout.addWidget(self._icon)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.restart)
        layout.addWidget(self.undo)
        layout.addWidget(self.dismiss)
        self.restart.hide()
        self.hide()

    def show_line(self, text: str, *, is_error: bool, can_undo: bool = False) -> None:
        """Show a line until it is dismissed or followed by another."""
        self.undo.setVisible(can_undo)
        self.text.setText(text)
        self.setAccessibleName(text)
        self._frame.setProperty("kind", "error" if is_error else "info")
        self._icon.set_icon("warning" if is_error else "info", "danger" if is_error else "accent")
        self._frame.style().unpolish(self._frame)
        self._frame.style().polish(self._frame)
        self.show()

    def offer_restart(self, offered: bool) -> None:
        """Offer to load the model again, whatever else is told, until it is loaded: there is no other way."""
        if offered != self.restart.isHidden():
            return
        self.restart.setVisible(offered)
        self.dismiss.setVisible(not offered)
        self.setVisible(offered)

    @Slot()
    def end_undo(self) -> None:
        """Nothing can be brought back any more."""
        self.undo.hide()

    @Slot()
    def _on_restart(self) -> None:
        self.restart_wanted.emit()

    @Slot()
    def _on_undo(self) -> None:
        self.setVisible(not self.restart.isHidden())
        self.undo.hide()
        self.undo_wanted.emit()
