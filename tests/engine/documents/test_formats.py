"""Every format as real programs write it: its text in order, and the place of each part."""

import io
import json
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import docx
import openpyxl
import pypdfium2 as pdfium
import pytest
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from lxml import etree
from openpyxl.worksheet.formula import ArrayFormula
from reportlab.pdfgen import canvas

from kiv_engine.documents.docx_lists import numeral
from kiv_engine.documents.kinds import kind_of
from kiv_engine.documents.limits import MIB, Limits
from kiv_engine.documents.text_builder import MAX_TITLE, ParsedText, UnreadableError
from kiv_engine.documents.worker import parse
from tests.engine.documents.writers import FILLER, NEEDLE, SAMPLES, Sample, write_epub, write_pdf

SHEET = "xl/worksheets/sheet1.xml"
BY_NAME = {sample.name: sample for sample in SAMPLES}


def read(folder: Path, name: str) -> ParsedText:
    path = BY_NAME[name].write(folder / name)
    return parse(path.read_bytes(), name, Limits())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_needle_is_found_at_its_place(tmp_path: Path, sample: Sample) -> None:
    parsed = read(tmp_path, sample.name)
    assert parsed.kind == sample.kind
    assert parsed.text.count(NEEDLE) == 1
    for offset in (0, len(NEEDLE) - 1):
        assert parsed.places.at(parsed.text.index(NEEDLE) + offset) == sample.place


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample.name not in ("town.eml", "town.py")],
                         ids=lambda sample: sample.name)  # fmt: skip
def test_a_wrong_name_does_not_matter_where_the_content_tells(tmp_path: Path, sample: Sample) -> None:
    path = sample.write(tmp_path / sample.name)
    parsed = parse(path.read_bytes(), "thing.pdf", Limits())
    assert NEEDLE in parsed.text
    if sample.kind in ("PDF", "DOCX", "EPUB", "ODT", "RTF", "PPTX", "XLSX", "HTML"):
        assert parsed.kind == sample.kind


