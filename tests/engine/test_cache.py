"""KIVCache as a cache among caches: what it refuses, what it holds, and that its choices mean what they say."""

import gc
import itertools
import math
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from kiv_engine.attention import AllFilledError, Attachment
from kiv_engine.cache import CacheSnapshot, KIVCache, thinned
from kiv_engine.config import KIVConfig
from kiv_engine.errors import BatchSizeError, ConfigError, UnsupportedModelError
from kiv_engine.index import CodeIndex
from kiv_engine.layer import KIVLayer
from kiv_engine.positions import Rotary
from kiv_engine.prefill import ScoreRule, attend_at_once
from kiv_engine.store import RowTable
from tests.engine.families import COMMON, FAMILIES, LENGTH_DEPENDENT, feed, model_of, reference, text

pytestmark = pytest.mark.usefixtures("one_thread")

EXACT = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=100_000, prefill="exact", positions="true")
SPARSE = KIVConfig(hot_tokens=32, sink_tokens=4, retrieved_tokens=8, prefill="sparse", positions="true")


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def model() -> PreTrainedModel:
    return model_of("llama")


def assert_same(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gemma2", "mistral_sliding"])
def test_a_batch_is_refused_before_any_layer_takes_it(name: str) -> None:
    model = model_of(name)
    cache = KIVCache(model, EXACT)
    with pytest.raises(BatchSizeError, match="batch has 2"):
        model(text()[:, :20].expand(2, -1), past_key_values=cache)
    assert_same(feed(model, cache, text()[:, :60], [60]), reference(name)[:60])


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_oss"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_refused_before_any_layer_takes_it(name: str, side: str) -> None:
    model = model_of(name)
    cache = KIVCache(model, EXACT)
    mask = torch.ones(1, 20, dtype=torch.long)
    mask[0, 0 if side == "left" else -1] = 0
    with pytest.raises(UnsupportedModelError, match="without padding"):
        model(text()[:, :20], attention_mask=mask, past_key_values=cache)
    assert_same(feed(model, cache, text()[:, :60], [60]), reference(name)[:60])


def test_a_padded_four_dimensional_mask_is_refused(model: PreTrainedModel) -> None:
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool).tril()
    mask[..., 0] = False
    with pytest.raises(UnsupportedModelError, match="without padding"):
        model(text()[:, :5], attention_mask=mask, past_key_values=KIVCache(model, EXACT))


def test_beam_search_is_refused(model: PreTrainedModel) -> None:
    cache = KIVCache(model, EXACT)
    feed(model, cache, text()[:, :20], [20])
    for operation in (
        lambda: cache.batch_repeat_interleave(2),
        lambda: cache.reorder_cache(torch.tensor([0, 0])),
        lambda: cache.batch_select_indices(torch.tensor([0, 1])),
    ):
        with pytest.raises(BatchSizeError):
            operation()
    cache.batch_repeat_interleave(1)
    cache.reorder_cache(torch.tensor([0]))
    cache.batch_select_indices(torch.tensor([0]))


