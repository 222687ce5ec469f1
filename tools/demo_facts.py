"""The facts that the built-in model's search is learned from, as token ids, with questions about them."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from demo_data import Names, Phrasing
from demo_tokens import encode, sentence_ends
from tokenizers import Tokenizer

from kiv_engine.archive import Archive, write_archive

FACTS: Final = 92
ABSENT: Final = 32
"""Facts of a document, and questions about what is not in it."""
NEAR: Final = 0.75
ARCHIVE: Final = 0.2
"""The shares of facts that are near-duplicates of others, and of those from the sample archive."""
ARCHIVE_TOKENS: Final = 150_000
"""The length of a sample archive."""
CLUSTER_ENDS: Final = 0.1
"""How often near-duplicates turn to something else: there are about ten of each."""
LISTS: Final = 4
LONGEST_LIST: Final = 12
"""Lists in a document, and entries of one."""
FOLLOWING: Final = 0.15
"""The share of questions that refer to the one before."""

Known = tuple[str, tuple[str, ...], str, str]
"""A subject's pattern and slots, an attribute and the sort of its values."""


@dataclass(frozen=True)
class Asked:
    """A question; `before`: the one that it refers to, if it does."""

    text: str
    before: str | None = None


@dataclass(frozen=True)
class StatedFact:
    """A fact: the ids of its sentence, and a question about its subject and attribute."""

    tokens: list[int]
    question: Asked
    subject: str
    attribute: str


@dataclass(frozen=True)
class Document:
    """What one batch is learned from.

    Attributes:
        facts: single sentences that each answer a question.
        absent: questions about what none of them says.
        titles: ids of sentences that no question is about, which say what an attribute's list is of.
    """

    facts: list[StatedFact]
    absent: list[Asked]
    titles: list[list[int]]


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, each in one line."""
    return [" ".join(sentence.split()) for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", text) if sentence.strip()]


def encode_sentences(tokenizer: Tokenizer, text: str) -> list[list[int]]:
    """The ids of a text's sentences of a usual length, each behind a space."""
    texts = [f" {sentence}" for sentence in split_sentences(text)]
    return [
        encoded.ids for encoded in tokenizer.encode_batch(texts, add_special_tokens=False) if 4 < len(encoded.ids) < 200
    ]


def _archive(tokenizer: Tokenizer, seed: int, tokens: int) -> Archive:
    def count(pieces: list[str]) -> list[int]:
        return [len(encoded.ids) for encoded in tokenizer.encode_batch(pieces, add_special_tokens=False)]

    return write_archive(tokens, count, seed)


def archive_sentences(tokenizer: Tokenizer, seed: int, tokens: int = ARCHIVE_TOKENS) -> list[list[int]]:
    """The sentences of a sample archive that state no fact."""
    archive = _archive(tokenizer, seed, tokens)
    text = archive.text
    for fact in archive.facts:
        text = text.replace(fact.sentence, "")
    return encode_sentences(tokenizer, text)


