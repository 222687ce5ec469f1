"""Which layers grow, and which models are refused, by name and with the reason."""

from collections import Counter
from typing import Any

import pytest
import torch
import transformers as hf

from kiv_engine.attention import Attachment
from kiv_engine.cache import KIVCache
from kiv_engine.errors import UnsupportedModelError
from kiv_engine.layer import KIVLayer
from kiv_engine.topology import GrowingLayer, inspect
from tests.engine.families import COMMON, FAMILIES, model_of

GROWING_LAYERS = {
    "gemma2": [1],
    "gemma3": [1, 2],
    "gemma3n": [1],
    "gemma4": [1],
    "gemma4_k_eq_v": [1],
    "mistral_sliding": [],
    "cohere2": [1],
    "gpt_oss": [1],
    "qwen3_next": [1],
    "lfm2": [1],
    "llama4": [1],
}


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_growing_layers_are_those_that_keep_every_token(name: str) -> None:
    topology = inspect(model_of(name).config)
    assert [layer.index for layer in topology.growing] == GROWING_LAYERS.get(name, [0, 1])
    assert topology.forgets == (name in GROWING_LAYERS)
    assert topology.num_layers == model_of(name).config.get_text_config().num_hidden_layers


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_geometry_is_that_of_the_tensors(name: str) -> None:
    model = model_of(name)
    cache = hf.DynamicCache(config=model.config)
    with torch.no_grad():
        model(torch.arange(5)[None], past_key_values=cache)
    row = 0
    for geometry in inspect(model.config).growing:
        keys = cache.layers[geometry.index].keys
        assert (geometry.num_kv_heads, geometry.head_dim) == (keys.shape[1], keys.shape[3])
        row += 2 * keys.shape[1] * keys.shape[3]
    assert inspect(model.config).row_bytes(2) == 2 * row


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_layers_that_attend_to_an_owner_are_those_that_search_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(name)
    met: Counter[int] = Counter()
    attend = KIVLayer.attend

    def counted(layer: KIVLayer, *arguments: Any) -> torch.Tensor:
        met[layer.geometry.index] += 1
        return attend(layer, *arguments)

    cache = KIVCache(model)
    with torch.no_grad():
        model(torch.arange(5)[None], past_key_values=cache)
        monkeypatch.setattr(KIVLayer, "attend", counted)
        model(torch.tensor([[5]]), past_key_values=cache)
    cache.close()
    assert met == {layer.index: layer.attending for layer in inspect(model.config).growing}


def test_query_heads_and_rotary_are_read_per_layer() -> None:
    assert inspect(model_of("gemma4").config).growing == (GrowingLayer(1, 4, 1, 512, True, attending=2),)
    assert [layer.rotary for layer in inspect(model_of("smollm3").config).growing] == [True, False]
    assert [layer.rotary for layer in inspect(model_of("cohere2").config).growing] == [False]
    assert [layer.rotary for layer in inspect(model_of("llama4").config).growing] == [False]


def test_a_multimodal_config_is_read_through_its_text_part() -> None:
    config = hf.Gemma3Config(text_config=model_of("gemma3").config.to_dict())
    topology = inspect(config)
    assert topology.model_type == "gemma3_text"
    assert [layer.index for layer in topology.growing] == [1, 2]


REFUSED = [
    (hf.DeepseekV3Config, {}, "deepseek_v3 .*multi-head latent attention"),
    (hf.MiniCPM3Config, {}, "minicpm3 .*multi-head latent attention"),
    (hf.DeepseekV32Config, {}, "deepseek_v32 .*own sparse indexer"),
    (hf.T5Config, {}, "t5 .*encoder-decoder"),
    (hf.BartConfig, {}, "bart .*encoder-decoder"),
    (hf.MambaConfig, {}, "mamba has no attention"),
    (hf.Mamba2Config, {}, "mamba2 has no attention"),
    (hf.RwkvConfig, {}, "rwkv has no attention"),
    (hf.FalconH1Config, {}, "falcon_h1 has hybrid layers"),
    (hf.Zamba2Config, {}, "zamba2 has hybrid layers"),
    (hf.MiniMaxConfig, {}, "minimax insists on a cache of its own"),
    (hf.BambaConfig, {}, "bamba has no attention layers"),
    (hf.Gemma3nTextConfig, {"num_kv_shared_layers": 34}, "gemma3n_text shares keys and values wrongly: .*layer types"),
    (hf.Gemma3TextConfig, {"use_bidirectional_attention": True}, "gemma3_text .*both directions"),
    (hf.Gemma4TextConfig, {"use_bidirectional_attention": "all"}, "gemma4_text .*(bidirectional|both directions)"),
]


@pytest.mark.parametrize(
    ("config_class", "options", "reason"), REFUSED, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_cannot_be_kept_is_refused_by_name(config_class: type, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        inspect(config_class(**options))


def test_a_model_without_the_attention_interface_is_refused_and_left_alone() -> None:
    config = hf.BloomConfig(vocab_size=97, hidden_size=32, n_layer=1, n_head=2)
    model = hf.BloomForCausalLM(config).eval()
    implementation = model.config._attn_implementation
    with pytest.raises(UnsupportedModelError, match=r"BloomModel .*attention interface"):
        KIVCache(model)
    assert model.config._attn_implementation == implementation
    assert not list(Attachment._of_model)


def test_a_model_that_does_not_attend_to_what_its_cache_returns_is_refused() -> None:
    """It would see nothing but the newest tokens, in silence."""
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**COMMON)).eval()
    cache = KIVCache(model)
    update = cache.update
    cache.update = lambda keys, values, *rest: [part * 1 for part in update(keys, values, *rest)]  # type: ignore[method-assign,assignment]
    with torch.no_grad(), pytest.raises(UnsupportedModelError, match=r"llama .*attention interface"):
        model(torch.arange(5)[None], past_key_values=cache)


TINY: dict[str, Any] = {**COMMON, "num_key_value_heads": 4}


def _refusal_of(model: hf.PreTrainedModel) -> str:
    cache = KIVCache(model)
    with torch.no_grad(), pytest.raises(UnsupportedModelError) as caught:
        model(torch.arange(5)[None], past_key_values=cache)
    return str(caught.value)


def test_a_model_that_changes_cached_values_is_refused() -> None:
    model = hf.DiffLlamaForCausalLM(hf.DiffLlamaConfig(**TINY)).eval()
    assert "DiffLlamaAttention changes its values" in _refusal_of(model)


def test_a_model_that_biases_heads_by_position_is_refused() -> None:
    model = hf.DogeForCausalLM(hf.DogeConfig(**TINY)).eval()
    assert "DogeAttention biases the scores" in _refusal_of(model)


def test_a_model_that_repeats_cached_keys_is_refused() -> None:
    config = hf.JetMoeConfig(**{**TINY, "kv_channels": 16}, num_local_experts=4, num_experts_per_tok=2)
    assert "jetmoe does not hand cached keys" in _refusal_of(hf.JetMoeForCausalLM(config).eval())


def test_attention_in_both_directions_is_refused() -> None:
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**TINY)).eval()
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    assert "LlamaAttention attends in both directions" in _refusal_of(model)
