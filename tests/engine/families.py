"""Tiny random models of the real classes, one builder per family, and what an obvious computation says of them.

Weights are large enough for attention to be peaked: with transformers' 0.02 it would be all but uniform, and a cache
that lost half of its tokens could still pass.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import torch
import transformers as hf
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

VOCABULARY: Final = 97
REFERENCE_TOKENS: Final = 800
"""Length of the one text that the laws read, and of the full forward they compare with."""

COMMON: Final[dict[str, Any]] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4_096,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
GEMMA: Final[dict[str, Any]] = {**COMMON, "head_dim": 16, "sliding_window": 48}


def _finish(model_class: type[PreTrainedModel], config: Any) -> PreTrainedModel:
    """Build with a fixed seed; give zero-initialised parameters (norms, sinks, biases) values that matter."""
    torch.manual_seed(11)
    model = model_class(config).float().eval()
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator) if parameter.ndim == 1 else None
        if name.endswith("sinks"):
            parameter.data.copy_(13 + noise)  # as much as all keys together
        elif noise is not None and not parameter.any():
            parameter.data.copy_(0.3 * noise)
        parameter.requires_grad_(False)
    return model


def llama() -> PreTrainedModel:
    """TinyLlama's grouped queries with Llama 3's frequency scaling."""
    rope = {
        "rope_type": "llama3",
        "rope_theta": 10_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 512,
    }
    return _finish(hf.LlamaForCausalLM, hf.LlamaConfig(**COMMON, rope_parameters=rope))


def llama_mqa() -> PreTrainedModel:
    return _finish(hf.LlamaForCausalLM, hf.LlamaConfig(**{**COMMON, "num_key_value_heads": 1}))


def llama_mha() -> PreTrainedModel:
    return _finish(hf.LlamaForCausalLM, hf.LlamaConfig(**{**COMMON, "num_key_value_heads": 4}))


def llama_dynamic() -> PreTrainedModel:
    """Dynamic NTK: the frequencies follow the length beyond 512."""
    rope = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}
    config = hf.LlamaConfig(**{**COMMON, "max_position_embeddings": 512}, rope_parameters=rope)
    return _finish(hf.LlamaForCausalLM, config)


def qwen2() -> PreTrainedModel:
    return _finish(hf.Qwen2ForCausalLM, hf.Qwen2Config(**COMMON))


def qwen3() -> PreTrainedModel:
    return _finish(hf.Qwen3ForCausalLM, hf.Qwen3Config(**COMMON, head_dim=24))


def qwen3_moe() -> PreTrainedModel:
    config = hf.Qwen3MoeConfig(
        **COMMON, head_dim=16, moe_intermediate_size=32, num_experts=4, num_experts_per_tok=2, norm_topk_prob=True
    )
    return _finish(hf.Qwen3MoeForCausalLM, config)


def phi3() -> PreTrainedModel:
    """Rotates only half of each head."""
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5}
    return _finish(hf.Phi3ForCausalLM, hf.Phi3Config(**COMMON, rope_parameters=rope))


def phi3_longrope() -> PreTrainedModel:
    """Switches its rotary factors at 600 tokens, within the laws' text."""
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
        "long_factor": [2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    }
    config = hf.Phi3Config(**COMMON, rope_parameters=rope, original_max_position_embeddings=600)
    return _finish(hf.Phi3ForCausalLM, config)


def gemma2() -> PreTrainedModel:
    """Scores reach several times the soft cap of 2."""
    config = hf.Gemma2Config(**GEMMA, query_pre_attn_scalar=16, attn_logit_softcapping=2.0)
    return _finish(hf.Gemma2ForCausalLM, config)


def gemma3() -> PreTrainedModel:
    config = hf.Gemma3TextConfig(
        **{**GEMMA, "num_hidden_layers": 3},
        query_pre_attn_scalar=16,
        layer_types=["sliding_attention", "full_attention", "full_attention"],
    )
    return _finish(hf.Gemma3ForCausalLM, config)


def gemma3n() -> PreTrainedModel:
    """The last two layers share the K and V of the first two."""
    config = hf.Gemma3nTextConfig(
        **{**GEMMA, "num_hidden_layers": 4},
        vocab_size_per_layer_input=VOCABULARY,
        hidden_size_per_layer_input=8,
        num_kv_shared_layers=2,
        laurel_rank=8,
        altup_num_inputs=2,
        layer_types=["sliding_attention", "full_attention"] * 2,
        activation_sparsity_pattern=[0.5, 0.0, 0.0, 0.0],
    )
    return _finish(hf.Gemma3nForCausalLM, config)


def _gemma4(**changes: Any) -> PreTrainedModel:
    options: dict[str, Any] = {
        **GEMMA,
        "num_hidden_layers": 4,
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        **changes,
    }
    model = _finish(hf.Gemma4ForCausalLM, hf.Gemma4TextConfig(**options))
    for name, parameter in model.named_parameters():
        if name.endswith("q_norm.weight"):  # the scaling is 1.0: keep the scores' spread near 2
            parameter.data.fill_(0.1 if parameter.shape[0] == 512 else 0.5)
    return model


