"""Prose with hard line breaks, for display: in a pane of another width its lines would be long and short by turns."""

import re
from itertools import pairwise
from typing import Final

FULL_LINE: Final = 45
"""Characters of the longest line of a wrapped paragraph, at least."""
_PARAGRAPH: Final = re.compile(r"^\S.*(?:\n\S.*){2,}", re.MULTILINE)
"""Three lines or more, none of which is blank or set in: in two, nothing tells a wrapped one from a list. Tried at
the beginnings of lines only: a line may be a megabyte long."""
_ITEM: Final = re.compile(r"[-*+•>#|]|\d+[.)]\s")


def unwrap(text: str) -> str:
    """The text, as long as it was, with a blank for each line break inside of a paragraph that was wrapped.

    In such a paragraph each line is so full that the next line's first word had no room there.
    """
    return _PARAGRAPH.sub(lambda found: _unwrapped(found[0]), text)


def _unwrapped(paragraph: str) -> str:
    lines = paragraph.split("\n")
    return " ".join(lines) if _is_wrapped(lines) else paragraph


def _is_wrapped(lines: list[str]) -> bool:
    width = max(map(len, lines))
    if width < FULL_LINE or any(_ITEM.match(line) for line in lines):
        return False
    return all(len(line) + 1 + len(below.split(maxsplit=1)[0]) > width for line, below in pairwise(lines))
