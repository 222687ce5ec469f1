"""Ways to find more with as many values fetched, each beside what the engine does.

A document with planted facts (that of needles.py) is read once. While the engine answers the questions, every way is
given the same queries: from the exact scores of all cold tokens it picks what it would attend to. Of that are measured

    mass        share of the exact softmax on sinks, hot window and what was picked
    error       length of the difference between the layer's output and that of exact attention, over the latter's

as means over query heads, layers and the tokens of the answers. Then each way answers the questions itself. The ways:

    engine      what KIV does: candidates by codes, then the best by the summed share of the group, as many per KV head
    exact top   the same choice without the codes: what they miss
    adaptive    as many in all, divided among a layer's KV heads by what each would gain
    sticky      a quarter of the budget is kept for the tokens that question and answer drew on most so far
    tail        mean key and mean value of every 32 neighbours stand for those not chosen; this reads many more rows
    twice, four times       larger budgets: what a cache on the device would buy

All but "engine" look at every key, so they say what a way could find, not what it costs. The second budget is small, so
that there is something to find.

    python benchmarks/find_more.py [--tokens 65536] [--seeds 2] [--budgets 256 16]
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Final

import demo
import needles
import torch

from kiv_engine import Engine, KIVConfig, SamplingConfig
from kiv_engine.context import Context
from kiv_engine.evaluation.readers import EVERYTHING
from kiv_engine.layer import Hits, KIVLayer
from kiv_engine.prefill import PartialAttention, ScoreRule

PAGE_TOKENS: Final = 32
STICKY_SHARE: Final = 4
ENGINE: Final = "engine"


@dataclass(frozen=True)
class Seen:
    """What one query could attend to in one layer.

    Attributes:
        layer: index of the layer, the same for all queries that share a state.
        rule, queries: how scores are made, queries (H, G, D).
        keys, values: of all cold tokens, (H, N, D).
        scores, shares: of every cold token, (H, G, N); shares are those of the exact softmax.
    """

    layer: int
    rule: ScoreRule
    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    scores: torch.Tensor
    shares: torch.Tensor

    @classmethod
    def by(cls, layer: KIVLayer, queries: torch.Tensor, rule: ScoreRule, local_lse: torch.Tensor, limit: int) -> "Seen":
        """All cold tokens below `limit`; local_lse (H, G) is the log-sum-exp of sinks and hot window."""
        keys, values = layer.store.keys.read(0, limit), layer.store.values.read(0, limit)
        scores = rule.scores(queries[:, :, None], keys)[:, :, 0]
        total = torch.logaddexp(scores.logsumexp(-1), local_lse)
        shares = (scores - total[..., None]).exp_()
        return cls(layer.geometry.index, rule, queries, keys, values, scores, shares)

    @property
    def by_head(self) -> torch.Tensor:
        """(H, N): shares summed over the query heads of a group, by which the engine chooses."""
        return self.shares.sum(1)

    def pick(self, ids: torch.Tensor) -> Hits:
        """Attend to tokens ids (H, R), -1 in unused places."""
        present = ids.clamp(min=0)
        scores = self.scores.gather(-1, present[:, None].expand(-1, self.scores.shape[1], -1))
        scores = scores.masked_fill((ids < 0)[:, None], -math.inf)
        rows = present[..., None].expand(-1, -1, self.values.shape[-1])
        return Hits(ids, scores, self.values.gather(1, rows))


Way = Callable[[Seen, int], Hits]
"""From what a query could attend to and the budget per KV head to what it attends to."""


# -- the ways ----------------------------------------------------------------------------------------------------------


def exact_top(seen: Seen, budget: int) -> Hits:
    """The tokens with the largest shares, as many for each KV head."""
    return seen.pick(seen.by_head.topk(min(budget, seen.shares.shape[-1]), -1).indices)


def times(factor: int) -> Way:
    """The same with a larger budget."""
    return lambda seen, budget: exact_top(seen, factor * budget)


def adaptive(seen: Seen, budget: int) -> Hits:
    """The tokens with the largest shares of a layer, however many of them each KV head gets."""
    shares = seen.by_head
    heads, count = shares.shape
    best = shares.flatten().topk(min(heads * budget, shares.numel())).indices
    per_head = [best[best // count == head] % count for head in range(heads)]
    return seen.pick(torch.nn.utils.rnn.pad_sequence(per_head, batch_first=True, padding_value=-1))


@dataclass
class Sticky:
    """A part of the budget stays with the tokens that the queries since the beginning of the question used most.

    Attributes:
        used: (H, N) summed shares for each layer.
    """

    used: dict[int, torch.Tensor] = field(default_factory=dict)

    def forget(self) -> None:
        """A new question begins."""
        self.used = {}

    def __call__(self, seen: Seen, budget: int) -> Hits:
        shares = seen.by_head
        used = self.used.get(seen.layer)
        if used is not None:
            used = torch.nn.functional.pad(used, (0, shares.shape[-1] - used.shape[-1]))
        self.used[seen.layer] = shares if used is None else used + shares
        if used is None:
            return exact_top(seen, budget)
        kept = used.topk(max(1, min(budget, used.shape[-1]) // STICKY_SHARE), -1).indices
        first = shares.scatter(-1, kept, math.inf)  # they come first, and the rest as ever
        return seen.pick(first.topk(min(budget, first.shape[-1]), -1).indices)


def tail(seen: Seen, budget: int) -> Hits:
    """The best tokens, and a mean for the others of every page: n tokens with the mean key count n times."""
    best = exact_top(seen, budget)
    left = torch.ones(seen.keys.shape[:2]).scatter_(-1, best.ids, 0.0)
    counts = left.unflatten(-1, (-1, PAGE_TOKENS)).sum(-1)

    def means(rows: torch.Tensor) -> torch.Tensor:
        sums = (rows * left[..., None]).unflatten(1, (-1, PAGE_TOKENS)).sum(2)
        return sums / counts[..., None].clamp(min=1)

    scores = seen.rule.scores(seen.queries[:, :, None], means(seen.keys))[:, :, 0] + counts.log()[:, None]
    return Hits(
        torch.cat((best.ids, counts.new_full(counts.shape, -1).long()), -1),
        torch.cat((best.scores, scores), -1),
        torch.cat((best.values, means(seen.values)), 1),
    )


def make_ways() -> dict[str, Way]:
    """All of them but the engine's own."""
    return {
        "exact top": exact_top,
        "adaptive": adaptive,
        "sticky": Sticky(),
        "tail": tail,
        "twice": times(2),
        "four times": times(4),
    }


