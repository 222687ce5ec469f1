"""Several GPUs: how layers are spread, against all ways to spread them; and models on two GPUs that only pretend.

No machine with several real GPUs has run any of this. What stands in for them refuses, as they do, whatever meets on
two devices, and otherwise computes on the CPU: `tests/engine/pretended_gpus.py`.
"""

import copy
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, combinations_with_replacement, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import check_device_map
from transformers.integrations.accelerate import expand_device_map

from kiv_engine import KIVConfig, fit, model_shape, remedy
from kiv_engine.cache import KIVCache
from kiv_engine.context import Context
from kiv_engine.device_map import Piece, decoder_layers, device_map, split
from kiv_engine.errors import OutOfMemoryError, UnsupportedModelError
from kiv_engine.fit import Room
from kiv_engine.footprint import Footprint
from kiv_engine.loader import LoadOptions
from kiv_engine.model_config import empty_model
from kiv_engine.model_shape import ModelShape, Setting
from tests.engine.families import FAMILIES, model_of
from tests.engine.test_loader import copy_tokenizer, tiny_llama
from tests.engine.tiny_chat import loaded as tiny_loaded

pytestmark = pytest.mark.usefixtures("one_thread")

GB = 10**9
CUDA = Setting(device="cuda")


# -- arithmetic --------------------------------------------------------------------------------------------------------


def ways(count: int, gpus: int) -> Iterator[tuple[range, ...]]:
    """All ways to cut a row of pieces into runs, one for each GPU."""
    for cuts in combinations_with_replacement(range(count + 1), gpus - 1):
        yield tuple(range(first, end) for first, end in pairwise((0, *cuts, count)))


