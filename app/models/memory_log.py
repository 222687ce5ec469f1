"""What the memory was used for in the last minutes: samples that the meters have taken and the chart draws."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final

from PySide6.QtCore import QObject, Signal

from app.machine import Gpu, Machine, MachineReading, RamReading, VramReading
from app.models.engine_status import EngineStatus
from kiv_engine.events import MemoryPlaces, MemoryUse

KNOWN: Final = tuple(field.name for field in fields(MemoryUse))
"""The parts that the engine tells."""

PARTS: Final = (*KNOWN, "program", "other")
"""With the rest of what this process has, and what other programs have."""

MAX_SAMPLES: Final = 1_200
"""Five minutes of reading or writing, which the chart shows; twenty of rest."""


@dataclass(frozen=True)
class MemorySample:
    """One moment.

    Attributes:
        reading: what was measured.
        ram, vram: bytes per part, in the order of PARTS. Those up to "program" sum to what the process has, and all of
            them to what is used. `vram` is None without an NVIDIA GPU.
        disk_bytes: of parts that lie in files.
        context_tokens: length of the context that is shown.
        tokens_per_s: 0 at rest.
    """

    time_s: float
    reading: MachineReading
    ram: tuple[int, ...]
    vram: tuple[int, ...] | None
    disk_bytes: int
    context_tokens: int
    tokens_per_s: float


def of_process(parts: Sequence[int]) -> int:
    """What this process has of them."""
    return sum(parts[:-1])


def ram_parts(reading: RamReading, memory: MemoryPlaces) -> tuple[int, ...]:
    """How RAM is shared out.

    Of parts in files, what the system holds in RAM counts: at most all that it holds of files for this process. Weights
    may be mapped from their file by PyTorch, too; they are in RAM once they were used.
    """
    on_disk = memory.disk.total
    cached = min(on_disk, reading.files)
    pairs = zip(astuple(memory.ram), astuple(memory.disk), strict=True)
    weights, *rest = (in_ram + in_files * cached // max(1, on_disk) for in_ram, in_files in pairs)
    weights = min(weights, max(0, reading.process - sum(rest)))
    return shared_out((weights, *rest), reading.process, reading.used + cached)


def vram_parts(reading: VramReading, memory: MemoryPlaces, reserved_bytes: int) -> tuple[int, ...]:
    """How the GPU's memory is shared out; what PyTorch has reserved counts where the driver says less."""
    return shared_out(astuple(memory.vram), max(reading.process, reserved_bytes), reading.used)


def shared_out(known: Sequence[int], process: int, used: int) -> tuple[int, ...]:
    """Known parts, the rest of the process, and other programs."""
    program = max(0, process - sum(known))
    return (*known, program, max(0, used - sum(known) - program))


class MemoryLog(QObject):
    """The newest samples, the oldest first.

    Attributes:
        is_gpu_known: whether there is an NVIDIA GPU or not; a model's loading tells.

    Signals:
        grown: there is one more.
    """

    grown = Signal()

    def __init__(self, machine: Machine, status: EngineStatus, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._machine, self._status = machine, status
        self._gpu: Gpu | None = None
        self.is_gpu_known = False
        self.samples: deque[MemorySample] = deque(maxlen=MAX_SAMPLES)

    @property
    def has_gpu(self) -> bool:
        return self._gpu is not None

    def measure(self, chat: int) -> MemorySample:
        """Take a sample; `chat` is the one that is shown."""
        sample = self._sample(self._status.measured[chat].num_tokens if chat in self._status.measured else 0)
        self.samples.append(sample)
        self.grown.emit()
        return sample

    def _sample(self, context_tokens: int) -> MemorySample:
        status, memory = self._status, self._status.memory
        if status.model is not None:  # while another one is loaded, the GPU is still there
            self._gpu, self.is_gpu_known = status.model.gpu, True
        reading = self._machine.read(self._gpu)
        vram = reading.vram
        return MemorySample(
            time_s=time.monotonic(),
            reading=reading,
            ram=ram_parts(reading.ram, memory),
            vram=None if vram is None else vram_parts(vram, memory, status.reserved_bytes),
            disk_bytes=memory.disk.total,
            context_tokens=context_tokens,
            tokens_per_s=status.tokens_per_s or 0.0,
        )