def gemma4() -> PreTrainedModel:
    """Global heads of 512 dimensions, scaling 1.0, a quarter rotated; the last two layers share K and V."""
    return _gemma4(num_kv_shared_layers=2, num_key_value_heads=1)


def gemma4_k_eq_v() -> PreTrainedModel:
    """Global layers use their keys as values, with fewer KV heads than the sliding ones."""
    return _gemma4(
        attention_k_eq_v=True,
        num_global_key_value_heads=1,
        num_hidden_layers=2,
        layer_types=["sliding_attention", "full_attention"],
        hidden_size_per_layer_input=0,
    )


def mistral() -> PreTrainedModel:
    return _finish(hf.MistralForCausalLM, hf.MistralConfig(**COMMON, sliding_window=None))


def mistral_sliding() -> PreTrainedModel:
    """Every layer slides: nothing grows."""
    return _finish(hf.MistralForCausalLM, hf.MistralConfig(**COMMON, sliding_window=48))


def smollm3() -> PreTrainedModel:
    """Every second layer has no rotary positions."""
    config = hf.SmolLM3Config(**COMMON, no_rope_layers=[1, 0])
    return _finish(hf.SmolLM3ForCausalLM, config)


def cohere2() -> PreTrainedModel:
    """Interleaved rotary positions in the sliding layer, none in the full one."""
    config = hf.Cohere2Config(
        **COMMON, sliding_window=48, logit_scale=1.0, layer_types=["sliding_attention", "full_attention"]
    )
    return _finish(hf.Cohere2ForCausalLM, config)


def cohere() -> PreTrainedModel:
    """Interleaved rotary positions in every layer."""
    return _finish(hf.CohereForCausalLM, hf.CohereConfig(**COMMON, logit_scale=1.0))


def gpt_oss() -> PreTrainedModel:
    """Learned sinks, eager attention, YaRN."""
    config = hf.GptOssConfig(
        **COMMON,
        head_dim=16,
        sliding_window=48,
        num_local_experts=4,
        num_experts_per_tok=2,
        layer_types=["sliding_attention", "full_attention"],
    )
    return _finish(hf.GptOssForCausalLM, config)


def qwen3_next() -> PreTrainedModel:
    """Gated delta rule layers, and gated attention that rotates a quarter."""
    config = hf.Qwen3NextConfig(
        **COMMON,
        head_dim=16,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=32,
        num_experts=4,
        num_experts_per_tok=2,
        layer_types=["linear_attention", "full_attention"],
    )
    return _finish(hf.Qwen3NextForCausalLM, config)


def lfm2() -> PreTrainedModel:
    """Short convolutions between attention layers."""
    config = hf.Lfm2Config(**COMMON, layer_types=["conv", "full_attention"], block_multiple_of=32)
    return _finish(hf.Lfm2ForCausalLM, config)


def llama4() -> PreTrainedModel:
    """Chunked attention, and full layers without rotary positions whose queries are scaled by position."""
    config = hf.Llama4TextConfig(
        **COMMON,
        head_dim=16,
        intermediate_size_mlp=96,
        num_local_experts=2,
        attention_chunk_size=64,
        floor_scale=64,
        layer_types=["chunked_attention", "full_attention"],
        no_rope_layers=[1, 0],
    )
    return _finish(hf.Llama4ForCausalLM, config)


FAMILIES: Final[dict[str, Callable[[], PreTrainedModel]]] = {
    build.__name__.lstrip("_"): build
    for build in (
        llama,
        llama_mqa,
        llama_mha,
        llama_dynamic,
        qwen2,
        qwen3,
        qwen3_moe,
        phi3,
        phi3_longrope,
        gemma2,
        gemma3,
        gemma3n,
        gemma4,
        gemma4_k_eq_v,
        mistral,
        mistral_sliding,
        smollm3,
        cohere,
        cohere2,
        gpt_oss,
        qwen3_next,
        lfm2,
        llama4,
    )
}
LENGTH_DEPENDENT: Final = frozenset({"llama_dynamic", "phi3_longrope"})
"""Their rotary frequencies depend on the length, so DynamicCache mixes two sets: only a full forward is a reference."""


@cache
def model_of(name: str) -> PreTrainedModel:
    """One model per family for the whole run; tests leave it as they found it."""
    return FAMILIES[name]()


@cache
def text() -> torch.Tensor:
    """The token ids (1, n) that the laws read."""
    return torch.randint(0, VOCABULARY, (1, REFERENCE_TOKENS), generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def full_logits(name: str, ids: torch.Tensor) -> torch.Tensor:
    """Logits (n, vocabulary) of one forward without any cache, on a model that has read nothing before."""
    model = FAMILIES[name]() if name in LENGTH_DEPENDENT else model_of(name)
    return model(ids, use_cache=False).logits[0]


@cache
def reference(name: str) -> torch.Tensor:
    """`full_logits` of the whole text."""
    return full_logits(name, text())


def feed(model: PreTrainedModel, cache: Cache, ids: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Logits (n, vocabulary) of ids (1, n), read in forwards of these sizes."""
    assert sum(sizes) == ids.shape[1]
    return torch.cat([model(part, past_key_values=cache).logits[0] for part in ids.split(sizes, 1)])
