"""Real files of every kind, written by the libraries that people's programs use. Each holds NEEDLE, and tells where."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import docx
from reportlab.pdfgen import canvas

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
