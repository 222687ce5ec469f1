"""A fact in a file of every kind, asked through the whole path: parsed, read, answered, and placed."""

import io
import json
import zipfile
from pathlib import Path

import pytest

from kiv_engine import cli
from kiv_engine.engine import Engine
from tests.engine.documents.writers import NEEDLE, SAMPLES, Sample, write_pdf

QUESTION = "Who runs the Golden Crumb barbershop?"
SMALL = ["--hot-tokens", "128", "--retrieved-tokens", "64", "--max-new-tokens", "40"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def demo() -> Engine:
    return Engine.load()


@pytest.fixture
def ask(demo: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The report of `kiv ask --json`; the model is loaded once for all tests."""
    monkeypatch.setattr(Engine, "load", lambda *_arguments, **_options: demo)

    def run(*documents: object) -> dict:
        code = cli.main(["ask", *map(str, documents), "-q", QUESTION, "--json", *SMALL])
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out)

    return run


def needle_passage(report: dict) -> dict:
    [passage] = [passage for passage in report["passages"] if "Golden Crumb" in passage["text"]]
    return passage


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_answer_and_its_place(ask, tmp_path: Path, sample: Sample) -> None:
    report = ask(sample.write(tmp_path / sample.name))
    assert "Mira Holt" in report["answer"], report
    passage = needle_passage(report)
    assert passage["document"] == sample.name
    assert passage["page"] == sample.place.page
    assert (passage["row"], passage["line"]) == (sample.place.row, sample.place.line), passage
    assert passage["section"] == sample.place.section


def test_several_files_are_one_context(ask, tmp_path: Path) -> None:
    pages = [f"Page {number}. Nothing happened on that day at the harbour." for number in range(1, 9)]
    pages[4] = NEEDLE
    plain = tmp_path / "plain.txt"
    plain.write_text("The goose slept all day.")
    report = ask(plain, write_pdf(tmp_path / "report.pdf", pages), plain)
    assert "Mira Holt" in report["answer"]
    assert needle_passage(report)["document"] == "report.pdf"
    assert needle_passage(report)["page"] == 5


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_folder_and_a_zip_file_are_one_context(ask, tmp_path: Path, packed: bool) -> None:
    folder = tmp_path / "town"
    (folder / "shops").mkdir(parents=True)
    (folder / "a.md").write_text("# Geese\n\nNothing of note.\n")
    write_pdf(folder / "shops" / "list.pdf", ["Nothing here either.", NEEDLE])
    path = folder
    if packed:
        path = tmp_path / "town.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*.*")):
                archive.write(file, file.relative_to(folder))
    report = ask(path)
    assert "Mira Holt" in report["answer"]
    passage = needle_passage(report)
    assert (passage["document"], passage["section"], passage["page"]) == (path.name, "shops/list.pdf", 2)


def test_standard_input_may_be_any_kind_of_file(ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_pdf(tmp_path / "a.pdf", ["Nothing here.", NEEDLE]).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    passage = needle_passage(ask("-"))
    assert (passage["document"], passage["page"]) == ("standard input", 2)
