"""From bytes to characters: UTF-8 first, then what the bytes themselves say, then a guess."""

import codecs
import re
from typing import Final

from kiv_engine.documents.text_builder import UnreadableError

SAMPLE_BYTES: Final = 256 * 1024
MAX_CONTROLS: Final = 0.02
"""A text has no control characters but line ends, tabs and form feeds; some files have a few."""

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8", "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
_CONTROLS: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def decode(data: bytes) -> tuple[str, str]:
    """Text, and the name of its encoding where that is not UTF-8. Raises UnreadableError for what is no text."""
    for mark, codec, name in _BOMS:
        if data.startswith(mark):
            text, encoding = data[len(mark) :].decode(codec, "replace"), "" if codec == "utf-8" else name
            break
    else:
        text, encoding = _decode_unmarked(data)
    _check_text(text)
    return text, encoding


def _decode_unmarked(data: bytes) -> tuple[str, str]:
    if (zero := data.find(0)) >= 0:
        if (codec := _utf16_without_mark(data)) is not None:
            return data.decode(codec, "replace"), "UTF-16"
        raise UnreadableError(f"is not text: byte {zero} is zero.")
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        return _guess(data)


def _utf16_without_mark(data: bytes) -> str | None:
    """UTF-16 of a text that is mostly Latin: every other byte is zero, and none of the others."""
    sample = data[:4096]
    even, odd = sample[0::2], sample[1::2]
    for letters, zeros, codec in ((even, odd, "utf-16-le"), (odd, even, "utf-16-be")):
        if len(sample) >= 8 and b"\x00" not in letters and zeros.count(0) > 0.7 * len(zeros):
            return codec
    return None


def _guess(data: bytes) -> tuple[str, str]:
    """The likeliest encoding of a sample from where the first odd byte is."""
    from charset_normalizer import from_bytes

    first = next(place for place, byte in enumerate(data) if byte > 127)
    start = max(0, first - SAMPLE_BYTES // 2)
    best = from_bytes(data[start : start + SAMPLE_BYTES]).best()
    codec = best.encoding if best is not None else "cp1252"
    return data.decode(codec, "replace"), name_of(codec)


def name_of(codec: str) -> str:
    """What people call an encoding: cp1252 is windows-1252."""
    return re.sub(r"^cp(125\d)$", r"windows-\1", codec.replace("_", "-"))


def _check_text(text: str) -> None:
    sample = text[:SAMPLE_BYTES]
    controls = len(_CONTROLS.findall(sample))
    if controls > 8 + MAX_CONTROLS * len(sample):
        raise UnreadableError("is not text but binary data.")
