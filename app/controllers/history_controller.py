"""Keeps what happens in the chats, brings kept chats back, and looks words up in them."""

from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from PySide6.QtCore import QModelIndex, QObject, Qt, QTimer, Signal, Slot

from app.models.chat import Chat
from app.models.chat_list import ChatList
from app.models.kept import ChatImported, ChatLoaded, ChatsListed, restored_chat, saved_chat, saved_exchange
from app.saved_chats import ChatExported, ChatsFound, Name, SavedChat, SavedExchange, SavingFailed

SAVE_MS: Final = 400
"""While an answer is written, it is kept this often."""
RETRY_MS: Final = 20_000
"""What could not be kept is tried again after so long."""
UNDO_MS: Final = 10_000
"""So long a chat that was deleted can be brought back."""


class Archive(Protocol):
    """Where chats are kept."""

    def save_chat(self, chat: SavedChat) -> None: ...
    def save_exchange(self, key: str, exchange: SavedExchange) -> None: ...
    def remove_exchange(self, key: str, exchange_id: int) -> None: ...
    def remove_chat(self, key: str) -> None: ...
    def load_chat(self, key: str) -> None: ...
    def search(self, words: str) -> None: ...
    def export(self, path: Path, chat: SavedChat) -> None: ...
    def import_chat(self, path: Path) -> None: ...


