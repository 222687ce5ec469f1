"""From a path to one text: a file by its parser, a folder or a zip file as one text with a table of contents."""

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kiv_engine.documents.limits import MIB, Limits
from kiv_engine.documents.parser_process import ParserProcess, Progress
from kiv_engine.documents.places import Places
from kiv_engine.documents.text_builder import (
    EMPTY,
    OPEN_A_PART,
    WITHIN_REACH,
    ParsedText,
    TextBuilder,
    UnreadableError,
)
from kiv_engine.errors import DocumentError, Words, said
from kiv_engine.events import ParseProgress

SKIPPED_FOLDERS: Final = frozenset({"__pycache__", "node_modules", "__MACOSX"})
NAMED_SKIPS: Final = 3
CONTENTS: Final = "Table of contents"

Opening = Generator[ParseProgress, None, ParsedText]
Skip = tuple[str, str]
"""The name of what was left out, a folder's with a slash behind it, and why: how the sentence goes on."""


def open_document(path: Path, limits: Limits | None = None, name: str | None = None) -> Opening:
    """Yield progress at least every 0.1 s, and return the text of a file, a folder or a zip file.

    Parsing runs in a process of its own; closing the generator kills it. `name` stands for the path in messages.

    Raises:
        DocumentError: it is missing, empty, damaged, protected, too large, or no document.
    """
    limits = limits or Limits()
    opener = Opener(path, name or str(path), limits)
    try:
        return (yield from opener.open())
    finally:
        opener.close()


@dataclass(frozen=True)
class Entry:
    """One file of a folder or of a zip file."""

    name: str
    path: Path
    member: str | None = None

    def request(self) -> dict[str, Any]:
        """What the parsing process is asked."""
        return {"path": str(self.path), "member": self.member, "name": self.name.rpartition("/")[2]}


@dataclass
class Collection:
    """What is to be read of a folder or a zip file, what was read of it, and what not."""

    entries: list[Entry] = field(default_factory=list)
    texts: list[tuple[str, ParsedText]] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    characters: int = 0


class Opener:
    """Opens one path, with one parsing process: its own, unless it is lent one."""

    def __init__(self, path: Path, name: str, limits: Limits, process: ParserProcess | None = None) -> None:
        self._path, self._name, self._limits = path, name, limits
        self._process = process or ParserProcess(limits)

    def close(self) -> None:
        """End the parsing process."""
        self._process.close()

    def open(self) -> Opening:
        """The whole of it."""
        with self._named():
            if is_folder(self._path, self._limits):
                return (yield from self._open_many(folder_entries(self._path, self._limits)))
            if (found := (yield from self._zip_entries())) is not None:
                return (yield from self._open_many(found))
            return (yield from self._parse(Entry(self._path.name, self._path)))

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except UnreadableError as error:
            match error.words:
                case Words(template="is {0}, not text.", fields=(what,)):  # in a folder nothing can be done about it
                    words = said("{0} is {1}, not text; open a document instead.", self._name, what)
                case reason:
                    words = said("{0} {1}", self._name, reason)
            raise DocumentError(words) from error
        except OSError as error:  # it could be opened, and its disk or its server fails now
            raise DocumentError(
                said("{0} cannot be read: {1}; {2}", self._name, error.strerror or error, WITHIN_REACH)
            ) from error

    def _parse(self, entry: Entry, done: int = 0, total: int = 0) -> Opening:
        """One file. `done` of `total` files are read where there are several."""
        latest: Progress = (done, total, "files")
        asking = self._process.ask(entry.request())
        while True:
            try:
                progress = next(asking)
            except StopIteration as stop:
                return unpacked(*stop.value)
            if not total and progress is not None:
                latest = progress
            yield ParseProgress(self._path.name or self._name, *latest)

    def _zip_entries(self) -> Generator[ParseProgress, None, Collection | None]:
        """The files of a zip file; None for any other file."""
        with self._path.open("rb") as file:
            if not file.read(4).startswith(b"PK"):
                return None
        asking = self._process.ask({"path": str(self._path), "list": True})
        while True:
            try:
                next(asking)
            except StopIteration as stop:
                members = stop.value[0]["members"]
                break
            yield ParseProgress(self._path.name, 0, 0, "files")
        if members is None:
            return None
        hidden = {name: hidden_part(name) for name in sorted(members)}
        names = [name for name, skip in hidden.items() if skip is None]
        check_count(len(names), self._limits)
        skipped = dict.fromkeys(skip for skip in hidden.values() if skip is not None)
        return Collection([Entry(printable(name), self._path, name) for name in names], skipped=list(skipped))

    def _open_many(self, found: Collection) -> Opening:
        """Read every file that can be read; the others are named in a note, those first that could have been."""
        unreadable: list[Skip] = []
        for number, entry in enumerate(found.entries):
            yield ParseProgress(self._path.name, number, len(found.entries), "files")
            try:
                text = yield from self._parse(entry, number, len(found.entries))
            except UnreadableError as error:
                unreadable.append((entry.name, error.words))
                continue
            found.characters += len(text.text)
            if found.characters > self._limits.characters:
                limit = self._limits.characters
                raise UnreadableError(said("holds more than {0:,} characters of text; {1}", limit, OPEN_A_PART))
            found.texts.append((entry.name, text))
        found.skipped[:0] = unreadable
        if not found.texts:
            raise UnreadableError(nothing_readable(found))
        title = self._path.resolve().name or self._name
        return with_contents(title, found, self._limits)


