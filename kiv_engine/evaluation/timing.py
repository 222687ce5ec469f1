"""Time of decode steps and of plain forwards, and what a step takes from the cold store."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from kiv_engine.layer import KIVLayer
from kiv_engine.reading import READ_CHUNK_TOKENS
from kiv_engine.store import RowTable


def timed_steps(model: Any, cache: Any, steps: int, between: Callable[[int], None] | None = None) -> list[float]:
    """Seconds of each of `steps` single-token forwards; `between(step)` runs untimed after each."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, min(4_096, model.config.vocab_size), (steps,), generator=generator).to(model.device)
    times = []
    with torch.inference_mode():
        for step in range(steps):
            inputs = tokens[step].view(1, 1)
            begin = time.perf_counter()
            model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
            if between is not None:
                between(step)
    return times


def quantile(times: Sequence[float], share: float) -> float:
    """Of seconds, in milliseconds; between two of them it is interpolated."""
    return float(torch.tensor(times, dtype=torch.float64).quantile(share)) * 1e3


def p99(times: Sequence[float]) -> float | None:
    """The 99 % quantile in milliseconds; None for fewer than 100 times, of which it would be the slowest alone."""
    return quantile(times, 0.99) if len(times) >= 100 else None


def forward_chunks(model: Any, ids: torch.Tensor) -> float:
    """Tokens/s of plain forwards without a cache, in the chunks that a context reads in; ids (n,)."""
    begin = time.perf_counter()
    with torch.inference_mode():
        for chunk in ids.long().split(READ_CHUNK_TOKENS):
            model(input_ids=chunk[None].to(model.device), use_cache=False, logits_to_keep=1)
    return len(ids) / (time.perf_counter() - begin)


@contextmanager
def counting_rows(layers: Sequence[KIVLayer]) -> Iterator[list[int]]:
    """Collect the number of rows of every look into a store, for ranking as for attention."""
    counts: list[int] = []
    tables = [table for layer in layers for table in (layer.store.keys, layer.store.values)]
    for table in tables:
        _watch(table, counts)
    try:
        yield counts
    finally:
        for table in tables:
            del table.read, table.gather


def _watch(table: RowTable, counts: list[int]) -> None:
    """Note how many rows each `read` and `gather` of a table returns."""
    read, gather = table.read, table.gather

    def noted(rows: torch.Tensor) -> torch.Tensor:
        counts.append(rows.shape[0] * rows.shape[1])
        return rows

    table.read = lambda *args, **kwargs: noted(read(*args, **kwargs))  # type: ignore[method-assign]
    table.gather = lambda *args, **kwargs: noted(gather(*args, **kwargs))  # type: ignore[method-assign]
