"""The other end of the parsing process: starts it, asks it, and kills it when it is slow, greedy or not wanted."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final

import psutil

from kiv_engine.documents.limits import Limits
from kiv_engine.documents.text_builder import OPEN_A_PART, OTHER_COPY, SAVE_FIRST, UnreadableError, too_greedy
from kiv_engine.errors import from_parts, said

TICK_S: Final = 0.1
"""Between two looks at the clock, and at whether anybody still wants it."""

Progress = tuple[int, int, str]
Answer = tuple[dict[str, Any], bytes]


class ParserProcess:
    """A parsing process, started with the first request and again after it died.

    Not `multiprocessing`: its spawn runs the main module once more, which may be a whole app, and speaks pickle.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def ask(self, request: dict[str, Any]) -> Generator[Progress | None, None, Answer]:
        """Yield progress, or None ten times a second, and return the answer; closing the generator kills the process.

        Raises UnreadableError: refused, crashed, too slow or too greedy.
        """
        done = False
        try:
            self._send(request)
            answer = yield from self._wait()
            done = True
        finally:
            if not done:
                self.close()
        if "refused" in answer[0]:
            raise UnreadableError(from_parts(answer[0]["refused"]))
        return answer

    def close(self) -> None:
        """Kill the process and wait until nothing of it is left."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        assert self._reader is not None
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                close_quietly(pipe)
        self._process = None

    def _send(self, request: dict[str, Any]) -> None:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise UnreadableError(failed(self._last_words() or said("it was not there any more"))) from None

    def _start(self) -> None:
        self._answers = queue.SimpleQueue()
        try:
            self._process = subprocess.Popen(
                worker_command(self._limits),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=worker_environment(),
                start_new_session=sys.platform != "win32",  # Ctrl-C is for us; we then kill it
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise UnreadableError(failed(error.strerror or str(error))) from error
        assert self._process.stdout is not None
        reading = (self._process.stdout, self._answers)
        self._reader = threading.Thread(target=forward_answers, args=reading, name="kiv-parsing", daemon=True)
        self._reader.start()

    def _last_words(self) -> str:
        """Why the process ended, if that is no fault of the file; it has ended, or is about to."""
        assert self._process is not None
        assert self._process.stderr is not None
        return self._process.stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2].strip()

    def _wait(self) -> Generator[Progress | None, None, Answer]:
        """Take messages until the answer; watch the clock and the memory meanwhile."""
        assert self._process is not None
        begun = heard = time.monotonic()
        while True:
            try:
                message = self._answers.get(timeout=TICK_S)
            except queue.Empty:
                self._check(time.monotonic() - begun, time.monotonic() - heard)
                yield None
                continue
            if message is None:
                if words := self._last_words():
                    raise UnreadableError(failed(words))
                code = self._process.wait()
                raise UnreadableError(
                    said(
                        "made its parser crash (exit code {0}): it is damaged, or made to do harm; {1}",
                        code,
                        OTHER_COPY,
                    )
                )
            heard = time.monotonic()
            if "progress" not in message[0]:
                return message
            done, total, unit = message[0]["progress"]
            self._check(heard - begun, 0)
            yield int(done), int(total), str(unit)

    def _check(self, seconds: float, silence_s: float) -> None:
        if seconds > self._limits.seconds:
            raise UnreadableError(said("takes more than {0:,.0f} s to be read; {1}", self._limits.seconds, OPEN_A_PART))
        if silence_s > self._limits.silence_s:
            raise UnreadableError(
                said(
                    "was given up: nothing could be read from it for {0:,.0f} s; {1}",
                    self._limits.silence_s,
                    SAVE_FIRST,
                )
            )
        try:
            used = psutil.Process(self.pid).memory_info().rss
        except psutil.Error:
            return  # it is gone, which the pipe tells
        if used > self._limits.memory_bytes:
            raise UnreadableError(too_greedy(self._limits))


def failed(reason: str) -> str:
    """How the sentence goes on about a file that is not at fault."""
    return said("cannot be read: the parsing process failed ({0}); try again, or install KIV Desktop again.", reason)


def worker_command(limits: Limits) -> list[str]:
    """How the parsing process is started. -P: a lxml.py in the user's folder is not ours."""
    return [sys.executable, "-P", "-m", "kiv_engine.documents.worker", json.dumps(asdict(limits))]


def worker_environment() -> dict[str, str]:
    """Ours, with the folder that this package was found in, and one thread for all that counts threads."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}


def forward_answers(pipe: BinaryIO, answers: "queue.SimpleQueue[Answer | None]") -> None:
    """Run in a thread: pipes cannot be waited for with a time limit on every system. None is the last."""
    try:
        while line := pipe.readline():
            message = json.loads(line)
            size = sum(message.get("sizes", ()))
            payload = pipe.read(size)
            if len(payload) < size:
                break
            answers.put((message, payload))
    except (OSError, ValueError):
        pass  # it was killed while it wrote
    answers.put(None)


def close_quietly(pipe: Any) -> None:
    """Close a pipe whose other end is gone."""
    with contextlib.suppress(OSError):
        pipe.close()
