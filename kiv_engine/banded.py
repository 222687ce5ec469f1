"""Attention of sliding layers over many queries: only the band of keys that a block of queries can see is computed.

The mask of a sliding layer hides most of the keys of a long chunk, and kernels that take a mask compute them all the
same: T queries over T + window keys. In blocks of B queries it is window + B keys for each.
"""

import math
from typing import Any, Final, Protocol

import torch

MOST_BLOCK_TOKENS: Final = 256
LEAST_BLOCK_TOKENS: Final = 64
"""Queries a block. Smaller ones waste less, and cost more calls."""


class AttentionFunction(Protocol):
    """transformers' attention interface; the output is (1, T, H, D)."""

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, Any]: ...


def block_tokens(window: int) -> int:
    """Queries a block: half as many as the window, so that a third of what is computed is waste, within limits."""
    return min(MOST_BLOCK_TOKENS, max(LEAST_BLOCK_TOKENS, window // 2))


def is_band(mask: torch.Tensor, count: int, window: int | None) -> bool:
    """Whether blocks pay for `count` queries, and the mask (1, 1, T, N) hides all that they would leave out."""
    if window is None or mask.dtype != torch.bool or mask.shape[2] != count or mask.shape[1] != 1:
        return False
    if count <= 2 * MOST_BLOCK_TOKENS or mask.shape[3] <= window + 2 * MOST_BLOCK_TOKENS:
        return False
    known: bool | None = getattr(mask, "kiv_is_band", None)
    if known is None:  # All sliding layers of a forward have the same mask.
        known = not any(
            bool(rows[..., : keys.start].any() or rows[..., keys.stop :].any())
            for queries, keys in _blocks(count, mask.shape[3], window)
            for rows in (mask[:, :, queries],)
        )
        mask.kiv_is_band = known  # type: ignore[attr-defined]
    return known


def attend_in_blocks(
    function: AttentionFunction,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The same as `function` over everything, where `is_band`. query (1, H, T, D), key and value (1, H_kv, N, D)."""
    blocks = _blocks(query.shape[2], key.shape[2], int(kwargs["sliding_window"]))
    outputs = [
        function(module, query[:, :, rows], key[:, :, keys], value[:, :, keys], bias, **kwargs)[0]
        for (rows, keys), bias in zip(blocks, _biases(mask, blocks, query.dtype), strict=True)
    ]
    return torch.cat(outputs, dim=1), None


def _biases(mask: torch.Tensor, blocks: list[tuple[slice, slice]], dtype: torch.dtype) -> list[torch.Tensor]:
    """The blocks' parts of the mask as what is added to scores; made once for all layers of a forward."""
    known: list[torch.Tensor] | None = getattr(mask, "kiv_biases", None)
    if known is None:
        parts = [mask[:, :, rows, keys] for rows, keys in blocks]
        known = [
            torch.zeros(part.shape, dtype=dtype, device=mask.device).masked_fill_(~part, -math.inf) for part in parts
        ]
        mask.kiv_biases = known  # type: ignore[attr-defined]
    return known


def _blocks(count: int, num_keys: int, window: int) -> list[tuple[slice, slice]]:
    """Blocks of queries and the keys they see. The last key is the last query's."""
    ahead, block = num_keys - count, block_tokens(window)
    return [
        (slice(start, stop), slice(max(0, ahead + start - window + 1), ahead + stop))
        for start in range(0, count, block)
        for stop in (min(count, start + block),)
    ]
