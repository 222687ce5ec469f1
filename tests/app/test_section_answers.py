"""A question asked of each section, with the real engine and the built-in model."""

import re

import pytest

from app import section_answers
from app.engine_session import EngineSession
from app.quote_check import never
from app.reports import AnswerChecked, SectionBegun
from app.requests import Ask, LoadModel, Read, TextSource
from kiv_engine.config import SamplingConfig
from kiv_engine.events import AnswerFinished, TextDelta

SECTION_TOKENS = 512
NAMES = ("Anna Thornwick", "Bela Orsted", "Carl Umber")
FILLER = "The geese were counted at noon, and it rained on the harbour for the rest of the day. " * 20
TEXT = "\n\n".join(f"{FILLER}\n\nThe Golden Crumb barbershop is run by {name}.\n\n{FILLER}" for name in NAMES)
QUESTION = "Who runs the Golden Crumb barbershop?"


def test_every_section_is_read_in_full_and_answered_and_the_context_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(section_answers, "SECTION_TOKENS", SECTION_TOKENS)
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session = EngineSession()
    list(session.handle(LoadModel(), never))
    list(session.handle(Read(1, (TextSource("town", TEXT),)), never))
    context = session._contexts[1]
    before = (context.num_tokens, list(context.turns))
    events = list(
        session.handle(Ask(1, 0, QUESTION, sampling=SamplingConfig(max_new_tokens=24), by_section=True), never)
    )
    begun = [event for event in events if isinstance(event, SectionBegun)]
    answer = events[-1]
    assert isinstance(answer, AnswerFinished)
    total = -(-context.document_tokens // SECTION_TOKENS)
    assert [event.number for event in begun] == list(range(1, begun[0].total + 1))
    assert total <= begun[0].total <= 2 * total
    assert "".join(event.text for event in events if isinstance(event, TextDelta)).strip() == answer.text
    assert len(re.findall(r"^#### \d+ / \d+$", answer.text, re.MULTILINE)) == begun[0].total
    assert answer.prompt_tokens >= context.document_tokens
    assert answer.answer_tokens <= begun[0].total * 24
    assert answer.finish_reason == "stop"
    [checked] = [event for event in events if isinstance(event, AnswerChecked)]
    assert not any(claim.text.strip().isdigit() for claim in checked.claims), "numbers of sections are nobody's claim"
    assert (context.num_tokens, list(context.turns)) == before
    assert sum(name in answer.text for name in NAMES) >= 2, "one answer could have named one of them"
    seen: list[object] = []
    for event in session.handle(Ask(1, 1, QUESTION, by_section=True), lambda: len(seen) > 2):
        seen.append(event)
    assert isinstance(event, AnswerFinished)
    assert event.finish_reason == "cancelled"
    session.close()
    torch.set_num_threads(threads)
