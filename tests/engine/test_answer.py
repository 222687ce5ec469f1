"""Answers: what asking yields, what ends it, and that a question that fails or is dropped has never been."""

import gc
import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from kiv_engine.cached_tokens import CachedTokens
from kiv_engine.config import SamplingConfig
from kiv_engine.context import Context
from kiv_engine.errors import StoppedError
from kiv_engine.events import AnswerFinished, Failed, ReadProgress, TextDelta
from kiv_engine.hits import HitsDrained
from tests.engine.tiny_chat import END
from tests.engine.tiny_context import (
    FORGETS,
    GROWS,
    SHORT,
    SMALL,
    TEXT,
    after,
    ask,
    assert_same,
    break_forward,
    ids_of,
    new_context,
    probe,
    ready,
    tokens,
)

pytestmark = pytest.mark.usefixtures("one_thread", "small_steps", "all_contexts_gone")


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
@pytest.mark.parametrize("forwards", [0, 1, 2, 5], ids=["at once", "in the question", "before the answer", "within it"])
def test_a_cancelled_answer_leaves_a_chat_that_goes_on(forwards: int, family: str) -> None:
    context = ready(family)
    question = "?" * 700  # two blocks
    answer = ask(context, question, should_stop=after(forwards, context))
    assert answer.finish_reason == "cancelled"
    assert answer.answer_tokens == max(0, forwards - 2)
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
    assert replayed.tokens_to_replay([]) == 0
    before, said = replayed.num_tokens, [("How many?", first.text), ("Why?", "many " * 700)]
    tokens, read = replayed.tokens_to_replay(said), list[int]()
    for question, answer in said:
        replayed.replay(question, answer, on_tokens=read.append)
    assert read[-1] == replayed.num_tokens == before + tokens
    assert len(read) > len(said), "a long answer is heard of in between"
    replayed.rewind(replayed.turns[1].start)
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

    def fail_later(self: Context, *what: Any) -> torch.Tensor:
        if next(calls) == 1:
            raise MemoryError
        return forward(self, *what)

    monkeypatch.setattr(CachedTokens, "feed", fail_later)
    with pytest.raises(MemoryError):
        context.replay("How many?", "many " * 200)
    assert (ids_of(context), context.turns, context._unfed) == (before, [], [])
    context.close()


def test_a_replay_that_is_stopped_has_never_been() -> None:
    context = ready()
    before = ids_of(context)
    asked = iter((False, True))
    with pytest.raises(StoppedError):
        context.replay("How many?", "many " * 200, lambda: next(asked))
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
