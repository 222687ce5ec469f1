"""Search in the questions and answers of the chat that is shown."""

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QHideEvent
from PySide6.QtWidgets import QWidget

from app.models.chat import Chat
from app.models.chat_list import ChatList
from app.views.chat_search import ChatSearch, FoundPlace
from app.views.find_bar import FindBar
from app.views.theme import Theme


class ConversationFindBar(FindBar):
    """Finds words in the conversation; what is asked and answered meanwhile is looked through, too.

    Signals:
        found_changed: mark these words, "" for none, and a FoundPlace, or None, more than all others; go there, or not.
    """

    found_changed = Signal(str, object, bool)

    def __init__(self, theme: Theme, chats: ChatList, parent: QWidget | None = None) -> None:
        super().__init__(theme, self.tr("Find in the conversation"), parent)
        self._chats = chats
        self._chat: Chat | None = None
        self._at: FoundPlace | None = None
        self._from = 0
        self._step = 0
        self._search = ChatSearch(self)
        self._search.counted.connect(self._on_all_found)

    def open_at(self, exchange: int) -> None:
        """Open it, to search from an exchange on."""
        if not self.isVisible():
            self._at, self._from = None, exchange
        self.open()
        self._begin()

    def follow(self) -> None:
        """Search in the chat that is shown now."""
        if self._chat is not None:
            self._chat.path_changed.disconnect(self._begin)
            self._chat.exchange_changed.disconnect(self._on_exchange_changed)
        self._chat = self._chats.current
        self._chat.path_changed.connect(self._begin)
        self._chat.exchange_changed.connect(self._on_exchange_changed)
        self._at, self._from = None, 0
        if self._chat.exchanges:
            self._begin()
        else:
            self.hide()

    @Slot(int)
    def _on_exchange_changed(self, exchange: int) -> None:
        if self._chats.current.all_exchanges[exchange].is_over:
            self._begin()

    @Slot()
    def _on_edited(self) -> None:
        if self._at is not None:
            self._from = self._at.exchange
        self._at = None
        self._begin()

    def _find(self, *, back: bool = False) -> None:
        self._step = -1 if back else 1
        if self._search.is_complete:
            self._on_all_found()

    @Slot()
    def _begin(self) -> None:
        """Look for the words in all that is there now."""
        if not self.isVisible():
            return
        self._step = 0
        self.found.setText("")  # where it takes no time, it is counted before this is painted
        if words := self.edit.text():
            self._search.start(words, self._chats.current.exchanges)
        else:
            self._search.stop()
            self.found_changed.emit("", None, False)

    @Slot()
    def _on_all_found(self) -> None:
        """Go to a place: the one that was shown, or the first from where the search began, or one step from there."""
        places, step, before = self._search.places, self._step, self._at
        self._step = 0
        if not places:
            self._at = None
            self.found.setText(self.tr("Not found") if self.edit.text() else "")
            self.found_changed.emit(self.edit.text(), None, False)
            return
        if self._at is not None and self._at in places:
            number = (places.index(self._at) + step) % len(places)
        else:
            number = next((each for each, place in enumerate(places) if place.exchange >= self._from), 0)
        self._at = places[number]
        self._on_counted(number + 1, len(places))
        self.found_changed.emit(self.edit.text(), self._at, bool(step) or self._at != before)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._search.stop()
        self.found_changed.emit("", None, False)