def test_an_unwritable_store_is_a_config_error_and_leaves_the_model_alone(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        KIVCache(model, replace(EXACT, store=tmp_path / "file"))
    gc.collect()
    assert not list(Attachment._of_model)


def test_compact_positions_that_cannot_work_are_config_errors(model: PreTrainedModel) -> None:
    with pytest.raises(ConfigError, match="length-dependent"):
        KIVCache(model_of("phi3_longrope"), replace(SPARSE, positions="compact"))
    with pytest.raises(ConfigError, match="sparse"):
        KIVCache(model, replace(EXACT, positions="compact", retrieved_tokens=8))
    with pytest.raises(ConfigError, match="lower retrieved_tokens"):
        KIVCache(model, replace(SPARSE, positions="compact", retrieved_tokens=4_090))


# -- filling and emptying ----------------------------------------------------------------------------------------------


def test_keys_and_values_put_in_by_hand_are_attended(model: PreTrainedModel) -> None:
    source, cache = KIVCache(model, replace(EXACT, hot_tokens=2_000)), KIVCache(model, EXACT)
    feed(model, source, text()[:, :300], [300])
    for index, layer in enumerate(source.growing_layers):
        keys, values = (
            torch.cat((part[:, :4], part[:, 4:300]), 1)[None] for part in (layer.hot.keys, layer.hot.values)
        )
        for first, last in ((0, 100), (100, 101), (101, 300)):
            cache.update(keys[:, :, first:last], values[:, :, first:last], index)
    assert cache.get_seq_length() == cache.num_tokens == 300
    assert_same(feed(model, cache, text()[:, 300:360], [1, 1, 58]), reference("llama")[300:360])


@pytest.mark.parametrize("name", ["llama", "gemma3n", "qwen3_next", "phi3_longrope"])
def test_a_cache_that_was_reset_is_as_good_as_new(name: str) -> None:
    model = model_of(name)
    cache = KIVCache(model, EXACT)
    cache.plan(800)
    feed(model, cache, text().flip(1)[:, :300], [299, 1])
    cache.reset()
    assert cache.num_tokens == 0
    got = feed(model, cache, text(), [700, 50, *[1] * 10, 40])
    torch.testing.assert_close(got, reference(name), atol=3e-3 if name == "qwen3_next" else 1e-4, rtol=1e-4)


def test_a_closed_cache_is_empty_and_can_be_closed_again(model: PreTrainedModel) -> None:
    cache = KIVCache(model, EXACT)
    feed(model, cache, text()[:, :200], [200])
    cache.close()
    cache.close()
    assert cache.num_tokens == 0
    assert sum(cache.bytes_by_part().values()) == 0
    assert not list(Attachment._of_model)


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("sinks", [0, 4, 100])
def test_texts_shorter_than_the_sinks_and_prompts_of_one_token_work(name: str, sinks: int) -> None:
    model = model_of(name)
    cache = KIVCache(model, replace(EXACT, sink_tokens=sinks, hot_tokens=16))
    cache.plan(800)
    got = feed(model, cache, text()[:, :70], [1, 1, 3, 30, *[1] * 5, 30])
    torch.testing.assert_close(got, reference(name)[:70], atol=3e-3 if name == "qwen3_next" else 1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gemma4", "lfm2"])
def test_a_cache_without_references_is_gone_at_once(name: str) -> None:
    """No cycle keeps gigabytes until the collector comes round."""
    model = model_of(name)
    gc.collect()
    gc.disable()
    try:
        cache = KIVCache(model, SPARSE)
        with cache.recording() as recorder:
            feed(model, cache, text()[:, :200], [190, *[1] * 10])
        recorder.drain()
        gone = [weakref.ref(cache), *(weakref.ref(layer) for layer in cache.growing_layers)]
        gone += [weakref.ref(layer.store) for layer in cache.growing_layers]
        del cache, recorder
        assert [reference() for reference in gone] == [None] * len(gone)
        assert not list(Attachment._of_model)
    finally:
        gc.enable()


# -- where and how rows are kept ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_oss", "gemma4_k_eq_v"])
def test_int8_is_close_to_the_models_own_type(name: str) -> None:
    model = model_of(name)
    cache = KIVCache(model, replace(EXACT, store_dtype="int8"))
    sizes = [600, *[1] * 20, 180]
    error = feed(model, cache, text(), sizes) - reference(name)
    assert float(error.abs().max()) > 1e-6
    assert float(error.pow(2).mean().sqrt()) < 0.04 * float(reference(name).std())
    assert all(layer.store.keys._slabs[0].rows.dtype == torch.int8 for layer in cache.growing_layers)


@pytest.mark.parametrize("config", [EXACT, SPARSE], ids=["exact", "sparse"])
@pytest.mark.parametrize("dtype", ["model", "int8"])
def test_a_folder_holds_the_same_as_ram_and_is_emptied(
    model: PreTrainedModel, config: KIVConfig, dtype: Any, tmp_path: Path
) -> None:
    sizes = [600, *[1] * 20, 180]
    config = replace(config, store_dtype=dtype)
    in_ram = feed(model, KIVCache(model, config), text(), sizes)
    cache = KIVCache(model, replace(config, store=tmp_path / "store"))
    assert torch.equal(feed(model, cache, text(), sizes), in_ram)
    (folder,) = (tmp_path / "store").iterdir()
    files = [path for path in folder.iterdir() if path.name != "lock"]
    assert len(files) == 2 * 2 * (1 if dtype == "model" else 2)
    cache.close()
    assert not list((tmp_path / "store").iterdir())


@pytest.mark.parametrize("name", ["llama", "gemma3n", "qwen3_next"])
def test_bytes_are_those_of_the_tensors(name: str) -> None:
    model = model_of(name)
    cache = KIVCache(model, SPARSE)
    assert sum(cache.bytes_by_part().values()) <= 8  # a sliding layer keeps its window's length as a tensor
    feed(model, cache, text()[:, :400], [400])
    parts = cache.bytes_by_part()
    cold = 352  # 400 - 4 sinks - 32 hot, in whole blocks of 32
    growing = cache.topology.growing
    assert parts["cold_keys"] == parts["cold_values"] == sum(cold * g.num_kv_heads * g.head_dim * 4 for g in growing)
    ring = 4 + 32 + 32
    hot = sum(ring * g.num_kv_heads * g.head_dim * 4 * 2 + ring * 4 for g in growing)
    forgetting = 0
    for layer in cache.forgetting_layers.values():
        for value in vars(layer).values():
            tensors = value.values() if isinstance(value, dict) else [value]
            forgetting += sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))
    assert parts["hot"] == hot + forgetting
    assert parts["index"] == sum(layer.index.nbytes for layer in cache.growing_layers) > 0


