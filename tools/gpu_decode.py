"""Decode steps on a device: Shape B, a whole model, and the attention of Gemma 4 E2B, its layers alone.

Of each length: milliseconds a step, bytes fetched from RAM a step, bytes of the index, and the most VRAM taken.
Prints a table, and one JSON line last.

    python tools/gpu_decode.py [--device cuda] [--lengths 4096 131072 1048576] [--steps 200]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.errors import EngineError
from kiv_engine.evaluation import shapes
from kiv_engine.evaluation.machine import describe_machine
from kiv_engine.evaluation.shapes import GEMMA_4_E2B
from kiv_engine.evaluation.timing import quantile, timed_steps
from kiv_engine.layer import KIVLayer
from kiv_engine.memory import give_back
from kiv_engine.prefill import ScoreRule

WARM_STEPS: Final = 5
CONFIG: Final = KIVConfig(index_bits=2)
"""The codes that a GPU has, on the CPU too."""


class Measured:
    """Layers that are filled, and steps in them."""

    def __init__(self, layers: Sequence[KIVLayer], device: torch.device, dtype: torch.dtype) -> None:
        self.layers = layers
        self._device, self._dtype = device, dtype
        self._generator = torch.Generator(device).manual_seed(0)

    def random(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator, device=self._device).to(self._dtype)

    def fill(self, num_tokens: int, heads: int, dim: int) -> None:
        """Small values leave the residual stream of a random model, and with it the queries, as they are."""
        for layer in self.layers:
            layer.reserve(num_tokens)
        for first in range(0, num_tokens, shapes.FILL_CHUNK_TOKENS):
            count = min(shapes.FILL_CHUNK_TOKENS, num_tokens - first)
            for layer in self.layers:
                layer.update(self.random(1, heads, count, dim), self.random(1, heads, count, dim) * 0.02)
        for layer in self.layers:
            layer.end_forward()

    def row(self, steps: Callable[[int], list[float]], count: int) -> dict[str, Any]:
        """What so many steps take. `steps(n)` decodes n tokens and returns the seconds of each."""
        steps(WARM_STEPS)
        peak = watch_peak(self._device)
        before = [layer.rows_fetched for layer in self.layers]
        times = steps(count)
        fetched = sum(
            (layer.rows_fetched - rows) * layer.store.keys.dim * self._dtype.itemsize
            for layer, rows in zip(self.layers, before, strict=True)
        )
        return {
            "p50_ms": quantile(times, 0.5),
            "p90_ms": quantile(times, 0.9),
            "fetched_bytes": fetched / count,
            "index_bytes": sum(layer.index.nbytes for layer in self.layers),
            "peak_vram_bytes": peak(),
        }


def watch_peak(device: torch.device) -> Callable[[], int | None]:
    """From now on; what the most was is told when it is asked for, None where the device has no memory of its own."""
    if device.type != "cuda":
        return lambda: None
    torch.cuda.reset_peak_memory_stats(device)
    return lambda: torch.cuda.max_memory_allocated(device)


def shape_b(num_tokens: int, steps: int, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """The whole model, with random weights."""
    model: Any = shapes.build().to(device, dtype)
    cache = KIVCache(model, CONFIG)
    measured = Measured(cache.growing_layers, device, dtype)
    with torch.inference_mode():
        measured.fill(num_tokens, shapes.KV_HEADS, shapes.HEAD_DIM)
    row = measured.row(lambda count: timed_steps(model, cache, count), steps)
    cache.close()
    return row


def gemma(num_tokens: int, steps: int, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """All layers that attend to the whole context, one after another, without what else the model computes."""
    shape = GEMMA_4_E2B
    layers = shapes.build_layers(shape, shape.growing, CONFIG)
    measured = Measured(layers, device, dtype)
    group, rule = shape.query_heads // shape.kv_heads, ScoreRule(scaling=1.0)

    def one() -> None:
        for layer in layers:
            layer.update(*(measured.random(1, shape.kv_heads, 1, shape.head_dim) for _ in range(2)))
        for attending, owner in enumerate(shape.attending):
            # Scaling 1, as in the model: short queries keep the softmax from being all one token.
            queries = measured.random(shape.kv_heads, group, 1, shape.head_dim) * shape.head_dim**-0.5
            layers[owner].attend(attending, queries, rule)

    def steps_of(count: int) -> list[float]:
        times = []
        for _ in range(count):
            begin = time.perf_counter()
            one()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - begin)
        return times

    with torch.inference_mode():
        measured.fill(num_tokens, shape.kv_heads, shape.head_dim)
        return measured.row(steps_of, steps)


KINDS: Final = {"Shape B": shape_b, "Gemma 4 E2B, attention": gemma}


def print_row(name: str, length: int, row: dict[str, Any]) -> None:
    vram = "" if row["peak_vram_bytes"] is None else f"{row['peak_vram_bytes'] / 1e6:,.0f}"
    figures = row["p50_ms"], row["p90_ms"], row["fetched_bytes"] / 1e6, row["index_bytes"] / 1e6
    print(f"{name:24}{length:>10,}" + "".join(f"{figure:>14,.2f}" for figure in figures) + f"{vram:>14}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--lengths", type=int, nargs="+", default=[4_096, 131_072, 1_048_576])
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_decode: there is no CUDA device here; ./kiv doctor says why, --device cpu takes the CPU.")
    if min(options.lengths) < shapes.FILL_CHUNK_TOKENS or options.steps < 1:
        sys.exit(f"gpu_decode: lengths are at least {shapes.FILL_CHUNK_TOKENS} tokens, and steps at least 1.")
    device = torch.device(options.device)
    dtype = torch.float32 if options.device == "cpu" else torch.bfloat16
    titles = "p50 ms", "p90 ms", "fetched MB", "index MB", "peak VRAM MB"
    print(f"{'':24}{'tokens':>10}" + "".join(f"{title:>14}" for title in titles))
    result: dict[str, Any] = {"report": "gpu_decode", "machine": describe_machine(), "dtype": str(dtype), "shapes": {}}
    for name, measure in KINDS.items():
        for length in options.lengths:
            try:
                row = measure(length, options.steps, device, dtype)
            except (EngineError, MemoryError, RuntimeError) as error:  # the others may have room
                row = {"failed": str(error).split("\n")[0]}
                print(f"{name:24}{length:>10,}  {row['failed']}", flush=True)
            else:
                print_row(name, length, row)
            result["shapes"].setdefault(name, {})[str(length)] = row
            give_back()
    print(json.dumps(result))
    if any("failed" in row for rows in result["shapes"].values() for row in rows.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
