"""A document cut into sections that a model can take in whole, one after the other."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from kiv_engine.config import SECTION_TOKENS
from kiv_engine.document import TokenizedDocument


@dataclass(frozen=True)
class Section:
    """Characters [start, end) of a document's text, that are `tokens` tokens. `title`: what it begins in, or ""."""

    start: int
    end: int
    tokens: int
    title: str


def cut_sections(document: TokenizedDocument, limit: int, size: int = SECTION_TOKENS) -> Iterator[Section]:
    """The first `limit` tokens of a document in sections of at most `size` tokens, without a gap.

    A cut is made where a chapter or page begins, else behind a paragraph, else behind a line, in the last half of what
    fits; only where there is none of these, anywhere.
    """
    begin, start, limit = 0, 0, min(limit, len(document))
    while begin < limit:
        end = min(begin + size, limit)
        stop = document.char_range(begin, end)[1]
        if end < limit and (high := int(document.starts[end])) > start:  # no character is cut, whatever its tokens
            middle = document.char_range(begin, begin + (size + 1) // 2)[1]
            stop = _cut(document, min(middle, high), high)
            end = document.tokens_between(0, stop)[1]
        yield Section(start, stop, end - begin, document.document.places.at(start).section)
        begin, start = end, stop


def _cut(document: TokenizedDocument, low: int, high: int) -> int:
    """The best place for a cut in [low, high]."""
    places = document.document.places
    for track in (places.sections, places.pages):
        index = bisect_right(track.starts, high)
        if index and track.starts[index - 1] >= low:
            return track.starts[index - 1]
    for mark in ("\n\n", "\n", " "):
        if (at := document.document.text.rfind(mark, low, high)) >= 0:
            return at + len(mark)
    return high
