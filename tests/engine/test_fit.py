"""The planner's bytes against those of real models and caches, of every family; its counts against plain arithmetic."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config

from kiv_engine import KIVConfig, fit, speed
from kiv_engine.attention import AllFilledError
from kiv_engine.cache import KIVCache
from kiv_engine.config import Quantize
from kiv_engine.fit import Plan, Room
from kiv_engine.index import CodeIndex, code_bytes
from kiv_engine.loader import LoadOptions, load
from kiv_engine.model_config import read_config
from kiv_engine.model_shape import ModelShape, Needs, Setting
from kiv_engine.prefill import causal_biases
from kiv_engine.reading import READ_CHUNK_TOKENS
from kiv_engine.weights import weight_bytes
from tests.engine.families import COMMON, FAMILIES, VOCABULARY, model_of, text
from tests.engine.peaks import peak_bytes
from tests.engine.test_loader import copy_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = KIVConfig(hot_tokens=128, retrieved_tokens=64, prefill="sparse", positions="true")
GB = 1_000_000_000
CPU = torch.device("cpu")
SLOW_IN_16_BIT = ("gemma2", "gemma4_k_eq_v", "gpt_oss")
"""Families that a CPU reads in bfloat16 for some seconds; in float32 they are read with the others."""


def read_chunks(model: PreTrainedModel, cache: KIVCache, count: int) -> None:
    ids = torch.randint(0, VOCABULARY, (1, READ_CHUNK_TOKENS), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), cache.reading():
        for _ in range(count):
            model(ids, past_key_values=cache, logits_to_keep=1)


# -- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_weights_in_full_are_those_of_the_model(name: str) -> None:
    needs = ModelShape(model_of(name).config).needs(Setting())
    assert needs.weights == pytest.approx(weight_bytes(model_of(name)), rel=0.001)
    assert needs.parameters == sum(parameter.numel() for parameter in model_of(name).parameters())


@pytest.mark.parametrize("quantize", ["bf16", "fp16", "4bit", "8bit"])
@pytest.mark.parametrize("tie", [True, False])
def test_coarser_weights_are_those_that_the_loader_stores(tmp_path: Path, quantize: Any, tie: bool) -> None:
    sizes = {"hidden_size": 192, "intermediate_size": 320, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=4_096, num_hidden_layers=2, tie_word_embeddings=tie, **sizes)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    copy_tokenizer(tmp_path)
    loaded = load(LoadOptions(str(tmp_path), quantize, "cpu"))
    needs = ModelShape(read_config(str(tmp_path))).needs(Setting(quantize))
    assert needs.weights == pytest.approx(weight_bytes(loaded.model), rel=0.01)


KEPT = {
    "model": (torch.float32, SMALL),
    "int8": (torch.float32, replace(SMALL, store_dtype="int8", index_bits=2)),
    "bf16": (torch.bfloat16, SMALL),
    "bf16, int8": (torch.bfloat16, replace(SMALL, store_dtype="int8")),
}


@pytest.mark.usefixtures("small_index")
@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_what_a_cache_keeps_is_predicted(name: str, kept: str) -> None:
    dtype, config = KEPT[kept]
    model = model_of(name) if dtype == torch.float32 else FAMILIES[name]().to(dtype)
    cache = KIVCache(model, config)
    read_chunks(model, cache, 2)
    parts = cache.bytes_by_part()
    kind: Quantize = "bf16" if dtype == torch.bfloat16 else "none"
    needs = ModelShape(model.config).needs(Setting(kind, config=config))
    cold = cache.policy.cold_tokens(cache.num_tokens)
    cache.close()
    assert needs.hot == pytest.approx(parts["hot"], rel=0.01)
    assert needs.token_keys_values * cold == parts["cold_keys"] + parts["cold_values"]
    assert needs.index + needs.token_index * cold == parts["index"]


@pytest.mark.usefixtures("small_index")
@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.filterwarnings("ignore:.*unknown size was allocated")
def test_the_peak_of_reading_a_chunk_is_predicted(name: str) -> None:
    check_peak(model_of(name))


def test_the_peak_does_not_grow_with_the_layers() -> None:
    config = LlamaConfig(**{**COMMON, "num_hidden_layers": 8, "num_key_value_heads": 4})
    check_peak(LlamaForCausalLM(config).eval())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name in SLOW_IN_16_BIT)) for name in sorted(FAMILIES)]
)
@pytest.mark.filterwarnings("ignore:.*unknown size was allocated")
def test_the_peak_of_reading_a_chunk_in_bfloat16_is_predicted(name: str) -> None:
    check_peak(FAMILIES[name]().to(torch.bfloat16))


@pytest.mark.parametrize("name", ["gemma4", "llama", "llama_mha", "llama_mqa", "phi3"])
def test_the_peak_of_exact_reading_is_predicted(name: str) -> None:
    """Without the mask that is kept since the first chunk, which is not made again."""
    model, config = model_of(name), KIVConfig(prefill="exact", positions="true")
    cache = KIVCache(model, config)
    cache.plan(6 * READ_CHUNK_TOKENS)
    read_chunks(model, cache, 4)
    peak = peak_bytes(lambda: read_chunks(model, cache, 2))
    cache.close()
    shape = ModelShape(model.config)
    planned = shape.needs(Setting(config=config)).activations - shape._causal_bias_bytes(config, 4)
    assert planned == pytest.approx(peak, rel=0.12)


@pytest.mark.parametrize("name", ["llama", "llama_mqa"])
def test_reading_by_the_window_alone_needs_hardly_less_than_sparse_reading(name: str) -> None:
    """And no more than exact reading: it is the one worth to be replaced where memory runs out."""
    exact, sparse, window = (chunk_peak(model_of(name), mode) for mode in ("exact", "sparse", "window"))
    assert 0.85 * sparse < window <= sparse < 0.6 * exact


def chunk_peak(model: PreTrainedModel, mode: Any) -> int:
    cache = KIVCache(model, KIVConfig(prefill=mode, positions="true"))
    cache.plan(6 * READ_CHUNK_TOKENS)
    read_chunks(model, cache, 4)
    causal_biases.cache_clear()
    peak = peak_bytes(lambda: read_chunks(model, cache, 2))
    cache.close()
    return peak


def check_peak(model: PreTrainedModel) -> None:
    """Two chunks, so that the second meets what is kept of the first."""
    config = KIVConfig(prefill="sparse", positions="true")
    cache = KIVCache(model, config)
    cache.plan(6 * READ_CHUNK_TOKENS)
    read_chunks(model, cache, 4)
    causal_biases.cache_clear()
    peak = peak_bytes(lambda: read_chunks(model, cache, 2))
    cache.close()
    kind: Quantize = "bf16" if model.dtype == torch.bfloat16 else "none"
    assert ModelShape(model.config).needs(Setting(kind, config=config)).activations == pytest.approx(peak, rel=0.1)


def test_rows_are_those_of_the_design() -> None:
    """Qwen2.5-3B: 36 KB of K and V per token in bfloat16; on the CPU, in float32, twice as much."""
    sizes = {"num_attention_heads": 16, "num_key_value_heads": 2, "hidden_size": 2_048, "intermediate_size": 11_008}
    shape = ModelShape(Qwen2Config(num_hidden_layers=36, vocab_size=151_936, dtype="bfloat16", **sizes))
    assert shape.needs(Setting(device="cuda")).token_keys_values == 36 * 1_024
    assert shape.needs(Setting()).token_keys_values == 72 * 1_024
    for kind in ("bf16", "fp16"):
        assert shape.needs(Setting(kind)).token_keys_values == 36 * 1_024  # type: ignore[arg-type]
    assert shape.needs(Setting(device="cuda")).token_index > shape.needs(Setting()).token_index


# -- how many fit ----------------------------------------------------------------------------------------------------

NEEDS = Needs(0, 4 * GB, 0, 0, 0, 0, token_keys_values=10_000, token_index=1_000)


def test_on_the_cpu_everything_is_in_ram() -> None:
    found = fit.plan(NEEDS, Room(10 * GB, 100 * GB))
    assert found == Plan(NEEDS, Room(10 * GB, 100 * GB), 5 * GB // 11_000, 5_000_000, 0)


def test_on_a_gpu_weights_and_index_are_in_vram_and_the_store_in_ram() -> None:
    found = fit.plan(NEEDS, Room(12 * GB, 10**15, vram=8 * GB))
    assert found.tokens_in_ram == int(12 * GB * 0.9 - 2 * GB) // 10_000
    assert found.tokens_on_disk == int(8 * GB * 0.95 - 4 * GB) // 1_000
    assert fit.plan(NEEDS, Room(10**15, 0, vram=8 * GB)).tokens_in_ram == found.tokens_on_disk


def test_what_is_missing_is_counted() -> None:
    assert fit.plan(NEEDS, Room(4 * GB, 100 * GB)).missing == 400_000_000
    assert fit.plan(NEEDS, Room(64 * GB, 100 * GB, vram=4 * GB)).missing == 200_000_000
    assert fit.plan(NEEDS, Room(4 * GB, 100 * GB)).tokens_on_disk == 0


def test_where_nothing_grows_nothing_limits() -> None:
    shape = ModelShape(model_of("mistral_sliding").config)
    assert fit.plan(shape.needs(Setting()), Room(GB, GB)).tokens_in_ram > 10**15


def test_the_finest_weights_with_room_are_best() -> None:
    shape = ModelShape(model_of("llama").config)
    assert fit.best_of(fit.plan_all(shape, Room(GB, GB))) == "none"
    poor = {kind: replace(NEEDS, weights=size * GB) for kind, size in (("none", 8), ("8bit", 4), ("4bit", 2))}
    plans = {kind: fit.plan(needs, Room(5 * GB, GB)) for kind, needs in poor.items()}
    assert fit.best_of(plans) == "8bit"
    plans = {kind: fit.plan(needs, Room(GB, GB)) for kind, needs in poor.items()}
    assert fit.best_of(plans) == "4bit"


def test_bfloat16_is_offered_where_weights_in_full_are_larger() -> None:
    """So on the CPU, which takes float32; on a GPU only of checkpoints in float32. float16 is planned if asked for."""
    shape = ModelShape(LlamaConfig(vocab_size=97, num_hidden_layers=1, dtype="bfloat16"))
    assert list(fit.plan_all(shape, Room(GB, GB))) == ["none", "bf16", "8bit", "4bit"]
    assert list(fit.plan_all(shape, Room(GB, GB, vram=GB))) == ["none", "8bit", "4bit"]
    assert list(fit.plan_all(shape, Room(GB, GB, vram=GB), wanted="fp16")) == ["none", "fp16", "8bit", "4bit"]
    wide = ModelShape(LlamaConfig(vocab_size=97, num_hidden_layers=1, dtype="float32"))
    assert "bf16" in fit.plan_all(wide, Room(GB, GB, vram=GB))


def test_bfloat16_is_best_where_float32_does_not_fit() -> None:
    sizes = {"num_attention_heads": 16, "num_key_value_heads": 2, "hidden_size": 2_048, "intermediate_size": 11_008}
    shape = ModelShape(Qwen2Config(num_hidden_layers=36, vocab_size=151_936, tie_word_embeddings=True, **sizes))
    assert [fit.best_of(fit.plan_all(shape, Room(size * GB, GB))) for size in (20, 12, 7)] == ["none", "bf16", "8bit"]


# -- how fast --------------------------------------------------------------------------------------------------------


def test_the_weights_used_are_those_of_matrix_products() -> None:
    model = model_of("llama")
    linear = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))
    shape = ModelShape(model.config)
    assert shape.weights_used(reading=False) == linear
    last = model.model.layers[-1]
    behind = sum(
        each.weight.numel() for each in (last.self_attn.o_proj, *last.mlp.children()) if hasattr(each, "weight")
    )
    assert shape.weights_used(reading=True) == linear - model.lm_head.weight.numel() - behind


def test_of_experts_only_the_chosen_ones_are_used() -> None:
    model = model_of("qwen3_moe")
    experts = sum(value.numel() for name, value in model.named_parameters() if value.ndim == 3)
    linear = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))
    routers = sum(value.numel() for name, value in model.named_parameters() if name.endswith("mlp.gate.weight"))
    assert ModelShape(model.config).weights_used(reading=False) == linear + routers + experts / 2


@pytest.mark.parametrize("name", FAMILIES)
def test_reading_uses_the_weights_of_the_modules_that_it_calls(name: str) -> None:
    """All but embeddings, which are looked up, and the output, which at most one token of a chunk has."""
    model = model_of(name)
    called = {part for part, each in model.named_modules() if isinstance(each, torch.nn.Conv1d)}  # some by another way
    shape, cache, unused = ModelShape(model.config), KIVCache(model, SMALL), model.get_output_embeddings()
    modules = {
        part: each
        for part, each in model.named_modules()
        if each is not unused and not isinstance(each, torch.nn.Embedding)
    }
    hooks = [each.register_forward_pre_hook(lambda *_, part=part: called.add(part)) for part, each in modules.items()]
    with torch.inference_mode(), cache.reading(), cache.filling(), suppress(AllFilledError):
        model(text()[:, :64], past_key_values=cache, logits_to_keep=1)
    for hook in hooks:
        hook.remove()
    weights = [(part, each) for part in called for each in modules[part].parameters(recurse=False) if each.ndim > 1]
    assert shape.weights_used(reading=True) == sum(shape._share_used(*each) for each in weights)


@pytest.mark.parametrize("quantize", ["none", "bf16", "4bit", "8bit"])
def test_this_pc_is_timed(monkeypatch: pytest.MonkeyPatch, quantize: Any) -> None:
    monkeypatch.setattr(speed, "TIMED_SHAPE", (256, 512))
    monkeypatch.setattr(speed, "COLD_TOKENS", 1_024)
    shape, setting = ModelShape(model_of("gemma4").config), Setting(quantize, config=SMALL)
    rates = speed.measure_rates(shape, setting, CPU, CPU)
    assert rates.decode_weight > 0
    assert rates.attend > 0
    assert rates.scan_byte > 0
    pace = speed.pace(shape, setting, [rates])
    assert pace.million_s > 0
    assert pace.tokens_per_s > 0


@pytest.mark.parametrize(("bits", "method"), [(1, "search"), (2, "strongest")])
def test_the_scan_is_timed_by_searching_the_index(
    monkeypatch: pytest.MonkeyPatch, bits: Literal[1, 2], method: str
) -> None:
    """A search that takes 3 s and a second for each thousand bytes of codes: only the bytes are the scan's."""
    now, search_really = [0.0], getattr(CodeIndex, method)

    def search(index: CodeIndex, queries: torch.Tensor, limit: int, *rest: Any, **options: Any) -> torch.Tensor:
        now[0] += 3 + limit * code_bytes(queries.shape[0], queries.shape[2], index.bits) / 1_000
        return search_really(index, queries, limit, *rest, **options)

    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(CodeIndex, method, search)
    monkeypatch.setattr(speed, "TIMED_SHAPE", (64, 64))
    setting = Setting(config=replace(SMALL, index_bits=bits))
    rates = speed.measure_rates(ModelShape(model_of("llama").config), setting, CPU, CPU)
    assert rates.scan_byte == pytest.approx(1 / 1_000)


