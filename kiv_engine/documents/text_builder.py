"""What a parser writes into: the text grows, and its map with it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kiv_engine.documents.limits import MIB, Limits
from kiv_engine.documents.places import Places
from kiv_engine.errors import said

PROGRESS_INTERVAL_S: Final = 0.1
MAX_TITLE: Final = 120

Tell = Callable[[int, int, str], None]
"""Gets how much is done, of how much, and of what, like (3, 10, "pages")."""


RIGHT_FILE: Final = said("look whether it is the right file.")
OTHER_COPY: Final = said("get another copy of it.")
SAVE_FIRST: Final = said("save it as text in the program that made it.")
OPEN_A_PART: Final = said("open a part of it.")
WITHIN_REACH: Final = said("look whether its disk is there and you may read it.")
EMPTY: Final = said("is empty; {0}", RIGHT_FILE)


class UnreadableError(Exception):
    """A file cannot be read. Its words go on where the file's name stands: why, and what to do."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


def too_greedy(limits: Limits) -> str:
    """How the sentence goes on about a file that takes too much memory."""
    return said("needs more than {0:,} MB of memory to be read; {1}", limits.memory_bytes // MIB, OPEN_A_PART)


@dataclass(frozen=True)
class ParsedText:
    """A file as text.

    Attributes:
        kind: what the file is, like "PDF".
        notes: what a person should know, in sentences: what was left out, what was guessed.
    """

    text: str
    places: Places = field(default_factory=Places)
    kind: str = ""
    notes: tuple[str, ...] = ()


class TextBuilder:
    """Collects text and its places. Line ends become "\\n"; what is no character becomes U+FFFD."""

    def __init__(self, limits: Limits | None = None, tell: Tell | None = None) -> None:
        self.limits = limits or Limits()
        self.places = Places()
        self._tell = tell
        self._told_at = 0.0
        self._pieces: list[str] = []
        self._length = self._line_ends = 0
        self._notes: list[str] = []

    @property
    def length(self) -> int:
        return self._length

    def add(self, text: str) -> None:
        """Append text. Raises UnreadableError where it becomes too long."""
        if not (text := clean(text)):
            return
        self._length += len(text)
        if self._length > self.limits.characters:
            raise UnreadableError(
                said("holds more than {0:,} characters of text; {1}", self.limits.characters, OPEN_A_PART)
            )
        self._pieces.append(text)
        words = text.rstrip("\n")
        self._line_ends = len(text) - len(words) + (0 if words else self._line_ends)

    def end_block(self, blank_lines: int = 1) -> None:
        """End a paragraph: the next text begins behind blank lines, unless nothing is there yet."""
        if self._length and self._line_ends <= blank_lines:
            self.add("\n" * (blank_lines + 1 - self._line_ends))

    def begin_page(self, number: int) -> None:
        self.places.pages.append(self._length, number)

    def begin_row(self, number: int) -> None:
        self.places.rows.append(self._length, number)

    def begin_section(self, title: str, offset: int = 0) -> None:
        """A section begins here, or so many characters on; its title is shortened."""
        title = " ".join(clean(title).split())
        self.places.append_section(
            self._length + offset, title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1] + "…"
        )

    def include(self, part: ParsedText, section: str) -> None:
        """Append a whole text with its places, as a section with this title."""
        start = self._length
        self.begin_section(section)
        self.add(part.text)
        self.places.extend(part.places, start, self._length, section)

    def note(self, sentence: str) -> None:
        """Tell the reader something, once."""
        if sentence not in self._notes:
            self._notes.append(sentence)

    def note_encoding(self, name: str) -> None:
        """Tell how the characters were written; the name is empty where that did not have to be found out."""
        if name:
            self.note(f"Its encoding was taken for {name}.")

    def progress(self, done: int, total: int, unit: str) -> None:
        """Say how far it is, a few times a second at most."""
        now = time.monotonic()
        if self._tell is not None and now - self._told_at >= PROGRESS_INTERVAL_S:
            self._told_at = now
            self._tell(done, total, unit)

    def finish(self, kind: str) -> ParsedText:
        """The text. Raises UnreadableError if there is none."""
        parsed = self.so_far(kind)
        if not parsed.text or parsed.text.isspace():
            what = said("nothing but blanks") if parsed.text else said("no text")
            raise UnreadableError(said("holds {0}; {1}", what, RIGHT_FILE))
        return parsed

    def so_far(self, kind: str = "") -> ParsedText:
        """What there is, if anything."""
        return ParsedText("".join(self._pieces), self.places, kind, tuple(self._notes))


def clean(text: str) -> str:
    """The same text with "\\n" as its only line end, and U+FFFD for zeros and halves of surrogate pairs."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
