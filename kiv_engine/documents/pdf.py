"""PDF: the text of every page, with its number, and the outline's entries as sections."""

import ctypes
import re
from contextlib import suppress
from typing import Any, Final

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from kiv_engine.documents.text_builder import RIGHT_FILE, TextBuilder, UnreadableError
from kiv_engine.errors import said

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
            raise UnreadableError(said("is protected by a password; save a copy without one.")) from error
        raise UnreadableError(said("is a damaged PDF; open it in a PDF viewer and save it anew.")) from error


class Reader:
    """Reads one PDF and counts the pages that hold pictures instead of text."""

    def __init__(self, document: pdfium.PdfDocument, out: TextBuilder) -> None:
        self._document, self._out = document, out
        self._scanned: list[int] = []
        self._drawn: list[int] = []
        self._blank = 0
        self._broken: list[int] = []

    def read(self) -> None:
        """All pages."""
        count = len(self._document)
        if not count:
            raise UnreadableError(said("has no pages; {0}", RIGHT_FILE))
        titles = outline(self._document)
        self._document.init_forms()
        for number in range(1, count + 1):
            self._out.progress(number - 1, count, "pages")
            self._out.end_block()
            self._out.begin_page(number)
            first, last = titles.get(number, ("", ""))
            if first:
                self._out.begin_section(first)
            self._out.add(self._page_text(number))
            if last != first:
                self._out.begin_section(last)  # what goes on on the next page
        self._tell(count)

    def _page_text(self, number: int) -> str:
        try:
            page = self._document[number - 1]
            try:
                text = page_text(page)
                self._look(number, page, sum(map(str.isalnum, text)))
                return "\n".join([text, *filled_in(page)]).strip("\n")
            finally:
                page.close()
        except pdfium.PdfiumError:
            self._broken.append(number)
            return ""

    def _look(self, number: int, page: Any, letters: int) -> None:
        if letters < BARE_LETTERS and has(page, pdfium_c.FPDF_PAGEOBJ_IMAGE):
            self._scanned.append(number)
        elif not letters:
            self._blank += 1
            if has(page, pdfium_c.FPDF_PAGEOBJ_PATH):
                self._drawn.append(number)

    def _tell(self, count: int) -> None:
        """Raise for a scanned document; note pages without text in others."""
        scanned = len(self._scanned)
        if scanned > SCANNED_SHARE * (count - self._blank):
            raise UnreadableError(
                said(
                    "is scanned: {0:,} of {1:,} pages are pictures without text. Run it through text "
                    "recognition first, for example: ocrmypdf scan.pdf text.pdf",
                    scanned,
                    count,
                )
            )
        if scanned:
            self._out.note(f"{scanned:,} of {count:,} pages are pictures without text: {some(self._scanned)}.")
        if self._drawn:
            self._out.note(f"{len(self._drawn):,} of {count:,} pages are drawings without text: {some(self._drawn)}.")
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


def has(page: Any, kind: int) -> bool:
    """Whether there is an object of this kind on a page."""
    return any(True for _found in page.get_objects(filter=[kind], max_depth=3))


def filled_in(page: Any) -> list[str]:
    """What a form's fields on a page hold, a field a line; those that are empty or not ticked are left out."""
    values = {}
    for index in range(pdfium_c.FPDFPage_GetAnnotCount(page) if page.formenv else 0):
        if annotation := pdfium_c.FPDFPage_GetAnnot(page, index):
            name = field_text(pdfium_c.FPDFAnnot_GetFormFieldName, page, annotation)
            values[name] = field_text(pdfium_c.FPDFAnnot_GetFormFieldValue, page, annotation)
            pdfium_c.FPDFPage_CloseAnnot(annotation)
    return [f"{name}: {value}" for name, value in values.items() if value not in ("", "Off")]


def field_text(get: Any, page: Any, annotation: Any) -> str:
    """A field's name or value in one line; empty for what is no field."""
    size = get(page.formenv, annotation, None, 0)
    buffer = ctypes.create_string_buffer(size)
    get(page.formenv, annotation, ctypes.cast(buffer, ctypes.POINTER(pdfium_c.FPDF_WCHAR)), size)
    return " ".join(buffer.raw[: max(0, size - 2)].decode("utf-16-le", "replace").split())


def outline(document: pdfium.PdfDocument) -> dict[int, tuple[str, str]]:
    """The first and the last title of the outline for each page that has one."""
    titles: dict[int, tuple[str, str]] = {}
    for count, bookmark in enumerate(document.get_toc(max_depth=5)):
        if count >= MAX_OUTLINE:
            break
        destination = bookmark.get_dest()
        page = destination.get_index() if destination else None
        if page is not None and page >= 0:
            with suppress(UnicodeError):
                title = bookmark.get_title()
                titles[page + 1] = (titles.get(page + 1, (title,))[0], title)
    return titles


def some(numbers: list[int]) -> str:
    """The first of many numbers."""
    shown = ", ".join(map(str, numbers[:5]))
    return f"{shown}, …" if len(numbers) > 5 else shown
