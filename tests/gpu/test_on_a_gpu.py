"""For a machine with a GPU: that what the tests on the CPU say holds on CUDA. `tools/gpu_checks.sh` runs them.

With KIV_GPU_TESTS_ON=cpu they run on the CPU, without those that ask for what only a GPU has.
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache, PreTrainedModel

from kiv_engine import doctor, hardware
from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig, Quantize, SamplingConfig
from kiv_engine.document import Document
from kiv_engine.engine import Engine
from kiv_engine.errors import OutOfMemoryError
from kiv_engine.events import AnswerFinished
from kiv_engine.index import FIT_TOKENS, CodeIndex
from kiv_engine.memory import give_back
from kiv_engine.prefill import ScoreRule
from kiv_engine.staging import staging
from tests.engine.families import FAMILIES, feed, reference, text

ASKED_FOR = os.environ.get("KIV_GPU_TESTS_ON", "cuda")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        ASKED_FOR == "cuda" and not torch.cuda.is_available(),
        reason="needs a CUDA device; KIV_GPU_TESTS_ON=cpu runs what a CPU can",
    ),
]

only_on_a_gpu = pytest.mark.skipif(ASKED_FOR == "cpu", reason="asks for what only a GPU has")

NAMES = ["llama", "gemma2", "gemma4", "gpt_oss"]
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
SIZES = [640, 60, *[1] * 40, 60]
EXACT = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=100_000, prefill="exact", positions="true")
HOT = KIVConfig(hot_tokens=4_096, positions="true")
SEARCHING = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=32, prefill="sparse", positions="true")
NEAR = 1e-3
"""Logits in float32; the CPU's laws have 1e-4, but a GPU sums in other orders."""
NEARNESS = 1.1
"""Of what a model in 16 bit is off by itself."""


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def device() -> torch.device:
    return torch.device(ASKED_FOR, 0) if ASKED_FOR == "cuda" else torch.device(ASKED_FOR)


@pytest.fixture
def small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiv_engine.index.FIT_TOKENS", 64)
    monkeypatch.setattr("kiv_engine.layer.FIT_TOKENS", 64)