class HistoryController(QObject):
    """Sees every change of a chat and has it kept a moment later.

    Signals:
        failed: why something cannot be kept, as a sentence for a person.
        told: what was done, as a sentence for a person.
        undo_over: the chat that was deleted last cannot be brought back any more.
    """

    failed = Signal(str)
    told = Signal(str)
    undo_over = Signal()

    def __init__(self, archive: Archive, chats: ChatList, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._archive, self._chats = archive, chats
        self._dirty_chats: set[Chat] = set()
        self._dirty_exchanges: set[tuple[Chat, int]] = set()
        self._deleted: Chat | None = None
        self._words = ""
        self._save_timer = QTimer(self, singleShot=True)
        self._save_timer.timeout.connect(self.save)
        self._undo_timer = QTimer(self, singleShot=True, interval=UNDO_MS)
        self._undo_timer.timeout.connect(self.forget_deleted)
        chats.rowsInserted.connect(self._on_rows_inserted)
        chats.current_changed.connect(self._on_current_changed)
        for row in range(chats.rowCount()):
            self._follow(chats.at(row))

    # -- keeping -------------------------------------------------------------------------------------------------

    @Slot(QModelIndex, int, int)
    def _on_rows_inserted(self, _parent: QModelIndex, first: int, last: int) -> None:
        for row in range(first, last + 1):
            self._follow(self._chats.at(row))

    def _follow(self, chat: Chat) -> None:
        for signal in (chat.titled, chat.documents_changed, chat.options_changed, chat.path_changed):
            signal.connect(self._on_chat_changed, Qt.ConnectionType.UniqueConnection)
        chat.draft_changed.connect(self._on_draft_changed, Qt.ConnectionType.UniqueConnection)
        for signal in (chat.exchange_changed, chat.exchange_removed):
            signal.connect(self._on_exchange_changed, Qt.ConnectionType.UniqueConnection)

    @Slot()
    def _on_chat_changed(self) -> None:
        chat = self.sender()
        assert isinstance(chat, Chat)
        self._dirty_chats.add(chat)
        self._dirty_exchanges |= {(chat, exchange.id) for exchange in chat.exchanges[-1:]}
        self._save_soon()

    @Slot()
    def _on_draft_changed(self) -> None:
        chat = self.sender()
        assert isinstance(chat, Chat)
        self._dirty_chats.add(chat)
        self._save_soon()

    @Slot(int)
    def _on_exchange_changed(self, exchange: int) -> None:
        chat = self.sender()
        assert isinstance(chat, Chat)
        self._dirty_exchanges.add((chat, exchange))
        self._save_soon()

    def _save_soon(self) -> None:
        if not self._save_timer.isActive():
            self._save_timer.start(SAVE_MS)

    @Slot()
    def save(self) -> None:
        """Have all that changed kept."""
        chats, exchanges = self._dirty_chats, self._dirty_exchanges
        self._dirty_chats, self._dirty_exchanges = set(), set()
        for chat in chats | {chat for chat, _exchange in exchanges}:
            if chat is self._deleted:
                continue
            if chat.is_empty and not chat.draft.strip():  # what it was about could not be read
                self._archive.remove_chat(chat.key)
            else:
                self._archive.save_chat(saved_chat(chat))
        for chat, number in sorted(exchanges, key=lambda pair: pair[1]):
            if not chat.is_loaded or chat is self._deleted:
                continue
            exchange = chat.all_exchanges.get(number)
            if exchange is not None and exchange in chat.siblings(exchange):
                self._archive.save_exchange(chat.key, saved_exchange(exchange))
            else:
                self._archive.remove_exchange(chat.key, number)

    def close(self) -> None:
        """Keep what changed last; what was deleted is gone for good."""
        self._save_timer.stop()
        self.save()
        self.forget_deleted()

    # -- deleting ------------------------------------------------------------------------------------------------

    def delete(self, chat: Chat) -> None:
        """Take a chat out of the list; it can be brought back until the next one is deleted, or for a while."""
        self.forget_deleted()
        self.save()
        self._deleted = chat
        self._chats.remove(chat)
        self._undo_timer.start()

    @Slot()
    def undelete(self) -> None:
        """Bring the chat back that was deleted last."""
        if self._deleted is not None:
            chat, self._deleted = self._deleted, None
            self._undo_timer.stop()
            self._chats.insert(chat)
            self._chats.show(chat)

    @Slot()
    def forget_deleted(self) -> None:
        """The time to bring it back is over."""
        self._undo_timer.stop()
        if self._deleted is not None:
            self._archive.remove_chat(self._deleted.key)
            self._deleted.deleteLater()
            self._deleted = None
            self.undo_over.emit()

    # -- bringing back -------------------------------------------------------------------------------------------

    @Slot()
    def _on_current_changed(self) -> None:
        if not self._chats.current.is_loaded:
            self._archive.load_chat(self._chats.current.key)

    @Slot(str)
    def search(self, words: str) -> None:
        """Show only chats in which the words stand; all for no words."""
        self._words = words.strip()
        if self._words:
            self._archive.search(self._words)
        else:
            self._chats.set_found(None)

    @Slot(object)
    def export(self, path: Path) -> None:
        """Write the chat that is shown to a file of its own."""
        self.save()  # the archive's thread takes the exchanges from what is kept
        self._archive.export(path, replace(saved_chat(self._chats.current), title=self._chats.current.name))

    @Slot(object)
    def import_chat(self, path: Path) -> None:
        """Keep and show a chat that was exported as JSON."""
        self._archive.import_chat(path)

    @Slot(object)
    def on_report(self, report: object) -> None:
        """Take what the archive's thread found."""
        match report:
            case ChatsListed(chats, problem):
                self._chats.insert_all([restored_chat(listed, self._chats) for listed in chats])
                if problem:
                    self.failed.emit(problem)
            case ChatLoaded(key):
                if (chat := self._chats.keyed(key)) and not chat.is_loaded:
                    self._restore(chat, report)
            case ChatsFound(words, keys):
                if words == self._words:
                    self._chats.set_found(keys)
            case ChatExported(path):
                self.told.emit(self.tr("The chat was written to {0}.").format(path))
            case ChatImported(listed):
                chat = restored_chat(listed, self._chats)
                self._chats.insert(chat)
                self._chats.show(chat)
            case SavingFailed(name, message):
                self._try_again_later(name)
                self.failed.emit(message)

    def _try_again_later(self, name: Name) -> None:
        """What could not be kept has changed still."""
        match name:
            case ("chat", str(key)) if chat := self._chats.keyed(key):
                self._dirty_chats.add(chat)
                self._save_timer.start(RETRY_MS)
            case ("exchange", str(key), int(number)) if chat := self._chats.keyed(key):
                self._dirty_exchanges.add((chat, number))
                self._save_timer.start(RETRY_MS)

    def _restore(self, chat: Chat, loaded: ChatLoaded) -> None:
        """Let a chat show what was said in it, which is no change of it."""
        changed = chat in self._dirty_chats
        chat.restore(loaded.exchanges, loaded.texts)
        self._dirty_exchanges = {each for each in self._dirty_exchanges if each[0] is not chat}
        if not changed:
            self._dirty_chats.discard(chat)
