"""Which build of PyTorch fits this PC: for the CPU, or for the CUDA that its NVIDIA driver runs.

Nothing but Python's own library is imported: `packaging/choose_torch.py` runs this before anything is installed.
"""

import ctypes
import platform
import re
import sys
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Final

INDEXES: Final = "https://download.pytorch.org/whl"
TIMEOUT_S: Final = 8.0
NEWEST_CUDA: Final = (13, 0)
LEGACY_CUDA: Final = (12, 6)
"""What PyTorch 2.12 to 2.14 are built for, besides the CPU (github.com/pytorch/pytorch, RELEASE.md)."""

ARCHITECTURES: Final = {NEWEST_CUDA: ((7, 5), (13, 0)), LEGACY_CUDA: ((5, 0), (10, 0))}
"""Compute capabilities of GPUs that they have code for: from, and below; of the same table."""

MEASURED_BYTES: Final = {
    ("linux", ()): 191_800_000,
    ("linux", NEWEST_CUDA): 2_740_700_000,  # with the CUDA libraries that it needs
    ("win32", ()): 122_000_000,
    ("darwin", ()): 111_200_000,
}
"""Downloads of PyTorch 2.13.0 by system and CUDA, added up from what the indexes announce."""

ON_PYPI: Final = {"linux": NEWEST_CUDA, "win32": (), "darwin": ()}
"""The build that PyPI itself has."""


@dataclass(frozen=True)
class Nvidia:
    """What decides, of an NVIDIA driver.

    Attributes:
        cuda: the newest CUDA that it runs, (12, 4), or () without a driver.
        capabilities: the GPUs' compute capabilities, as far as they are known.
        name: the first GPU's, "" without any.
    """

    cuda: tuple[int, ...] = ()
    capabilities: tuple[tuple[int, int], ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Build:
    """A build of PyTorch; `cuda` is () for the CPU, `system` is like `sys.platform`."""

    cuda: tuple[int, ...]
    system: str = sys.platform

    def __str__(self) -> str:
        return f"for CUDA {self.cuda[0]}.{self.cuda[1]}" if self.cuda else "for the CPU"

    @property
    def tag(self) -> str:
        """Like `cu130` or `cpu`."""
        return "cu{}{}".format(*self.cuda) if self.cuda else "cpu"

    @property
    def index(self) -> str:
        """The index that has it, "" where that is PyPI itself."""
        return "" if ON_PYPI.get(self.system, ()) == self.cuda else f"{INDEXES}/{self.tag}"

    @property
    def measured_bytes(self) -> int | None:
        """What has to be downloaded, where it was measured."""
        return MEASURED_BYTES.get((self.system, self.cuda))


CPU: Final = Build(())


def fitting_build(nvidia: Nvidia, system: str = sys.platform) -> Build:
    """The newest build that can use the GPU, or that for the CPU."""
    if system in ("linux", "win32") and nvidia.name:
        for cuda, (first, beyond) in ARCHITECTURES.items():
            runs = not nvidia.capabilities or any(first <= each < beyond for each in nvidia.capabilities)
            if runs and nvidia.cuda[:1] >= cuda[:1]:  # any driver of a major version runs all of its minor ones
                return Build(cuda, system)
    return Build((), system)


def why_none_fits(nvidia: Nvidia) -> str:
    """Why a GPU stays idle, and what to do."""
    runs = "{}.{}".format(*nvidia.cuda) if nvidia.cuda else "no version that is known"
    return (
        f"No build of PyTorch fits the {nvidia.name} and its driver (CUDA up to {runs}), so that models run on the "
        "CPU. Update the driver (nvidia.com), then: ./kiv doctor --fix"
    )


def has_choice(system: str = sys.platform, machine: str | None = None) -> bool:
    """Whether there is more than one build for this kind of PC."""
    return system in ("linux", "win32") and (machine or platform.machine()).lower() in ("x86_64", "amd64")


def wheel_bytes(build: Build, version: str, index: str = "") -> int | None:
    """Size of a build's own wheel for this Python; None where its index cannot be reached, or does not have it."""
    python = "cp{}{}".format(*sys.version_info[:2])
    end = "win_amd64" if build.system == "win32" else "x86_64"
    page = f"{index or build.index}/torch/"
    wheel = rf'href="([^"]*torch-{re.escape(version)}(?:%2B|\+){build.tag}-{python}-{python}-[^"]*{end}\.whl)'
    try:
        with urllib.request.urlopen(page, timeout=TIMEOUT_S) as answer:
            found = re.search(wheel, answer.read().decode(errors="replace"))
        if found is None:
            return None
        asked = urllib.request.Request(urllib.parse.urljoin(page, found[1]), method="HEAD")
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
            return int(answer.headers.get("Content-Length", 0))
    except (OSError, ValueError):
        return None


def size_text(num_bytes: int) -> str:
    """Like `192 MB` or `2.7 GB`."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


# -- the driver ------------------------------------------------------------------------------------------------------


def read_nvidia() -> Nvidia:
    """Ask the driver's own library; without a driver nothing is found."""
    library = _management_library()
    if library is None or library.nvmlInit_v2():
        return Nvidia()
    try:
        cuda, count = ctypes.c_int(), ctypes.c_uint()
        library.nvmlSystemGetCudaDriverVersion(ctypes.byref(cuda))
        library.nvmlDeviceGetCount_v2(ctypes.byref(count))
        gpus = [_read_gpu(library, index) for index in range(count.value)]
    finally:
        library.nvmlShutdown()
    if not gpus:
        return Nvidia()
    known = tuple(capability for _, capability in gpus if capability != (0, 0))
    return Nvidia((cuda.value // 1000, cuda.value % 1000 // 10), known, gpus[0][0] or "NVIDIA GPU")


def _management_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None


def _read_gpu(library: ctypes.CDLL, index: int) -> tuple[str, tuple[int, int]]:
    """Name and compute capability; what the driver does not say stays empty."""
    device, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device))
    library.nvmlDeviceGetName(device, name, ctypes.c_uint(len(name)))
    library.nvmlDeviceGetCudaComputeCapability(device, ctypes.byref(major), ctypes.byref(minor))
    return name.value.decode(errors="replace"), (major.value, minor.value)
