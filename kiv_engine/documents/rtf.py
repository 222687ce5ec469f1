"""RTF: its text, with footnotes in brackets where they stand."""

import re
from typing import Final

from striprtf.striprtf import rtf_to_text

from kiv_engine.documents.text_builder import TextBuilder

NOT_READ: Final = {
    "comments": re.compile(rb"(?<!\\)\\annotation(?![a-z])"),
    "headers and footers": re.compile(rb"(?<!\\)\\(?:header|footer)[lrf]?(?![a-z])"),
    "text boxes": re.compile(rb"(?<!\\)\\shptxt(?![a-z])"),
}
MAX_PICTURE_HEAD: Final = 4_096

_DIGITS: Final = re.compile(rb"[0-9a-fA-F\r\n]{1024,}")
_PICTURE_HEAD: Final = re.compile(rb"\\pict(?![a-z])[^{}]*(?:\{[^{}]*\}[^{}]*)*")
_TOKEN: Final = re.compile(rb"[{}]|\\[\\{}]|\\footnote(?![a-z]) ?")


def parse(data: bytes, out: TextBuilder) -> None:
    """RTF is ASCII that says how to read the rest."""
    data = bracket_footnotes(_DIGITS.sub(without_picture, data))
    out.add(rtf_to_text(data.decode("latin-1"), errors="replace"))
    if missing := [name for name, word in NOT_READ.items() if word.search(data)]:
        out.note(f"Not read: {', '.join(missing)}.")


def without_picture(digits: re.Match[bytes]) -> bytes:
    """Nothing for the digits of a picture, which are most of a file and slow to walk over."""
    before = digits.string[max(0, digits.start() - MAX_PICTURE_HEAD) : digits.start()]
    picture = before.rfind(b"\\pict")
    return b"" if picture >= 0 and _PICTURE_HEAD.fullmatch(before, picture) else digits[0]


def bracket_footnotes(data: bytes) -> bytes:
    """Footnotes as a part of their paragraph's text, as striprtf would hide them."""
    kept: list[bytes] = []
    notes: list[int] = []  # depths of those that are open
    start = depth = 0
    for token in _TOKEN.finditer(data):
        if token[0].startswith(b"\\footnote"):
            kept += data[start : token.start()], b" ["
            start = token.end()
            notes.append(depth)
        elif token[0] == b"{":
            depth += 1
        elif token[0] == b"}":
            if notes and notes[-1] == depth:
                kept += data[start : token.start()], b"]"
                start = token.start()
                notes.pop()
            depth -= 1
    return b"".join(kept) + data[start:]
