"""From a path to one text: whole files, folders, zip files, and what cannot be opened."""

import os
from io import BytesIO
from pathlib import Path

import pytest

from kiv_engine.document import Document
from kiv_engine.documents.places import Place
from kiv_engine.errors import DocumentError
from tests.engine.documents.writers import FILLER, NEEDLE, write_docx, write_epub, write_pdf


def needle_place(document: Document) -> Place:
    assert document.text.count(NEEDLE) == 1
    return document.places.at(document.text.index(NEEDLE))


def test_a_pdf_knows_its_pages_and_parts(tmp_path: Path) -> None:
    pages = [f"Page {number}. {FILLER}\n{NEEDLE if number == 7 else FILLER}" for number in range(1, 13)]
    document = Document.from_file(write_pdf(tmp_path / "report.pdf", pages, [(1, "Part one"), (5, "Part two")]))
    assert document.name == "report.pdf"
    assert needle_place(document) == Place(page=7, section="Part two")
    for number in range(1, 13):
        assert document.places.at(document.text.index(f"Page {number}.")).page == number


def test_a_docx_is_read_in_order(tmp_path: Path) -> None:
    document = Document.from_file(write_docx(tmp_path / "notes.docx"))
    assert document.text.split("\n\n") == [
        "Minutes",
        "First meeting",
        FILLER,
        "1. Count the geese",
        "2. Feed the geese",
        "Second meeting",
        "cell 00 | cell 01\ncell 10 | cell 11",
        NEEDLE,
    ]
    assert needle_place(document) == Place(section="Second meeting")


def test_an_epub_is_read_in_order(tmp_path: Path) -> None:
    chapters = [("One", f"<p>{FILLER}</p>"), ("The Barber", f"<h1>Crumbs</h1><p>{NEEDLE}</p>")]
    document = Document.from_file(write_epub(tmp_path / "book.epub", chapters))
    assert document.text.split() == f"{FILLER} Crumbs {NEEDLE}".split()
    assert needle_place(document) == Place(section="The Barber, Crumbs")
    assert document.places.at(0) == Place(section="One")


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_is_one_text_with_contents(tmp_path: Path, count: int) -> None:
    write_pdf(tmp_path / "a.pdf", [FILLER, NEEDLE])
    if count == 2:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "b.py").write_text("x = 1\ny = 2\n")
    document = Document.from_file(tmp_path)
    assert document.text.startswith(f"# {tmp_path.name}\n\nContents:\n1. a.pdf\n")
    assert needle_place(document) == Place(page=2, section="a.pdf")
    if count == 2:
        assert document.places.at(document.text.index("y = 2")) == Place(section="sub/b.py", line=2)


# -- what cannot be opened ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"", "is empty; look whether it is the right file."),
        ("a.txt", b"\xef\xbb\xbf", "holds no text; look whether it is the right file."),
        ("a.txt", b" \n\t\r\n ", "nothing but blanks"),
        ("a.txt", b"text\x00more", "byte 4 is zero. Save it as text"),
        ("a.bin", bytes(range(1, 32)) * 40, "binary"),
        ("a.png", b"\x89PNG\r\n\x1a\n\x00\x00", "is a picture, not text; open a document instead."),
        ("a.pdf", b"\x00\x01\x02", "is no PDF, although its name says so; get another copy of it."),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Office format"),
    ],
)
def test_a_file_that_is_no_document_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DocumentError, match=message) as refusal:
        Document.from_file(path)
    assert str(refusal.value).startswith(f"{path} ")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="There is no file"):
        Document.from_file(tmp_path / "none.txt")
    with pytest.raises(DocumentError, match=r"holds no files; look whether it is the right folder\."):
        Document.from_file(tmp_path)
    with pytest.raises(DocumentError, match="device or a pipe"):
        Document.from_file("/dev/null")


def test_a_file_whose_disk_fails_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise OSError(5, os.strerror(5))

    path = tmp_path / "book.txt"
    path.write_text("text")
    monkeypatch.setattr(Path, "open", lambda _path, _mode: Failing())
    with pytest.raises(
        DocumentError, match=r"cannot be read: Input/output error; look whether its disk is there and you may read it\."
    ):
        Document.from_file(path)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("text")

    def refuse(_path: Path, _mode: str) -> None:
        raise PermissionError(13, os.strerror(13))  # root may read every file, so modes do not do here

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        DocumentError, match=r"cannot be read: Permission denied; look whether its disk is there and you may read it\."
    ):
        Document.from_file(path)
