"""Attention over keys that are at hand: pure tensor functions, merged exactly with the log-sum-exp of each part.

Shapes: H KV heads, G query heads per KV head, T queries, N keys, D head_dim; queries (H, G, T, D), keys and values
(H, N, D). A score is `query . key * scaling`, then the model's soft cap if it has one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import torch
import torch.nn.functional as F

LEAST_EXPONENT: Final = -87.0
LEAST_WEIGHT: Final = 2e-38
"""Softmax weights below this share of the largest are zero. Exponentials any smaller are no normal numbers of float32,
which take a CPU up to 35 times as long; where a head is sharp, most of its scores lie there."""

FEW_QUERIES: Final = 16
WIDE_DIM: Final = 128
LARGE_BYTES: Final = 4 << 20
"""For which products `dot_products` puts the keys in front; for others the usual order is quicker."""


@dataclass(frozen=True)
class ScoreRule:
    """How a model turns query . key into a score.

    Attributes:
        scaling: factor of the dot product.
        softcap: Gemma 2's cap, scores = cap * tanh(scores / cap), or None.
        sinks: (H, G) learned logits that take part in the softmax without a value (gpt-oss), or None.
    """

    scaling: float
    softcap: float | None = None
    sinks: torch.Tensor | None = None

    def cap(self, scores: torch.Tensor) -> torch.Tensor:
        """Apply the soft cap to scaled scores."""
        return scores if self.softcap is None else (scores / self.softcap).tanh() * self.softcap

    def in_nats(self, products: torch.Tensor) -> torch.Tensor:
        """Scores from query . key, which is overwritten."""
        return self.cap(products.mul_(self.scaling))

    def scores(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Scores (H, G, T, N) in float32."""
        heads, group, count, dim = queries.shape
        flat = dot_products((queries * self.scaling).reshape(heads, group * count, dim), keys)
        return self.cap(flat.float().view(heads, group, count, -1))

    def total(self, lse: torch.Tensor) -> torch.Tensor:
        """The softmax's log-denominator from the log-sum-exp of all keys, (H, G, T)."""
        return lse if self.sinks is None else torch.logaddexp(lse, self.sinks[..., None].float())


@dataclass
class PartialAttention:
    """A running softmax over parts of the keys (online softmax, arXiv:2205.14135).

    Attributes:
        output: (H, G, T, D) weighted values, normalised over the parts seen, float32.
        lse: (H, G, T) log-sum-exp of the scores seen.
    """

    output: torch.Tensor
    lse: torch.Tensor

    @classmethod
    def over(
        cls, rule: ScoreRule, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
    ) -> "PartialAttention":
        """Attend to one part; mask (T, N) is True where a query sees a key, None where all see all."""
        if queries.device.type == "cpu" and rule.softcap is None and keys.shape[-1] == values.shape[-1]:
            return cls._fused(rule, queries, keys, values, mask)
        scores = rule.scores(queries, keys)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        lse = scores.logsumexp(-1)
        weights = (scores - lse.clamp(min=torch.finfo(lse.dtype).min)[..., None]).exp_()
        return cls(weigh(weights, values), lse)

    @classmethod
    def _fused(
        cls, rule: ScoreRule, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
    ) -> "PartialAttention":
        """The same by torch's CPU flash kernel, which never holds the scores and returns their log-sum-exp."""
        heads, group, count, dim = queries.shape
        bias = None
        if mask is not None:
            bias = torch.zeros(mask.shape, dtype=queries.dtype).masked_fill_(~mask, -math.inf)
            bias = bias.expand(group, count, -1).reshape(1, 1, group * count, -1)
        output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            queries.reshape(1, heads, group * count, dim), keys[None], values[None], attn_mask=bias, scale=rule.scaling
        )
        return cls(output.float().view(heads, group, count, dim), lse.view(heads, group, count))

    def merge(self, other: "PartialAttention") -> "PartialAttention":
        """The same as attending to both parts at once."""
        lse = torch.logaddexp(self.lse, other.lse)
        floor = lse.clamp(min=torch.finfo(lse.dtype).min)
        mine, theirs = (self.lse - floor).exp()[..., None], (other.lse - floor).exp()[..., None]
        return PartialAttention(self.output * mine + other.output * theirs, lse)

    def finish(self, rule: ScoreRule) -> torch.Tensor:
        """The output after learned sinks have taken their share."""
        return self.output * (self.lse - rule.total(self.lse)).exp()[..., None]


