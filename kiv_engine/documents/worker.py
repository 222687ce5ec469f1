"""The parsing process: reads requests from standard input, a line of JSON each, and answers on standard output.

    {"path": FILE, "member": NAME or null, "name": NAME}    -> {"progress": [done, total, unit]} ...,
                                                               {"parsed": {...}, "sizes": [text, places]} and the bytes
    {"path": FILE, "list": true}                            -> {"members": [name, ...], or null for one document}
    whatever cannot be done                                 -> {"refused": how the sentence goes on, in parts}

Started by `parser_process`, which may kill it at any moment. Nothing here is pickled, and nothing is written to disk.
"""

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from kiv_engine.documents.kinds import HEAD_BYTES, ZIP, Kind, check_head, kind_of
from kiv_engine.documents.limits import MIB, Limits
from kiv_engine.documents.package import Package
from kiv_engine.documents.text_builder import (
    EMPTY,
    OPEN_A_PART,
    OTHER_COPY,
    SAVE_FIRST,
    WITHIN_REACH,
    ParsedText,
    TextBuilder,
    UnreadableError,
    too_greedy,
)
from kiv_engine.errors import parts_of, said

PR_SET_PDEATHSIG: Final = 1


@dataclass
class Worker:
    """Answers requests until there are no more."""

    requests: BinaryIO
    answers: BinaryIO
    limits: Limits
    package: tuple[Path, Package] | None = None

    def run(self) -> None:
        """Until standard input ends."""
        for line in self.requests:
            self._answer(json.loads(line))

    def _answer(self, request: dict[str, Any]) -> None:
        path = Path(request["path"])
        try:
            if request.get("list"):
                self._send({"members": list_members(read_file(path, self.limits), path.name, self.limits)})
            else:
                self._send_parsed(self._parse(path, request["member"], request["name"]))
        except UnreadableError as error:
            self._send({"refused": parts_of(error.words)})
        except OSError as error:
            words = said("cannot be read: {0}; {1}", error.strerror or error, WITHIN_REACH)
            self._send({"refused": parts_of(words)})
        except MemoryError:
            self._send({"refused": parts_of(too_greedy(self.limits))})

    def _parse(self, path: Path, member: str | None, name: str) -> ParsedText:
        data = read_file(path, self.limits) if member is None else self._open_package(path).read(member)
        return parse(data, name, self.limits, lambda *progress: self._send({"progress": progress}))

    def _open_package(self, path: Path) -> Package:
        """The zip file whose members are asked for, one after the other."""
        if self.package is None or self.package[0] != path:
            self.package = (path, Package(read_file(path, self.limits), self.limits))
        return self.package[1]

    def _send_parsed(self, parsed: ParsedText) -> None:
        text, places = parsed.text.encode(), parsed.places.to_bytes()
        facts = {"kind": parsed.kind, "notes": parsed.notes}
        self._send({"parsed": facts, "sizes": [len(text), len(places)]}, text, places)

    def _send(self, message: dict[str, Any], *payload: bytes) -> None:
        self.answers.write(json.dumps(message).encode() + b"\n")
        for part in payload:
            self.answers.write(part)
        self.answers.flush()


def read_file(path: Path, limits: Limits) -> bytes:
    """All bytes of a file. Raises UnreadableError where they are too many or none."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > limits.file_bytes:
            raise UnreadableError(said("is larger than {0:,} MB; {1}", limits.file_bytes // MIB, OPEN_A_PART))
        check_head(head := file.read(HEAD_BYTES))
        data = head + file.read()
    if not data:
        raise UnreadableError(EMPTY)
    return data


def parse(data: bytes, name: str, limits: Limits, tell: Any = None) -> ParsedText:
    """A file's text. Raises UnreadableError where it cannot be read, and ImportError where a library is missing."""
    kind = kind_of(data, name)
    if kind is ZIP:
        raise UnreadableError(said("is a zip file in a zip file; unpack it first."))
    read, out = kind.parse, TextBuilder(limits, tell)
    try:
        read(data, out)
        parsed = out.finish(kind.name)
    except UnreadableError:
        raise
    except MemoryError:
        raise UnreadableError(too_greedy(limits)) from None
    except RecursionError:
        raise UnreadableError(said("is nested too deeply to be read; {0}", SAVE_FIRST)) from None
    except Exception as error:  # whatever a library thinks of a damaged file
        raise UnreadableError(
            said("is damaged, or not really {0} {1} file; {2}", _article(kind), kind.name, OTHER_COPY)
        ) from error
    return parsed


def _article(kind: Kind) -> str:
    return "an" if kind.name[0] in "AEIOUaeiouRX" else "a"


def list_members(data: bytes, name: str, limits: Limits) -> list[str] | None:
    """Names of the files in a zip file; None if it is one document, like a docx."""
    return Package(data, limits).names if kind_of(data, name) is ZIP else None


def limit_memory(limits: Limits) -> None:
    """Where the system can; elsewhere the parent watches."""
    if sys.platform == "win32":
        return
    import resource

    for kind, most in ((resource.RLIMIT_AS, limits.memory_bytes), (resource.RLIMIT_CORE, 0)):
        _soft, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def die_with_parent() -> None:
    """Where the system can; elsewhere the next answer finds nobody, and standard input ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Run a worker on the process's own streams; what libraries print goes nowhere.

    The last line of the standard error is why it ended, if it ended by itself.
    """
    limits = Limits(**json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    errors = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    limit_memory(limits)
    die_with_parent()
    try:
        Worker(sys.stdin.buffer, answers, limits).run()
    except Exception as error:  # ours, not the file's
        print(f"{type(error).__name__}: {error}", file=errors)
        raise


if __name__ == "__main__":
    main()
