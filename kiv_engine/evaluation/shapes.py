"""Shapes of models: Shape B, which runs with random weights, and single layers at the full width of known models."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.cache_utils import Cache

from kiv_engine.config import KIVConfig
from kiv_engine.layer import KIVLayer
from kiv_engine.policy import Policy
from kiv_engine.topology import GrowingLayer

FILL_CHUNK_TOKENS: Final = 4_096


@dataclass(frozen=True)
class ModelShape:
    """What the attention of a model over a long context consists of.

    Attributes:
        attending: for each layer that attends to the whole context, the growing layer whose K and V it uses.
        query_heads, kv_heads, head_dim: of one such layer.
        parameters: weights that a decode step reads, about; only predictions use them.
    """

    name: str
    attending: tuple[int, ...]
    query_heads: int
    kv_heads: int
    head_dim: int
    parameters: float

    @property
    def growing(self) -> int:
        """Layers that own K and V."""
        return len(set(self.attending))

    def row_bytes(self, element_bytes: int) -> int:
        """Bytes of one K or V row of one head."""
        return self.head_dim * element_bytes

    def keys_bytes(self, num_tokens: int, element_bytes: int) -> int:
        """Bytes of K over all growing layers; V has as many."""
        return num_tokens * self.growing * self.kv_heads * self.row_bytes(element_bytes)


GEMMA_4_E2B: Final = ModelShape("Gemma 4 E2B", (0, 1, 2, 2, 2, 2, 2), 8, 1, 512, 2.3e9)
MODEL_SHAPES: Final = (
    GEMMA_4_E2B,
    ModelShape("Qwen2.5-3B", tuple(range(36)), 16, 2, 128, 3.1e9),
    ModelShape("Llama-3.2-1B", tuple(range(16)), 32, 8, 64, 1.2e9),
    ModelShape("Phi-3.5-mini", tuple(range(32)), 32, 32, 96, 3.8e9),
)
TRAINED_TOKENS: Final = 131_072


def build_layers(shape: ModelShape, count: int, config: KIVConfig) -> list[KIVLayer]:
    """Empty layers of one cache, without a model around them."""
    policy = Policy(config, config.hot_tokens, TRAINED_TOKENS, rotary=None, folder=None)
    return [
        KIVLayer(GrowingLayer(index, shape.query_heads, shape.kv_heads, shape.head_dim, True), policy)
        for index in range(count)
    ]


def random_rows(shape: ModelShape, count: int, generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    """K or V of `count` tokens of one layer, (1, H, n, D)."""
    return torch.randn((1, shape.kv_heads, count, shape.head_dim), generator=generator).to(dtype)


# -- Shape B -----------------------------------------------------------------------------------------------------------

LAYERS: Final = 4
QUERY_HEADS: Final = 8
KV_HEADS: Final = 2
HEAD_DIM: Final = 64


def build() -> Qwen2ForCausalLM:
    """Shape B in float32 on the CPU: it measures time and search, not language."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=4_096,
        hidden_size=512,
        intermediate_size=1_376,
        num_hidden_layers=LAYERS,
        num_attention_heads=QUERY_HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=2**22,
    )
    model = Qwen2ForCausalLM(config)
    model.eval()
    return model


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
    """Fill a cache by plain updates. `planted` maps a position to what is put in place of its keys, (layers, H, D)."""
    planted = planted or {}
    for layer, first, keys, values in chunks(num_tokens, seed):
        for position in [p for p in planted if first <= p < first + keys.shape[2]]:
            keys[0, :, position - first] = planted[position][layer]
            values[0, :, position - first] = 0
        cache.update(keys, values, layer)
