"""A question asked of each section, with an engine that says what a test wants, and with the real one."""

import re
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import pytest

from app import section_answers
from app.engine_session import EngineSession
from app.reports import AnswerChecked, SectionProgress
from app.requests import ArchiveSource, Ask, LoadModel, Read, TextSource
from app.section_answers import ABOUT_NOTHING, ask_by_section, heading, without_headings
from kiv_engine.config import SamplingConfig
from kiv_engine.document import Document
from kiv_engine.events import AnswerFinished, Failed, ReadFinished, TextDelta
from kiv_engine.sections import Section
from kiv_engine.stopping import never

SECTION_TOKENS = 512
NAMES = ("Anna Thornwick", "Bela Orsted", "Carl Umber")
FILLER = "The geese were counted at noon, and it rained on the harbour for the rest of the day. " * 20
TEXT = "\n\n".join(f"{FILLER}\n\nThe Golden Crumb barbershop is run by {name}.\n\n{FILLER}" for name in NAMES)
QUESTION = "Who runs the Golden Crumb barbershop?"
REFUSAL = "I find nothing of that."
FOUND = "The second one says that Anna Thornwick runs it, since 1503."


class ScriptedContext:
    """A context that answers what its engine says; a word and its blank are a token."""

    num_tokens = 100

    def __init__(self, engine: "ScriptedEngine") -> None:
        self._engine = engine
        self._section = ""

    def read(self, document: Document, should_stop: Callable[[], bool]) -> Iterator[ReadFinished]:
        self._section = document.text
        yield ReadFinished(100, 100, 0.1, should_stop(), "", "")

    def ask(
        self, question: str, sampling: SamplingConfig, should_stop: Callable[[], bool]
    ) -> Iterator[TextDelta | AnswerFinished | Failed]:
        self._engine.asked.append(question)
        answer = self._engine.answer(self._section, question)
        if isinstance(answer, Failed):
            yield answer
            return
        said, reason, words = "", "stop", re.findall(r"\S+\s*", answer)
        for number, word in enumerate(words, 1):
            if should_stop():
                reason = "cancelled"
                break
            said += word
            yield TextDelta(word, number)
        yield AnswerFinished(said, reason, 0, 0, len(words), 0.1, 50.0, ())

    def close(self) -> None:
        self._engine.num_closed += 1


class ScriptedEngine:
    """Answers each section as it is told to, and what is about nothing with one of `nothing` in turn."""

    def __init__(self, answers: Sequence[str | Failed], nothing: Sequence[str] = (REFUSAL,)) -> None:
        self._answers, self._nothing = answers, nothing
        self.asked: list[str] = []
        self.num_opened = self.num_closed = 0

    def new_context(self, _config: object, system: str | None = None) -> ScriptedContext:
        self.num_opened += 1
        return ScriptedContext(self)

    def answer(self, section: str, question: str) -> str | Failed:
        if question in ABOUT_NOTHING:
            return self._nothing[ABOUT_NOTHING.index(question) % len(self._nothing)]
        return self._answers[int(section.split("section ")[1])]


def asked_of(
    monkeypatch: pytest.MonkeyPatch, engine: ScriptedEngine, count: int, should_stop: Callable[[], bool] = never
) -> list[object]:
    """All events of a question that is asked of so many sections; the terminal one is the last."""
    sections = [("town", f"section {number}", Section(0, 9, 100, "")) for number in range(count)]
    monkeypatch.setattr(section_answers, "sections_read", lambda _context: sections)
    context = SimpleNamespace(documents=[None])
    events = list(ask_by_section(engine, context, Ask(1, 0, QUESTION), should_stop))  # type: ignore[arg-type]
    assert engine.num_closed == engine.num_opened
    return events


def shown(events: Sequence[object]) -> list[str]:
    return [event.text for event in events if isinstance(event, TextDelta)]


def test_sections_in_which_nothing_was_found_have_no_text_and_their_numbers_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [REFUSAL] * 7 + [FOUND] + ["i find  nothing of that"] * 16 + [""]
    engine = ScriptedEngine(answers)
    events = asked_of(monkeypatch, engine, 25)
    *_, sections, answer = events
    assert isinstance(answer, AnswerFinished)
    assert answer.text == f"#### Section 8 of 25\n\n{FOUND}"
    assert sections == SectionProgress(25, 25, (*range(1, 8), *range(9, 26)))
    assert "".join(shown(events)).strip() == answer.text, "nothing is shown and then taken away"
    assert len(shown(events)) > len(FOUND.split()) / 2, "what is found is shown word by word"
    silent = [len(event.silent) for event in events if isinstance(event, SectionProgress)]
    assert silent == [*range(8), *range(7, 25)], "how many had nothing is told on the way"
    assert engine.asked[len(ABOUT_NOTHING) :] == [QUESTION] * 25, "the question is asked as it was typed"


def test_where_no_section_says_anything_there_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    *events, sections, answer = asked_of(monkeypatch, ScriptedEngine([REFUSAL] * 25), 25)
    assert isinstance(answer, AnswerFinished)
    assert (answer.text, shown(events)) == ("", [])
    assert sections == SectionProgress(25, 25, tuple(range(1, 26)))


def test_an_answer_that_only_begins_like_a_refusal_is_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    longer, shorter = REFUSAL.replace(".", ", but of geese."), "I find nothing"
    events = asked_of(monkeypatch, ScriptedEngine([longer, shorter, REFUSAL]), 3)
    *_, sections, answer = events
    assert isinstance(answer, AnswerFinished)
    assert answer.text == f"#### Section 1 of 3\n\n{longer}\n\n#### Section 2 of 3\n\n{shorter}"
    assert "".join(shown(events)).strip() == answer.text
    assert sections == SectionProgress(3, 3, (3,))


