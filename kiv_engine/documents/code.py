"""Source code: the text as it is, with the numbers of its lines."""

from itertools import accumulate

from kiv_engine.documents.plain import decoded
from kiv_engine.documents.text_builder import TextBuilder, clean


def parse(data: bytes, out: TextBuilder) -> None:
    """Any text whose lines people count."""
    text = clean(decoded(data, out))
    lengths = (len(line) + 1 for line in text.split("\n")[:-1])
    for number, start in enumerate(accumulate(lengths, initial=out.length), 1):
        out.places.lines.append(start, number)
    out.add(text)
