"""kill -9 at random moments of reading, saving and chatting: what was kept is sound, and goes on with the same answers.
And two programs at one saved context.

The processes run `kiv ask --save` and the app's writer of chats as they are, but for a checkpoint after every chunk of
reading. They are forked from one that has imported everything: that takes longer than all they do.
"""

import json
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.history import open_or_replace
from app.saved_chats import SavedExchange
from kiv_engine.cli import main
from kiv_engine.saving import SavedContext

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork and no SIGKILL on this system")

ROOT = Path(__file__).parents[2]
KILLS = [3, pytest.param(50, marks=pytest.mark.long)]
WAIT_S = 300.0
TEXT = "".join(f"Entry {n}: goose {n * 7919 % 10_007} of Salt Steps was counted at noon.\n\n" for n in range(60))
OPTIONS = ["--hot-tokens", "256", "--prefill", "window", "--max-new-tokens", "8", "--json"]
QUESTIONS = ["-q", "Which goose was counted first?", "-q", "And then?"]

SERVER = """
import json, os, sys, traceback
from pathlib import Path
import torch, transformers.models.llama.modeling_llama
from PySide6.QtCore import Qt
from app.history import History
from app.models.kept import ChatLoaded
from app.saved_chats import SavedChat
from kiv_engine import checkpoints, engine, reading
from app.saved_chats import SavedExchange
from kiv_engine.cli import main
from tests.integration.test_kills import exchange

reading.READ_CHUNK_TOKENS, checkpoints.CHECKPOINT_S = 256, 0.0

def ask(*arguments):
    return main(["ask", *arguments])

def chat(path, key):
    history = History(Path(path))
    def told(report):
        if isinstance(report, ChatLoaded):
            os.write(1, f"{len(report.exchanges)} {len(report.exchanges[-1].answer)}\\n".encode())
    history.reported.connect(told, Qt.ConnectionType.DirectConnection)
    history.open()
    history.save_chat(SavedChat(key, "Geese"))
    for step in range(100_000):
        history.save_exchange(key, exchange(step))
        history.load_chat(key)
        while history._latest:
            pass
    return 0

print("ready", flush=True)
for line in sys.stdin:
    kind, arguments, out, err = json.loads(line)
    if not (pid := os.fork()):
        for number, name in ((1, out), (2, err)):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        code = 70
        try:
            code = {"ask": ask, "chat": chat}[kind](*arguments)
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Forks:
    """Runs jobs in fresh processes, one after another, and kills them after a while if it is asked to.

    Attributes:
        out, err: what the last job wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._names = [str(folder / "out"), str(folder / "err")]
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n"

    def run(self, kind: str, *arguments: object, kill_after_s: float = WAIT_S) -> int:
        """The exit status as `os.waitpid` has it: SIGKILL of what was killed."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        job = [kind, [str(argument) for argument in arguments], *self._names]
        self._server.stdin.write(json.dumps(job).encode() + b"\n")
        pid = int(self._server.stdout.readline())
        if not select.select([self._server.stdout], [], [], kill_after_s)[0]:
            os.kill(pid, signal.SIGKILL)
        return int(self._server.stdout.readline())

    @property
    def out(self) -> str:
        return Path(self._names[0]).read_text()

    @property
    def err(self) -> str:
        return Path(self._names[1]).read_text()

    def close(self) -> None:
        self._server.communicate(timeout=WAIT_S)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield forks
    forks.close()


def answers(out: str) -> list[str]:
    return [answer["answer"] for answer in json.loads(out)["answers"]]


@pytest.mark.parametrize("kills", KILLS)
def test_reading_saving_and_asking_survive_kills(kills: int, forks: Forks, tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text(TEXT)
    begun = time.monotonic()
    assert forks.run("ask", book, "--save", tmp_path / "whole", *OPTIONS, *QUESTIONS) == 0, forks.err
    whole_s = time.monotonic() - begun
    expected, total = answers(forks.out), SavedContext.open(tmp_path / "whole").num_tokens
    rng, killed, found = random.Random(kills), 0, Counter[str]()
    for attempt in range(10 * kills):
        if killed >= kills:
            break
        folder = tmp_path / f"kept{attempt}"
        job = ("ask", book, "--save", folder, *OPTIONS, *QUESTIONS)
        kept = 0
        for _ in range(rng.randint(1, 3)):
            status = forks.run(*job, kill_after_s=rng.uniform(0, whole_s))
            assert status in (0, signal.SIGKILL), forks.err
            if status == 0:
                break
            killed += 1
            if not SavedContext.exists(folder):
                found["nothing"] += 1
                continue
            assert main(["contexts", "verify", str(folder)]) == 0
            saved = SavedContext.open(folder)
            assert kept <= saved.num_tokens <= total, "what was kept once stays kept"
            kept = saved.num_tokens
            found["all" if saved.complete else "a part"] += 1
        assert forks.run(*job) == 0, forks.err
        assert answers(forks.out) == expected
        assert ("Opened" in forks.err) is (kept > 0 or status == 0)
        assert main(["contexts", "verify", str(folder)]) == 0
        assert SavedContext.open(folder).complete
    print(f"{killed} kills; found then: {dict(found)}")
    assert killed >= kills
    assert kills < 50 or min(found[part] for part in ("nothing", "a part", "all")) > 0


def test_two_programs_do_not_write_one_folder_and_may_ask_it_at_once(forks: Forks, tmp_path: Path) -> None:
    from kiv_engine import Engine, KIVConfig, SamplingConfig
    from kiv_engine.document import Document

    book, folder = tmp_path / "book.txt", tmp_path / "kept"
    book.write_text(TEXT)
    job = ("ask", book, "--save", folder, *OPTIONS, *QUESTIONS)
    with closing(Engine.load().new_context(KIVConfig(hot_tokens=256, prefill="window"))) as context:
        context.save(folder)
        assert forks.run(*job) == 2 << 8  # what os.waitpid makes of the exit code 2
        assert "is being written by another program" in forks.err
        list(context.read(Document("book.txt", TEXT)))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with closing(Engine.load().open_context(folder)) as context:
        assert forks.run(*job) == 0, forks.err
        assert "Opened" in forks.err
        asked = [list(context.ask(question, SamplingConfig(max_new_tokens=8)))[-1] for question in QUESTIONS[1::2]]
    assert [answer.text for answer in asked] == answers(forks.out)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# -- chats ---------------------------------------------------------------------------------------------------------


def exchange(step: int) -> SavedExchange:
    """An answer that grows by a word with each step, and after a while the next one."""

    number, words = divmod(step, 20)
    answer = "".join(f"word{n} " for n in range(words + 1))
    return SavedExchange(number, number - 1 if number else None, f"Question {number}?", answer, "writing")


@pytest.mark.parametrize("kills", KILLS)
def test_chats_survive_kills(kills: int, forks: Forks, tmp_path: Path) -> None:
    path, rng = tmp_path / "chats.sqlite3", random.Random(kills)
    told = {}
    for attempt in range(10 * kills):
        if sum(count > 0 for count, _ in told.values()) == kills:
            break
        key = f"chat{attempt}"
        assert forks.run("chat", path, key, kill_after_s=rng.uniform(0, 2)) == signal.SIGKILL, forks.err
        lines = [line for line in forks.out.splitlines(keepends=True) if line.endswith("\n")]
        told[key] = tuple(map(int, lines[-1].split())) if lines else (0, 0)
        file, problem = open_or_replace(path)
        assert problem == ""
        assert file is not None
        with closing(file):
            for each, (count, length) in told.items():
                exchanges = file.exchanges(each)
                assert len(exchanges) >= count, "what was kept once stays kept"
                for number, one in enumerate(exchanges):
                    assert exchange(20 * number + 19).answer.startswith(one.answer)
                    assert number == len(exchanges) - 1 or one.answer == exchange(20 * number + 19).answer
                assert len(exchanges) > count or not exchanges or len(exchanges[-1].answer) >= length
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
    assert sum(count > 0 for count, _ in told.values()) == kills, "so many were killed while they wrote"
