"""PDF: the text of every page, with its number, and the outline's entries as sections."""

import re
from contextlib import suppress
from typing import Any, Final

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from kiv_engine.documents.text_builder import TextBuilder, UnreadableError

BARE_LETTERS: Final = 25
"""A page with fewer letters than this, and a picture, is taken for a scanned one."""

SCANNED_SHARE: Final = 0.5
MAX_OUTLINE: Final = 10_000

_HYPHEN: Final = re.compile("(?:\ufffe|\x02)\r?\n?|\u00ad\r?\n")
"""How pdfium marks a hyphen that only parts a word at the end of a line."""


def parse(data: bytes, out: TextBuilder) -> None:
    """All pages in order. Raises UnreadableError: protected, damaged, scanned, or without text."""
    document = open_pdf(data)
    try:
        Reader(document, out).read()
    finally:
        document.close()


def open_pdf(data: bytes) -> pdfium.PdfDocument:
    """The document, if it opens without a password."""
    try:
        return pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium_c.FPDF_ERR_PASSWORD:
            raise UnreadableError("is protected by a password; save a copy without one.") from error
        raise UnreadableError("is a damaged PDF; open it in a PDF viewer and save it anew.") from error


class Reader:
    """Reads one PDF and counts the pages that hold pictures instead of text."""

    def __init__(self, document: pdfium.PdfDocument, out: TextBuilder) -> None:
        self._document, self._out = document, out
        self._scanned: list[int] = []
        self._blank = 0
        self._broken: list[int] = []

    def read(self) -> None:
        """All pages."""
        count = len(self._document)
        if not count:
            raise UnreadableError("has no pages.")
        titles = outline(self._document)
        for number in range(1, count + 1):
            self._out.progress(number - 1, count, "pages")
            self._out.end_block()
            self._out.begin_page(number)
            if title := titles.get(number):
                self._out.begin_section(title)
            self._out.add(self._page_text(number))
        self._tell(count)

    def _page_text(self, number: int) -> str:
        try:
            page = self._document[number - 1]
        except pdfium.PdfiumError:
            self._broken.append(number)
            return ""
        try:
            text = page_text(page)
            self._look(number, page, sum(map(str.isalnum, text)))
            return text
        finally:
            page.close()

    def _look(self, number: int, page: Any, letters: int) -> None:
        if letters < BARE_LETTERS and has_picture(page):
            self._scanned.append(number)
        elif not letters:
            self._blank += 1

    def _tell(self, count: int) -> None:
        """Raise for a scanned document; note pages without text in others."""
        scanned = len(self._scanned)
        if scanned > SCANNED_SHARE * (count - self._blank):
            raise UnreadableError(
                f"is scanned: {scanned:,} of {count:,} pages are pictures without text. "
                "Run it through text recognition first, for example: ocrmypdf scan.pdf text.pdf"
            )
        if scanned:
            self._out.note(f"{scanned:,} of {count:,} pages are pictures without text: {some(self._scanned)}.")
        if self._broken:
            self._out.note(f"{len(self._broken):,} of {count:,} pages are damaged: {some(self._broken)}.")


def page_text(page: Any) -> str:
    """The text of a page, its lines ended by "\\n", words that a line's end parted in one."""
    text_page = page.get_textpage()
    try:
        text = text_page.get_text_bounded()
    finally:
        text_page.close()
    return _HYPHEN.sub("", text).replace("\r\n", "\n").strip("\n")


def has_picture(page: Any) -> bool:
    """Whether there is a picture on a page."""
    return any(True for _picture in page.get_objects(filter=[pdfium_c.FPDF_PAGEOBJ_IMAGE], max_depth=3))


def outline(document: pdfium.PdfDocument) -> dict[int, str]:
    """The first title of the outline for each page that has one."""
    titles: dict[int, str] = {}
    for count, bookmark in enumerate(document.get_toc(max_depth=5)):
        if count >= MAX_OUTLINE:
            break
        destination = bookmark.get_dest()
        page = destination.get_index() if destination else None
        if page is not None and page >= 0:
            with suppress(UnicodeError):
                titles.setdefault(page + 1, bookmark.get_title())
    return titles


def some(numbers: list[int]) -> str:
    """The first of many numbers."""
    shown = ", ".join(map(str, numbers[:5]))
    return f"{shown}, …" if len(numbers) > 5 else shown
