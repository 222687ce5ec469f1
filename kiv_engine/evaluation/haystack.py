"""The document of one length and seed: the sample archive with the material of every task planted in it."""

import random
import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kiv_engine.archive import write_archive
from kiv_engine.errors import ConfigError
from kiv_engine.evaluation.names import Draw
from kiv_engine.evaluation.tasks import MAKERS, NUM_QUOTES, Material, Paragraph, Question, Size, quotes

CountTokens = Callable[[list[str]], list[int]]
PARAGRAPH: Final = "\n\n"
FEWEST_TOKENS: Final = 4_096


@dataclass(frozen=True)
class Haystack:
    """A document and all that can be asked about it."""

    length: int
    seed: int
    text: str
    questions: tuple[Question, ...]


def make_haystack(length: int, seed: int, num_depths: int, count_tokens: CountTokens) -> Haystack:
    """A document of about `length` tokens. Raises ConfigError where that leaves no room for the tasks.

    The same length, seed and tokenizer give the same document, whatever is asked about it.
    """
    if length < FEWEST_TOKENS:
        raise ConfigError(f"A length is {length:,} tokens; the tasks need at least {FEWEST_TOKENS:,}.")
    size = Size.of(length, num_depths)
    materials = _make_materials(size, seed, frozenset())
    room = length - _tokens_of(materials, count_tokens)
    if room < length // 5:
        raise ConfigError(f"{num_depths} depths leave no room in {length:,} tokens; ask for fewer of them.")
    archive = write_archive(room, count_tokens, seed).text
    materials = _make_materials(
        size, seed, frozenset(re.findall(r"\w+", archive))
    )  # anew, without what the archive happens to hold
    paragraphs = [paragraph for material in materials for paragraph in material.paragraphs]
    text = plant(archive, [paragraph for paragraph in paragraphs if paragraph.large])
    text = plant(text, [paragraph for paragraph in paragraphs if not paragraph.large])
    asked = [question for material in materials for question in material.questions]
    drawn = quotes(random.Random(f"quotes {seed} {length}"), archive, text, NUM_QUOTES)
    return Haystack(length, seed, text, (*asked, *drawn))


def _make_materials(size: Size, seed: int, around: frozenset[str]) -> list[Material]:
    draw = Draw(random.Random(f"tasks {seed} {size.tokens}"), around)
    return [make(draw, size) for make in MAKERS.values()]


def _tokens_of(materials: list[Material], count_tokens: CountTokens) -> int:
    texts = [PARAGRAPH + paragraph.text for material in materials for paragraph in material.paragraphs]
    return sum(count_tokens(texts))


def plant(text: str, paragraphs: list[Paragraph]) -> str:
    """The text with other paragraphs between its own, each behind the one in which its depth lies."""
    own = text.split(PARAGRAPH)
    ends, total = [], 0
    for paragraph in own:
        total += len(paragraph) + len(PARAGRAPH)
        ends.append(total)
    places: dict[int, list[str]] = {}
    for planted in sorted(paragraphs, key=lambda each: each.depth):
        places.setdefault(min(bisect_left(ends, planted.depth * total), len(own) - 1), []).append(planted.text)
    pieces = []
    for place, paragraph in enumerate(own):
        pieces += [paragraph, *places.get(place, [])]
    return PARAGRAPH.join(pieces)
