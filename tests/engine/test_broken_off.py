"""A forward of several tokens is broken off at once where that is asked for, and leaves no trace."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from kiv_engine import cached_tokens
from kiv_engine.config import KIVConfig
from kiv_engine.context import Context
from kiv_engine.errors import StoppedError
from kiv_engine.events import AnswerFinished, ReadFinished
from tests.engine.tiny_context import (
    CHUNK,
    DOCUMENT,
    FORGETS,
    GROWS,
    SMALL,
    ask,
    assert_same,
    ids_of,
    new_context,
    probe,
    read,
    ready,
)

pytestmark = pytest.mark.usefixtures("one_thread", "small_steps", "all_contexts_gone")

QUESTION = "?" * 300
SPARSE = KIVConfig(**{**vars(SMALL), "prefill": "sparse"})


class StopWithin:
    """Says yes at the `call`-th time it is asked while the context has a length, and from then on.

    Attributes:
        calls: how often it was asked at that length.
    """

    def __init__(self, context: Context, length: int, call: int) -> None:
        self.calls = 0
        self._context, self._length, self._call = context, length, call

    def __call__(self) -> bool:
        self.calls += self._context.num_tokens == self._length
        return self.calls >= self._call


def places(start: Callable[[StopWithin], object], context: Context, length: int) -> range:
    """At which calls a forward that begins at this length can be broken off, that before it left out."""
    counter = StopWithin(context, length, 1_000_000)
    start(counter)
    return range(2, counter.calls + 1)


@pytest.mark.parametrize("config", [SMALL, SPARSE], ids=["exact", "sparse"])
@pytest.mark.parametrize("family", [*GROWS, *FORGETS, "phi3_longrope"])
def test_reading_goes_on_from_where_a_chunk_was_broken_off(family: str, config: KIVConfig) -> None:
    whole, counted = ready(family, config), new_context(family, config)
    found = places(lambda stop: read(counted, DOCUMENT, should_stop=stop), counted, 3 * CHUNK)
    assert len(found) >= len(counted.cache.growing_layers), "each module asks"
    expected = probe(whole.cache, family)
    for call in found[:: 5 if family == "llama" else 11]:
        context = new_context(family, config)
        finished = read(context, DOCUMENT, should_stop=StopWithin(context, 3 * CHUNK, call))
        assert isinstance(finished, ReadFinished)
        assert (finished.stopped, finished.tokens_read, context.num_tokens) == (True, 3 * CHUNK, 3 * CHUNK)
        assert isinstance(read(context), ReadFinished)
        assert ids_of(context) == ids_of(whole)
        assert_same(family, probe(context.cache, family), expected)
        context.close()
    counted.close()
    whole.close()


@pytest.mark.parametrize("family", [*GROWS, *FORGETS])
def test_a_question_that_is_broken_off_leaves_a_chat_that_goes_on(family: str) -> None:
    whole, counted, context = ready(family), ready(family), ready(family)
    length = context.num_tokens
    found = places(lambda stop: ask(counted, QUESTION, should_stop=stop), counted, length)
    assert len(found) >= len(counted.cache.growing_layers)
    expected = ask(whole, QUESTION)
    for call in found[::7]:
        answer = ask(context, QUESTION, should_stop=StopWithin(context, length, call))
        assert isinstance(answer, AnswerFinished)
        assert (answer.finish_reason, answer.answer_tokens, context.num_tokens) == ("cancelled", 0, length)
        context.rewind(length)
    assert ask(context, QUESTION).text == expected.text
    assert_same(family, probe(context.cache, family), probe(whole.cache, family))
    for each in (whole, counted, context):
        each.close()


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_turn_that_is_taken_again_can_be_broken_off(family: str) -> None:
    context = ready(family)
    length, ids = context.num_tokens, ids_of(context)
    with pytest.raises(StoppedError):
        context.replay(QUESTION, "Nine.", StopWithin(context, length, 3))
    assert (ids_of(context), context.turns) == (ids, [])
    context.replay(QUESTION, "Nine.")
    assert [turn.answer for turn in context.turns] == ["Nine."]
    context.close()


def test_what_another_thread_computes_goes_on() -> None:
    context, module = new_context(), torch.nn.Linear(2, 2)
    with context.cache.stoppable(lambda: True):
        with ThreadPoolExecutor(1) as other:
            assert other.submit(module, torch.zeros(2)).result().shape == (2,)
        with pytest.raises(StoppedError):
            module(torch.zeros(2))
    module(torch.zeros(2))
    context.close()


def test_a_forward_whose_layers_forget_too_much_is_not_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_tokens, "SNAPSHOT_BYTES", 1)
    context = new_context("gemma3")
    stop = StopWithin(context, 3 * CHUNK, 2)
    assert isinstance(read(context, DOCUMENT, should_stop=stop), ReadFinished)
    assert (stop.calls, context.unread_tokens) == (1, 0), "no layer asked"
    context.close()