def test_a_plan_lays_the_store_out_in_one_piece(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiv_engine.store.FIRST_SLAB_TOKENS", 64)
    monkeypatch.setattr("kiv_engine.store.LAZY_SLAB_TOKENS", 64)
    for planned, pieces in ((0, 5), (800, 1)):
        cache = KIVCache(model, EXACT)
        cache.plan(planned)
        assert_same(feed(model, cache, text(), [100] * 8), reference("llama"))
        assert len(cache.growing_layers[0].store.keys._slabs) == pieces


# -- prefill modes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"mistral_sliding"}))
@pytest.mark.parametrize("mode", ["sparse", "window", "auto"])
def test_every_mode_is_exact_while_nothing_is_cold(name: str, mode: Any) -> None:
    model = model_of(name)
    cache = KIVCache(model, KIVConfig(hot_tokens=800, retrieved_tokens=8, prefill=mode, positions="true"))
    cache.plan(800)
    got = feed(model, cache, text(), [600, 199, 1])
    torch.testing.assert_close(got, reference(name), atol=3e-3 if name == "qwen3_next" else 1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["sparse", "window"])
def test_a_long_forward_attends_less_than_exact_but_searches_for_its_last_512_tokens(
    model: PreTrainedModel, mode: Any
) -> None:
    """Its last tokens are those of a forward that ended before them and was followed by them, one at a time."""
    config = replace(SPARSE, prefill=mode)
    whole = feed(model, KIVCache(model, config), text(), [800])
    cache = KIVCache(model, config)
    with cache.reading():
        feed(model, cache, text()[:, :288], [288])
    one_by_one = feed(model, cache, text()[:, 288:], [1] * 512)
    assert_same(whole[288:], one_by_one)
    assert (whole - reference("llama"))[288:].abs().max() > 0.01


def test_reading_does_not_search_in_window_mode(model: PreTrainedModel) -> None:
    cache = KIVCache(model, replace(SPARSE, prefill="window"))
    with cache.reading():
        feed(model, cache, text(), [400, 400])
    assert all(layer.rows_fetched == 0 for layer in cache.growing_layers)
    feed(model, cache, text()[:, :2], [2])
    assert all(layer.rows_fetched > 0 for layer in cache.growing_layers)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in LENGTH_DEPENDENT])
def test_filling_leaves_all_layers_as_reading_does_and_ends_early(name: str) -> None:
    model = model_of(name)
    read, filled = (KIVCache(model, SPARSE) for _ in range(2))
    ended = []
    for ids in text()[:, :600].split(300, 1):
        with read.reading():
            model(ids, past_key_values=read)
        with filled.reading(), filled.filling():
            try:
                model(ids, past_key_values=filled)
            except AllFilledError:
                ended.append(True)
    last = read.topology.last_owner
    assert bool(ended) == isinstance(read.layers[last], KIVLayer)
    later = text()[:, 600:616]
    assert torch.equal(feed(model, filled, later, [15, 1]), feed(model, read, later, [15, 1]))


