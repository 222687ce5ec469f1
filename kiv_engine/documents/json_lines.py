"""JSON lines: the text as it is; every line is a row."""

from kiv_engine.documents.plain import decoded
from kiv_engine.documents.text_builder import TextBuilder, clean


def parse(data: bytes, out: TextBuilder) -> None:
    """Lines that are no sound JSON are text all the same."""
    for number, line in enumerate(clean(decoded(data, out)).split("\n"), 1):
        if line.strip():
            out.begin_row(number)
            out.add(f"{line}\n")
