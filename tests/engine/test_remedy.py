"""Where memory runs out: what is told, which smaller plan is offered, and that it holds what was wanted."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kiv_engine import KIVConfig, cli, fit, loader, model_config, remedy
from kiv_engine.catalogue import find_entry
from kiv_engine.engine import Engine
from kiv_engine.errors import OutOfMemoryError
from kiv_engine.events import SmallerPlan
from kiv_engine.fit import Room
from kiv_engine.loader import LoadOptions
from kiv_engine.model_config import config_of_shape
from kiv_engine.model_shape import ModelShape, Setting
from kiv_engine.remedy import LESS_HOT_TOKENS, default_store, smaller_plan
from tests.engine.test_loader import copy_tokenizer, tiny_llama

pytestmark = pytest.mark.usefixtures("one_thread")

GB = 10**9


@pytest.fixture(scope="module")
def saved_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-llama")
    tiny_llama().save_pretrained(folder)
    copy_tokenizer(folder)
    return folder


STORE = str(default_store())


@pytest.fixture(scope="module")
def qwen() -> ModelShape:
    entry = find_entry("Qwen/Qwen2.5-3B-Instruct")
    assert entry is not None
    return ModelShape(config_of_shape(entry.shape))


@pytest.mark.parametrize(
    ("room", "setting", "tokens", "expected"),
    [
        (Room(29 * GB, 500 * GB), Setting(), 500_000, SmallerPlan(store_dtype="int8")),
        (Room(29 * GB, 500 * GB), Setting(), 5_000_000, SmallerPlan(store=STORE)),
        (Room(29 * GB, GB), Setting(), 900_000, SmallerPlan(quantize="bf16", store_dtype="int8")),
        (Room(29 * GB, GB), Setting("bf16"), 1_000_000, SmallerPlan(quantize="8bit", store_dtype="int8")),
        (Room(10 * GB, 500 * GB), Setting(), 0, SmallerPlan(quantize="bf16")),
        (Room(6 * GB, 500 * GB), Setting(), 0, SmallerPlan(quantize="8bit")),
        (Room(5 * GB, 500 * GB), Setting(), 0, SmallerPlan(quantize="4bit")),
        (Room(29 * GB, 500 * GB, vram=4 * GB), Setting(device="cuda"), 100_000, SmallerPlan(quantize="4bit")),
        (Room(29 * GB, 0), Setting("4bit", config=KIVConfig(store_dtype="int8")), 10**7, SmallerPlan(hot_tokens=512)),
        (Room(2 * GB, 500 * GB), Setting(), 0, None),
    ],
)
def test_the_first_change_that_fits_is_found(
    qwen: ModelShape, room: Room, setting: Setting, tokens: int, expected: SmallerPlan | None
) -> None:
    found = smaller_plan(qwen, setting, room, tokens)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert replace(found, tokens=0, need_bytes=0, free_bytes=0) == expected
    changed = replace(setting, quantize=found.quantize or setting.quantize, config=setting.config.smaller(found))
    plan = fit.plan(qwen.needs(changed), room)
    most = plan.tokens_in_ram if changed.config.store == "ram" else plan.tokens_on_disk
    assert not plan.missing
    assert most >= (found.tokens or tokens)
    assert (found.tokens == 0) == (most >= tokens)
    assert found.need_bytes == plan.needs.fixed


def test_a_little_vram_that_is_missing_is_had_from_the_hot_window(qwen: ModelShape) -> None:
    setting = Setting("8bit", "cuda")
    room = Room(29 * GB, 500 * GB, vram=int((qwen.needs(setting).fixed - 1_000_000) / 0.95))
    found = smaller_plan(qwen, setting, room, 100)
    assert found is not None
    assert (found.hot_tokens, found.quantize, found.store_dtype, found.store) == (512, "", "", "")


def test_what_exact_reading_needs_more_is_had_from_sparse_reading(qwen: ModelShape) -> None:
    exact = Setting("8bit", "cuda", KIVConfig(prefill="exact"))
    sparse = replace(exact, config=KIVConfig(prefill="sparse"))
    short, enough = qwen.needs(exact).fixed, qwen.needs(sparse).fixed
    assert 100_000_000 < short - enough < 400_000_000
    room = Room(29 * GB, 0, vram=int((short + enough) / 2 / 0.95))
    assert fit.plan(qwen.needs(exact), room).missing
    assert room.vram is not None
    plan = SmallerPlan(prefill="sparse", need_bytes=enough, free_bytes=room.vram)
    assert smaller_plan(qwen, exact, room, 100) == plan
    found = smaller_plan(qwen, sparse, room, 100)
    assert found is None or not found.prefill, "it is in use already"


def test_sparse_reading_is_not_offered_where_exact_needs_no_more(qwen: ModelShape) -> None:
    """On the CPU a chunk of this model is largest in its feed-forward layers."""
    setting = Setting(config=KIVConfig(prefill="exact"))
    found = smaller_plan(qwen, setting, Room(29 * GB, 500 * GB), 500_000)
    assert found is not None
    assert (found.prefill, found.store_dtype) == ("", "int8")


def test_what_is_small_already_is_not_offered_again(qwen: ModelShape) -> None:
    config = KIVConfig(store_dtype="int8", store="/somewhere", hot_tokens=LESS_HOT_TOKENS)
    setting = Setting("4bit", config=config)
    assert smaller_plan(qwen, setting, Room(29 * GB, 10**15), 10**6) is None
    assert smaller_plan(qwen, replace(setting, quantize="8bit"), Room(29 * GB, 10**15), 10**6) == SmallerPlan(
        quantize="4bit", need_bytes=qwen.needs(setting).fixed, free_bytes=29 * GB
    )


# -- loading -----------------------------------------------------------------------------------------------------------


def free(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    for name in ("remedy", "footprint"):
        monkeypatch.setattr(f"kiv_engine.{name}.available_ram_bytes", lambda: num_bytes)


def test_a_model_larger_than_the_ram_is_refused_with_figures_and_may_be_tried(
    saved_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 3_000_000)
    with pytest.raises(OutOfMemoryError, match=r"needs about \d\.\d GB of RAM .* and 0\.0 GB are free") as caught:
        Engine.load(str(saved_llama), device="cpu")
    assert caught.value.is_predicted
    assert Engine.load(str(saved_llama), device="cpu", anyway=True).loaded.name == str(saved_llama)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_memory_that_runs_out_while_loading_is_answered_with_coarser_weights(
    saved_llama: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(loader.AutoModelForCausalLM, "from_pretrained", fail)
    assert cli.main(["ask", "archive:200", "-q", "Who?", "--model", str(saved_llama), "--device", "cpu"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        rf"kiv: Memory ran out while {re.escape(str(saved_llama))} was loaded; \d+\.\d GB of RAM are free\.", first
    )
    assert second.startswith("With --quantize bf16 it fits, by the plan (0.")


# -- reading and answering ---------------------------------------------------------------------------------------------

ASK = ["ask", "archive:3000", "-q", "Who?", "--max-new-tokens", "2", "--hot-tokens", "128", "--device", "cpu"]


def test_the_options_that_are_told_are_enough(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is free is what int8 rows need, and not what rows in full do."""
    rows = ModelShape(model_config.read_config("demo")).needs(Setting())
    int8 = ModelShape(model_config.read_config("demo")).needs(Setting(config=KIVConfig(store_dtype="int8")))
    monkeypatch.setattr("kiv_engine.footprint.available_ram_bytes", lambda: 3_000 * (rows.token + int8.token) // 2)
    assert cli.main(ASK) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "tokens fit." in first
    assert second.startswith("With --store-dtype int8 it fits, by the plan (")
    assert second.endswith("Or add --anyway to try it as it is.")
    assert cli.main([*ASK, "--store-dtype", "int8"]) == 0
    assert cli.main([*ASK, "--anyway"]) == 0


@pytest.mark.parametrize("forward", [1, 4], ids=["reading", "answering"])
def test_memory_that_runs_out_later_is_answered_too(
    forward: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kiv_engine.cached_tokens import CachedTokens

    calls, original = [], CachedTokens.feed

    def fail(self: CachedTokens, ids: Any, *options: Any) -> torch.Tensor:
        calls.append(len(ids))
        if len(calls) == forward:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return original(self, ids, *options)

    monkeypatch.setattr(CachedTokens, "feed", fail)
    assert cli.main(ASK) == 2
    *_, first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("kiv: Memory ran out with ")
    assert second.startswith("With --store-dtype int8 it fits, by the plan (")
    assert "--anyway" not in second


UNDER_A_LIMIT = """
import json, resource
from pathlib import Path
from kiv_engine import Engine, KIVConfig
from kiv_engine.archive import write_archive
from kiv_engine.document import Document

engine = Engine.load(device="cpu")
context = engine.new_context(KIVConfig(hot_tokens=256, retrieved_tokens=64))
text = write_archive(12_000, engine.count_tokens).text
list(context.read(Document("begin", text[:4_000])))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2_000_000, resource.RLIM_INFINITY))
*_, failed = context.read(Document("rest", text[4_000:]))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
plan = engine.smaller_plan(context, failed.error)
*_, finished = context.read()
error, read = type(failed.error).__name__, (finished.tokens_read, finished.tokens_total)
print(json.dumps([failed.message, error, plan.store_dtype, *read]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited and measured as on Linux")
def test_a_limit_of_the_system_is_told_and_reading_goes_on_when_it_is_gone() -> None:
    command = [sys.executable, "-c", UNDER_A_LIMIT]
    environment = os.environ | {"PYTHONPATH": str(Path(remedy.__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    message, error, dtype, read, total = json.loads(done.stdout.splitlines()[-1])
    assert error == "OutOfMemoryError", done.stdout
    assert message.startswith("Memory ran out with ")
    assert (dtype, read) == ("int8", total)


def test_other_errors_have_no_smaller_plan() -> None:
    assert remedy.for_loading(LoadOptions(), loader.EngineError("no")) is None
