"""A document's text cut into blocks that a text widget shows fast, and the way from its characters to those blocks."""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from app.wrapped_text import unwrap
from kiv_engine.documents.places import Places

BLOCK_CHARACTERS: Final = 10_000
"""Longer lines are cut for display: a widget lays out whole blocks, and one of a megabyte takes 400 ms. Paragraphs that
people write are shorter: they flow.
"""
UNBROKEN_CHARACTERS: Final = 2_000
"""Letters without a blank are cut sooner: no one wrote them, and breaking them takes three times as long."""

BLOCK_PAIRS: Final = 500
"""Of characters that are pairs in UTF-16, such as emoji, a block holds so many: Qt goes through all of a block each
time that a place in it is looked up, and is slow with these.
"""

_SENTENCE_END: Final = re.compile(r"""[.!?…]["'”’»)\]]*[ \t]+|[。！？][」』”]*""")

_BREAKS: Final = str.maketrans(dict.fromkeys("\n\r\u2029\ufdd0\ufdd1\x00", " "))
"""Qt would begin a new block at these; one blank each keeps every offset right."""


@dataclass(frozen=True, eq=False)
class DocumentText:
    """A document for display.

    Attributes:
        text: the document's text; all offsets are characters of it.
        folded: the same for searching: as long, in small letters.
        starts: where each block begins; its line end, if it has one, is its last character.
        places: where its characters stood in the file.
    """

    name: str
    text: str
    folded: str
    starts: "array[int]"
    places: Places = field(default_factory=Places, repr=False)

    @classmethod
    def cut(cls, name: str, text: str, places: Places | None = None) -> "DocumentText":
        """Cut at line ends, and lines beyond BLOCK_CHARACTERS where a sentence ends, or else at a blank. Wrapped prose
        flows, but in files whose lines have numbers.
        """
        places = places or Places()
        flowing = text if places.rows.starts or places.lines.starts else unwrap(text)
        return cls(name, text, fold(flowing), array("i", _starts(flowing)), places)

    @property
    def num_blocks(self) -> int:
        return len(self.starts)

    def block_at(self, offset: int) -> int:
        """The block that holds a character."""
        return max(0, bisect_right(self.starts, offset) - 1)

    def block(self, number: int) -> str:
        """A block as it is shown: without its line end."""
        end = self.starts[number + 1] if number + 1 < self.num_blocks else len(self.text)
        return self.text[self.starts[number] : end].removesuffix("\n").translate(_BREAKS)

    def shown(self, first: int, last: int) -> str:
        """Blocks [first, last) as one text for the widget."""
        return "\n".join(map(self.block, range(first, last)))

    def units_before(self, offset: int) -> int:
        """UTF-16 units, in which Qt counts, between the beginning of a character's block and the character."""
        start = self.starts[self.block_at(offset)]
        return len(self.text[start:offset].encode("utf-16-le", "surrogatepass")) // 2

    def offset_at(self, number: int, units: int) -> int:
        """The character that is so many UTF-16 units behind the beginning of a block."""
        before = self.block(number).encode("utf-16-le", "surrogatepass")[: 2 * units]
        return self.starts[number] + len(before.decode("utf-16-le", "surrogatepass"))


def fold(text: str) -> str:
    """In small letters, with plain blanks. As long as the text: \u0130 is the one letter that would grow."""
    return text.replace("\u0130", "i").replace("\xa0", " ").lower()


def _starts(text: str) -> Iterator[int]:
    start = 0
    for line in text.split("\n"):
        yield from _cuts(line, start)
        start += len(line) + 1


def _cuts(line: str, offset: int) -> Iterator[int]:
    """Where the blocks of one line begin, `offset` added."""
    yield offset
    start = 0
    while len(line) - start > (room := _room(line[start : start + BLOCK_CHARACTERS])):
        start = _cut(line, start, start + room)
        yield offset + start


def _room(piece: str) -> int:
    """How many characters a block holds, where the text is like this piece: with pairs in it, the fewer."""
    pairs = 0 if piece.isascii() else len(piece.encode("utf-16-le", "surrogatepass")) // 2 - len(piece)
    return BLOCK_CHARACTERS * len(piece) // max(1, len(piece) + pairs * (BLOCK_CHARACTERS // BLOCK_PAIRS - 1))


def _cut(line: str, start: int, end: int) -> int:
    """Where to cut what lies between: behind its last sentence, as a paragraph ends, unless that is far from `end`."""
    sentences = [found.end() for found in _SENTENCE_END.finditer(line, (start + end) // 2, end)]
    return sentences[-1] if sentences else line.rfind(" ", start, end) + 1 or min(end, start + UNBROKEN_CHARACTERS)
