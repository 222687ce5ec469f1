"""RTF: its text."""

from striprtf.striprtf import rtf_to_text

from kiv_engine.documents.text_builder import TextBuilder


def parse(data: bytes, out: TextBuilder) -> None:
    """RTF is ASCII that says how to read the rest."""
    out.add(rtf_to_text(data.decode("latin-1"), errors="replace"))
