"""This PC: processor, RAM, disk, NVIDIA GPUs, and whether PyTorch can use them. Values of one moment.

Nothing here needs PyTorch, except the last question about CUDA, which is only asked where all else says yes.
"""

import importlib.util
import os
import platform
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kiv_engine.free_space import Disk, Ram, read_disk, read_ram

INSTRUCTION_SETS: Final = {
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "avx512f": "AVX-512",
    "avx512vnni": "AVX512-VNNI",
    "avx512bf16": "AVX512-BF16",
    "avx512fp16": "AVX512-FP16",
    "avxvnni": "AVX-VNNI",
    "amx-bf16": "AMX-BF16",
    "amx-int8": "AMX-INT8",
    "neon": "NEON",
    "dotprod": "DotProd",
    "fullfp16": "FP16",
    "bf16": "BF16",
    "i8mm": "I8MM",
    "sve": "SVE",
}
"""LLVM's names of what speeds up matrix products and the scan of the index, and how people write them."""


@dataclass(frozen=True)
class Cpu:
    """The processor.

    Attributes:
        logical_cores: of the machine.
        usable_cores: of them, those that this process may run on.
        instruction_sets: those that matter here.
    """

    name: str
    logical_cores: int
    usable_cores: int
    instruction_sets: tuple[str, ...]


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU. `compute_capability` is like "8.9", or "" where the driver does not say; `uuid` like "GPU-1b"."""

    name: str
    total_bytes: int
    free_bytes: int
    driver: str
    compute_capability: str
    uuid: str = ""


@dataclass(frozen=True)
class Driver:
    """The NVIDIA driver, as far as there is one.

    Attributes:
        cuda: the newest CUDA version it can run, (12, 4), or () where there is no driver.
        problem: why it cannot be asked, "" where it can, or where none is installed.
    """

    gpus: tuple[Gpu, ...] = ()
    version: str = ""
    cuda: tuple[int, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class TorchBuild:
    """The installed PyTorch; `cuda` is the version that it was built for, () for a CPU build, both empty for none."""

    version: str = ""
    cuda: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cuda:
    """Whether models can run on an NVIDIA GPU here; why not, and what to do about it, in a sentence each."""

    usable: bool
    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Hardware:
    """All of it; where CUDA is usable, the first GPU is the one that models run on.

    Attributes:
        spilled_bytes: what of this process's VRAM lies in RAM, at least.
        num_model_gpus: so many of the first GPUs can run models, together if need be.
    """

    cpu: Cpu
    ram: Ram
    disk: Disk
    gpus: tuple[Gpu, ...]
    torch: TorchBuild
    cuda: Cuda
    spilled_bytes: int = 0
    num_model_gpus: int = 1

    @property
    def model_gpus(self) -> tuple[Gpu, ...]:
        """Those that can run models; none where CUDA is not usable."""
        return self.gpus[: self.num_model_gpus] if self.cuda.usable else ()


def inspect_hardware(folder: Path) -> Hardware:
    """Look at everything now; `folder` says which disk. Imports PyTorch only where an NVIDIA GPU seems usable."""
    driver, build = read_driver(), read_torch_build()
    cuda = judge_cuda(driver, build) or ask_torch(driver)
    usable = 0
    if cuda.usable:
        driver = in_order_of_torch(driver)
        usable = 1 + len(further_gpus(0))
    parts = read_cpu(), read_ram(), read_disk(folder)
    return Hardware(*parts, driver.gpus, build, cuda, read_spilled_bytes(), usable)


# -- processor -------------------------------------------------------------------------------------------------------


def read_cpu() -> Cpu:
    """The processor, as LLVM and the system describe it."""
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return Cpu(cpu_name(), cores, min(usable, cores), _instruction_sets())


def _instruction_sets() -> tuple[str, ...]:
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return tuple(title for name, title in INSTRUCTION_SETS.items() if features.get(name))


def cpu_name() -> str:
    """As its maker calls it."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", path.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


# -- NVIDIA ----------------------------------------------------------------------------------------------------------