def model_on(device: torch.device, name: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    return FAMILIES[name]().to(device, dtype)  # type: ignore[arg-type]


def logits_with(model: PreTrainedModel, cache: Any) -> torch.Tensor:
    return feed(model, cache, text().to(model.device), SIZES).float().cpu()


# -- the laws ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [HOT, EXACT], ids=["L1", "L2"])
@pytest.mark.parametrize("name", NAMES)
def test_l1_and_l2_hold_in_float32(device: torch.device, name: str, config: KIVConfig) -> None:
    model = model_on(device, name)
    cache = KIVCache(model, config)
    got = logits_with(model, cache)
    assert {layer.hot.keys.device for layer in cache.growing_layers} == {device}
    cache.close()
    expected = logits_with(model, DynamicCache(config=model.config))
    torch.testing.assert_close(got, expected, atol=NEAR, rtol=NEAR)


@pytest.mark.parametrize("config", [HOT, EXACT], ids=["L1", "L2"])
@pytest.mark.parametrize("name", NAMES)
def test_l1_and_l2_hold_in_bf16(device: torch.device, name: str, config: KIVConfig) -> None:
    """As near to float32 as the model itself is: sums in other orders round otherwise."""
    model = model_on(device, name, torch.bfloat16)
    cache = KIVCache(model, config)
    off = [(logits - reference(name)).square().mean().sqrt() for logits in both(model, cache)]
    cache.close()
    assert off[0] < NEARNESS * off[1]


def both(model: PreTrainedModel, cache: KIVCache) -> tuple[torch.Tensor, torch.Tensor]:
    return logits_with(model, cache), logits_with(model, DynamicCache(config=model.config))


@pytest.mark.parametrize("dim", [64, 512])
def test_the_codes_rank_as_on_the_cpu(device: torch.device, dim: int) -> None:
    """But for what lies within the rounding of 16 bit around the last that is taken."""
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(2, 8 * FIT_TOKENS, dim, generator=generator)
    queries, lse = torch.randn(2, 4, dim, generator=generator), torch.zeros(2, 4)
    chosen = []
    for place in (device, torch.device("cpu")):
        index = CodeIndex(2, dim, 2, place)
        for part in keys.split(FIT_TOKENS, 1):
            index.append(part.to(place))
        rule = ScoreRule(dim**-0.5)
        ids = index.strongest(queries.to(place), index.num_tokens - 32, 256, rule.in_nats, lse.to(place))
        chosen.append([set(row) for row in ids.tolist()])
    for here, there in zip(*chosen, strict=True):
        assert len(here & there) >= 250


# -- a step ------------------------------------------------------------------------------------------------------------


@only_on_a_gpu
@pytest.mark.usefixtures("small_index")
@pytest.mark.parametrize("name", NAMES)
def test_a_step_waits_once_for_each_layer_that_attends(
    device: torch.device, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the ids of the rows that it chose; every other wait is an error here."""
    model = model_on(device, name)
    cache = KIVCache(model, SEARCHING)
    ids = text().to(device)
    feed(model, cache, ids[:, :310], [300, 10])
    to, waits = torch.Tensor.to, []

    def noted(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not tensor.is_cuda or args[:1] != ("cpu",):
            return to(tensor, *args, **kwargs)
        waits.append(tuple(tensor.shape))
        torch.cuda.set_sync_debug_mode("default")
        try:
            return to(tensor, *args, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode("error")

    monkeypatch.setattr(torch.Tensor, "to", noted)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for place in range(310, 318):  # 310 - 52 is 258: none of these moves tokens out of the hot window
            waits.clear()
            model(ids[:, place : place + 1], past_key_values=cache)
            assert len(waits) == sum(layer.geometry.attending for layer in cache.growing_layers)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    cache.close()


@only_on_a_gpu
@pytest.mark.usefixtures("small_index")
def test_rows_come_through_pinned_memory(device: torch.device) -> None:
    model = model_on(device, "llama", torch.bfloat16)
    cache = KIVCache(model, SEARCHING)
    feed(model, cache, text()[:, :302].to(device), [300, 1, 1])
    assert all(layer.store.keys.read(0, 32).is_pinned() for layer in cache.growing_layers)
    assert all(block._bytes.is_pinned() for block in staging(device)._blocks)
    cache.close()


# -- models ------------------------------------------------------------------------------------------------------------


def answer(engine: Engine) -> str:
    context = engine.new_context(KIVConfig(hot_tokens=256, prefill="sparse"))
    list(context.read(Document("book", "The ferry leaves at noon. " * 400)))
    *_, last = context.ask("When does the ferry leave?", sampling=SamplingConfig(max_new_tokens=8))
    context.close()
    assert isinstance(last, AnswerFinished), last
    return last.text


def test_the_built_in_model_says_what_it_says_on_the_cpu(device: torch.device) -> None:
    assert answer(Engine.load("demo", device=ASKED_FOR)) == answer(Engine.load("demo", device="cpu"))  # type: ignore[arg-type]


@pytest.mark.parametrize("quantize", ["8bit", "4bit"])
def test_quantized_weights_answer(device: torch.device, quantize: Quantize) -> None:
    engine = Engine.load("demo", device=ASKED_FOR, quantize=quantize)  # type: ignore[arg-type]
    assert {parameter.device for parameter in engine.loaded.model.parameters()} == {device}
    assert isinstance(answer(engine), str)


@only_on_a_gpu
def test_a_model_that_is_gone_leaves_nothing_in_vram(device: torch.device) -> None:
    held = []
    for _ in range(2):  # the first leaves what cuBLAS and the table of levels take, once
        engine = Engine.load("demo", device="cuda")
        answer(engine)
        assert torch.cuda.memory_allocated(device) > 10_000_000
        del engine
        gc.collect()
        give_back()
        held.append(torch.cuda.memory_allocated(device))
    assert held[1] - held[0] < 1_000_000
    assert torch.cuda.memory_reserved(device) < held[1] + (32 << 20)


@only_on_a_gpu
def test_running_out_of_vram_is_told_in_a_line(device: torch.device) -> None:
    give_back()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(device) + (4 << 20)) / total, device)
    try:
        with pytest.raises(OutOfMemoryError, match="VRAM") as raised:
            Engine.load("demo", device="cuda")
        assert "\n" not in str(raised.value)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert answer(Engine.load("demo", device="cuda"))


@only_on_a_gpu
def test_the_doctor_knows_the_gpu(device: torch.device, tmp_path: Path) -> None:
    report = doctor.report(hardware.inspect_hardware(tmp_path))
    assert report["cuda"]["usable"], report["cuda"]
    assert torch.cuda.get_device_name(device) in [gpu["name"] for gpu in report["gpus"]]
    total = torch.cuda.get_device_properties(device).total_memory
    assert any(abs(gpu["total_bytes"] - total) < 0.1 * total for gpu in report["gpus"])
