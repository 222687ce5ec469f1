"""The facts that a designed model's search is learned from, as token ids: those of `demo_data`, without its worlds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from demo_circuits import sentence_ends
from demo_data import Recipe, WorldMaker
from tokenizers import Tokenizer

from kiv_engine.archive import write_archive

FACTS: Recipe = Recipe(chunks=16, chunk_tokens=136, facts=46, questions=16, near=0.75, archive=0.2)
"""Three quarters are near-duplicates; 16 questions are about what is not there."""


@dataclass(frozen=True)
class StatedFact:
    """A fact: the ids of its sentence, and a question about it."""

    tokens: list[int]
    question: str


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, each in one line."""
    return [" ".join(sentence.split()) for sentence in re.split(r"(?<=[.!?])\s+|\n+", text) if sentence.strip()]


def encode_sentences(tokenizer: Tokenizer, text: str) -> list[list[int]]:
    """The ids of a text's sentences of a usual length, each behind a space."""
    texts = [f" {sentence}" for sentence in split_sentences(text)]
    return [
        encoded.ids for encoded in tokenizer.encode_batch(texts, add_special_tokens=False) if 4 < len(encoded.ids) < 200
    ]


def archive_sentences(tokenizer: Tokenizer, seed: int, tokens: int = 150_000) -> list[list[int]]:
    """The sentences of a sample archive that state no fact."""

    def count(pieces: list[str]) -> list[int]:
        return [len(encoded.ids) for encoded in tokenizer.encode_batch(pieces, add_special_tokens=False)]

    archive = write_archive(tokens, count, seed)
    text = archive.text
    for fact in archive.facts:
        text = text.replace(fact.sentence, "")
    return encode_sentences(tokenizer, text)


class FactMaker:
    """Makes facts and questions about what is not there, by one chain of chance."""

    def __init__(self, tokenizer: Tokenizer, seed: int, archive_seeds: Sequence[int] = ()) -> None:
        self._worlds = WorldMaker(tokenizer, seed, archive_seeds)
        self._ends = set(sentence_ends(tokenizer))

    def facts(self) -> tuple[list[StatedFact], list[str]]:
        """The facts of one document that are single sentences, and questions about what is not in it."""
        made, absent = self._worlds.facts(FACTS)
        kept = [
            StatedFact(fact.tokens, fact.question) for fact in made if not self._ends.intersection(fact.tokens[:-1])
        ]
        return kept, absent
