"""The folder of a saved context, which holds what was read, so that it never has to be read again.

    manifest.json           what the rest must be, with checksums; written last, and replaced as a whole
    document0.text ...      the documents in UTF-8, where that stood in their files (document0.places), and the ranges
                            of their tokens (document0.starts, document0.ends)
    tokens                  the token ids of everything, read or not yet
    layer3.keys ...         rows of the cold store as they lie in memory, mapped when the folder is opened
    layer3.signs.0 ...      codes of the index, a file for each plane and KV head, read when the folder is opened
    state-7.safetensors     hot windows, the index's maps, and the layers that forget, at some lengths

A folder is written while its documents are read, with a checkpoint now and then; a reader that was killed goes on from
the last one. It never changes once it is complete: what a chat adds stays in its own memory.
"""

import errno
import hashlib
import json
import math
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from filelock import FileLock, Timeout

from kiv_engine.errors import CapacityError, SavedContextError, said
from kiv_engine.loader import LoadedModel
from kiv_engine.store import RowTable

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
LOCK: Final = "lock"
SAMPLED_WEIGHTS: Final = 1_024
"""Of each tensor, so many go into the fingerprint."""
OWN_FILE: Final = re.compile(
    r"manifest\.json(\.new)?|lock|tokens|document\d+\.(text|places|starts|ends)|state-\d+\.safetensors|"
    r"layer\d+\.((keys|values)(\.scales)?|(signs|factors|outer)\.\d+)"
)
"""The names of all files that such a folder can have."""


def fingerprint(loaded: LoadedModel) -> dict[str, str]:
    """What must be the same when a context is opened: weights (a sample of each tensor), tokenizer and template."""
    weights = hashlib.sha256(json.dumps(loaded.model.config.to_diff_dict(), sort_keys=True, default=str).encode())
    for name, weight in loaded.model.state_dict().items():
        flat = weight.detach().flatten()
        some = flat[:: max(1, len(flat) // SAMPLED_WEIGHTS)].cpu().contiguous()
        weights.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        weights.update(some.view(torch.uint8).numpy().tobytes())
    tokenizer = loaded.tokenizer
    words = tokenizer.backend_tokenizer.to_str() + str(tokenizer.chat_template)
    return {"weights": weights.hexdigest(), "tokenizer": hashlib.sha256(words.encode()).hexdigest()}


def locked(folder: Path) -> FileLock:
    """The folder's lock, held. Raises SavedContextError where another writer has it."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SavedContextError(
            said("{0} is being written by another program; choose another, or wait.", folder)
        ) from None
    return lock


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Say what the disk refuses."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(folder).free
            raise CapacityError(
                said("The disk of {0} is full ({1:,} bytes free); make room and go on.", folder, free)
            ) from error
        raise SavedContextError(
            said("{0} cannot be written ({1}); choose another folder.", folder, error.strerror)
        ) from error


def safe_name(name: str) -> str:
    """A file's name from a manifest, which must not lead out of the folder."""
    if not OWN_FILE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a file of a saved context")
    return name


def checksum(manifest: dict[str, Any]) -> int:
    """Of everything that the manifest says."""
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())


def with_checksum(manifest: dict[str, Any]) -> bytes:
    """The manifest's file."""
    return json.dumps({"checksum": checksum(manifest), "context": manifest}).encode()


def columns(table: RowTable) -> list[tuple[str, int]]:
    """Of each file of a table, the end of its name, and the bytes of one token in it."""
    return [
        (suffix, math.prod(shape) * dtype.itemsize)
        for suffix, (shape, dtype) in zip(("", ".scales"), table.stored_as, strict=False)
    ]
