"""What a failure says to a person: the engine's own words translated; else what happened, figures, and what to do."""

import re
from dataclasses import replace
from typing import Final

from PySide6.QtCore import QCoreApplication

from app.figures import as_bytes
from app.machine import read_ram
from kiv_engine.errors import EngineError, OutOfMemoryError, Words, is_out_of_memory
from kiv_engine.events import Failed

ON_THE_GPU: Final = re.compile(r"CUDA|CUBLAS")
WANTED_AND_FREE: Final = re.compile(r"Tried to allocate ([\d.]+ \w+)\..*? of which ([\d.]+ \w+) is free", re.DOTALL)
"""What torch says of a GPU whose memory ran out; the driver's own figures may be of another GPU."""


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("Failures", text)


def failure_of(error: BaseException) -> Failed:
    """The terminal event for whatever was raised."""
    return explained(Failed(str(error), error))


def explained(failed: Failed) -> Failed:
    """A failure in words that a person can do something with; where memory ran out, its error says so."""
    if isinstance(failed.error, EngineError):
        is_whole = failed.message == str(failed.error)  # else more is told than the error says
        return replace(failed, message=translated(failed.error.words if is_whole else failed.message))
    if is_out_of_memory(failed.error):
        words = shortage(failed.error)
        return replace(failed, message=words, error=OutOfMemoryError(words))
    return replace(failed, message=surprise(failed.error))


def translated(words: str) -> str:
    """What the engine says, in the user's language; its templates have no context of Qt's."""
    if not isinstance(words, Words):
        return words
    fields = (translated(field) if isinstance(field, str) else field for field in words.fields)
    return QCoreApplication.translate("", words.template).format(*fields)


def shortage(error: BaseException) -> str:
    """Which memory ran out, with figures."""
    if not ON_THE_GPU.search(str(error)):
        return f"{tr('RAM ran out.')} {free_ram()}"
    if found := WANTED_AND_FREE.search(str(error)):
        return tr("The GPU's memory ran out: {0} more were wanted, and {1} are free.").format(*found.groups())
    return tr("The GPU's memory ran out.")


def free_ram() -> str:
    """How much RAM is free now, and what this app takes."""
    ram = read_ram()
    line = tr("{0} of {1} of RAM are free now; this app takes {2}.")
    return line.format(as_bytes(ram.total - ram.used), as_bytes(ram.total), as_bytes(ram.process))


def memory_advice() -> str:
    """What helps while a model is loaded, where no smaller plan is at hand."""
    return tr("Close other programs, read less, keep older text in 8 bit or on the disk (Ctrl+,), or unload the model.")


def surprise(error: BaseException) -> str:
    """What nobody foresaw, by the first line of what was raised."""
    said = _said(error)
    if "CUDA error" in said:
        return tr("The GPU stopped working: {0}. Start the app again; chats and what was read are kept.").format(said)
    return tr("Unexpected error: {0}. Try again; if it comes again, load the model again.").format(said)


def slip(error: BaseException) -> str:
    """What the window's own code did wrong."""
    line = tr("Unexpected error: {0}. If something no longer works, start the app again; chats are kept.")
    return line.format(_said(error))


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0].rstrip(".")
