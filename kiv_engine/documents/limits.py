"""How much a document may take before parsing is given up."""

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Attributes:
    file_bytes: size of one file.
    unpacked_bytes: what one packed file (zip, docx, epub ...) may unpack to.
    characters: length of the text; a million tokens are about four million.
    files: how many files a folder or an archive may have.
    memory_bytes: of the parsing process.
    silence_s: between two signs of progress.
    seconds: for one file.
    """

    file_bytes: int = 1024 * MIB
    unpacked_bytes: int = 1024 * MIB
    characters: int = 100_000_000
    files: int = 5_000
    memory_bytes: int = 4096 * MIB
    silence_s: float = 60.0
    seconds: float = 900.0
