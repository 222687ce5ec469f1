"""Files that only grow, with a checksum for every block of their bytes."""

import os
import threading
import weakref
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch

from kiv_engine.errors import DamagedContextError, said

BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class BlockFile:
    """What a file must hold: `length` bytes, and a CRC-32 of each block of BLOCK_BYTES (the last may be shorter)."""

    length: int
    checksums: tuple[int, ...]

    @classmethod
    def from_json(cls, entry: Any) -> "BlockFile":
        """From the manifest. Raises KeyError, TypeError or ValueError where it is none."""
        length, checksums = int(entry["length"]), tuple(int(value) for value in entry["checksums"])
        if length < 0 or len(checksums) != -(-length // BLOCK_BYTES):
            raise ValueError(f"{len(checksums)} checksums for {length} bytes")
        return cls(length, checksums)

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"length": self.length, "checksums": list(self.checksums)}

    def check(self, path: Path, blocks: Iterable[int] | None = None) -> None:
        """Compare some blocks, or all, with the file. Raises DamagedContextError."""
        try:
            with path.open("rb") as file:
                self.check_opened(file, path, blocks)
        except OSError as error:
            raise DamagedContextError(
                said("{0} cannot be read ({1}). Read the document again.", path, error.strerror)
            ) from error

    def check_opened(self, file: BinaryIO, path: Path, blocks: Iterable[int] | None = None) -> None:
        """Like `check`, with the file open. Raises DamagedContextError or OSError."""
        if os.fstat(file.fileno()).st_size < self.length:
            raise DamagedContextError(said("{0} is cut off: it has lost its end. Read the document again.", path))
        for block in range(len(self.checksums)) if blocks is None else blocks:
            file.seek(block * BLOCK_BYTES)
            data = file.read(min(BLOCK_BYTES, self.length - block * BLOCK_BYTES))
            if zlib.crc32(data) != self.checksums[block]:
                raise DamagedContextError(
                    said("{0} is damaged at byte {1:,} or behind. Read the document again.", path, block * BLOCK_BYTES)
                )


