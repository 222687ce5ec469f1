"""Facts: drawn without repeating one, with near-duplicates among them, and put into a sentence and a question."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kiv_engine.archive.families import FAMILIES, Attribute
from kiv_engine.archive.grammar import below, capitalized, expand, pick
from kiv_engine.archive.words import WORDS, lines


@dataclass(frozen=True)
class ArchiveFact:
    """One fact. `start` and `end` are the character offsets of `sentence` in the archive's text."""

    subject: str
    attribute: str
    value: str
    question: str
    sentence: str
    start: int
    end: int

    def moved(self, offset: int) -> "ArchiveFact":
        """The fact with its sentence `offset` characters further on."""
        return replace(self, start=self.start + offset, end=self.end + offset)


class FactSource:
    """Draws facts, no (subject, attribute) pair twice, with natural near-duplicates among them."""

    def __init__(self) -> None:
        self._used: set[tuple[int, tuple[int, int], str]] = set()
        self._known: list[tuple[int, tuple[int, int], Attribute]] = []

    def draw(self, rng: random.Random, bound: Mapping[str, str]) -> ArchiveFact:
        """A new fact, its sentence filled from `bound`, its offsets those of the sentence alone."""
        place, key, attribute = self._new_pair(rng)
        self._used.add((place, key, attribute.name))
        self._known.append((place, key, attribute))
        subject = FAMILIES[place].subject(key)
        value = expand(pick(rng, WORDS[attribute.value]), rng, {})
        sentence, question = _phrasing(attribute, not FAMILIES[place].first, rng)
        verb = "are" if attribute.name.endswith("hours") else "is"
        slots = {**_NOBODY, **bound, "S": subject, "T": attribute.name, "V": value, "is": verb}
        said, asked = (capitalized(expand(template, rng, slots)) for template in (sentence, question))
        return ArchiveFact(subject, attribute.name, value, asked, said, 0, len(said))

    def _new_pair(self, rng: random.Random) -> tuple[int, tuple[int, int], Attribute]:
        """A family's place, a subject's key and an attribute that were not drawn together before."""
        tries = 0
        while True:
            place, key, attribute = self._candidate(rng, 900 + 2 * len(self._known) + 100 * tries)
            if (place, key, attribute.name) not in self._used:
                return place, key, attribute
            tries += 1

    def _candidate(self, rng: random.Random, numbers: int) -> tuple[int, tuple[int, int], Attribute]:
        """A known subject's other attribute, a similar subject's same attribute, or, most often, anything."""
        chance = rng.random()
        if self._known and chance < 0.4:
            place, key, attribute = self._known[below(rng, len(self._known))]
            family = FAMILIES[place]
            if chance < 0.2:
                return place, key, family.attributes[below(rng, len(family.attributes))]
            return place, family.similar_key(key, rng), attribute
        place = below(rng, len(FAMILIES))
        family = FAMILIES[place]
        return place, family.chance_key(rng, numbers), family.attributes[below(rng, len(family.attributes))]


def _phrasing(attribute: Attribute, numbered: bool, rng: random.Random) -> tuple[str, str]:
    """The templates of a fact's sentence and question: about one in four plain, the others varied."""
    if not attribute.is_person and rng.random() < (0.5 if numbered else 0.22):
        return _PLAIN_SENTENCE, _PLAIN_QUESTION
    sentences = attribute.sentences if rng.random() < 0.35 else _FACT_SENTENCES
    generic = _WHO_QUESTIONS if attribute.is_person else _WHAT_QUESTIONS
    return pick(rng, sentences), pick(rng, attribute.questions if rng.random() < 0.5 else generic)


_NOBODY = {"A": "the clerk", "A.he": "he", "A.his": "his", "B": "the sexton"}
_PLAIN_SENTENCE = "By the way, {S}'s {T} {is} {V}."
_PLAIN_QUESTION = "What {is} {S}'s {T}?"


# {S} is the subject, {T} the attribute, {V} the value. No template begins with {V}: the value stands as it is.
_FACT_SENTENCES = lines("""
    The clerk noted in the margin that the {T} of {S} {is} {V}.
    For the record, {S}'s {T} {is} {V}, whatever they say at {inn}.
    {A} swears that {S}'s {T} {is} {V}, and {A.he} looked it up twice.
    Note well: the {T} of {S} {is} {V}.
    As for {S}, the {T} {is} {V}, and nobody disputes it.
    Ask any child in {street} and you will hear that the {T} of {S} {is} {V}.
    The entry for {S} reads as follows: {T}, {V}.
    Under {S} the register gives {V} as the {T}.
    A penciled line gives {S}'s {T} as {V}.
    Let no one forget again that {S}'s {T} {is} {V}.
    {A} lost a wager of three eels by denying that the {T} of {S} {is} {V}.
    When asked about the {T} of {S}, {B} looked it up and answered: {V}.
    Painted on a board outside {place}, for all to read: {T} of {S}, {V}.
    Three separate hands confirm that {S}'s {T} {is} {V}.
    It is written on the back of an old menu that the {T} of {S} {is} {V}.
    {B} would like it known that {S}'s {T} {is} {V} and has never been anything else.
    After some argument it was agreed that {V} {is} the correct {T} of {S}.
    A slip of paper tucked in here says only this: {S}, {T}, {V}.
""")
_WHAT_QUESTIONS = lines("""
    What {is} {S}'s {T}?
    What {is} the {T} of {S}?
    According to the archive, what {is} {S}'s {T}?
    Can you tell me the {T} of {S}?
    What does the archive give as the {T} of {S}?
    Please look up {S}'s {T}: what {is} it?
""")
_WHO_QUESTIONS = lines("""
    Who is {S}'s {T}?
    Who is the {T} of {S}?
    According to the archive, who is {S}'s {T}?
    Can you tell me the name of {S}'s {T}?
    Whom does the archive name as the {T} of {S}?
""")
