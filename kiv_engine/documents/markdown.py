"""Markdown: the text as it is, with its headings as sections."""

import re
from typing import Final

from kiv_engine.documents.plain import decoded
from kiv_engine.documents.text_builder import TextBuilder, clean

_MARK: Final = re.compile(r"^ {0,3}+(?:#{1,6}+[ \t](?P<title>[^\n]*+)|(?P<fence>```|~~~))", re.M)


def parse(data: bytes, out: TextBuilder) -> None:
    """Headings with # begin a section; inside of code blocks they do not."""
    text, fence = clean(decoded(data, out)), ""
    for mark in _MARK.finditer(text):
        if mark["fence"]:
            fence = "" if fence == mark["fence"] else fence or mark["fence"]
        elif not fence and (title := mark["title"].strip().rstrip("#").strip()):
            out.begin_section(title, mark.start())
    out.add(text)