class BlockWriter:
    """Appends to a file; what lies behind the known length, left by a writer that was killed, is overwritten."""

    def __init__(self, path: Path, known: BlockFile | None = None) -> None:
        self.path = path
        self._length = known.length if known else 0
        self._checksums = list(known.checksums) if known else []
        self._file = path.open("r+b" if known else "w+b")
        self._file.truncate(self._length)
        self._file.seek(self._length)

    @property
    def length(self) -> int:
        return self._length

    @property
    def written(self) -> BlockFile:
        """What the file holds now."""
        return BlockFile(self._length, tuple(self._checksums))

    def append(self, rows: torch.Tensor) -> None:
        """Write the bytes of a contiguous CPU tensor."""
        if not rows.numel():
            return
        data = rows.flatten().view(torch.uint8).numpy().data
        self._write(data)
        while len(data):
            part = data[: BLOCK_BYTES - self._length % BLOCK_BYTES]
            if self._length % BLOCK_BYTES:
                self._checksums[-1] = zlib.crc32(part, self._checksums[-1])
            else:
                self._checksums.append(zlib.crc32(part))
            self._length += len(part)
            data = data[len(part) :]

    def _write(self, data: memoryview) -> None:
        self._file.write(data)

    def _truncate(self, length: int) -> None:
        self._file.truncate(length)

    def cut(self, length: int) -> None:
        """Forget what lies behind `length` bytes."""
        if length >= self._length:
            return
        self._truncate(length)
        self._length = length
        self._checksums = self._checksums[: -(-length // BLOCK_BYTES)]
        if length % BLOCK_BYTES:
            self._file.flush()
            with self.path.open("rb") as file:
                file.seek(length - length % BLOCK_BYTES)
                self._checksums[-1] = zlib.crc32(file.read(length % BLOCK_BYTES))
        self._file.seek(length)

    def sync(self) -> None:
        """Return once everything is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def make_room(self, num_bytes: int) -> None:
        """Let the file be longer than what it holds, by a hole that takes no room on the disk."""
        self._file.flush()
        self._file.truncate(self._length + num_bytes)

    def close(self) -> None:
        """Close the file. What was not synced does not count, so a disk that refuses it now is no matter."""
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> "BlockWriter":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class LinkedWriter(BlockWriter):
    """Follows a file that is written through a mapping, and is in the folder by a second name: only counts and sums.

    Raises OSError where the two folders are not on one disk.
    """

    def __init__(self, path: Path, mapped: Path) -> None:
        os.link(mapped, path)
        self.path = path
        self._length = 0
        self._checksums = []
        self._file = path.open("r+b")

    def _write(self, data: memoryview) -> None:
        """The bytes are in the mapping already."""

    def _truncate(self, length: int) -> None:
        """What lies behind is room for more."""

    def make_room(self, num_bytes: int) -> None:
        """There is room: the file has had its full size from the beginning."""


class MappedRows:
    """A file's rows as a tensor whose changes stay private, and the duty to check what was used of them.

    What was used is noted in runs of rows of about a block, so that noting costs a step next to nothing. The file stays
    open: it may be removed while it is in use. Checking is safe from several threads, noting from one.

    Attributes:
        num_rows: rows that the file holds.
        rows: (capacity, ...) with room behind them, which later tokens are written to.
        damage: what is wrong with the file, as far as it was checked.
    """

    def __init__(self, path: Path, file: BlockFile, row_shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._path, self._file = path, file
        row_elements = int(torch.Size(row_shape).numel())
        self._row_bytes = row_elements * dtype.itemsize
        self._run = max(1, BLOCK_BYTES // self._row_bytes)
        self.num_rows = file.length // self._row_bytes
        self.damage = ""
        try:
            self._opened = path.open("rb")
            capacity = os.fstat(self._opened.fileno()).st_size // self._row_bytes
        except OSError as error:
            raise DamagedContextError(
                said("{0} cannot be read ({1}). Read the document again.", path, error.strerror)
            ) from error
        if capacity < self.num_rows:
            self._opened.close()
            raise DamagedContextError(said("{0} is cut off: it has lost its end. Read the document again.", path))
        with torch.inference_mode(False):
            flat = torch.from_file(str(path), shared=False, size=capacity * row_elements, dtype=dtype)
            self._used = torch.zeros(capacity // self._run + 1, dtype=torch.bool)
        self.rows = flat.view(capacity, *row_shape)
        self._unchecked = set(range(-(-self.num_rows // self._run)))
        self._lock = threading.Lock()
        weakref.finalize(self, self._opened.close)

    def use(self, rows: torch.Tensor) -> None:
        """Note that rows, int64 of any shape, are used. Raises DamagedContextError if the file has lost its end."""
        self.require_length()
        if self._unchecked:
            self._used.index_fill_(0, (rows.flatten() // self._run).clamp_(max=len(self._used) - 1), True)

    def use_span(self, start: int, end: int) -> None:
        """Note that rows start..end are used. Raises DamagedContextError if the file has lost its end."""
        self.require_length()
        if start < end:
            self._used[start // self._run : -(-end // self._run)] = True

    def require_length(self) -> None:
        """Raises DamagedContextError if the file has lost its end: to touch the mapping there kills the process."""
        if os.fstat(self._opened.fileno()).st_size < self.rows.numel() * self.rows.element_size():
            self.damage = said("{0} was cut off while it was in use. Read the document again.", self._path)
            self.require_sound()

    def check(self) -> None:
        """Check what was used since the last time. Raises DamagedContextError."""
        if self._unchecked:
            self._check(set(self._used.nonzero()[:, 0].tolist()))
        self.require_sound()

    def check_next(self) -> bool:
        """Check some more of the file, used or not; False where there is no more, or damage."""
        with suppress(ValueError):  # a set that the other thread has just emptied
            self._check({min(self._unchecked)})
        return bool(self._unchecked) and not self.damage

    def require_sound(self) -> None:
        """Raise DamagedContextError if damage was found."""
        if self.damage:
            raise DamagedContextError(self.damage)

    def _check(self, runs: set[int]) -> None:
        with self._lock:
            runs = runs & self._unchecked
            size = self._run * self._row_bytes
            blocks = set()
            for run in runs:
                end = min((run + 1) * size, self._file.length)
                blocks |= {run * size // BLOCK_BYTES, (end - 1) // BLOCK_BYTES}
            try:
                self._file.check_opened(self._opened, self._path, sorted(blocks))
            except DamagedContextError as error:
                self.damage = error.words
            except OSError as error:
                self.damage = said("{0} cannot be read ({1}). Read the document again.", self._path, error.strerror)
            else:
                self._unchecked = self._unchecked - runs


class BackgroundCheck:
    """Checks mapped files from end to end in a thread of the lowest priority, while they are in use already."""

    def __init__(self, files: Sequence[MappedRows]) -> None:
        self._files = files
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kiv-check", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if hasattr(os, "setpriority") and threading.get_native_id() != os.getpid():
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        for file in self._files:
            while not self._stop.is_set() and file.check_next():
                pass

    def require_sound(self) -> None:
        """Raise DamagedContextError if damage was found."""
        for file in self._files:
            file.require_sound()

    def close(self) -> None:
        """Stop, and return once the thread is gone."""
        self._stop.set()
        self._thread.join()
