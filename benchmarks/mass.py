"""Captured mass: how much of the exact softmax the search finds, against the best that 256 tokens could hold.

The document is read into one context of `demo`. Ten questions are then fed token by token, each from the same state.
For every query token and attending layer the stored keys give the exact softmax over all tokens, and with it the mass

    captured    by sinks, hot window and the tokens that the layer really fetched (its hit set)
    best        by sinks, hot window and the 256 cold tokens per KV head with the largest share, summed over the query
                heads of the group: what a perfect search would have fetched

Both are averages over query heads. `ratio` is mean(captured) / mean(best); `cold_ratio` leaves sinks and hot window out
of both, which is the harder number. Percentiles are over the ratios of single query tokens in single layers.

With 1 index bit the codes pick candidates, which are ranked by their keys; with 2 the codes rank alone. Where all cold
tokens can be candidates (below about 10,000 tokens) the search is exact and both numbers are 1.

    python benchmarks/mass.py [--tokens 1000000] [--index-bits 1 2] [--document FILE --question TEXT ...]
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import demo

from kiv_engine import Engine, KIVConfig
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.evaluation.bench import feed
from kiv_engine.evaluation.recall import Sample, probing, summarize
from kiv_engine.saved_context import SavedContext

QUESTIONS: Final = 10
GENERAL_QUESTIONS: Final = (
    "What is this text about?",
    "Who is named first?",
    "What happens at the end?",
    "Where does it take place?",
    "Which numbers are given?",
    "What is the most important date?",
    "Who wrote this?",
    "What does the author recommend?",
    "Which names come up more than once?",
    "What was said about money?",
)


def read_or_open(engine: Engine, config: KIVConfig, document: Document, saved: Path | None) -> Context:
    """A context with the document: read, or opened from a folder that an earlier run saved it in."""
    if saved is not None and SavedContext.exists(saved):
        context = engine.open_context(saved)
        context.cache.policy.config = config  # how it is searched; what was read does not depend on that
        return context
    context = engine.new_context(config)
    if saved is not None:
        context.save(saved)
    done = demo.read(context, document.text, document.name)
    print(f"read {done.tokens_read:,} tokens in {done.seconds:.0f} s ({done.prefill_mode})", file=sys.stderr)
    return context


def measure(
    engine: Engine, config: KIVConfig, document: Document, questions: list[str], saved: Path | None
) -> list[Sample]:
    """Read the document and feed the questions."""
    context = read_or_open(engine, config, document, saved)
    try:
        if context.cache.policy.is_compact(context.num_tokens):
            raise SystemExit("Positions are compact here: stored keys alone do not give the exact softmax.")
        if context.cache.policy.cold_tokens(context.num_tokens) == 0:
            raise SystemExit("The document fits into the hot window: there is nothing to search.")
        with probing(context.cache) as probe:
            for question in questions:
                feed(engine, context, question)
                print(f"  {question}", file=sys.stderr, flush=True)
        return probe.samples
    finally:
        context.close()


def make_document(engine: Engine, options: argparse.Namespace) -> tuple[Document, list[str]]:
    """The text to read and the questions to ask."""
    if options.document:
        return Document.from_file(options.document), options.question or list(GENERAL_QUESTIONS)
    archive = demo.archive(engine, options.tokens)
    step = max(1, len(archive.facts) // QUESTIONS)
    asked = [fact.question for fact in archive.facts[::step][:QUESTIONS]]
    return Document("archive", archive.text), options.question or asked


# -- figures -----------------------------------------------------------------------------------------------------------


def report(samples: list[Sample]) -> dict[str, Any]:
    """Overall, and per layer."""
    layers = {
        str(layer): [each for each in samples if each.layer == layer] for layer in sorted({s.layer for s in samples})
    }
    per_layer = {layer: summarize(of_layer) for layer, of_layer in layers.items()}
    return {
        **summarize(samples),
        "worst_layer_ratio": min(row["ratio"] for row in per_layer.values()),
        "layers": per_layer,
    }


def print_table(reports: dict[str, dict[str, Any]]) -> None:
    """A line per layer and index."""
    columns = ("queries", "local", "captured", "best", "ratio", "cold_ratio", "p5_ratio", "min_ratio")
    print(f"{'bits':>6}{'layer':>8}" + "".join(f"{name:>12}" for name in columns))
    for bits, whole in reports.items():
        for label, row in {**whole["layers"], "all": whole}.items():
            print(f"{bits:>6}{label:>8}" + "".join(f"{row[name]:>12.5g}" for name in columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000, help="length of the archive")
    parser.add_argument("--document", type=Path, help="read this text file instead of the archive")
    parser.add_argument("--question", action="append", help="ask this instead; may be given repeatedly")
    parser.add_argument("--index-bits", type=int, nargs="+", choices=(1, 2), default=[1, 2])
    parser.add_argument("--retrieved-tokens", type=int, default=KIVConfig.retrieved_tokens)
    parser.add_argument("--candidate-tokens", type=int, default=KIVConfig.candidate_tokens)
    parser.add_argument("--prefill", default="auto", choices=("auto", "exact", "sparse", "window"))
    parser.add_argument("--saved", type=Path, metavar="FOLDER", help="open what is saved there, or read and save it")
    options = parser.parse_args()
    if options.saved is not None and len(options.index_bits) > 1:
        parser.error("--saved needs one number of --index-bits")
    engine = Engine.load("demo")
    document, questions = make_document(engine, options)
    reports = {}
    for bits in options.index_bits:
        config = KIVConfig(
            prefill=options.prefill,
            index_bits=bits,
            retrieved_tokens=options.retrieved_tokens,
            candidate_tokens=options.candidate_tokens,
        )
        reports[str(bits)] = report(measure(engine, config, document, questions, options.saved))
    print_table(reports)
    result = {"benchmark": "mass", "document": document.name, "questions": len(questions), "index_bits": reports}
    print(json.dumps({**result, "tokens": options.tokens if options.document is None else None}))


if __name__ == "__main__":
    main()
