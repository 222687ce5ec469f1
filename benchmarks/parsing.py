"""Parsing: a generated PDF of 1,000 pages, parsed as `kiv ask` and the app do it, with its page numbers checked.

Every page has a heading with its own number and 40 lines of text; every 50th begins a part of the outline. After
parsing, page and section of every heading are looked up. Each run starts a parsing process; the median counts.

    python benchmarks/parsing.py [--pages 1000] [--runs 3]
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from kiv_engine.documents.opening import open_document
from kiv_engine.documents.text_builder import ParsedText

LINES: Final = 40
PART_PAGES: Final = 50
SENTENCE: Final = "The harbour master wrote down in the book of the town that the goose was counted at noon of day"


def write_pdf(path: Path, num_pages: int) -> None:
    """A PDF whose pages say their own numbers."""
    from reportlab.pdfgen import canvas

    pdf = canvas.Canvas(str(path))
    for number in range(1, num_pages + 1):
        if number % PART_PAGES == 1:
            pdf.bookmarkPage(f"page {number}")
            pdf.addOutlineEntry(part_title(number), f"page {number}")
        lines = pdf.beginText(72, 780)
        lines.textLine(heading(number))
        for line in range(LINES):
            lines.textLine(f"{SENTENCE} {number * LINES + line}.")
        pdf.drawText(lines)
        pdf.showPage()
    pdf.save()


def heading(number: int) -> str:
    """What stands on top of a page."""
    return f"This is leaf {number} of the book."


def part_title(number: int) -> str:
    """The outline's title for a page."""
    return f"Part {(number - 1) // PART_PAGES + 1}"


def parse(path: Path) -> tuple[ParsedText, float]:
    """The text, and the seconds from asking for it to having it."""
    begin = time.perf_counter()
    steps = open_document(path)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value, time.perf_counter() - begin


def num_wrong(parsed: ParsedText, num_pages: int) -> int:
    """Pages whose heading is not said to be on that page and in its part."""
    wrong = 0
    for number in range(1, num_pages + 1):
        offset = parsed.text.find(heading(number))
        place = parsed.places.at(offset)
        wrong += offset < 0 or (place.page, place.section) != (number, part_title(number))
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "book.pdf")
        write_pdf(path, options.pages)
        size = path.stat().st_size
        runs = [parse(path) for _ in range(options.runs)]
    text, seconds = runs[-1][0], statistics.median(taken for _text, taken in runs)
    wrong = num_wrong(text, options.pages)
    print(f"{'pages':>10}{'characters':>14}{'seconds':>10}{'ms a page':>12}{'wrong pages':>14}")
    print(f"{options.pages:>10,}{len(text.text):>14,}{seconds:>10.2f}{1e3 * seconds / options.pages:>12.2f}{wrong:>14}")
    result = {
        "benchmark": "parsing",
        "pages": options.pages,
        "file_bytes": size,
        "characters": len(text.text),
        "runs": options.runs,
        "seconds": seconds,
        "seconds_of_runs": [taken for _text, taken in runs],
        "wrong_pages": wrong,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
