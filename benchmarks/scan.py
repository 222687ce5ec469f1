"""How long the scan of one KV head's codes takes, per million tokens.

    python -m benchmarks.scan [--tokens 1000000] [--repeats 100]

The codes of several layers take turns, as in decoding: together they are larger than the processor's caches. The times
include listing the tokens and waking the second thread. Compiling is measured in processor time.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import torch

from kiv_engine.scan_kernel import (
    AVX2,
    BLOCK_TOKENS,
    ScanJob,
    ScanKernel,
    ScanShape,
    host_shuffle,
    lookup_tables,
    scan_heads,
)

SHAPES = {"64x4": (64, 4), "128x8 (Qwen2.5-3B)": (128, 8), "512x8 (Gemma E2B)": (512, 8), "64x2": (64, 2)}
BYTES_IN_TURN = 160 << 20
PASSING = 0.001


@dataclass(frozen=True)
class Row:
    """Milliseconds per million tokens of one KV head."""

    shape: str
    threads: int
    min_ms: float
    median_ms: float
    compile_ms: float
    passing_per_million: int


def layer(dim: int, heads: int, tokens: int, bits: int) -> tuple[torch.Tensor, ...]:
    """Random codes, and tables of random queries, of which about PASSING of the tokens pass."""
    octets, blocks = dim // 8, tokens // BLOCK_TOKENS
    codes = torch.randint(0, 256, (blocks, octets, BLOCK_TOKENS), dtype=torch.uint8)
    factors = torch.randint(70, 91, (blocks, BLOCK_TOKENS), dtype=torch.uint8)
    lut, bias, _ = lookup_tables(torch.randn(heads, dim), bits)
    deviation = lut.float().var(-1, correction=0).sum(-1).sqrt() * 80 / 2 ** ScanShape(octets, heads).value_shift
    limit = torch.special.ndtri(torch.tensor(1 - PASSING / heads, dtype=torch.float64))
    return codes, factors, lut, bias, (deviation * limit).to(torch.int16)


def jobs_of(kernel: ScanKernel, tensors: tuple[torch.Tensor, ...], threads: int) -> list[ScanJob]:
    """One job per thread, each with a part of the blocks."""
    codes, factors, lut, bias, threshold = tensors
    jobs, start = [], 0
    for part in torch.arange(len(codes)).tensor_split(threads):
        blocks = slice(start, start + len(part))
        ids = torch.empty(len(part) * BLOCK_TOKENS, dtype=torch.int32)
        bitmap = torch.empty(len(part), dtype=torch.int32)
        tokens, base = len(part) * BLOCK_TOKENS, start * BLOCK_TOKENS
        part_codes, part_factors = codes[blocks], factors[blocks]
        jobs.append(ScanJob(kernel, part_codes, part_factors, lut, bias, threshold, tokens, ids, bitmap, base))
        start += len(part)
    return jobs


def timed(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    function()
    return (clock() - started) * 1e3


def measure(name: str, tokens: int, repeats: int) -> list[Row]:
    dim, heads = SHAPES[name]
    shape = ScanShape(dim // 8, heads)
    kernels: list[ScanKernel] = []
    compile_ms = timed(lambda: kernels.append(ScanKernel(shape, host_shuffle() or AVX2)), time.thread_time)
    first = layer(dim, heads, tokens, kernels[0].shuffle.bits)
    num_layers = max(1, BYTES_IN_TURN // first[0].numel())
    layers = [first, *[(first[0].clone(), first[1].clone(), *first[2:]) for _ in range(num_layers - 1)]]
    rows = []
    for threads in (1, 2):
        turns = [jobs_of(kernels[0], tensors, threads) for tensors in layers]
        passing = sum(scan_heads(turns[0]))
        times = [timed(partial(scan_heads, turns[i % num_layers])) for i in range(1, repeats + 1)]
        scale = 1e6 / tokens
        least, median = (round(f(times) * scale, 3) for f in (min, statistics.median))
        rows.append(Row(name, threads, least, median, round(compile_ms, 1), round(passing * scale)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    print(
        f"{'dim x query heads':20} {'threads':>7} {'min ms/1M':>10} {'median':>8} {'compile ms':>11} {'passing/1M':>11}"
    )
    rows = []
    for name in SHAPES:
        for row in measure(name, options.tokens // BLOCK_TOKENS * BLOCK_TOKENS, options.repeats):
            rows.append(row)
            columns = f"{row.min_ms:10.3f} {row.median_ms:8.3f} {row.compile_ms:11.1f} {row.passing_per_million:11,}"
            print(f"{row.shape:20} {row.threads:7} {columns}", flush=True)
    print(json.dumps({"benchmark": "scan", "tokens": options.tokens, "rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
