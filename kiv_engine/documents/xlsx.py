"""XLSX: every sheet as a section, its cells a row a line, with the rows' numbers."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import Any, Final

import openpyxl
from openpyxl.worksheet import _reader

from kiv_engine.documents.office import note_unread
from kiv_engine.documents.package import Package
from kiv_engine.documents.text_builder import TextBuilder

TOLD_EVERY: Final = 200
MAX_ROW: Final = 1_048_576
"""Of a sheet, in every program."""

Cell = dict[str, Any]
"""As openpyxl reads it: its column, from 1, and its value."""

_WIDE_GAP: Final = re.compile(r"(?: \| ){20,}")
"""So many empty cells in a row are a stray cell far to the right."""


class RowParser(_reader.WorkSheetParser):  # type: ignore[misc]
    """The rows of a sheet in the order of the file, whatever their numbers: openpyxl drops those that count backwards.

    Takes a formula where there is no value of it, as in books that no spreadsheet program saved; openpyxl itself reads
    either the values of a book or its formulas.
    """

    def parse(self) -> Iterator[tuple[int, list[Cell]]]:
        """Nothing but rows is looked at, so that odd settings of a page do no harm."""
        for _event, element in _reader.iterparse(self.source):
            if element.tag == _reader.ROW_TAG:
                yield self.parse_row(element)
                element.clear()

    def parse_cell(self, element: Any) -> Cell:
        cell: Cell = super().parse_cell(element)
        without_value = cell["value"] is None and element.get("t") != "str"  # of that type, it is an empty text
        if without_value and (formula := element.findtext(_reader.FORMULA_TAG)):
            cell["value"] = f"={formula}"
        return cell


def parse(data: bytes, out: TextBuilder) -> None:
    """The values that were last calculated, and formulas that never were."""
    package = Package(data, out.limits)
    package.check()  # openpyxl unpacks whatever there is
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what it does not know, like some drawings
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        try:
            for sheet in book.worksheets:
                write_sheet(sheet, out)
        finally:
            book.close()
    note_unread(package, out)


def write_sheet(sheet: Any, out: TextBuilder) -> None:
    """A sheet's name and its rows; empty ones are left out, but counted."""
    out.end_block()
    out.begin_section(str(sheet.title))
    out.add(f"## {sheet.title}\n\n")
    written = False
    for count, (number, cells) in enumerate(rows_of(sheet), 1):
        if count % TOLD_EVERY == 0:
            out.progress(count, 0, "rows")
        if line := row_line(cells):
            out.begin_row(number if 0 < number <= MAX_ROW else 0)
            out.add(f"{line}\n")
            written = True
    if written:
        out.begin_row(0)


def rows_of(sheet: Any) -> Iterator[tuple[int, list[Cell]]]:
    """Number and cells of every row in a sheet of openpyxl's."""
    book = sheet.parent
    with sheet._get_source() as source:
        yield from RowParser(
            source,
            sheet._shared_strings,
            data_only=True,
            epoch=book.epoch,
            date_formats=book._date_formats,
            timedelta_formats=book._timedelta_formats,
        ).parse()


def row_line(cells: Sequence[Cell]) -> str:
    """The cells of a row, parted by bars; empty for a row without any. Of two in one place both are there."""
    texts: list[str] = []
    for cell in sorted(cells, key=lambda cell: int(cell["column"])):
        if text := cell_text(cell["value"]):
            texts += [""] * (cell["column"] - 1 - len(texts))
            texts.append(text)
    return _WIDE_GAP.sub(" | … | ", " | ".join(texts).rstrip(" |"))


def cell_text(value: Any) -> str:
    """A value as people write it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return " ".join(str(value).split())