def test_an_answer_that_comes_again_is_shown_once_and_its_places_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that words its refusals otherwise where a section is read: which of its answers are some is not known."""
    other = "The text does not mention a barbershop."
    events = asked_of(monkeypatch, ScriptedEngine([other, FOUND, other, other, FOUND]), 5)
    *_, sections, answer = events
    assert isinstance(answer, AnswerFinished)
    assert answer.text == f"#### Section 1 of 5\n\n{other}\n\n#### Section 2 of 5\n\n{FOUND}"
    assert "".join(shown(events)).strip() == answer.text
    assert sections == SectionProgress(5, 5, (), ((1, (3, 4)), (2, (5,))))


def test_a_long_answer_has_its_text_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, sections, answer = asked_of(monkeypatch, ScriptedEngine([FOUND * 9] * 2), 2)
    assert isinstance(answer, AnswerFinished)
    assert answer.text.count(FOUND * 9) == 2
    assert sections == SectionProgress(2, 2)


@pytest.mark.parametrize("nothing", [("Red.", "Noon."), ("Noon.", "Red."), ("", "Red."), ("Red.", ""), ("red " * 90,)])
def test_only_a_set_phrase_is_taken_for_a_refusal(monkeypatch: pytest.MonkeyPatch, nothing: tuple[str, ...]) -> None:
    """What a model makes up about what does not exist may be true of a section."""
    *_, sections, answer = asked_of(monkeypatch, ScriptedEngine(["Red."], nothing), 1)
    assert isinstance(answer, AnswerFinished)
    assert answer.text == "#### Section 1 of 1\n\nRed."
    assert sections == SectionProgress(1, 1)


@pytest.mark.parametrize(
    ("words", "text"), [(0, ""), (2, ""), (8, "#### Section 3 of 4\n\nThe second one says that Anna Thornwick runs")]
)
def test_stopping_keeps_what_was_shown_and_tells_how_many_sections_ended(
    monkeypatch: pytest.MonkeyPatch, words: int, text: str
) -> None:
    """Stopped in the third section after so many words; those that may still become a refusal were never shown."""
    third = FOUND if text else REFUSAL
    engine, said = ScriptedEngine([REFUSAL, REFUSAL, third, FOUND]), iter(range(words))
    reading = len(ABOUT_NOTHING) + 3

    def should_stop() -> bool:
        return len(engine.asked) >= reading and next(said, None) is None

    *_, sections, answer = asked_of(monkeypatch, engine, 4, should_stop)
    assert isinstance(answer, AnswerFinished)
    assert (answer.text, answer.finish_reason) == (text, "cancelled")
    assert sections == SectionProgress(4, 2, (1, 2))


def test_a_failure_comes_after_what_became_of_the_sections_before(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Failed("The disk is gone.", OSError())
    *_, sections, last = asked_of(monkeypatch, ScriptedEngine([REFUSAL, failed, FOUND]), 3)
    assert sections == SectionProgress(3, 1, (1,))
    assert last == failed


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
    *begun, sections = [event for event in events if isinstance(event, SectionProgress)]
    answer = events[-1]
    assert isinstance(answer, AnswerFinished)
    total = -(-context.document_tokens // SECTION_TOKENS)
    assert [event.ended for event in begun] == list(range(begun[0].total))
    assert sections.ended == sections.total
    assert total <= begun[0].total <= 2 * total
    assert "".join(event.text for event in events if isinstance(event, TextDelta)).strip() == answer.text
    headings = re.findall(r"^#### Section (\d+) of \d+$", answer.text, re.MULTILINE)
    told = [*map(int, headings), *sections.silent, *(number for _, numbers in sections.again for number in numbers)]
    assert sorted(told) == list(range(1, begun[0].total + 1)), "no section is dropped in silence"
    assert sections.silent, "geese and rain alone tell nothing of the barbershop"
    assert "do not find" not in answer.text
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


def test_the_built_in_models_words_for_having_found_nothing_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section_answers, "SECTION_TOKENS", SECTION_TOKENS)
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session = EngineSession()
    list(session.handle(LoadModel(), never))
    list(session.handle(Read(1, (ArchiveSource(2_000),)), never))
    *_, sections, _, answer = session.handle(Ask(1, 0, "Which code opens locker 160?", by_section=True), never)
    assert isinstance(sections, SectionProgress)
    assert isinstance(answer, AnswerFinished)
    assert sections.total >= 4
    assert sections.silent == tuple(range(1, sections.total + 1))
    assert answer.text == ""
    session.close()
    torch.set_num_threads(threads)


def test_headings_in_any_language_are_not_what_the_model_said() -> None:
    words = "Abschnitt {0:,} von {1:,} (ganz)"
    above = heading(words.format(1_003, 2_000), "book.txt", "").strip()
    said = "#### 3 of 4\n\nSection 3 of 5 has 41 geese."
    checked = without_headings(f"{above}\n\n{said}", words)
    assert above == "#### Abschnitt 1,003 von 2,000 (ganz) · book.txt"
    assert checked == f"{' ' * len(above)}\n\n{said}"


def test_what_was_asked_does_not_count_as_read() -> None:
    tiny = pytest.importorskip("tests.engine.tiny_context", reason="the engine needs torch")
    context = tiny.new_context()
    assert isinstance(tiny.read(context, tiny.DOCUMENT, up_to=300), ReadFinished)
    before = list(section_answers.sections_read(context))
    assert sum(section.tokens for _name, _text, section in before) == 300 - len("u:")
    assert isinstance(tiny.ask(context), AnswerFinished)
    assert list(section_answers.sections_read(context)) == before
    context.close()
