"""Another build of PyTorch in place of the installed one: what `kiv doctor --fix` does. Never imports PyTorch.

Windows cannot replace files that a running program has loaded.
"""

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kiv_engine.errors import EngineError
from kiv_engine.hardware import TorchBuild, read_torch_build
from kiv_engine.torch_build import Build, Nvidia, fitting_build, has_choice, size_text, wheel_bytes

CONSTRAINTS: Final = Path(__file__).parents[1] / "constraints.txt"
OF_CUDA: Final = ("nvidia-", "cuda-", "triton")
NOT_OF_CUDA: Final = ("nvidia-ml-py",)

Run = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Swap:
    """One change of build; `nvidia` is why."""

    installed: TorchBuild
    build: Build
    nvidia: Nvidia

    @property
    def version(self) -> str:
        """PyTorch's version without its build, which stays."""
        return self.installed.version.partition("+")[0]

    @property
    def requirement(self) -> str:
        """What pip is asked for; on PyPI versions name no build."""
        return f"torch=={self.version}+{self.build.tag}" if self.build.index else f"torch=={self.version}"

    def __str__(self) -> str:
        has = f"Here is PyTorch {self.installed.version}."
        if self.build.cuda:
            return f"{has} The build {self.build} can use the {self.nvidia.name}."
        return f"{has} Without an NVIDIA GPU that it can use, the build {self.build} does the same in less space."


def plan_swap(nvidia: Nvidia, installed: TorchBuild, system: str = sys.platform) -> Swap | None:
    """The change that fits this PC; None where the installed build does. Raises EngineError where none is installed."""
    if not installed.version:
        raise EngineError("PyTorch is not installed; start KIV with ./kiv, which installs it.")
    if not has_choice(system):
        return None
    build = fitting_build(nvidia, system)
    return None if _same_kind(installed.cuda, build.cuda) else Swap(installed, build, nvidia)


def _same_kind(installed: tuple[int, ...], fitting: tuple[int, ...]) -> bool:
    """Minor versions of CUDA run on the same drivers and are built for the same GPUs."""
    return installed[:1] == fitting[:1]


def download_size(swap: Swap) -> str:
    """What has to be downloaded, as text. Raises EngineError where the build's index cannot be reached."""
    known = swap.build.measured_bytes
    if not swap.build.index and known is not None:
        return f"about {size_text(known)}"
    wheel = wheel_bytes(swap.build, swap.version)
    if wheel is None:
        raise EngineError(
            f"PyTorch {swap.version} {swap.build} cannot be had from {swap.build.index} now; check the connection."
        )
    more = " and CUDA's libraries" if swap.build.cuda and swap.build.system == "linux" else ""
    return f"{size_text(wheel)}{more}" if wheel else "an unknown size"


def pip_commands(swap: Swap) -> list[list[str]]:
    """What pip has to do: PyTorch itself, which replaces a build only when forced, then what that needs."""
    pip = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    limits = ["--constraint", str(CONSTRAINTS)] if CONSTRAINTS.exists() else []
    index = ["--extra-index-url", swap.build.index] if swap.build.index else []
    install = [*pip, "install", *limits, *index]
    commands = [[*install, "--force-reinstall", "--no-deps", swap.requirement], [*install, swap.requirement]]
    if not swap.build.cuda and (unused := cuda_packages()):
        commands.append([*pip, "uninstall", "--yes", *unused])
    return commands


def cuda_packages() -> list[str]:
    """Installed packages that only a CUDA build of PyTorch needs."""
    names = {(each.name or "").lower() for each in importlib.metadata.distributions()}
    return sorted(name for name in names if name.startswith(OF_CUDA) and name not in NOT_OF_CUDA)


def swap_torch(swap: Swap, run: Run) -> TorchBuild:
    """Do it; what is installed then. Raises EngineError where pip fails, or brought something else."""
    for command in pip_commands(swap):
        if run(command):
            kept = read_torch_build()
            state = f"PyTorch {kept.version} is in place" if kept.version else "start ./kiv to install it"
            raise EngineError(f"pip could not change PyTorch, for the reason above; {state}.")
    found = read_torch_build()
    if not _same_kind(found.cuda, swap.build.cuda):
        raise EngineError(
            f"pip brought PyTorch {found.version} instead of the build {swap.build}; look at: pip config list"
        )
    return found


def run_on_stderr(command: Sequence[str]) -> int:
    """Run pip, which talks on stderr; its exit code."""
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode
