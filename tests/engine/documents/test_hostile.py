"""Files made to do harm, and files that came to harm: read or refused with one sentence, never a crash or a hang."""

import io
import os
import re
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import openpyxl
import pytest
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas

from kiv_engine.documents.kinds import ZIP, kind_of
from kiv_engine.documents.limits import MIB, Limits
from kiv_engine.documents.opening import open_document, unpacked
from kiv_engine.documents.parser_process import ParserProcess
from kiv_engine.documents.text_builder import ParsedText, UnreadableError
from kiv_engine.documents.worker import parse
from kiv_engine.errors import DocumentError
from tests.engine.documents.writers import FILLER, NEEDLE, SAMPLES, Sample, write_docx, write_epub, write_pdf

SMALL: Final = Limits(unpacked_bytes=4 * MIB, characters=2_000_000, files=10, memory_bytes=1024 * MIB)
SECRET: Final = "root:"

NESTED_MAIL: Final = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3_000))

# The part of each format that holds its text.
XML_PARTS: Final = {
    "town.docx": "word/document.xml",
    "town.epub": "OEBPS/book.opf",
    "town.odt": "content.xml",
    "town.pptx": "ppt/presentation.xml",
    "town.xlsx": "xl/worksheets/sheet1.xml",
}


def open_whole(path: Path, limits: Limits = SMALL) -> ParsedText:
    steps = open_document(path, limits)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def assert_refused(path: Path, *parts: str, limits: Limits = SMALL) -> None:
    with pytest.raises(DocumentError) as refusal:
        open_whole(path, limits)
    message = str(refusal.value)
    assert message.startswith(f"{path} "), message
    assert "\n" not in message
    assert "parser crash" not in message, message
    for part in parts:
        assert part in message, (part, message)


def with_part(path: Path, name: str, change) -> Path:
    """Change one member of a package."""
    with zipfile.ZipFile(path) as package:
        members = {member: package.read(member) for member in package.namelist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for member, data in members.items():
            package.writestr(member, data)
    return path


def outcome(path: Path) -> str:
    """A file's text, or why it was refused."""
    try:
        return open_whole(path).text
    except DocumentError as error:
        return str(error)


def answer_of(process: ParserProcess, path: Path, name: str) -> str:
    """The same, from one parsing process for many files."""
    asking = process.ask({"path": str(path), "member": None, "name": name})
    try:
        while True:
            next(asking)
    except StopIteration as stop:
        return unpacked(*stop.value).text
    except UnreadableError as error:
        return str(error)


@pytest.fixture
def process() -> Iterator[ParserProcess]:
    with closing(ParserProcess(Limits())) as process:
        yield process


# -- bombs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", XML_PARTS)
def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, name: str) -> None:
    sample = next(sample for sample in SAMPLES if sample.name == name)
    path = with_part(sample.write(tmp_path / name), XML_PARTS[name], lambda data: data + b" " * (40 * MIB))
    assert path.stat().st_size < MIB
    assert_refused(path, "unpacks to more than 4 MB")


