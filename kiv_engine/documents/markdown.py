"""Markdown: the text as it is, with its headings as sections."""

import re
from typing import Final

from kiv_engine.documents.plain import decoded
from kiv_engine.documents.text_builder import TextBuilder, clean

_MARK: Final = re.compile(
    r"""^(?:
        [ ]{0,3}+\#{1,6}+[ \t](?P<title>[^\n]*+)
        |[ ]{0,3}+(?P<fence>`{3,}+|~{3,}+)(?P<info>[^\n]*+)
        |(?<![^\n]\n)[ ]{0,3}+(?P<underlined>(?![-=|>]|[*+][ ])\S[^\n]*+)\n[ ]{0,3}+(?:={2,}+|-{2,}+)[ \t]*+$
    )""",
    re.M | re.X,
)
"""What is underlined is a heading behind a blank line alone: elsewhere a table, a list or a header ends there."""


def parse(data: bytes, out: TextBuilder) -> None:
    """Headings, with # or underlined, begin a section; inside of code blocks they do not."""
    text, fence = clean(decoded(data, out)), ""
    for mark in _MARK.finditer(text):
        if mark["fence"]:
            fence = fence_after(fence, mark["fence"], mark["info"])
        elif not fence and (title := without_closing(mark["title"] or mark["underlined"] or "")):
            out.begin_section(title, mark.start())
    out.add(text)


def fence_after(fence: str, mark: str, info: str) -> str:
    """The fence of the code block that is open behind a line with this mark, if any."""
    if fence:
        return "" if mark.startswith(fence) and not info.strip() else fence
    return "" if "`" in mark and "`" in info else mark  # with more of them in the line, it is code in a line of text


def without_closing(title: str) -> str:
    """A title without the #s that may follow it behind a blank."""
    title = title.strip()
    bare = title.rstrip("#")
    return title if bare and not bare[-1].isspace() else bare.strip()