class FactMaker:
    """Makes facts and questions about what is not there, by one chain of chance."""

    def __init__(self, tokenizer: Tokenizer, seed: int, archive_seeds: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        tokens = sorted(tokenizer.get_vocab())
        words = [token[1:] for token in tokens if re.fullmatch("Ġ[a-z]{3,}", token)]
        starts = [token[1:] for token in tokens if re.fullmatch("Ġ[A-Za-z]+", token)]
        pieces = [token for token in tokens if re.fullmatch("[a-z]+", token)]
        self._names = Names(self._rng, words, starts, pieces)
        self._phrasing = Phrasing(self._names)
        self._ends = set(sentence_ends(tokenizer))
        self._archive = [fact for archive_seed in archive_seeds for fact in self._archive_facts(archive_seed)]

    def _archive_facts(self, seed: int) -> list[StatedFact]:
        return [
            StatedFact(encode(self._tokenizer, f" {fact.sentence}"), Asked(fact.question), fact.subject, fact.attribute)
            for fact in _archive(self._tokenizer, seed, ARCHIVE_TOKENS).facts
        ]

    def document(self) -> Document:
        """The facts of one document that are single sentences, and questions about what is not in it."""
        rng, names = self._rng, self._names
        used: set[tuple[str, str]] = set()
        known: list[Known] = []
        made: list[StatedFact] = []
        listed: list[Known] = []
        titles = [title for _ in range(LISTS) for title in self._add_list(made, used, listed)]
        middle = 0
        while len(made) < FACTS:
            if self._archive and rng.random() < ARCHIVE:
                self._add_archive_facts(made, used, rng.randrange(1, 9))
                continue
            if known and rng.random() < NEAR:
                middle = rng.randrange(len(known)) if rng.random() < CLUSTER_ENDS else middle
                pattern, slots, attribute, sort = known[middle]
                if rng.random() < 0.4:
                    attribute, sort = names.attribute()
                else:
                    pattern, slots = names.similar(pattern, slots)
            else:
                (pattern, slots), (attribute, sort) = names.subject_slots(), names.attribute()
            subject = pattern.format(*slots)
            if (subject, attribute) not in used:
                used.add((subject, attribute))
                known.append((pattern, slots, attribute, sort))
                sentence = self._phrasing.sentence(subject, attribute, names.value(sort))
                question = self._question(known, subject, attribute, sort)
                made.append(StatedFact(encode(self._tokenizer, f" {sentence}"), question, subject, attribute))
        absent = self._absent_questions(known, listed, used)
        rng.shuffle(made)
        return Document([fact for fact in made if not self._ends.intersection(fact.tokens[:-1])], absent, titles)

    def _question(self, known: list[Known], subject: str, attribute: str, sort: str) -> Asked:
        """A question, which may refer to one before: about the same subject, or the same attribute of another one."""
        rng, phrasing = self._rng, self._phrasing
        if rng.random() >= FOLLOWING:
            return Asked(phrasing.question(subject, attribute, sort))
        named = [(pattern.format(*slots), *asked) for pattern, slots, *asked in known]
        others = [name for name, other, _ in named if name != subject and other == attribute]
        if others and rng.random() < 0.4:
            return Asked(phrasing.and_another(subject), phrasing.question(rng.choice(others), attribute, sort))
        more = [asked for name, *asked in named if name == subject and asked[0] != attribute]
        other, other_sort = rng.choice(more) if more else self._names.attribute()
        return Asked(phrasing.follow_up(attribute, sort), phrasing.question(subject, other, other_sort))

    def _add_list(self, made: list[StatedFact], used: set[tuple[str, str]], listed: list[Known]) -> list[list[int]]:
        """Entries with nothing but a name and a value; the list may have a title, which tells what they are."""
        rng, names, phrasing = self._rng, self._names, self._phrasing
        attribute, sort = names.attribute()
        pattern, slots = names.subject_slots()
        entry = phrasing.entry()
        for _ in range(rng.randrange(2, LONGEST_LIST)):
            subject = pattern.format(*slots)
            if (subject, attribute) not in used:
                used.add((subject, attribute))
                listed.append((pattern, slots, attribute, sort))
                line = phrasing.fill(entry, subject, attribute, names.value(sort))
                question = self._question(listed, subject, attribute, sort)
                made.append(StatedFact(encode(self._tokenizer, f" {line}\n"), question, subject, attribute))
            pattern, slots = names.similar(pattern, slots) if rng.random() < NEAR else names.subject_slots()
        if rng.random() < 0.5:
            return []
        return [encode(self._tokenizer, f" {phrasing.fill(phrasing.title(), '', attribute, '')}\n")]

    def _add_archive_facts(self, made: list[StatedFact], used: set[tuple[str, str]], count: int) -> None:
        """Facts that stand close to each other in an archive, where near-duplicates are close too."""
        start = self._rng.randrange(max(1, len(self._archive) - count))
        for fact in self._archive[start : start + count]:
            key = fact.subject, fact.attribute
            if key not in used:
                used.add(key)
                made.append(fact)

    def _absent_questions(self, known: list[Known], listed: list[Known], used: set[tuple[str, str]]) -> list[Asked]:
        """About a known subject's other attribute, a similar subject's, something of another archive, or anything.

        An entry of a list does not say what its value is, so nothing else is asked about its subject.
        """
        rng, names = self._rng, self._names
        questions: list[Asked] = []
        while len(questions) < ABSENT:
            chance = rng.random()
            if self._archive and 0.7 <= chance < 0.85:
                fact = rng.choice(self._archive)
                if (fact.subject, fact.attribute) not in used:
                    questions.append(fact.question)
                continue
            attribute, sort = names.attribute()
            if known and chance < 0.35:
                pattern, slots, *_ = rng.choice(known)
            elif known and chance < 0.7:
                pattern, slots, attribute, sort = rng.choice(known + listed)
                pattern, slots = names.similar(pattern, slots)
            else:
                pattern, slots = names.subject_slots()
            subject = pattern.format(*slots)
            if (subject, attribute) not in used:
                questions.append(self._question(known, subject, attribute, sort))
        return questions
