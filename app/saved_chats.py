"""Chats as they are kept on disk, and what the disk's thread reports: frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Name: TypeAlias = tuple[object, ...]
"""What is to be done to what: ("chat", key), ("exchange", key, id), ("remove", key), ("load", key),
("export", path), ("import", path) or ("search",)."""


@dataclass(frozen=True)
class SavedExchange:
    """A question and its answer. `finished`, `claims` and `settings` are JSON, `heat` float32 per bin."""

    id: int
    parent: int | None
    question: str
    answer: str = ""
    state: str = "waiting"
    message: str = ""
    finished: str | None = None
    claims: str = "[]"
    heat: bytes | None = field(default=None, repr=False)
    settings: str | None = None


@dataclass(frozen=True)
class SavedChat:
    """What a chat is without its exchanges. `path` are the ids that are shown, `options` and `documents` JSON values.

    None for `options` or `documents` is what could not be read; what the file has stays there.

    Attributes:
        changed: when something was last said, in seconds since 1970.
        draft: what is typed and not asked yet.
        texts: those that were pasted, by the key that `documents` has; only if they are loaded.
    """

    key: str
    title: str = ""
    pinned: bool = False
    changed: float = 0.0
    options: Any = field(default_factory=dict)
    documents: Any = field(default_factory=list)
    path: tuple[int, ...] = ()
    draft: str = ""
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ChatsFound:
    """The keys of the chats in which all words stand, in their titles or in what was said."""

    words: str
    keys: frozenset[str]


@dataclass(frozen=True)
class ChatExported:
    """A chat was written to a file of its own."""

    path: Path


@dataclass(frozen=True)
class SavingFailed:
    """Something could not be kept, loaded or found. `message` is a sentence for a person."""

    name: Name
    message: str