def tokens_of(pieces: Sequence[Piece], way: tuple[range, ...], rooms: Sequence[int]) -> int:
    """How many tokens fit that way; below 0 where not even the pieces do."""
    fits = []
    for number, (run, room) in enumerate(zip(way, rooms, strict=True)):
        if number and not run:
            continue  # nothing is there, however little room it has
        left = room - sum(pieces[index].fixed for index in run)
        per_token = sum(pieces[index].token for index in run)
        fits.append(-1 if left < 0 else left // per_token if per_token else 2**62)
    return min(fits)


@pytest.mark.parametrize("seed", range(40))
def test_no_way_to_spread_layers_holds_more_tokens(seed: int) -> None:
    draw = random.Random(seed)
    pieces = [Piece(draw.randint(1, 3), draw.randint(1, 50), draw.choice((0, 1, 2))) for _ in range(draw.randint(1, 7))]
    rooms = [draw.randint(-5, 120) for _ in range(draw.randint(1, 3))]
    best = max(tokens_of(pieces, way, rooms) for way in ways(len(pieces), len(rooms)))
    found = split(pieces, rooms)
    assert sum(found.layers) == sum(piece.layers for piece in pieces)
    assert len(found.layers) == len(rooms)
    assert (found.missing == 0) == (best >= 0)
    assert found.tokens == max(best, 0)
    ends = list(accumulate(piece.layers for piece in pieces))
    assert set(accumulate(found.layers)) <= {0, *ends}, "a piece was cut"


def test_what_does_not_fit_is_spread_so_that_all_lack_the_same() -> None:
    found = split([Piece(1, 10, 1)] * 8, [30, 30])
    assert (found.layers, found.tokens, found.missing) == ((4, 4), 0, 20)


# -- models ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_pieces_are_all_that_the_layers_take(name: str) -> None:
    shape = ModelShape(model_of(name).config)
    pieces, needs = shape.pieces(CUDA), shape.needs(CUDA)
    layers = decoder_layers(shape.model)
    assert layers is not None
    assert sum(piece.layers for piece in pieces) == shape.topology.num_layers
    assert sum(piece.token for piece in pieces) == needs.token_index
    count_in_layers = sum(tensor.numel() for tensor in layers.parameters())
    beside = (needs.parameters - count_in_layers) * fit.load_dtype(shape.config, "cuda").itemsize
    kept = sum(piece.fixed for piece in pieces)
    assert kept + beside == pytest.approx(needs.weights + needs.hot + needs.index, rel=0.001)


@pytest.mark.parametrize("name", ["gemma3n", "gemma4"])
def test_layers_stay_with_the_one_whose_keys_they_use(name: str) -> None:
    shape = ModelShape(model_of(name).config)
    first = shape.topology.first_shared
    assert 0 < first + 1 < shape.topology.num_layers
    *alone, together = shape.pieces(CUDA)
    assert [piece.layers for piece in alone] == [1] * first
    assert together.layers == shape.topology.num_layers - first


@pytest.mark.filterwarnings("ignore:.*do not match any submodules")  # tensors of the decoder itself (Gemma 3n)
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_device_map_has_every_tensor_where_its_layer_is(name: str) -> None:
    model = empty_model(model_of(name).config)
    layers = decoder_layers(model)
    assert layers is not None
    gpus = [torch.device("cuda", index) for index in range(len(layers))]
    placed = device_map(model, gpus[0], gpus)
    check_device_map(model, placed)
    in_layers = {id(tensor): gpu for part, gpu in zip(layers, gpus, strict=True) for tensor in part.parameters()}
    names = {name: id(tensor) for name, tensor in model.named_parameters(remove_duplicate=False)}
    assert {name: in_layers.get(one, gpus[0]) for name, one in names.items()} == expand_device_map(placed, [*names])


@pytest.mark.parametrize("name", ["gemma3n", "gemma4"])
def test_a_device_map_that_parts_shared_keys_from_their_users_is_refused(name: str) -> None:
    """With such a map, which anybody may give transformers, the answers would be wrong without a word."""
    model = copy.deepcopy(model_of(name))
    layers = decoder_layers(model)
    assert layers is not None
    layers[-1].to("meta")
    model.hf_device_map = {"model.layers.0": torch.device("cpu"), "model.layers.3": torch.device("meta")}
    with pytest.raises(UnsupportedModelError, match="share keys and values but lie on several devices"):
        KIVCache(model)
    KIVCache(model_of(name)).close()


# -- what fits ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def qwen7b() -> ModelShape:
    from kiv_engine.catalogue import find_entry
    from kiv_engine.model_config import config_of_shape

    entry = find_entry("Qwen/Qwen2.5-7B-Instruct")
    assert entry is not None
    return ModelShape(config_of_shape(entry.shape))


def test_what_is_too_large_for_one_gpu_is_planned_on_two(qwen7b: ModelShape) -> None:
    room = Room(64 * GB, 500 * GB, vram=12 * GB)
    assert fit.plan_of(qwen7b, CUDA, room).missing
    both = fit.plan_of(qwen7b, CUDA, replace(room, more_vram=(12 * GB,)))
    assert not both.missing
    assert sum(both.gpu_layers) == qwen7b.topology.num_layers
    assert min(both.gpu_layers) > 0
    # Counted again, GPU by GPU: what lies there, and codes of as many tokens as are planned, are no more than it has.
    pieces, needs = qwen7b.pieces(CUDA), both.needs
    beside = needs.fixed - needs.activations - needs.runtime - sum(piece.fixed for piece in pieces)
    first = both.gpu_layers[0]
    for run, more in ((pieces[:first], beside), (pieces[first:], 0)):
        used = sum(piece.fixed + both.tokens_in_ram * piece.token for piece in run) + more
        assert used + needs.activations + needs.runtime <= 12 * GB * fit.VRAM_SHARE


@pytest.mark.parametrize("ram", [100 * GB, 20 * GB], ids=["a million", "the RAM holds no more"])
def test_one_gpu_is_enough_where_others_would_not_help(qwen7b: ModelShape, ram: int) -> None:
    alone = fit.plan(qwen7b.needs(CUDA), Room(ram, 500 * GB, vram=40 * GB))
    found = fit.plan_of(qwen7b, CUDA, replace(alone.room, more_vram=(40 * GB,)))
    assert replace(found, room=alone.room) == alone
    assert found.gpu_layers == ()


def test_a_model_whose_layers_stand_in_no_list_is_planned_for_one_gpu(
    qwen7b: ModelShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_shape, "decoder_layers", lambda _model: None)
    room = Room(64 * GB, 500 * GB, vram=18 * GB)
    alone = fit.plan_of(qwen7b, CUDA, room)
    found = fit.plan_of(qwen7b, CUDA, replace(room, more_vram=(18 * GB,)))
    assert 0 < alone.tokens_in_ram < fit.MILLION
    assert (found.tokens_in_ram, found.tokens_on_disk) == (alone.tokens_in_ram, alone.tokens_on_disk)
    assert found.gpu_layers == ()


@pytest.mark.parametrize("full", [1, 2], ids=["second", "last"])
def test_a_full_gpu_does_not_keep_a_model_from_two_others(qwen7b: ModelShape, full: int) -> None:
    rooms = [12 * GB, 12 * GB, 12 * GB]
    rooms[full] = 0
    found = fit.plan_of(qwen7b, CUDA, Room(64 * GB, 500 * GB, rooms[0], tuple(rooms[1:])))
    both = fit.plan_of(qwen7b, CUDA, Room(64 * GB, 500 * GB, 12 * GB, (12 * GB,)))
    assert found.tokens_in_ram == both.tokens_in_ram > 0
    assert found.gpu_layers[full] == 0
    assert found.num_gpus == 2


def test_a_gpu_that_has_all_but_the_layers_is_counted(qwen7b: ModelShape) -> None:
    found = fit.plan_of(qwen7b, CUDA, Room(64 * GB, 500 * GB, 4 * GB, (24 * GB,)))
    assert found.gpu_layers == (0, qwen7b.topology.num_layers)
    assert found.num_gpus == 2


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Two GPUs with 12 GB free each, and PyTorch's word for it."""
    free = {0: 12 * GB, 1: 12 * GB}
    monkeypatch.setattr(remedy, "free_vram_bytes", lambda gpu: free[gpu.index])
    monkeypatch.setattr(remedy, "further_gpus", lambda first: [each for each in free if each != first])
    monkeypatch.setattr(remedy, "available_ram_bytes", lambda: 64 * GB)
    return free


def test_the_layers_devices_follow_the_plan(qwen7b: ModelShape, gpus: dict[int, int]) -> None:
    first, second = (torch.device("cuda", index) for index in gpus)
    options = LoadOptions("Qwen/Qwen2.5-7B-Instruct")
    found = remedy.choose_devices(options, qwen7b.config, first)
    assert set(found) == {first, second}
    assert list(found) == sorted(found, key=lambda gpu: gpu.index)
    assert len(found) == qwen7b.topology.num_layers
    gpus[0] = 80 * GB
    assert remedy.choose_devices(options, qwen7b.config, first) == ()
    gpus[0] = 12 * GB
    assert remedy.choose_devices(LoadOptions("demo"), qwen7b.config, first) == ()


def test_what_is_too_large_for_all_gpus_is_refused_with_figures(qwen7b: ModelShape, gpus: dict[int, int]) -> None:
    gpus[1] = 2 * GB
    first, options = torch.device("cuda", 0), LoadOptions("Qwen/Qwen2.5-7B-Instruct")
    with pytest.raises(OutOfMemoryError, match=r"about \d+\.\d GB of VRAM .* 14\.0 GB are free on 2 GPUs") as caught:
        remedy.choose_devices(options, qwen7b.config, first)
    assert caught.value.is_predicted
    assert len(remedy.choose_devices(options, qwen7b.config, first, anyway=True)) == qwen7b.topology.num_layers


def test_where_ram_is_what_is_short_for_several_gpus_it_is_named(
    qwen7b: ModelShape, gpus: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remedy, "available_ram_bytes", lambda: 0)
    first, options = torch.device("cuda", 0), LoadOptions("Qwen/Qwen2.5-7B-Instruct")
    with pytest.raises(OutOfMemoryError, match=r" on 2 GPUs needs RAM, too: about 200 MB more have to be") as caught:
        remedy.choose_devices(options, qwen7b.config, first)
    assert caught.value.is_predicted
    gpus |= {0: 2 * GB, 1: 2 * GB}
    with pytest.raises(OutOfMemoryError, match=r" GB of VRAM .* are free on 2 GPUs"):
        remedy.choose_devices(options, qwen7b.config, first)


def test_a_full_gpu_beside_does_not_keep_a_model_from_the_one_that_has_room(
    qwen7b: ModelShape, gpus: dict[int, int]
) -> None:
    """With so little room that nothing is left of the planner's share, one GPU is enough by what is free."""
    needs, first, options = qwen7b.needs(CUDA), torch.device("cuda", 0), LoadOptions("Qwen/Qwen2.5-7B-Instruct")
    gpus |= {0: needs.fixed - needs.runtime + 10**6, 1: 0}
    assert remedy.choose_devices(options, qwen7b.config, first) == ()
    gpus[0] -= 2 * 10**6
    with pytest.raises(OutOfMemoryError, match=r"about \d+\.\d GB of VRAM .* are free\."):
        remedy.choose_devices(options, qwen7b.config, first)


def test_a_smaller_plan_counts_all_gpus(
    qwen7b: ModelShape, gpus: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus |= {0: 6 * GB, 1: 6 * GB}
    monkeypatch.setattr(remedy, "device_of", lambda _choice: torch.device("cuda", 0))
    options = LoadOptions("Qwen/Qwen2.5-7B-Instruct")
    found = remedy.for_loading(options, OutOfMemoryError("all gone"))
    assert found is not None
    assert found.quantize == "8bit", "neither GPU alone has room for that"
    assert found.free_bytes == 12 * GB + 2 * model_shape.RUNTIME_BYTES["cuda"]
    gpus[1] = 0
    alone = remedy.for_loading(options, OutOfMemoryError("all gone"))
    assert alone is None or alone.quantize == "4bit"


def test_what_a_context_holds_is_free_for_a_smaller_one_on_each_gpu(
    gpus: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (torch.device("cuda", index) for index in gpus)
    monkeypatch.setattr("kiv_engine.footprint.free_vram_bytes", lambda gpu: gpus[gpu.index])
    context = Context(replace(tiny_loaded("llama"), device=first), KIVConfig())
    held, seen = {first: 5 * GB, second: 7 * GB}, []
    monkeypatch.setattr(Footprint, "held_on", lambda _footprint, gpu: held[gpu])
    monkeypatch.setattr(remedy, "smaller_plan", lambda _shape, _setting, room, _tokens: seen.append(room))
    loaded = replace(tiny_loaded("llama"), device=first)
    remedy.for_context(loaded, LoadOptions("some"), context, OutOfMemoryError("all gone", 10_000))
    context.close()
    beside = model_shape.RUNTIME_BYTES["cuda"]
    assert [room.all_vram for room in seen] == [(17 * GB + beside, 19 * GB + beside)]


# -- on two of them ----------------------------------------------------------------------------------------------------


def run_child(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.engine.split_models", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_spread_model_says_what_it_says_on_one_device(tmp_path: Path) -> None:
    """Models with sliding, shared, sink, chunked and linear layers, and with factors that follow the length."""
    names = ("gemma3", "gemma3n", "gemma4", "gpt_oss", "llama4", "llama_dynamic", "qwen3_next")
    for name in names:
        model_of(name).save_pretrained(tmp_path / name)
        copy_tokenizer(tmp_path / name)
    for name, found in run_child("logits", *(tmp_path / name for name in names)).items():
        assert found["off"] < 1e-4, name
        assert "privateuseone:1" in found["places"], name
        if name in ("gemma3", "llama_dynamic"):  # others are given more than rotary positions
            assert found["copies"] == found["planned_copies"], name


def test_a_context_on_two_gpus_answers_and_is_saved_as_on_one(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "model")
    copy_tokenizer(tmp_path / "model")
    found = run_child("context", tmp_path / "model", tmp_path / "saved")
    assert found["answers"] == found["answers"][:1] * 4
    assert found["answers"][0]
    assert found["layers_on"] == {"privateuseone:0": 1, "privateuseone:1": 1}
    assert min(found["held"]) > 0
    assert sum(found["held"]) == found["parts"]
