"""The ways to keep a chat's documents, with their bytes: one click takes another."""

from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QButtonGroup, QLabel, QPushButton, QWidget

from app.figures import as_bytes
from app.reports import StoreOffer
from app.settings import StoreKind
from app.views.flow import FlowLayout
from app.views.theme import GAP


class StoreChoice(QWidget):
    """A button for each offer; the one in use is checked. Hidden where there are none.

    Signals:
        chosen: another kind is wanted, as in StoreKind.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[StoreKind, QPushButton] = {}
        self._group = QButtonGroup(self)
        self._layout = FlowLayout()
        caption = QLabel(self.tr("Kept in"))
        caption.setObjectName("muted")
        caption.setContentsMargins(0, GAP // 2, 0, GAP // 2)
        self._layout.addWidget(caption)
        self.setLayout(self._layout)
        self.hide()

    def show_offers(self, offers: Sequence[StoreOffer], used: StoreKind) -> None:
        """Show what can be chosen; what does not fit cannot."""
        self.setVisible(bool(offers))
        for offer in offers:
            button = self._button(offer.kind)
            button.setText(f"{self._name(offer.kind)} · {as_bytes(offer.disk_bytes or offer.ram_bytes)}")
            button.setChecked(offer.kind == used)
            button.setEnabled(offer.fits or offer.kind == used)
            button.setToolTip(self._explained(offer))
            button.setAccessibleName(self.tr("Keep the documents in {0}").format(button.text()))

    def _button(self, kind: StoreKind) -> QPushButton:
        if kind not in self.buttons:
            button = QPushButton(self)
            button.setCheckable(True)
            button.setObjectName("small")
            button.setProperty("kind", kind)
            button.clicked.connect(self._on_clicked)
            self._group.addButton(button)
            self._layout.addWidget(button)
            self.buttons[kind] = button
        return self.buttons[kind]

    def _name(self, kind: StoreKind) -> str:
        names: dict[StoreKind, str] = {
            "ram": self.tr("RAM"),
            "int8": self.tr("RAM, 8 bit"),
            "disk": self.tr("Disk"),
        }
        return names[kind]

    def _explained(self, offer: StoreOffer) -> str:
        lines: dict[StoreKind, str] = {
            "ram": self.tr("In RAM, in full. The fastest."),
            "int8": self.tr("In RAM, in 8 bit: less room, and a little less exact."),
            "disk": self.tr("In files: answers take longer. {0} of RAM for the search.").format(
                as_bytes(offer.ram_bytes)
            ),
        }
        again = self.tr("Another choice reads the documents again.")
        return f"{lines[offer.kind]} {again if offer.fits else self.tr('It does not fit this PC now.')}"

    @Slot()
    def _on_clicked(self) -> None:
        self.chosen.emit(str(self.sender().property("kind")))