# -- in the place of the search ----------------------------------------------------------------------------------------


@contextmanager
def searching(context: Context, find: Callable[..., Hits | None]) -> Iterator[None]:
    """Let `find(layer, original, queries, rule, local_lse, num_tokens)` stand in for the search of single queries."""
    layers = context.cache.growing_layers
    for layer in layers:
        layer._find = stand_in(layer, find)  # type: ignore[method-assign]
        layer._together = lambda *_: 1  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer._find, layer._together


def stand_in(layer: KIVLayer, find: Callable[..., Hits | None]) -> Callable[..., Hits | None]:
    """The layer's search, but for that of whole blocks while a document is read."""
    original = layer._find

    def found(
        queries: torch.Tensor, rule: ScoreRule, lse: torch.Tensor, num_tokens: int, *, vague: bool = False
    ) -> Hits | None:
        if vague or layer._policy.cold_tokens(num_tokens) == 0:
            return original(queries, rule, lse, num_tokens, vague=vague)
        return find(layer, original, queries, rule, lse, num_tokens)

    return found


def following(way: Way, budget: int) -> Callable[..., Hits]:
    """A search that does what a way says."""

    def find(
        layer: KIVLayer, _original: Any, queries: torch.Tensor, rule: ScoreRule, lse: torch.Tensor, num_tokens: int
    ) -> Hits:
        return way(Seen.by(layer, queries, rule, lse, layer._policy.cold_tokens(num_tokens)), budget)

    return find