@pytest.mark.parametrize("bits", [1, 2])
@pytest.mark.usefixtures("small_index")
def test_heads_whose_codes_are_no_whole_bytes_are_searched(monkeypatch: pytest.MonkeyPatch, bits: Any) -> None:
    """OpenLLaMA 3B has heads of 100 dimensions. Searched, or all keys ranked."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**COMMON, "head_dim": 20})).eval()
    config = replace(SPARSE, retrieved_tokens=64, candidate_tokens=256, index_bits=bits)
    searched = feed(model, KIVCache(model, config), text()[:, :501], [500, 1])
    monkeypatch.setattr("kiv_engine.layer.DENSE_SHARE", 0.0)
    ranked = feed(model, KIVCache(model, config), text()[:, :501], [500, 1])
    assert torch.cosine_similarity(searched[-1], ranked[-1], dim=0) > 0.98


SEARCHING = {
    "sparse": SPARSE,
    "window": replace(SPARSE, prefill="window"),
    "int8": replace(SPARSE, store_dtype="int8"),
    "compact": replace(SPARSE, positions="compact"),
    "no-sinks": replace(SPARSE, sink_tokens=0),
    "1bit": replace(SPARSE, candidate_tokens=80, index_bits=1),
    "2bit": replace(SPARSE, candidate_tokens=80, index_bits=2),
    "compact-1bit": replace(SPARSE, positions="compact", candidate_tokens=80, index_bits=1),
    "compact-2bit": replace(SPARSE, positions="compact", candidate_tokens=80, index_bits=2),
}


def short_trained() -> PreTrainedModel:
    """A model trained for 200 tokens, so that the text goes far beyond."""
    torch.manual_seed(4)
    return LlamaForCausalLM(LlamaConfig(**{**COMMON, "max_position_embeddings": 200, "vocab_size": 1_000})).eval()


def text_without_repeats() -> torch.Tensor:
    """In compact mode equal tokens have equal keys in the first layer, and rounding would decide between them."""
    return torch.randperm(1_000, generator=torch.Generator().manual_seed(2))[None]


@pytest.mark.parametrize("kind", sorted(SEARCHING))
@pytest.mark.usefixtures("small_index")
def test_a_short_forward_equals_its_tokens_decoded_one_by_one(kind: str) -> None:
    """In one layer, bit by bit: whatever the search would do with a query, it does in a block too."""
    keys, values = torch.randn(2, 1, 2, 490, 16)
    queries = torch.randn(2, 2, 90, 16) * 3
    outputs = []
    for sizes in ([1] * 90, [90], [1, 40, 2, 47]):
        cache = KIVCache(short_trained(), SEARCHING[kind])
        layer, parts = cache.growing_layers[0], []
        layer.update(keys[:, :, :400], values[:, :, :400])
        for size in sizes:
            first = layer.num_tokens
            part = slice(first, first + size)
            layer.update(keys[:, :, part], values[:, :, part])
            parts.append(layer.attend(0, queries[:, :, first - 400 : first - 400 + size], ScoreRule(0.25)))
        outputs.append(torch.cat(parts, 2))
    torch.testing.assert_close(outputs[1], outputs[0], atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(outputs[2], outputs[0], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("room", [1, 1_000, 10_000], ids=["one", "some", "all"])
@pytest.mark.parametrize(
    "rule", [ScoreRule(0.25, softcap=3.0), ScoreRule(0.25, sinks=torch.ones(2, 2))], ids=["cap", "sinks"]
)
def test_queries_that_rank_all_tokens_together_equal_single_ones(
    room: int, rule: ScoreRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are taken at once; of 64 or fewer cold tokens all are attended to, which is another way."""
    monkeypatch.setattr("kiv_engine.layer.RANKED_SCORES", room)
    taken: list[int] = []
    together = KIVLayer._attend_ranking_all

    def counted(layer: KIVLayer, first: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        taken.append(queries.shape[2])
        return together(layer, first, queries, rule)

    monkeypatch.setattr(KIVLayer, "_attend_ranking_all", counted)
    keys, values = torch.randn(2, 1, 2, 240, 16)
    queries = torch.randn(2, 2, 140, 16) * 3
    outputs = []
    for sizes in ([140], [1] * 140):
        layer = KIVCache(short_trained(), replace(SPARSE, retrieved_tokens=64)).growing_layers[0]
        layer.update(keys[:, :, :100], values[:, :, :100])
        parts = []
        for size in sizes:
            part = slice(layer.num_tokens, layer.num_tokens + size)
            layer.update(keys[:, :, part], values[:, :, part])
            parts.append(layer.attend(0, queries[:, :, part.start - 100 : part.stop - 100], rule))
        outputs.append(torch.cat(parts, 2))
    torch.testing.assert_close(outputs[0], outputs[1], atol=2e-6, rtol=1e-5)
    assert max(taken, default=1) == {1: 1, 1_000: 2, 10_000: 26}[room]


@pytest.mark.parametrize("kind", sorted(set(SEARCHING) - {"1bit", "compact-1bit"}))  # they round queries: see above
@pytest.mark.usefixtures("small_index")
def test_a_short_forward_gives_the_logits_of_its_tokens_decoded_one_by_one(kind: str) -> None:
    model, config, ids = short_trained(), SEARCHING[kind], text_without_repeats()
    logits = []
    for sizes in ([1] * 90, [90], [1, 40, 2, 47]):
        cache = KIVCache(model, config)
        with cache.reading():
            feed(model, cache, ids[:, :400], [400])
        logits.append(feed(model, cache, ids[:, 400:490], sizes))
        cache.close()
    assert_same(logits[1], logits[0])
    assert_same(logits[2], logits[0])


@pytest.mark.parametrize(
    "name", ["gemma2", "gemma3n", "gemma4", "gpt_oss", "smollm3", "cohere", "qwen3_next", "llama4"]
)
def test_a_short_forward_equals_decoding_in_other_families(name: str) -> None:
    model = model_of(name)
    logits = []
    for sizes in ([1] * 40, [40]):
        cache = KIVCache(model, SPARSE)
        with cache.reading():
            feed(model, cache, text()[:, :300], [300])
        logits.append(feed(model, cache, text()[:, 300:340], sizes))
        cache.close()
    torch.testing.assert_close(logits[1], logits[0], atol=3e-3 if name == "qwen3_next" else 1e-4, rtol=1e-4)


@pytest.mark.parametrize("bits", [None, 1, 2], ids=["all", "1bit", "2bit"])
@pytest.mark.parametrize("sizes", [[1, 1], [2], [600]], ids=["decoded", "short-forward", "long-forward"])
@pytest.mark.usefixtures("small_index")
def test_a_planted_cold_token_is_seen(model: PreTrainedModel, bits: Any, sizes: list[int]) -> None:
    """A key along the newest query, and a value unlike any other: without the search the output would not have it."""
    config = replace(SPARSE, index_bits=bits, candidate_tokens=100_000 if bits is None else 64)
    cache = KIVCache(model, config)
    geometry = cache.topology.growing[0]
    layer = cache.growing_layers[0]
    keys, values = torch.randn(2, 1, geometry.num_kv_heads, 400, geometry.head_dim)
    query = torch.randn(geometry.num_kv_heads, 2, 1, geometry.head_dim)
    keys[0, :, 77] = 8 * query[:, 0, 0]
    values[0, :, 77] = 50.0
    layer.update(keys, values)
    later = torch.randn(2, 1, geometry.num_kv_heads, sum(sizes), geometry.head_dim)
    for size in sizes:
        part, later = later[..., :size, :], later[..., size:, :]
        layer.update(part[0], part[1])
        output = layer.attend(0, query.expand(-1, -1, size, -1).contiguous(), ScoreRule(0.5))
    assert (output[:, 0, -1] > 45).all()


@pytest.mark.parametrize(
    "choice", [{}, {"store_dtype": "int8"}, {"positions": "compact"}], ids=["ram", "int8", "compact"]
)
def test_everything_retrieved_is_used_where_it_lies(choice: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Against rows gathered one by one; without a copy where the store has them as the model does."""
    config = KIVConfig(hot_tokens=32, sink_tokens=4, retrieved_tokens=64, prefill="sparse", positions="true")
    layer = KIVCache(short_trained(), replace(config, **choice)).growing_layers[0]
    keys, values = torch.randn(2, 1, 2, 90, 16)
    queries, rule = torch.randn(2, 2, 16) * 3, ScoreRule(0.25, softcap=8.0)
    layer.update(keys, values)
    layer.update(keys[:, :, :1], values[:, :, :1])
    fetched, limit, length = layer.rows_fetched, layer.store.num_tokens, 300  # compact beyond 200
    obvious = layer._take(torch.arange(limit).expand(2, -1), queries, rule, length)
    counted = layer.rows_fetched - fetched
    monkeypatch.delattr(RowTable, "gather")
    got = layer._take_all(limit, queries, rule, length)
    torch.testing.assert_close(got.scores, obvious.scores)
    torch.testing.assert_close(got.values, obvious.values)
    assert torch.equal(got.ids, obvious.ids)
    assert layer.rows_fetched - fetched == 2 * counted == 4 * 2 * limit
    in_place = got.values.data_ptr() == layer.store.values.read(0, 1).data_ptr()
    assert in_place == ("store_dtype" not in choice)
    output = layer.attend(0, queries[:, :, None], rule)  # by way of the same
    whole = torch.cat((keys, keys[:, :, :1]), 2)[0], torch.cat((values, values[:, :, :1]), 2)[0]
    if not choice:
        torch.testing.assert_close(output, attend_at_once(rule, queries[:, :, None], *whole, torch.ones(1, 91).bool()))


@pytest.mark.parametrize(
    ("choice", "dense"), [({}, True), ({"store_dtype": "int8"}, False), ({"positions": "compact"}, False)], ids=str
)
@pytest.mark.usefixtures("small_index")
def test_where_most_tokens_would_be_candidates_all_are_ranked(
    choice: dict[str, Any], dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not where all would have to be copied for that: keys in int8, or moved to other positions."""
    keys, values = torch.randn(2, 1, 2, 400, 16)
    queries, rule = torch.randn(2, 2, 16) * 3, ScoreRule(0.25)
    found = []
    for candidates, share in ((100_000, math.inf), (64, 0.0), (64, 1.0)):
        monkeypatch.setattr("kiv_engine.layer.DENSE_SHARE", share)
        config = replace(SPARSE, candidate_tokens=candidates, **choice)
        layer = KIVCache(short_trained(), config).growing_layers[0]
        layer.update(keys, values)
        ids, scores, _ = layer._candidates(queries, rule, layer.store.num_tokens, 400, vague=False)
        found.append((ids, scores))
    assert found[0][0] is None
    assert (found[1][0] is None) == dense
    assert found[2][0] is not None
    if dense:
        torch.testing.assert_close(found[1][1], found[0][1])


@pytest.mark.parametrize(("heads", "dense"), [(1, True), (2, False)])
@pytest.mark.usefixtures("small_index")
def test_keys_of_an_only_head_are_all_ranked_sooner(heads: int, dense: bool) -> None:
    """They lie in one row; half as many candidates are worth a look at all of them."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**COMMON, "num_key_value_heads": heads})).eval()
    group = model.config.num_attention_heads // heads
    keys, values = torch.randn(2, 1, heads, 1_000, 16)
    layer = KIVCache(model, replace(SPARSE, candidate_tokens=400 // group)).growing_layers[0]
    layer.update(keys, values)
    queries = torch.randn(heads, group, 16) * 100  # sharp: all that a head may have
    assert 0.3 < 400 / layer.store.num_tokens < 0.5
    ids, _, _ = layer._candidates(queries, ScoreRule(0.25), layer.store.num_tokens, 1_000, vague=False)
    assert (ids is None) == dense


@pytest.mark.usefixtures("small_index")
def test_keys_of_candidates_are_scored_piece_by_piece_in_the_same_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiv_engine.layer.PIECE_BYTES", 8 * 2 * 16 * 4)
    keys, values = torch.randn(2, 1, 2, 400, 16)
    layer = KIVCache(short_trained(), SPARSE).growing_layers[0]
    layer.update(keys, values)
    ids = torch.randint(0, layer.store.num_tokens, (2, 50))
    ids[:, -3:] = -1
    queries, rule, places = torch.randn(2, 2, 16), ScoreRule(0.25), set()
    gather = RowTable.gather

    def noted(table: RowTable, wanted: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        rows = gather(table, wanted, out)
        assert rows.shape[1] <= 8
        places.add(rows.data_ptr())
        return rows

    monkeypatch.setattr(RowTable, "gather", noted)
    scores = layer._score_candidates(queries, rule, ids)
    assert len(places) == 1
    monkeypatch.undo()
    whole = rule.scores(queries[:, :, None], layer.store.keys.gather(ids.clamp(min=0)))[:, :, 0]
    torch.testing.assert_close(scores[..., :-3], whole[..., :-3])
    assert bool((scores[..., -3:] == -math.inf).all())


# -- compact positions -------------------------------------------------------------------------------------------------


def test_compact_positions_never_leave_the_trained_length(monkeypatch: pytest.MonkeyPatch) -> None:
    model = short_trained()
    cache = KIVCache(model, replace(SPARSE, positions="compact", hot_tokens=2_000))
    seen: list[torch.Tensor] = []
    move = Rotary.move

    def seen_move(rotary: Rotary, keys: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(targets)
        return move(rotary, keys, sources, targets)

    monkeypatch.setattr(Rotary, "move", seen_move)
    with cache.reading():
        feed(model, cache, text()[:, :600], [600])
    feed(model, cache, text()[:, 600:610], [1] * 10)
    newest = cache.num_tokens - 1
    assert cache.policy.hot_tokens < 200
    moved = [targets for targets in seen[-8:] if targets.numel() and int(targets.max()) > 0]
    assert moved
    assert all(newest - int(targets.min()) < 200 for targets in moved)


def test_automatic_positions_are_compact_only_where_a_wavelength_exceeds_the_trained_length() -> None:
    assert KIVCache(short_trained(), replace(SPARSE, positions="auto")).policy.rotary is not None
    assert KIVCache(model_of("smollm3"), replace(SPARSE, positions="true")).policy.rotary is None
    assert KIVCache(model_of("cohere2"), replace(SPARSE, positions="auto")).policy.rotary is None  # nothing is rotated
    assert KIVCache(model_of("llama4"), replace(SPARSE, positions="auto")).policy.rotary is None


# -- the index sees what the store holds -------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[300] + [1] * 200, [1] * 500, [64] * 7 + [52]], ids=["mixed", "decoded", "chunks"])
@pytest.mark.usefixtures("small_index")
def test_the_codes_are_those_of_the_stored_keys(model: PreTrainedModel, sizes: list[int]) -> None:
    cache = KIVCache(model, SPARSE)
    feed(model, cache, text()[:, :500], sizes)
    for layer in cache.growing_layers:
        keys = layer.store.keys.read(0, layer.store.num_tokens)
        anew = CodeIndex(keys.shape[0], keys.shape[2], layer.index.bits, keys.device)
        anew.append(keys)
        query = torch.randn(keys.shape[0], 2, keys.shape[2])
        limit = layer.store.num_tokens
        torch.testing.assert_close(
            layer.index.scores_of(query, limit), anew.scores_of(query, limit), atol=1e-3, rtol=1e-3
        )


def test_snapshots_are_thinned_most_where_they_lie_far_back() -> None:
    state = {0: {"keys": torch.zeros(256)}}
    every = [CacheSnapshot(length, state) for length in range(100, 10_100, 100)]
    size = every[0].nbytes
    assert size > 0
    assert thinned(every, 100, 100 * size) == every
    kept = [snapshot.num_tokens for snapshot in thinned(every, 100, 12 * size)]
    assert len(kept) == 12
    assert kept[-3:] == [9_800, 9_900, 10_000]
    gaps = [after - before for before, after in itertools.pairwise([0, *kept])]
    assert gaps == sorted(gaps, reverse=True), "the further back, the wider apart"
    assert [snapshot.num_tokens for snapshot in thinned(every, 12, 100 * size)] == kept
    assert [snapshot.num_tokens for snapshot in thinned(every, 100, 0)] == [10_000]