@dataclass(frozen=True)
class SoftmaxPart:
    """Part of a softmax whose denominator is not known yet; the large array of weights is computed once.

    Attributes:
        weights: (..., N) exp(score - peak).
        peak: (..., 1) the largest score.
        lse: (...) log-sum-exp of the scores.
    """

    weights: torch.Tensor
    peak: torch.Tensor
    lse: torch.Tensor

    @classmethod
    def of(cls, scores: torch.Tensor) -> "SoftmaxPart":
        """From scores (..., N), at least one of them finite."""
        peak = scores.amax(-1, keepdim=True)
        weights = torch.threshold_((scores - peak).clamp_(min=LEAST_EXPONENT).exp_(), LEAST_WEIGHT, 0.0)
        return cls(weights, peak, weights.sum(-1).log_() + peak[..., 0])

    def factor(self, total: torch.Tensor) -> torch.Tensor:
        """What turns the weights into probabilities, (..., 1), once the log-denominator (...) is known."""
        return (self.peak - total[..., None]).exp_()


def dot_products(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Queries (H, M, D) times keys (H, N, D) -> (H, M, N) in their dtype.

    A CPU's matrix product of few rows with many goes through the latter once for each of the former. With the many in
    front it goes once through what lies in a row, which counts where that is more than a core has cache for.
    """
    few = 1 < queries.shape[1] <= FEW_QUERIES and keys.shape[-1] >= WIDE_DIM
    if few and keys.device.type == "cpu" and keys.nbytes >= LARGE_BYTES and keys[0].is_contiguous():
        return (keys @ queries.mT).mT.contiguous()
    return queries @ keys.mT


def weigh(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Weights (H, G, T, N) times values (H, N, D) -> (H, G, T, D) in float32."""
    heads, group, count, num_keys = weights.shape
    flat = weights.view(heads, group * count, num_keys).to(values.dtype) @ values
    return flat.float().view(heads, group, count, -1)


def attend_at_once(
    rule: ScoreRule,
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention over one set of keys -> (H, G, T, D). The fused kernel where the rule allows.

    mask: (T, N) as above, or None for the causal one.
    """
    shape = queries.shape[2], keys.shape[1]
    if rule.softcap is not None or rule.sinks is not None:
        mask = causal_mask(*shape, keys.device) if mask is None else mask
        return PartialAttention.over(rule, queries, keys, values, mask).finish(rule)
    if mask is None:
        mask = causal_biases(queries.device)(*shape, queries.dtype)
    keys, values = (rows[:, None].expand(-1, queries.shape[1], -1, -1) for rows in (keys, values))
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask[None, None], scale=rule.scaling)


@cache
def causal_biases(device: torch.device) -> Callable[[int, int, torch.dtype], torch.Tensor]:
    """Makes the causal mask (T, N) as what is added to scores: kernels make that of a mask, anew for each block.

    While a document is read, all blocks have the same shape, on each device: that of the newest two is kept.
    """

    @lru_cache(maxsize=2)
    def causal_bias(num_queries: int, num_keys: int, dtype: torch.dtype) -> torch.Tensor:
        with torch.inference_mode(False):
            hidden = ~causal_mask(num_queries, num_keys, device)
            return torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, -math.inf)

    return causal_bias


def causal_mask(num_queries: int, num_keys: int, device: torch.device) -> torch.Tensor:
    """(T, N): the last key belongs to the last query, and no query sees a later key."""
    ones = torch.ones((num_queries, num_keys), dtype=torch.bool, device=device)
    return ones.tril_(num_keys - num_queries)
