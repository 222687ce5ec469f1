"""What the memory was used for in the last minutes: samples that the meters take and the chart draws."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QObject, Signal

PARTS: Final = ("weights", "hot", "index", "cold_keys", "cold_values", "other")
MAX_SAMPLES: Final = 1_200
"""Five minutes of reading or writing, which the chart shows; twenty of rest."""


@dataclass(frozen=True)
class MemorySample:
    """Bytes of RAM per part, in the order of PARTS; they sum to what the process has. `rate` is 0 at rest."""

    time_s: float
    parts: tuple[int, ...]
    context_tokens: int
    tokens_per_s: float


class MemoryLog(QObject):
    """The newest samples, the oldest first.

    Signals:
        grown: there is one more.
    """

    grown = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.samples: deque[MemorySample] = deque(maxlen=MAX_SAMPLES)

    def add(self, sample: MemorySample) -> None:
        """Take a sample."""
        self.samples.append(sample)
        self.grown.emit()
