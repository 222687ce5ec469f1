"""Needles: facts planted in the sample archive, asked for from one context, with 256 tokens retrieved and with all.

One document per length and seed: the archive of that seed with ten facts put between its paragraphs at depths of 5 % to
95 %, in the phrasing that the demo model was taught, about names and with values that the archive does not contain. The
document is read once. Each question is then asked twice, and the context rewound after each: once with the default
configuration, once with every cold token retrieved, which is exact attention. An answer is right if it holds the value
verbatim. What the second pass gets wrong is the model's (or the prefill's) doing, so agreement looks only at the rest.

    python benchmarks/needles.py [--lengths 4096,16384,65536,262144,1000000] [--seeds 3] [--prefill auto]
"""

import argparse
import json
import random
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import demo

from kiv_engine import Engine, KIVConfig, SamplingConfig
from kiv_engine.context import Context
from kiv_engine.evaluation.readers import EVERYTHING

LENGTHS: Final = "4096,16384,65536,262144,1000000"
DEPTHS: Final = tuple(0.05 + 0.1 * step for step in range(10))
ANSWER_TOKENS: Final = 40
PARAGRAPH: Final = "\n\n"

FIRST_NAMES: Final = ("Quillan", "Zerelda", "Vashti", "Xander", "Ignatz", "Yorick", "Elspet", "Jemima", "Kezia")
SURNAMES: Final = ("Vexley", "Okonjo", "Zimmerby", "Quistorp", "Ingletoft", "Yarrowby", "Jellicoe", "Hexham")
WORDS: Final = ("walnut", "comet", "ladder", "violet", "anvil", "pepper", "glacier", "ribbon", "tiger", "marble")
ATTRIBUTES: Final = ("password", "locker code", "signal code", "cabin number", "membership number")


@dataclass(frozen=True)
class Needle:
    """One planted fact and its question."""

    sentence: str
    question: str
    value: str


@dataclass(frozen=True)
class Outcome:
    """What became of one needle.

    Attributes:
        found: a passage of the default answer holds the whole sentence.
        touched: a passage of the default answer holds the value.
    """

    length: int
    seed: int
    depth: float
    value: str
    default_answer: str
    everything_answer: str
    found: bool
    touched: bool

    @property
    def default_right(self) -> bool:
        return self.value in self.default_answer

    @property
    def everything_right(self) -> bool:
        return self.value in self.everything_answer

    @property
    def identical(self) -> bool:
        return self.default_answer == self.everything_answer


def draw_value(attribute: str, rng: random.Random) -> str:
    """A value fit for the attribute."""
    if attribute == "password":
        return " ".join(rng.sample(WORDS, 3))
    if attribute == "signal code":
        return f"{rng.choice('HJKQXZ')}{rng.choice('HJKQXZ')}-{rng.randrange(1_000, 10_000)}"
    return str(rng.randrange(100_000, 1_000_000))


def draw_needles(text: str, seed: int) -> list[Needle]:
    """One needle per depth; subjects and values are unique, and not in the text."""
    rng = random.Random(f"needles {seed}")
    everyone = [f"{first} {last}" for first in FIRST_NAMES for last in SURNAMES]
    subjects = rng.sample([name for name in everyone if name not in text], len(DEPTHS))
    values: list[str] = []
    needles = []
    for place, subject in enumerate(subjects):
        attribute = ATTRIBUTES[place % len(ATTRIBUTES)]
        value = draw_value(attribute, rng)
        while value in text or value in values:
            value = draw_value(attribute, rng)
        values.append(value)
        sentence = f"By the way, {subject}'s {attribute} is {value}."
        needles.append(Needle(sentence, f"What is {subject}'s {attribute}?", value))
    return needles


def plant(text: str, needles: list[Needle]) -> str:
    """The text with the needles as paragraphs of their own, each at the end of the paragraph nearest to its depth."""
    ends = [match.start() for match in re.finditer(PARAGRAPH, text)]
    pieces = []
    start = 0
    for depth, needle in zip(DEPTHS, needles, strict=True):
        end = min(
            (end for end in ends if end >= start), key=lambda end: abs(end - depth * len(text)), default=len(text)
        )
        pieces += [text[start:end], PARAGRAPH + needle.sentence]
        start = end
    return "".join([*pieces, text[start:]])


