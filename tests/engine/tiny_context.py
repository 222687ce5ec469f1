"""Contexts over tiny models, read in small steps, and what a test does with them."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig, SamplingConfig
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.events import AnswerFinished, Failed, ReadFinished, ReadProgress, TextDelta, TokenizeProgress
from kiv_engine.hits import HitsDrained
from tests.engine.families import model_of
from tests.engine.tiny_chat import loaded

GROWS = ["llama"]
FORGETS = ["gemma3", "qwen3_next", "lfm2"]
TOLERANCE = {"qwen3_next": 3e-3}  # its own recurrent and chunked forms differ by as much

TEXT = "".join(f"Chapter {n}: the {n * 7919 % 104729}th ship brought {n * 31 % 97} bells to town. " for n in range(18))
DOCUMENT = Document("log", TEXT)
SMALL = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=16, prefill="exact", positions="true")
SHORT = SamplingConfig(max_new_tokens=10)
CHUNK, SNAPSHOT = 128, 256


def new_context(family: str = "llama", config: KIVConfig = SMALL, **options: Any) -> Context:
    template = options.pop("template", ...)
    model = loaded(family) if template is ... else loaded(family, template)
    return Context(model, config, **options)


def read(context: Context, *documents: Document, **options: Any) -> ReadFinished | Failed:
    """The terminal event, after checking that it is the only one and the last."""
    events = list(context.read(*documents, **options))
    assert all(isinstance(event, TokenizeProgress | ReadProgress) for event in events[:-1])
    assert isinstance(events[-1], ReadFinished | Failed)
    return events[-1]


def ask(context: Context, question: str = "How many?", sampling: SamplingConfig = SHORT, **options: Any) -> Any:
    """The terminal event, after checking that the pieces before it are its text."""
    *events, last = context.ask(question, sampling, **options)
    assert all(isinstance(event, ReadProgress | TextDelta | HitsDrained) for event in events)
    assert isinstance(last, AnswerFinished | Failed)
    deltas = [event for event in events if isinstance(event, TextDelta)]
    if isinstance(last, AnswerFinished):
        assert "".join(delta.text for delta in deltas) == last.text
        assert all(delta.text for delta in deltas)
    return last


def ready(family: str = "llama", config: KIVConfig = SMALL, **options: Any) -> Context:
    """A context that has read the document."""
    context = new_context(family, config, **options)
    finished = read(context, DOCUMENT)
    assert isinstance(finished, ReadFinished), finished
    return context


def after(count: int, context: Context) -> Callable[[], bool]:
    """A stop callback that says yes once `count` more forwards have come to their end."""
    lengths = {context.num_tokens}

    def should_stop() -> bool:
        lengths.add(context.num_tokens)
        return len(lengths) > count

    return should_stop


def after_calls(count: int) -> Callable[[], bool]:
    """A stop callback that says no `count` times."""
    calls = itertools.count()
    return lambda: next(calls) >= count


def ids_of(context: Context) -> list[int]:
    return list(context._tokens.ids)


def tokens(text: str) -> list[int]:
    """Ids of a rendered chat; the control token stands for itself."""
    return loaded("llama").tokenizer(text, add_special_tokens=False).input_ids


def probe(cache: KIVCache, family: str) -> torch.Tensor:
    """Logits (3, vocabulary) of some tokens that follow."""
    with torch.inference_mode():  # as the context reads
        steps = [model_of(family)(torch.tensor([[token]]), past_key_values=cache).logits[0] for token in (5, 50, 20)]
    return torch.cat(steps)


def assert_same(family: str, got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, atol=TOLERANCE.get(family, 1e-4), rtol=1e-4)


def break_forward(monkeypatch: pytest.MonkeyPatch, context: Context, call: int, error: Exception | None = None) -> None:
    """From the `call`-th forward on, the last layer raises: the layers before it have taken the tokens by then."""
    layer = context._loaded.model.model.layers[-1]
    original, calls = layer.forward, itertools.count()

    def forward(*args: Any, **kwargs: Any) -> Any:
        if next(calls) >= call:
            raise error or RuntimeError("the last layer broke\nsecond line")
        return original(*args, **kwargs)

    monkeypatch.setattr(layer, "forward", forward)
