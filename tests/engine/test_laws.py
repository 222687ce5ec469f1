"""The laws of design.md, section 2: the cache against obvious code, for every family."""

import copy
import gc
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import DynamicCache, PreTrainedModel

from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.errors import CropError
from kiv_engine.hits import LayerHits
from kiv_engine.layer import KIVLayer
from kiv_engine.prefill import ScoreRule
from tests.engine.families import FAMILIES, LENGTH_DEPENDENT, feed, full_logits, model_of, reference, text

pytestmark = pytest.mark.usefixtures("one_thread")

ALL = sorted(FAMILIES)
FORGETTING = sorted(
    {"cohere2", "gemma2", "gemma3", "gemma3n", "gemma4", "gemma4_k_eq_v", "gpt_oss"}
    | {"lfm2", "llama4", "mistral_sliding", "qwen3_next"}
)
GROWING = sorted(set(ALL) - set(FORGETTING))
SELECTING = sorted(set(ALL) - {"mistral_sliding"})  # nothing grows in it, so nothing is selected
TOLERANCE = {"qwen3_next": 3e-3}  # its own recurrent and chunked forms differ by as much

EXACT = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=100_000, prefill="exact", positions="true")
SELECTIVE = KIVConfig(hot_tokens=32, sink_tokens=4, retrieved_tokens=8, positions="true", prefill="sparse")


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def assert_same(name: str, got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, atol=TOLERANCE.get(name, 1e-4), rtol=1e-4)


def generate(model: PreTrainedModel, ids: torch.Tensor, count: int, **options: Any) -> list[int]:
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, **options)
    return output[0, ids.shape[1] :].tolist()


def greedy(name: str, ids: torch.Tensor, drawn: list[int]) -> list[int]:
    """What one full forward of the final length draws after each token of `drawn`."""
    whole = torch.cat((ids, torch.tensor([drawn])), 1)
    return full_logits(name, whole)[ids.shape[1] - 1 : -1].argmax(-1).tolist()


# -- L1: nothing is cold -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_l1_a_hot_window_that_holds_everything_equals_dynamic_cache(name: str) -> None:
    model, ids, sizes = model_of(name), text()[:, :200], [150, 40, *[1] * 10]
    with_kiv = KIVCache(model, KIVConfig(hot_tokens=4_096))
    got = feed(model, with_kiv, ids, sizes)
    expected = feed(model, DynamicCache(config=model.config), ids, sizes)
    assert with_kiv.num_tokens == 200
    assert_same(name, got, expected)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("options", [{}, {"prefill_chunk_size": 100}], ids=["whole", "chunked"])
def test_l1_generate_draws_the_same_tokens(name: str, options: dict[str, int]) -> None:
    model, ids = model_of(name), text()[:, :240]
    got = generate(model, ids, 8, past_key_values=KIVCache(model, KIVConfig(hot_tokens=4_096)), **options)
    assert got == generate(model, ids, 8, **options)


@pytest.mark.parametrize("name", sorted(LENGTH_DEPENDENT))
@pytest.mark.parametrize("length", [560, 630], ids=["switch-while-generating", "switch-while-reading"])
def test_l1_a_planned_length_equals_full_forwards_of_that_length(name: str, length: int) -> None:
    if name == "llama_dynamic":
        length -= 50  # its switch is at 512, Phi-3's at 600
    model, ids, count = model_of(name), text()[:, :length], 45
    for options in ({}, {"prefill_chunk_size": 128}):
        cache = KIVCache(model, EXACT)
        cache.plan(length + count)
        drawn = generate(model, ids, count, past_key_values=cache, **options)
        assert drawn == greedy(name, ids, drawn)
        assert cache.num_tokens == length + count - 1
        cache.close()


def test_l1_without_a_plan_the_factors_stay_those_of_the_first_forward() -> None:
    name = "phi3_longrope"
    model, ids = model_of(name), text()[:, :630]
    cache = KIVCache(model, EXACT)
    got = feed(model, cache, ids, [590, *[1] * 20, 20])
    assert_same(name, got[:590], full_logits(name, ids[:, :590]))
    torch.testing.assert_close(
        got[590:], feed(model, KIVCache(model, EXACT), ids, [590, 40])[590:], atol=1e-4, rtol=1e-4
    )