def unpacked(message: dict[str, Any], payload: bytes) -> ParsedText:
    """A text as the parsing process sends it."""
    facts, size = message["parsed"], message["sizes"][0]
    return ParsedText(
        text=payload[:size].decode(),
        places=Places.from_bytes(payload[size:]),
        kind=facts["kind"],
        notes=tuple(facts["notes"]),
    )


# -- files and folders -------------------------------------------------------------------------------------------------


def is_folder(path: Path, limits: Limits) -> bool:
    """Whether it is a folder; raises UnreadableError unless it is that or a file that can be read."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return True
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError(said("is no file but a device or a pipe; save its text to a file first."))
        if status.st_size > limits.file_bytes:
            raise UnreadableError(said("is larger than {0:,} MB; {1}", limits.file_bytes // MIB, OPEN_A_PART))
        with path.open("rb"):
            return False
    except FileNotFoundError:
        raise DocumentError(said("There is no file {0}: look whether it was moved or renamed.", path)) from None
    except (OSError, ValueError) as error:
        raise UnreadableError(
            said("cannot be read: {0}; {1}", getattr(error, "strerror", None) or error, WITHIN_REACH)
        ) from error


def folder_entries(folder: Path, limits: Limits) -> Collection:
    """The files below a folder in order, and what is left out unread: see `why_not`."""
    found, root = Collection(), folder.resolve()

    def note_unreadable(error: OSError) -> None:
        if (here := Path(error.filename or "")) == folder:
            raise UnreadableError(said("cannot be read: {0}; {1}", error.strerror, WITHIN_REACH)) from error
        found.skipped.append((f"{shown(here)}/", f"cannot be read: {error.strerror}."))

    def shown(path: Path) -> str:
        return printable(path.relative_to(folder).as_posix())

    for here, folders, files in os.walk(folder, onerror=note_unreadable):
        for name in sorted(folders):
            if skip := hidden_part(f"{shown(Path(here, name))}/"):
                found.skipped.append(skip)
                folders.remove(name)
            elif Path(here, name).is_symlink():
                found.skipped.append((f"{shown(Path(here, name))}/", "is a link to a folder."))
        folders.sort()
        for name in sorted(files):
            path = Path(here, name)
            if reason := why_not(path, root):
                found.skipped.append((shown(path), reason))
                continue
            check_count(len(found.entries) + 1, limits)
            found.entries.append(Entry(shown(path), path))
    return found


def why_not(path: Path, root: Path) -> str:
    """Why a file in the folder `root` is not to be read; empty for one that is."""
    if skip := hidden_part(path.name):
        return skip[1]
    try:
        if not path.is_file():
            return "is a broken link." if path.is_symlink() else "is no file but a device or a pipe."
        return "" if path.resolve().is_relative_to(root) else "is a link that leads out of the folder."
    except OSError as error:
        return f"cannot be read: {error.strerror}."


def hidden_part(name: str) -> Skip | None:
    """What of a path is not meant to be read, and why: hidden ones, and what tools put there. None if it is."""
    parts = name.split("/")
    for count, part in enumerate(parts, 1):
        if part in SKIPPED_FOLDERS or (part.startswith(".") and part.strip(".")):
            reason = "is a tool's folder." if part in SKIPPED_FOLDERS else "is hidden."
            return printable("/".join(parts[:count])) + "/" * (count < len(parts)), reason
    return None


def printable(name: str) -> str:
    """A file's name as it can be shown: in one line, without control characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)


def check_count(count: int, limits: Limits) -> None:
    """Raise UnreadableError where there are too many files."""
    if count > limits.files:
        raise UnreadableError(said("holds more than {0:,} files; {1}", limits.files, OPEN_A_PART))


def nothing_readable(found: Collection) -> str:
    """Why nothing of a folder could be read."""
    if not found.skipped:
        return said("holds no files; look whether it is the right folder.")
    name, reason = found.skipped[0]
    more = said(" (and {0:,} more)", len(found.skipped) - 1) if len(found.skipped) > 1 else ""
    return said("holds nothing that can be read: {0} {1}{2}.", name, reason.rstrip("."), more)


# -- many texts as one -------------------------------------------------------------------------------------------------


def with_contents(title: str, found: Collection, limits: Limits) -> ParsedText:
    """A table of contents, then every text under its name."""
    out = TextBuilder(limits)
    out.begin_section(CONTENTS)
    out.add(f"# {title}\n\nContents:\n")
    for number, (name, _text) in enumerate(found.texts, 1):
        out.add(f"{number}. {name}\n")
    for name, text in found.texts:
        out.add("\n\n")
        out.begin_section(name)
        out.add(f"## {name}\n\n")
        out.include(text, name)
        out.end_block(0)
        add_notes(out, name, text)
    if note := skipped_note(found):
        out.note(note)
    return out.finish("folder")


def add_notes(out: TextBuilder, name: str, text: ParsedText) -> None:
    """What is to be known of one of many texts."""
    for note in text.notes:
        out.note(f"{name}: {note}")


def skipped_note(found: Collection) -> str:
    """Which files were left out; nothing is missed of those that are empty."""
    skipped = [(name, reason.rstrip(".")) for name, reason in found.skipped if reason != EMPTY]
    if not skipped:
        return ""
    named = "; ".join(f"{name} {reason}" for name, reason in skipped[:NAMED_SKIPS])
    rest = len(skipped) - NAMED_SKIPS
    more = f"; and {rest:,} more" if rest > 0 else ""
    whole = len(found.skipped) + len(found.texts)
    what = "files and folders" if any(name.endswith("/") for name, _reason in skipped) else "files"
    return f"{len(skipped):,} of {whole:,} {what} were left out: {named}{more}."