@dataclass
class Comparison:
    """The engine's own search, with figures of what the ways would have picked.

    Attributes:
        figures: (mass, error) of each way, for every decoded token and layer.
    """

    ways: dict[str, Way]
    budget: int
    figures: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def find(
        self, layer: KIVLayer, original: Any, queries: torch.Tensor, rule: ScoreRule, lse: torch.Tensor, num_tokens: int
    ) -> Hits:
        """Search, and compare if this is a token being decoded."""
        hits: Hits = original(queries, rule, lse, num_tokens)
        seen = Seen.by(layer, queries, rule, lse, layer._policy.cold_tokens(num_tokens))
        picked = {ENGINE: hits} | {name: way(seen, self.budget) for name, way in self.ways.items()}
        if layer._span is None:
            local = local_part(layer, queries, rule, lse)
            exact = local.merge(cold_part(seen.scores, seen.values)).output
            for name, each in picked.items():
                self.figures.setdefault(name, []).append(figures(seen, local, exact, each))
        return hits


def local_part(layer: KIVLayer, queries: torch.Tensor, rule: ScoreRule, lse: torch.Tensor) -> PartialAttention:
    """Attention of one query over sinks and hot window, learned sinks included."""
    used = layer.hot.used
    scores = rule.scores(queries[:, :, None], layer.hot.keys[:, used]) + layer.hot.bias[used]
    weights = (scores - lse[..., None, None]).exp()
    return PartialAttention((weights[:, :, 0] @ layer.hot.values[:, used])[:, :, None], lse[..., None])


def cold_part(scores: torch.Tensor, values: torch.Tensor) -> PartialAttention:
    """Attention of one query over tokens with scores (H, G, R) and values (H, R, D)."""
    return PartialAttention((scores.softmax(-1) @ values)[:, :, None], scores.logsumexp(-1)[..., None])


def figures(seen: Seen, local: PartialAttention, exact: torch.Tensor, picked: Hits) -> tuple[float, float]:
    """Mass and error of what was picked; `exact` is the output (H, G, 1, D) of exact attention."""
    error = (local.merge(cold_part(picked.scores, picked.values)).output - exact).norm(dim=-1) / exact.norm(dim=-1)
    ids = picked.ids[:, None].expand(-1, seen.shares.shape[1], -1)
    captured = seen.shares.gather(-1, ids.clamp(min=0)).masked_fill(ids < 0, 0).sum(-1)
    mass = 1 - seen.shares.sum(-1) + captured
    return float(mass.mean()), float(error.mean())


# -- the run -----------------------------------------------------------------------------------------------------------


@dataclass
class Answers:
    """What was answered.

    Attributes:
        values: what was asked for, one for each needle.
        texts: answers in the same order, by way.
    """

    values: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def row(self, name: str) -> dict[str, Any]:
        """Rates of one way, beside everything retrieved."""
        exact = self.texts["everything"]
        right = [value in text for value, text in zip(self.values, self.texts[name], strict=True)]
        possible = [value in text for value, text in zip(self.values, exact, strict=True)]
        return {
            "right": needles.share(right),
            "agreement": needles.share([mine for mine, theirs in zip(right, possible, strict=True) if theirs]),
            "identical": needles.share([mine == theirs for mine, theirs in zip(self.texts[name], exact, strict=True)]),
        }

    def add(self, name: str, text: str) -> None:
        """Take an answer of one way."""
        self.texts.setdefault(name, []).append(text)


def ask_all(context: Context, asked: list[needles.Needle], sampling: SamplingConfig, name: str, into: Answers) -> None:
    """Ask every question from the same state."""
    start = context.num_tokens
    for needle in asked:
        into.add(name, demo.answer(context, needle.question, sampling).text)
        context.rewind(start)