# -- L2, L3: everything is found, however the text is split ------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_l2_retrieving_every_cold_token_equals_full_attention(name: str) -> None:
    model = model_of(name)
    cache = KIVCache(model, EXACT)
    cache.plan(800)
    got = feed(model, cache, text(), [640, 60, *[1] * 40, 60])
    assert cache.num_tokens == 800
    for layer in cache.growing_layers:
        assert layer.store.num_tokens == 736
    assert_same(name, got, reference(name))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "sizes", [[1, 2, 599, 1, 1, 5, 140, 30, 1, 20], [37, 33, 1, 529, 1, 1, 31, 33, 64, 70]], ids=str
)
def test_l3_any_split_gives_the_same_logits(name: str, sizes: list[int]) -> None:
    model = model_of(name)
    cache = KIVCache(model, EXACT)
    cache.plan(800)
    assert_same(name, feed(model, cache, text(), sizes), reference(name))


# -- L1, L2 in 16 bit: as near to float32 as the model itself is in that dtype -----------------------------------------

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
NEARNESS = 1.05
SWITCHING = {"qwen3_moe", "qwen3_next"}  # a rounding more sends a token to another expert, far from where it was


def distance(logits: torch.Tensor, name: str) -> float:
    """Root mean square of what lies between logits and those of float32."""
    return (logits.float() - reference(name)[: len(logits)]).square().mean().sqrt().item()


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", ALL)
def test_l1_and_l2_hold_in_16_bit(name: str, half: str) -> None:
    """Roundings differ with the order of sums, so logits cannot be compared one by one."""
    model = FAMILIES[name]().to(HALVES[half])
    cache = KIVCache(model, EXACT)
    cache.plan(800)
    cold = distance(feed(model, cache, text(), [640, 60, *[1] * 40, 60]), name)
    assert all(layer.store.keys.dtype == HALVES[half] for layer in cache.growing_layers)
    cache.close()
    cache = KIVCache(model, KIVConfig(hot_tokens=4_096, positions="true"))
    cache.plan(800)
    hot = distance(feed(model, cache, text(), [640, 60, *[1] * 40, 60]), name)
    cache.close()
    own = distance(FAMILIES[name]().to(HALVES[half])(text(), use_cache=False).logits[0], name)
    assert max(cold, hot) < own * (1.2 if name in SWITCHING else NEARNESS)


def test_l3_exact_reading_needs_no_retrieval() -> None:
    model = model_of("llama")
    cache = KIVCache(model, KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=1, prefill="exact"))
    assert_same("llama", feed(model, cache, text(), [300, 40, 2, 458]), reference("llama"))


