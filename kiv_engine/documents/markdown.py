"""Markdown: the text as it is, with its headings as sections."""

import re
from typing import Final

from kiv_engine.documents.plain import decoded
from kiv_engine.documents.text_builder import TextBuilder, clean

_HEADING: Final = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*$")
_FENCE: Final = re.compile(r" {0,3}(```|~~~)")


def parse(data: bytes, out: TextBuilder) -> None:
    """Headings with # begin a section; inside of code blocks they do not."""
    fence = ""
    for line in clean(decoded(data, out)).splitlines(keepends=True):
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        elif not fence and (heading := _HEADING.match(line.rstrip("\n"))):
            out.begin_section(heading[1])
        out.add(line)