def test_a_pace_is_the_sum_of_its_parts() -> None:
    shape, setting = ModelShape(model_of("llama").config), Setting()
    rates = speed.Rates(read_weight=1e-9, call_weight=2_048e-9, decode_weight=3e-9, attend=0.5, scan_byte=0)
    products = 1 * (2 * 4 * 16 * (16 + 2_048 + 256 + 512))  # the last of the two layers ends with keys and values
    weights = shape.weights_used(reading=True)
    pace = speed.pace(shape, setting, [rates])
    assert pace.million_s == pytest.approx(1e6 * (weights * 2e-9 + products * 1e-9))
    step = shape.weights_used(reading=False) * 3e-9 + 2 * 0.5 + 2 * speed.LAYER_OVERHEAD_S
    assert 1 / pace.tokens_per_s == pytest.approx(step)


def test_of_a_pace_reading_alone_can_be_measured_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of a matrix product that takes a microsecond, and a call that takes 100 of them."""
    monkeypatch.setattr(speed, "TIMED_SHAPE", (64, 64))
    monkeypatch.setattr(speed, "_seconds", lambda _linear, inputs: (100 + len(inputs)) * 1e-6)
    shape, setting = ModelShape(model_of("llama").config), Setting()
    read = speed.measure_reading(shape, setting, CPU, CPU)
    assert (read.read_weight, read.call_weight) == (pytest.approx(1e-6 / 64**2), pytest.approx(1e-4 / 64**2))
    rates = speed.Rates(read.read_weight, read.call_weight, decode_weight=0, attend=0, scan_byte=0)
    assert speed.token_seconds(shape, setting, [read]) * 1e6 == speed.pace(shape, setting, [rates]).million_s > 0


def test_every_layer_that_attends_searches_for_itself() -> None:
    """Also those that share the K/V of another, as the last layers of Gemma 4 do."""
    shape, setting = ModelShape(model_of("gemma4").config), Setting()
    assert [layer.attending for layer in shape.topology.growing] == [2]
    rates = speed.Rates(read_weight=0, call_weight=0, decode_weight=0, attend=0.5, scan_byte=1e-9)
    codes = 512 // 8 + 1
    step = 2 * (0.5 + 1e6 * codes * 1e-9) + 4 * speed.LAYER_OVERHEAD_S
    assert 1 / speed.pace(shape, setting, [rates]).tokens_per_s == pytest.approx(step)


# -- how fast on several GPUs ------------------------------------------------------------------------------------------

FAST = speed.Rates(read_weight=1e-9, call_weight=0, decode_weight=3e-9, attend=0.5, scan_byte=1e-9)
SLOW = speed.Rates(5e-9, 0, 7e-9, 2.0, 4e-9, copy_call=0.01, copy_byte=1e-6)
ONE, TWO = torch.device("cuda", 0), torch.device("cuda", 2)


def test_the_times_of_gpus_and_of_copies_between_them_add_up() -> None:
    """A layer on each of two, and the output on the first. Reading ends with the second's keys and values."""
    model, setting = model_of("llama"), Setting()
    shape = ModelShape(model.config)
    head = model.lm_head.weight.numel()
    layer = sum(each.weight.numel() for each in model.model.layers[0].modules() if isinstance(each, torch.nn.Linear))
    last = model.model.layers[1].self_attn
    needed = sum(each.weight.numel() for each in (last.q_proj, last.k_proj, last.v_proj))
    products = 2 * 4 * 16 * (16 + 2_048 + 256 + 512)
    codes = 2 * (16 // 8 + 1)
    copies = 1 + 3 + 1  # to the second: hidden states, rotary positions in two, the token's number; and back
    copied = 4 * (64 + 2 * 16 + 64) + 8
    pace = speed.pace(shape, setting, [FAST, SLOW], [1, 1])
    read = (layer + products) * 1e-9 + needed * 5e-9 + copies * 0.01 / 2_048 + copied * 1e-6
    assert pace.million_s == pytest.approx(1e6 * read)
    step = (layer + head) * 3e-9 + 0.5 + 1e6 * codes * 1e-9
    step += layer * 7e-9 + 2.0 + 1e6 * codes * 4e-9 + copies * 0.01
    assert 1 / pace.tokens_per_s == pytest.approx(step + 2 * speed.LAYER_OVERHEAD_S)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_on_gpus_alike_with_free_copies_a_model_is_as_fast_as_on_one(name: str) -> None:
    shape, setting = ModelShape(model_of(name).config), Setting(device="cuda")
    first, *others = (piece.layers for piece in shape.pieces(setting))
    alone, spread = (speed.pace(shape, setting, rates, layers) for rates, layers in (
        ([FAST], []), ([FAST] * 3, [0, first, sum(others)]),
    ))  # fmt: skip
    assert spread.million_s == pytest.approx(alone.million_s)
    assert spread.tokens_per_s == pytest.approx(alone.tokens_per_s)


def test_each_gpu_that_has_layers_is_timed_and_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = {ONE: FAST, TWO: SLOW}
    monkeypatch.setattr(speed, "further_gpus", lambda _first: [1, 2])
    monkeypatch.setattr(speed, "measure_rates", lambda _shape, _setting, device, first: (timed[device], first)[0])
    monkeypatch.setattr(speed, "measure_reading", lambda _shape, _setting, device, first: (timed[device], first)[0])
    shape, setting = ModelShape(model_of("llama").config), Setting(device="cuda")
    expected = speed.pace(shape, setting, [FAST, SLOW], [1, 1])
    assert speed.measure_pace(shape, setting, (1, 0, 1)) == expected
    assert speed.measure_token(shape, setting, {ONE: 1, TWO: 1}) * 1e6 == expected.million_s
    assert speed.measure_pace(shape, setting, (0, 0, 2)) == speed.pace(shape, setting, [FAST, SLOW], [0, 2])


def test_a_copy_is_timed_with_one_token_and_with_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes 5 s and a second for each thousand bytes."""
    monkeypatch.setattr(speed, "_seconds", lambda copy, hidden: 5 + copy(hidden).nbytes / 1_000)
    call, byte = speed._copy_seconds(64, torch.float32, CPU, torch.device("meta"))
    assert (call, byte) == (pytest.approx(5 + 0.256), pytest.approx(1 / 1_000))
    assert speed._copy_seconds(64, torch.float32, CPU, CPU) == (0, 0)


def test_a_gpu_is_waited_for_and_not_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    speed._seconds(lambda _argument: None, SimpleNamespace(is_cuda=True, device=TWO), repeats=1)  # type: ignore[arg-type]
    assert waited == [TWO]
