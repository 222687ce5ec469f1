"""A document's text, and which characters each of its tokens stands for."""

import unicodedata
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, chain
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from kiv_engine.documents.opening import open_document
from kiv_engine.documents.places import Places
from kiv_engine.documents.text_builder import ParsedText
from kiv_engine.encoding import EncodedText, TextEncoder

PIECE_CHARACTERS: Final = 16 * 1024
"""Length of the longest piece that a text is tokenized in."""

_PIECES_AT_ONCE: Final = 16
"""Pieces between two steps: about 0.1 s."""

_Columns: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[np.int32]]"


@dataclass(frozen=True)
class Document:
    """A text with a name. Line ends are "\\n", and there is no byte order mark.

    Attributes:
        places: where its characters stood in the file.
    """

    name: str
    text: str
    places: Places = field(default_factory=Places, repr=False)

    @classmethod
    def from_file(cls, path: str | Path) -> "Document":
        """Read a file of any kind, a folder or a zip file; `open_document` in one go.

        Raises:
            DocumentError: it is missing, empty, damaged, protected, too large, or no document.
        """
        path = Path(path)
        steps = open_document(path)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return cls.from_parsed(path.resolve().name, stop.value)

    @classmethod
    def from_parsed(cls, name: str, parsed: ParsedText) -> "Document":
        """A text as it came from its file."""
        return cls(name, parsed.text, parsed.places)


@dataclass(frozen=True, eq=False)
class TokenizedDocument:
    """A document as tokens.

    Attributes:
        ids: int32 (tokens,).
        starts, ends: int32 (tokens,), on the CPU, never falling: token i is text[starts[i]:ends[i]]. Tokens that
            are bytes of one character all have the range of that character.
    """

    document: Document
    ids: Tensor
    starts: Tensor
    ends: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def char_range(self, token_start: int, token_end: int) -> tuple[int, int]:
        """Characters [start, end) of the document's text that the tokens [token_start, token_end) stand for."""
        if not 0 <= token_start <= token_end <= len(self):
            raise IndexError(f"tokens {token_start} to {token_end} of {len(self)}")
        if token_start == token_end:
            start = int(self.starts[token_start]) if token_start < len(self) else len(self.document.text)
            return start, start
        return int(self.starts[token_start]), int(self.ends[token_end - 1])

    def tokens_between(self, char_start: int, char_end: int) -> tuple[int, int]:
        """Tokens [start, end) that stand for at least one of the characters [char_start, char_end)."""
        if not 0 <= char_start <= char_end <= len(self.document.text):
            raise IndexError(f"characters {char_start} to {char_end} of {len(self.document.text)}")
        start = int(torch.searchsorted(self.ends, char_start, right=True))
        end = int(torch.searchsorted(self.starts, char_end))
        return start, max(start, end) if char_start < char_end else start


def tokenize(document: Document, tokenizer: PreTrainedTokenizerBase, begins_line: bool = False) -> TokenizedDocument:
    """The document's tokens; `tokenize_stepwise` in one go."""
    steps = tokenize_stepwise(document, tokenizer, begins_line)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: TokenizedDocument = stop.value
            return result


def tokenize_stepwise(
    document: Document, tokenizer: PreTrainedTokenizerBase, begins_line: bool = False
) -> Generator[int, None, TokenizedDocument]:
    """Yield the number of characters done, about every 0.1 s, and return the document's tokens.

    The text is tokenized in pieces of at most 16 Ki characters, which keeps Python's lock free and uses all cores. The
    ids are those of the pieces, one after the other. Compared with the whole text at once, only what touches a cut can
    differ: the line ends before it, or a word that it goes through. Cuts are made after the blank lines that end a
    paragraph; only where there are none for 16 Ki characters, after a line, before a space, or anywhere.
    begins_line: what stands before the document ends with a line break.
    """
    encoder = TextEncoder(tokenizer)
    pieces = list(_pieces(document.text))
    starts = list(accumulate(map(len, pieces), initial=0))
    columns: list[_Columns] = []
    begin_lines = [begins_line, *(piece.endswith("\n") for piece in pieces)]
    for first in range(0, len(pieces), _PIECES_AT_ONCE):
        group = pieces[first : first + _PIECES_AT_ONCE]
        encoded = encoder.encode_batch(group, begin_lines[first : first + len(group)])
        columns += map(_columns, encoded, starts[first:])
        yield starts[first + len(group)]
    ids, begins, ends = map(torch.from_numpy, np.concatenate(columns or [np.empty((3, 0), np.int32)], axis=1))
    return TokenizedDocument(document, ids, begins, ends)


def _columns(piece: EncodedText, start: int) -> _Columns:
    """Ids, starts and ends, int32 (3, tokens), of a piece that begins at character `start` of the text.

    One piece at a time, so that other threads get their turn between two.
    """
    offsets = np.fromiter(chain.from_iterable(piece.offsets), np.int32, count=2 * len(piece.ids))
    return np.stack((np.asarray(piece.ids, np.int32), offsets[0::2] + start, offsets[1::2] + start))


def _pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces of at most PIECE_CHARACTERS, which joined are the text."""
    start = 0
    while start < len(text):
        end = _cut(text, start)
        yield text[start:end]
        start = end


def _cut(text: str, start: int) -> int:
    """Where the piece that begins at `start` ends."""
    limit = start + PIECE_CHARACTERS
    if limit >= len(text):
        return len(text)
    for mark in ("\n\n", "\n"):
        if (found := text.rfind(mark, start, limit)) >= 0:
            return found + len(mark)
    # Tokens of words begin with their space.
    if (found := text.rfind(" ", start + 1, limit)) >= 0:
        return found
    return _before_character(text, start, limit)


def _before_character(text: str, start: int, limit: int) -> int:
    """The last place up to `limit` that does not part a letter from its accents; `limit` if there is none."""
    places = range(limit, start, -1)
    return next((place for place in places if not unicodedata.combining(text[place])), limit)
