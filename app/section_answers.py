"""A question asked of each section of the documents, one after the other, and the answers collected into one.

Each section is read by itself in a context of its own that holds it whole: nothing of it is left out, and nothing is
compared across sections. One in which nothing was found, or whose answer is word for word that of an earlier one, gets
no text of its own, and its number is told at the end. Runs on the engine's thread; knows nothing of Qt.

That nothing was found is known by the model's own words for it: what it says of something that does not exist. It is
not told to answer with a word of ours: the built-in model, so told, no longer finds what is there.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from app.reports import SectionProgress
from app.requests import Ask
from kiv_engine.config import SECTION_TOKENS, KIVConfig
from kiv_engine.events import AnswerFinished, Failed, FinishReason, ReadFinished, TextDelta

if TYPE_CHECKING:
    from kiv_engine.context import Context
    from kiv_engine.engine import Engine
    from kiv_engine.sections import Section

ANSWER_TOKENS: Final = 256
"""An answer about one section is at most so long."""
ROOM_TOKENS: Final = 1_024
"""What a section's context holds beside it: heading, system prompt, question and answer."""
ABOUT_NOTHING: Final = (
    "What did Quillon Zorblax write to the seventh lighthouse of Xanthippax?",
    "On what day did Yorrick Qwoxley sell a bicycle to Ysolde Quarrenbeck?",
)
"""Nobody knows. An answer that is the same to both is about neither, so it cannot be what a section says."""
NOTHING_TOKENS: Final = 32
"""What is longer is no set phrase."""
SHORT_CHARACTERS: Final = 200
"""Only answers up to here are compared with each other."""


class SectionAnswers:
    """What has been said so far, of how many sections, and the figures of it.

    A section's answer is held back only while it may still become one that needs no text of its own, so that nothing
    that was shown is ever taken away again.

    Attributes:
        text: of all sections, with a heading above each.
        reason: why the last answer ended.
    """

    def __init__(self, total: int, nothing: str) -> None:
        """`nothing`: the model's words for having found nothing; "" if they are not known."""
        self.text = ""
        self.reason: FinishReason = "stop"
        self._total, self._nothing = total, nothing
        self._ended = 0
        self._silent: list[int] = []
        self._first: dict[str, int] = {}
        self._again: dict[int, list[int]] = {}
        self._heading = self._answer = ""
        self._is_shown = False
        self._read = self._written = 0
        self._first_token_s = 0.0
        self._seconds = 0.0

    def begin(self, heading: str) -> None:
        """Turn to the next section."""
        self._heading, self._answer, self._is_shown = heading, "", False

    def go_on(self, piece: TextDelta) -> Iterator[TextDelta]:
        """Take a piece of its answer; what is to be shown now."""
        self._answer += piece.text
        if self._is_shown:
            yield self._show(piece.text, piece.num_tokens)
        elif not self._may_be_known():
            yield self._show(self._heading + self._answer, piece.num_tokens)

    def end(self, answer: AnswerFinished) -> Iterator[TextDelta]:
        """Take the end of its answer with its figures; what is still to be shown. What was stopped has not ended."""
        stopped = answer.finish_reason == "cancelled"
        if not stopped:
            self._ended += 1
        if not stopped and not self._is_shown and not self._put_aside():
            yield self._show(self._heading + self._answer, answer.answer_tokens)
        self._count(answer)
        if self._is_shown:
            yield self._show("\n\n", 0)
        if self._is_shown and not stopped and len(words := compared(self._answer)) <= SHORT_CHARACTERS:
            self._first.setdefault(words, self._ended)

    def progress(self) -> SectionProgress:
        """What has become of the sections until now."""
        again = tuple((first, tuple(numbers)) for first, numbers in self._again.items())
        return SectionProgress(self._total, self._ended, tuple(self._silent), again)

    def finished(self) -> AnswerFinished:
        """All of it as one answer. No passages: whole sections were read."""
        rate = self._written / self._seconds if self._seconds else 0.0
        text = self.text.strip()
        return AnswerFinished(text, self.reason, self._read, 0, self._written, self._first_token_s, rate, ())

    def _show(self, text: str, num_tokens: int) -> TextDelta:
        self.text += text
        self._is_shown = True
        return TextDelta(text, max(1, self._written + num_tokens))

    def _may_be_known(self) -> bool:
        words = compared(self._answer)
        return not words or any(known.startswith(words) for known in (self._nothing, *self._first))

    def _put_aside(self) -> bool:
        """Note the number of a section that needs no text of its own; whether it is one."""
        words = compared(self._answer)
        if words in ("", self._nothing):
            self._silent.append(self._ended)
        elif first := self._first.get(words):
            self._again.setdefault(first, []).append(self._ended)
        else:
            return False
        return True

    def _count(self, answer: AnswerFinished) -> None:
        self._first_token_s = self._first_token_s or answer.first_token_s
        self._read += answer.prompt_tokens
        self._written += answer.answer_tokens
        if answer.decode_tokens_per_s > 0:
            self._seconds += answer.answer_tokens / answer.decode_tokens_per_s
        self.reason = "cancelled" if answer.finish_reason == "cancelled" else "stop"


