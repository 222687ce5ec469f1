"""Rotary facts as the models themselves compute them, and length-dependent modules that are held and given back."""

import sys
from dataclasses import replace

import pytest
import torch

from kiv_engine.errors import UnsupportedModelError
from kiv_engine.positions import PinnedRotary, Rotary, needs_compact, read_rotary
from kiv_engine.topology import inspect
from tests.engine.families import FAMILIES, model_of

# Model, and the layer type that its rotary module is asked for.
ROTATING = {
    "llama": None,
    "qwen3": None,
    "phi3": None,
    "cohere": None,
    "gpt_oss": None,
    "qwen3_next": None,
    "gemma3": "full_attention",
    "gemma4": "full_attention",
}


def _rotated(name: str, keys: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Keys (H, n, D), rotated by the model's own code."""
    decoder = model_of(name).model
    kind = ROTATING[name]
    arguments = (keys, positions[None]) if kind is None else (keys, positions[None], kind)
    cos, sin = decoder.rotary_emb(*arguments)
    apply = sys.modules[type(decoder).__module__].apply_rotary_pos_emb
    if name == "gemma4":
        return apply(keys[None], cos, sin, unsqueeze_dim=1)[0]
    return apply(keys[None], keys[None], cos, sin)[1][0]


@pytest.mark.parametrize("name", sorted(ROTATING))
def test_a_moved_key_is_one_that_was_rotated_there(name: str) -> None:
    head_dim = inspect(model_of(name).config).growing[-1].head_dim
    rotary = read_rotary(model_of(name).model)
    scale = getattr(model_of(name).model.rotary_emb, "attention_scaling", 1.0)
    keys = torch.randn(2, 6, head_dim)
    sources = torch.tensor([0, 1, 77, 500, 1_000, 3_000])
    targets = torch.tensor([5, 1, 3, 900, 10, 2_999])
    moved = rotary.move(_rotated(name, keys, sources), sources, targets)
    torch.testing.assert_close(moved, _rotated(name, keys, targets), atol=2e-5 * scale, rtol=1e-4)
    assert not torch.allclose(moved[:, 3], _rotated(name, keys, sources)[:, 3], atol=1e-2)


@pytest.mark.parametrize("name", sorted(ROTATING))
def test_pairs_are_neighbours_in_cohere_and_halves_elsewhere(name: str) -> None:
    assert read_rotary(model_of(name).model).interleaved == (name == "cohere")


def test_moving_there_and_back_is_the_identity() -> None:
    rotary = read_rotary(model_of("phi3").model)
    keys, here, there = torch.randn(2, 9, 16), torch.arange(9), torch.arange(9) * 400
    torch.testing.assert_close(rotary.move(rotary.move(keys, here, there), there, here), keys, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rotary.move(keys, here, there)[..., 8:], keys[..., 8:], atol=0, rtol=0)


def test_a_model_whose_pairs_cannot_be_told_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"Llama4TextModel.*positions='true'"):
        read_rotary(model_of("llama4").model)


def test_compact_positions_are_needed_where_a_wavelength_exceeds_the_trained_length() -> None:
    topology = replace(inspect(model_of("llama").config), trained_tokens=1_000)
    short, long = (Rotary(torch.tensor([1.0, 6.3 / tokens, 0.0]), False) for tokens in (990, 1_100))
    assert short.longest_wavelength == pytest.approx(990, rel=0.01)
    assert not needs_compact(topology, short)
    assert needs_compact(topology, long)
    assert not needs_compact(replace(topology, trained_tokens=0), long)
    without = tuple(replace(layer, rotary=False) for layer in topology.growing)
    assert not needs_compact(replace(topology, growing=without), long)
    assert Rotary(torch.zeros(2), False).longest_wavelength == 0


LENGTHS = {"phi3_longrope": (500, 700), "llama_dynamic": (400, 900)}


@pytest.mark.parametrize("name", sorted(LENGTHS))
@pytest.mark.parametrize("seen", [0, 1_500], ids=["fresh", "used-longer"])
def test_a_pinned_module_turns_as_for_the_final_length_and_is_given_back(name: str, seen: int) -> None:
    for length in LENGTHS[name]:
        module, fresh = FAMILIES[name]().model.rotary_emb, FAMILIES[name]().model.rotary_emb
        if seen:
            module(torch.zeros(1), torch.tensor([[seen - 1]]))
        before = {key: repr(value) for key, value in vars(module).items()}
        expected = fresh(torch.zeros(1), torch.arange(length)[None])
        pinned = PinnedRotary(module, length)
        assert {key: repr(value) for key, value in vars(module).items()} == before
        pinned.hold()
        for first, last in ((0, 10), (10, length), (0, length)):  # lengths on both sides of the switch
            cos, sin = module(torch.zeros(1), torch.arange(first, last)[None])
            assert torch.equal(cos[0], expected[0][0, first:last])
            assert torch.equal(sin[0], expected[1][0, first:last])
        pinned.hold()  # as after a forward that was broken off
        pinned.release()
        pinned.release()
        assert {key: repr(value) for key, value in vars(module).items()} == before


def test_only_length_dependent_modules_are_pinned() -> None:
    pinned = {name for name in FAMILIES if PinnedRotary.applies_to(getattr(model_of(name).model, "rotary_emb", None))}
    assert pinned == {"llama_dynamic", "phi3_longrope"}
