"""From bytes to characters: UTF-8 first, then what the bytes themselves say, then a guess."""

import codecs
import re
from typing import TYPE_CHECKING, Final

from kiv_engine.documents.text_builder import UnreadableError
from kiv_engine.errors import said

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

SAVE_AS: Final = said("Save it as text, PDF or Word in the program that made it.")
SAMPLE_BYTES: Final = 256 * 1024
MAX_LINE: Final = 4 * 1024
SOUND_PER_DAMAGE: Final = 4
"""With so many letters of several bytes to a damaged place, a text is UTF-8: in other encodings they are chance."""

MAX_CONTROLS: Final = 0.02
"""A text has no control characters but line ends, tabs and form feeds; some files have a few."""

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8", ""),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
WESTERN: Final = "cp1252"
EASTERN_LANGUAGES: Final = frozenset({
    "Polish", "Czech", "Hungarian", "Slovak", "Slovene", "Croatian", "Romanian", "Turkish", "Lithuanian", "Estonian",
    "Vietnamese",
})  # fmt: skip
LATIN_CODECS: Final = ["cp1252", "cp1250", "cp1254", "cp1257", "cp1258"]
OTHER_CODECS: Final = [
    "cp1251", "koi8_r", "koi8_u", "iso8859_5", "cp866", "cp1253", "iso8859_7", "cp1255", "cp1256", "tis_620", "cp932",
    "shift_jis", "euc_jp", "gb18030", "big5", "cp950", "euc_kr", "cp949",
]  # fmt: skip
"""Rarer ones are more often a wrong guess than a right one."""

_ODD_RUN: Final = re.compile(b"[\x80-\xff]+")
_ODD_LETTERS: Final = re.compile("[^\x00-\x7f]+")
_ODD: Final = re.compile(b"[\x80-\xff]")
_CONTROLS: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def decode(data: bytes) -> tuple[str, str]:
    """Text, and what its encoding is where that is not sound UTF-8. Raises UnreadableError for what is no text."""
    for mark, codec, name in _BOMS:
        if data.startswith(mark):
            text = data[len(mark) :].decode(codec, "replace")
            encoding = name or _utf8_name(damaged_places(text, data))
            break
    else:
        text, encoding = _decode_unmarked(data)
    _check_text(text)
    return text, encoding


def _decode_unmarked(data: bytes) -> tuple[str, str]:
    if (zero := data.find(0)) >= 0:
        if (codec := _utf16_without_mark(data)) is not None:
            return data.decode(codec, "replace"), "UTF-16"
        raise UnreadableError(said("is not text: byte {0} is zero. {1}", zero, SAVE_AS))
    text = data.decode("utf-8", "replace")
    damaged = damaged_places(text, data)
    sound = sum(map(len, _ODD_LETTERS.findall(text))) - damaged if damaged else 0
    return (text, _utf8_name(damaged)) if sound >= SOUND_PER_DAMAGE * damaged else _guess(data)


def damaged_places(text: str, data: bytes) -> int:
    """How often something in UTF-8 `data` had to be replaced in `text`."""
    return text.count("\ufffd") - data.count("\ufffd".encode())


def _utf8_name(damaged: int) -> str:
    return f"UTF-8 (damaged places: {damaged:,})" if damaged else ""


def _utf16_without_mark(data: bytes) -> str | None:
    """UTF-16 of a text that is mostly Latin: every other byte is zero, and none of the others."""
    sample = data[:4096]
    even, odd = sample[0::2], sample[1::2]
    for letters, zeros, codec in ((even, odd, "utf-16-le"), (odd, even, "utf-16-be")):
        if len(sample) >= 8 and b"\x00" not in letters and zeros.count(0) > 0.7 * len(zeros):
            return codec
    return None


def _guess(data: bytes) -> tuple[str, str]:
    """The likeliest encoding, judged by the lines that are not plain ASCII."""
    from charset_normalizer import from_bytes

    sample = odd_lines(data)
    codecs_tried = LATIN_CODECS if stand_alone(sample) else OTHER_CODECS
    codec = _preferred(list(from_bytes(sample, cp_isolation=codecs_tried)))
    return data.decode(codec, "replace"), name_of(codec)


def _preferred(matches: "list[CharsetMatch]") -> str:
    """The best match; of equals the commonest encoding in the West, unless the language is one of another."""
    if not matches:
        return WESTERN
    best = matches[0]
    equals = [match for match in matches if (match.chaos, match.coherence) == (best.chaos, best.coherence)]
    western = any(WESTERN in (match.encoding, *match.could_be_from_charset) for match in equals)
    return WESTERN if western and best.language not in EASTERN_LANGUAGES else best.encoding


def stand_alone(sample: bytes) -> bool:
    """Whether most bytes that are not ASCII have no such neighbour, as in Latin scripts; those of Asia come in runs."""
    runs = [len(run) for run in _ODD_RUN.findall(sample)]
    return 2 * runs.count(1) > len(runs)


def odd_lines(data: bytes) -> bytes:
    """The first SAMPLE_BYTES of the lines with other bytes than ASCII, long ones from where those are."""
    found: list[bytes] = []
    size = start = 0
    while size < SAMPLE_BYTES and (odd := _ODD.search(data, start)) is not None:
        begin = max(start, data.rfind(b"\n", start, odd.start()) + 1, odd.start() - MAX_LINE)
        end = data.find(b"\n", odd.start(), odd.start() + MAX_LINE) + 1 or odd.start() + MAX_LINE
        found.append(data[begin:end])
        size += end - begin
        start = end
    return b"".join(found)


def name_of(codec: str) -> str:
    """What people call an encoding: cp1252 is windows-1252."""
    return re.sub(r"^cp(125\d)$", r"windows-\1", codec.replace("_", "-"))


def _check_text(text: str) -> None:
    sample = text[:SAMPLE_BYTES]
    controls = len(_CONTROLS.findall(sample))
    if controls > 8 + MAX_CONTROLS * len(sample):
        raise UnreadableError(said("is not text but binary data. {0}", SAVE_AS))
