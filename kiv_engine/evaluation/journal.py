"""A folder of results that grows line by line: whatever stops a run, the next one goes on behind the last answer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from kiv_engine.errors import EngineError

Key = tuple[str, str, str, bool]
"""Document, entrant, question, and whether everything was retrieved."""

LINES: Final = "answers.jsonl"
HEADER: Final = "run.json"


class ResultsError(EngineError):
    """A folder cannot take the results, or holds those of another model."""


class Journal:
    """What was answered so far; `add` writes at once.

    Attributes:
        folder: where it is.
        answers: the lines of answers, by key.
        readings: the lines about reading a document, by document and entrant.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[Key, dict[str, Any]] = {}
        self.readings: dict[tuple[str, str], dict[str, Any]] = {}
        self._file: TextIO | None = None

    def open(self, header: dict[str, Any]) -> None:
        """Take what the folder holds, if it is of the same model, and begin to write. Raises ResultsError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_header(header)
            sound = self._read_lines()
            self._file = (self.folder / LINES).open("r+" if sound else "w", encoding="utf-8")
            self._file.seek(sound)
            self._file.truncate()
        except OSError as error:
            raise ResultsError(f"{self.folder} cannot take the results: {error.strerror or error}.") from error

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _check_header(self, header: dict[str, Any]) -> None:
        path = self.folder / HEADER
        if not path.exists():
            if any(self.folder.iterdir()):
                raise ResultsError(f"{self.folder} holds other files; name a new or empty folder with --out.")
            path.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
            return
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            known = None
        if known != header:
            raise ResultsError(
                f"{self.folder} holds results of another model, machine or version; name another folder with --out."
            )

    def _read_lines(self) -> int:
        """Take every whole line; the number of bytes they fill. A line that a killed run left half is not taken."""
        path = self.folder / LINES
        if not path.exists():
            return 0
        sound = 0
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                record = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            self._take(record)
            sound += len(line)
        return sound

    def _take(self, record: dict[str, Any]) -> None:
        if "question" in record:
            key = (record["document"], record["entrant"], record["question"], record["everything"])
            self.answers[key] = record
        else:
            self.readings[record["document"], record["entrant"]] = record

    def add(self, record: dict[str, Any]) -> None:
        """Keep a line: an answer, or a reading."""
        assert self._file is not None
        self._take(record)
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def answers_of(self, document: str, entrant: str, everything: bool) -> Iterator[dict[str, Any]]:
        """All answers about a document by an entrant."""
        for (of, by, _, with_all), record in self.answers.items():
            if (of, by, with_all) == (document, entrant, everything):
                yield record
