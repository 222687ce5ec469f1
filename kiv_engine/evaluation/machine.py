"""The machine that figures were measured on."""

import os
import platform
from importlib.metadata import version
from typing import Any

import psutil

from kiv_engine.errors import CapacityError, is_out_of_memory
from kiv_engine.hardware import cpu_name


def describe_machine() -> dict[str, Any]:
    """What figures depend on; nothing that tells whose machine it is."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "ram_bytes": psutil.virtual_memory().total,
        "gpu": gpu_model(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
    }


def gpu_model() -> str | None:
    """The GPU that torch would use, or None."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def shortage(error: Exception) -> str:
    """What an error says is lacking, RAM, VRAM or disk; any other error is raised again."""
    if isinstance(error, CapacityError):
        return str(error).rstrip(".")
    if is_out_of_memory(error):
        return "out of memory"
    raise error


def load_average() -> float | None:
    """Processes that wanted to run during the last minute, where the system tells."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def seconds_elsewhere() -> float | None:
    """Processor time so far that went elsewhere than to this process and to those it waited for; None on Windows."""
    if os.name == "nt":
        return None
    times, own = psutil.cpu_times(), os.times()
    busy: float = sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
    return busy - own.user - own.system - own.children_user - own.children_system
