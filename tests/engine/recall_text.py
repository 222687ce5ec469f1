"""Documents and questions in the symbols of the fixture in tests/fixtures/rope-recall."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

RECALL_FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "rope-recall"


@cache
def vocabulary() -> dict[str, Any]:
    """The ids of the marks and the [first, end) range of each kind of symbol."""
    loaded: dict[str, Any] = json.loads((RECALL_FIXTURE / "vocabulary.json").read_text(encoding="utf-8"))
    return loaded


def recall_document(num_tokens: int, num_facts: int, seed: int) -> tuple[list[int], list[tuple[list[int], list[int]]]]:
    """A document of exactly ``num_tokens`` ids and, per fact in the order of the text, its question and its answer.

    The document starts with BOS; facts stand at random places in random filler. Keys are few, so of 20 facts almost
    half share one of their two keys with another; values are distinct. A question follows the document
    directly, and the model answers with the two values.
    """
    rng = random.Random(seed)
    marks = vocabulary()["marks"]
    pairs = _key_pairs(rng, num_facts)
    values = rng.sample(range(*vocabulary()["values"]), 2 * num_facts)
    answers = [values[start : start + 2] for start in range(0, len(values), 2)]
    ids = [marks["BOS"]]
    for keys, answer, gap in zip(pairs, answers, _gaps(rng, num_tokens, num_facts), strict=True):
        ids += _filler(rng, gap)
        ids += [marks["FACT"], *keys, *answer, marks["SEP"]]
    ids += _filler(rng, num_tokens - len(ids))
    return ids, [([marks["QUERY"], *keys], answer) for keys, answer in zip(pairs, answers, strict=True)]


def _filler(rng: random.Random, count: int) -> list[int]:
    return rng.choices(range(*vocabulary()["fillers"]), k=count)


def _key_pairs(rng: random.Random, count: int) -> list[tuple[int, int]]:
    """Distinct pairs of keys, in random order."""
    keys = range(*vocabulary()["keys"])
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < count:
        pairs[rng.choice(keys), rng.choice(keys)] = None
    return list(pairs)


def _gaps(rng: random.Random, num_tokens: int, num_facts: int) -> list[int]:
    """How much filler stands before each fact: cuts that are uniform over all the filler of the document."""
    filler = num_tokens - 1 - vocabulary()["fact_tokens"] * num_facts
    if filler < 0:
        raise ValueError(f"{num_facts} facts do not fit in {num_tokens} tokens")
    cuts = sorted(rng.randint(0, filler) for _ in range(num_facts))
    return [end - start for start, end in zip([0, *cuts], cuts, strict=False)]
