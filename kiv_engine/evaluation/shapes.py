"""Shapes of models: Shape B, which runs with random weights, and single layers at the full width of known models."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from transformers import PreTrainedConfig, Qwen2Config, Qwen2ForCausalLM
from transformers.cache_utils import Cache

from kiv_engine.catalogue import find_entry
from kiv_engine.config import KIVConfig
from kiv_engine.layer import KIVLayer
from kiv_engine.model_config import config_of_shape
from kiv_engine.policy import Policy
from kiv_engine.topology import GrowingLayer, inspect

FILL_CHUNK_TOKENS: Final = 4_096


@dataclass(frozen=True)
class ModelShape:
    """What the attention of a model of the catalogue over a long context consists of; its growing layers are alike."""

    name: str
    id: str

    @cached_property
    def config(self) -> PreTrainedConfig:
        """As the catalogue has it."""
        entry = find_entry(self.id)
        assert entry is not None, self.id
        return config_of_shape(entry.shape)

    @cached_property
    def layers(self) -> tuple[GrowingLayer, ...]:
        """Those that own K and V."""
        return inspect(self.config).growing

    @property
    def attending(self) -> tuple[int, ...]:
        """For each layer that attends to the whole context, the growing layer whose K and V it uses."""
        return tuple(owner for owner, layer in enumerate(self.layers) for _ in range(layer.attending))

    @property
    def query_heads(self) -> int:
        """Of one growing layer."""
        return self.layers[0].num_query_heads

    @property
    def kv_heads(self) -> int:
        """Of one growing layer."""
        return self.layers[0].num_kv_heads

    @property
    def head_dim(self) -> int:
        """Of one growing layer."""
        return self.layers[0].head_dim

    @property
    def growing(self) -> int:
        """Layers that own K and V."""
        return len(self.layers)

    def row_bytes(self, element_bytes: int) -> int:
        """Bytes of one K or V row of one head."""
        return self.head_dim * element_bytes

    def keys_bytes(self, num_tokens: int, element_bytes: int) -> int:
        """Bytes of K over all growing layers; V has as many."""
        return num_tokens * self.growing * self.kv_heads * self.row_bytes(element_bytes)


GEMMA_4_E2B: Final = ModelShape("Gemma 4 E2B", "google/gemma-4-E2B-it")
MODEL_SHAPES: Final = (
    GEMMA_4_E2B,
    ModelShape("Qwen2.5-3B", "Qwen/Qwen2.5-3B-Instruct"),
    ModelShape("Llama-3.2-1B", "meta-llama/Llama-3.2-1B-Instruct"),
    ModelShape("Phi-3.5-mini", "microsoft/Phi-3.5-mini-instruct"),
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
