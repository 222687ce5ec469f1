"""The quote check below an answer: a tick and a way there for what stands in the document, a mark for what does not."""

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QIcon, QPaintEvent
from PySide6.QtWidgets import (
    QLabel,
    QPushButton,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)

from app.quote_check import Claim
from app.views.flow import FlowLayout
from app.views.icons import pixmap
from app.views.theme import GAP, Theme

SHOWN_CHARACTERS = 160
CLAIM_PIXELS = 14


class ClaimButton(QPushButton):
    """A quote, and what is said of it, which stays whole: where there is no room for both, the quote is cut short."""

    def __init__(self, quote: str, said: str, parent: QWidget | None = None) -> None:
        super().__init__(escaped(quote + said), parent)
        self._quote, self._said = quote, said

    def shown(self, width: int) -> str:
        """What stands on a button of a width."""
        metrics = self.fontMetrics()
        lacks = self.sizeHint().width() - width
        if lacks <= 0:
            return self._quote + self._said
        room = max(metrics.horizontalAdvance(self._quote) - lacks, metrics.horizontalAdvance("…"))
        return metrics.elidedText(self._quote, Qt.TextElideMode.ElideRight, room) + self._said

    def paintEvent(self, _event: QPaintEvent) -> None:
        option, painter = QStyleOptionButton(), QStylePainter(self)
        self.initStyleOption(option)
        option.text = escaped(self.shown(self.width()))
        painter.drawControl(QStyle.ControlElement.CE_PushButton, option)
        painter.end()


class ClaimsView(QWidget):
    """One button for each quote and number; those that are not found only say so.

    Signals:
        claim_chosen: number of a claim that stands in the document.
    """

    claim_chosen = Signal(int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._claims: tuple[Claim, ...] = ()
        self.buttons: list[ClaimButton] = []
        self._flow = FlowLayout()
        caption = QLabel(self.tr("Quotes and numbers, looked up in the document"))
        caption.setObjectName("caption")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, GAP, 0, 0)
        column.setSpacing(GAP)
        column.addWidget(caption)
        column.addLayout(self._flow)
        theme.changed.connect(self._draw_icons)
        self.hide()

    def set_claims(self, claims: tuple[Claim, ...]) -> None:
        """Show what was looked up; nothing if there is nothing."""
        if claims == self._claims:
            return
        for button in self.buttons:
            self._flow.removeWidget(button)
            button.deleteLater()
        self._claims = claims
        self.buttons = [self._button(number, claim) for number, claim in enumerate(claims)]
        for button in self.buttons:
            self._flow.addWidget(button)
        self._draw_icons()
        self.setVisible(bool(claims))

    def _button(self, number: int, claim: Claim) -> ClaimButton:
        text = " ".join(claim.text.split())
        short = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
        found = claim.place is not None
        missing = self.tr("not found in the document")
        button = ClaimButton(short, "" if found else f" · {missing}", self)
        button.setObjectName("found" if found else "notfound")
        button.setProperty("number", number)
        button.setCheckable(found)
        button.setAccessibleName(
            self.tr("{0} stands in the document; go there").format(text) if found else f"{text}: {missing}"
        )
        button.setToolTip(self.tr("Stands in the document like this; show it there") if found else missing)
        if found:
            button.setCursor(Qt.CursorShape.PointingHandCursor)
            button.clicked.connect(self._on_clicked)
        return button

    def set_chosen(self, chosen: int | None) -> None:
        """Press one of the buttons."""
        for number, button in enumerate(self.buttons):
            button.setChecked(number == chosen)

    @Slot()
    def _on_clicked(self) -> None:
        self.claim_chosen.emit(self.sender().property("number"))

    @Slot()
    def _draw_icons(self) -> None:
        colors = self._theme.colors
        for button, claim in zip(self.buttons, self._claims, strict=True):
            name, color = ("check", colors.good) if claim.place else ("question", colors.muted)
            button.setIcon(QIcon(pixmap(name, color, CLAIM_PIXELS, self._theme.scale)))
            button.setIconSize(QSize(CLAIM_PIXELS, CLAIM_PIXELS))


def escaped(text: str) -> str:
    """For a button, on which an ampersand marks a key."""
    return text.replace("&", "&&")
