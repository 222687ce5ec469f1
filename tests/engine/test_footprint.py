"""What a context takes in memory is what it has; what does not fit is refused, with what does."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kiv_engine import footprint
from kiv_engine.config import KIVConfig
from kiv_engine.context import Context
from kiv_engine.engine import Engine
from kiv_engine.errors import CapacityError, OutOfMemoryError
from kiv_engine.events import AnswerFinished, Failed, MemoryPlaces, MemoryUse, ReadFinished
from kiv_engine.footprint import Footprint
from kiv_engine.index import code_bytes
from kiv_engine.loader import LoadedModel
from kiv_engine.model_shape import ModelShape, Setting
from tests.engine.families import model_of
from tests.engine.tiny_chat import loaded
from tests.engine.tiny_context import CHUNK, DOCUMENT, SMALL, TEXT, ask, break_forward, new_context, read, ready, tokens

pytestmark = pytest.mark.usefixtures("one_thread", "small_steps", "all_contexts_gone")


def test_how_long_a_context_can_become_counts_what_is_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Footprint, "tokens_that_fit", lambda _context: 10_000)
    context = new_context()
    assert context.most_tokens == 10_000
    reading = context.read(DOCUMENT)
    next(reading)
    assert context.most_tokens == 10_000, "the same room, whatever is to come into it"
    reading.close()
    read(context)
    assert context.most_tokens == context.num_tokens + 10_000
    context.close()


def test_a_document_too_large_for_ram_is_refused_with_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    context = new_context()
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=100_000))
    fits = context.footprint.tokens_that_fit()
    assert 0 < fits < len(TEXT)
    failure = read(context, DOCUMENT)
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, CapacityError)
    assert f"{len(TEXT) + 2:,} tokens" in failure.message
    assert f"{fits:,} tokens fit" in failure.message
    assert (context.num_tokens, context.unread_tokens, context.documents) == (0, 0, [])
    monkeypatch.undo()
    assert isinstance(read(context, DOCUMENT), ReadFinished)
    context.close()


def test_of_a_document_too_large_as_much_is_read_as_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiv_engine.footprint.ASKING_TOKENS", 7)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=100_000))
    context = new_context()
    fits = context.footprint.tokens_that_fit()
    failure = read(context, DOCUMENT)
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, OutOfMemoryError)
    assert failure.error.fit_tokens == fits - 7
    failure = read(context, DOCUMENT, up_to=fits + 1)
    assert isinstance(failure, Failed)
    assert failure.message.startswith(f"The first {fits + 1:,} tokens need ")
    assert isinstance(read(context, DOCUMENT, up_to=fits - 7), ReadFinished)
    assert (context.num_tokens, context.unread_tokens) == (fits - 7, len(TEXT) + len("u:") - (fits - 7))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10_000))
    more, length = context.footprint.tokens_that_fit(), fits + 200
    failure = read(context, up_to=length)
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, OutOfMemoryError)
    assert failure.message.startswith(f"The first {length:,} tokens need ")
    # what is read already counts on both sides
    assert failure.message.endswith(f"about {fits - 7 + more:,} tokens fit."), (
        "what is read already counts on both sides"
    )
    assert failure.error.fit_tokens == max(0, fits - 7 + more - 7)
    context.close()


@pytest.mark.parametrize("dtype", ["model", "int8"])
def test_what_fits_is_what_the_cache_then_takes_per_token(dtype: Any) -> None:
    """Codes are counted with the keys, so a long enough text is read for the fixed parts to weigh little."""
    context = ready(config=KIVConfig(hot_tokens=48, sink_tokens=4, prefill="window", store_dtype=dtype))
    taken = context.cache.bytes_by_part()
    cold = context.cache.growing_layers[0].store.num_tokens
    rows = (taken["cold_keys"] + taken["cold_values"]) / cold
    assert rows <= context.footprint.token_bytes <= 1.2 * rows
    context.close()


def test_on_a_gpu_the_index_has_to_fit_into_vram(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the planner: K and V in RAM, codes in VRAM, the scarcer of the two decides."""
    device = torch.device("cuda", 0)
    context = Context(replace(loaded("llama"), device=device), KIVConfig())
    needs = ModelShape(model_of("llama").config).needs(Setting())
    needs = replace(needs, token_index=context.footprint.token_bytes - needs.token_keys_values)  # two bits on a GPU
    monkeypatch.setattr(footprint, "available_ram_bytes", lambda: 10**9)
    for vram in (10**6, 10**10):
        monkeypatch.setattr(footprint, "free_vram_bytes", {device: vram}.__getitem__)
        codes, rows = int(vram * 0.95) // needs.token_index, int(10**9 * 0.9) // needs.token_keys_values
        assert context.footprint.tokens_that_fit() == min(codes, rows)
    context.close()


