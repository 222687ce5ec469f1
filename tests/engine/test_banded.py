"""Sliding layers in blocks, against the same attention over everything."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from kiv_engine import KIVCache, KIVConfig
from kiv_engine.banded import MOST_BLOCK_TOKENS, attend_in_blocks, is_band


def band_mask(count: int, num_keys: int, window: int) -> torch.Tensor:
    """(1, 1, T, N), the obvious way."""
    place = torch.arange(num_keys - count, num_keys)[:, None]
    key = torch.arange(num_keys)[None]
    return ((key <= place) & (key > place - window))[None, None]


@pytest.mark.parametrize(
    ("count", "before", "window"), [(700, 0, 40), (1024, 95, 96), (900, 300, 96), (2048, 511, 512)]
)
def test_blocks_are_the_same_as_everything_at_once(count: int, before: int, window: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, count, 16, generator=generator)
    key, value = (torch.randn(1, 2, before + count, 16, generator=generator) for _ in range(2))
    mask = band_mask(count, before + count, window)
    module: Any = SimpleNamespace(num_key_value_groups=2, is_causal=True)
    assert is_band(mask, count, window)
    everything, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.2, sliding_window=window)
    blocks, _ = attend_in_blocks(
        sdpa_attention_forward, module, query, key, value, mask, scaling=0.2, sliding_window=window
    )
    torch.testing.assert_close(blocks, everything, rtol=1e-4, atol=1e-5)


def test_a_mask_that_lets_more_through_is_no_band() -> None:
    count, window = 1024, 96
    ahead = band_mask(count, count, window)
    ahead[0, 0, 10, 900] = True
    behind = band_mask(count, count, window)
    behind[0, 0, 1000, 3] = True
    assert not is_band(ahead, count, window)
    assert not is_band(behind, count, window)
    assert not is_band(band_mask(count, count, window).float(), count, window)
    assert not is_band(band_mask(count, count, window), count, None)


def test_short_chunks_are_left_whole() -> None:
    count = 2 * MOST_BLOCK_TOKENS
    assert not is_band(band_mask(count, count + 4096, 96), count, 96)
    assert not is_band(band_mask(count + 1, count + 1, 4096), count + 1, 4096)


def test_a_model_reads_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=24,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    )
    model = Gemma3ForCausalLM(config).eval()
    ids = torch.randint(64, (1, 1500))
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
        nonlocal calls
        calls += 1
        return attend_in_blocks(*args, **kwargs)

    monkeypatch.setattr("kiv_engine.attention.attend_in_blocks", counted)
    with torch.no_grad():
        plain = model(ids, use_cache=False).logits
        cache = KIVCache(model, KIVConfig(prefill="exact"))
        pieces = [model(ids[:, :800], past_key_values=cache).logits, model(ids[:, 800:], past_key_values=cache).logits]
    assert calls == 4
    torch.testing.assert_close(torch.cat(pieces, dim=1), plain, rtol=1e-3, atol=1e-4)
