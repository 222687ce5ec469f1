"""The parsing process: it is light, it is killed when it should be, and nothing of it stays behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from kiv_engine.documents.limits import MIB, Limits
from kiv_engine.documents.opening import open_document, unpacked
from kiv_engine.documents.parser_process import ParserProcess
from kiv_engine.documents.text_builder import UnreadableError
from kiv_engine.errors import DocumentError
from tests.engine.documents.writers import FILLER, NEEDLE, write_pdf

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "transformers", "numpy", "PySide6", "multiprocessing", "docx", "openpyxl", "lxml", "pypdfium2")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")


@pytest.fixture
def long_pdf(tmp_path: Path) -> Path:
    return write_pdf(tmp_path / "long.pdf", [f"{FILLER}\n" * 30] * 500)


@pytest.fixture
def process() -> Iterator[ParserProcess]:
    with closing(ParserProcess(Limits())) as process:
        yield process


def asked(process: ParserProcess, path: Path) -> Generator[object, None, object]:
    return process.ask({"path": str(path), "member": None, "name": path.name})


def answer(process: ParserProcess, path: Path) -> str:
    asking = asked(process, path)
    while True:
        try:
            next(asking)
        except StopIteration as stop:
            return unpacked(*stop.value).text


def run_to_the_end(asking: Generator[object, None, object]) -> None:
    for _ in asking:
        pass


def test_it_imports_nothing_heavy() -> None:
    code = f"import sys, kiv_engine.documents.worker; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_one_process_answers_many_requests(tmp_path: Path, process: ParserProcess) -> None:
    pids = set()
    for number in range(3):
        path = tmp_path / f"{number}.txt"
        path.write_text(f"{NEEDLE} {number}")
        assert answer(process, path) == f"{NEEDLE} {number}"
        pids.add(process.pid)
    assert len(pids) == 1


def test_closing_in_the_middle_kills_it(long_pdf: Path, process: ParserProcess) -> None:
    asking = asked(process, long_pdf)
    next(asking)
    pid = process.pid
    assert psutil.pid_exists(pid)
    asking.close()
    assert not psutil.pid_exists(pid)
    assert process.pid is None


def test_what_says_nothing_is_given_up_and_the_next_file_is_read(
    long_pdf: Path, process: ParserProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = asked(process, long_pdf)
    next(asking)
    pid = process.pid
    os.kill(pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(process, "_limits", Limits(silence_s=0))
        with pytest.raises(UnreadableError, match="was given up: nothing could be read from it for 0 s"):
            run_to_the_end(asking)
    assert not psutil.pid_exists(pid)
    assert FILLER in answer(process, long_pdf)


def test_what_takes_too_long_is_given_up(long_pdf: Path) -> None:
    with pytest.raises(DocumentError, match="takes more than 0 s to be read"):
        run_to_the_end(open_document(long_pdf, Limits(seconds=0)))


def test_a_crash_is_told_and_the_next_file_is_read(long_pdf: Path, process: ParserProcess) -> None:
    asking = asked(process, long_pdf)
    next(asking)
    os.kill(process.pid, signal.SIGSEGV)
    with pytest.raises(UnreadableError, match=r"made its parser crash \(exit code -11\)"):
        run_to_the_end(asking)
    assert FILLER in answer(process, long_pdf)


def test_memory_is_watched_from_outside_too(long_pdf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiv_engine.documents.parser_process.worker_command", unlimited_worker)
    with pytest.raises(DocumentError, match="needs more than 1 MB of memory"):
        run_to_the_end(open_document(long_pdf, Limits(memory_bytes=MIB)))


def unlimited_worker(_limits: Limits) -> list[str]:
    """A worker that sets itself no limit, as on systems without them."""
    code = "import kiv_engine.documents.worker as w; w.limit_memory = lambda limits: None; w.main()"
    return [sys.executable, "-c", code, "{}"]


def test_a_file_that_spoils_a_folder_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiv_engine.documents.parser_process.worker_command", worker_that_dies)
    for name in ("a.txt", "d.txt", "z.txt"):
        (tmp_path / name).write_text(f"This is {name}.")
    steps = open_document(tmp_path)
    parsed = None
    while parsed is None:
        try:
            next(steps)
        except StopIteration as stop:
            parsed = stop.value
    assert "This is a.txt." in parsed.text
    assert "This is z.txt." in parsed.text
    [note] = parsed.notes
    assert note.startswith("1 of 3 files were left out: d.txt made its parser crash (exit code -9)")


def worker_that_dies(_limits: Limits) -> list[str]:
    """A worker that is killed by a file called d.txt."""
    code = (
        "import os, kiv_engine.documents.worker as w; parse = w.parse\n"
        "w.parse = lambda data, name, *more: os.kill(os.getpid(), 9) if name == 'd.txt' else parse(data, name, *more)\n"
        "w.main()"
    )
    return [sys.executable, "-c", code, "{}"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ([sys.executable, "-c", "raise SystemExit('no such thing')"], "no such thing"),
        (["/no/such/python"], "No such file or directory"),
        (
            [sys.executable, "-c", "import kiv_engine.documents.worker as w, sys; "
             "sys.modules['striprtf.striprtf'] = None; w.main()", "{}"],
            "ModuleNotFoundError: import of striprtf.striprtf halted; None in sys.modules",
        ),
        (
            [sys.executable, "-c", "import kiv_engine.documents.worker as w, os; w.parse = lambda *_: os.write(2, b'x')"
             " and 1 + ''; w.main()", "{}"],
            "TypeError: unsupported operand type(s) for +: 'int' and 'str'",
        ),
    ],
    ids=["at the start", "no Python", "no library", "bug"],
)  # fmt: skip
def test_a_failure_of_ours_does_not_blame_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: ParserProcess, command: list[str], reason: str
) -> None:
    monkeypatch.setattr("kiv_engine.documents.parser_process.worker_command", lambda _limits: command)
    path = tmp_path / "a.rtf"
    path.write_text("{\\rtf1 a}")
    with pytest.raises(UnreadableError) as refusal:
        answer(process, path)
    assert str(refusal.value) == (
        f"cannot be read: the parsing process failed ({reason}); try again, or install KIV Desktop again."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends with its next answer")
def test_it_dies_with_its_parent(long_pdf: Path) -> None:
    code = (
        "import sys; from kiv_engine.documents.parser_process import *; p = ParserProcess(Limits()); "
        f"g = p.ask({json.dumps({'path': str(long_pdf), 'name': 'a.pdf'})} | {{'member': None}})\n"
        "while next(g) is None: pass\n"
        "print(p.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with parent:
        child = psutil.Process(int(parent.stdout.readline()))
        child.suspend()
        parent.kill()
        parent.wait()
        child.wait(timeout=20)
