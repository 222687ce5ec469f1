"""JSON: the text as it is, or set in lines where it has none; the keys or places of the outermost level are sections.

Nothing is decoded: numbers keep their digits, keys their order, and no depth of nesting matters.
"""

import re
from collections.abc import Iterator
from typing import Final

from kiv_engine.documents.plain import decoded
from kiv_engine.documents.text_builder import TextBuilder, clean

LONG_LINE: Final = 2_000
"""Longer lines are those of a machine, and are broken."""

MAX_INDENT: Final = 12

_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]|[^\s{}\[\],:"]++|"', re.S)


def parse(data: bytes, out: TextBuilder) -> None:
    """Text that is no sound JSON is text all the same."""
    text = clean(decoded(data, out))
    if any(len(line) > LONG_LINE for line in text.split("\n")):
        text = "".join(set_in_lines(text))
    for start, title in sections(text):
        out.places.append_section(start, title)
    out.add(text)


def set_in_lines(text: str) -> Iterator[str]:
    """The same tokens, a value a line, indented."""
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "{[":
            depth += 1
            yield token + line_end(depth)
        elif token in "}]":
            depth = max(0, depth - 1)
            yield line_end(depth) + token
        elif token == ",":
            yield token + line_end(depth)
        else:
            yield ": " if token == ":" else token


def line_end(depth: int) -> str:
    """A new line at this depth; very deep ones share an indent."""
    return "\n" + "  " * min(depth, MAX_INDENT)


def sections(text: str) -> Iterator[tuple[int, str]]:
    """Where each value of the outermost object or list begins, and its key or number."""
    depth = count = 0
    kind, waits = "", False
    for match in _TOKEN.finditer(text):
        token = match[0]
        if waits and token not in "}]":
            count += 1
            yield match.start(), token.strip('"') if kind == "{" else f"item {count}"
        waits = False
        if token in "{[":
            depth += 1
            if depth == 1:
                kind, waits = token, True
        elif token in "}]":
            depth -= 1
        elif token == "," and depth == 1:
            waits = True
