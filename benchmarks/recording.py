"""What recording hit sets costs: decode steps on Shape B, by turns with and without, from one cache.

Steps go in rounds of three: plain, recording, plain again. The two plain ones tell how much is noise.

    python benchmarks/recording.py [--rounds 300] [--tokens 131072]
"""

import argparse
import json
import statistics
from contextlib import nullcontext
from typing import Final

from kiv_engine import KIVCache, KIVConfig
from kiv_engine.evaluation import shapes
from kiv_engine.evaluation.timing import timed_steps

KINDS: Final = ("plain", "recording", "plain again")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=131_072)
    options = parser.parse_args()
    model = shapes.build()
    cache = KIVCache(model, KIVConfig())
    shapes.fill(cache, options.tokens)
    timed_steps(model, cache, 20)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    drained = 0
    for _ in range(options.rounds):
        for kind in KINDS:
            with cache.recording() if kind == "recording" else nullcontext() as recorder:
                times[kind] += timed_steps(model, cache, 1)
            drained += len(recorder.drain()) if recorder is not None else 0
    cache.close()
    if drained != options.rounds * shapes.LAYERS:
        raise SystemExit(f"{drained} hit sets were recorded instead of {options.rounds * shapes.LAYERS}.")
    median = {kind: statistics.median(some) * 1e3 for kind, some in times.items()}
    for kind, milliseconds in median.items():
        print(f"{kind:12} {milliseconds:8.2f} ms")
    result = {
        "benchmark": "recording",
        "tokens": options.tokens,
        "rounds": options.rounds,
        "median_ms": median,
        "recording_over_plain": median["recording"] / median["plain"],
        "plain_again_over_plain": median["plain again"] / median["plain"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
