"""What stands in the document's pane while there is no text: where it will be, or that it is to be opened again."""

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from app.models.chat import Chat, ReadingState
from app.models.chat_list import ChatList
from app.views.theme import GAP


class NoText(QWidget):
    """A chat from before has its documents, but not in memory: here, too, one click opens them.

    Signals:
        read_again_wanted: the button.
    """

    read_again_wanted = Signal()

    def __init__(self, chats: ChatList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chats = chats
        self._chat: Chat | None = None
        self.words = QLabel()
        self.words.setObjectName("muted")
        self.words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.words.setWordWrap(True)
        self.again = QPushButton(self.tr("Open now"))
        self.again.setObjectName("small")
        self.again.setAccessibleName(self.tr("Open the documents, to see their text"))
        self.again.clicked.connect(self.read_again_wanted)
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * GAP, 0, 2 * GAP, 0)
        column.setSpacing(GAP)
        column.addStretch()
        column.addWidget(self.words)
        column.addWidget(self.again, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch()
        chats.current_changed.connect(self._on_current_changed)
        self._on_current_changed()

    @Slot()
    def _on_current_changed(self) -> None:
        if self._chat is not None:
            self._chat.reading_changed.disconnect(self._on_reading_changed)
        self._chat = self._chats.current
        self._chat.reading_changed.connect(self._on_reading_changed)
        self._on_reading_changed()

    @Slot()
    def _on_reading_changed(self) -> None:
        reading = self._chats.current.reading
        is_closed = reading.state is ReadingState.CLOSED
        here, closed = (
            self.tr("The text of the document\nappears here"),
            self.tr("Not in memory; opened with your next question"),
        )
        self.words.setText((reading.message or closed) if is_closed else here)
        self.again.setVisible(is_closed)