def ask_by_section(
    engine: "Engine", context: "Context", request: Ask, should_stop: Callable[[], bool]
) -> Iterator[TextDelta | SectionProgress | AnswerFinished | Failed]:
    """Ask the request's question of each section of what `context` has read; that one is left as it is."""
    sections, several = list(sections_read(context)), len(context.documents) > 1
    said = SectionAnswers(len(sections), words_for_nothing(engine, request, should_stop))
    for number, (name, text, section) in enumerate(sections, 1):
        if should_stop():
            said.reason = "cancelled"
            break
        yield said.progress()
        place = request.heading.format(number, len(sections))
        said.begin(heading(place, name if several else "", section.title))
        for event in ask_section(engine, request, f"[{name}, {number} / {len(sections)}]\n\n{text}", should_stop):
            if isinstance(event, Failed):
                yield event
                return
            yield from said.end(event) if isinstance(event, AnswerFinished) else said.go_on(event)
        if said.reason == "cancelled":
            break
    yield said.progress()
    yield said.finished()


def words_for_nothing(engine: "Engine", request: Ask, should_stop: Callable[[], bool]) -> str:
    """What the model says where there is nothing to find, as it is compared; "" if it has no set phrase for that."""
    sampling, heard = replace(request.sampling, temperature=0.0, max_new_tokens=NOTHING_TOKENS), ""
    for question in ABOUT_NOTHING:
        words = ""
        for event in ask_section(engine, replace(request, question=question, sampling=sampling), "", should_stop):
            if isinstance(event, AnswerFinished) and event.finish_reason not in ("length", "cancelled"):
                words = compared(event.text)
        if not words or words != (heard or words):
            return ""
        heard = words
    return heard


def compared(text: str) -> str:
    """A text as it is compared: blanks, capitals and the full stop at its end make no difference."""
    return " ".join(text.split()).casefold().rstrip(".")


def sections_read(context: "Context") -> "Iterator[tuple[str, str, Section]]":
    """Name of the document, text and place of each section that has been read."""
    from kiv_engine.sections import cut_sections

    for placed in context.documents:
        document = placed.tokens.document
        for section in cut_sections(placed.tokens, context.chat_start - placed.start, SECTION_TOKENS):
            yield document.name, document.text[section.start : section.end], section


def heading(*parts: str) -> str:
    """Like `#### Section 3 of 25 · book.txt · The Whale`."""
    return f"#### {' · '.join(' '.join(part.split()) for part in parts if part)}\n\n"


def without_headings(text: str, words: str) -> str:
    """What the model said, each word at its place, for a check of its quotes and numbers.

    `words`: those of the request above each section.
    """
    place = r"[\d,]+".join(re.escape(part) for part in re.split(r"\{.*?\}", words))
    return re.sub(rf"^#### {place}(?: · .*)?$", lambda found: " " * len(found[0]), text, flags=re.MULTILINE)


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
