"""Keeps what happens in the chats, brings kept chats back, and looks words up in them."""

import json
from array import array
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from PySide6.QtCore import QModelIndex, QObject, Qt, QTimer, Signal, Slot

from app.models.chat import Chat, ChatDocument, Exchange, ExchangeState, ReadingState
from app.models.chat_list import ChatList
from app.quote_check import Claim, Place
from app.reports import DocumentPlace
from app.requests import ArchiveSource, FileSource, Source, TextSource
from app.saved_chats import ChatLoaded, ChatsFound, ChatsListed, SavedChat, SavedExchange, SavingFailed
from app.settings import ChatOptions, as_json, chat_options
from kiv_engine.errors import ConfigError
from kiv_engine.events import AnswerFinished, Passage

SAVE_MS: Final = 400
"""While an answer is written, it is kept this often."""
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


class HistoryController(QObject):
    """Sees every change of a chat and has it kept a moment later.

    Signals:
        failed: why something cannot be kept, as a sentence for a person.
        deleted: a Chat was deleted, and can be brought back for a while.
    """

    failed = Signal(str)
    deleted = Signal(object)

    def __init__(self, archive: Archive, chats: ChatList, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._archive, self._chats = archive, chats
        self._dirty_chats: set[Chat] = set()
        self._dirty_exchanges: set[tuple[Chat, int]] = set()
        self._deleted: Chat | None = None
        self._save_timer = QTimer(self, singleShot=True, interval=SAVE_MS)
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
        chat.exchange_changed.connect(self._on_exchange_changed, Qt.ConnectionType.UniqueConnection)

    @Slot()
    def _on_chat_changed(self) -> None:
        chat = self.sender()
        assert isinstance(chat, Chat)
        self._dirty_chats.add(chat)
        self._dirty_exchanges |= {(chat, exchange.id) for exchange in chat.exchanges[-1:]}
        self._save_soon()

    @Slot(int)
    def _on_exchange_changed(self, exchange: int) -> None:
        chat = self.sender()
        assert isinstance(chat, Chat)
        self._dirty_exchanges.add((chat, exchange))
        self._save_soon()

    def _save_soon(self) -> None:
        if not self._save_timer.isActive():
            self._save_timer.start()

    @Slot()
    def save(self) -> None:
        """Have all that changed kept."""
        chats, exchanges = self._dirty_chats, self._dirty_exchanges
        self._dirty_chats, self._dirty_exchanges = set(), set()
        for chat in chats | {chat for chat, _exchange in exchanges}:
            if chat.is_loaded and not chat.is_empty and chat is not self._deleted:
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
        self.deleted.emit(chat)

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

    # -- bringing back -------------------------------------------------------------------------------------------

    @Slot()
    def _on_current_changed(self) -> None:
        if not self._chats.current.is_loaded:
            self._archive.load_chat(self._chats.current.key)

    @Slot(str)
    def search(self, words: str) -> None:
        """Show only chats in which the words stand; all for no words."""
        if words.strip():
            self._archive.search(words)
        else:
            self._chats.set_found(None)

    @Slot(object)
    def on_report(self, report: object) -> None:
        """Take what the archive's thread found."""
        match report:
            case ChatsListed(chats, problem):
                for saved in reversed(chats):
                    self._chats.insert(restored_chat(saved, self._chats))
                if problem:
                    self.failed.emit(problem)
            case ChatLoaded(key, exchanges):
                if (chat := self._chats.keyed(key)) and not chat.is_loaded:
                    restore_exchanges(chat, exchanges)
            case ChatsFound(_words, keys):
                self._chats.set_found(keys)
            case SavingFailed(_name, message):
                self.failed.emit(message)


# -- to what is kept, and back -------------------------------------------------------------------------------------


def saved_chat(chat: Chat) -> SavedChat:
    """What is kept of a chat, but for its exchanges."""
    documents = [saved_document(document) for document in chat.documents if document.source is not None]
    path = tuple(exchange.id for exchange in chat.exchanges)
    return SavedChat(chat.key, chat.title, chat.pinned, chat.changed, as_json(chat.options), documents, path)


def saved_document(document: ChatDocument) -> dict[str, Any]:
    """Where a document is from; of what was pasted, the text itself."""
    place = [document.place.start, document.place.tokens] if document.place else None
    match document.source:
        case FileSource(path):
            return {"file": str(path), "place": place}
        case ArchiveSource(tokens):
            return {"archive": tokens, "place": place}
        case TextSource(name, text):
            return {"name": name, "text": text, "place": place}
        case None:
            raise AssertionError(document)


def restored_document(saved: Any) -> ChatDocument:
    """The document that `saved_document` kept."""
    source: Source
    if "file" in saved:
        source = FileSource(Path(saved["file"]))
    elif "archive" in saved:
        source = ArchiveSource(int(saved["archive"]))
    else:
        source = TextSource(saved["name"], saved["text"])
    place = DocumentPlace(*saved["place"]) if saved.get("place") else None
    return ChatDocument(source.name, source, None, place)


def restored_chat(saved: SavedChat, parent: QObject) -> Chat:
    """A chat as it was kept, without its exchanges: they are loaded when it is shown."""
    chat = Chat(0, parent)
    chat.key, chat.title, chat.pinned, chat.changed = saved.key, saved.title, saved.pinned, saved.changed
    chat.saved_path = saved.path
    chat.is_loaded = False
    try:
        chat.options = chat_options(saved.options)
        chat.documents = [restored_document(document) for document in saved.documents]
    except (ConfigError, TypeError, KeyError, ValueError, AttributeError):
        chat.options = ChatOptions()  # written by a newer version, or damaged: what was said is still there
    if chat.documents:
        chat.reading.state = ReadingState.CLOSED
        chat.reading.tokens_total = sum(document.place.tokens for document in chat.documents if document.place)
    return chat


def saved_exchange(exchange: Exchange) -> SavedExchange:
    """What is kept of an exchange: all but the hits of single words."""
    finished = json.dumps(asdict(exchange.finished)) if exchange.finished else None
    heat = array("f", exchange.evidence.heat).tobytes() if exchange.evidence.heat else None
    return SavedExchange(
        exchange.id,
        exchange.parent.id if exchange.parent else None,
        exchange.question,
        exchange.answer,
        exchange.state.value,
        exchange.message,
        finished,
        json.dumps([asdict(claim) for claim in exchange.claims]),
        heat,
    )


def restore_exchanges(chat: Chat, saved: tuple[SavedExchange, ...]) -> None:
    """Give a chat back what was said in it."""
    for each in saved:
        above = chat.all_exchanges.get(each.parent) if each.parent is not None else None
        exchange = Exchange(each.id, each.question, above, answer=each.answer, message=each.message)
        exchange.state = ExchangeState(each.state)
        if not exchange.is_over:
            exchange.state = ExchangeState.FAILED
            exchange.message = chat.tr("the app was closed before the answer was finished")
        exchange.finished = restored_finished(each.finished)
        exchange.claims = tuple(restored_claim(claim) for claim in json.loads(each.claims))
        if each.heat:
            heat = array("f")
            heat.frombytes(each.heat)
            exchange.evidence.heat = tuple(heat)
        chat.all_exchanges[each.id] = exchange
        (above or chat.root).children.append(exchange)
    chat.finish_restoring()


def restored_finished(text: str | None) -> AnswerFinished | None:
    """The figures and passages of an answer."""
    if text is None:
        return None
    data = json.loads(text)
    return AnswerFinished(**data | {"passages": tuple(Passage(**passage) for passage in data["passages"])})


def restored_claim(data: Any) -> Claim:
    """A quote or number with its place."""
    return Claim(**data | {"place": Place(**data["place"]) if data["place"] else None})
