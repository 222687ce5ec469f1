"""Reading: what it yields, that it stops and goes on as if it had not, and what it leaves where it fails."""

import errno
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kiv_engine import policy, reading
from kiv_engine.config import KIVConfig
from kiv_engine.document import Document
from kiv_engine.errors import CapacityError, ConfigError, EngineError
from kiv_engine.events import AnswerFinished, Failed, ReadFinished, ReadProgress, TokenizeProgress
from kiv_engine.policy import AUTO_EXACT_TOKENS
from kiv_engine.reading import Reader
from tests.engine.tiny_chat import END
from tests.engine.tiny_context import (
    CHUNK,
    DOCUMENT,
    FORGETS,
    GROWS,
    SNAPSHOT,
    TEXT,
    after,
    after_calls,
    ask,
    assert_same,
    break_forward,
    ids_of,
    new_context,
    probe,
    read,
    ready,
    tokens,
)

pytestmark = pytest.mark.usefixtures("one_thread", "small_steps", "all_contexts_gone")


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


def test_reading_stops_at_the_length_that_is_asked_for_and_goes_on_as_if_it_had_not() -> None:
    context, whole, total = new_context(), new_context(), len(TEXT) + len("u:")
    end = CHUNK + CHUNK // 2 + 1
    *_, last_progress, last = context.read(DOCUMENT, up_to=end)
    assert isinstance(last_progress, ReadProgress)
    assert (last_progress.tokens_read, last_progress.tokens_total, last_progress.eta_s) == (end, total, 0)
    assert isinstance(last, ReadFinished)
    assert (last.tokens_read, last.tokens_total, last.stopped) == (end, total, False)
    assert (context.num_tokens, context.unread_tokens) == (end, total - end)
    answered = ask(context)
    assert isinstance(answered, AnswerFinished)
    context.rewind(end)
    assert [type(event) for event in context.read(up_to=end - 1)] == [ReadFinished], "what is read is not taken back"
    assert context.num_tokens == end
    assert isinstance(read(context, up_to=total + 1), ReadFinished)
    read(whole, DOCUMENT)
    assert ids_of(context) == ids_of(whole)
    assert_same("llama", probe(context.cache, "llama"), probe(whole.cache, "llama"))
    context.close()
    whole.close()


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

    def feed_slowly(reader: Reader, *options: Any) -> None:
        feed(reader, *options)
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

    def feed_in_a_second(reader: Reader, *options: Any) -> None:
        feed(reader, *options)
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
    first = read(stopped, DOCUMENT, should_stop=after(3, stopped))
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
    events = list(context.read(DOCUMENT, long, should_stop=after_calls(1)))
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

    assert isinstance(read(context, DOCUMENT, should_stop=after(2, context)), ReadFinished)
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
    read(context, DOCUMENT, should_stop=after(3, context))
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
    read(context, DOCUMENT, should_stop=after(2, context))
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
