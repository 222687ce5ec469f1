"""Fences around the code in Markdown: where its blocks are, what they say, and other fences for some.

Blocks with nothing between them get different ones: of where one ends and the next begins, Qt keeps nothing else.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

FENCE: Final = re.compile(r"^([ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*)(`{3,}|~{3,})(.*)$")
"""What stands before it, also the mark of a list's item; the fence; and what stands behind, which names a language."""
MOST_INDENT: Final = 3
"""By so many columns more than where a block begins its end may be set in; what is further in is code."""


@dataclass
class _Block:
    """A block of code.

    Attributes:
        first, last: the numbers of the lines that have its fences; without an end, `last` is the number of lines.
        before: what stands before the opening fence in its line.
        fence: that one.
        info: what stands behind it.
    """

    first: int
    last: int
    before: str
    fence: str
    info: str


@dataclass(frozen=True)
class Code:
    """What a block of code says, without what it is set in by; its language, "" where none is named."""

    language: str
    text: str


def tell_apart(markdown: str) -> str:
    """The same text, in which of two neighbouring blocks of code one is fenced by backticks, the other by tildes."""
    lines = markdown.split("\n")
    before, end = "", 0  # the character that fences the block before, if nothing but blanks has followed; its end
    for block in _blocks(lines):
        if any(line.strip() for line in lines[end : block.first]):
            before = ""
        before, end = _fenced(lines, block, before), block.last + 1
    return "\n".join(lines)


def code_spans(markdown: str) -> list[tuple[int, int]]:
    """Where the blocks of code begin and end, in characters, with their fences."""
    lines = markdown.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    return [(starts[block.first], starts[min(block.last + 1, len(lines))]) for block in _blocks(lines)]


def code_blocks(markdown: str) -> list[Code]:
    """The blocks of code in a text, in order."""
    lines = markdown.split("\n")
    return [Code((block.info.split() or [""])[0], _said(lines, block)) for block in _blocks(lines)]


def _said(lines: Sequence[str], block: _Block) -> str:
    """The lines between the fences, moved to the left as far as the opening fence is from there."""
    marks = " \t>" if ">" in block.before else " \t"
    set_in = re.compile(f"^[{marks}]{{0,{len(block.before)}}}")
    return "\n".join(set_in.sub("", line) for line in lines[block.first + 1 : block.last]).rstrip("\n")


def _blocks(lines: Sequence[str]) -> list[_Block]:
    """The blocks of code in a text's lines; the last one may have no end."""
    blocks: list[_Block] = []
    is_open = False
    for number, line in enumerate(lines):
        found = FENCE.match(line)
        if found is None:
            continue
        if is_open and _closes(found, blocks[-1]):
            blocks[-1].last, is_open = number, False
        elif not is_open and not (found[2][0] == "`" and "`" in found[3]):  # which is code within a line
            blocks.append(_Block(number, len(lines), found[1], found[2], found[3]))
            is_open = True
    return blocks


def _columns(before: str) -> int:
    return len(before.expandtabs(4))


def _closes(found: re.Match[str], block: _Block) -> bool:
    alone = not found[1].strip(" \t>") and not found[3].strip()
    return alone and found[2].startswith(block.fence) and _columns(found[1]) <= _columns(block.before) + MOST_INDENT


def _fenced(lines: list[str], block: _Block, before: str) -> str:
    """Fence a block otherwise than the one before it; the character of its fence, or of that before if it is empty."""
    body = lines[block.first + 1 : block.last]
    if not body:
        return before
    used, other = block.fence[0], "~" if block.fence[0] == "`" else "`"
    if used != before or (other == "`" and "`" in block.info):
        return used
    runs = re.findall(re.escape(other) + "+", "\n".join(body))
    fence = other * max(len(block.fence), 1 + max(map(len, runs), default=0))
    for number in (block.first, block.last):
        if number < len(lines):
            lines[number] = FENCE.sub(lambda found: found[1] + fence + found[3], lines[number])
    return other
