"""Bytes on the shape of Gemma 4 E2B: hot window, index and rows fetched per step, at 4K and at a million tokens.

The shape: three growing layers of one KV head with head_dim 512 in bfloat16, met by seven attending layers of eight
query heads (the last growing layer also serves the four layers that share its K and V). The layers are built without a
model, set as on a GPU whose cold store lies in host memory (2 index bits: the codes rank alone, so that only what is
attended crosses the bus), filled with random K and V, and then decode some steps. No time is measured.

    hot      bytes of sinks and hot window while decoding; must be at most 13 MB, and the same at both lengths
    index    bytes of the codes with all that belongs to them; must be at most 1/8 of the bfloat16 bytes of K
    fetched  bytes of the K and V rows that one step takes from the store, for ranking or for attention; must be at most
             4 MB. Counted where the store is read; `rows_reported` is what the layers' own counter says

    python benchmarks/bytes.py [--tokens 1048576]        (needs about 7 GB of RAM)
"""

import argparse
import json
import sys
from dataclasses import dataclass
from typing import Any, Final

import torch

from kiv_engine import KIVConfig
from kiv_engine.evaluation.shapes import GEMMA_4_E2B, build_layers, random_rows
from kiv_engine.evaluation.timing import counting_rows
from kiv_engine.layer import KIVLayer
from kiv_engine.prefill import ScoreRule

SHAPE: Final = GEMMA_4_E2B
SHORT: Final = 4_096
CHUNK_TOKENS: Final = 4_096
ELEMENT_BYTES: Final = 2
ROW_BYTES: Final = SHAPE.row_bytes(ELEMENT_BYTES)
MAX_HOT_BYTES: Final = 13_000_000
MAX_FETCHED_BYTES: Final = 4_000_000
MAX_INDEX_SHARE: Final = 1 / 8


@dataclass(frozen=True)
class Count:
    """Bytes at one length, over all layers."""

    tokens: int
    hot: int
    index: int
    cold_keys: int
    cold_values: int
    rows_per_step: int
    rows_reported: int

    @property
    def fetched_per_step(self) -> int:
        return self.rows_per_step * ROW_BYTES

    @property
    def index_share(self) -> float:
        """Of the bytes of K that the index stands for."""
        return self.index / self.cold_keys

    def as_row(self) -> dict[str, Any]:
        return {**vars(self), "fetched_per_step": self.fetched_per_step, "index_over_keys": self.index_share}


def grow(layers: list[KIVLayer], num_tokens: int, generator: torch.Generator) -> None:
    """Fill to `num_tokens` by plain updates."""
    while (held := layers[0].num_tokens) < num_tokens:
        count = min(CHUNK_TOKENS, num_tokens - held)
        for layer in layers:
            layer.update(
                random_rows(SHAPE, count, generator, torch.bfloat16),
                random_rows(SHAPE, count, generator, torch.bfloat16),
            )
        if held // (64 * CHUNK_TOKENS) < (held + count) // (64 * CHUNK_TOKENS):
            print(f"  {held + count:,} tokens", file=sys.stderr, flush=True)


def decode(layers: list[KIVLayer], generator: torch.Generator) -> tuple[int, int]:
    """One step; the rows taken from the stores, and how many of them the layers report."""
    before = sum(layer.rows_fetched for layer in layers)
    rule = ScoreRule(scaling=1.0)
    for layer in layers:
        layer.update(random_rows(SHAPE, 1, generator, torch.bfloat16), random_rows(SHAPE, 1, generator, torch.bfloat16))
    with counting_rows(layers) as counts:
        attend_all(layers, rule, generator)
    return sum(counts), sum(layer.rows_fetched for layer in layers) - before


def attend_all(layers: list[KIVLayer], rule: ScoreRule, generator: torch.Generator) -> None:
    """One query token in every attending layer."""
    for attending, owner in enumerate(SHAPE.attending):
        # Scaling 1, as in the model: short queries keep the softmax from being all one token.
        queries = (
            torch.randn((SHAPE.kv_heads, SHAPE.query_heads // SHAPE.kv_heads, 1, SHAPE.head_dim), generator=generator)
            * SHAPE.head_dim**-0.5
        )
        layers[owner].attend(attending, queries.bfloat16(), rule)


def count(layers: list[KIVLayer], steps: int, generator: torch.Generator) -> Count:
    """Decode some steps and add up the parts; of the steps the one that fetches most counts."""
    rows, reported = max(decode(layers, generator) for _ in range(steps))
    parts = [layer.bytes_by_part() for layer in layers]
    totals = {name: sum(part[name] for part in parts) for name in parts[0]}
    return Count(tokens=layers[0].num_tokens, rows_per_step=rows, rows_reported=reported, **totals)


def print_table(counts: list[Count]) -> None:
    """A column per length."""
    for name in counts[0].as_row():
        cells = (each.as_row()[name] for each in counts)
        print(
            f"{name:<20}" + "".join(f"{cell:>18,.4f}" if isinstance(cell, float) else f"{cell:>18,}" for cell in cells)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_048_576)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--index-bits", type=int, choices=(1, 2), default=2)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    layers = build_layers(SHAPE, SHAPE.growing, KIVConfig(index_bits=options.index_bits))
    counts = []
    with torch.inference_mode():
        for length in (SHORT, options.tokens):
            grow(layers, length, generator)
            counts.append(count(layers, options.steps, generator))
    short, long = counts
    print_table(counts)
    result = {
        "benchmark": "bytes",
        "shape": SHAPE.name,
        "short": short.as_row(),
        "long": long.as_row(),
        "hot_is_constant": short.hot == long.hot,
        "hot_within_limit": long.hot <= MAX_HOT_BYTES,
        "index_within_limit": long.index_share <= MAX_INDEX_SHARE,
        "fetched_within_limit_short": short.fetched_per_step <= MAX_FETCHED_BYTES,
        "fetched_within_limit": long.fetched_per_step <= MAX_FETCHED_BYTES,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
