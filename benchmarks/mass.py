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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import demo
import torch

from kiv_engine import Engine, KIVConfig
from kiv_engine.cache import KIVCache
from kiv_engine.chat import ChatFormat
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.hits import HitRecorder
from kiv_engine.layer import KIVLayer
from kiv_engine.prefill import ScoreRule

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


# -- one query ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """Masses of one query token in one layer, averaged over query heads."""

    layer: int
    local: float
    captured: float
    best: float


def exact_shares(layer: KIVLayer, queries: torch.Tensor, rule: ScoreRule) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax shares of one query (H, G, 1, D): sinks and hot window together (H, G), each cold token (H, G, N)."""
    hot, store = layer.hot, layer.store
    local_keys = torch.cat((hot.keys[:, : hot.num_sinks], hot.read(0, hot.num_hot)[0]), 1)
    local = rule.scores(queries, local_keys)[:, :, 0]
    cold_keys = store.keys.read(0, store.num_tokens).to(queries.device)
    cold = rule.scores(queries, cold_keys)[:, :, 0]
    lse = rule.total(torch.logaddexp(local.logsumexp(-1), cold.logsumexp(-1))[..., None])
    return (local - lse).exp().sum(-1), (cold - lse).exp_()


def sample(
    layer: KIVLayer, hit_ids: torch.Tensor, shares: tuple[torch.Tensor, torch.Tensor], count: int, at: int
) -> Sample:
    """Compare the hit set (H, R) with the best `count` tokens per KV head."""
    local, cold = shares
    best_ids = cold.sum(1).topk(min(count, cold.shape[-1]), -1).indices
    return Sample(
        layer=at,
        local=float(local.mean()),
        captured=float((local + share_of(cold, hit_ids)).mean()),
        best=float((local + share_of(cold, best_ids)).mean()),
    )


def share_of(cold: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Mass (H, G) of tokens (H, R) among shares (H, G, N)."""
    return cold.gather(-1, ids[:, None].expand(-1, cold.shape[1], -1)).sum(-1)


# -- all queries -------------------------------------------------------------------------------------------------------


class Probe:
    """Stands between the model and the layers of a cache, and compares after every attention."""

    def __init__(self, cache: KIVCache, recorder: HitRecorder) -> None:
        self.samples: list[Sample] = []
        self._policy = cache.policy
        self._recorder = recorder

    def wrap(self, layer: KIVLayer) -> None:
        """Let the layer's attention pass through here."""
        attend = layer.attend

        def attend_and_compare(layer_idx: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
            output = attend(layer_idx, queries, rule)
            self._compare(layer, layer_idx, queries, rule)
            return output

        layer.attend = attend_and_compare  # type: ignore[method-assign]

    def _compare(self, layer: KIVLayer, layer_idx: int, queries: torch.Tensor, rule: ScoreRule) -> None:
        (hits,) = self._recorder.drain()
        assert hits.layer == layer_idx
        shares = exact_shares(layer, queries, rule)
        ids = hits.cold_tokens.to(queries.device) - self._policy.config.sink_tokens
        self.samples.append(sample(layer, ids, shares, self._policy.config.retrieved_tokens, layer_idx))


@contextmanager
def probing(cache: KIVCache) -> Iterator[Probe]:
    """Compare every attention inside the `with`."""
    with cache.recording() as recorder:
        probe = Probe(cache, recorder)
        for layer in cache.growing_layers:
            probe.wrap(layer)
        try:
            yield probe
        finally:
            for layer in cache.growing_layers:
                del layer.attend


def feed(engine: Engine, context: Context, question: str) -> None:
    """Feed one question token by token, then go back."""
    chat = ChatFormat(engine.loaded.tokenizer, engine.loaded.generation_config)
    cache = context.cache
    snapshot = cache.snapshot()
    with torch.inference_mode():
        for token in chat.question_suffix(question, after_document=True):
            inputs = torch.tensor([[token]], device=engine.loaded.device)
            engine.loaded.model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.restore(snapshot)


def measure(engine: Engine, config: KIVConfig, document: Document, questions: list[str]) -> list[Sample]:
    """Read the document and feed the questions."""
    context = engine.new_context(config)
    try:
        done = demo.read(context, document.text, document.name)
        print(f"read {done.tokens_read:,} tokens in {done.seconds:.0f} s ({done.prefill_mode})", file=sys.stderr)
        if context.cache.policy.is_compact(done.tokens_read):
            raise SystemExit("Positions are compact here: stored keys alone do not give the exact softmax.")
        if context.cache.policy.cold_tokens(done.tokens_read) == 0:
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


def mean(values: list[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    return sorted(values)[int(share * (len(values) - 1))]


def summarize(samples: list[Sample]) -> dict[str, Any]:
    """Means and ratios of some samples."""
    local = mean([each.local for each in samples])
    captured = mean([each.captured for each in samples])
    best = mean([each.best for each in samples])
    ratios = [each.captured / each.best for each in samples]
    return {
        "queries": len(samples),
        "local": local,
        "captured": captured,
        "best": best,
        "ratio": captured / best,
        "cold_ratio": (captured - local) / (best - local) if best > local else 1.0,
        "p5_ratio": percentile(ratios, 0.05),
        "min_ratio": min(ratios),
    }


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
    options = parser.parse_args()
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
        reports[str(bits)] = report(measure(engine, config, document, questions))
    print_table(reports)
    result = {"benchmark": "mass", "document": document.name, "questions": len(questions), "index_bits": reports}
    print(json.dumps({**result, "tokens": options.tokens if options.document is None else None}))


if __name__ == "__main__":
    main()
