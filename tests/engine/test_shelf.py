"""The shelf: what was read is found by what it is, damage goes, and the least recently used goes first."""

import os
from pathlib import Path

import pytest

from kiv_engine.config import KIVConfig
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.events import ReadFinished
from kiv_engine.saving import MANIFEST
from kiv_engine.shelf import Shelf
from tests.engine.tiny_chat import loaded

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = KIVConfig(hot_tokens=48, sink_tokens=4, retrieved_tokens=16, positions="true")


def kept(shelf: Shelf, document: Document) -> Path:
    """A document that was read and put on the shelf."""
    model = loaded("llama")
    place = shelf.place_of(model, SMALL, None, [document])
    context = Context(model, SMALL)
    context.save(place)
    assert isinstance(list(context.read(document))[-1], ReadFinished)
    context.close()
    return place


def test_a_place_is_that_of_model_configuration_prompt_and_documents(tmp_path: Path) -> None:
    shelf, log, note = Shelf(tmp_path), Document("log", "Seven bells."), Document("note", "Rain.")
    model = loaded("llama")
    places = [
        shelf.place_of(model, SMALL, None, [log]),
        shelf.place_of(loaded("qwen2"), SMALL, None, [log]),
        shelf.place_of(model, KIVConfig(), None, [log]),
        shelf.place_of(model, SMALL, "Be brief.", [log]),
        shelf.place_of(model, SMALL, None, [Document("log", "Eight bells.")]),
        shelf.place_of(model, SMALL, None, [Document("log2", "Seven bells.")]),
        shelf.place_of(model, SMALL, None, [log, note]),
        shelf.place_of(model, SMALL, None, [note, log]),
    ]
    assert len(set(places)) == len(places)
    assert places[0] == Shelf(tmp_path).place_of(model, SMALL, None, [Document("log", "Seven bells.")])


def test_what_is_there_is_used_and_what_is_damaged_is_removed(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    place = kept(shelf, Document("log", "Seven bells. " * 20))
    assert shelf.use(tmp_path / "nothing") is None
    found = shelf.use(place)
    assert found is not None
    assert found.complete
    (place / MANIFEST).write_text("{")
    assert shelf.use(place) is None
    assert not place.exists()


def test_the_least_recently_used_goes_first_and_the_newest_never(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    places = [kept(shelf, Document(name, f"{name} bells. " * 20)) for name in ("one", "two", "three")]
    for age, place in enumerate(places):
        os.utime(place / MANIFEST, (1000.0 + age, 1000.0 + age))
    shelf.use(places[0])
    assert [saved.folder for saved in shelf.saved()] == [places[0], places[2], places[1]]
    assert shelf.trim() == []
    sizes = [saved.nbytes for saved in shelf.saved()]
    assert Shelf(tmp_path, quota=sum(sizes[:2])).trim() == [places[1]]
    assert Shelf(tmp_path, quota=0).trim() == [places[2]]
    assert [saved.folder for saved in shelf.saved()] == [places[0]]
    assert Shelf(tmp_path / "nowhere").saved() == []


def test_what_a_document_was_before_it_grew_is_found(tmp_path: Path) -> None:
    shelf, model = Shelf(tmp_path), loaded("llama")
    for times in (10, 20):
        place = kept(shelf, Document("log", "Seven bells. " * times))
    found = shelf.beginning_of(model, SMALL, None, [Document("log", "Seven bells. " * 25), Document("note", "Rain.")])
    assert found is not None
    assert found.folder == place
    assert shelf.beginning_of(model, SMALL, "Be brief.", [Document("log", "Seven bells. " * 25)]) is None
    assert shelf.beginning_of(model, SMALL, None, [Document("log", "Eight bells. " * 25)]) is None
