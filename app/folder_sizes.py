"""What folders take on the disk. Counting thousands of files takes a while: not for the window's thread."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

BLOCK: Final = 512
"""Bytes that `st_blocks` counts in."""


def bytes_of(place: Path, should_stop: Callable[[], bool]) -> int:
    """What a file, or a folder with all in it, takes; what has two names counts once, and what cannot be read as 0.

    Stopped, only what was counted until then.
    """
    total, seen = 0, set[tuple[int, int]]()
    for path in _files_in(place):
        if should_stop():
            break
        try:
            facts = os.lstat(path)
        except OSError:
            continue
        if (facts.st_dev, facts.st_ino) not in seen:
            seen.add((facts.st_dev, facts.st_ino))
            total += facts.st_blocks * BLOCK if hasattr(facts, "st_blocks") else facts.st_size
    return total


def _files_in(place: Path) -> Iterator[str]:
    if not place.is_dir():
        yield str(place)
    for folder, _folders, names in os.walk(place):
        yield from (os.path.join(folder, name) for name in names)
