"""From hit sets to passages: the stretches of the documents that an answer drew on, ranked by softmax mass."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

import torch

from kiv_engine.document import TokenizedDocument
from kiv_engine.events import Passage
from kiv_engine.hits import LayerHits

MERGE_TOKENS: Final = 24
"""Heavy tokens no further apart than this belong to one passage."""

HEAVY_TOKENS: Final = 256
"""So many of the heaviest tokens are grouped into passages."""

ENOUGH_MASS: Final = 0.95
"""The heaviest tokens with this share of the mass are evidence; in a short text, all others would be heavy, too."""

CONTEXT_CHARS: Final = 80
"""A passage grows to the ends of its sentences, by at most this much on either side."""

SENTENCE_ENDS: Final = (". ", "! ", "? ", ".\n", "!\n", "?\n", "\n")


@dataclass(frozen=True)
class PlacedDocument:
    """A document and the token position in the context where it begins."""

    tokens: TokenizedDocument
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.tokens.ids)

    def part_of(self, token: int) -> tuple[int, int, int]:
        """What tells the page, section and row of a token from others."""
        return self.tokens.document.places.part(int(self.tokens.starts[token - self.start]))


def token_mass(hits: Iterable[LayerHits], num_tokens: int) -> torch.Tensor:
    """Softmax mass per position, (num_tokens,) float32, summed over steps and averaged over layers and heads."""
    mass = torch.zeros(num_tokens)
    steps = set()
    count = 0
    for record in hits:
        tokens, weight = record.token_mass()
        mass.index_add_(0, tokens, weight.float())
        steps.add(record.position)
        count += 1
    return mass * (len(steps) / count) if count else mass


def rank_passages(
    mass: torch.Tensor, documents: Iterable[PlacedDocument], sink_tokens: int, count: int
) -> tuple[Passage, ...]:
    """The `count` heaviest passages. Sinks take mass by design and are no evidence, so they are left out."""
    documents = list(documents)
    evidence = torch.zeros_like(mass)
    for document in documents:
        evidence[document.start : document.end] = mass[document.start : document.end]
    evidence[:sink_tokens] = 0
    total = float(evidence.sum())
    if total <= 0:
        return ()
    ranked = sorted(_groups(evidence, documents), key=lambda group: -group[2])
    passages = (_passage(documents[index], tokens, weight / total) for index, tokens, weight in ranked)
    return tuple(islice((passage for passage in passages if passage.text), count))


def _groups(evidence: torch.Tensor, documents: list[PlacedDocument]) -> list[tuple[int, tuple[int, int], float]]:
    """Neighbouring heavy tokens as (document index, (first, end) position, mass of all tokens in between)."""
    best = evidence.topk(min(HEAVY_TOKENS, evidence.shape[0]))
    heavier = best.values.cumsum(0) - best.values
    heavy = best.indices[heavier < ENOUGH_MASS * evidence.sum()].sort().values.tolist()
    groups: list[tuple[int, tuple[int, int], float]] = []
    for index, document in enumerate(documents):
        inside = [token for token in heavy if document.start <= token < document.end]
        for first, last in _runs(inside, document):
            groups.append((index, (first, last + 1), float(evidence[first : last + 1].sum())))
    return groups


def _runs(tokens: list[int], document: PlacedDocument) -> list[tuple[int, int]]:
    """Neighbours together, (first, last), but never two pages, sections or rows."""
    runs: list[tuple[int, int]] = []
    part_before = None
    for token in tokens:
        part = document.part_of(token)
        if runs and token - runs[-1][1] <= MERGE_TOKENS and part == part_before:
            runs[-1] = (runs[-1][0], token)
        else:
            runs.append((token, token))
        part_before = part
    return runs


def _passage(document: PlacedDocument, tokens: tuple[int, int], weight: float) -> Passage:
    text = document.tokens.document.text
    start, end = document.tokens.char_range(tokens[0] - document.start, tokens[1] - document.start)
    places = document.tokens.document.places
    part_start, part_end = places.span(start, len(text))
    start, end = _grow(text, start, end, min(part_start, start), max(part_end, end))
    place = places.at(start)
    return Passage(
        document=document.tokens.document.name,
        page=place.page,
        start=start,
        end=end,
        token_start=tokens[0],
        token_end=tokens[1],
        weight=weight,
        text=text[start:end],
        section=place.section,
        row=place.row,
        line=place.line,
    )


def _grow(text: str, start: int, end: int, low: int, high: int) -> tuple[int, int]:
    """Extend to sentence ends, or to word ends where none is near, inside [low, high); without white space around."""
    while start < end - 1 and text[start].isspace():  # a word's token may begin with the space that ends a sentence
        start += 1
    floor, ceiling = max(low, start - CONTEXT_CHARS), min(high, end + CONTEXT_CHARS)
    before = max(
        (text.rfind(mark, floor, start) + len(mark) for mark in SENTENCE_ENDS if mark in text[floor:start]), default=-1
    )
    last = max(start, end - 1)  # what is there may end a sentence itself
    after = min(
        (text.find(mark, last, ceiling) + len(mark) for mark in SENTENCE_ENDS if mark in text[last:ceiling]), default=-1
    )
    start = before if before >= 0 else (floor > low and text.find(" ", floor, start) + 1) or floor
    end = after if after >= 0 else (text.rfind(" ", end, ceiling) if ceiling < high else ceiling)
    if end < 0:
        end = ceiling
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
