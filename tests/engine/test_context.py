"""Contexts: what reading and asking yield, what is reused, and that going back leaves no trace."""

import errno
import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kiv_engine import footprint, policy, reading
from kiv_engine.attention import Attachment
from kiv_engine.cache import KIVCache
from kiv_engine.cached_tokens import CachedTokens
from kiv_engine.config import KIVConfig, SamplingConfig
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.engine import Engine
from kiv_engine.errors import CapacityError, ConfigError, EngineError, OutOfMemoryError
from kiv_engine.events import (
    AnswerFinished,
    Failed,
    MemoryPlaces,
    MemoryUse,
    ReadFinished,
    ReadProgress,
    TextDelta,
    TokenizeProgress,
)
from kiv_engine.fit import ModelShape, Setting
from kiv_engine.footprint import Footprint
from kiv_engine.hits import HitsDrained
from kiv_engine.passages import rank_passages
from kiv_engine.policy import AUTO_EXACT_TOKENS
from kiv_engine.reading import Reader
from kiv_engine.turn import Turn
from tests.engine.families import model_of
from tests.engine.tiny_chat import END, loaded

pytestmark = pytest.mark.usefixtures("one_thread")

GROWS = ["llama"]
FORGETS = ["gemma3", "qwen3_next", "lfm2"]
TOLERANCE = {"qwen3_next": 3e-3}  # its own recurrent and chunked forms differ by as much

TEXT = "".join(f"Chapter {n}: the {n * 7919 % 104729}th ship brought {n * 31 % 97} bells to town. " for n in range(18))
DOCUMENT = Document("log", TEXT)
SMALL = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=16, prefill="exact", positions="true")
SHORT = SamplingConfig(max_new_tokens=10)
CHUNK, SNAPSHOT = 128, 256


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_CHUNK_TOKENS", CHUNK)
    monkeypatch.setattr(reading, "SNAPSHOT_TOKENS", SNAPSHOT)
    monkeypatch.setattr(reading, "PROGRESS_INTERVAL_S", 0.0)


@pytest.fixture(autouse=True, scope="module")
def _all_contexts_gone() -> Iterator[None]:
    yield
    gc.collect()
    assert not list(Attachment._of_model), "a context outlived its test"


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


def after(count: int) -> Callable[[], bool]:
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


# -- reading -----------------------------------------------------------------------------------------------------------


def test_reading_reports_each_chunk_and_then_ends_once() -> None:
    context = new_context()
    events = list(context.read(DOCUMENT))
    first, *progress, last = events
    total = len(TEXT) + len("u:")
    assert first == ReadProgress(0, total, 0.0, None)
    assert [event.tokens_read for event in progress] == [*range(CHUNK, total, CHUNK), total]
    assert all(event.tokens_total == total and event.tokens_per_s > 0 for event in progress)
    assert progress[-1].eta_s == 0
    assert isinstance(last, ReadFinished)
    assert (last.tokens_read, last.tokens_total, last.stopped) == (total, total, False)
    assert (last.prefill_mode, last.prefill_reason) == ("exact", "as asked")
    assert context.num_tokens == total == context.cache.num_tokens
    assert context.document_tokens == len(TEXT)
    context.close()


def test_the_total_is_told_before_the_first_chunk_is_read() -> None:
    context = new_context()
    reading = context.read(DOCUMENT)
    total = len(TEXT) + len("u:")
    assert next(reading) == ReadProgress(0, total, 0.0, None)
    assert (context.num_tokens, context.unread_tokens, context.cache.num_tokens) == (0, total, 0)
    assert [document.start for document in context.documents] == [len("u:")]
    reading.close()
    context.close()