def zip_with_mimetype(size: int) -> bytes:
    """A zip file whose member "mimetype" unpacks to so many bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("mimetype", b" " * size)
    return out.getvalue()


def test_what_a_package_is_takes_little_memory_to_tell() -> None:
    data = zip_with_mimetype(20 * MIB)
    tracemalloc.start()
    try:
        assert kind_of(data, "a.zip") is ZIP
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_too_little_memory_to_tell_what_a_package_is_is_not_its_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_package: object) -> None:
        raise MemoryError

    monkeypatch.setattr(zipfile.ZipFile, "namelist", fail)
    with pytest.raises(MemoryError):
        kind_of(zip_with_mimetype(1), "a.docx")


def test_a_zip_file_that_lies_about_its_sizes(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("a.txt", b"a" * (20 * MIB))
    data = path.read_bytes()
    size = (20 * MIB).to_bytes(4, "little")
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, (1_000).to_bytes(4, "little")))
    assert_refused(path, "holds nothing that can be read", "cannot be unpacked")


def test_zip_files_in_zip_files_are_left_out(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as package:
        package.writestr("a.txt", FILLER)
    path = tmp_path / "outer.zip"
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("inner.zip", inner.getvalue())
    assert_refused(path, "inner.zip is a zip file in a zip file")
    with zipfile.ZipFile(path, "a") as package:
        package.writestr("b.txt", NEEDLE)
    parsed = open_whole(path)
    assert NEEDLE in parsed.text
    assert parsed.notes == ("1 of 2 files were left out: inner.zip is a zip file in a zip file; unpack it first.",)


@pytest.mark.parametrize("name", [*XML_PARTS, "town.html"])
def test_entities_are_neither_multiplied_nor_fetched(tmp_path: Path, name: str) -> None:
    def attack(data: bytes) -> bytes:
        laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
        kind = f'<!DOCTYPE x [<!ENTITY l0 "ha"><!ENTITY file SYSTEM "file:///etc/passwd">{laughs}]>'.encode()
        start = data.find(b"?>") + 2 if data.startswith(b"<?xml") else 0
        head, body = data[:start], data[start:]
        # Into every text, so that one of them is shown.
        return head + kind + body.replace(b"</", b"&l9;&file;</")

    sample = next(sample for sample in SAMPLES if sample.name == name)
    path = sample.write(tmp_path / name)
    if name in XML_PARTS:
        with_part(path, XML_PARTS[name], attack)
    else:
        path.write_bytes(attack(path.read_bytes()))
    text = outcome(path)
    assert "crash" not in text
    assert SECRET not in text
    assert len(text) < 10_000


# -- cut off -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_file_cut_anywhere_is_read_or_refused(tmp_path: Path, process: ParserProcess, sample: Sample) -> None:
    whole = sample.write(tmp_path / sample.name).read_bytes()
    path, first_pid = tmp_path / "cut", None
    for cut in [*range(40), *range(40, len(whole), max(1, len(whole) // 60)), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        assert answer_of(process, path, sample.name).strip()
        first_pid = first_pid or process.pid
        assert process.pid == first_pid, f"it crashed at {cut}"


@pytest.mark.parametrize("name", ["town.docx", "town.epub", "town.xlsx", "town.odt", "town.pptx", "town.zip"])
def test_half_a_package_is_refused_in_plain_words(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "town.zip":
        with zipfile.ZipFile(path, "w") as package:
            package.writestr("a.txt", FILLER * 50)
    else:
        next(sample for sample in SAMPLES if sample.name == name).write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert_refused(path, "is damaged or cut off: it cannot be unpacked; get another copy of it.")


# -- nested deeply -----------------------------------------------------------------------------------------------------


def test_html_may_be_nested_as_deeply_as_it_likes(tmp_path: Path) -> None:
    path = tmp_path / "deep.html"
    path.write_text("<html><body>" + "<div><ul><li>" * 50_000 + NEEDLE)
    assert NEEDLE in open_whole(path).text


def test_json_may_be_nested_as_deeply_as_it_likes(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 20_000 + f'"{NEEDLE}"' + "]" * 20_000)
    assert NEEDLE in open_whole(path).text


@pytest.mark.parametrize("name", XML_PARTS)
def test_xml_that_is_nested_too_deeply_is_refused(tmp_path: Path, name: str) -> None:
    def nest(data: bytes) -> bytes:
        at = data.rfind(b"</")
        return data[:at] + b"<a>" * 20_000 + b"</a>" * 20_000 + data[at:]

    sample = next(sample for sample in SAMPLES if sample.name == name)
    path = with_part(sample.write(tmp_path / name), XML_PARTS[name], nest)
    # A library that reads it as a stream does not mind.
    assert re.search(f"{NEEDLE}|is damaged|nested too deeply", outcome(path))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("deep.rtf", b"{\\rtf1 " + b"{" * 100_000 + NEEDLE.encode() + b"}" * 100_001),
        ("quotes.csv", b'"' * 1_000_001 + b"\n" + NEEDLE.encode()),
        ("tags.html", b"<" * 500_000 + b" <p>" + NEEDLE.encode()),
        ("comments.html", b"<!--" * 200_000 + b"--><p>" + NEEDLE.encode()),
        ("comments", b"<!---->" * 9_000 + NEEDLE.encode()),
        ("tables.html", b"<table><tr><td>x<td>" * 20_000 + NEEDLE.encode()),
        ("notes.rtf", b"{\\rtf1 " + b"{\\footnote x" * 50_000 + NEEDLE.encode()),
        ("cut.json", b'["' + NEEDLE.encode() + b'\\"' * 400_000),
        ("blanks.md", b"# " + b" " * 1_000_000 + b"#a\n" + b"a\n" * 100_000 + NEEDLE.encode()),
        ("fences.md", b"```\n~~~\n" * 100_000 + NEEDLE.encode()),
        ("headers.eml", b"Subject: =?utf-8?q?" + b"=?" * 100_000 + b"\n\n" + NEEDLE.encode()),
        ("header", b"From: a\n" + b" \n" * 20_000 + b"To: b\nSubject: c\n\n" + NEEDLE.encode()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_could_take_for_ever_does_not(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert NEEDLE in open_whole(path).text


def test_a_message_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.eml"
    path.write_bytes(NESTED_MAIL)
    assert_refused(path, "is nested too deeply to be read; save it as text in the program that made it.")


def test_a_sheet_with_a_cell_in_its_last_corner_is_read(tmp_path: Path) -> None:
    path = tmp_path / "corner.xlsx"
    book = openpyxl.Workbook()
    book.active["A1"] = "start"
    book.active["XFD1048576"] = NEEDLE
    book.save(path)
    parsed = open_whole(path, Limits())
    assert parsed.places.at(parsed.text.index(NEEDLE)).row == 1_048_576
    assert len(parsed.text) < 200


# -- numbers and names that are none -----------------------------------------------------------------------------------


def test_rows_of_a_sheet_are_all_read_whatever_their_numbers(tmp_path: Path) -> None:
    def number_anew(data: bytes) -> bytes:
        numbers = (b"7", b"999999999999", b"2", b"-3")
        rows = b"".join(b'<row r="%s"><c><v>%d</v></c></row>' % (row, 101 + at) for at, row in enumerate(numbers))
        twice = b'<row r="9"><c r="C9"><v>201</v></c><c r="A9"><v>202</v></c><c r="C9"><v>203</v></c></row>'
        start, end = data.index(b"<sheetData>") + len(b"<sheetData>"), data.index(b"</sheetData>")
        return data[:start] + rows + twice + data[end:]

    sample = next(sample for sample in SAMPLES if sample.name == "town.xlsx")
    parsed = open_whole(with_part(sample.write(tmp_path / "a.xlsx"), "xl/worksheets/sheet1.xml", number_anew))
    first = parsed.text.split("\n\n")[1]
    assert first == "101\n102\n103\n104\n202 |  | 201 | 203"
    rows = [parsed.places.at(parsed.text.index(value)).row for value in first.split("\n")[:5]]
    assert rows == [7, None, 2, None, 9]


def test_settings_of_a_sheet_that_make_no_sense_do_no_harm(tmp_path: Path) -> None:
    odd = b'<pageSetup orientation="sideways"/><sheetData>'
    path = next(sample for sample in SAMPLES if sample.name == "town.xlsx").write(tmp_path / "a.xlsx")
    parsed = open_whole(with_part(path, XML_PARTS["town.xlsx"], lambda data: data.replace(b"<sheetData>", odd)))
    assert NEEDLE in parsed.text


@pytest.mark.parametrize(
    ("name", "part", "before", "after"),
    [
        ("town.odt", "content.xml", b'text:c="2"', 'text:c="²"'.encode()),
        ("town.odt", "content.xml", b'text:c="2"', b'text:c="%s"' % (b"9" * 5_000)),
        ("town.pptx", "ppt/slides/slide1.xml", b"<a:p>", '<a:p><a:pPr lvl="²"/>'.encode()),
    ],
    ids=["blanks", "many blanks", "level"],
)
def test_numbers_that_are_none_do_no_harm(tmp_path: Path, name: str, part: str, before: bytes, after: bytes) -> None:
    def change(data: bytes) -> bytes:
        assert before in data
        return data.replace(before, after)

    sample = next(sample for sample in SAMPLES if sample.name == name)
    assert NEEDLE in open_whole(with_part(sample.write(tmp_path / name), part, change)).text


def test_a_message_with_a_part_that_lacks_its_parts_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    path.write_bytes(
        b"Subject: a\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/related; boundary=c\n\n"
        b"no parts\n--b\nContent-Type: text/plain\n\n" + NEEDLE.encode() + b"\n--b--\n"
    )
    assert NEEDLE in open_whole(path).text


def test_a_message_whose_encoding_is_no_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    path.write_bytes(b"Subject: a\nContent-Type: text/plain; charset=a\x00b\n\n" + NEEDLE.encode())
    assert NEEDLE in open_whole(path).text


# -- locked, scanned, foreign ------------------------------------------------------------------------------------------


def test_a_pdf_with_a_password_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "locked.pdf"
    pdf = canvas.Canvas(str(path), encrypt="secret")
    pdf.drawString(72, 700, NEEDLE)
    pdf.save()
    assert_refused(path, "is protected by a password; save a copy without one.")


def test_an_office_file_with_a_password_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "locked.docx"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1_000) + "EncryptedPackage".encode("utf-16-le"))
    assert_refused(path, "is protected by a password; save a copy without one.")


def test_a_zip_file_with_a_password_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("a.txt", NEEDLE)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert_refused(path, "a.txt is protected by a password")


def test_a_book_that_its_seller_locked_is_refused(tmp_path: Path) -> None:
    path = write_epub(tmp_path / "locked.epub", [("One", f"<p>{NEEDLE}</p>")])
    with zipfile.ZipFile(path, "a") as book:
        book.writestr(
            "META-INF/encryption.xml",
            '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><e:EncryptedData '
            'xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:CipherData><e:CipherReference URI="OEBPS/chapter 1.xhtml"/>'
            "</e:CipherData></e:EncryptedData></encryption>",
        )
    assert_refused(path, "is locked by its seller")


def scanned(path: Path, num_pictures: int, num_texts: int, num_blanks: int = 0) -> Path:
    """A PDF with pages that are pictures, pages of text, and empty ones."""
    picture = ImageReader(Image.new("L", (80, 120), 200))
    pdf = canvas.Canvas(str(path))
    for _ in range(num_pictures):
        pdf.drawImage(picture, 0, 0, 595, 842)
        pdf.drawString(10, 10, "p. 1")
        pdf.showPage()
    for _ in range(num_texts):
        pdf.drawString(72, 700, FILLER)
        pdf.showPage()
    for _ in range(num_blanks):
        pdf.showPage()
    pdf.save()
    return path


@pytest.mark.parametrize(("texts", "blanks"), [(0, 0), (4, 0), (0, 20)])
def test_a_scanned_pdf_is_refused_with_a_next_step(tmp_path: Path, texts: int, blanks: int) -> None:
    path = scanned(tmp_path / "scan.pdf", 9, texts, blanks)
    assert_refused(path, f"is scanned: 9 of {9 + texts + blanks} pages are pictures without text", "ocrmypdf")


def test_a_pdf_with_some_pictures_is_read_and_they_are_told(tmp_path: Path) -> None:
    parsed = open_whole(scanned(tmp_path / "plates.pdf", 2, 6))
    assert parsed.notes == ("2 of 8 pages are pictures without text: 1, 2.",)
    assert parsed.places.at(parsed.text.index(FILLER)).page == 3


def test_a_short_page_without_a_picture_is_no_scan(tmp_path: Path) -> None:
    assert open_whole(write_pdf(tmp_path / "short.pdf", ["Hi"])).text == "Hi"


# -- too much ----------------------------------------------------------------------------------------------------------


def test_a_text_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("word " * 400_001)
    assert_refused(path, "holds more than 2,000,000 characters of text")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(5 * 1024 * MIB)
    assert_refused(path, "is larger than 1,024 MB")


def test_a_folder_with_too_many_files_is_refused(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number}.txt").touch()
    assert_refused(tmp_path, "holds more than 5,000 files; open a part of it.", limits=Limits())


def test_a_folder_with_too_much_text_is_refused(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("word " * 150_000)
    assert_refused(tmp_path, "holds more than 2,000,000 characters of text")


def test_a_folder_with_nothing_readable_says_why(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"\x89PNG\x00")
    assert_refused(tmp_path, "holds nothing that can be read: 0.png is a picture, not text (and 2 more).")


def test_hidden_files_and_links_are_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiv_engine.documents.opening.NAMED_SKIPS", 99)
    folder, outside = tmp_path / "folder", tmp_path / "outside.txt"
    outside.write_text("a secret")
    for name in (".git/config", ".env", "sub/node_modules/a.js", "sub/a.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a secret")
    (folder / "loop").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "gone").symlink_to(folder / "nowhere")
    (folder / "out.txt").symlink_to(outside)
    (folder / "in.txt").symlink_to(folder / "sub" / "a.txt")
    (folder / "a.png").write_bytes(b"\x89PNG\x00")
    os.mkfifo(folder / "pipe")
    (folder / "sub" / "a.txt").write_text(NEEDLE)
    parsed = open_whole(folder)
    assert "a secret" not in parsed.text
    assert parsed.text.count(NEEDLE) == 2  # itself and the link to it
    [note] = parsed.notes
    assert note.startswith("9 of 11 files and folders were left out: a.png is a picture, not text; ")
    assert set(note.rstrip(".").split("; ")[1:]) == {
        ".git/ is hidden", "loop/ is a link to a folder", ".env is hidden", "gone is a broken link",
        "self is a broken link", "out.txt is a link that leads out of the folder",
        "pipe is no file but a device or a pipe", "sub/node_modules/ is a tool's folder",
    }  # fmt: skip


def test_a_folder_that_may_not_be_read_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text(NEEDLE)
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)  # root may read every folder, so modes do not do here
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    [note] = open_whole(tmp_path).notes
    assert note == "1 of 2 files and folders were left out: locked/ cannot be read: Permission denied."


def test_hidden_files_of_a_zip_file_are_told_and_one_without_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w"):
        pass
    assert_refused(path, "holds no files; look whether it is the right folder.")
    with zipfile.ZipFile(path, "w") as package:
        for name in ("__MACOSX/a", "__MACOSX/b", "src/.git/config", ".env", "./a.txt"):
            package.writestr(name, "a secret" if name != "./a.txt" else NEEDLE)
    parsed = open_whole(path)
    assert NEEDLE in parsed.text
    assert "a secret" not in parsed.text
    assert parsed.notes == (
        "3 of 4 files and folders were left out: .env is hidden; __MACOSX/ is a tool's folder; src/.git/ is hidden.",
    )


def test_names_in_a_zip_file_are_shown_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "names.zip"
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("a\n\x1b[31mb.txt", NEEDLE)
        package.writestr("bad\n.png", b"\x89PNG\x00")
    parsed = open_whole(path)
    assert "1. a\ufffd\ufffd[31mb.txt\n" in parsed.text
    assert parsed.notes == ("1 of 2 files were left out: bad\ufffd.png is a picture, not text.",)


def test_memory_that_a_file_takes_is_limited(tmp_path: Path) -> None:
    path = write_epub(tmp_path / "fat.epub", [("One", "a" * (150 * MIB))])
    assert_refused(path, "needs more than 256 MB of memory", limits=Limits(memory_bytes=256 * MIB))


def test_a_parser_in_this_process_refuses_in_the_same_words(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"^is damaged or cut off"):
        parse(write_docx(tmp_path / "a.docx").read_bytes()[:500], "a.docx", SMALL)
