"""CSV and TSV: the text as it is, with the numbers of its rows. A row may go over several lines inside of quotes."""

from collections.abc import Iterator

from kiv_engine.documents.plain import decoded
from kiv_engine.documents.text_builder import TextBuilder, clean


def parse(data: bytes, out: TextBuilder) -> None:
    """Row 1 is the first, which often names the columns, as spreadsheet programs count."""
    text = clean(decoded(data, out))
    for number, start in enumerate(row_starts(text), 1):
        out.places.rows.append(start, number)
    out.add(text)


def row_starts(text: str) -> Iterator[int]:
    """Where each row begins: behind a line's end with an even number of quotes before it.

    A text with an odd number of them is no sound CSV; there, every line is a row.
    """
    sound = text.count('"') % 2 == 0
    quotes = start = 0
    while start < len(text):
        if quotes % 2 == 0 or not sound:
            yield start
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        quotes += text.count('"', start, end)
        start = end
