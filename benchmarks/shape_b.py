"""Shape B: the model that decode benchmarks run on. Random weights: they measure time and search, not language."""

from collections.abc import Iterator
from typing import Final

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.cache_utils import Cache

FILL_CHUNK_TOKENS: Final = 4_096
LAYERS: Final = 4
QUERY_HEADS: Final = 8
KV_HEADS: Final = 2
HEAD_DIM: Final = 64


def build() -> Qwen2ForCausalLM:
    """The model in float32 on the CPU."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=4_096,
        hidden_size=512,
        intermediate_size=1_376,
        num_hidden_layers=LAYERS,
        num_attention_heads=QUERY_HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=2**21,
    )
    return Qwen2ForCausalLM(config).eval()


def chunks(num_tokens: int, seed: int) -> Iterator[tuple[int, int, torch.Tensor, torch.Tensor]]:
    """Random K and V for every layer: (layer, first token, keys, values), (1, H, n, D) each.

    Values are small, so that attention leaves the residual stream, and with it the queries, in their usual range.
    """
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, num_tokens, FILL_CHUNK_TOKENS):
        shape = (1, KV_HEADS, min(FILL_CHUNK_TOKENS, num_tokens - first), HEAD_DIM)
        for layer in range(LAYERS):
            keys = torch.randn(shape, generator=generator)
            yield layer, first, keys, torch.randn(shape, generator=generator) * 0.02


def fill(cache: Cache, num_tokens: int, seed: int = 0, planted: dict[int, torch.Tensor] | None = None) -> None:
    """Fill a cache by plain updates. `planted` maps a position to what is added to its keys, (layers, H, D)."""
    planted = planted or {}
    for layer, first, keys, values in chunks(num_tokens, seed):
        for position in [p for p in planted if first <= p < first + keys.shape[2]]:
            keys[0, :, position - first] = planted[position][layer]
            values[0, :, position - first] = 0
        cache.update(keys, values, layer)