# What a model adds to its scores must not be ignored, and the laws above must notice if it is.
@pytest.mark.parametrize(
    ("name", "lost"), [("gemma2", {"softcap": None}), ("gpt_oss", {"sinks": None}), ("gemma4", {"scaling": 512**-0.5})]
)
def test_l2_would_notice_a_lost_part_of_the_score(
    name: str, lost: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiv_engine.attention.ScoreRule", lambda **parts: ScoreRule(**{**parts, **lost}))
    model = model_of(name)
    got = feed(model, KIVCache(model, EXACT), text(), [640, 158, 1, 1])
    for place in (20, 700, 799):
        assert (got[place] - reference(name)[place]).abs().max() > 0.05


# -- L4: going back ----------------------------------------------------------------------------------------------------


def _codes(bits: int) -> KIVConfig:
    """Few candidates of many, so that the code index decides."""
    return KIVConfig(
        hot_tokens=32,
        sink_tokens=4,
        retrieved_tokens=8,
        candidate_tokens=64,
        prefill="sparse",
        positions="true",
        index_bits=bits,  # type: ignore[arg-type]
    )


def _goes_back_without_a_trace(name: str, config: KIVConfig, target: int) -> None:
    model, other, sizes = model_of(name), text().flip(1)[:, :30], [12, 1, 1, 16]
    cache, fresh = (KIVCache(model, config) for _ in range(2))
    for one in (cache, fresh):
        one.plan(800)
        with one.reading():
            feed(model, one, text()[:, :target], [target])
    with cache.reading():
        feed(model, cache, text()[:, target:420], [420 - target])
    cache.crop(target - 420)
    assert cache.num_tokens == target
    expected = feed(model, fresh, other, sizes)
    for _ in range(2):  # what was read since leaves no trace either
        assert_same(name, feed(model, cache, other, sizes), expected)
        cache.crop(-30)


@pytest.mark.parametrize("target", [390, 300, 100, 80, 20, 3, 1])
@pytest.mark.parametrize("bits", [1, 2], ids=["1bit", "2bit"])
@pytest.mark.usefixtures("small_index")
def test_l4_going_back_leaves_no_trace(bits: int, target: int) -> None:
    """Into the hot window, into cold tokens with codes, and before there are any; to no cold token; into the sinks."""
    _goes_back_without_a_trace("llama", _codes(bits), target)


@pytest.mark.parametrize("name", sorted(set(GROWING) - {"llama"}))
@pytest.mark.parametrize("target", [390, 150], ids=["hot", "cold"])
@pytest.mark.usefixtures("small_index")
def test_l4_going_back_leaves_no_trace_in_any_family(name: str, target: int) -> None:
    _goes_back_without_a_trace(name, _codes(1), target)


@pytest.mark.parametrize("name", GROWING)
def test_l4_going_back_and_on_equals_full_attention(name: str) -> None:
    model = model_of(name)
    cache = KIVCache(model, EXACT)
    cache.plan(800)
    for length, target in ((500, 470), (800, 300), (420, 2), (60, 59)):
        feed(model, cache, text()[:, cache.num_tokens : length], [length - cache.num_tokens])
        cache.crop(target - length)
    feed(model, cache, text()[:, 59:760], [1, 700])
    assert_same(name, feed(model, cache, text()[:, 760:], [1, 38, 1]), reference(name)[760:])


@pytest.mark.parametrize("name", FORGETTING)
def test_l4_layers_that_forget_go_back_through_a_snapshot(name: str) -> None:
    model = model_of(name)
    cache = KIVCache(model, EXACT)
    feed(model, cache, text()[:, :300], [300])
    early = cache.snapshot()
    feed(model, cache, text()[:, 300:500], [200])
    late = cache.snapshot()
    for snapshot in (late, late, early):
        feed(model, cache, text().flip(1)[:, :70], [60, *[1] * 10])
        cache.restore(snapshot)
        assert cache.num_tokens == snapshot.num_tokens
        sizes = [1, 3, 96]
        start = snapshot.num_tokens
        assert_same(
            name, feed(model, cache, text()[:, start : start + 100], sizes), reference(name)[start : start + 100]
        )
    with pytest.raises(CropError, match="500"):
        cache.restore(late)


@pytest.mark.parametrize("name", FORGETTING)
def test_l4_layers_that_forget_refuse_a_bare_crop_and_name_the_possible_lengths(name: str) -> None:
    model = model_of(name)
    cache = KIVCache(model, EXACT)
    feed(model, cache, text()[:, :300], [300])
    with pytest.raises(CropError, match="300") as caught:
        cache.crop(-1)
    assert caught.value.possible_lengths == (0, 300)
    assert_same(name, feed(model, cache, text()[:, 300:340], [40]), reference(name)[300:340])
    cache.crop(-340)
    assert_same(name, feed(model, cache, text()[:, :90], [80, *[1] * 10]), reference(name)[:90])


@pytest.mark.parametrize("name", [name for name in FORGETTING if name not in {"lfm2", "qwen3_next"}])
def test_l4_a_window_that_has_forgotten_nothing_can_be_cropped(name: str) -> None:
    model = model_of(name)
    cache = KIVCache(model, EXACT)
    feed(model, cache, text().flip(1)[:, :40], [40])
    cache.crop(-40 + 10)
    cache.crop(-10)
    feed(model, cache, text()[:, :40], [40])
    cache.crop(-15)
    assert_same(name, feed(model, cache, text()[:, 25:100], [74, 1]), reference(name)[25:100])


# -- L6: two caches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_l6_interleaved_caches_do_not_see_each_other(name: str) -> None:
    model = model_of(name)
    configs, texts = (EXACT, SELECTIVE), (text()[:, :150], text().flip(1)[:, :150])
    sizes, lengths = [90, 40, *[1] * 6, 14], (150, 700)
    alone = []
    for config, ids, length in zip(configs, texts, lengths, strict=True):
        cache = KIVCache(model, config)
        cache.plan(length)
        alone.append(feed(model, cache, ids, sizes))
        cache.close()
    caches = [KIVCache(model, config) for config in configs]
    for cache, length in zip(caches, lengths, strict=True):
        cache.plan(length)
    got: list[list[torch.Tensor]] = [[], []]
    for pieces in zip(*(ids.split(sizes, 1) for ids in texts), strict=True):
        for place, piece in enumerate(pieces):
            got[place].append(model(piece, past_key_values=caches[place]).logits[0])
    for place in range(2):
        assert torch.equal(torch.cat(got[place]), alone[place])


# -- L7: hit sets ------------------------------------------------------------------------------------------------------


class Witness:
    """Keeps every layer's keys, and what each decoded token asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: dict[KIVLayer, torch.Tensor] = {}
        self.asked: list[tuple[int, KIVLayer, torch.Tensor, ScoreRule]] = []
        update, attend = KIVLayer.update, KIVLayer.attend

        def seen_update(layer: KIVLayer, keys: torch.Tensor, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            self.keys[layer] = torch.cat((self.keys[layer], keys[0]), 1) if layer in self.keys else keys[0].clone()
            return update(layer, keys, values, *args, **kwargs)

        def seen_attend(layer: KIVLayer, index: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
            if queries.shape[2] == 1:
                self.asked.append((index, layer, queries.clone(), rule))
            return attend(layer, index, queries, rule)

        monkeypatch.setattr(KIVLayer, "update", seen_update)
        monkeypatch.setattr(KIVLayer, "attend", seen_attend)


def _obvious_scores(rule: ScoreRule, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Scores (H, G, n) of one query against all keys."""
    scores = torch.einsum("hgd,hnd->hgn", queries[:, :, 0].double(), keys.double()) * rule.scaling
    return scores if rule.softcap is None else torch.tanh(scores / rule.softcap) * rule.softcap


def _obvious_masses(scores: torch.Tensor, allowed: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
    """Softmax (H, G, n) over the allowed (H, n) keys and the learned sink."""
    scores = scores.masked_fill(~allowed[:, None], -torch.inf)
    if rule.sinks is None:
        return scores.softmax(-1)
    return torch.cat((scores, rule.sinks[..., None].double()), -1).softmax(-1)[..., :-1]


def _check_hits(
    config: KIVConfig, hits: LayerHits, asked: tuple[int, KIVLayer, torch.Tensor, ScoreRule], keys: torch.Tensor
) -> None:
    index, _layer, queries, rule = asked
    length = hits.position + 1
    cold = (length - config.sink_tokens - config.hot_tokens) // 32 * 32
    first_hot = config.sink_tokens + cold
    assert hits.layer == index
    scores = _obvious_scores(rule, queries, keys[:, :length])
    local = torch.ones(scores.shape[0], length, dtype=torch.bool)
    local[:, config.sink_tokens : first_hot] = False

    share = _obvious_masses(scores, torch.ones_like(local), rule).sum(1)[:, config.sink_tokens : first_hot]
    best = share.topk(config.retrieved_tokens, -1).indices + config.sink_tokens
    assert torch.equal(hits.cold_tokens.sort(-1).values, best.sort(-1).values)

    masses = _obvious_masses(scores, local.scatter(1, best, True), rule)
    torch.testing.assert_close(
        hits.cold_mass.double(), masses.mean(1).gather(1, hits.cold_tokens), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(hits.local_mass.double(), masses.mean((0, 1))[hits.local_tokens], atol=1e-5, rtol=1e-4)
    total = float(hits.local_total + hits.cold_mass.sum() / hits.cold_mass.shape[0])
    assert total == pytest.approx(float(masses.sum(-1).mean()), abs=1e-5)
    assert total == pytest.approx(1, abs=1e-5) or rule.sinks is not None
    assert len(set(hits.local_tokens.tolist())) == min(64, int(local[0].sum()))


@pytest.mark.parametrize("name", SELECTING)
def test_l7_hit_sets_are_what_an_obvious_attention_uses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, witness = model_of(name), Witness(monkeypatch)
    cache = KIVCache(model, SELECTIVE)
    feed(model, cache, text()[:, :200], [199, 1])
    witness.asked.clear()
    with cache.recording() as recorder:
        feed(model, cache, text()[:, 200:204], [1] * 4)
        records = recorder.drain()
        assert recorder.drain() == []
    feed(model, cache, text()[:, 204:205], [1])
    assert recorder.drain() == []
    assert {hits.position for hits in records} == {200, 201, 202, 203}
    for hits, asked in zip(records, witness.asked, strict=False):
        _check_hits(SELECTIVE, hits, asked, witness.keys[asked[1]])
    assert len(records) == 4 * sum(1 for _ in itertools.takewhile(lambda h: h.position == 200, records))


def test_l7_masses_of_a_short_context_sum_to_one_and_name_only_tokens_that_exist() -> None:
    model = model_of("llama")
    cache = KIVCache(model, SELECTIVE)
    feed(model, cache, text()[:, :9], [9])
    with cache.recording() as recorder:
        feed(model, cache, text()[:, 9:60], [1] * 51)
    for hits in recorder.drain():
        tokens, masses = hits.token_mass()
        assert float(masses.sum()) == pytest.approx(1, abs=1e-5)
        assert sorted(tokens.tolist()) == list(range(hits.position + 1))


# -- L8: the model is left as it was -----------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.flatten().tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | tuple | list | None) else repr(value)


def state_of(model: PreTrainedModel) -> dict[str, Any]:
    """Everything on the modules and their configs that is not a weight."""
    state = {}
    for name, module in model.named_modules():
        kept = {key: value for key, value in vars(module).items() if key not in ("_parameters", "_modules", "config")}
        state[name] = _plain(kept)
        if hasattr(module, "config"):
            state[f"{name} config"] = copy.deepcopy(_plain(vars(module.config)))
    return state


def _implementation(model: PreTrainedModel) -> str:
    return str(model.get_decoder().config._attn_implementation)


@pytest.mark.parametrize("name", ALL)
def test_l8_the_model_is_the_same_before_while_and_after(name: str) -> None:
    gc.collect()  # of what other tests made on it
    model, ids = model_of(name), text()[:, :130]
    implementation = _implementation(model)
    before = generate(model, ids, 4), model(ids).logits
    state = state_of(model)
    caches: list[KIVCache] = [KIVCache(model, SELECTIVE), KIVCache(model, EXACT)]
    feed(model, caches[0], ids, [120, *[1] * 10])
    generate(model, ids, 2, past_key_values=caches[1])
    while_there = generate(model, ids, 4), model(ids).logits
    caches[0].close()
    assert _implementation(model) != implementation
    caches.clear()
    gc.collect()
    assert _implementation(model) == implementation
    assert state_of(model) == state
    assert while_there[0] == before[0]
    assert torch.equal(while_there[1], before[1])
    after = generate(model, ids, 4), model(ids).logits
    assert after[0] == before[0]
    assert torch.equal(after[1], before[1])


@pytest.mark.parametrize("name", sorted(LENGTH_DEPENDENT))
def test_l8_an_exception_in_a_forward_leaves_the_rotary_module_as_it_was(name: str) -> None:
    model = FAMILIES[name]()
    state = state_of(model)
    cache = KIVCache(model, EXACT)
    cache.plan(700)
    attention = model.model.layers[1].self_attn
    handle = attention.register_forward_pre_hook(_raise)
    with pytest.raises(ZeroDivisionError):
        model(text()[:, :50], past_key_values=cache)
    handle.remove()
    cache.close()
    del attention
    assert state_of(model) == state


def _raise(*_: Any) -> None:
    raise ZeroDivisionError
