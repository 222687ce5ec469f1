"""RTF: its text."""

import re
from typing import Final

from striprtf.striprtf import rtf_to_text

from kiv_engine.documents.text_builder import TextBuilder

_PICTURE: Final = re.compile(rb"[0-9a-fA-F\r\n]{1024,}")
"""The digits of a picture: most of a file, and slow to walk over."""


def parse(data: bytes, out: TextBuilder) -> None:
    """RTF is ASCII that says how to read the rest."""
    out.add(rtf_to_text(_PICTURE.sub(b"", data).decode("latin-1"), errors="replace"))
