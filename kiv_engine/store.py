"""The cold store: K and V rows of evicted tokens, in RAM or in memory-mapped files.

Rows lie token by token, (token, KV head, head_dim), in slabs that are allocated once and never copied. Slabs double in
size; a RAM slab takes real memory only where it has been written.
"""

import errno
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from filelock import FileLock, Timeout

from kiv_engine.blocks import MappedRows
from kiv_engine.errors import CapacityError, ConfigError, OutOfMemoryError, said
from kiv_engine.memory import TAKES_MEMORY_LAZILY, allocate

SLABS_PREFIX: Final = "kiv-"
LOCK: Final = "lock"
NEW_FOLDER_S: Final = 60

FIRST_SLAB_TOKENS: Final = 65_536

LAZY_SLAB_TOKENS: Final = 2_097_152
"""Where RAM is only taken as it is written, the first slab is this large: rows in one slab are gathered in one go."""


class SlabFolder:
    """A private folder for the mapped slabs of one cache; removed with it, or by the next if its process was killed.

    Raises ConfigError where the folder cannot be made or written.
    """

    def __init__(self, parent: Path) -> None:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(parent)
            self.path = Path(tempfile.mkdtemp(prefix=SLABS_PREFIX, dir=parent))
            lock = FileLock(self.path / LOCK, thread_local=False)
            lock.acquire()
        except OSError as error:
            raise ConfigError(
                said("store {0} cannot be written ({1}); choose another folder.", parent, error.strerror)
            ) from error
        self._remove = weakref.finalize(self, _remove, self.path, lock)

    def close(self) -> None:
        """Remove the files."""
        self._remove()

    def map(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A new file as a tensor. Its blocks are reserved now, so that a full disk is an error here and not a crash."""
        count = 1
        for size in shape:
            count *= size
        num_bytes = count * dtype.itemsize
        path = self.path / name
        try:
            with path.open("wb") as file:
                reserve_blocks(file.fileno(), num_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                free = shutil.disk_usage(self.path).free
                raise CapacityError(
                    said(
                        "The disk of store {0} is full: {1:,} bytes needed, {2:,} free.",
                        self.path.parent,
                        num_bytes,
                        free,
                    )
                ) from error
            raise CapacityError(said("store {0} cannot be written ({1}).", self.path.parent, error.strerror)) from error
        with torch.inference_mode(False):
            return torch.from_file(str(path), shared=True, size=count, dtype=dtype).view(shape)


def _remove(path: Path, lock: FileLock) -> None:
    lock.release()
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # Windows keeps what is mapped, but not the lock; by that the next store knows what to remove
        with suppress(OSError):
            (path / LOCK).touch()


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of processes that are gone: their locks are free. New ones may not have their lock yet."""
    for path in parent.glob(f"{SLABS_PREFIX}*"):
        with suppress(OSError, Timeout):  # Timeout: it is in use
            if time.time() - (path / LOCK).stat().st_mtime > NEW_FOLDER_S:
                lock = FileLock(path / LOCK, thread_local=False)
                lock.acquire(timeout=0)
                _remove(path, lock)


def reserve_blocks(descriptor: int, num_bytes: int) -> None:
    """Give an open file its full size on disk; OSError where the disk has no room."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, num_bytes)
    else:
        os.truncate(descriptor, num_bytes)


def row_bytes(num_heads: int, dim: int, element_bytes: int, *, int8: bool) -> int:
    """Bytes of one token's rows of one kind (K or V); int8 rows have a float32 scale each."""
    return num_heads * (dim + 4) if int8 else num_heads * dim * element_bytes


@dataclass(frozen=True)
class Slab:
    """Rows `start` to `start + capacity`: (capacity, num_heads, dim), and for int8 a float32 scale per row and head."""

    start: int
    rows: torch.Tensor
    scales: torch.Tensor | None = None
    files: tuple[MappedRows, ...] = ()
    """The saved files that rows and scales are mapped from, if they are."""

    @property
    def parts(self) -> tuple[torch.Tensor, ...]:
        """Rows, and scales where there are any."""
        return (self.rows,) if self.scales is None else (self.rows, self.scales)

    @property
    def capacity(self) -> int:
        return self.rows.shape[0]

    @property
    def end(self) -> int:
        return self.start + self.capacity


class RowTable:
    """Rows of one kind (K or V) of one layer; append, gather, truncate.

    Attributes:
        num_tokens: rows in use per head.
        dim: elements of a row.
        dtype: what gather and read return; rows are stored as this or as int8.
    """

    def __init__(
        self,
        num_heads: int,
        dim: int,
        dtype: torch.dtype,
        *,
        int8: bool = False,
        pin: bool = False,
        folder: SlabFolder | None = None,
        name: str = "rows",
    ) -> None:
        self.num_tokens = 0
        self.dim = dim
        self.dtype = dtype
        self._shape = (num_heads, dim)
        self._heads = torch.arange(num_heads)[:, None]
        self._int8 = int8
        self._pin = pin
        self._folder = folder
        self._name = name
        self._slabs: list[Slab] = []

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in use."""
        return self.num_tokens * self._row_bytes

    @property
    def mapped_nbytes(self) -> int:
        """Of them, those of rows that lie in files."""
        saved = self.saved_files[0].num_rows if self.saved_files else 0
        return (self.num_tokens if self._folder else min(self.num_tokens, saved)) * self._row_bytes

    @property
    def _row_bytes(self) -> int:
        return row_bytes(*self._shape, self.dtype.itemsize, int8=self._int8)

    @property
    def capacity(self) -> int:
        return self._slabs[-1].end if self._slabs else 0

    def reserve(self, num_tokens: int) -> None:
        """Make room for `num_tokens` rows in all; raises CapacityError."""
        if num_tokens <= self.capacity:
            return
        size = max(num_tokens - self.capacity, min(max(self.capacity, FIRST_SLAB_TOKENS), 1 << 20))
        if self._folder is None and not self._pin and TAKES_MEMORY_LAZILY and not self._slabs:
            try:
                self._add_slab(max(size, LAZY_SLAB_TOKENS))
            except CapacityError:  # a system that counts what is only reserved
                self._add_slab(size)
        else:
            self._add_slab(size)

    def _add_slab(self, size: int) -> None:
        shape = (size, *self._shape)
        label = f"{self._name}.{len(self._slabs)}"
        rows = self._allocate(label, shape, torch.int8 if self._int8 else self.dtype)
        scales = self._allocate(f"{label}.scales", shape[:2], torch.float32) if self._int8 else None
        self._slabs.append(Slab(self.capacity, rows, scales))

    def _allocate(self, label: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if self._folder is not None:
            return self._folder.map(label, shape, dtype)
        try:
            if self._pin:
                return torch.empty(shape, dtype=dtype, pin_memory=True)
            return allocate(shape, dtype)
        except (RuntimeError, OSError) as error:
            raise OutOfMemoryError(said("No memory for {0:,} more cold tokens ({1}).", shape[0], error)) from error

    def append(self, rows: torch.Tensor) -> None:
        """Add rows (num_heads, n, dim) at the end. Raises DamagedContextError if a saved file has lost its end."""
        for file in self.saved_files:
            file.require_length()
        count = rows.shape[1]
        self.reserve(self.num_tokens + count)
        rows = rows.transpose(0, 1)
        first = self.num_tokens
        for slab in self._slabs:
            start, end = max(first, slab.start), min(first + count, slab.end)
            if start < end:
                self._write(slab, slice(start - slab.start, end - slab.start), rows[start - first : end - first])
        self.num_tokens += count

    def _write(self, slab: Slab, where: slice, rows: torch.Tensor) -> None:
        if slab.scales is None:
            slab.rows[where].copy_(rows)
            return
        values = rows.to("cpu", torch.float32)
        scales = values.abs().amax(-1).clamp_(min=1e-12).div_(127.0)
        slab.scales[where].copy_(scales)
        slab.rows[where].copy_(values.div(scales[..., None]).round_())

    def gather(self, ids: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Rows of tokens `ids` (num_heads, n) on the CPU -> (num_heads, n, dim) in `dtype`, into `out` if given."""
        num_heads, count = ids.shape
        self._note_use(ids)
        flat = torch.add(self._heads, ids, alpha=num_heads)
        if out is None:
            out = torch.empty((num_heads, count, self._shape[1]), dtype=self.dtype)
        if len(self._slabs) == 1 and not self._int8 and out.is_contiguous():
            rows = self._slabs[0].rows.view(-1, self._shape[1])
            torch.index_select(rows, 0, flat.view(-1), out=out.view(-1, self._shape[1]))
            return out
        for slab in self._slabs:
            inside = (ids >= slab.start) & (ids < slab.end)
            if inside.any():
                out[inside] = self._decode(slab, flat[inside] - slab.start * num_heads)
        return out

    def _decode(self, slab: Slab, flat: torch.Tensor) -> torch.Tensor:
        rows = slab.rows.view(-1, self._shape[1]).index_select(0, flat)
        if slab.scales is None:
            return rows
        return (rows.float() * slab.scales.view(-1).index_select(0, flat)[:, None]).to(self.dtype)

    def read(self, start: int, end: int) -> torch.Tensor:
        """Rows start..end as (num_heads, n, dim) in `dtype`; a view where they lie in one slab as they are."""
        for file in self.saved_files:
            file.use_span(start, min(end, file.num_rows))
        parts = [self._read_slab(slab, start, end) for slab in self._slabs if slab.start < end and start < slab.end]
        if not parts:
            return torch.empty((self._shape[0], 0, self._shape[1]), dtype=self.dtype)
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _read_slab(self, slab: Slab, start: int, end: int) -> torch.Tensor:
        where = slice(max(start, slab.start) - slab.start, min(end, slab.end) - slab.start)
        rows = slab.rows[where]
        if slab.scales is not None:
            rows = (rows.float() * slab.scales[where][..., None]).to(self.dtype)
        return rows.transpose(0, 1)

    def stored(self, start: int, end: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """Tokens start..end as stored, slab by slab: rows (n, num_heads, dim), and for int8 scales (n, num_heads).

        Rows of a saved file are checked first: a copy has checksums of its own. Raises DamagedContextError.
        """
        for file in self.saved_files:
            file.use_span(start, min(end, file.num_rows))
            file.check()
        for slab in self._slabs:
            where = slice(max(start, slab.start) - slab.start, min(end, slab.end) - slab.start)
            if where.start < where.stop:
                yield tuple(part[where] for part in slab.parts)

    @property
    def stored_as(self) -> tuple[tuple[tuple[int, ...], torch.dtype], ...]:
        """Shape and dtype of one token's rows as they are stored, and for int8 of its scales."""
        if not self._int8:
            return ((self._shape, self.dtype),)
        return ((self._shape, torch.int8), (self._shape[:1], torch.float32))

    @property
    def mapped_files(self) -> tuple[Path, ...]:
        """The files of rows and scales, if all rows lie in one mapped slab of the cache's own folder."""
        if self._folder is None or len(self._slabs) != 1 or self.saved_files:
            return ()
        rows = self._folder.path / f"{self._name}.0"
        return (rows, rows.with_name(f"{rows.name}.scales")) if self._int8 else (rows,)

    def detach(self) -> None:
        """Let what is written from now on stay out of the mapped files, which others may have by another name."""
        [slab] = self._slabs
        with torch.inference_mode(False):
            private = [
                torch.from_file(str(path), shared=False, size=part.numel(), dtype=part.dtype).view(part.shape)
                for path, part in zip(self.mapped_files, slab.parts, strict=True)
            ]
        self._slabs = [Slab(slab.start, private[0], private[1] if self._int8 else None)]

    def adopt(self, files: Sequence[MappedRows], *, copy: bool) -> None:
        """Begin with the rows, and scales, of saved files: as they lie there, or copied to where others can follow."""
        count = files[0].num_rows
        if copy:
            self.reserve(count)
            for file, target in zip(files, self._slabs[0].parts, strict=True):
                file.use_span(0, count)
                file.check()
                target[:count].copy_(file.rows[:count])
        else:
            assert not self._slabs
            scales = files[1].rows if self._int8 else None
            self._slabs.append(Slab(0, files[0].rows, scales, tuple(files)))
        self.num_tokens = count

    @property
    def saved_files(self) -> tuple[MappedRows, ...]:
        """The files that rows are mapped from."""
        return self._slabs[0].files if self._slabs else ()

    def _note_use(self, ids: torch.Tensor) -> None:
        for file in self.saved_files:
            file.use(ids)

    def truncate(self, num_tokens: int) -> None:
        """Forget the rows from `num_tokens` on; their memory stays for the next ones."""
        self.num_tokens = min(self.num_tokens, num_tokens)


class ColdStore:
    """Cold K and V of one layer. `keys` and `values` hold the same tokens."""

    def __init__(self, keys: RowTable, values: RowTable) -> None:
        self.keys = keys
        self.values = values

    @property
    def num_tokens(self) -> int:
        return self.keys.num_tokens

    def reserve(self, num_tokens: int) -> None:
        """Make room for `num_tokens` tokens in all, so that they lie in one piece."""
        self.keys.reserve(num_tokens)
        self.values.reserve(num_tokens)

    def append(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Add K and V, (num_heads, n, dim) each."""
        self.keys.append(keys)
        self.values.append(values)

    def truncate(self, num_tokens: int) -> None:
        """Forget the tokens from `num_tokens` on."""
        self.keys.truncate(num_tokens)
        self.values.truncate(num_tokens)

    def blocks(self, start: int, end: int, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """K and V of tokens start..end in pieces of at most `size`, (num_heads, n, dim) each, oldest first."""
        for first in range(start, end, size):
            last = min(first + size, end)
            yield self.keys.read(first, last), self.values.read(first, last)
