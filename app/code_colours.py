"""The code in an answer, and what its words are: keywords, texts, comments. Not for the GUI thread: a lexer takes a
while to be made, and to run.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from app.code_fences import code_blocks

Kind: TypeAlias = Literal["keyword", "string", "comment", "number", "name"]

MOST_CHARACTERS: Final = 50_000
"""Code beyond so many characters of an answer is shown plain."""

KINDS: Final[tuple[tuple[str, Kind], ...]] = (
    ("Token.Comment", "comment"), ("Token.Keyword", "keyword"), ("Token.Operator.Word", "keyword"),
    ("Token.Literal.String", "string"), ("Token.Literal.Number", "number"), ("Token.Name.Function", "name"),
    ("Token.Name.Class", "name"), ("Token.Name.Tag", "name"), ("Token.Name.Decorator", "name"),
    ("Token.Name.Attribute", "name"), ("Token.Generic.Inserted", "string"), ("Token.Generic.Deleted", "number"),
)  # fmt: skip


@dataclass(frozen=True)
class Span:
    """Characters of one line that have one colour. Counted as Qt does, in UTF-16 units."""

    start: int
    length: int
    kind: Kind


@dataclass(frozen=True)
class ColouredCode:
    """A block of code, without the fences, and the spans of each of its lines."""

    text: str
    lines: tuple[tuple[Span, ...], ...]


def colour_code(markdown: str) -> tuple[ColouredCode, ...]:
    """The fenced blocks of code in a text, in order; those in an unknown language are left out."""
    coloured, room = [], MOST_CHARACTERS
    for code in code_blocks(markdown):
        room -= len(code.text)
        if room >= 0 and code.language and (lines := _lines(code.language, code.text)) is not None:
            coloured.append(ColouredCode(code.text, lines))
    return tuple(coloured)


def _lines(language: str, text: str) -> tuple[tuple[Span, ...], ...] | None:
    """The spans of each line; None for a language that is not known."""
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language.lower())
    except ClassNotFound:
        return None
    lines: list[list[Span]] = [[]]
    column = 0
    for _place, token, value in lexer.get_tokens_unprocessed(text):
        kind = _kind(str(token))
        for number, piece in enumerate(value.split("\n")):
            if number:
                lines.append([])
                column = 0
            if kind and piece.strip():
                lines[-1].append(Span(column, utf16_units(piece), kind))
            column += utf16_units(piece)
    return tuple(tuple(line) for line in lines)


def _kind(token: str) -> Kind | None:
    return next((kind for name, kind in KINDS if token.startswith(name)), None)


def utf16_units(text: str) -> int:
    """The length of a text as Qt counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
