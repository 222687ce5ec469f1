"""Decode on Shape B: time per step from 4K to 1M tokens, against DynamicCache, and whether planted keys are found.

While the 1M run is timed, 64 probe queries search it between steps. For each, one cold key at a random place in every
layer and KV head scores 10 standard deviations above the rest. Speed counts only together with how many are found.

    python benchmarks/decode.py [--steps 2100] [--long 1048576]
"""

import argparse
import gc
import json
import time
from typing import Any

import torch
from transformers import DynamicCache

from kiv_engine import KIVCache, KIVConfig
from kiv_engine.evaluation import shapes
from kiv_engine.evaluation.bench import Planted
from kiv_engine.evaluation.markdown import number
from kiv_engine.evaluation.timing import p99, quantile, timed_steps

PROBES = 64
SHORT = 4_096
PEER_LONG = 131_072


class Probes:
    """Queries with one planted key each, and how many of those keys turn up in the hit sets."""

    def __init__(self, cache: KIVCache, num_tokens: int, steps: int) -> None:
        self.planted = Planted(range(1_024, num_tokens - 3_072), PROBES)  # all of them cold when the run begins
        self._cache = cache
        self._every = max(1, steps // PROBES)
        self.found = self.asked = 0

    def run(self, step: int) -> None:
        """Search for one probe in every layer."""
        probe = step // self._every
        if step % self._every or probe >= PROBES:
            return
        with self._cache.recording() as recorder:
            for _layer, _queries, hits in self.planted.search(probe, self._cache, recorder):
                self.asked += shapes.KV_HEADS
                self.found += int(self.planted.is_found(probe, hits).sum())


def peer(model: Any, num_tokens: int, steps: int) -> list[float]:
    """DynamicCache."""
    cache = DynamicCache(config=model.config)
    shapes.fill(cache, num_tokens)
    return timed_steps(model, cache, steps)


def ours(model: Any, num_tokens: int, steps: int) -> tuple[list[float], dict[str, Any]]:
    """KIVCache with its default configuration."""
    cache = KIVCache(model, KIVConfig())
    probes = Probes(cache, num_tokens, steps) if num_tokens > 8_192 else None
    begin = time.perf_counter()
    shapes.fill(cache, num_tokens, planted=probes.planted.keys() if probes else None)
    filled_s = time.perf_counter() - begin
    times = timed_steps(model, cache, steps, probes.run if probes else None)
    facts: dict[str, Any] = {"fill_s": filled_s, "bytes": cache.bytes_by_part()}
    if probes is not None:
        facts["planted_found"] = probes.found / probes.asked
    cache.close()
    return times, facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2_100)
    parser.add_argument("--long", type=int, default=1_048_576)
    options = parser.parse_args()
    model = shapes.build()
    rows: dict[str, list[float]] = {}
    rows["DynamicCache 4K"] = peer(model, SHORT, 500)
    rows["KIVCache 4K"], _ = ours(model, SHORT, options.steps)
    rows["DynamicCache 128K"] = peer(model, PEER_LONG, 40)
    gc.collect()
    rows["KIVCache 128K"], _ = ours(model, PEER_LONG, 500)
    gc.collect()
    rows["KIVCache 1M"], facts = ours(model, options.long, options.steps)
    rows["KIVCache 4K again"], _ = ours(model, SHORT, 500)
    print(f"{'':20} {'steps':>10} {'median ms':>10} {'p99 ms':>10}")
    for name, times in rows.items():
        print(f"{name:20} {len(times):10,} {quantile(times, 0.5):10.2f} {number(p99(times)):>10}")
    median = {name: quantile(times, 0.5) for name, times in rows.items()}
    short = median["KIVCache 4K"]
    result = {
        "benchmark": "decode",
        "shape": "B",
        "threads": torch.get_num_threads(),
        "steps": options.steps,
        "median_ms": median,
        "p99_ms": {name: p99(times) for name, times in rows.items()},
        "long_over_short_median": median["KIVCache 1M"] / short,
        "long_p99_over_short_median": quantile(rows["KIVCache 1M"], 0.99) / short,
        "short_over_dynamic": short / median["DynamicCache 4K"],
        "dynamic_128k_over_ours_128k": median["DynamicCache 128K"] / median["KIVCache 128K"],
        "dynamic_128k_over_ours_1m": median["DynamicCache 128K"] / median["KIVCache 1M"],
        **facts,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