def test_rate_and_time_left_are_those_of_reading_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which tokens take a minute to count, whoever listens a minute to listen, and a chunk two seconds."""
    now, feed, queue = [0.0], Reader.feed, Reader._queue

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    def feed_slowly(reader: Reader, limit: int) -> None:
        feed(reader, limit)
        pass_time(2.0)

    def queue_slowly(reader: Reader, *options: Any) -> Any:
        pass_time(60.0)
        return (yield from queue(reader, *options))

    monkeypatch.setattr(reading, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(Reader, "feed", feed_slowly)
    monkeypatch.setattr(Reader, "_queue", queue_slowly)
    context = new_context()
    steps = context.read(DOCUMENT)
    total = next(steps).tokens_total
    pass_time(60.0)
    for number, event in enumerate(steps, 1):
        if isinstance(event, ReadFinished):
            assert event.seconds == 120 + 2 * (number - 1), "the whole of it"
            break
        assert event.tokens_per_s == pytest.approx(event.tokens_read / (2 * number))
        assert event.eta_s == pytest.approx((total - event.tokens_read) * 2 * number / event.tokens_read)
    assert number > 3
    context.close()


def test_the_rate_of_a_reading_stays_known_if_it_was_long_enough_and_grows_with_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, feed = [0.0], Reader.feed

    def feed_in_a_second(reader: Reader, limit: int) -> None:
        feed(reader, limit)
        now[0] += 1

    monkeypatch.setattr(reading, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(Reader, "feed", feed_in_a_second)
    context = new_context()
    assert context.read_tokens_per_s == 0
    read(context, Document("note", "x" * (CHUNK // 2)))
    assert context.read_tokens_per_s == 0, "half a chunk"
    read(context, DOCUMENT)
    chunks = -(-context.num_tokens // CHUNK)
    known = pytest.approx((context.num_tokens - CHUNK // 2 - len("u:")) / chunks)
    assert context.read_tokens_per_s == known
    monkeypatch.setattr(policy, "AUTO_EXACT_TOKENS", context.num_tokens)
    assert context.reads_linearly
    read(context, DOCUMENT)
    assert not context.reads_linearly, "it is asked to read exactly"
    assert context.read_tokens_per_s == known
    context.close()


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


def test_progress_is_not_reported_more_often_than_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PROGRESS_INTERVAL_S", 3600.0)
    context = new_context()
    assert [type(event) for event in context.read(DOCUMENT)] == [ReadProgress, ReadProgress, ReadFinished]
    assert len(list(context.read())) == 1
    context.close()


def test_auto_says_which_mode_it_took_and_why() -> None:
    context = new_context(config=KIVConfig())
    finished = read(context, DOCUMENT)
    assert isinstance(finished, ReadFinished)
    assert finished.prefill_mode == "exact"
    assert f"{AUTO_EXACT_TOKENS:,}" in finished.prefill_reason
    context.close()


def test_documents_follow_each_other_in_order() -> None:
    context = new_context()
    read(context, Document("first", "One."), Document("second", "Two two."))
    read(context, Document("third", "Three."))
    assert ids_of(context) == tokens("u:One.\n\nTwo two.\n\nThree.")
    assert [placed.tokens.document.name for placed in context.documents] == ["first", "second", "third"]
    for placed in context.documents:
        assert ids_of(context)[placed.start : placed.end] == placed.tokens.ids.tolist()
    context.close()


@pytest.mark.parametrize("family", [*GROWS, *FORGETS])
def test_stopped_reading_goes_on_as_if_it_had_not_been_stopped(family: str) -> None:
    stopped, whole = new_context(family), ready(family)
    first = read(stopped, DOCUMENT, should_stop=after(3))
    assert isinstance(first, ReadFinished)
    assert first.stopped
    assert (first.tokens_read, stopped.unread_tokens) == (3 * CHUNK, whole.num_tokens - 3 * CHUNK)
    second = read(stopped)
    assert isinstance(second, ReadFinished)
    assert not second.stopped
    assert ids_of(stopped) == ids_of(whole)
    assert_same(family, probe(stopped.cache, family), probe(whole.cache, family))
    stopped.close()
    whole.close()


def test_tokenizing_shows_progress_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PROGRESS_INTERVAL_S", 0.0)
    context = new_context()
    long = Document("long", "Some words.\n\n" * 50_000)
    events = list(context.read(DOCUMENT, long, should_stop=after(1)))
    assert [type(event) for event in events] == [TokenizeProgress] * 2 + [ReadFinished]
    shown = [event.characters_done for event in events[:-1]]
    assert shown == sorted(shown)
    assert events[0].characters_total == len(DOCUMENT.text) + len(long.text)
    assert (events[-1].stopped, events[-1].tokens_read, context.documents) == (True, 0, [])
    assert not read(context, DOCUMENT).stopped
    context.close()


def test_stopped_at_once_nothing_is_read_and_questions_still_work() -> None:
    context = new_context()
    finished = read(context, DOCUMENT, should_stop=lambda: True)
    assert isinstance(finished, ReadFinished)
    assert (finished.stopped, finished.tokens_read) == (True, 0)
    assert isinstance(ask(context, "Why?"), AnswerFinished)
    assert ids_of(context)[: len("u:Why?.a:")] == tokens(f"u:Why?{END}a:")
    context.close()


def test_a_reader_that_is_dropped_can_be_taken_up_again() -> None:
    context, whole = new_context("gemma3"), ready("gemma3")
    events = context.read(DOCUMENT)
    assert [next(events).tokens_read, next(events).tokens_read] == [0, CHUNK]
    events.close()
    assert context.num_tokens == CHUNK
    assert isinstance(read(context), ReadFinished)
    assert_same("gemma3", probe(context.cache, "gemma3"), probe(whole.cache, "gemma3"))
    context.close()
    whole.close()


@pytest.mark.parametrize("family", [*GROWS, *FORGETS])
def test_reading_goes_on_after_the_model_failed_in_the_middle(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    context, whole = new_context(family), ready(family)
    with monkeypatch.context() as patch:
        break_forward(patch, context, 3)
        failure = read(context, DOCUMENT)
    assert isinstance(failure, Failed)
    assert failure.message == "RuntimeError: the last layer broke"
    assert context.num_tokens == context.cache.num_tokens
    assert context.num_tokens == (3 * CHUNK if family in GROWS else SNAPSHOT)
    assert isinstance(read(context), ReadFinished)
    assert ids_of(context) == ids_of(whole)
    assert_same(family, probe(context.cache, family), probe(whole.cache, family))
    context.close()
    whole.close()


@pytest.mark.parametrize("family", [*GROWS, *FORGETS])
def test_what_could_not_be_undone_is_undone_by_the_next_reading(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    context, whole = new_context(family), ready(family)
    with monkeypatch.context() as patch:
        break_forward(patch, context, 3, MemoryError())
        patch.setattr(context.cache, "restore", no_memory)
        assert isinstance(read(context, DOCUMENT), Failed)
        assert isinstance(ask(context), Failed)
    assert isinstance(read(context), ReadFinished)
    assert ids_of(context) == ids_of(whole)
    assert_same(family, probe(context.cache, family), probe(whole.cache, family))
    context.close()
    whole.close()


def test_a_broken_forward_holds_nothing_while_the_context_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    context = new_context()
    held: list[weakref.ref[torch.Tensor]] = []
    restore = context.cache.restore

    def forward(*_args: Any, **_kwargs: Any) -> None:
        activations = torch.empty(1)
        held.append(weakref.ref(activations))
        raise MemoryError

    def restore_later(snapshot: Any) -> None:
        held.append(held[0])
        assert held[0]() is None
        restore(snapshot)

    assert isinstance(read(context, DOCUMENT, should_stop=after(2)), ReadFinished)
    with monkeypatch.context() as patch:
        patch.setattr(context._loaded.model.model.layers[-1], "forward", forward)
        patch.setattr(context.cache, "restore", restore_later)
        assert isinstance(read(context), Failed)
    assert len(held) == 2
    assert isinstance(read(context), ReadFinished)
    context.close()


def no_memory(*_args: Any) -> None:
    raise MemoryError


def test_a_tokenizer_that_fails_leaves_the_context_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ready()
    before = context.num_tokens
    original = reading.tokenize_stepwise

    def tokenize(document: Document, *rest: Any) -> Any:
        if document.name == "bad":
            raise EngineError("This text has no tokens.")
        return original(document, *rest)

    monkeypatch.setattr(reading, "tokenize_stepwise", tokenize)
    failure = read(context, Document("good", "Fine."), Document("bad", "Bad."))
    assert isinstance(failure, Failed)
    assert failure.message == "This text has no tokens."
    assert (context.num_tokens, context.unread_tokens, len(context.documents)) == (before, 0, 1)
    assert isinstance(ask(context), AnswerFinished)
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


def test_a_full_disk_is_one_event_and_reading_goes_on_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = new_context(config=KIVConfig(hot_tokens=48, sink_tokens=4, prefill="exact", store=tmp_path))

    def full(*_arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.posix_fallocate", full)
        failure = read(context, DOCUMENT)
    assert isinstance(failure, Failed)
    assert isinstance(failure.error, CapacityError)
    assert str(tmp_path) in failure.message
    assert isinstance(read(context), ReadFinished)
    assert ids_of(context) == tokens(f"u:{TEXT}")
    context.close()
    assert list(tmp_path.iterdir()) == []


def test_going_on_does_not_need_the_disk_space_that_it_already_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = new_context(config=KIVConfig(hot_tokens=48, sink_tokens=4, prefill="exact", store=tmp_path))
    read(context, DOCUMENT, should_stop=after(3))
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=0))
    assert isinstance(read(context), ReadFinished)
    context.close()


@pytest.mark.parametrize("changes", [{"store": "folder"}, {"store_dtype": "int8"}], ids=["mapped", "int8"])
def test_other_stores_answer_too(changes: dict[str, Any], tmp_path: Path) -> None:
    if "store" in changes:
        changes = {"store": tmp_path / "deep" / "er"}
    plain = ready()
    config = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=16, prefill="exact", positions="true", **changes)
    other = ready(config=config)
    expected, got = probe(plain.cache, "llama"), probe(other.cache, "llama")
    torch.testing.assert_close(got, expected, atol=1e-5 if "store" in changes else 0.5, rtol=0)
    plain.close()
    other.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_reading_after_a_question_is_refused() -> None:
    context = new_context()
    read(context, DOCUMENT, should_stop=after(2))
    ask(context)
    before = ids_of(context)
    for documents in ([Document("late", "Late.")], []):  # the second: the rest of the document would follow the answer
        failure = read(context, *documents)
        assert isinstance(failure, Failed)
        assert isinstance(failure.error, ConfigError)
    assert ids_of(context) == before
    context.rewind(context.turns[0].start)
    assert isinstance(read(context), ReadFinished)
    assert ids_of(context) == tokens(f"u:{TEXT}")
    context.close()


def test_a_document_of_a_few_tokens() -> None:
    context = new_context()
    read(context, Document("tiny", "Hi"))
    answer = ask(context)
    assert (answer.reused_tokens, answer.prompt_tokens) == (4, len("u:Hi\n\nHow many?.a:"))
    assert all(passage.text == "Hi" for passage in answer.passages)
    context.close()


# -- answering ---------------------------------------------------------------------------------------------------------


def test_an_answer_counts_its_tokens() -> None:
    context = ready()
    before = context.num_tokens
    answer = ask(context)
    assert answer.finish_reason == "length"
    assert (answer.reused_tokens, answer.answer_tokens) == (before, 10)
    assert answer.prompt_tokens == before + len("\n\nHow many?.a:")
    assert answer.first_token_s > 0
    assert answer.decode_tokens_per_s > 0
    assert [(turn.start, turn.question, turn.answer) for turn in context.turns] == [(before, "How many?", answer.text)]
    context.close()


@pytest.mark.parametrize("family", [*GROWS, *FORGETS])
def test_follow_ups_read_nothing_again_and_continue_the_chat_as_rendered(family: str) -> None:
    context = ready(family)
    rendered = f"u:{TEXT}\n\n"
    for number in range(3):
        before = context.num_tokens
        waiting = len(context._unfed)
        answer = ask(context, f"Question {number}?")
        assert answer.reused_tokens == before
        assert answer.prompt_tokens - before == waiting + len(f"Question {number}?") + (5 if number == 0 else 6)
        rendered += ("" if number == 0 else "u:") + f"Question {number}?{END}a:{answer.text}{END}"
    expected = tokens(rendered)
    assert ids_of(context) == expected[: context.num_tokens]
    assert len(expected) - context.num_tokens <= 2  # the end of the turn, and the last token drawn
    context.close()


def test_the_models_own_end_finishes_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ready()
    script_tokens(monkeypatch, "So 5.", END)
    answer = ask(context)
    assert (answer.finish_reason, answer.text, answer.answer_tokens) == ("stop", "So 5.", 5)
    script_tokens(monkeypatch, "No.", END)
    ask(context, "Sure?")
    assert ids_of(context) == tokens(f"u:{TEXT}\n\nHow many?{END}a:So 5.{END}u:Sure?{END}a:No.")
    context.close()


def test_an_answer_may_end_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ready()
    script_tokens(monkeypatch, END)
    answer = ask(context)
    assert (answer.finish_reason, answer.text, answer.answer_tokens) == ("stop", "", 0)
    assert answer.first_token_s > 0
    assert answer.decode_tokens_per_s == 0
    context.close()


def script_tokens(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    """The sampler draws these texts, character by character; then any token."""
    script = iter([token for text in texts for token in tokens(text)])
    monkeypatch.setattr("kiv_engine.sampling.Sampler.next_token", lambda *_: next(script, 7))


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_users_stop_string_is_in_neither_answer_nor_context(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ready(family)
    script_tokens(monkeypatch, "Five bells. Then six.")
    sampling = SamplingConfig(stop=("Then",))
    answer = ask(context, sampling=sampling)
    assert (answer.finish_reason, answer.text) == ("stop_string", "Five bells. ")
    assert context.turns[-1].answer == answer.text
    script_tokens(monkeypatch, "Yes.", END)
    ask(context, "Sure?")
    assert ids_of(context) == tokens(f"u:{TEXT}\n\nHow many?{END}a:Five bells. {END}u:Sure?{END}a:Yes.")
    context.close()


def test_the_text_that_ends_answers_without_a_template_counts_as_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ready(template=None)
    script_tokens(monkeypatch, "Five.\n\nQuestion: and")
    answer = ask(context, sampling=SamplingConfig(stop=("six",)))
    assert (answer.finish_reason, answer.text) == ("stop", "Five.")
    script_tokens(monkeypatch, "Yes. six")
    answer = ask(context, "Sure?", sampling=SamplingConfig(stop=("six",)))
    assert (answer.finish_reason, answer.text) == ("stop_string", "Yes. ")
    chat = f"{TEXT}\n\nQuestion: How many?\nAnswer:Five.\n\nQuestion: Sure?\nAnswer:Yes. "
    assert ids_of(context) == tokens(chat)
    context.close()


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize("calls", [0, 1, 2, 5], ids=["at once", "in the question", "before the answer", "within it"])
def test_a_cancelled_answer_leaves_a_chat_that_goes_on(calls: int, family: str) -> None:
    context = ready(family)
    question = "?" * 700  # two blocks
    answer = ask(context, question, should_stop=after(calls))
    assert answer.finish_reason == "cancelled"
    assert answer.answer_tokens == max(0, calls - 2)
    follow = ask(context, "Sure?")
    chat = f"u:{TEXT}\n\n{question}{END}a:{answer.text}{END}u:Sure?{END}a:{follow.text}"
    assert ids_of(context) == tokens(chat)[: context.num_tokens]
    assert context.num_tokens == len(tokens(chat)) - 1
    context.close()


@pytest.mark.parametrize("family", [*GROWS, *FORGETS])
@pytest.mark.parametrize("forward", [0, 1, 4], ids=["first forward", "first token", "within the answer"])
def test_a_failed_question_leaves_the_context_as_it_was(
    family: str, forward: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ready(family)
    ask(context, "First?")
    before, turns, unfed = ids_of(context), list(context.turns), list(context._unfed)
    with monkeypatch.context() as patch:
        break_forward(patch, context, forward)
        failure = ask(context, "Second?")
    assert isinstance(failure, Failed)
    assert failure.message == "RuntimeError: the last layer broke"
    assert (ids_of(context), context.turns, context._unfed) == (before, turns, unfed)
    assert context.cache.num_tokens == len(before)
    spared = ready(family)
    ask(spared, "First?")
    assert_same(family, probe(context.cache, family), probe(spared.cache, family))
    for each in (context, spared):
        each.close()


def test_a_failed_first_question_without_documents_leaves_an_empty_context(monkeypatch: pytest.MonkeyPatch) -> None:
    for family in ("llama", "gemma3"):
        context = new_context(family)
        with monkeypatch.context() as patch:
            break_forward(patch, context, 0)
            assert isinstance(ask(context), Failed)
        assert (context.num_tokens, context.cache.num_tokens, context.turns) == (0, 0, [])
        fresh = new_context(family)
        assert ask(context).text == ask(fresh).text
        context.close()
        fresh.close()


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_an_answer_that_its_reader_drops_has_never_been(family: str) -> None:
    context = ready(family)
    before = ids_of(context)
    for event in context.ask("How many?", SHORT):
        if isinstance(event, TextDelta):
            break
    gc.collect()  # the generator is gone with its last reference
    assert (ids_of(context), context.turns) == (before, [])
    spared = ready(family)
    assert ask(context).text == ask(spared).text
    context.close()
    spared.close()


def test_a_reader_that_leaves_at_the_terminal_event_keeps_the_answer() -> None:
    context = ready()
    for event in context.ask("How many?", SHORT):
        if isinstance(event, AnswerFinished):
            break
    gc.collect()
    assert len(context.turns) == 1
    context.close()


def test_without_a_record_the_answer_is_the_same() -> None:
    context, plain = ready(), ready()
    events = list(plain.ask("How many?", SHORT, record=False))
    assert not any(isinstance(event, HitsDrained) for event in events)
    assert plain.turns[0].hits == events[-1].passages == ()
    asked = ask(context)
    assert asked.passages
    assert (events[-1].text, events[-1].answer_tokens) == (asked.text, asked.answer_tokens)
    assert replace(context.turns[0], hits=()) == plain.turns[0]
    context.close()
    plain.close()


def test_hits_come_while_the_answer_is_written_and_are_those_of_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiv_engine.answer.HITS_INTERVAL_S", 0)
    context, spared = ready(), ready()
    events = list(context.ask("How many?", SHORT))
    drained = [hits for event in events if isinstance(event, HitsDrained) for hits in event.hits]
    assert all(one is other for one, other in zip(drained, context.turns[0].hits, strict=True))
    kinds = [type(event) for event in events if isinstance(event, TextDelta | HitsDrained)]
    assert kinds == [TextDelta, HitsDrained] * 10 + [HitsDrained]
    positions = sorted({hits.position for hits in drained})
    assert positions == list(range(context.turns[0].answer_start - 1, context.turns[0].end))
    monkeypatch.setattr("kiv_engine.answer.HITS_INTERVAL_S", float("inf"))
    ask(spared)
    for one, other in zip(drained, spared.turns[0].hits, strict=True):
        assert (one.layer, one.position) == (other.layer, other.position)
        torch.testing.assert_close(one.token_mass(), other.token_mass())
    context.close()
    spared.close()


@pytest.mark.parametrize("family", [*GROWS, *FORGETS])
def test_a_turn_that_is_replayed_is_as_if_it_had_been_asked(family: str) -> None:
    """With all cold tokens retrieved, so that it makes no difference that an answer is fed in blocks."""
    config = replace(SMALL, retrieved_tokens=4_096)
    asked, replayed = ready(family, config), ready(family, config)
    first = ask(asked)
    replayed.replay("How many?", first.text)
    assert ids_of(replayed) == ids_of(asked)
    assert replace(replayed.turns[0], hits=()) == replace(asked.turns[0], hits=())
    assert ask(replayed, "Why?").text == ask(asked, "Why?").text
    replayed.rewind(replayed.turns[0].start)
    replayed.replay("Who?", "")
    assert (replayed.turns[0].question, replayed.turns[0].answer) == ("Who?", "")
    assert isinstance(ask(replayed, "Why?"), AnswerFinished)
    asked.close()
    replayed.close()


def test_a_replay_that_fails_has_never_been(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ready()
    before = ids_of(context)
    forward = CachedTokens.feed
    calls = itertools.count()

    def fail_later(self: Context, ids: Any) -> torch.Tensor:
        if next(calls) == 1:
            raise MemoryError
        return forward(self, ids)

    monkeypatch.setattr(CachedTokens, "feed", fail_later)
    with pytest.raises(MemoryError):
        context.replay("How many?", "many " * 200)
    assert (ids_of(context), context.turns, context._unfed) == (before, [], [])
    context.close()


def test_a_long_question_is_read_in_blocks() -> None:
    """Longer than a block and than the hot window; its beginning is cold before it ends."""
    context = ready()
    question = TEXT + "?" * 226
    events = list(context.ask(question, SHORT))
    progress = [event for event in events if isinstance(event, ReadProgress)]
    total = context.turns[0].answer_start
    assert [event.tokens_total - event.tokens_read for event in progress] == [1_205 - 512, 1_205 - 1_024, 1]
    assert isinstance(events[-1], AnswerFinished)
    assert events[-1].prompt_tokens == total == len(tokens(f"u:{TEXT}\n\n{question}{END}a:"))
    context.close()


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(question: str) -> None:
    context = ready()
    failure = ask(context, question)
    assert isinstance(failure, Failed)
    assert failure.message == "The question is empty."
    assert context.turns == []
    context.close()


def test_a_seed_repeats_an_answer_and_another_does_not() -> None:
    context = ready()
    start = context.num_tokens
    texts = []
    for seed in (1, 1, 2):
        texts.append(ask(context, sampling=SamplingConfig(temperature=1.0, seed=seed, max_new_tokens=20)).text)
        context.rewind(start)
    assert texts[0] == texts[1] != texts[2]
    context.close()


def test_a_chat_without_documents() -> None:
    context = new_context()
    first = ask(context, "Hello?")
    second = ask(context, "Again?")
    assert first.reused_tokens == 0
    chat = f"u:Hello?{END}a:{first.text}{END}u:Again?{END}a:{second.text}"
    assert ids_of(context) == tokens(chat)[:-1]
    assert first.passages == second.passages == ()
    context.close()


def test_a_system_prompt_stands_first() -> None:
    context = ready(system="Be brief.")
    answer = ask(context)
    assert ids_of(context) == tokens(f"s:Be brief.{END}u:{TEXT}\n\nHow many?{END}a:{answer.text}")[:-1]
    context.close()


def test_only_the_newest_turn_has_hits() -> None:
    context = ready()
    for number in range(3):
        ask(context)
        assert [bool(turn.hits) for turn in context.turns] == [False] * number + [True]
    context.replay("And?", "No.")
    assert not any(turn.hits for turn in context.turns)
    context.close()


# -- going back --------------------------------------------------------------------------------------------------------


def replayed(family: str, ids: list[int], document_end: int, turns: list[Turn]) -> KIVCache:
    """A cache that was fed these ids in the same forwards, and never anything else: obvious code."""
    cache = KIVCache(model_of(family), SMALL)
    cuts = [*range(CHUNK, document_end, CHUNK), document_end]
    for turn in turns:
        cuts += range(turn.start + 512, turn.answer_start - 1, 512)
        cuts += [*range(turn.answer_start - 1, turn.end), turn.end]
    cuts = sorted({0, len(ids), *(cut for cut in cuts if cut < len(ids))})
    with torch.inference_mode():
        for first, end in itertools.pairwise(cuts):
            model_of(family)(torch.tensor([ids[first:end]]), past_key_values=cache)
    return cache


@pytest.mark.parametrize("family", [*GROWS, *FORGETS, "mistral_sliding"])
def test_l4_every_earlier_length_is_as_if_nothing_had_followed(family: str) -> None:
    context = ready(family)
    document_end = context.num_tokens
    ask(context, "First? " * 9)
    ask(context, "Second?")
    ids, turns = ids_of(context), list(context.turns)
    first, second = turns
    cuts = [
        second.end - 3,  # in an answer
        second.answer_start - 4,  # in a question
        first.end,  # between turns
        first.answer_start + 2,
        first.start + 20,
        document_end,
        document_end - 5,
        3 * CHUNK + 30,
        SNAPSHOT,
        2,  # after the prefix
        1,
        0,
    ]
    for cut in cuts:
        context.rewind(cut)
        assert (ids_of(context), context.cache.num_tokens) == (ids[:cut], cut)
        assert context.unread_tokens == max(0, document_end - cut)
        obvious = replayed(family, ids[:cut], document_end, turns)
        assert_same(family, probe(context.cache, family), probe(obvious, family))
        with torch.inference_mode():
            obvious.close()
        context.cache.crop(-3) if not context.cache.forgetting_layers else restored(context, cut)
    context.close()


def restored(context: Context, length: int) -> None:
    """Take back the probe, which the context knows nothing of."""
    snapshots = [snapshot for snapshot in context._tokens.snapshots if snapshot.num_tokens == length]
    with torch.inference_mode():
        context.cache.restore(snapshots[0]) if snapshots else context.cache.reset()


@pytest.mark.parametrize("family", [*GROWS, *FORGETS])
@pytest.mark.parametrize("place", ["start", "document", "turn", "question", "answer"])
def test_after_going_back_the_rest_comes_out_as_before(family: str, place: str) -> None:
    context = ready(family)
    document_end = context.num_tokens
    first, second = ask(context, "First?"), ask(context, "Second?")
    ids, turns = ids_of(context), list(context.turns)
    cut = {
        "start": 0,
        "document": 300,
        "turn": turns[1].start,
        "question": turns[0].start,
        "answer": turns[0].start,
    }[place]
    if place in ("question", "answer"):  # first into the middle, then to its start
        context.rewind(turns[0].answer_start + (3 if place == "answer" else -3))
        assert context.turns[0].answer == (first.text[:3] if place == "answer" else "")
        assert all(hits.position < context.num_tokens for hits in context.turns[0].hits)
    context.rewind(cut)
    if cut < document_end:
        assert isinstance(read(context), ReadFinished)
    if place != "turn":
        assert ask(context, "First?").text == first.text
    assert ask(context, "Second?").text == second.text
    assert ids_of(context) == ids
    context.close()


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize("place", ["question", "answer", "end"])
def test_a_turn_cut_short_is_followed_up_like_a_stopped_one(family: str, place: str) -> None:
    context = ready(family)
    first = ask(context, "First?")
    ask(context, "Second?")
    turn = context.turns[0]
    context.rewind({"question": turn.start + 4, "answer": turn.answer_start + 4, "end": turn.end}[place])
    kept = {"question": "", "answer": first.text[:4], "end": first.text}[place]
    assert context.turns[0].answer == kept
    third = ask(context, "Third?")
    chat = tokens(f"u:{TEXT}\n\nFirst?{END}a:{kept}{END}u:Third?{END}a:{third.text}")
    assert ids_of(context) == chat[:-1]
    context.close()


def test_going_back_beyond_either_end_is_refused() -> None:
    context = ready()
    for length in (-1, context.num_tokens + 1):
        with pytest.raises(ConfigError, match=r"outside the context's 0 to 976 tokens"):
            context.rewind(length)
    context.rewind(context.num_tokens)
    context.close()


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_snapshots_are_taken_while_reading_at_its_end_and_after_turns(family: str) -> None:
    context = ready(family)
    end = context.num_tokens
    ask(context)
    expected = [*range(SNAPSHOT, end, SNAPSHOT), end, context.num_tokens]
    lengths = expected if family in FORGETS else []
    assert [snapshot.num_tokens for snapshot in context._tokens.snapshots] == lengths
    context.rewind(end)
    assert [snapshot.num_tokens for snapshot in context._tokens.snapshots] == lengths[:-1]
    context.close()


def test_a_long_chat_keeps_few_snapshots_and_still_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    context, early = ready("gemma3"), ready("gemma3")
    most = 4 * context._tokens.snapshots[-1].nbytes
    monkeypatch.setattr("kiv_engine.cached_tokens.SNAPSHOT_BYTES", most)
    for number in range(12):
        ask(context, f"Question {number}?")
        assert sum(snapshot.nbytes for snapshot in context._tokens.snapshots) <= most
        assert context._tokens.snapshots[-1].num_tokens == context.num_tokens
    ask(early, "Question 0?")
    context.rewind(context.turns[1].start)
    assert ask(context, "Another?").text == ask(early, "Another?").text
    assert ids_of(context) == ids_of(early)
    context.close()
    early.close()


def test_going_back_reads_again_only_from_the_nearest_snapshot() -> None:
    context = ready("gemma3")
    fed = []
    original = context._tokens.feed
    context._tokens.feed = lambda ids: (fed.append(len(ids)), original(ids))[1]  # type: ignore[method-assign]
    context.rewind(3 * SNAPSHOT + 140)
    assert fed == [CHUNK, 12]
    del context._tokens.feed


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_question_that_is_asked_anew_early_in_a_long_chat_reads_only_itself(family: str) -> None:
    context, early = ready(family), ready(family)
    for number in range(24):
        ask(context, f"Question {number}: how many bells did the {number}th ship bring?")
        if number < 3:
            ask(early, f"Question {number}: how many bells did the {number}th ship bring?")
    turn, length = context.turns[3], context.num_tokens
    cold = context.cache.growing_layers[0].store.num_tokens
    assert turn.start < SMALL.sink_tokens + cold < length, "it has left the hot window"
    fed: list[int] = []
    original = context._tokens.feed
    context._tokens.feed = lambda ids: (fed.append(len(ids)), original(ids))[1]  # type: ignore[method-assign]
    context.rewind(turn.start)
    assert fed == [], "everything before it is still there"
    answer = ask(context, "Another: which ship came last?")
    assert sum(fed) == context.num_tokens - turn.start
    assert answer.reused_tokens == turn.start
    assert answer.text == ask(early, "Another: which ship came last?").text
    assert ids_of(context) == ids_of(early)
    context._tokens.feed = original  # type: ignore[method-assign]
    context.close()
    early.close()


# -- contexts side by side, evidence, memory ---------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_l6_two_contexts_on_one_model_do_not_see_each_other(family: str) -> None:
    other_text = Document("other", TEXT[::-1])
    alone = []
    for document in (DOCUMENT, other_text):
        context = new_context(family)
        read(context, document)
        alone.append(ask(context))
        context.close()
    pair = [new_context(family), new_context(family)]
    alternate(pair[0].read(DOCUMENT), pair[1].read(other_text))
    events = alternate(pair[0].ask("How many?", SHORT), pair[1].ask("How many?", SHORT))
    for index, context in enumerate(pair):
        last = events[index][-1]
        assert isinstance(last, AnswerFinished)
        assert (last.text, last.passages) == (alone[index].text, alone[index].passages)
        context.close()


def alternate(*generators: Iterator[Any]) -> list[list[Any]]:
    """Advance the generators in turn until all have ended; what each yielded."""
    yielded: list[list[Any]] = [[] for _ in generators]
    running = list(enumerate(generators))
    while running:
        for index, generator in list(running):
            event = next(generator, None)
            if event is None:
                running.remove((index, generator))
            else:
                yielded[index].append(event)
    return yielded


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_l7_passages_are_what_the_recorded_hits_say(family: str) -> None:
    context = ready(family)
    answer = ask(context)
    hits = context.turns[0].hits
    layers = {record.layer for record in hits}
    assert {record.position for record in hits} == set(range(context.turns[0].answer_start - 1, context.num_tokens))
    mass = torch.zeros(context.num_tokens)
    for record in hits:  # the obvious way: one number at a time
        heads = record.cold_mass.shape[0]
        for head in range(heads):
            for token, weight in zip(record.cold_tokens[head], record.cold_mass[head], strict=True):
                mass[token] += weight / heads / len(layers)
        for token, weight in zip(record.local_tokens, record.local_mass, strict=True):
            mass[token] += weight / len(layers)
    expected = rank_passages(mass, context.documents, SMALL.sink_tokens, len(answer.passages))
    assert answer.passages
    assert [(each.start, each.end) for each in answer.passages] == [(each.start, each.end) for each in expected]
    torch.testing.assert_close([each.weight for each in answer.passages], [each.weight for each in expected])
    assert 0 < sum(each.weight for each in answer.passages) <= 1 + 1e-6
    assert all(each.text == TEXT[each.start : each.end] for each in answer.passages)
    context.close()


def test_the_question_is_no_evidence_though_a_document_was_not_read_to_its_end() -> None:
    context = new_context()
    read(context, DOCUMENT, should_stop=after(2))
    answer = ask(context)
    assert answer.passages
    assert all(passage.token_end <= 2 * CHUNK for passage in answer.passages)
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
