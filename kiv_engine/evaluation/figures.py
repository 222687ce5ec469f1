"""Lines of results turned into rates: per task, length and cache."""

import math
import statistics
from collections.abc import Iterable
from typing import Any, Final

from kiv_engine.evaluation.tasks import NEEDLE_TASKS

Z: Final = 1.96


def wilson(right: float, total: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a rate (https://doi.org/10.2307/2276774).

    It takes the cases as independent; cases of one document are not, and for them it is too narrow.
    """
    rate, square = right / total, Z * Z / total
    middle = (rate + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(rate * (1 - rate) / total + square / (4 * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def share(flags: Iterable[bool]) -> float | None:
    """How many of the flags are set; None where there are none."""
    some = list(flags)
    return sum(some) / len(some) if some else None


def rate_of(records: list[dict[str, Any]], name: str = "found") -> float | None:
    """Mean over questions of the share of parts found (RULER's string match)."""
    scores = [sum(record[name]) / len(record[name]) for record in records if record.get(name)]
    return statistics.fmean(scores) if scores else None


def summarize(records: list[dict[str, Any]], ceiling: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates of some answers, and how they compare with the ceiling's answers to the same questions."""
    rate = rate_of(records)
    row: dict[str, Any] = {
        "questions": len(records),
        "rate": rate,
        "shown": rate_of(records, "shown"),
        "interval": wilson(rate * len(records), len(records)) if rate is not None else None,
        "first_token_s": median_of(records, "first_token_s"),
        "token_s": median_of(records, "token_s"),
    }
    if ceiling:
        row |= compare(records, ceiling)
    return row


def median_of(records: list[dict[str, Any]], name: str) -> float | None:
    """The median of one figure over the answers that have it."""
    some = [record[name] for record in records if record.get(name) is not None]
    return statistics.median(some) if some else None


def compare(records: list[dict[str, Any]], ceiling: list[dict[str, Any]]) -> dict[str, Any]:
    """Agreement with the ceiling: of the parts that it found, the share that was found without it, too."""
    by_question = {(record["document"], record["question"]): record for record in records}
    pairs = [
        (by_question[key], record)
        for record in ceiling
        if (key := (record["document"], record["question"])) in by_question
    ]
    both = [
        mine
        for default, everything in pairs
        for mine, theirs in zip(default["found"], everything["found"], strict=True)
        if theirs
    ]
    return {
        "ceiling": rate_of([record for _, record in pairs]),
        "ceiling_parts": len(both),
        "agreement": share(both),
    }


def by_depth(records: list[dict[str, Any]], num_depths: int) -> list[float | None]:
    """Rate of the needle tasks in each part of the document."""
    needles = [record for record in records if record["task"] in NEEDLE_TASKS]
    return [
        rate_of([record for record in needles if int(record["depth"] * num_depths) == part])
        for part in range(num_depths)
    ]
