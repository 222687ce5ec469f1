"""Real files of every kind, written by the libraries that people's programs use. Each holds NEEDLE, and tells where."""

import csv
import datetime
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Final

import docx
import openpyxl
import pptx
from odf import table as odf_table
from odf import text as odf_text
from odf.opendocument import OpenDocumentText
from reportlab.pdfgen import canvas

from kiv_engine.documents.places import Place

NEEDLE: Final = "The barbershop Golden Crumb is run by Mira Holt."
FILLER: Final = "The goose of Salt Steps was counted at noon."


def write_pdf(path: Path, pages: Sequence[str], outline: Sequence[tuple[int, str]] = ()) -> Path:
    """A page for each text, one line per line; outline entries as (page, title)."""
    pdf = canvas.Canvas(str(path))
    titles = dict(outline)
    for number, text in enumerate(pages, 1):
        if number in titles:
            pdf.bookmarkPage(f"page {number}")
            pdf.addOutlineEntry(titles[number], f"page {number}")
        lines = pdf.beginText(72, 760)
        for line in text.splitlines():
            lines.textLine(line)
        pdf.drawText(lines)
        pdf.showPage()
    pdf.save()
    return path


def write_docx(path: Path) -> Path:
    """Headings, lists, a table, and the needle in the second section."""
    document = docx.Document()
    document.add_heading("Minutes", 0)
    document.add_heading("First meeting", 1)
    document.add_paragraph(FILLER)
    document.add_paragraph("Count the geese", style="List Number")
    document.add_paragraph("Feed the geese", style="List Number")
    document.add_heading("Second meeting", 1)
    table = document.add_table(2, 2)
    for row in range(2):
        for column in range(2):
            table.cell(row, column).text = f"cell {row}{column}"
    document.add_paragraph(NEEDLE)
    document.save(path)
    return path


CONTAINER: Final = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def write_epub(path: Path, chapters: Sequence[tuple[str, str]]) -> Path:
    """A book with a file for each (title, body), and a table of contents that names them."""
    names = [f"chapter {number}.xhtml" for number in range(1, len(chapters) + 1)]
    items = "".join(
        f'<item id="c{number}" href="{name.replace(" ", "%20")}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(names)
    )
    spine = "".join(f'<itemref idref="c{number}"/>' for number in range(len(names)))
    links = "".join(
        f'<li><a href="{name.replace(" ", "%20")}">{title}</a></li>'
        for name, (title, _body) in zip(names, chapters, strict=True)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr(
            "OEBPS/book.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
            'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Town</dc:title></metadata><manifest>'
            '<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
            f"{items}</manifest><spine>{spine}</spine></package>",
        )
        book.writestr("OEBPS/nav.xhtml", page(f"<nav><ol>{links}</ol></nav>"))
        for name, (_title, body) in zip(names, chapters, strict=True):
            book.writestr(f"OEBPS/{name}", page(body))
    return path


def page(body: str) -> str:
    """A page of a book."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><head><title>No text'
        f"</title></head><body>{body}</body></html>"
    )


def write_odt(path: Path) -> Path:
    """Headings, a list in a list, a table, a footnote."""
    document = OpenDocumentText()
    document.text.addElement(odf_text.H(outlinelevel=1, text="First meeting"))
    document.text.addElement(odf_text.P(text=FILLER))
    outer = odf_text.List()
    item = odf_text.ListItem()
    item.addElement(odf_text.P(text="Count the geese"))
    inner = odf_text.List()
    inner_item = odf_text.ListItem()
    inner_item.addElement(odf_text.P(text="Twice"))
    inner.addElement(inner_item)
    item.addElement(inner)
    outer.addElement(item)
    document.text.addElement(outer)
    document.text.addElement(odf_text.H(outlinelevel=1, text="Second meeting"))
    table = odf_table.Table()
    for row_number in range(2):
        row = odf_table.TableRow()
        for column in range(2):
            cell = odf_table.TableCell()
            cell.addElement(odf_text.P(text=f"cell {row_number}{column}"))
            row.addElement(cell)
        table.addElement(row)
    document.text.addElement(table)
    paragraph = odf_text.P(text="Of shops")
    note = odf_text.Note(noteclass="footnote")
    note.addElement(odf_text.NoteCitation(text="1"))
    body = odf_text.NoteBody()
    body.addElement(odf_text.P(text=NEEDLE))
    note.addElement(body)
    paragraph.addElement(note)
    paragraph.addText(" and")
    paragraph.addElement(odf_text.S(c=2))
    paragraph.addText("geese.")
    document.text.addElement(paragraph)
    document.save(str(path))
    return path


def write_rtf(path: Path) -> Path:
    """As word processors write it, with letters of another code page."""
    path.write_bytes(
        rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Times;}}{\info{\title Not shown}}"
        rb"\pard " + FILLER.encode() + rb"\par caf\'e9 \u8364?\par\b " + NEEDLE.encode() + rb"\b0\par}"
    )
    return path


def write_pptx(path: Path) -> Path:
    """Three slides; the needle is in the notes of the second."""
    show = pptx.Presentation()
    for number, title in enumerate(["Geese", "Shops", "End"], 1):
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = f"{FILLER}\nOn slide {number}."
        if number == 2:
            table = slide.shapes.add_table(1, 2, 0, 0, 914_400, 914_400).table
            table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
            slide.notes_slide.notes_text_frame.text = NEEDLE
    show.save(str(path))
    return path


def write_xlsx(path: Path) -> Path:
    """Two sheets; the needle is in row 42 of the second, behind empty rows."""
    book = openpyxl.Workbook()
    first = book.active
    first.title = "Geese"
    first.append(["day", "count", "seen"])
    first.append([datetime.date(2024, 5, 17), 31, True])
    first.append([datetime.datetime(2024, 5, 18, 12, 30), 2.5, None])
    book.create_sheet("Shops")["B42"] = NEEDLE
    book.save(path)
    return path


def write_eml(path: Path) -> Path:
    """A message in two forms, with an attachment."""
    message = EmailMessage()
    message["From"], message["To"] = "Mira Höll <mira@example.org>", "town@example.org"
    message["Subject"] = "About the shops – and geese"
    message.set_content(f"{FILLER}\n{NEEDLE}\n")
    message.add_alternative("<p>Not this form.</p>", subtype="html")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="goose.png")
    path.write_bytes(bytes(message))
    return path


def write_csv(path: Path) -> Path:
    """The needle is in row 4; row 2 goes over two lines."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        rows.writerow(["name", "text"])
        rows.writerow(["goose", 'Counted\nat "noon".'])
        rows.writerow(["fish", FILLER])
        rows.writerow(["shop", NEEDLE])
    return path


def write_json(path: Path) -> Path:
    """Set in lines, as people keep it; the needle is in "shops"."""
    value = {"geese": FILLER, "shops": f"{FILLER} {NEEDLE}"}  # the built-in model gets lost among more brackets
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
    return path


def write_jsonl(path: Path) -> Path:
    """The needle is in row 3."""
    path.write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in (FILLER, FILLER, f"{FILLER} {NEEDLE}")), encoding="utf-8"
    )
    return path


