"""Plain text: as it is."""

from kiv_engine.documents.characters import decode
from kiv_engine.documents.text_builder import TextBuilder


def parse(data: bytes, out: TextBuilder) -> None:
    """Text in any encoding."""
    out.add(decoded(data, out))


def decoded(data: bytes, out: TextBuilder) -> str:
    """The text; its encoding is noted where it is not UTF-8."""
    text, encoding = decode(data)
    out.note_encoding(encoding)
    return text
