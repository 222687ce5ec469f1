"""An archive of a given length: sections bound together, the last one cut to what is left."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

from kiv_engine.archive.facts import ArchiveFact, FactSource
from kiv_engine.archive.words import CLOSINGS
from kiv_engine.archive.writer import Section, Writer
from kiv_engine.errors import ConfigError

MIN_TOKENS = 200
"""The shortest archive, in tokens: the title, one heading and some sentences."""

CountTokens = Callable[[list[str]], list[int]]
"""Gives the number of tokens of each piece of text."""


@dataclass(frozen=True)
class Archive:
    """A finished archive: its text, its facts in the order of the text, and the seed it was written from."""

    text: str
    facts: tuple[ArchiveFact, ...]
    seed: int


def write_archive(num_tokens: int, count_tokens: CountTokens, seed: int = 0) -> Archive:
    """Write an archive of `num_tokens` tokens or just under (at most 1 % under from 2,000 tokens on, never over).

    `count_tokens(pieces)` gives the token count of each piece, without special tokens. Sections are written one after
    another, each from its own seed, so a longer archive of the same seed and tokenizer begins with the text of a
    shorter one up to the shorter one's last paragraph, which is cut and closed to length.
    """
    if num_tokens < MIN_TOKENS:
        raise ConfigError(f"An archive needs at least {MIN_TOKENS} tokens, not {num_tokens}.")
    if seed < 0:
        raise ConfigError(f"An archive's seed must not be negative, as {seed} is.")
    separator = _separator_tokens(count_tokens)
    whole, room, last = _whole_sections(num_tokens, count_tokens, separator, seed)
    if (tail := _cut(last, room, count_tokens)) is not None:
        return _bind([*whole, tail], seed)
    if not whole:
        raise ConfigError(f"{num_tokens} tokens of this tokenizer do not hold the archive's first sentence.")
    room += separator + count_tokens([whole[-1].text])[0]
    return _bind([*whole[:-1], _close(whole[-1], room, count_tokens)], seed)


def absent_questions(archive: Archive, count: int, seed: int = 0) -> tuple[str, ...]:
    """Write `count` distinct questions, in the archive's own style, about subjects that its text does not name."""
    source = FactSource()
    rng = random.Random(seed)
    named = {fact.subject for fact in archive.facts}
    questions: dict[str, None] = {}
    while len(questions) < count:
        fact = source.draw(rng, {})
        if fact.subject not in named:
            questions[fact.question] = None
    return tuple(questions)


def _separator_tokens(count_tokens: CountTokens) -> int:
    """An upper bound of the tokens that joining two sections costs beyond their own counts."""
    alone, before, after, joined = count_tokens(["\n\n", "It rained.", "CHAPTER", "It rained.\n\nCHAPTER"])
    return max(alone, joined - before - after)


def _whole_sections(
    num_tokens: int, count_tokens: CountTokens, separator: int, seed: int
) -> tuple[list[Section], int, Section]:
    """The sections that fit `num_tokens`, the tokens left for the text of one more, and the first that does not fit."""
    sections = Writer(seed).sections()
    whole: list[Section] = []
    room, mean = num_tokens, 1_000
    while True:
        batch = list(itertools.islice(sections, max(1, min(512, room // mean + 1))))
        for section, tokens in zip(batch, count_tokens([section.text for section in batch]), strict=True):
            if tokens > room:
                return whole, room, section
            whole.append(section)
            room -= tokens + separator
        mean = max(1, (num_tokens - room) // len(whole))


def _cut(section: Section, room: int, count_tokens: CountTokens) -> Section | None:
    """The longest run of whole sentences of `section` that fits `room` tokens, closed to length; None if none fits."""
    counts = count_tokens([section.text[:cut] for cut in section.cuts])
    fitting = [cut for cut, tokens in zip(section.cuts, counts, strict=True) if tokens <= room]
    return _close(section.until(fitting[-1]), room, count_tokens) if fitting else None


def _close(section: Section, room: int, count_tokens: CountTokens) -> Section:
    """Add the longest closing sentences that still fit `room` tokens, each at most once."""
    closings = list(CLOSINGS)
    while closings:
        counts = count_tokens([section.plus(closing).text for closing in closings])
        fitting = [(tokens, closing) for tokens, closing in zip(counts, closings, strict=True) if tokens <= room]
        if not fitting:
            break
        section = section.plus(max(fitting)[1])
        closings = [closing for _, closing in fitting if not section.text.endswith(closing)]
    return section


def _bind(sections: list[Section], seed: int) -> Archive:
    """Join the sections with blank lines and move their facts to their place in the whole text."""
    facts: list[ArchiveFact] = []
    offset = 0
    for section in sections:
        facts += [fact.moved(offset) for fact in section.facts]
        offset += len(section.text) + 2
    return Archive("\n\n".join(section.text for section in sections), tuple(facts), seed)
