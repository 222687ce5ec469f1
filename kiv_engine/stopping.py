"""How a long piece of work is asked to end: it calls back now and then, and ends once the answer is yes."""

from collections.abc import Callable
from typing import TypeAlias

ShouldStop: TypeAlias = Callable[[], bool]


def never() -> bool:
    """The stop callback of a caller who does not stop."""
    return False
