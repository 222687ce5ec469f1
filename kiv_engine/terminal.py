"""What every command says and hears in a terminal: exit codes, errors, progress, Ctrl-C."""

import argparse
import ctypes
import getpass
import io
import math
import signal
import sys
import threading
import time
from typing import Any, Final, NoReturn, TextIO

from kiv_engine.events import DownloadProgress, LoadProgress, ParseProgress, ReadProgress, TokenizeProgress

DONE: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130

BAR_WIDTH: Final = 24
QUIET_S: Final = 10.0
"""Where no terminal can redraw a line, there is a new one this often."""

ARCHIVE_TOKENS: Final = (200, 10_000_000)
"""Lengths that the sample archive can be asked for."""

STANDARD_ERROR: Final = -12
OBEY_ESCAPES: Final = 4
"""A console's mode on Windows, ENABLE_VIRTUAL_TERMINAL_PROCESSING, and the number that it has for stderr."""

WorkProgress = ParseProgress | TokenizeProgress | ReadProgress | DownloadProgress | LoadProgress


class BadInputError(Exception):
    """The command line asks for something impossible; one line, exit code 2."""


class Parser(argparse.ArgumentParser):
    """Reports a bad command line in one line, like every other bad input."""

    def error(self, message: str) -> NoReturn:
        raise BadInputError(f"{message}. See '{self.prog} --help'.")


def make_streams_lenient() -> None:
    """An answer may hold characters that the terminal's encoding lacks; they become question marks, not an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def make_console_obey() -> None:
    """Let a console of Windows obey escape sequences on stderr; it prints them unless it is asked not to."""
    windll: Any = getattr(ctypes, "windll", None)
    if windll is not None:
        kernel, mode = windll.kernel32, ctypes.c_uint32()
        console = ctypes.c_void_p(kernel.GetStdHandle(STANDARD_ERROR))
        if kernel.GetConsoleMode(console, ctypes.byref(mode)):
            kernel.SetConsoleMode(console, mode.value | OBEY_ESCAPES)


def print_error(message: str) -> None:
    """At most three lines on stderr."""
    lines = message.strip().splitlines()[:3]
    print("kiv: " + "\n".join(lines), file=sys.stderr)


def confirmed(question: str) -> bool:
    """Ask on stderr; anything but a yes is a no. Raises BadInputError where nobody can answer."""
    if not sys.stdin.isatty():
        raise BadInputError("Nobody can be asked here; with --yes it is done without asking.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def ask_secret(question: str) -> str:
    """A line that is not shown while it is typed; where nobody types, the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    try:
        return getpass.getpass(question, stream=sys.stderr)
    except EOFError:
        return ""


class StopFlag:
    """Set by Ctrl-C while a request runs; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> bool:
        return self._event.is_set()

    def __enter__(self) -> "StopFlag":
        self._previous = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *_exception: object) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _on_interrupt(self, _signal: int, _frame: object) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()


class StatusLine:
    """One line on stderr, redrawn in a terminal; elsewhere a line every ten seconds. `waits`: the first one, too."""

    def __init__(self, stream: TextIO, *, waits: bool) -> None:
        self._stream = stream
        self._live = stream.isatty()
        if self._live:
            make_console_obey()
        self._last = time.monotonic() if waits else -math.inf

    def show(self, text: str, *, at_once: bool = False) -> None:
        """Show a text, unless the last one is too fresh."""
        now = time.monotonic()
        if not self._live and not at_once and now - self._last < QUIET_S:
            return
        self._last = now
        self._stream.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        self._stream.flush()

    def note(self, text: str) -> None:
        """Show a text that stays."""
        self.close()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


class ProgressBar:
    """How far opening, loading, tokenizing, reading or downloading is; new stages and the end are shown at once."""

    def __init__(self, stream: TextIO) -> None:
        self._line = StatusLine(stream, waits=True)
        self._stage: type[WorkProgress] = ParseProgress  # most files are open before anybody wonders

    def show(self, event: WorkProgress) -> None:
        """Draw a progress event."""
        done = (isinstance(event, ReadProgress) and event.tokens_read >= event.tokens_total) or (
            isinstance(event, DownloadProgress) and event.bytes_done >= event.bytes_total
        )
        fresh = type(event) is not self._stage and not isinstance(event, LoadProgress)  # most models are there soon
        if isinstance(event, ReadProgress) and not event.tokens_per_s:
            fresh = False  # of a stage that only begins there is nothing to tell
        else:
            self._stage = type(event)
        self._line.show(progress_line(event), at_once=done or fresh)

    def close(self) -> None:
        """Leave the line."""
        self._line.close()


def progress_line(event: WorkProgress) -> str:
    """Like `Reading [######......] 512 of 1,024 tokens  100 tokens/s  5 s left`."""
    if isinstance(event, ParseProgress):
        parsed = f": {event.done:,} of {event.total:,} {event.unit}" if event.total else ""
        return f"Opening {event.document}{parsed}"
    if isinstance(event, TokenizeProgress):
        return f"Tokenizing: {event.characters_done:,} of {event.characters_total:,} characters"
    if isinstance(event, LoadProgress):
        bar = draw_bar(event.tensors_done / max(event.tensors_total, 1))
        return f"Loading [{bar}] {event.tensors_done:,} of {event.tensors_total:,} tensors"
    if isinstance(event, DownloadProgress):
        bar = draw_bar(event.bytes_done / max(event.bytes_total, 1))
        done, total = event.bytes_done / 1e6, event.bytes_total / 1e6
        rate = f"{event.bytes_per_s / 1e6:,.1f} MB/s{time_left(event.eta_s)}"
        return f"Downloading [{bar}] {done:,.1f} of {total:,.1f} MB  {rate}"
    bar = draw_bar(event.tokens_read / max(event.tokens_total, 1))
    rate = f"  {event.tokens_per_s:,.0f} tokens/s{time_left(event.eta_s)}" if event.tokens_per_s else ""
    return f"Reading [{bar}] {event.tokens_read:,} of {event.tokens_total:,} tokens{rate}"


def time_left(eta_s: float | None) -> str:
    """Like `  5 s left`; nothing where it is not known."""
    return "" if eta_s is None else f"  {format_seconds(eta_s)} left"


def draw_bar(share: float) -> str:
    """Like `######......`."""
    return ("#" * round(share * BAR_WIDTH)).ljust(BAR_WIDTH, ".")


def format_seconds(seconds: float) -> str:
    """Like 1:05 or 12 s."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"


def archive_tokens(text: str) -> int:
    """A length of the sample archive, like 100000, 100_000 or 100,000. Raises ValueError."""
    digits = text.replace("_", "").replace(",", "")
    low, high = ARCHIVE_TOKENS
    if not digits.isascii() or not digits.isdigit() or len(digits) > 12 or not low <= int(digits) <= high:
        raise ValueError(f"{text!r} is no number of tokens from {low:,} to {high:,}")
    return int(digits)