def test_the_fullest_of_several_gpus_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The codes of a layer lie where the layer does."""
    gpus = [torch.device("cuda", index) for index in range(2)]
    monkeypatch.setattr(LoadedModel, "layer_device", lambda _loaded, index: gpus[index > 0])
    context = Context(replace(loaded("llama"), device=gpus[0]), KIVConfig())
    monkeypatch.setattr(footprint, "available_ram_bytes", lambda: 10**12)
    growing = context.cache.topology.growing
    first = [layer for layer in growing if layer.index == 0]
    codes = [code_bytes(layer.num_kv_heads, layer.head_dim, 2) for layer in growing]
    assert len(first) == 1 < len(codes)
    for free in ((10**6, 10**9), (10**9, 10**6)):
        monkeypatch.setattr(footprint, "free_vram_bytes", dict(zip(gpus, free, strict=True)).__getitem__)
        each = [int(free[0] * 0.95) // codes[0], int(free[1] * 0.95) // sum(codes[1:])]
        assert context.footprint.tokens_that_fit() == min(each)
    context.close()


@pytest.mark.parametrize("config", [KIVConfig(), KIVConfig(store_dtype="int8", index_bits=2)], ids=["model", "int8"])
def test_the_bytes_of_a_token_are_those_of_the_fit_planner(config: KIVConfig) -> None:
    context = new_context(config=config)
    planned = ModelShape(model_of("llama").config).needs(Setting(config=config))
    assert context.footprint.token_bytes == planned.token
    context.close()


def test_memory_that_torch_cannot_get_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    context = new_context()
    with monkeypatch.context() as patch:
        break_forward(patch, context, 1, RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
        failure = read(context, DOCUMENT)
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, OutOfMemoryError)
    assert failure.error.tokens == len(tokens(f"u:{TEXT}"))
    assert failure.message.startswith(f"Memory ran out with {CHUNK} of ")
    assert " GB of RAM are free." in failure.message
    assert isinstance(read(context), ReadFinished), "what failed can go on"
    with monkeypatch.context() as patch:
        break_forward(patch, context, 1, torch.OutOfMemoryError("CUDA out of memory."))
        failure = ask(context)
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, OutOfMemoryError)
    assert isinstance(ask(context), AnswerFinished)
    context.close()


def test_memory_is_the_sum_of_plausible_parts() -> None:
    context = new_context()
    empty = context.footprint.parts()
    assert (empty.hot, empty.index, empty.cold_keys, empty.cold_values) == (0, 0, 0, 0)
    assert (
        empty.weights
        == empty.total
        == sum(p.nbytes for p in set(model_of("llama").parameters()))
        + sum(b.nbytes for b in model_of("llama").buffers())
    )
    read(context, DOCUMENT)
    memory = context.footprint.parts()
    layers = context.cache.growing_layers
    cold = layers[0].store.num_tokens
    assert 0 < context.num_tokens - cold <= SMALL.hot_tokens + SMALL.sink_tokens + 128
    assert memory.cold_keys == memory.cold_values == len(layers) * cold * 2 * 16 * 4
    assert memory.index > 0
    assert memory.hot >= len(layers) * (context.num_tokens - cold) * 2 * 2 * 16 * 4
    assert memory.total == memory.weights + memory.hot + memory.index + memory.cold_keys + memory.cold_values
    context.close()
    assert context.footprint.parts() == empty


def test_each_part_is_counted_where_it_lies(tmp_path: Path) -> None:
    in_ram, mapped = ready(), ready(config=replace(SMALL, store=tmp_path / "store"))
    parts = replace(in_ram.footprint.parts(), weights=0)
    cold = MemoryUse(cold_keys=parts.cold_keys, cold_values=parts.cold_values)
    assert cold.total > 0
    assert in_ram.footprint.places() == MemoryPlaces(ram=parts)
    assert mapped.footprint.places() == MemoryPlaces(ram=parts - cold, disk=cold)
    on_gpu = Footprint(replace(loaded("llama"), device=torch.device("cuda", 0)), in_ram.cache, in_ram.config)
    assert on_gpu.places() == MemoryPlaces(ram=cold, vram=parts - cold)
    assert on_gpu.places().total == parts
    for context in (in_ram, mapped):
        context.close()
    assert mapped.footprint.places() == MemoryPlaces()


def test_the_weights_are_where_the_model_is() -> None:
    model = loaded("llama")
    size = MemoryUse(weights=new_context().footprint.parts().weights)
    assert Engine(model).memory_places() == MemoryPlaces(ram=size)
    assert Engine(replace(model, device=torch.device("cuda", 0))).memory_places() == MemoryPlaces(vram=size)
