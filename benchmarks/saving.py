"""Saved contexts and mapped stores: what saving costs, how fast opening is, and how a mapped store decodes.

The archive is read into four contexts of the built-in model: with its cold K/V in mapped files, plainly, while it is
saved, and plainly again (a host gets slower and faster in an hour; the mean of before and after is what saving is held
against). The saved one is opened in the same engine, a few times, up to the first token of an answer. Every context
decodes the same answers. Anonymous memory (Linux: smaps_rollup) is that beyond the loaded model and the
archive, at its highest while the mapped store is read and asked; it is first, so that nothing freed before hides it.

    python benchmarks/saving.py [--tokens 1000000] [--rounds 3] [--questions 8]
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
from kiv_engine.document import Document
from kiv_engine.events import Failed, ReadProgress, TextDelta

SAMPLING: Final = SamplingConfig(max_new_tokens=40)
ROLLUP: Final = Path("/proc/self/smaps_rollup")
SAMPLE_S: Final = 2.0
LIMITS: Final = {
    "open_to_first_token_s": (0, 3.0),
    "reading_over_opening": (50, float("inf")),
    "saving_over_plain": (0, 1.1),
    "mapped_ram_speed": (0.8, float("inf")),
    "mapped_bytes_beyond_index": (float("-inf"), 512 << 20),
}
"""What is promised at 1,000,000 tokens: at least and at most."""


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


class AnonymousPeak:
    """The highest anonymous memory that was seen, beyond what there was at the beginning; looks every SAMPLE_S."""

    def __init__(self) -> None:
        self._before = anonymous_bytes()
        self._peak = self._before or 0
        self._looked = 0.0

    def look(self, *, now: bool = False) -> None:
        """Look if it is time to, or now."""
        if self._before is not None and (now or time.perf_counter() - self._looked > SAMPLE_S):
            self._looked = time.perf_counter()
            self._peak = max(self._peak, anonymous_bytes() or 0)

    @property
    def grown(self) -> int | None:
        """None where the system does not tell."""
        return None if self._before is None else self._peak - self._before


def read(
    engine: Engine, archive: Archive, config: KIVConfig, save: Path | None = None, peak: AnonymousPeak | None = None
) -> tuple[Context, float]:
    """A context that read the archive, and the seconds that took."""
    context = engine.new_context(config)
    if save is not None:
        context.save(save)
    begun = time.perf_counter()
    for event in context.read(Document("archive", archive.text)):
        if isinstance(event, Failed):
            raise event.error or SystemExit(event.message)
        if peak is not None and isinstance(event, ReadProgress):
            peak.look()
    return context, time.perf_counter() - begun


def measure(tokens: int, rounds: int, num_questions: int, folder: Path) -> dict[str, Any]:
    """All figures."""
    engine = Engine.load()
    archive = demo.archive(engine, tokens)
    facts = archive.facts[:: max(1, len(archive.facts) // num_questions)][:num_questions]
    questions = [fact.question for fact in facts]
    peak = AnonymousPeak()
    mapped, mapped_s = read(engine, archive, KIVConfig(store=folder / "store"), peak=peak)
    mapped_ms = decode_ms(mapped, questions)
    peak.look(now=True)
    grown, index = peak.grown, mapped.footprint.parts().index
    mapped.close()
    memory = "unknown" if grown is None else f"{grown / 1e6:.0f} MB, of which index {index / 1e6:.0f} MB"
    print(f"mapped store: read in {mapped_s:.1f} s, {mapped_ms:.2f} ms a step, memory {memory}", flush=True)
    plain, first_s = read(engine, archive, KIVConfig())
    ram_ms = decode_ms(plain, questions)
    plain.close()
    print(f"read plainly in {first_s:.1f} s, {ram_ms:.2f} ms a step", flush=True)
    saved, saved_s = read(engine, archive, KIVConfig(), folder / "saved")
    saved.close()
    print(f"read and saved in {saved_s:.1f} s", flush=True)
    again, again_s = read(engine, archive, KIVConfig())
    again.close()
    print(f"read plainly in {again_s:.1f} s", flush=True)
    plain_s = statistics.mean((first_s, again_s))
    opened = [first_token_s(engine, folder / "saved", questions[0]) for _ in range(rounds)]
    print(f"opened, first token after {statistics.median(opened):.2f} s", flush=True)
    context = engine.open_context(folder / "saved")
    opened_ms = decode_ms(context, questions)
    context.close()
    figures: dict[str, Any] = {
        "read_s": plain_s,
        "reads_s": [first_s, again_s],
        "saving_over_plain": saved_s / plain_s,
        "open_to_first_token_s": statistics.median(opened),
        "reading_over_opening": plain_s / statistics.median(opened),
        "opened_ram_speed": ram_ms / opened_ms,
        "mapped_ram_speed": ram_ms / mapped_ms,
        "mapped_reading_over_plain": mapped_s / plain_s,
        "mapped_anonymous_bytes": grown,
        "mapped_bytes_beyond_index": None if grown is None else grown - index,
        "index_bytes": index,
    }
    within = {
        name: None if figures[name] is None else least <= figures[name] <= most
        for name, (least, most) in LIMITS.items()
    }
    return {"benchmark": "saving", "tokens": tokens, **figures, "within_limit": within}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kiv-") as folder:
        print(json.dumps(measure(options.tokens, options.rounds, options.questions, Path(folder))))


if __name__ == "__main__":
    main()
