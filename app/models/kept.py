"""Chats as they are kept, and back. What a newer version or a damage left is passed over, never raised.

What takes long is done on the history's thread: `listed_chat` and `loaded_chat`.
"""

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import QObject

from app.code_colours import colour_code
from app.evidence import Heat
from app.models.chat import Chat, ChatDocument, Exchange, ExchangeState, Reading, ReadingState
from app.quote_check import Claim, Place
from app.reports import DocumentPlace
from app.requests import ArchiveSource, FileSource, Source, TextSource
from app.saved_chats import SavedChat, SavedExchange
from app.settings import AnswerSettings, ChatOptions, answer_settings, as_json, chat_options, from_json
from kiv_engine.errors import ConfigError
from kiv_engine.events import AnswerFinished, Passage

UNREADABLE: Final = (ConfigError, TypeError, KeyError, ValueError, AttributeError)


@dataclass(frozen=True)
class ListedChat:
    """A chat without its exchanges. `is_whole`: its options and documents could be read."""

    saved: SavedChat
    options: ChatOptions
    documents: tuple[ChatDocument, ...]
    is_whole: bool


@dataclass(frozen=True)
class ChatsListed:
    """All chats. `problem` says what was wrong with the file, if something was."""

    chats: tuple[ListedChat, ...]
    problem: str = ""


@dataclass(frozen=True)
class ChatImported:
    """A chat came from a file of its own, and is kept with the others."""

    chat: ListedChat


@dataclass(frozen=True)
class ChatLoaded:
    """The exchanges of a chat, in order of their ids, and its pasted texts by key."""

    key: str
    exchanges: tuple[Exchange, ...]
    texts: Mapping[str, str]


# -- to what is kept -----------------------------------------------------------------------------------------------


def saved_chat(chat: Chat) -> SavedChat:
    """What is kept of a chat, but for its exchanges."""
    sources = [document.source for document in chat.documents if chat.is_loaded]
    return SavedChat(
        chat.key,
        chat.title,
        chat.pinned,
        chat.changed,
        as_json(chat.options) if chat.is_whole else None,
        [saved_document(document) for document in chat.documents if document.source] if chat.is_whole else None,
        tuple(exchange.id for exchange in chat.exchanges) if chat.is_loaded else chat.saved_path,
        chat.draft,
        {source.key: source.text for source in sources if isinstance(source, TextSource)},
    )


def saved_document(document: ChatDocument) -> dict[str, Any]:
    """Where a document is from; of what was pasted, the key of its text."""
    place = [document.place.start, document.place.tokens] if document.place else None
    match document.source:
        case FileSource(path, stamp):
            return {"file": str(path), "stamp": stamp, "place": place}
        case ArchiveSource(tokens):
            return {"archive": tokens, "place": place}
        case TextSource(name, _text, key):
            return {"name": name, "pasted": key, "place": place}
        case None:
            raise AssertionError(document)


def saved_exchange(exchange: Exchange) -> SavedExchange:
    """What is kept of an exchange: all but the hits of single words."""
    return SavedExchange(
        exchange.id,
        exchange.parent.id if exchange.parent else None,
        exchange.question,
        exchange.answer,
        exchange.state.value,
        exchange.message,
        json.dumps(asdict(exchange.finished)) if exchange.finished else None,
        json.dumps([asdict(claim) for claim in exchange.claims]),
        exchange.evidence.heat.tobytes() if exchange.evidence.heat else None,
        json.dumps(as_json(exchange.settings)) if exchange.settings else None,
    )


# -- and back ------------------------------------------------------------------------------------------------------


def listed_chat(saved: SavedChat) -> ListedChat:
    """What is to be known of a chat before it is shown."""
    try:
        documents = tuple(_document(document) for document in saved.documents)
        return ListedChat(saved, chat_options(saved.options), documents, is_whole=True)
    except UNREADABLE:
        return ListedChat(saved, ChatOptions(), (), is_whole=False)  # what was said is still there


def _document(saved: Any) -> ChatDocument:
    source: Source
    if "file" in saved:
        modified, size = saved.get("stamp") or (0, 0)
        source = FileSource(Path(saved["file"]), (int(modified), int(size)) if modified else None)
    elif "archive" in saved:
        source = ArchiveSource(int(saved["archive"]))
    else:
        source = TextSource(saved["name"], "", saved["pasted"])
    place = DocumentPlace(*saved["place"]) if saved.get("place") else None
    return ChatDocument(source.name, source, None, place)


def restored_chat(listed: ListedChat, parent: QObject) -> Chat:
    """A chat without its exchanges: they are loaded when it is shown."""
    chat, saved = Chat(0, parent), listed.saved
    chat.key, chat.title, chat.pinned, chat.changed = saved.key, saved.title, saved.pinned, saved.changed
    chat.saved_path, chat.draft = saved.path, saved.draft
    chat.is_loaded, chat.is_whole = False, listed.is_whole
    chat.options, chat.documents = listed.options, list(listed.documents)
    if chat.documents:
        tokens = sum(document.place.tokens for document in chat.documents if document.place)
        chat.reading = Reading(ReadingState.CLOSED, tokens_total=tokens, again=True)
    return chat


def loaded_chat(key: str, saved: Sequence[SavedExchange], texts: Mapping[str, str]) -> ChatLoaded:
    """What was said in a chat, as a tree."""
    exchanges: dict[int, Exchange] = {}
    for each in saved:
        above = exchanges.get(each.parent) if each.parent is not None else None
        exchange = Exchange(each.id, each.question, above, answer=each.answer, message=each.message)
        exchange.state = _state(each.state)
        exchange.finished, exchange.claims = _finished(each.finished), _claims(each.claims)
        exchange.evidence.heat, exchange.settings = _heat(each.heat), settings_of(each.settings)
        exchange.code = colour_code(each.answer)
        exchanges[each.id] = exchange
        if above is not None:
            above.children.append(exchange)
    return ChatLoaded(key, tuple(exchanges.values()), texts)


def _state(text: str) -> ExchangeState:
    try:
        return ExchangeState(text)
    except ValueError:
        return ExchangeState.FAILED


def _finished(text: str | None) -> AnswerFinished | None:
    """The figures and passages of an answer."""
    try:
        data = json.loads(text or "null")
        passages = tuple(from_json(Passage, passage) for passage in data["passages"])
        return from_json(AnswerFinished, data, passages=passages)
    except UNREADABLE:
        return None


def settings_of(text: str | None) -> AnswerSettings | None:
    """What an answer was made with; None where that is not known."""
    try:
        return answer_settings(json.loads(text or "null"))
    except UNREADABLE:
        return None


def _claims(text: str) -> tuple[Claim, ...]:
    try:
        return tuple(_claim(claim) for claim in json.loads(text))
    except UNREADABLE:
        return ()


def _claim(data: Any) -> Claim:
    return from_json(Claim, data, place=from_json(Place, data["place"]) if data["place"] else None)


def _heat(data: bytes | None) -> Heat:
    heat = array("f")
    try:
        heat.frombytes(data or b"")
    except UNREADABLE:
        return array("f")
    return heat
