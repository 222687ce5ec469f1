"""The engine: one model, any number of contexts, with the embedded model."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import kiv_engine
from kiv_engine import Engine, KIVConfig, SamplingConfig, speed
from kiv_engine import engine as engine_module
from kiv_engine.archive import Archive, write_archive
from kiv_engine.document import Document
from kiv_engine.errors import ModelNotFoundError
from kiv_engine.events import AnswerFinished, ReadFinished
from kiv_engine.records import Record
from kiv_engine.speed import ReadRates

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = KIVConfig(hot_tokens=512, retrieved_tokens=64)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load()


@pytest.fixture(scope="module")
def archive(engine: Engine) -> Archive:
    return write_archive(2_000, engine.count_tokens)


def test_the_package_offers_the_engine_and_the_cache() -> None:
    assert {name: getattr(kiv_engine, name) for name in kiv_engine.__all__}["Engine"] is Engine
    with pytest.raises(AttributeError, match="no attribute 'Motor'"):
        _ = kiv_engine.Motor


def test_tokens_are_counted_without_control_tokens(engine: Engine) -> None:
    counts = engine.count_tokens(["", "a", "By the way, the harbor is open."])
    assert counts[:2] == [0, 1]
    ids = engine.loaded.tokenizer("\nBy the way, the harbor is open.", add_special_tokens=False).input_ids
    assert counts[2] == len(ids) - 1


def test_an_unknown_model_is_an_error_of_the_engine() -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        Engine.load("./nowhere")


def test_the_time_that_reading_takes_is_told_by_the_last_reading_or_else_by_a_measurement(
    engine: Engine, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[tuple[str, str], Record] = {}
    monkeypatch.setattr(engine_module, "read_records", lambda: known)
    monkeypatch.setattr(speed, "measure_reading", lambda *_: ReadRates(1e-9, 1e-7))
    context = engine.new_context(CONFIG)
    reading = context.read(Document("archive", archive.text))
    total = next(reading).tokens_total
    planned = engine.seconds_to_read(context)
    assert planned is not None
    assert planned > 0
    record = Record("demo", "none", "cpu", 9_000, 1, 1, 1, 1, 1, read_tokens_per_s=50.0)
    known["demo", "none"] = record
    assert engine.seconds_to_read(context) == total / 50
    for up_to, wanted in ((100, 100), (0, 0), (total + 1, total)):
        assert engine.seconds_to_read(context, up_to) == wanted / 50
    known["demo", "none"] = replace(record, device="cuda")
    assert engine.seconds_to_read(context) == planned
    list(reading)
    assert engine.seconds_to_read(context) == 0
    kept: list[Record] = []
    monkeypatch.setattr(engine_module, "keep", kept.append)
    engine.record(context)
    assert kept[0].planned_read_tokens_per_s == pytest.approx(total / planned)
    context.close()


def test_a_document_is_read_and_asked_twice(engine: Engine, archive: Archive) -> None:
    context = engine.new_context(CONFIG)
    *_, finished = context.read(Document("archive", archive.text))
    assert isinstance(finished, ReadFinished)
    assert not finished.stopped
    for fact in archive.facts[:2]:
        before = context.num_tokens
        *_, answer = context.ask(fact.question, SamplingConfig(max_new_tokens=40))
        assert isinstance(answer, AnswerFinished)
        assert answer.reused_tokens == before
        assert answer.passages
        assert all(each.text == archive.text[each.start : each.end] for each in answer.passages)
    memory = context.footprint.parts()
    weights = Path(kiv_engine.__file__).parents[1] / "resources" / "models" / "kiv-demo" / "model.safetensors"
    assert memory.weights == pytest.approx(2 * weights.stat().st_size, rel=0.01)  # the file's bfloat16, as float32
    assert memory.total > memory.weights
    context.close()


def test_contexts_of_one_engine_work_side_by_side(engine: Engine, archive: Archive) -> None:
    sampling = SamplingConfig(max_new_tokens=12)
    texts = [Document("a", archive.text[:4_000]), Document("b", archive.text[3_000:6_000])]
    alone = [ask_alone(engine, text, sampling) for text in texts]
    contexts = [engine.new_context(CONFIG) for _ in texts]
    for context, text in zip(contexts, texts, strict=True):
        list(context.read(text))
    streams = [context.ask("Where is the goose?", sampling) for context in contexts]
    pairs = list(itertools.zip_longest(*streams))
    together = [[event for event in events if event is not None] for events in zip(*pairs, strict=True)]
    assert [answer_of(iter(events)) for events in together] == alone
    for context in contexts:
        context.close()


def ask_alone(engine: Engine, text: Document, sampling: SamplingConfig) -> str:
    context = engine.new_context(CONFIG)
    list(context.read(text))
    answer = answer_of(context.ask("Where is the goose?", sampling))
    context.close()
    return answer


def answer_of(events: Iterator[object]) -> str:
    *_, last = events
    assert isinstance(last, AnswerFinished), last
    return last.text


def test_regenerating_gives_the_same_answer(engine: Engine, archive: Archive) -> None:
    context = engine.new_context(CONFIG)
    list(context.read(Document("archive", archive.text)))
    first = answer_of(context.ask(archive.facts[0].question))
    context.rewind(context.turns[0].start)
    assert answer_of(context.ask(archive.facts[0].question)) == first
    context.close()
