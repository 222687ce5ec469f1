"""One line above the conversation: what went wrong, or what was done instead."""

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QPaintEvent, QTextLayout
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)

from app.views.flow import FlowLayout
from app.views.icons import IconButton, IconLabel
from app.views.theme import GAP, Theme

MOST_OFFERS: Final = 3


class OfferButton(QPushButton):
    """Breaks its words into lines where there is no room for them on one."""

    def __init__(self) -> None:
        super().__init__()
        shape = QSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Minimum)
        shape.setHeightForWidth(True)
        self.setSizePolicy(shape)

    def _lines(self, width: int) -> list[str]:
        """The words as they stand on a button of a width."""
        wanted = self.sizeHint().width()
        if width >= wanted:
            return [self.text()]
        room = width - wanted + self.fontMetrics().horizontalAdvance(self.text())
        layout, lines = QTextLayout(self.text(), self.font()), []
        layout.beginLayout()
        while (line := layout.createLine()).isValid():
            line.setLineWidth(max(room, 1))
            lines.append(self.text()[line.textStart() :][: line.textLength()].strip())
        layout.endLayout()
        return lines

    def heightForWidth(self, width: int) -> int:
        return self.sizeHint().height() + (len(self._lines(width)) - 1) * self.fontMetrics().lineSpacing()

    def paintEvent(self, _event: QPaintEvent) -> None:
        option, painter = QStyleOptionButton(), QStylePainter(self)
        self.initStyleOption(option)
        option.text = "\n".join(self._lines(self.width()))
        painter.drawControl(QStyle.ControlElement.CE_PushButton, option)
        painter.end()


class Banner(QWidget):
    """Hidden until there is something to tell.

    Signals:
        restart_wanted: load the model again.
        undo_wanted: bring back what was deleted.
        offer_chosen: the place of one of the offers.
    """

    restart_wanted = Signal()
    undo_wanted = Signal()
    offer_chosen = Signal(int)

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
        self.offers = [self._offer_button(place) for place in range(MOST_OFFERS)]
        self.dismiss = IconButton(theme, "close", self.tr("Dismiss"))
        self.dismiss.clicked.connect(self.hide)
        outer = QHBoxLayout(self)
        outer.setContentsMargins(0, 2 * GAP, 0, GAP)
        outer.addWidget(self._frame)
        layout = QHBoxLayout(self._frame)
        layout.setContentsMargins(2 * GAP, GAP, GAP, GAP)
        layout.setSpacing(GAP)
        layout.addWidget(self._icon)
        layout.addLayout(self._text_and_offers(), 1)
        layout.addWidget(self.restart)
        layout.addWidget(self.undo)
        layout.addWidget(self.dismiss)
        self.restart.hide()
        self.hide()

    def _text_and_offers(self) -> QVBoxLayout:
        """Offers lie below the text: beside it they would leave it no room."""
        line = FlowLayout()
        for button in self.offers:
            line.addWidget(button)
        column = QVBoxLayout()
        column.setSpacing(GAP)
        column.addWidget(self.text)
        column.addLayout(line)
        return column

    def _offer_button(self, place: int) -> OfferButton:
        button = OfferButton()
        button.setObjectName("small" if place else "smallprimary")
        button.setAccessibleName(self.tr("Way out"))
        button.setProperty("place", place)
        button.clicked.connect(self._on_offer)
        button.hide()
        return button

    def show_line(self, text: str, *, is_error: bool, can_undo: bool = False, offers: Sequence[str] = ()) -> None:
        """Show a line, and buttons for what is offered, until it is dismissed or followed by another."""
        for place, button in enumerate(self.offers):
            button.setText(offers[place] if place < len(offers) else "")
            button.setAccessibleName(button.text() or self.tr("Way out"))
            button.setVisible(place < len(offers))
        self.undo.setVisible(can_undo)
        self.text.setText(text)
        self.setAccessibleName(text)
        self._frame.setProperty("kind", "error" if is_error else "info")
        self._icon.set_icon("warning" if is_error else "info", "danger" if is_error else "accent")
        self._frame.style().unpolish(self._frame)
        self._frame.style().polish(self._frame)
        self.show()

    def end_line(self, text: str) -> None:
        """Take a line away that is so no more, if it is still the one that is shown."""
        if self.text.text() == text and self.restart.isHidden():
            self.hide()

    @Slot()
    def end_news(self) -> None:
        """Take a line away that only tells something: whoever goes on has read it. Errors and offers stay."""
        has_button = any(not button.isHidden() for button in (*self.offers, self.undo, self.restart))
        if self._frame.property("kind") == "info" and not has_button:
            self.hide()

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
    def _on_offer(self) -> None:
        self.hide()
        self.offer_chosen.emit(self.sender().property("place"))

    @Slot()
    def _on_undo(self) -> None:
        self.setVisible(not self.restart.isHidden())
        self.undo.hide()
        self.undo_wanted.emit()
