"""Partial attentions merge to the softmax over everything."""

import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kiv_engine.prefill import (
    LARGE_BYTES,
    PartialAttention,
    ScoreRule,
    SoftmaxPart,
    attend_at_once,
    causal_mask,
    dot_products,
    weigh,
)

RULES = {
    "plain": ScoreRule(0.3),
    "softcap": ScoreRule(0.3, softcap=1.5),
    "sinks": ScoreRule(0.3, sinks=torch.tensor([[0.5, -1.0], [2.0, 0.0]])),
}


def obvious(
    rule: ScoreRule, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    scores = torch.einsum("hgtd,hnd->hgtn", queries, keys) * rule.scaling
    if rule.softcap:
        scores = torch.tanh(scores / rule.softcap) * rule.softcap
    scores = scores.masked_fill(~mask, -math.inf)
    if rule.sinks is not None:
        sinks = rule.sinks[..., None, None].expand(*scores.shape[:3], 1)
        return torch.cat((scores, sinks), -1).softmax(-1)[..., :-1] @ values[:, None]
    return scores.softmax(-1) @ values[:, None]


@pytest.fixture
def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 2, 5, 8) * 2, torch.randn(2, 30, 8) * 2, torch.randn(2, 30, 6)


@pytest.mark.parametrize("kind", sorted(RULES))
def test_parts_merge_to_one_softmax(kind: str, tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    rule, (queries, keys, values) = RULES[kind], tensors
    mask = causal_mask(5, 30, queries.device)
    partial = PartialAttention.over(rule, queries, keys[:, 20:], values[:, 20:], mask[:, 20:])
    for first in (0, 7):
        last = 7 if first == 0 else 20
        partial = partial.merge(PartialAttention.over(rule, queries, keys[:, first:last], values[:, first:last], None))
    torch.testing.assert_close(partial.finish(rule), obvious(rule, queries, keys, values, mask))
    for given in (mask, None):
        torch.testing.assert_close(
            attend_at_once(rule, queries, keys, values, given), obvious(rule, queries, keys, values, mask)
        )


def test_a_part_that_a_query_cannot_see_changes_nothing(
    tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    rule, (queries, keys, values) = RULES["plain"], tensors
    nothing = torch.zeros(5, 10, dtype=torch.bool)
    seen = PartialAttention.over(rule, queries, keys, values, None)
    unseen = PartialAttention.over(rule, queries, keys[:, :10], values[:, :10], nothing)
    for merged in (seen.merge(unseen), unseen.merge(seen)):
        assert torch.equal(merged.output, seen.output)


def test_the_last_query_sees_the_last_key_and_no_query_sees_a_later_one() -> None:
    mask = causal_mask(2, 5, torch.device("cpu"))
    assert mask.tolist() == [[True, True, True, True, False], [True] * 5]


def test_weights_sum_values_of_their_own_head() -> None:
    weights, values = torch.rand(2, 3, 4, 5), torch.rand(2, 5, 6)
    torch.testing.assert_close(weigh(weights, values), torch.einsum("hgtn,hnd->hgtd", weights, values))


def test_no_weight_is_too_small_to_be_a_normal_number() -> None:
    """Numbers below those take a processor many times as long."""
    scores = torch.cat((torch.linspace(-300, 5, 4_000), torch.tensor([-math.inf])))[None]
    part = SoftmaxPart.of(scores)
    some = part.weights[part.weights > 0]
    assert some.min() >= torch.finfo(torch.float32).tiny
    assert part.weights[0, -1] == 0
    torch.testing.assert_close(part.weights * part.factor(part.lse), scores.softmax(-1))


class Products(TorchDispatchMode):
    """The shapes of what is multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[torch.Size] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.bmm.default:
            self.left.append(args[0].shape)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("queries", "heads", "dim", "large", "keys_first"),
    [(2, 1, 160, True, True), (2, 1, 160, False, False), (64, 1, 160, True, False), (2, 2, 160, True, False)],
)
def test_many_keys_in_a_row_stand_in_front_of_few_queries(
    queries: int, heads: int, dim: int, large: bool, keys_first: bool
) -> None:
    """A product of a few rows with many is quick only that way round."""
    count = LARGE_BYTES // (4 * dim * heads) + (1 if large else -1)
    few, keys = torch.randn(heads, queries, dim), torch.randn(count, heads, dim).transpose(0, 1)
    with Products() as products:
        got = dot_products(few, keys)
    assert products.left == [(heads, count, dim) if keys_first else (heads, queries, dim)]
    assert got.is_contiguous()
    torch.testing.assert_close(got, few @ keys.mT, atol=1e-4, rtol=1e-4)
