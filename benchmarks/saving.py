"""Saved contexts and mapped stores: what saving costs, how fast opening is, and how a mapped store decodes.

The archive is read into three contexts of the built-in model: plainly, while it is saved, and with its cold K/V in
mapped files. Then the saved one is opened in the same engine, a few times, up to the first token of an answer. Every
context decodes the same answers. Anonymous memory (Linux: smaps_rollup) is measured around the mapped store.

    python benchmarks/saving.py [--tokens 1000000] [--rounds 3]
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import demo

from kiv_engine import Engine, KIVConfig, SamplingConfig
from kiv_engine.archive import Archive
from kiv_engine.context import Context
from kiv_engine.events import TextDelta

QUESTIONS: Final = 8
SAMPLING: Final = SamplingConfig(max_new_tokens=40)
ROLLUP: Final = Path("/proc/self/smaps_rollup")


def anonymous_bytes() -> int | None:
    """Memory of this process that is no file's; None where the system does not tell."""
    if not ROLLUP.exists():
        return None
    lines = [line.split() for line in ROLLUP.read_text().splitlines() if line.startswith("Anonymous:")]
    return int(lines[0][1]) * 1024


def decode_ms(context: Context, questions: list[str]) -> float:
    """Median milliseconds between two pieces of text of the answers; the context is rewound after each."""
    gaps = []
    start = context.num_tokens
    for question in questions:
        last = 0.0
        for event in context.ask(question, SAMPLING):
            if isinstance(event, TextDelta):
                now = time.perf_counter()
                if last:
                    gaps.append((now - last) * 1e3)
                last = now
        context.rewind(start)
    return statistics.median(gaps)


def first_token_s(engine: Engine, folder: Path, question: str) -> float:
    """From opening a saved context to the first piece of an answer."""
    begun = time.perf_counter()
    context = engine.open_context(folder)
    try:
        for event in context.ask(question, SAMPLING):
            if isinstance(event, TextDelta):
                return time.perf_counter() - begun
        raise SystemExit("The answer is empty.")
    finally:
        context.close()


def read(engine: Engine, archive: Archive, config: KIVConfig, save: Path | None) -> tuple[Context, float]:
    """A context that read the archive, and the seconds that took."""
    context = engine.new_context(config)
    if save is not None:
        context.save(save)
    begun = time.perf_counter()
    demo.read(context, archive.text)
    return context, time.perf_counter() - begun


def measure(tokens: int, rounds: int, folder: Path) -> dict[str, Any]:
    """All figures."""
    engine = Engine.load()
    archive = demo.archive(engine, tokens)
    questions = [fact.question for fact in archive.facts[:: max(1, len(archive.facts) // QUESTIONS)]][:QUESTIONS]
    plain, plain_s = read(engine, archive, KIVConfig(), None)
    ram_ms = decode_ms(plain, questions)
    plain.close()
    print(f"read plainly in {plain_s:.1f} s, {ram_ms:.2f} ms a step")
    saved, saved_s = read(engine, archive, KIVConfig(), folder / "saved")
    saved.close()
    print(f"read and saved in {saved_s:.1f} s")
    opened = [first_token_s(engine, folder / "saved", questions[0]) for _ in range(rounds)]
    print(f"opened, first token after {statistics.median(opened):.2f} s")
    context = engine.open_context(folder / "saved")
    opened_ms = decode_ms(context, questions)
    context.close()
    before = anonymous_bytes()
    mapped, mapped_s = read(engine, archive, KIVConfig(store=folder / "store"), None)
    mapped_ms = decode_ms(mapped, questions)
    after = anonymous_bytes()
    grown = None if before is None or after is None else after - before
    index = mapped.memory().index
    mapped.close()
    memory = "unknown" if grown is None else f"{grown / 1e6:.0f} MB"
    print(f"mapped store: read in {mapped_s:.1f} s, {mapped_ms:.2f} ms a step, memory {memory}")
    return {
        "benchmark": "saving",
        "tokens": tokens,
        "read_s": plain_s,
        "saving_over_plain": saved_s / plain_s,
        "open_to_first_token_s": statistics.median(opened),
        "reading_over_opening": plain_s / statistics.median(opened),
        "opened_ram_speed": ram_ms / opened_ms,
        "mapped_ram_speed": ram_ms / mapped_ms,
        "mapped_reading_over_plain": mapped_s / plain_s,
        "mapped_anonymous_bytes": grown,
        "index_bytes": index,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kiv-") as folder:
        print(json.dumps(measure(options.tokens, options.rounds, Path(folder))))


if __name__ == "__main__":
    main()
