"""Contexts: going back leaves no trace, several do not see each other, and passages say what was used."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from kiv_engine.cache import KIVCache
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.errors import ConfigError
from kiv_engine.events import AnswerFinished, ReadFinished
from kiv_engine.passages import rank_passages
from kiv_engine.turn import Turn
from tests.engine.families import model_of
from tests.engine.tiny_chat import END
from tests.engine.tiny_context import (
    CHUNK,
    DOCUMENT,
    FORGETS,
    GROWS,
    SHORT,
    SMALL,
    SNAPSHOT,
    TEXT,
    after,
    ask,
    assert_same,
    ids_of,
    new_context,
    probe,
    read,
    ready,
    tokens,
)

pytestmark = pytest.mark.usefixtures("one_thread", "small_steps", "all_contexts_gone")


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
    context._tokens.feed = lambda ids, *how: (fed.append(len(ids)), original(ids, *how))[1]  # type: ignore[method-assign]
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
    context._tokens.feed = lambda ids, *how: (fed.append(len(ids)), original(ids, *how))[1]  # type: ignore[method-assign]
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


# -- contexts side by side, evidence -----------------------------------------------------------------------------------


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


def test_going_back_to_a_question_that_was_stopped_at_once_forgets_it() -> None:
    context, same = ready(), ready()
    length = context.num_tokens
    assert ask(context, "Where?", should_stop=lambda: True).finish_reason == "cancelled"
    assert (context.num_tokens, len(context.turns)) == (length, 1)
    context.rewind(length)
    assert context.turns == []
    assert (ask(context).text, ids_of(context)) == (ask(same).text, ids_of(same))
    context.close()
    same.close()


def test_the_question_is_no_evidence_though_a_document_was_not_read_to_its_end() -> None:
    context = new_context()
    read(context, DOCUMENT, should_stop=after(2, context))
    answer = ask(context)
    assert answer.passages
    assert all(passage.token_end <= 2 * CHUNK for passage in answer.passages)
    context.close()
