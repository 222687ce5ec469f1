"""CSV and TSV: the text as it is, with the numbers of its rows. A row may go over several lines inside of quotes."""

import csv
from io import StringIO
from itertools import accumulate
from typing import Final

from kiv_engine.documents.plain import decoded
from kiv_engine.documents.text_builder import TextBuilder, clean

DELIMITERS: Final = ",;\t"


def parse(data: bytes, out: TextBuilder) -> None:
    """Row 1 is the first, which often names the columns, as spreadsheet programs count."""
    text = clean(decoded(data, out))
    csv.field_size_limit(out.limits.characters)
    for number, start in enumerate(row_starts(text), 1):
        out.places.rows.append(start, number)
    out.add(text)


def row_starts(text: str) -> list[int]:
    """Where each row begins. In what is no sound CSV, like one with a quote too many, every line is a row."""
    *line_starts, _end = accumulate(map(len, StringIO(text)), initial=0)
    first_line = text.partition("\n")[0]
    rows = csv.reader(StringIO(text), delimiter=max(DELIMITERS, key=first_line.count), strict=True)
    try:
        ends = [rows.line_num for _row in rows]
    except csv.Error:
        return line_starts
    return [line_starts[line] for line in [0, *ends][:-1]]