def compare(context: Context, asked: list[needles.Needle], sampling: SamplingConfig, budget: int) -> Comparison:
    """Figures of all ways for the queries of the engine's answers."""
    ways = make_ways()
    comparison = Comparison(ways, budget)
    start = context.num_tokens
    with context.retrieving(budget), searching(context, comparison.find):
        for needle in asked:
            begin_question(ways)
            demo.answer(context, needle.question, sampling)
            context.rewind(start)
    return comparison


def begin_question(ways: dict[str, Way]) -> None:
    """What ways remember does not outlast a question."""
    for way in ways.values():
        if isinstance(way, Sticky):
            way.forget()


def run_document(
    context: Context, asked: list[needles.Needle], sampling: SamplingConfig, budget: int, into: Answers
) -> Comparison:
    """Everything for one document that was read and one budget."""
    comparison = compare(context, asked, sampling, budget)
    with context.retrieving(budget):
        ask_all(context, asked, sampling, ENGINE, into)
        for name, way in make_ways().items():
            with searching(context, following(way, budget)):
                for needle in asked:
                    begin_question({name: way})
                    ask_all(context, [needle], sampling, name, into)
            print(f"  budget {budget}: {name}", file=sys.stderr, flush=True)
    return comparison


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=65_536)
    parser.add_argument("--seeds", type=int, default=2, help="documents")
    parser.add_argument("--budgets", type=int, nargs="+", default=[256, 16])
    parser.add_argument("--questions", type=int, default=len(needles.DEPTHS), help="of each document")
    parser.add_argument("--answer-tokens", type=int, default=24, help="answers end after so many")
    options = parser.parse_args()
    sampling = SamplingConfig(max_new_tokens=options.answer_tokens)
    answers = {budget: Answers() for budget in options.budgets}
    found: dict[int, dict[str, list[tuple[float, float]]]] = {budget: {} for budget in options.budgets}
    engine = Engine.load("demo")
    for seed in range(options.seeds):
        text, planted = needles.make_document(engine, options.tokens, seed)
        asked = planted[: options.questions]
        context = engine.new_context(KIVConfig(prefill="sparse"))
        demo.read(context, text)
        exact = Answers()
        with context.retrieving(EVERYTHING):
            ask_all(context, asked, sampling, "everything", exact)
        for budget in options.budgets:
            answers[budget].values += [needle.value for needle in asked]
            for one in exact.texts["everything"]:
                answers[budget].add("everything", one)
            comparison = run_document(context, asked, sampling, budget, answers[budget])
            for name, some in comparison.figures.items():
                found[budget].setdefault(name, []).extend(some)
        context.close()
    rows = {str(budget): summarize(found[budget], answers[budget]) for budget in options.budgets}
    print_tables(rows)
    questions = options.seeds * min(options.questions, len(needles.DEPTHS))
    print(json.dumps({"benchmark": "find_more", "tokens": options.tokens, "questions": questions, "budgets": rows}))


def summarize(found: dict[str, list[tuple[float, float]]], answers: Answers) -> dict[str, dict[str, Any]]:
    """A row per way."""
    rows: dict[str, dict[str, Any]] = {"everything": {"mass": 1.0, "error": 0.0, **answers.row("everything")}}
    for name, some in found.items():
        mass, error = (fmean(each[part] for each in some) for part in range(2))
        rows[name] = {"mass": mass, "error": error, **answers.row(name)}
    return rows


def print_tables(rows: dict[str, dict[str, dict[str, Any]]]) -> None:
    """A line per budget and way."""
    columns = ("mass", "error", "right", "agreement", "identical")
    print(f"{'budget':>8}  {'way':<12}" + "".join(f"{name:>12}" for name in columns))
    for budget, by_way in rows.items():
        for name, row in by_way.items():
            cells = ("-" if row[part] is None else f"{row[part]:.4f}" for part in columns)
            print(f"{budget:>8}  {name:<12}" + "".join(f"{cell:>12}" for cell in cells))


if __name__ == "__main__":
    main()
