"""JSON: the text as it is, or set in lines where it has none; the keys or places of the outermost level are sections.

Nothing is decoded: numbers keep their digits, keys their order, and no depth of nesting matters.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from kiv_engine.documents.plain import decoded
from kiv_engine.documents.text_builder import TextBuilder, clean

LONG_LINE: Final = 2_000
"""Longer lines are those of a machine, and are broken."""

TOLD_EVERY: Final = 50_000
MAX_INDENT: Final = 12

_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}\[\],:]|[^\s{}\[\],:"]++', re.S)


def parse(data: bytes, out: TextBuilder) -> None:
    """Text that is no sound JSON is text all the same."""
    text = clean(decoded(data, out))
    if any(len(line) > LONG_LINE for line in text.split("\n")) and is_sound(text):
        text = "".join(set_in_lines(text, out))
    for start, title in sections(text, out):
        out.begin_section(title, start)
    out.add(text)


def is_sound(text: str) -> bool:
    """Whether blanks outside of strings mean nothing: where it is JSON. What is nested too deeply to tell is not."""
    try:
        json.loads(text, strict=False, object_pairs_hook=bool, parse_int=bool, parse_float=bool)  # keeps nothing of it
    except (ValueError, RecursionError):
        return False
    return True


def tokens(text: str, out: TextBuilder) -> Iterator[tuple[int, str]]:
    """Where each token begins, and what it is; says how far it is."""
    for count, match in enumerate(_TOKEN.finditer(text)):
        if count % TOLD_EVERY == 0:
            out.progress(match.start(), len(text), "characters")
        yield match.start(), match[0]


def set_in_lines(text: str, out: TextBuilder) -> Iterator[str]:
    """The same tokens, a value a line, indented."""
    depth = 0
    for _start, token in tokens(text, out):
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


def sections(text: str, out: TextBuilder) -> Iterator[tuple[int, str]]:
    """Where each value of the outermost object or list begins, and its key or number."""
    depth = count = 0
    kind, waits = "", False
    for start, token in tokens(text, out):
        if waits and token not in "}]":
            count += 1
            yield start, token.strip('"') if kind == "{" else f"item {count}"
        waits = False
        if token in "{[":
            depth += 1
            if depth == 1:
                kind, waits = token, True
        elif token in "}]":
            depth -= 1
        elif token == "," and depth == 1:
            waits = True
