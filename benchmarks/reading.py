"""Reading: tokens/s and peak memory of `demo` over the sample archive, short against long and sparse against window.

Every measurement is a fresh process, so that peaks do not mix. It writes the archive at N tokens, runs one chunk to
warm up, reads the archive with Context.read, notes the peak of its resident memory, and then runs the peer: plain
forwards of the same model over the same 2,048-token chunks without a cache, at most --peer-tokens of them. Each mode is
measured short, long and short again; the short rate is that of both runs together, so that a slow drift of the machine
cancels. Rates include tokenizing.

    python benchmarks/reading.py [--short 32768] [--long 1000000] [--modes window,sparse]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

PEER_TOKENS: Final = 65_536
COLUMNS: Final = ("mode", "tokens", "seconds", "tokens/s", "peer tok/s", "of peer", "peak MB", "store+index MB")


# -- one measurement, in its own process -------------------------------------------------------------------------------


def peak_bytes() -> int:
    """Peak resident memory of this process. Linux's VmHWM, unlike ru_maxrss, forgets what was before exec."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


def measure(mode: Any, num_tokens: int, peer_tokens: int) -> dict[str, Any]:
    """Read `num_tokens` in one mode."""
    import demo

    from kiv_engine import Engine, KIVConfig
    from kiv_engine.document import Document, tokenize
    from kiv_engine.evaluation.timing import forward_chunks
    from kiv_engine.reading import READ_CHUNK_TOKENS

    engine = Engine.load("demo")
    text = demo.archive(engine, num_tokens).text
    warm = tokenize(Document("archive", text[: 8 * READ_CHUNK_TOKENS]), engine.loaded.tokenizer)
    forward_chunks(engine.loaded.model, warm.ids[:READ_CHUNK_TOKENS])
    before = peak_bytes()
    context = engine.new_context(KIVConfig(prefill=mode))
    done = demo.read(context, text)
    peak = peak_bytes()
    parts = context.cache.bytes_by_part()
    ids = context.documents[0].tokens.ids[:peer_tokens]
    context.close()
    return {
        "mode": done.prefill_mode,
        "tokens": done.tokens_read,
        "seconds": done.seconds,
        "tokens_per_s": done.tokens_read / done.seconds,
        "peer_tokens_per_s": forward_chunks(engine.loaded.model, ids),
        "peak_before_reading_bytes": before,
        "peak_bytes": peak,
        "bytes_by_part": parts,
    }


def run_child(mode: str, num_tokens: int, peer_tokens: int) -> dict[str, Any]:
    """`measure` in a fresh process."""
    print(f"reading {num_tokens:,} tokens, {mode} ...", file=sys.stderr, flush=True)
    options = ["--child", mode, str(num_tokens), "--peer-tokens", str(peer_tokens)]
    command = [sys.executable, __file__, *options]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


# -- all of them -------------------------------------------------------------------------------------------------------


def store_and_index(run: dict[str, Any]) -> int:
    """Bytes that grow with the document."""
    parts = run["bytes_by_part"]
    return int(parts["index"] + parts["cold_keys"] + parts["cold_values"])


def rate(runs: list[dict[str, Any]]) -> float:
    """Tokens/s of several runs together."""
    return float(sum(run["tokens"] for run in runs) / sum(run["seconds"] for run in runs))


def of_peer(runs: list[dict[str, Any]]) -> float:
    """Reading rate over the peer's, which ran in the same process."""
    return float(sum(run["tokens_per_s"] / run["peer_tokens_per_s"] for run in runs) / len(runs))


def summarize(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Ratios of one mode's runs: short, long, short."""
    short, long = [runs[0], runs[2]], runs[1]
    short_peak = max(run["peak_bytes"] for run in short)
    return {
        "short_tokens_per_s": rate(short),
        "long_tokens_per_s": long["tokens_per_s"],
        "long_over_short": long["tokens_per_s"] / rate(short),
        "short_over_peer": of_peer(short),
        "long_over_peer": of_peer([long]),
        "short_peak_bytes": short_peak,
        "long_peak_bytes": long["peak_bytes"],
        "long_store_and_index_bytes": store_and_index(long),
        "peak_ratio": long["peak_bytes"] / (store_and_index(long) + short_peak),
        "bytes_by_part": {"short": runs[0]["bytes_by_part"], "long": long["bytes_by_part"]},
    }


def print_table(runs: list[dict[str, Any]]) -> None:
    """A line per run."""
    print("".join(f"{name:>16}" for name in COLUMNS))
    for run in runs:
        share = run["tokens_per_s"] / run["peer_tokens_per_s"]
        print(
            f"{run['mode']:>16}{run['tokens']:>16,}{run['seconds']:>16.1f}{run['tokens_per_s']:>16,.0f}"
            f"{run['peer_tokens_per_s']:>16,.0f}{share:>16.2f}{run['peak_bytes'] / 1e6:>16,.0f}"
            f"{store_and_index(run) / 1e6:>16,.1f}"
        )


def compare(short: int, long: int, modes: list[str], peer_tokens: int) -> dict[str, Any]:
    """All measurements, and what they mean to one another."""
    runs = {mode: [run_child(mode, tokens, peer_tokens) for tokens in (short, long, short)] for mode in modes}
    print_table([run for of_mode in runs.values() for run in of_mode])
    summary = {mode: summarize(of_mode) for mode, of_mode in runs.items()}
    result: dict[str, Any] = {"benchmark": "reading", "short": short, "long": long, "modes": summary, "runs": runs}
    if {"sparse", "window"} <= runs.keys():
        for length in ("short", "long"):
            rates = [summary[mode][f"{length}_tokens_per_s"] for mode in ("sparse", "window")]
            result[f"sparse_over_window_{length}"] = rates[0] / rates[1]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", type=int, default=32_768)
    parser.add_argument("--long", type=int, default=1_000_000)
    parser.add_argument("--modes", default="window,sparse", help="of window, sparse, exact and auto")
    parser.add_argument("--peer-tokens", type=int, default=PEER_TOKENS)
    parser.add_argument("--child", nargs=2, metavar=("MODE", "TOKENS"), help="one measurement, in this process")
    options = parser.parse_args()
    if options.child:
        result = measure(options.child[0], int(options.child[1]), options.peer_tokens)
    else:
        result = compare(options.short, options.long, options.modes.split(","), options.peer_tokens)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