def repack(path: Path, change: Callable[[dict[str, bytes]], None]) -> ParsedText:
    """Read a package after a change of its members."""
    with zipfile.ZipFile(path) as package:
        members = {name: package.read(name) for name in package.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as package:
        for name, data in members.items():
            package.writestr(name, data)
    return parse(path.read_bytes(), path.name, Limits())


TEXT_PART = b'<x xmlns:a="a"><a:t>seen</a:t></x>'


@pytest.mark.parametrize(
    ("name", "part", "note"),
    [
        ("town.docx", "word/header1.xml", "headers and footers"),
        ("town.docx", "word/comments.xml", "comments"),
        ("town.docx", "word/charts/chart1.xml", "charts"),
        ("town.pptx", "ppt/diagrams/data1.xml", "diagrams"),
        ("town.pptx", "ppt/comments/modernComment_1.xml", "comments"),
        ("town.xlsx", "xl/comments1.xml", "comments"),
        ("town.xlsx", "xl/drawings/drawing1.xml", "text boxes"),
        ("town.odt", "Object 1/content.xml", "charts and formulas"),
    ],
)
def test_parts_with_text_that_are_not_read_are_told(tmp_path: Path, name: str, part: str, note: str) -> None:
    path = BY_NAME[name].write(tmp_path / name)
    empty = {} if name == "town.odt" else {part: b"<x/>"}
    assert repack(path, lambda members: members.update(empty)).notes == ()
    assert repack(path, lambda members: members.update({part: TEXT_PART})).notes == (f"Not read: {note}.",)


def test_comments_headers_and_footers_of_odt_are_told(tmp_path: Path) -> None:
    comment = "<office:annotation><text:p>why</text:p></office:annotation>"
    header = b"<style:master-page><style:header><text:p>Town</text:p></style:header></style:master-page>"
    end = b"</office:document-styles>"

    def add_header(members: dict[str, bytes]) -> None:
        members["styles.xml"] = members["styles.xml"].replace(end, header + end)

    assert read_odt(tmp_path, f"<text:p>seen{comment}</text:p>").notes == ("Not read: comments.",)
    assert repack(BY_NAME["town.odt"].write(tmp_path / "b.odt"), add_header).notes == (
        "Not read: headers and footers.",
    )


# -- DOCX --------------------------------------------------------------------------------------------------------------

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"
NOTES = (
    f'<w:footnotes xmlns:w="{W}"><w:footnote w:id="0"><w:p><w:r><w:separator/></w:r></w:p></w:footnote>'
    '<w:footnote w:id="2"><w:p><w:r><w:footnoteRef/><w:t xml:space="preserve"> Counted </w:t></w:r><w:r>'
    "<w:t>twice.</w:t></w:r></w:p></w:footnote></w:footnotes>"
)
FOOTNOTES_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
FOOTNOTES_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"


def read_docx(folder: Path, body: str, *, notes: bool = False, numbering: str = "", styles: str = "") -> ParsedText:
    """A document that python-docx made, with a body, lists and styles as Word writes them."""
    document = docx.Document()
    if notes:
        part = Part(PackURI("/word/footnotes.xml"), FOOTNOTES_TYPE, NOTES.encode(), document.part.package)
        document.part.relate_to(part, FOOTNOTES_RELATION)
    if numbering:
        document.part.numbering_part.element[:] = etree.fromstring(f'<b xmlns:w="{W}">{numbering}</b>')
    document.styles.element.extend(etree.fromstring(f'<b xmlns:w="{W}">{styles}</b>'))
    for number, element in enumerate(etree.fromstring(f'<b xmlns:w="{W}" xmlns:mc="{MC}">{body}</b>')):
        document.element.body.insert(number, element)
    document.save(folder / "a.docx")
    return parse((folder / "a.docx").read_bytes(), "a.docx", Limits())


def test_notes_follow_their_paragraph_with_the_numbers_that_word_prints(tmp_path: Path) -> None:
    body = (
        '<w:p><w:r><w:t>Geese</w:t><w:footnoteReference w:id="2"/><w:t> swim.</w:t></w:r></w:p>'
        '<w:p><w:r><w:t>End</w:t><w:endnoteReference w:id="9"/><w:t>.</w:t></w:r></w:p>'
    )
    assert read_docx(tmp_path, body, notes=True).text == "Geese[1] swim.\n[1] Counted twice.\n\nEnd[i]."


def test_pages_are_those_that_word_noted(tmp_path: Path) -> None:
    turn = "<w:lastRenderedPageBreak/>"
    body = (
        "<w:p><w:r><w:t>first</w:t></w:r></w:p>"
        f"<w:p><w:r><w:t>still first</w:t></w:r><w:r>{turn}<w:t>second</w:t></w:r></w:p>"
        f"<w:tbl><w:tr><w:tc><w:p><w:r>{turn}<w:t>cell</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
        "<w:p><w:r><w:t>third</w:t></w:r></w:p>"
    )
    parsed = read_docx(tmp_path, body)
    pages = {
        word: parsed.places.at(parsed.text.index(word)).page for word in ("first", "still", "second", "cell", "third")
    }
    assert pages == {"first": 1, "still": 1, "second": 2, "cell": 3, "third": 3}


def test_a_row_over_two_pages_turns_one(tmp_path: Path) -> None:
    turn = "<w:lastRenderedPageBreak/>"
    split = f"<w:p><w:r><w:t>up</w:t></w:r></w:p><w:p><w:r>{turn}<w:t>down</w:t></w:r></w:p>"
    body = f"<w:tbl><w:tr>{cell(split)}{cell(split)}</w:tr></w:tbl>" + word("next")
    parsed = read_docx(tmp_path, body)
    assert [parsed.places.at(parsed.text.index(found)).page for found in ("up", "next")] == [1, 2]


def test_deleted_text_is_gone_and_inserted_text_is_there(tmp_path: Path) -> None:
    body = (
        "<w:p><w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins>"
        "<w:hyperlink><w:r><w:t> link</w:t></w:r></w:hyperlink><w:r><w:tab/><w:t>a</w:t><w:br/><w:t>b</w:t></w:r></w:p>"
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>in a control</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    )
    assert read_docx(tmp_path, body).text == "new link\ta\nb\n\nin a control"


def test_a_table_in_a_table_is_shown_once(tmp_path: Path) -> None:
    inner = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>deep</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    body = (
        f"<w:tbl><w:tr><w:tc><w:p><w:r><w:t>left</w:t></w:r></w:p>{inner}</w:tc>"
        "<w:tc><w:p><w:r><w:t>right</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    )
    assert read_docx(tmp_path, body).text == "left deep | right"


def word(text: str) -> str:
    """A paragraph."""
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def cell(*blocks: str) -> str:
    """A cell of a table."""
    return f"<w:tc>{''.join(blocks)}</w:tc>"


def test_cells_and_rows_in_wrappers_are_read(tmp_path: Path) -> None:
    inner = f"<w:tbl><w:sdt><w:sdtContent><w:tr>{cell(word('deep'))}</w:tr></w:sdtContent></w:sdt></w:tbl>"
    body = (
        f"<w:tbl><w:tr>{cell(word('name'))}<w:sdt><w:sdtContent>{cell(word('Mira'))}</w:sdtContent></w:sdt></w:tr>"
        f"<w:customXml><w:tr>{cell(word('a'))}{cell(inner)}</w:tr></w:customXml></w:tbl>"
    )
    assert read_docx(tmp_path, body).text == "name | Mira\na | deep"


def test_a_footnote_in_a_cell_follows_its_row(tmp_path: Path) -> None:
    noted = '<w:p><w:r><w:t>geese</w:t><w:footnoteReference w:id="2"/></w:r></w:p>'
    body = f"<w:tbl><w:tr>{cell(noted)}{cell(word('31'))}</w:tr></w:tbl>"
    text = read_docx(tmp_path, body, notes=True).text
    assert text == "geese[1] | 31\n[1] Counted twice."


def test_a_text_box_is_shown_once_and_on_its_own_lines(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{word('cap one')}{word('cap two')}</w:txbxContent>"
    boxed = (
        f"<w:p><w:r><w:t>before</w:t></w:r><w:r><mc:AlternateContent><mc:Choice>{box}</mc:Choice>"
        f"<mc:Fallback>{box}</mc:Fallback></mc:AlternateContent></w:r><w:r><w:t>after</w:t></w:r></w:p>"
    )
    body = f"{boxed}<w:tbl><w:tr>{cell(boxed)}</w:tr></w:tbl>"
    assert read_docx(tmp_path, body).text == "before\ncap one\ncap two\nafter\n\nbefore cap one cap two after"


def item(text: str, list_id: int, level: int = 0) -> str:
    """A paragraph of a list."""
    number = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{list_id}"/></w:numPr>'
    return f"<w:p><w:pPr>{number}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def level(number: int, form: str, text: str, more: str = "") -> str:
    """How a level of a list is numbered."""
    return f'<w:lvl w:ilvl="{number}">{more}<w:numFmt w:val="{form}"/><w:lvlText w:val="{text}"/></w:lvl>'


def test_lists_are_numbered_as_they_say(tmp_path: Path) -> None:
    start = '<w:start w:val="{}"/>'.format
    numbering = (
        f'<w:abstractNum w:abstractNumId="7">{level(0, "upperRoman", "§ %1", start(4))}'
        f"{level(1, 'lowerLetter', 'Clause (%2)', start(5))}{level(2, 'decimal', '%1.%2.%3', start(1) + '<w:isLgl/>')}"
        f'</w:abstractNum><w:abstractNum w:abstractNumId="8">{level(0, "bullet", "o")}</w:abstractNum>'
        '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num>'
        '<w:num w:numId="3"><w:abstractNumId w:val="7"/></w:num><w:num w:numId="4"><w:abstractNumId w:val="7"/>'
        '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="1"/></w:lvlOverride></w:num>'
    )
    body = "".join([
        item("a", 1), item("b", 1, 1), item("c", 1, 1), item("d", 1, 2), item("e", 2), item("f", 1), item("g", 1, 1),
        item("h", 3), item("i", 4), item("j", 4), item("k", 9),
        f"<w:tbl><w:tr>{cell(item('l', 4))}{cell(word('m'))}</w:tr></w:tbl>",
    ])  # fmt: skip
    assert read_docx(tmp_path, body, numbering=numbering).text.split("\n\n") == [
        "§ IV a", "  Clause (e) b", "  Clause (f) c", "    4.6.1 d", "- e", "§ V f", "  Clause (e) g",
        "§ VI h", "§ I i", "§ II j", "- k", "§ III l | m",
    ]  # fmt: skip


def styled(text: str, style: str, more: str = "") -> str:
    """A paragraph with a style."""
    return f'<w:p><w:pPr><w:pStyle w:val="{style}"/>{more}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>'


def test_styles_take_over_what_they_are_based_on(tmp_path: Path) -> None:
    def style(name: str, base: str, more: str = "") -> str:
        named = f'<w:name w:val="{name}"/><w:basedOn w:val="{base}"/><w:pPr>{more}</w:pPr>'
        return f'<w:style w:type="paragraph" w:styleId="{name}">{named}</w:style>'

    number, start = '<w:numPr><w:numId w:val="5"/></w:numPr>', '<w:start w:val="1"/>'
    styles = (
        style("Chapter", "Heading1", number)
        + style("Section", "Chapter", '<w:numPr><w:ilvl w:val="1"/></w:numPr>')
        + style("Contents", "Heading1", '<w:outlineLvl w:val="9"/>')
        + style("Circle", "Circle")
    )
    numbering = (
        f'<w:abstractNum w:abstractNumId="1">{level(0, "decimal", "%1", start)}{level(1, "decimal", "%1.%2", start)}'
        "</w:abstractNum>"
        '<w:num w:numId="5"><w:abstractNumId w:val="1"/></w:num>'
    )
    body = (
        styled("Geese", "Chapter") + styled("Salt", "Section") + styled("None", "Contents") + styled("o", "Circle")
        + styled("plain", "Chapter", '<w:numPr><w:numId w:val="0"/></w:numPr>')
    )  # fmt: skip
    parsed = read_docx(tmp_path, body, numbering=numbering, styles=styles)
    assert parsed.text == "1 Geese\n\n1.1 Salt\n\nNone\n\no\n\nplain"
    assert parsed.places.titles == ["Geese", "Salt", "plain"]


@pytest.mark.parametrize(
    ("number", "form", "written"),
    [
        (1994, "lowerRoman", "mcmxciv"),
        (28, "upperLetter", "BB"),
        (7, "decimalZero", "07"),
        (3, "cardinalText", "3"),
        (3, "none", ""),
    ],
)
def test_numbers_are_written_as_word_does(number: int, form: str, written: str) -> None:
    assert numeral(number, form) == written


def test_templates_are_read_and_pictures_stay_packed(tmp_path: Path) -> None:
    path = BY_NAME["town.docx"].write(tmp_path / "town.docx")
    with zipfile.ZipFile(path) as package:
        members = {name: package.read(name) for name in package.namelist()}
    types = "[Content_Types].xml"
    members[types] = members[types].replace(b"document.main+xml", b"template.main+xml")
    members["word/media/image9.png"] = bytes(2 * MIB)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, data in members.items():
            package.writestr(name, data)
    assert NEEDLE in parse(path.read_bytes(), "town.docx", Limits(unpacked_bytes=MIB)).text


# -- ODT ---------------------------------------------------------------------------------------------------------------

OASIS = "urn:oasis:names:tc:opendocument:xmlns"


def read_odt(folder: Path, body: str) -> ParsedText:
    """A document with this body."""
    prefixes = "".join(f' xmlns:{name}="{OASIS}:{name}:1.0"' for name in ("office", "text", "table"))
    root = f'<office:document-content{prefixes} xmlns:draw="{OASIS}:drawing:1.0">'
    with zipfile.ZipFile(folder / "a.odt", "w") as package:
        package.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        package.writestr(
            "content.xml",
            f"{root}<office:body><office:text>{body}</office:text></office:body></office:document-content>",
        )
    return parse((folder / "a.odt").read_bytes(), "a.odt", Limits())


def test_tables_notes_and_boxes_in_cells_of_odt_are_shown_once(tmp_path: Path) -> None:
    def row(*cells: str) -> str:
        inner = "".join(f"<table:table-cell>{cell}</table:table-cell>" for cell in cells)
        return f"<table:table-row>{inner}</table:table-row>"

    def p(content: str) -> str:
        return f"<text:p>{content}</text:p>"

    box = f"<draw:frame><draw:text-box>{p('cap one')}{p('cap two')}</draw:text-box></draw:frame>"
    items = f"<text:list><text:list-item>{p('b')}</text:list-item></text:list>"
    note_body = f"<text:note-body>{p('Counted')}{p('twice.')}</text:note-body>"
    note = f"<text:note><text:note-citation>1</text:note-citation>{note_body}</text:note>"
    head = row(p("left") + f"<table:table>{row(p('deep'))}</table:table>", p("a") + items)
    body = (
        f"{p(f'before{box}after')}<table:table><table:table-header-rows>{head}</table:table-header-rows>"
        f"{row(p(f'geese{note}'), p(f'x{box}y'))}</table:table>{p('end')}"
    )
    assert read_odt(tmp_path, body).text.split("\n") == [
        "before", "cap one", "cap two", "after", "", "left deep | a b", "geese[1] | x cap one cap two y",
        "[1] Counted twice.", "", "end",
    ]  # fmt: skip


# -- the others --------------------------------------------------------------------------------------------------------


def parse_text(name: str, text: str) -> ParsedText:
    return parse(text.encode(), name, Limits())


def test_old_books_have_their_titles_elsewhere(tmp_path: Path) -> None:
    path = write_epub(tmp_path / "old.epub", [("One", f"<p>{FILLER}</p>"), ("Two", f"<p>{NEEDLE}</p>")])
    with zipfile.ZipFile(path) as book:
        members = {name: book.read(name) for name in book.namelist()}
    del members["OEBPS/nav.xhtml"]
    members["OEBPS/book.opf"] = members["OEBPS/book.opf"].replace(
        b'href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"',
        b'href="toc.ncx" media-type="application/x-dtbncx+xml"',
    )
    members["OEBPS/toc.ncx"] = (
        b'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>Der zweite'
        b'</text></navLabel><content src="chapter%202.xhtml#top"/></navPoint></navMap></ncx>'
    )
    with zipfile.ZipFile(path, "w") as book:
        for name, data in members.items():
            book.writestr(name, data)
    parsed = parse(path.read_bytes(), "old.epub", Limits())
    assert parsed.places.at(0).section == "The Town"
    assert parsed.places.at(parsed.text.index(NEEDLE)).section == "Der zweite"


def test_chapters_and_slides_that_are_missing_are_told(tmp_path: Path) -> None:
    book = write_epub(tmp_path / "a.epub", [("One", "<p>one</p>"), ("Two", "<p>two</p>")])
    parsed = repack(book, lambda members: members.pop("OEBPS/chapter 1.xhtml"))
    assert parsed.notes == ("1 of 2 chapters are missing in the file: OEBPS/chapter 1.xhtml.",)
    parsed = repack(
        BY_NAME["town.pptx"].write(tmp_path / "a.pptx"), lambda members: members.pop("ppt/slides/slide2.xml")
    )
    assert parsed.places.at(parsed.text.index("End")).page == 3
    assert parsed.notes == ("1 of 3 slides are missing in the file: 2.",)


def test_only_the_contents_of_a_book_have_its_titles(tmp_path: Path) -> None:
    def add_pages(members: dict[str, bytes]) -> None:
        lists = "".join(
            f'<nav epub:type="{kind}"><a href="chapter 1.xhtml">{title}</a></nav>'
            for kind, title in (("page-list", "iv"), ("toc", "One"))
        )
        head = '<html xmlns:epub="http://www.idpf.org/2007/ops">'
        members["OEBPS/nav.xhtml"] = f"{head}{lists}</html>".encode()

    parsed = repack(write_epub(tmp_path / "a.epub", [("", "<p>one</p>")]), add_pages)
    assert parsed.places.titles == ["One"]


def test_slides_are_read_without_tab_stops_and_fallbacks(tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        slide = members["ppt/slides/slide1.xml"].decode()
        shape = slide[slide.index("<p:sp>") : slide.index("</p:sp>") + len("</p:sp>")]
        both = (
            f'<mc:AlternateContent xmlns:mc="{MC}"><mc:Choice Requires="a14">{shape}</mc:Choice>'
            f"<mc:Fallback>{shape}</mc:Fallback></mc:AlternateContent>"
        ).replace("<a:p>", '<a:p><a:pPr><a:tabLst><a:tab pos="9" algn="l"/></a:tabLst></a:pPr>')
        members["ppt/slides/slide1.xml"] = slide.replace(shape, both).encode()

    parsed = repack(BY_NAME["town.pptx"].write(tmp_path / "a.pptx"), change)
    assert parsed.text.startswith("Geese\n\nThe goose")


def test_footnotes_of_rtf_stand_in_their_text_and_what_is_left_out_is_told() -> None:
    parsed = parse_text(
        "a.rtf",
        r"{\rtf1\headery720{\header Town}{\footerl Page}Geese{\super\chftn}{\footnote \pard Counted {\b twice\}}.} go."
        r"{\*\annotation why}\par{\pict\pngblip{\*\blipuid 00ff}" + "89\n" * 512 + "}{" + "ab" * 512 + "}}",
    )
    assert parsed.text == "Geese [Counted twice}.] go.\n" + "ab" * 512
    assert parsed.notes == ("Not read: comments, headers and footers.",)


def test_html_is_what_a_reader_sees() -> None:
    parsed = parse_text(
        "a.html",
        "<p>one   two\n three<br>four</p><ul><li>a<ul><li>b</ul><li><div>c</div></ul><ol><li>x<li>y</ol>"
        "<pre>  kept\n    as is</pre><img alt='a goose'><script>not</script>"
        "<table><tr><th>h<th>i<tr><td>1<td>2</table>",
    )
    assert parsed.text.strip().split("\n") == [
        "one two three", "four", "", "- a", "  - b", "- c", "", "1. x", "2. y", "", "  kept", "    as is", "",
        "[a goose]", "", "h | i", "1 | 2",
    ]  # fmt: skip


def test_html_hides_nothing_that_some_reader_may_see() -> None:
    parsed = parse_text(
        "a.html",
        "<p>a<math><msup><mn>2</mn><mi>n</mi></msup></math>b<svg><title>map</title><text>East</text><text>West</text></svg>"
        "<object><p>no player</p></object><select><option>one<option>two</select>c<style>p {}</style>"
        "<noscript><p>switch it on<p>and the rest",
    )
    words = " ".join(parsed.text.split())
    assert words == "a 2 nb map East West no player one two c switch it on and the rest"


def table(*rows: str) -> str:
    """A table with these rows."""
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (table("<td><p>a</p><p>b</p></td><td><ul><li>c<li>d</ul></td>", "<td>e<br>f<td></td><td>g</td>"),
         "a b | - c - d\ne f |  | g\n"),
        (table("<td>left</td><td>" + table("<td>a<td>b", "<td>c<td>d") + "</td><td>right</td>"),
         "left | a b c d | right\n"),
        (table(f"<td><p>menu<p>{FILLER * 50}</td><td>" + table("<td>a<td>b", "<td>c<td>d") + "</td><td>right</td>"),
         f"menu\n{FILLER * 50}\n\na | b\nc | d\n\nright\n"),
        (table("<td><p>a<td><p>b<h2>Shops</h2><p>c"), "a\nb\n\nShops\n\nc\n"),
        (table("<td>1<td><pre>x<br>  y</pre>"), "1\nx\n  y\n"),
        (table("<td>" + FILLER * 50 + "<td>b"), FILLER * 50 + " | b\n"),
        ("<table><td>a<td>b<table><td>c</table></table>d</table>e<td>f", "a | b c\n\nde\nf\n"),
    ],
    ids=["blocks", "nested", "layout", "heading", "pre", "long", "careless"],
)  # fmt: skip
def test_rows_of_html_tables_are_lines_where_they_hold_values(page: str, text: str) -> None:
    assert parse_text("a.html", f"<body>{page}").text.rstrip("\n") == text.rstrip("\n")


def test_a_heading_of_html_in_two_lines_has_a_title_in_one() -> None:
    parsed = parse_text("a.html", "<p>a</p><h1>One<br>Two</h1><p>b</p><h2><div>Three</div><img alt='four'></h2>")
    assert parsed.text.rstrip() == "a\n\nOne Two\n\nb\n\nThree\n[four]"
    assert parsed.places.titles == ["One Two", "Three [four]"]
    assert parsed.places.at(parsed.text.index("Three")).section == "Three [four]"


def test_html_says_its_encoding() -> None:
    page = "<html><head><meta charset='windows-1251'></head><body><p>Гуси</p></body></html>"
    parsed = parse(page.encode("cp1251"), "a.html", Limits())
    assert parsed.text.strip() == "Гуси"
    assert parsed.encoding == "windows-1251"


def test_json_without_line_ends_is_set_in_lines() -> None:
    text = '{"a": [1, 2.50, 1e999, "x, {y} \\" z"], "b": {}, "long": "' + "w " * 1_500 + '"}'
    parsed = parse_text("a.json", text)
    assert parsed.text.startswith('{\n  "a": [\n    1,\n    2.50,\n    1e999,\n    "x, {y} \\" z"\n  ],\n  "b": {\n')
    assert json.loads(parsed.text) == json.loads(text)
    assert parsed.places.titles == ["a", "b", "long"]
    assert parsed.places.at(parsed.text.index("1e999")).section == "a"


@pytest.mark.parametrize("unsound", ["hello world {} [1] ", '{"a": 1}\n{"b": "c d"}\n', "[1, 2] # three\n"])
def test_unsound_json_keeps_its_blanks(unsound: str) -> None:
    text = unsound + '"' + "w " * 1_500
    assert parse_text("a.json", text).text == text


def test_long_keys_of_json_are_shortened_as_titles() -> None:
    [title] = parse_text("a.json", '{"' + "k" * 1_500 + '": 1}').places.titles
    assert title == "k" * (MAX_TITLE - 1) + "…"


def test_json_lists_number_their_items() -> None:
    parsed = parse_text("a.json", '[{"a": 1},\n {"a": 2}, 3]')
    assert parsed.places.titles == ["item 1", "item 2", "item 3"]
    assert parsed.text == '[{"a": 1},\n {"a": 2}, 3]'


def test_rows_of_a_csv_with_one_quote_too_many_are_its_lines() -> None:
    parsed = parse_text("a.csv", 'a,"b\nc,d\ne,f\n')
    assert parsed.places.at(parsed.text.index("e,f")).row == 3


@pytest.mark.parametrize("part", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("text", "row"),
    [
        ('6" pipe,x\ny,7" pipe\nend,\n', 3),
        ('x,"a\nb, ""c"""\n\nend,', 3),
        ('x,y\n"a\nb",' + "z" * 200_000 + "\nend,", 3),
        ("end,", 1),
    ],
)
def test_rows_of_a_csv_end_where_its_quotes_say(text: str, row: int, part: str) -> None:
    parsed = parse_text("a.csv", text.replace(",", part))
    assert parsed.places.at(parsed.text.index("end")).row == row


def test_a_message_in_html_alone_is_read(tmp_path: Path) -> None:
    message = EmailMessage()
    message["From"], message["Subject"] = "a@example.org", "Gänse"
    message.set_content(f"<p>{FILLER}</p>", subtype="html")
    parsed = parse(bytes(message), "a.eml", Limits())
    assert parsed.text.strip() == f"From: a@example.org\nSubject: Gänse\n\n{FILLER}"


@pytest.mark.parametrize("declared", ["", "; charset=us-ascii", "; charset=x-unknown"])
@pytest.mark.parametrize(("kind", "body"), [("plain", "Gänse für Käse"), ("html", "<p>Gänse für Käse</p>")])
def test_a_message_that_does_not_say_its_encoding(declared: str, kind: str, body: str) -> None:
    head = f"Subject: a\nContent-Type: text/{kind}{declared}\nContent-Transfer-Encoding: 8bit\n\n"
    assert parse_text("a.eml", head + body).text.strip() == "Subject: a\n\nGänse für Käse"
    assert "Gänse für Käse" in parse((head + body).encode("cp1252"), "a.eml", Limits()).text


def test_a_message_whose_plain_form_is_blank_is_read_in_html() -> None:
    message = EmailMessage()
    message.set_content("\n \n")
    message.add_alternative(f"<p>{NEEDLE}</p>", subtype="html")
    assert parse(bytes(message), "a.eml", Limits()).text.strip() == NEEDLE


def test_attachments_are_told_wherever_they_are() -> None:
    message = EmailMessage()
    message.set_content(NEEDLE)
    message.add_alternative("<p>another form</p>", subtype="html")
    page = message.get_payload(1)
    page.add_related(b"\x89PNG", maintype="image", subtype="png", filename="goose.png")
    message.add_alternative("BEGIN:VCALENDAR", subtype="calendar")
    message.add_attachment(EmailMessage())
    message.add_attachment("<p>a page</p>", subtype="html", filename="page.html")
    parsed = parse(bytes(message), "a.eml", Limits())
    assert parsed.notes == ("Attachments are named but not read: goose.png, text/calendar, message/rfc822, page.html.",)
    assert parsed.text.split("\n\n")[-1].startswith("Attachments: goose.png, text/calendar, ")


def test_a_page_with_several_titles_is_followed_by_the_last(tmp_path: Path) -> None:
    pdf = canvas.Canvas(str(tmp_path / "a.pdf"))
    for number, titles in enumerate([("Intro", "Methods"), (), ("Results",)], 1):
        for title in titles:
            pdf.bookmarkPage(title)
            pdf.addOutlineEntry(title, title)
        pdf.drawString(72, 700, f"Page {number}")
        pdf.showPage()
    pdf.save()
    parsed = parse((tmp_path / "a.pdf").read_bytes(), "a.pdf", Limits())
    sections = [parsed.places.at(parsed.text.index(f"Page {number}")).section for number in (1, 2, 3)]
    assert sections == ["Intro", "Methods", "Results"]


def test_what_is_filled_into_a_form_is_read(tmp_path: Path) -> None:
    pdf = canvas.Canvas(str(tmp_path / "a.pdf"))
    pdf.drawString(72, 700, "Of geese")
    form = pdf.acroForm
    form.textfield(name="name", value="Ágata\nGans", fieldFlags="multiline", y=10)
    form.textfield(name="empty", value="", y=20)
    form.checkbox(name="swims", checked=True, y=30)
    form.checkbox(name="flies", checked=False, y=40)
    form.choice(name="color", value="white", options=["white", "black"], y=50)
    form.radio(name="kind", value="wild", selected=True, y=60)
    form.radio(name="kind", value="tame", selected=False, y=70)
    pdf.save()
    text = parse((tmp_path / "a.pdf").read_bytes(), "a.pdf", Limits()).text
    assert text == "Of geese\nname: Ágata Gans\nswims: Yes\ncolor: white\nkind: wild"


def test_pages_of_drawings_are_told(tmp_path: Path) -> None:
    pdf = canvas.Canvas(str(tmp_path / "a.pdf"))
    pdf.drawString(72, 700, NEEDLE)
    pdf.showPage()
    pdf.rect(10, 10, 100, 100)
    pdf.showPage()
    pdf.showPage()
    pdf.save()
    parsed = parse((tmp_path / "a.pdf").read_bytes(), "a.pdf", Limits())
    assert parsed.notes == ("1 of 3 pages are drawings without text: 2.",)


def test_a_page_whose_text_cannot_be_had_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, of_page = write_pdf(tmp_path / "a.pdf", ["Bad", NEEDLE]), pdfium.PdfPage.get_textpage
    pages = iter([1, 2])

    def fail_once(page: pdfium.PdfPage) -> pdfium.PdfTextPage:
        if next(pages) == 1:
            raise pdfium.PdfiumError("Failed to load text page.")
        return of_page(page)

    monkeypatch.setattr(pdfium.PdfPage, "get_textpage", fail_once)
    parsed = parse(path.read_bytes(), "a.pdf", Limits())
    assert (parsed.text, parsed.notes) == (NEEDLE, ("1 of 2 pages are damaged: 1.",))


def test_formulas_that_were_never_calculated_are_shown(tmp_path: Path) -> None:
    book, path = openpyxl.Workbook(), tmp_path / "a.xlsx"
    sheet = book.active
    sheet["A1"], sheet["B1"], sheet["A2"], sheet["A4"] = 1, "=SUM(1,2)", ArrayFormula("A2", "=MAX(A1:B1*2)"), "end"
    book.save(path)
    assert parse(path.read_bytes(), "a.xlsx", Limits()).text.split("\n\n")[1] == "1 | =SUM(1,2)\n=MAX(A1:B1*2)\nend\n"
    calculated = b'<c r="A1"><f>1+2</f><v>3</v></c><c r="B1" t="str"><f>IF(A1,"")</f><v></v></c><c r="C1"><v>4</v></c>'
    with zipfile.ZipFile(path) as package:
        xml = package.read(SHEET)
    rows = xml[: xml.index(b"<sheetData>")] + b'<sheetData><row r="1">' + calculated + b"</row></sheetData></worksheet>"
    assert parse(repacked(path, SHEET, rows), "a.xlsx", Limits()).text.split("\n\n")[1] == "3 |  | 4\n"


def test_words_parted_at_the_end_of_a_line_are_whole(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["The barber\u00ad\nshop was counted."])
    assert parse(path.read_bytes(), "a.pdf", Limits()).text == "The barbershop was counted."


def repacked(path: Path, name: str, data: bytes) -> bytes:
    """A package with one member changed or added."""
    with zipfile.ZipFile(path) as package:
        members = {member: package.read(member) for member in package.namelist()} | {name: data}
    with zipfile.ZipFile(path, "w") as package:
        for member, whole in members.items():
            package.writestr(member, whole)
    return path.read_bytes()


def test_a_template_of_a_text_is_a_text(tmp_path: Path) -> None:
    path = BY_NAME["town.odt"].write(tmp_path / "town.ott")
    data = repacked(path, "mimetype", b"application/vnd.oasis.opendocument.text-template")
    assert NEEDLE in parse(data, path.name, Limits()).text


@pytest.mark.parametrize(
    ("what", "form"),
    [("spreadsheet", "xlsx"), ("spreadsheet-template", "xlsx"), ("presentation", "pptx"), ("graphics", "pdf")],
)
def test_other_kinds_of_open_document_are_refused_with_a_next_step(tmp_path: Path, what: str, form: str) -> None:
    path = BY_NAME["town.odt"].write(tmp_path / "a.zip")
    data = repacked(path, "mimetype", b"application/vnd.oasis.opendocument." + what.encode())
    with pytest.raises(UnreadableError, match=f"^is an OpenDocument file but no text; save it as {form}.$"):
        kind_of(data, "a.ods")


def test_other_kinds_of_office_files_are_refused_with_a_next_step() -> None:
    drawing = io.BytesIO()
    with zipfile.ZipFile(drawing, "w") as package:
        package.writestr("[Content_Types].xml", "<Types/>")
        package.writestr("visio/document.xml", "<VisioDocument/>")
    with pytest.raises(UnreadableError, match=r"save it as pdf\.$"):
        kind_of(drawing.getvalue(), "a.vsdx")


@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.py"])
def test_a_text_about_pdf_is_no_pdf(name: str) -> None:
    assert parse_text(name, "Files begin with %PDF-1.7 there.").kind != "PDF"


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("page", "<!doctype html><p>Hello", "HTML"),
        ("page.txt", "<!-- a --><!-- b -->\n<html><p>Hello", "HTML"),
        ("mail", "From: a\nTo: b\nSubject: c\n\nHello", "e-mail"),
        ("Makefile", "all:\n\techo", "source code"),
        ("tool", "#!/bin/sh\necho", "source code"),
        ("notes", "Hello", "text"),
        ("notes.docx", "Hello", "text"),
        ("a.b.PY", "x = 1", "source code"),
        (".json", "Hello", "text"),
    ],
)
def test_kinds_are_told_by_content_then_name(name: str, head: str, kind: str) -> None:
    assert parse_text(name, head).kind == kind
