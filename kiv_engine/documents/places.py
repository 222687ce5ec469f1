"""Where a document's characters stood in the file: page, section, row and line."""

import json
import sys
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

NUMBER_TRACKS: Final = ("pages", "rows", "lines")


@dataclass(frozen=True)
class Place:
    """Where a character stood. Numbers begin with 1; None, or no section, where the file has no such thing."""

    page: int | None = None
    section: str = ""
    row: int | None = None
    line: int | None = None


def _numbers() -> "array[int]":
    return array("I")


@dataclass(frozen=True)
class Track:
    """Character `starts[i]` and what follows have the number `values[i]`; 0 is none. Starts never fall."""

    starts: "array[int]" = field(default_factory=_numbers)
    values: "array[int]" = field(default_factory=_numbers)

    def append(self, start: int, value: int) -> None:
        """Count on from here."""
        self.starts.append(start)
        self.values.append(value)

    def at(self, offset: int) -> int:
        """The number of a character; 0 if it has none."""
        index = bisect_right(self.starts, offset) - 1
        return self.values[index] if index >= 0 else 0


@dataclass(frozen=True)
class Places:
    """The map of a whole document.

    Attributes:
        pages, rows, lines: numbers by character.
        sections: indices into `titles`, one more, by character.
    """

    pages: Track = field(default_factory=Track)
    rows: Track = field(default_factory=Track)
    lines: Track = field(default_factory=Track)
    sections: Track = field(default_factory=Track)
    titles: list[str] = field(default_factory=list)

    def at(self, offset: int) -> Place:
        """Where a character stood."""
        title = self.sections.at(offset)
        return Place(
            page=self.pages.at(offset) or None,
            section=self.titles[title - 1] if title else "",
            row=self.rows.at(offset) or None,
            line=self.lines.at(offset) or None,
        )

    def part(self, offset: int) -> tuple[int, int, int]:
        """Page, section and row as numbers: the same for characters of the same part."""
        return self.pages.at(offset), self.sections.at(offset), self.rows.at(offset)

    def span(self, offset: int, length: int) -> tuple[int, int]:
        """The characters [start, end) of a text of this length that are of one part with the one at `offset`."""
        low, high = 0, length
        for track in (self.pages, self.sections, self.rows):
            index = bisect_right(track.starts, offset)
            low = max(low, track.starts[index - 1] if index else 0)
            high = min(high, track.starts[index] if index < len(track.starts) else length)
        return low, high

    def append_section(self, start: int, title: str) -> None:
        """A section begins; one without a title ends what is before it."""
        if title:
            self.titles.append(title)
        self.sections.append(start, len(self.titles) if title else 0)

    def extend(self, other: "Places", start: int, end: int, section: str) -> None:
        """Take over the map of a part that stands at [start, end) of `section`; its sections become parts of that."""
        for at, title in zip(other.sections.starts, other.sections.values, strict=True):
            self.append_section(start + at, joined(section, other.titles[title - 1] if title else ""))
        for name in NUMBER_TRACKS:
            mine, theirs = getattr(self, name), getattr(other, name)
            mine.starts.extend(start + at for at in theirs.starts)
            mine.values.extend(theirs.values)
            if theirs.starts:
                mine.append(end, 0)

    # -- as bytes: a line of JSON, then the numbers, 4 bytes each, little end first ------------------------------

    def to_bytes(self) -> bytes:
        """All of it, to keep or to send; `from_bytes` goes back."""
        tracks = [*self._tracks()]
        header = {"titles": self.titles, "counts": [len(track.starts) for track in tracks]}
        numbers = (_little(numbers) for track in tracks for numbers in (track.starts, track.values))
        return json.dumps(header).encode() + b"\n" + b"".join(numbers)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Places":
        """What `to_bytes` wrote. Raises ValueError if it did not."""
        line, _, rest = data.partition(b"\n")
        header = json.loads(line)
        places = cls(titles=[str(title) for title in header["titles"]])
        if len(rest) != 8 * sum(header["counts"]) or len(header["counts"]) != 4:
            raise ValueError("The map of a document is cut off.")
        at = 0
        for track, count in zip(places._tracks(), header["counts"], strict=True):
            for numbers in (track.starts, track.values):
                numbers.frombytes(rest[at : at + 4 * count])
                at += 4 * count
                if sys.byteorder == "big":
                    numbers.byteswap()
        places._check()
        return places

    def _tracks(self) -> Sequence[Track]:
        return (self.pages, self.rows, self.lines, self.sections)

    def _check(self) -> None:
        if any(title > len(self.titles) for title in self.sections.values):
            raise ValueError("The map of a document names a section that is not there.")


def joined(section: str, part: str) -> str:
    """The title of a part of a section."""
    return f"{section}, {part}" if section and part and section != part else section or part


def _little(numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
