"""The embedded model and the sample archive: what the benchmarks that read language run on."""

from typing import Any

from kiv_engine import Engine, SamplingConfig
from kiv_engine.archive import Archive, write_archive
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.events import AnswerFinished, Failed, ReadFinished


def archive(engine: Engine, num_tokens: int, seed: int = 0) -> Archive:
    """The sample archive at `num_tokens` tokens of the engine's tokenizer."""
    return write_archive(num_tokens, engine.count_tokens, seed)


def read(context: Context, text: str, name: str = "archive") -> ReadFinished:
    """Read a text to its end."""
    return _terminal(context.read(Document(name, text)))


def answer(context: Context, question: str, sampling: SamplingConfig) -> AnswerFinished:
    """Ask and wait for the whole answer."""
    return _terminal(context.ask(question, sampling))


def _terminal(events: Any) -> Any:
    """The last event of a request; a failed one is raised."""
    last = list(events)[-1]
    if isinstance(last, Failed):
        raise last.error
    return last
