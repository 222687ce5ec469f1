"""What the search finds of the exact softmax: its mass, and the tokens with the largest share.

For one query in one layer the stored keys give the exact softmax over all tokens, and with it

    captured    mass of sinks, hot window and the tokens that the layer really fetched (its hit set)
    best        mass of sinks, hot window and the cold tokens with the largest share, as many per KV head, summed over
                the query heads of the group: what a perfect search would have fetched
    top         share of those best tokens that were fetched

Masses are averages over query heads. Where positions are compact a key is turned by its place among the hits, so that
there is no one exact softmax to compare with: such queries are refused.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import torch

from kiv_engine.cache import KIVCache
from kiv_engine.errors import EngineError
from kiv_engine.hits import HitRecorder, LayerHits
from kiv_engine.layer import KIVLayer
from kiv_engine.policy import Policy
from kiv_engine.prefill import ScoreRule

FEW: Final = 8


class NotMeasuredError(EngineError):
    """What was asked for cannot be measured here."""


def require_true_positions(policy: Policy, num_tokens: int) -> None:
    """Raises NotMeasuredError where keys are moved before a query at this length meets them."""
    if policy.is_compact(num_tokens):
        raise NotMeasuredError(
            f"positions are compact beyond the trained {policy.trained_tokens:,} tokens, so stored keys alone do not "
            "give the exact softmax"
        )


@dataclass(frozen=True)
class Sample:
    """Figures of one query token in one layer; `top_few` is `top` for the eight best alone."""

    layer: int
    local: float
    captured: float
    best: float
    top: float
    top_few: float


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
        top=overlap(best_ids, hit_ids),
        top_few=overlap(best_ids[:, :FEW], hit_ids),
    )


def share_of(cold: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Mass (H, G) of tokens (H, R) among shares (H, G, N)."""
    return cold.gather(-1, ids[:, None].expand(-1, cold.shape[1], -1)).sum(-1)


def overlap(wanted: torch.Tensor, found: torch.Tensor) -> float:
    """Share of wanted (H, n) that are among found (H, R) of the same head."""
    return float((wanted[:, :, None] == found[:, None]).any(-1).float().mean())


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
            (hits,) = self._recorder.drain()
            assert hits.layer == layer_idx
            self.compare(layer, hits, queries, rule)
            return output

        layer.attend = attend_and_compare  # type: ignore[method-assign]

    def compare(self, layer: KIVLayer, hits: LayerHits, queries: torch.Tensor, rule: ScoreRule) -> None:
        """Take a sample: what a query (H, G, 1, D) of the newest token attended to, against the exact softmax.

        Raises NotMeasuredError.
        """
        require_true_positions(self._policy, layer.num_tokens)
        shares = exact_shares(layer, queries, rule)
        ids = hits.cold_tokens.to(queries.device) - self._policy.config.sink_tokens
        self.samples.append(sample(layer, ids, shares, self._policy.config.retrieved_tokens, hits.layer))


@contextmanager
def probing(cache: KIVCache) -> Iterator[Probe]:
    """Compare every attention inside the `with`; only single tokens may be fed."""
    with cache.recording() as recorder:
        probe = Probe(cache, recorder)
        for layer in cache.growing_layers:
            probe.wrap(layer)
        try:
            yield probe
        finally:
            for layer in cache.growing_layers:
                del layer.attend


def summarize(samples: Sequence[Sample]) -> dict[str, Any]:
    """Means and ratios of some samples. `ratio` is mean(captured) / mean(best); `cold_ratio` leaves sinks and hot
    window out of both, which is the harder number."""
    local = fmean(each.local for each in samples)
    captured = fmean(each.captured for each in samples)
    best = fmean(each.best for each in samples)
    ratios = [each.captured / each.best for each in samples]
    return {
        "queries": len(samples),
        "local": local,
        "captured": captured,
        "best": best,
        "ratio": captured / best,
        "cold_ratio": (captured - local) / (best - local) if best > local else 1.0,
        "p5_ratio": float(torch.tensor(ratios, dtype=torch.float64).quantile(0.05)),
        "min_ratio": min(ratios),
        "top": fmean(each.top for each in samples),
        "top_few": fmean(each.top_few for each in samples),
    }
