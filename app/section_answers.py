"""A question asked of each section of the documents, one after the other, and the answers collected into one.

Each section is read by itself in a context of its own that holds it whole: nothing of it is left out, and nothing is
compared across sections. Runs on the engine's thread; knows nothing of Qt.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from app.reports import SectionBegun
from app.requests import Ask
from kiv_engine.config import SECTION_TOKENS, KIVConfig
from kiv_engine.events import AnswerFinished, Failed, FinishReason, ReadFinished, TextDelta

if TYPE_CHECKING:
    from kiv_engine.context import Context
    from kiv_engine.engine import Engine
    from kiv_engine.sections import Section

ANSWER_TOKENS: Final = 256
"""An answer about one section is at most so long."""
HEADING: Final = re.compile(r"^#### \d+ / \d+(?: · .*)?$", re.MULTILINE)
ROOM_TOKENS: Final = 1_024
"""What a section's context holds beside it: heading, system prompt, question and answer."""


class SectionAnswers:
    """What has been said so far, and the figures of it.

    Attributes:
        text: of all sections, with a heading above each.
    """

    def __init__(self) -> None:
        self.text = ""
        self._read = self._written = 0
        self._first_token_s = 0.0
        self._seconds = 0.0
        self.reason: FinishReason = "stop"

    @property
    def num_tokens(self) -> int:
        return self._written

    def add(self, text: str) -> TextDelta:
        """Go on with a text."""
        self.text += text
        return TextDelta(text, max(1, self._written))

    def count(self, answer: AnswerFinished) -> None:
        """Take the figures of a section's answer."""
        self._first_token_s = self._first_token_s or answer.first_token_s
        self._read += answer.prompt_tokens
        self._written += answer.answer_tokens
        if answer.decode_tokens_per_s > 0:
            self._seconds += answer.answer_tokens / answer.decode_tokens_per_s
        self.reason = "cancelled" if answer.finish_reason == "cancelled" else "stop"

    def finished(self) -> AnswerFinished:
        """All of it as one answer. No passages: whole sections were read."""
        rate = self._written / self._seconds if self._seconds else 0.0
        text = self.text.strip()
        return AnswerFinished(text, self.reason, self._read, 0, self._written, self._first_token_s, rate, ())


def ask_by_section(
    engine: "Engine", context: "Context", request: Ask, should_stop: Callable[[], bool]
) -> Iterator[TextDelta | SectionBegun | AnswerFinished | Failed]:
    """Ask the request's question of each section of what `context` has read; that one is left as it is."""
    sections, said = list(sections_read(context)), SectionAnswers()
    for number, (name, text, section) in enumerate(sections, 1):
        if should_stop():
            said.reason = "cancelled"
            break
        yield SectionBegun(number, len(sections))
        several = len(context.documents) > 1
        yield said.add(heading(number, len(sections), name if several else "", section.title))
        for event in ask_section(engine, request, f"[{name}, {number} / {len(sections)}]\n\n{text}", should_stop):
            if isinstance(event, Failed):
                yield event
                return
            if isinstance(event, AnswerFinished):
                said.count(event)
            else:
                yield replace(said.add(event.text), num_tokens=said.num_tokens + event.num_tokens)
        yield said.add("\n\n")
        if said.reason == "cancelled":
            break
    yield said.finished()


def sections_read(context: "Context") -> "Iterator[tuple[str, str, Section]]":
    """Name of the document, text and place of each section that has been read."""
    from kiv_engine.sections import cut_sections

    for placed in context.documents:
        document = placed.tokens.document
        for section in cut_sections(placed.tokens, context.num_tokens - placed.start, SECTION_TOKENS):
            yield document.name, document.text[section.start : section.end], section


def heading(number: int, total: int, name: str, title: str) -> str:
    """Like `#### 3 / 25 · book.txt · The Whale`; numbers and names need no translation."""
    parts = (f"{number} / {total}", name, title)
    return f"#### {' · '.join(' '.join(part.split()) for part in parts if part)}\n\n"


def without_headings(text: str) -> str:
    """What the model said, each word at its place, for a check of its quotes and numbers."""
    return HEADING.sub(lambda found: " " * len(found[0]), text)


def ask_section(
    engine: "Engine", request: Ask, text: str, should_stop: Callable[[], bool]
) -> Iterator[TextDelta | AnswerFinished | Failed]:
    """Read a section into a context of its own, and ask."""
    from kiv_engine.document import Document

    config = KIVConfig(hot_tokens=SECTION_TOKENS + ROOM_TOKENS, positions=request.options.config.positions)
    context = engine.new_context(config, system=request.options.system or None)
    try:
        for event in context.read(Document("", text), should_stop=should_stop):
            if isinstance(event, Failed):
                yield event
                return
            if isinstance(event, ReadFinished) and event.stopped:
                yield AnswerFinished("", "cancelled", event.tokens_read, 0, 0, 0.0, 0.0, ())
                return
        sampling = replace(request.sampling, max_new_tokens=min(request.sampling.max_new_tokens, ANSWER_TOKENS))
        for answer in context.ask(request.question, sampling, should_stop):
            if isinstance(answer, TextDelta | Failed):
                yield answer
            elif isinstance(answer, AnswerFinished):
                yield replace(answer, prompt_tokens=context.num_tokens - answer.answer_tokens)
    finally:
        context.close()
