"""Readers: all answer as plain code would, and no question leaves a trace."""

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from transformers import DynamicCache

from kiv_engine.attention import Attachment
from kiv_engine.config import KIVConfig
from kiv_engine.context import Context
from kiv_engine.engine import Engine
from kiv_engine.errors import ConfigError
from kiv_engine.evaluation import readers
from kiv_engine.evaluation.readers import BY_NAME, CacheReader, KIVReader, Reader, ReadingStoppedError
from kiv_engine.evaluation.streaming import StreamingCache
from tests.engine.families import model_of
from tests.engine.tiny_chat import loaded

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT = "".join(f"Berth {n}: the {n * 7919 % 104729}th ship brought {n * 31 % 97} bells. " for n in range(80))
SMALL = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=16, prefill="window", positions="true")
ROOMY = KIVConfig(hot_tokens=8_192, prefill="exact", positions="true")


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "READ_CHUNK_TOKENS", 256)


@pytest.fixture(autouse=True, scope="module")
def _models_are_as_before() -> Iterator[None]:
    yield
    gc.collect()
    assert not list(Attachment._of_model), "a reader outlived its test"


def engine(family: str) -> Engine:
    return Engine(loaded(family))


def full(of: Engine) -> CacheReader:
    return CacheReader(of, DynamicCache(config=of.loaded.model.config))


def read(reader: Reader) -> Reader:
    assert len(list(reader.read(TEXT, lambda: False))) >= 1
    return reader


def ask(reader: Reader, question: str, *, everything: bool = False) -> str:
    return reader.ask(question, 12, everything=everything).text


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_full_attention_answers_like_our_cache_with_room_for_all(family: str) -> None:
    of = engine(family)
    ours, theirs = read(KIVReader(of, ROOMY)), read(full(of))
    for question in ("Who?", "Which ship?"):
        assert ask(ours, question) == ask(theirs, question)
    ours.close()


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen3_next"])
@pytest.mark.parametrize("name", ["full", "fp8", "sinks", "codes2"])
def test_a_question_leaves_no_trace(name: str, family: str) -> None:
    of = engine(family)
    if reason := BY_NAME[name].missing(of):
        pytest.skip(reason)
    reader = read(BY_NAME[name].make(of))
    first = ask(reader, "Which ship brought the bells?")
    assert ask(reader, "Who?") == ask(reader, "Who?")
    assert ask(reader, "Which ship brought the bells?") == first
    reader.close()


def test_everything_is_full_attention_where_the_document_was_read_exactly() -> None:
    of = engine("llama")
    config = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=16, prefill="exact", positions="true")
    ours, theirs = read(KIVReader(of, config)), read(full(of))
    assert ask(ours, "Which ship?", everything=True) == ask(theirs, "Which ship?")
    ours.close()


def test_retrieving_more_ends_with_its_block_even_after_an_error() -> None:
    context = engine("llama").new_context(SMALL)
    policy = context.cache.policy
    with readers.retrieving(context, 99):
        assert policy.config == replace(SMALL, retrieved_tokens=99)
        with pytest.raises(ConfigError), readers.retrieving(context, -1):
            pass
        with contextlib.suppress(KeyError), readers.retrieving(context, 98):
            raise KeyError
        assert policy.config == replace(SMALL, retrieved_tokens=99)
    assert policy.config == SMALL
    context.close()


def test_time_per_token_is_that_between_tokens_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    of = engine("llama")
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def take(seconds: float) -> None:
        clock[0] += seconds

    hook = of.loaded.model.register_forward_hook(lambda *_: take(1))
    passages = Context._passages
    monkeypatch.setattr(Context, "_passages", lambda *arguments: take(100) or passages(*arguments))
    for reader in (KIVReader(of, ROOMY), full(of)):
        answer = read(reader).ask("Which ship brought the bells?", 5)
        assert (answer.num_tokens, answer.token_s) == (5, pytest.approx(1))
        assert 1 <= answer.first_token_s < 100
        assert reader.ask("Who?", 1).token_s is None
        reader.close()
    hook.remove()


def test_sinks_and_window_are_a_mask_over_full_attention() -> None:
    model = model_of("llama")
    count, sinks, window = 300, 4, 40
    ids = torch.randint(0, 90, (1, count), generator=torch.Generator().manual_seed(0))
    places = torch.arange(count)
    distance = places[:, None] - places
    seen = (distance >= 0) & ((places < sinks) | (distance < window))
    bias = torch.zeros(seen.shape).masked_fill_(~seen, torch.finfo(torch.float32).min)[None, None]
    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=bias, use_cache=False).logits
        cache = StreamingCache(model, KIVConfig(sink_tokens=sinks, hot_tokens=window))
        pieces = [model(input_ids=part, past_key_values=cache).logits for part in ids.split([130, 70, 1, 99], 1)]
    cache.close()
    torch.testing.assert_close(torch.cat(pieces, 1), expected, atol=2e-5, rtol=1e-4)


def test_reading_can_be_stopped() -> None:
    of = engine("llama")
    for reader in (KIVReader(of, SMALL), full(of)):
        with pytest.raises(ReadingStoppedError):
            list(reader.read(TEXT * 4, lambda: True))
        reader.close()


def test_what_cannot_run_here_says_why() -> None:
    of = engine("llama")
    assert "CUDA" in (BY_NAME["offloaded"].missing(of) or "")
    assert BY_NAME["full"].missing(of) is None
