"""Chance, and filling templates. The only source of chance is `random()`, whose sequence Python guarantees."""

import random
import re
from collections.abc import Mapping
from functools import cache

from kiv_engine.archive.words import NUMBERS, SMALL_WORDS, WORDS


def below(rng: random.Random, limit: int) -> int:
    """A whole number from 0 to `limit` - 1."""
    return int(rng.random() * limit)


def pick(rng: random.Random, words: tuple[str, ...]) -> str:
    return words[int(rng.random() * len(words))]


def order(rng: random.Random, length: int) -> list[int]:
    """The places 0 to `length` - 1 in a chance order."""
    order = list(range(length))
    for place in range(length - 1, 0, -1):
        other = below(rng, place + 1)
        order[place], order[other] = order[other], order[place]
    return order


@cache
def _parts(template: str) -> tuple[str, ...]:
    """Text and slot names of a template, by turns: even places are text."""
    return tuple(re.split(r"\{([^}]*)\}", template))


def expand(template: str, rng: random.Random, bound: Mapping[str, str]) -> str:
    """Fill a template's slots.

    `{name}` is bound text or a word of the list of that name (itself a template); `{a name}` puts "a" or "an" before
    it; `{name!}` capitalizes it.
    """
    parts = _parts(template)
    if len(parts) == 1:
        return template
    filled = list(parts)
    for place in range(1, len(parts), 2):
        filled[place] = _fill(parts[place], rng, bound)
        if filled[place] in filled[1:place:2]:  # once more, so that "{folk} met {folk}" is seldom the same folk
            filled[place] = _fill(parts[place], rng, bound)
    return "".join(filled)


def _fill(slot: str, rng: random.Random, bound: Mapping[str, str]) -> str:
    """The text of one slot."""
    if slot in bound:
        return bound[slot]
    if slot.startswith("a "):
        return _with_article(_fill(slot[2:], rng, bound))
    if slot.endswith("!"):
        return capitalized(_fill(slot[:-1], rng, bound))
    if slot in NUMBERS:
        low, high = NUMBERS[slot]
        return str(low + below(rng, high - low + 1))
    return expand(pick(rng, WORDS[slot]), rng, bound)


def _with_article(noun: str) -> str:
    article = "an" if noun[0].lower() in "aeiou" and not noun.startswith(("one", "use", "uni")) else "a"
    return f"{article} {noun}"


def capitalized(text: str) -> str:
    """The text with its first letter a capital, the others as they are."""
    return text[:1].upper() + text[1:]


def titled(heading: str) -> str:
    """The heading with capitals, apart from its small words."""
    return " ".join(word if word in SMALL_WORDS else capitalized(word) for word in heading.split(" "))
