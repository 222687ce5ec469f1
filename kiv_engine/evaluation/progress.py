"""What a long run yields while it works."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Share of the expected work that is done; `eta_s` is None until it can be estimated."""

    share: float
    eta_s: float | None
    label: str


@dataclass(frozen=True)
class Note:
    """Something to tell once, such as what is left out and why."""

    text: str


class Clock:
    """Turns work that is done, in any unit, into a share of the whole and the time that is left."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._finished = 0.0
        self._begin = time.perf_counter()

    def at(self, within: float, label: str) -> Progress:
        """`within` of the present piece of work is done."""
        done = self._finished + within
        seconds = time.perf_counter() - self._begin
        eta = seconds * (self._total - done) / done if done > 0 and seconds > 1 else None
        return Progress(min(1.0, done / self._total) if self._total else 1.0, eta, label)

    def finish(self, work: float) -> None:
        """The present piece is done."""
        self._finished += work

    def skip(self, work: float) -> None:
        """A piece was done before: it tells nothing about the speed."""
        self._total -= work