def read_driver() -> Driver:
    """The NVIDIA driver and its GPUs; an absent driver is no problem."""
    import pynvml

    try:
        with _nvml():
            cuda = int(pynvml.nvmlSystemGetCudaDriverVersion())
            version = _text(pynvml.nvmlSystemGetDriverVersion())
            handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
            gpus = tuple(_read_gpu(handle, version) for handle in handles)
            return Driver(gpus, version, (cuda // 1000, cuda % 1000 // 10))
    except pynvml.NVMLError as error:
        absent = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED
        return Driver(problem="" if error.value in absent else str(error))


def spilled_bytes(reserved: int, used: int) -> int:
    """What of `reserved` bytes of VRAM lies in RAM instead, at least.

    Where VRAM is full, the driver for Windows goes on in RAM without a word, many times slower. PyTorch counts that as
    its own; the GPU's memory in `used`, of all programs together, does not.
    """
    return max(0, reserved - used)


def read_reserved_bytes() -> int:
    """Bytes of VRAM that PyTorch has for this process, used or not; 0 where it has nothing on a GPU. Wakes no GPU."""
    return sum(reserved_by_gpu().values())


def reserved_by_gpu() -> dict[int, int]:
    """That by PyTorch's number of the GPU, of those where it has anything: in the order of `model_gpus`."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    reserved = {index: int(torch.cuda.memory_reserved(index)) for index in range(torch.cuda.device_count())}
    return {index: size for index, size in reserved.items() if size}


def read_spilled_bytes() -> int:
    """That of this process now; 0 where it has nothing on a GPU. Takes under a millisecond a GPU, and wakes none."""
    if not (reserved := reserved_by_gpu()):
        return 0
    import pynvml

    try:
        with _nvml():
            return sum(spilled_bytes(size, _used_bytes(index)) for index, size in reserved.items())
    except pynvml.NVMLError:
        return 0


def _used_bytes(index: int) -> int:
    """Bytes of a GPU's memory that all programs use; `index` is PyTorch's."""
    import pynvml

    torch: Any = sys.modules["torch"]
    handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(index).uuid}")
    return int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)


@contextmanager
def _nvml() -> Iterator[None]:
    import pynvml

    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _read_gpu(handle: Any, driver: str) -> Gpu:
    import pynvml

    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        capability = "{}.{}".format(*pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    except pynvml.NVMLError:
        capability = ""
    name, uuid = _text(pynvml.nvmlDeviceGetName(handle)), _text(pynvml.nvmlDeviceGetUUID(handle))
    return Gpu(name, int(memory.total), int(memory.free), driver, capability, uuid)


def _text(value: str | bytes) -> str:
    """Older versions of the library return bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


# -- PyTorch ---------------------------------------------------------------------------------------------------------


def read_torch_build() -> TorchBuild:
    """What PyTorch was built for, read from its own version file: importing it takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return TorchBuild()
    text = Path(spec.origin).with_name("version.py").read_text()
    version = re.search(r"^__version__ = '([^']*)'", text, re.MULTILINE)
    cuda = re.search(r"^cuda(?:: [^=]*)? = '([\d.]+)'", text, re.MULTILINE)
    numbers = tuple(map(int, cuda[1].split("."))) if cuda else ()
    return TorchBuild(version[1] if version else "", numbers)


def judge_cuda(driver: Driver, build: TorchBuild) -> Cuda | None:
    """Why CUDA cannot be used, as far as driver and build tell; None where PyTorch must be asked."""
    if driver.problem:
        return Cuda(
            False,
            f"The NVIDIA driver does not answer: {driver.problem}.",
            "Restart the PC; if that does not help, install the driver again.",
        )
    if not driver.gpus:
        what = "The NVIDIA driver finds no GPU." if driver.version else "There is no NVIDIA GPU, or no driver for it."
        return Cuda(
            False, what, "Models run on the CPU. If this PC has an NVIDIA GPU, install its driver (nvidia.com)."
        )
    if not build.version:
        return Cuda(False, "PyTorch is not installed.", "Start KIV with ./kiv, which installs it.")
    if not build.cuda:
        return Cuda(
            False,
            f"PyTorch {build.version} is a build for the CPU only, so that the GPU stays idle.",
            "Install the build of PyTorch that can use it, with: ./kiv doctor --fix",
        )
    if driver.cuda[0] < build.cuda[0]:
        return Cuda(
            False,
            f"The NVIDIA driver {driver.version} runs CUDA up to {_dotted(driver.cuda)}, but PyTorch {build.version} "
            f"needs {build.cuda[0]}.",
            "Update the NVIDIA driver (nvidia.com), or take a build of PyTorch that it runs: ./kiv doctor --fix",
        )
    return None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def ask_torch(driver: Driver) -> Cuda:
    """Let PyTorch itself say whether it can use the GPU. Imports it, which takes seconds."""
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if not usable:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if hidden is not None:
            return Cuda(
                False,
                f"CUDA_VISIBLE_DEVICES is {hidden!r}, which hides the GPU from PyTorch.",
                "Unset it, or set it to 0, and start again.",
            )
        why = str(said[-1].message).partition(" (Triggered")[0] if said else "PyTorch gives no reason"
        return Cuda(False, f"PyTorch cannot use the GPU: {why.rstrip('.')}.", "Update the NVIDIA driver (nvidia.com).")
    gpu = in_order_of_torch(driver).gpus[0]
    if gpu.compute_capability and not runs_on(gpu.compute_capability, torch.cuda.get_arch_list()):
        return Cuda(
            False,
            f"PyTorch {torch.__version__} has no code for the {gpu.name}, compute capability {gpu.compute_capability}.",
            "Install the build of PyTorch that has, if there is one, with: ./kiv doctor --fix",
        )
    return Cuda(True, f"PyTorch {torch.__version__} uses the {gpu.name}.")


def in_order_of_torch(driver: Driver) -> Driver:
    """With the GPU first that PyTorch calls device 0, then the others that can run models, in its order.

    CUDA_VISIBLE_DEVICES and CUDA have orders of their own.
    """
    import torch

    # PyTorch leaves out the "GPU-".
    uuids = [str(torch.cuda.get_device_properties(index).uuid) for index in (0, *further_gpus(0))]
    places = {gpu: n for n, uuid in enumerate(uuids) for gpu in driver.gpus if gpu.uuid.endswith(uuid)}
    return replace(driver, gpus=tuple(sorted(driver.gpus, key=lambda gpu: places.get(gpu, len(uuids)))))


def further_gpus(first: int) -> list[int]:
    """PyTorch's numbers of the GPUs beside its `first` that it has code for."""
    import torch

    others = (index for index in range(torch.cuda.device_count()) if index != first)
    built_for = torch.cuda.get_arch_list()
    return [each for each in others if runs_on("{}.{}".format(*torch.cuda.get_device_capability(each)), built_for)]


def runs_on(capability: str, architectures: list[str]) -> bool:
    """Whether a build with code for `architectures` ("sm_86", "compute_90") runs on a GPU of this compute capability.

    Machine code runs on later minor versions of its major one; intermediate code on everything later.
    """
    major, minor = map(int, capability.split("."))
    for architecture in architectures:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", architecture)
        if found is None:
            continue
        kind, own = found[1], (int(found[2]), int(found[3]))
        if own <= (major, minor) and (kind == "compute" or own[0] == major):
            return True
    return False