def make_document(engine: Engine, length: int, seed: int) -> tuple[str, list[Needle]]:
    """A document of about `length` tokens, needles included."""
    room = 40 * len(DEPTHS)  # a needle has 20 to 40 tokens
    text = demo.archive(engine, length - room, seed).text
    needles = draw_needles(text, seed)
    return plant(text, needles), needles


def ask_twice(context: Context, needle: Needle, sampling: SamplingConfig) -> tuple[str, str, list[str]]:
    """The answer with the default configuration, the one with everything retrieved, and the passages of the first."""
    start = context.num_tokens
    default = demo.answer(context, needle.question, sampling)
    context.rewind(start)
    with context.retrieving(EVERYTHING):
        everything = demo.answer(context, needle.question, sampling)
    context.rewind(start)
    return default.text, everything.text, [passage.text for passage in default.passages]


def run_document(engine: Engine, config: KIVConfig, sampling: SamplingConfig, length: int, seed: int) -> list[Outcome]:
    """Read one document and ask for its needles."""
    text, needles = make_document(engine, length, seed)
    context = engine.new_context(config)
    try:
        done = demo.read(context, text)
        print(
            f"{length:,} tokens, seed {seed}: read {done.tokens_read:,} in {done.seconds:.0f} s ({done.prefill_mode})",
            file=sys.stderr,
        )
        outcomes = []
        for depth, needle in zip(DEPTHS, needles, strict=True):
            default, everything, passages = ask_twice(context, needle, sampling)
            found = any(needle.sentence in passage for passage in passages)
            touched = any(needle.value in passage for passage in passages)
            outcome = Outcome(length, seed, depth, needle.value, default, everything, found, touched)
            outcomes.append(outcome)
            marks = "".join("+" if right else "-" for right in (outcome.default_right, outcome.everything_right, found))
            print(f"  {depth:4.0%} {marks} {needle.value!r}: {default!r}", file=sys.stderr, flush=True)
    finally:
        context.close()
    return outcomes


def share(flags: list[bool]) -> float | None:
    """How many of the flags are set, None where there are none."""
    return sum(flags) / len(flags) if flags else None


def summarize(outcomes: list[Outcome]) -> dict[str, Any]:
    """The rates of some outcomes."""
    return {
        "needles": len(outcomes),
        "rate_default": share([each.default_right for each in outcomes]),
        "rate_everything": share([each.everything_right for each in outcomes]),
        "agreement": share([each.default_right for each in outcomes if each.everything_right]),
        "identical_answers": share([each.identical for each in outcomes]),
        "passages_with_needle": share([each.found for each in outcomes]),
        "passages_with_value": share([each.touched for each in outcomes]),
    }


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """A line per length."""
    columns = list(next(iter(rows.values())))
    print(f"{'tokens':>10}" + "".join(f"{name:>22}" for name in columns))
    for label, row in rows.items():
        cells = ("-" if row[name] is None else f"{row[name]:.3g}" for name in columns)
        print(f"{label:>10}" + "".join(f"{cell:>22}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default=LENGTHS, help="in tokens, with commas between them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prefill", default="auto", choices=("auto", "exact", "sparse", "window"))
    parser.add_argument("--answer-tokens", type=int, default=ANSWER_TOKENS, help="answers end after so many")
    parser.add_argument("--json-out", type=Path, help="write every outcome to this file")
    options = parser.parse_args()
    engine = Engine.load("demo")
    config = KIVConfig(prefill=options.prefill)
    sampling = SamplingConfig(max_new_tokens=options.answer_tokens)
    outcomes: list[Outcome] = []
    lengths = [int(length) for length in options.lengths.split(",")]
    for length in lengths:
        for seed in range(options.seeds):
            outcomes += run_document(engine, config, sampling, length, seed)
    rows = {str(length): summarize([each for each in outcomes if each.length == length]) for length in lengths}
    rows["all"] = summarize(outcomes)
    print_table(rows)
    result = {"benchmark": "needles", "prefill": options.prefill, "seeds": options.seeds, "lengths": rows}
    if options.json_out:
        options.json_out.write_text(json.dumps({**result, "outcomes": [asdict(each) for each in outcomes]}, indent=1))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
