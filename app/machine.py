"""What this PC has and uses: RAM, and an NVIDIA GPU if there is one."""

import os
import time
from dataclasses import dataclass
from typing import Any, Final

import psutil

LEAST_CPU_S: Final = 0.1


@dataclass(frozen=True)
class RamReading:
    """Bytes of RAM.

    Attributes:
        process: of this process, all of it.
        files: of that, what is mapped from files, which the system takes back when it needs room; 0 where it does not
            say (only Linux does).
        used: of all programs, without what the system would take back.
        total: of the PC.
    """

    process: int
    files: int
    used: int
    total: int


@dataclass(frozen=True)
class VramReading:
    """Bytes of the GPU's memory: of this process (0 where the driver does not say), of all programs, and in all."""

    process: int
    used: int
    total: int


@dataclass(frozen=True)
class MachineReading:
    """One moment's figures. `cpu_percent` is of all cores together since the last one; `vram` is None without a GPU."""

    ram: RamReading
    cpu_percent: float
    vram: VramReading | None = None


def read_ram() -> RamReading:
    """Measure now; takes well under a millisecond."""
    memory, mine = psutil.virtual_memory(), psutil.Process().memory_info()
    return RamReading(mine.rss, getattr(mine, "shared", 0), memory.total - memory.available, memory.total)


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU, or several that share a model. Handles may be used from any thread."""

    handle: Any
    others: tuple[Any, ...] = ()

    def read_vram(self) -> VramReading | None:
        """Measure now, of all together; None where the driver no longer answers."""
        import pynvml

        handles = (self.handle, *self.others)
        try:
            memory = [pynvml.nvmlDeviceGetMemoryInfo(each) for each in handles]
        except pynvml.NVMLError:
            return None
        used, total = sum(int(each.used) for each in memory), sum(int(each.total) for each in memory)
        return VramReading(sum(map(_own_bytes, handles)), used, total)


def _own_bytes(handle: Any) -> int:
    """Windows, and containers with process numbers of their own, do not say."""
    import pynvml

    try:
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:
        return 0
    return sum(int(each.usedGpuMemory or 0) for each in processes if each.pid == os.getpid())


class Machine:
    """This PC."""

    def __init__(self) -> None:
        self._cpu_percent: float = psutil.cpu_percent()  # the first is 0, and the beginning of the next one's time
        self._cpu_read_at = time.monotonic()

    def read(self, gpu: Gpu | None) -> MachineReading:
        """Measure now."""
        return MachineReading(read_ram(), self._read_cpu(), gpu.read_vram() if gpu else None)

    def _read_cpu(self) -> float:
        """Cores count their time in hundredths of a second: of less than ten of them nothing can be said."""
        if time.monotonic() - self._cpu_read_at >= LEAST_CPU_S:
            self._cpu_percent, self._cpu_read_at = psutil.cpu_percent(), time.monotonic()
        return self._cpu_percent


def find_gpu(*uuids: str) -> Gpu | None:
    """The NVIDIA GPUs with these ids, which are like "GPU-1b2c"; without any the driver's first; or None.

    Waking the driver may take a while: not on the GUI thread.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = tuple(map(pynvml.nvmlDeviceGetHandleByUUID, uuids)) or (pynvml.nvmlDeviceGetHandleByIndex(0),)
        return Gpu(handles[0], handles[1:])
    except Exception:  # noqa: BLE001 - no library, no driver or no GPU: the same to us
        return None
