"""Four named models at their real widths: transformers' own classes, few layers, random weights, loaded in four ways.

The checkpoints lie where a download would have put them, in several safetensors files, with the built-in model's
tokenizer and template. In full precision laws L1 and L2 hold; in bfloat16, 8 and 4 bit they read a text and answer.
"""

import gc
import json
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from kiv_engine import KIVConfig, SamplingConfig
from kiv_engine.cache import KIVCache
from kiv_engine.catalogue import find_entry
from kiv_engine.config import Quantize
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.events import AnswerFinished, ReadFinished
from kiv_engine.loader import LoadedModel, LoadOptions, load
from kiv_engine.model_shape import ModelShape, Setting
from kiv_engine.weights import weight_bytes
from tests.engine.families import feed
from tests.engine.test_loader import copy_tokenizer

pytestmark = pytest.mark.long

VOCABULARY: Final = 4_096
COMMIT: Final = "89abcdef0123456789abcdef0123456789abcdef"
SIZES: Final = [160, 90, *[1] * 4]
LIKENESS: Final[dict[Quantize, float]] = {"none": 0.9999, "bf16": 0.99, "8bit": 0.6, "4bit": 0.6}
"""Least cosine of the logits to those in float32. The weights are those of a checkpoint in bfloat16, which loses only
what it computes; random weights have no structure that rounding to fewer bits would spare."""
SLIDING, FULL = "sliding_attention", "full_attention"

CHANGES: Final[dict[str, dict[str, Any]]] = {
    "google/gemma-4-E2B-it": {  # the last two layers share the K and V of two before them
        "num_hidden_layers": 6,
        "layer_types": [SLIDING, SLIDING, SLIDING, FULL, SLIDING, FULL],
        "num_kv_shared_layers": 2,
        "vocab_size_per_layer_input": VOCABULARY,
    },
    "Qwen/Qwen2.5-3B-Instruct": {"num_hidden_layers": 4},
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": {"num_hidden_layers": 6},
    "microsoft/Phi-3.5-mini-instruct": {
        "num_hidden_layers": 4,
        "original_max_position_embeddings": 4_096,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1 + index / 48 for index in range(48)],
            "long_factor": [2.0 + index for index in range(48)],
        },
    },
}


def config_of(name: str) -> PreTrainedConfig:
    """The published shape with fewer layers and a smaller vocabulary."""
    entry = find_entry(name)
    assert entry is not None
    small = {
        "vocab_size": VOCABULARY,
        "initializer_range": 0.04,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    shape = {**entry.shape, **CHANGES[name], **small, "dtype": "bfloat16"}
    if shape["model_type"] == "gemma4_text":  # as on the hub: the language model is a part of the whole
        return CONFIG_MAPPING["gemma4"](text_config=shape, dtype="bfloat16")
    return CONFIG_MAPPING[shape["model_type"]].from_dict(shape)


def write_checkpoint(name: str, cache: Path) -> None:
    """Where and as a download would leave it."""
    storage = cache / f"models--{name.replace('/', '--')}"
    folder = storage / "snapshots" / COMMIT
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config_of(name), dtype=torch.bfloat16)
    for key, parameter in model.named_parameters():
        if key.endswith("q_norm.weight"):  # Gemma's scaling is 1: keep the scores' spread near 2
            parameter.data.fill_(2 / parameter.shape[0] ** 0.5)
    model.save_pretrained(folder, max_shard_size="400MB")
    copy_tokenizer(folder)
    (storage / "refs").mkdir()
    (storage / "refs" / "main").write_text(COMMIT)


def assert_close(got: torch.Tensor, expected: torch.Tensor) -> None:
    """Float tolerance: a thousandth of the logits' spread."""
    assert (got - expected).abs().max() < 1e-3 * expected.std()


def check_laws(model: PreTrainedModel, ids: torch.Tensor) -> None:
    """L1 against DynamicCache, L2 against a forward without any cache."""
    plain = feed(model, DynamicCache(config=model.config), ids, SIZES)
    cache = KIVCache(model, KIVConfig(hot_tokens=4_096))
    assert_close(feed(model, cache, ids, SIZES), plain)
    cache.close()
    everything = KIVConfig(
        hot_tokens=64, sink_tokens=4, retrieved_tokens=100_000, prefill="exact", positions="true", store_dtype="model"
    )
    cache = KIVCache(model, everything)
    got = feed(model, cache, ids, SIZES)
    assert cache.bytes_by_part()["cold_keys"] > 0
    cache.close()
    assert_close(got, model(ids, use_cache=False).logits[0])


def check_answer(loaded: LoadedModel) -> None:
    """A text is read past the hot window, and something is answered."""
    context = Context(loaded, KIVConfig(hot_tokens=32, retrieved_tokens=16))
    text = " ".join(f"Goose {number} was counted." for number in range(20))
    *_, read = context.read(Document("geese", text))
    assert isinstance(read, ReadFinished), read
    *_, answer = context.ask("How many geese?", SamplingConfig(max_new_tokens=2))
    assert isinstance(answer, AnswerFinished), answer
    assert answer.answer_tokens > 0
    assert context.footprint.parts().cold_keys > 0
    context.cache.close()


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_named_model_loads_in_four_ways(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    write_checkpoint(name, tmp_path)
    gc.collect()
    ids = torch.randint(3, VOCABULARY, (1, sum(SIZES)), generator=torch.Generator().manual_seed(4))
    shape = ModelShape(config_of(name))
    expected = None
    for quantize, least in LIKENESS.items():
        loaded = load(LoadOptions(name, quantize, "cpu"))
        assert weight_bytes(loaded.model) == pytest.approx(shape.needs(Setting(quantize)).weights, rel=0.01)
        with torch.no_grad():
            logits = loaded.model(ids[:, :40]).logits[0].float()
            if expected is None:
                expected = logits
                check_laws(loaded.model, ids)
            likeness = torch.nn.functional.cosine_similarity(logits, expected, dim=-1).mean()
        figures = {
            "model": name,
            "quantize": quantize,
            "weights": weight_bytes(loaded.model),
            "likeness": float(likeness),
        }
        print(json.dumps(figures))
        assert likeness > least
        check_answer(loaded)
        del loaded
        gc.collect()
