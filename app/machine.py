"""What this PC has and uses: RAM, and an NVIDIA GPU if there is one."""

from dataclasses import dataclass
from typing import Any

import psutil


@dataclass(frozen=True)
class RamReading:
    """Bytes of RAM: of this process, of all programs, and of the PC."""

    process: int
    used: int
    total: int


def read_ram() -> RamReading:
    """Measure now; takes well under a millisecond."""
    memory = psutil.virtual_memory()
    return RamReading(psutil.Process().memory_info().rss, memory.total - memory.available, memory.total)


@dataclass(frozen=True)
class VramReading:
    """Bytes of the GPU's memory: of all programs, and in all."""

    used: int
    total: int


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU. Its handle may be used from any thread."""

    handle: Any

    def read_vram(self) -> VramReading:
        """Measure now."""
        import pynvml

        memory = pynvml.nvmlDeviceGetMemoryInfo(self.handle)
        return VramReading(int(memory.used), int(memory.total))


def find_gpu(uuid: str) -> Gpu | None:
    """The NVIDIA GPU with this id, which is like "GPU-1b2c"; for "" the driver's first; or None.

    Waking the driver may take a while: not on the GUI thread.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
        return Gpu(pynvml.nvmlDeviceGetHandleByUUID(uuid) if uuid else pynvml.nvmlDeviceGetHandleByIndex(0))
    except Exception:  # noqa: BLE001 - no library, no driver or no GPU: the same to us
        return None
