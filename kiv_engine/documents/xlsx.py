"""XLSX: every sheet as a section, its cells a row a line, with the rows' numbers."""

import io
import re
import warnings
from collections.abc import Iterable
from datetime import date, datetime, time
from typing import Any, Final

import openpyxl
from openpyxl.worksheet import _read_only, _reader

from kiv_engine.documents.office import note_unread
from kiv_engine.documents.package import Package
from kiv_engine.documents.text_builder import TextBuilder

TOLD_EVERY: Final = 200

_WIDE_GAP: Final = re.compile(r"(?: \| ){20,}")
"""So many empty cells in a row are a stray cell far to the right."""


class CellParser(_reader.WorkSheetParser):  # type: ignore[misc]
    """Takes a formula where there is no value of it, as in books that no spreadsheet program saved.

    openpyxl itself reads either the values of a book or its formulas.
    """

    def parse_cell(self, element: Any) -> dict[str, Any]:
        cell: dict[str, Any] = super().parse_cell(element)
        without_value = cell["value"] is None and element.get("t") != "str"  # of that type, it is an empty text
        if without_value and (formula := element.findtext(_reader.FORMULA_TAG)):
            cell["value"] = f"={formula}"
        return cell


_read_only.WorkSheetParser = CellParser


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
    sheet.reset_dimensions()  # what a file says of its size may be wrong
    written = False
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        if number % TOLD_EVERY == 0:
            out.progress(number, 0, "rows")
        if line := row_line(row):
            out.begin_row(number)
            out.add(f"{line}\n")
            written = True
    if written:
        out.begin_row(0)


def row_line(row: Iterable[Any]) -> str:
    """The cells of a row, parted by bars; empty for a row without any."""
    return _WIDE_GAP.sub(" | … | ", " | ".join(map(cell_text, row)).rstrip(" |"))


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
