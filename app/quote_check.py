"""Which quotes and numbers of an answer stand in the documents, character by character. Plain text search, no model."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.code_fences import code_spans
from kiv_engine.stopping import ShouldStop, never

MAX_CLAIMS: Final = 12
NO_BLOCK: Final = (sys.maxsize, sys.maxsize)
"""Where the next block of code is when there is none."""
MIN_QUOTE: Final = 3
"""Shorter texts in quotation marks are no quotes."""

_QUOTED: Final = re.compile(r"“([^“”]+)”|«([^«»]+)»|„([^„“]+)“|\"([^\"]+)\"")
"""No mark that opens is in what it opens: else each of many that nothing closes would be followed to the end."""
_SAID: Final = re.compile(r"\bThe document (?:says:|goes on:|says(?!\s+(?:nothing|that)\b))\s+([^\n]+)")
"""How the built-in model begins what it quotes."""
_BLOCK: Final = re.compile(r"^[ \t]*>[ \t>]*(?![-–—#*+>\s]|\d+[.)]\s)([^\n]+)", re.MULTILINE)
"""A line of a quote as Markdown sets it; none that says who said it, and no list."""
_NUMBER: Final = re.compile(r"(?<![\w.,])(?:[-+]|(?:[A-Z]+-){1,8})?\d+(?:[.,:/]\d+)*(?:\s?%)?(?!\w)")
"""With the letters before it that make it a code, like LX-7900; not with any number of them, which would be tried from
each place of an answer that goes round in circles ("A-A-A-")."""
_LISTED: Final = re.compile(r"^[ \t>#*_]*\d+[.)](?=[ \t*_])", re.MULTILINE)
"""The number of an item in a list, or of a heading: it says nothing."""


@dataclass(frozen=True)
class Place:
    """Characters [start, end) of a document, which is given by its number."""

    document: int
    start: int
    end: int


@dataclass(frozen=True)
class Claim:
    """A quote or a number of an answer.

    Attributes:
        start, end: where it stands in the answer.
        place: where the documents say the same; None if they do not.
    """

    text: str
    start: int
    end: int
    place: Place | None


def check_claims(
    answer: str, texts: Sequence[str], likely: Sequence[Place] = (), should_stop: ShouldStop = never
) -> tuple[Claim, ...]:
    """The first claims of an answer, in order, without those in blocks of code.

    What stands in a `likely` place is looked up there first.
    """
    claims: list[Claim] = []
    for start, end in _outside(code_spans(answer), sorted(_claims(answer), key=lambda span: (span[0], -span[1]))):
        text = answer[start:end]
        inside_found = any(claim.place and claim.start <= start and end <= claim.end for claim in claims)
        if inside_found or any(claim.text == text for claim in claims):
            continue
        if len(claims) == MAX_CLAIMS or should_stop():
            break
        claims.append(Claim(text, start, end, _find(text, texts, likely)))
    return tuple(claims)


def _outside(code: Iterable[tuple[int, int]], spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans that do not begin in code; both come in order of where they begin, and each is passed once."""
    blocks = iter(code)
    first, last = next(blocks, NO_BLOCK)
    for start, end in spans:
        while last <= start:
            first, last = next(blocks, NO_BLOCK)
        if start < first:
            yield start, end


def _claims(answer: str) -> Iterator[tuple[int, int]]:
    """Where quotes stand in an answer, and then where numbers do."""
    for found in _QUOTED.finditer(answer):
        group = next(number for number in range(1, 5) if found[number] is not None)
        if len(found[group].strip()) >= MIN_QUOTE:
            yield _trimmed(answer, *found.span(group))
    for found in (*_SAID.finditer(answer), *_BLOCK.finditer(answer)):
        if not _QUOTED.search(found[1]):
            yield _trimmed(answer, *found.span(1))
    listed = {found.end() - 1 for found in _LISTED.finditer(answer)}
    for found in _NUMBER.finditer(answer):
        if found.end() not in listed:
            yield found.span()


def _trimmed(answer: str, start: int, end: int) -> tuple[int, int]:
    """Without blanks around it and the full stop that ends the sentence."""
    while end > start and answer[end - 1] in " \t.,;:":
        end -= 1
    while start < end and answer[start].isspace():
        start += 1
    return start, end


def _find(text: str, texts: Sequence[str], likely: Sequence[Place]) -> Place | None:
    whole = (Place(number, 0, len(document)) for number, document in enumerate(texts))
    for place in (*likely, *whole):
        if found := _search(text, texts[place.document], place.start, place.end):
            return Place(place.document, *found)
    return None


def _search(text: str, document: str, start: int, end: int) -> tuple[int, int] | None:
    """The first place in a part of a document. By its first word: a pattern alone would try every character."""
    pattern, first = _pattern(text), text.split()[0]
    at = document.find(first, start, end)
    while at >= 0:
        if found := pattern.match(document, at, end):
            return found.span()
        at = document.find(first, at + 1, end)
    return None


def _pattern(text: str) -> re.Pattern[str]:
    """The text as it is; a line may break at its blanks, and it is no part of a longer word or number."""
    words = r"\s+".join(map(re.escape, text.split()))
    before = r"(?<!\w)(?<!\d[.,])" if text[0].isalnum() else ""
    after = r"(?!\w)(?![.,]\d)" if text[-1].isalnum() else ""
    return re.compile(f"{before}{words}{after}")
