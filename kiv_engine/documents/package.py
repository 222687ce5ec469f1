"""Zip files, which many formats are inside: nothing is unpacked beyond the limits, whatever the file says of itself."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kiv_engine.documents.limits import MIB, Limits
from kiv_engine.documents.text_builder import OPEN_A_PART, OTHER_COPY, UnreadableError
from kiv_engine.errors import said

MAX_MEMBERS: Final = 65_535
CHUNK_BYTES: Final = MIB


class Package:
    """A zip file in memory. `read` counts what has been unpacked so far."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._limits = limits
        self._unpacked = 0
        with _damage_told():
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        self._infos = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        if len(self._infos) > MAX_MEMBERS:
            raise UnreadableError(said("packs more than {0:,} files; unpack it and {1}", MAX_MEMBERS, OPEN_A_PART))

    @property
    def names(self) -> list[str]:
        """The files in it."""
        return list(self._infos)

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def read(self, name: str) -> bytes:
        """A file of the package. Raises UnreadableError if it is missing, damaged, too large or has a password."""
        if name not in self._infos:
            raise UnreadableError(said("is damaged: it lacks {0}; {1}", name, OTHER_COPY))
        with _damage_told():
            return b"".join(self._chunks(self._infos[name]))

    def check(self) -> None:
        """Unpack everything once, to keep nothing: for libraries that would unpack without limits."""
        with _damage_told():
            for info in self._infos.values():
                for _chunk in self._chunks(info):
                    pass

    def _chunks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        if info.flag_bits & 1:
            raise UnreadableError(said("is protected by a password; unpack it first."))
        with self._zip.open(info) as file:
            while chunk := file.read(CHUNK_BYTES):
                self._unpacked += len(chunk)
                if self._unpacked > self._limits.unpacked_bytes:
                    limit = self._limits.unpacked_bytes // MIB
                    raise UnreadableError(
                        said("unpacks to more than {0:,} MB, more than a document needs; {1}", limit, OPEN_A_PART)
                    )
                yield chunk


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise UnreadableError(said("is damaged or cut off: it cannot be unpacked; {0}", OTHER_COPY)) from error
