"""Collecting Python's garbage: at once and on the caller's thread, unless the program has another way.

A program with a window does: objects of its toolkit may be in the garbage, and must end on the window's thread.
"""

import gc
from collections.abc import Callable

_collect: Callable[[], object] = gc.collect


def collect() -> None:
    """Collect all that may be collected; it is gone when this returns, unless the program is about to end."""
    _collect()


def collect_with(way: Callable[[], object] = gc.collect) -> None:
    """From now on collect in another way, which any thread may call; without one, again as Python does."""
    global _collect
    _collect = way
