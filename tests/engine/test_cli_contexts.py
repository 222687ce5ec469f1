"""`kiv ask --save`, `kiv ask --context` and `kiv contexts`: what is kept, what is reused, and every refusal."""

import json
from pathlib import Path

import pytest

from kiv_engine.config import KIVConfig
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.engine import Engine
from kiv_engine.errors import CapacityError
from kiv_engine.events import ReadFinished
from kiv_engine.saving import ContextWriter
from tests.engine.test_cli import SMALL, Kiv, assert_refused, book, demo, kiv

__all__ = ["book", "demo", "kiv"]

pytestmark = pytest.mark.usefixtures("one_thread", "online")

QUESTION = ["-q", "How many geese?", "--json", "--max-new-tokens", "12"]


def test_a_saved_context_is_opened_instead_of_read(kiv: Kiv, book: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    first = kiv("ask", book, "--save", folder, *SMALL, *QUESTION)
    again = kiv("ask", book, "--save", folder, *SMALL, *QUESTION)
    later = kiv("ask", "--context", folder, *QUESTION)
    assert (first.code, again.code, later.code) == (0, 0, 0)
    assert "Opened" in again.err
    assert "Opened" in later.err
    reports = [json.loads(result.out) for result in (first, again, later)]
    assert reports[0]["prefill_s"] > 0
    assert reports[1]["prefill_s"] == reports[2]["prefill_s"] == 0
    assert len({report["answer"] for report in reports}) == 1
    assert reports[0]["passages"] == reports[1]["passages"] == reports[2]["passages"]
    assert reports[0]["document_tokens"] == reports[2]["document_tokens"]


def test_a_document_that_grew_is_read_on(kiv: Kiv, book: Path, tmp_path: Path) -> None:
    folder, longer, fresh = (tmp_path / name for name in ("kept", "longer", "fresh"))
    assert kiv("ask", book, "--save", folder, *SMALL, *QUESTION).code == 0
    before = (folder / "manifest.json").read_bytes()
    book.write_text(book.read_text() + "\n\nFrom that day on there were 17 geese at the mill.\n")
    assert_refused(kiv("ask", book, "--save", folder, *SMALL, *QUESTION), f"--context {folder} --save ANOTHER")
    grown = kiv("ask", book, "--context", folder, "--save", longer, *QUESTION)
    assert "Went on from" in grown.err
    anew, opened = kiv("ask", book, "--save", fresh, *SMALL, *QUESTION), kiv("ask", "--context", longer, *QUESTION)
    reports = [json.loads(result.out) for result in (grown, anew, opened)]
    assert len({(report["answer"], report["document_tokens"]) for report in reports}) == 1
    assert kiv("contexts", "verify", longer).code == 0
    assert (folder / "manifest.json").read_bytes() == before
    assert "Opened" in kiv("ask", book, "--context", folder, "--save", longer, *QUESTION).err
    book.write_text("Something else entirely.")
    new = tmp_path / "new"
    assert_refused(kiv("ask", book, "--context", folder, "--save", new, *QUESTION), "do not begin with")
    assert not new.exists()


def test_a_reading_that_stopped_goes_on_in_its_store(
    kiv: Kiv, demo: Engine, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store = tmp_path / "kept", tmp_path / "store"
    monkeypatch.setattr("kiv_engine.reading.READ_CHUNK_TOKENS", 256)
    stopped = demo.new_context(KIVConfig(hot_tokens=128))
    stopped.save(folder)
    *_, last = stopped.read(Document("book.txt", book.read_text()), should_stop=lambda: stopped.num_tokens > 256)
    stopped.close()
    assert isinstance(last, ReadFinished)
    assert last.stopped
    in_store: list[int] = []
    ask = Context.ask
    monkeypatch.setattr(
        Context, "ask", lambda *given, **more: in_store.append(len(list(store.iterdir()))) or ask(*given, **more)
    )
    result = kiv("ask", book, "--save", folder, *SMALL[:2], "--store", store, *QUESTION)
    assert "Opened" in result.err
    assert result.code == 0, result.err
    assert in_store[0] > 0


def test_contexts_are_listed_shown_verified_and_removed(kiv: Kiv, book: Path, tmp_path: Path) -> None:
    folder = tmp_path / "all" / "kept"
    assert kiv("ask", book, "--save", folder, *SMALL, *QUESTION).code == 0
    listed = kiv("contexts", "list", folder.parent)
    assert listed.out.startswith(f"{folder}: book.txt; ")
    report = json.loads(kiv("contexts", "list", folder.parent, "--json").out)
    assert report["complete"]
    assert report["documents"] == ["book.txt"]
    assert report["bytes"] > 1000
    assert "hot_tokens: 128" in kiv("contexts", "show", folder).out
    assert kiv("contexts", "verify", folder).out == f"{folder} is sound.\n"
    data = bytearray((folder / "tokens").read_bytes())
    data[17] ^= 1
    (folder / "tokens").write_bytes(data)
    (folder / "manifest.json").rename(folder / "kept.json")
    (folder / "manifest.json").write_text("{")
    assert "manifest.json is damaged" in kiv("contexts", "list", folder.parent).out
    (folder / "kept.json").replace(folder / "manifest.json")
    damaged = kiv("contexts", "verify", folder)
    assert (damaged.code, "tokens is damaged" in damaged.out) == (1, True)
    (folder / "note.txt").write_text("not ours")
    assert kiv("contexts", "remove", folder).code == 0
    assert [path.name for path in folder.iterdir()] == ["note.txt"]
    assert "There is no saved context" in kiv("contexts", "list", folder.parent).out


def test_what_cannot_be_saved_or_opened_is_refused(kiv: Kiv, book: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "kept", tmp_path / "other.txt"
    other.write_text("Something else entirely.")
    assert kiv("ask", book, "--save", folder, *SMALL, *QUESTION).code == 0
    assert_refused(kiv("ask", other, "--save", folder, *QUESTION), folder, "holds book.txt")
    assert_refused(kiv("ask", book, "--save", folder, *QUESTION), "was read with --hot-tokens 128")
    assert_refused(kiv("ask", book, "--context", folder, *QUESTION), "takes no DOCUMENT")
    assert_refused(kiv("ask", "--context", folder, "--save", folder, *QUESTION), "name them")
    assert_refused(kiv("ask", "--save", folder, *QUESTION), "name a DOCUMENT")
    assert_refused(kiv("ask", "--context", folder, "--hot-tokens", 256, *QUESTION), "--hot-tokens was settled")
    assert_refused(kiv("ask", "--context", folder, "--store", tmp_path, *QUESTION), "--store")
    assert_refused(kiv("ask", "--context", tmp_path / "nowhere", *QUESTION), "does not exist")
    assert_refused(kiv("ask", book, "--save", tmp_path, *QUESTION), "not empty")
    assert_refused(kiv("ask", book, "--save", other, *QUESTION), other)
    assert_refused(kiv("contexts", "list", tmp_path / "nowhere"), "is no folder")
    assert_refused(kiv("contexts", "show", tmp_path), "holds no saved context")
    assert_refused(kiv("contexts", "remove", tmp_path), "nothing was removed")
    assert_refused(kiv("contexts"), "required")
    (folder / "manifest.json").write_text("{")
    assert_refused(kiv("ask", "--context", folder, *QUESTION), "damaged")


def test_saving_that_fails_is_told_by_the_exit_code(
    kiv: Kiv, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_writer: ContextWriter, *_arguments: object, **_options: object) -> None:
        raise CapacityError("The disk is full.")

    monkeypatch.setattr(ContextWriter, "checkpoint", no_room)
    result = kiv("ask", book, "--save", tmp_path / "kept", *SMALL, *QUESTION)
    assert result.code == 1
    assert "Not saved: The disk is full." in result.err
    assert json.loads(result.out)["answer"]


def test_a_beginning_is_kept_and_read_on_from(kiv: Kiv, book: Path, tmp_path: Path) -> None:
    folder, whole = tmp_path / "kept", tmp_path / "whole"
    assert kiv("ask", book, "--save", whole, *SMALL, *QUESTION).code == 0
    first = kiv("ask", book, "--save", folder, "--first", "300", *SMALL, *QUESTION)
    unread = json.loads(first.out)["unread_tokens"]
    assert f"The other {unread:,} tokens are not read" in first.err
    less = ("--first", "299")
    assert_refused(kiv("ask", "--context", folder, *less, *QUESTION), "--first 299", "300 tokens are read already")
    assert_refused(kiv("ask", book, "--save", folder, *less, *SMALL, *QUESTION), "--first 299", "leave it out")
    same = kiv("ask", "--context", folder, "--first", "300", *QUESTION)
    assert json.loads(same.out)["answer"] == json.loads(first.out)["answer"]
    rest, opened = kiv("ask", "--context", folder, *QUESTION), kiv("ask", "--context", whole, *QUESTION)
    assert (json.loads(rest.out)["unread_tokens"], rest.code) == (0, 0)
    assert json.loads(rest.out)["answer"] == json.loads(opened.out)["answer"]
    book.write_text(book.read_text() + "\n\nFrom that day on there were 17 geese at the mill.\n")
    grown = ("ask", book, "--context", folder, "--save", tmp_path / "new", "--first", "300")
    assert_refused(kiv(*grown, *QUESTION), "--first 300", "are read already")
    assert not (tmp_path / "new").exists()