def write_html(path: Path) -> Path:
    """The needle is under the second heading; scripts and styles are not shown."""
    path.write_text(
        f"<!doctype html><html><head><title>Town</title><style>p {{}}</style></head><body><h1>Geese</h1><p>{FILLER}"
        f"<script>var x = '<p>hidden</p>';</script><h2>Shops &amp; more</h2><ol><li><p>first<li>second</ol>"
        f"<table><tr><td>a<td>b</table><p>{NEEDLE}</body></html>",
        encoding="utf-8",
    )
    return path


def write_markdown(path: Path) -> Path:
    """The needle is under the second heading; what looks like one in a block of code is none."""
    path.write_text(f"# Geese\n\n{FILLER}\n\n## Shops ##\n\n```sh\n# no heading\n```\n\n{NEEDLE}\n", encoding="utf-8")
    return path


def write_code(path: Path) -> Path:
    """The needle is in line 3."""
    path.write_text(f"x = 1\n\n# {NEEDLE}\ny = 2\n", encoding="utf-8")
    return path


def write_text(path: Path) -> Path:
    """Nothing but text."""
    path.write_text(f"{FILLER}\n\n{NEEDLE}\n", encoding="utf-8")
    return path


def write_two_page_pdf(path: Path) -> Path:
    """The needle is on page 2."""
    return write_pdf(path, [FILLER, NEEDLE])


def write_two_chapter_epub(path: Path) -> Path:
    """The needle is in the second chapter."""
    return write_epub(path, [("Geese", f"<p>{FILLER}</p>"), ("Shops", f"<p>{NEEDLE}</p>")])


@dataclass(frozen=True)
class Sample:
    """A file's name, what writes it, and where its needle is."""

    name: str
    write: Callable[[Path], Path]
    place: Place
    kind: str


SAMPLES: Final = (
    Sample("town.txt", write_text, Place(), "text"),
    Sample("town.md", write_markdown, Place(section="Shops"), "Markdown"),
    Sample("town.html", write_html, Place(section="Shops & more"), "HTML"),
    Sample("town.pdf", write_two_page_pdf, Place(page=2), "PDF"),
    Sample("town.docx", write_docx, Place(section="Second meeting"), "DOCX"),
    Sample("town.epub", write_two_chapter_epub, Place(section="Shops"), "EPUB"),
    Sample("town.csv", write_csv, Place(row=4), "CSV"),
    Sample("town.tsv", write_csv, Place(row=4), "TSV"),
    Sample("town.json", write_json, Place(section="shops"), "JSON"),
    Sample("town.jsonl", write_jsonl, Place(row=3), "JSON lines"),
    Sample("town.py", write_code, Place(line=3), "source code"),
    Sample("town.odt", write_odt, Place(section="Second meeting"), "ODT"),
    Sample("town.rtf", write_rtf, Place(), "RTF"),
    Sample("town.pptx", write_pptx, Place(page=2, section="Shops"), "PPTX"),
    Sample("town.xlsx", write_xlsx, Place(section="Shops", row=42), "XLSX"),
    Sample("town.eml", write_eml, Place(section="About the shops – and geese"), "e-mail"),
)
