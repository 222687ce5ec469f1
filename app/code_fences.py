"""Fences around the code in Markdown. Blocks of code with nothing between them get different ones: of where one ends
and the next begins, Qt keeps nothing else.
"""

import re
from dataclasses import dataclass
from typing import Final

FENCE: Final = re.compile(r"^([ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*)(`{3,}|~{3,})(.*)$")
"""What stands before it, also the mark of a list's item; the fence; and what stands behind, which names a language."""
MOST_INDENT: Final = 3
"""By so many columns more than where a block begins its end may be set in; what is further in is code."""


@dataclass
class _Block:
    """A block of code.

    Attributes:
        first, last: the numbers of the lines that have its fences.
        column: where the opening fence stands in its line.
        fence: that one.
    """

    first: int
    last: int
    column: int
    fence: str


def tell_apart(markdown: str) -> str:
    """The same text, in which of two neighbouring blocks of code one is fenced by backticks, the other by tildes."""
    lines = markdown.split("\n")
    open_block: _Block | None = None
    before = ""  # the character that fences the block before, if nothing but blanks has followed
    for number, line in enumerate(lines):
        found = FENCE.match(line)
        if open_block is None:
            if found and not (found[2][0] == "`" and "`" in found[3]):
                open_block = _Block(number, len(lines), _column(found), found[2])
            elif line.strip():
                before = ""
        elif found and _closes(found, open_block):
            open_block.last = number
            before = _fenced(lines, open_block, before)
            open_block = None
    if open_block is not None:
        _fenced(lines, open_block, before)
    return "\n".join(lines)


def _column(found: re.Match[str]) -> int:
    return len(found[1].expandtabs(4))


def _closes(found: re.Match[str], block: _Block) -> bool:
    alone = not found[1].strip(" \t>") and not found[3].strip()
    return alone and found[2].startswith(block.fence) and _column(found) <= block.column + MOST_INDENT


def _fenced(lines: list[str], block: _Block, before: str) -> str:
    """Fence a block otherwise than the one before it; the character of its fence, or of that before if it is empty."""
    body = lines[block.first + 1 : block.last]
    if not body:
        return before
    used, other = block.fence[0], "~" if block.fence[0] == "`" else "`"
    info = FENCE.sub(r"\3", lines[block.first])
    if used != before or (other == "`" and "`" in info):
        return used
    runs = re.findall(re.escape(other) + "+", "\n".join(body))
    fence = other * max(len(block.fence), 1 + max(map(len, runs), default=0))
    for number in (block.first, block.last):
        if number < len(lines):
            lines[number] = FENCE.sub(lambda found: found[1] + fence + found[3], lines[number])
    return other
