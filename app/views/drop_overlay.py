"""What lies over the window while files are dragged across it."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from app.models.chat import Chat
from app.views.icons import IconLabel
from app.views.theme import GAP, Theme


class DropOverlay(QFrame):
    """Says where what is dropped will be read."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("dropoverlay")
        self.headline = QLabel()
        self.headline.setObjectName("headline")
        self.place = QLabel()
        self.place.setObjectName("muted")
        card = QFrame()
        card.setObjectName("card")
        column = QVBoxLayout(card)
        column.setContentsMargins(6 * GAP, 4 * GAP, 6 * GAP, 4 * GAP)
        column.setSpacing(GAP)
        for widget in (IconLabel(theme, "document", size=48), self.headline, self.place):
            column.addWidget(widget, 0, Qt.AlignmentFlag.AlignHCenter)
        QVBoxLayout(self).addWidget(card, 0, Qt.AlignmentFlag.AlignCenter)
        self.hide()

    def open(self, chat: Chat) -> None:
        """Show it over a chat."""
        self.headline.setText(self.tr("Drop to read"))
        self.place.setText(self._place_in(chat))
        self.show()
        self.raise_()

    def _place_in(self, chat: Chat) -> str:
        if not chat.takes_documents:
            return self.tr("In a new chat: documents come before the first question")
        if chat.documents:
            return self.tr("Behind the documents of this chat, in the same context")
        return self.tr("All of it, from beginning to end")
