"""A PC with an NVIDIA GPU, or without one, whose figures a test sets."""

from app.machine import Gpu, Machine, MachineReading, RamReading, VramReading

GB = 1_000_000_000


class ScriptedMachine(Machine):
    """Attributes:
    ram, cpu_percent, vram: what is read; the VRAM only where somebody says that there is a GPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ram = RamReading(3 * GB, 1 * GB, 9 * GB, 32 * GB)
        self.cpu_percent = 43.0
        self.vram: VramReading | None = VramReading(7 * GB, 8 * GB, 12 * GB)

    def read(self, gpu: Gpu | None) -> MachineReading:
        return MachineReading(self.ram, self.cpu_percent, self.vram if gpu else None)
