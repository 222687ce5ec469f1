"""RAM and disk: what there is, and what of it can be had. Values of one moment."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Ram:
    """Bytes of RAM that this process could have: the machine's, or a container's share of it."""

    total_bytes: int
    available_bytes: int
    in_container: bool


@dataclass(frozen=True)
class Disk:
    """Bytes of the disk that a folder is on; the folder need not exist yet."""

    path: str
    total_bytes: int
    free_bytes: int


def read_ram() -> Ram:
    """RAM in all, and what can still be had without swapping."""
    memory = psutil.virtual_memory()
    limits = [limit for limit, _ in _container_limits() if limit < memory.total]
    return Ram(min([memory.total, *limits]), available_ram_bytes(), bool(limits))


def available_ram_bytes() -> int:
    """RAM that can still be had: the system's, or less where a container is closer to its limit."""
    rooms = [max(0, limit - used) for limit, used in _container_limits()]
    return int(min([psutil.virtual_memory().available, *rooms]))


def _container_limits(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of every control group around this process that has a limit; page cache is no use."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        names = ("limit_in_bytes", "usage_in_bytes", "total_inactive_file") if controllers else (
            "max", "current", "inactive_file"
        )  # fmt: skip
        own = base / path.lstrip("/")
        # In a container the path is that outside of it: then only the root is there.
        groups = [own, *own.parents] if own.is_dir() else [base]
        for group in groups:
            if found := _group_memory(group, *names):
                yield found
            if group == base:
                break


def _group_memory(group: Path, limit: str, usage: str, cached: str) -> tuple[int, int] | None:
    """Limit and use of one control group, or None where it has no limit."""
    try:
        most = (group / f"memory.{limit}").read_text().strip()
        used = int((group / f"memory.{usage}").read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return None if most == "max" else (int(most), max(0, used - int(statistics.get(cached, 0))))
    except (OSError, ValueError):
        return None


def read_disk(folder: Path) -> Disk:
    """The disk of a folder, or of the nearest folder above that exists."""
    existing = existing_folder(folder)
    usage = shutil.disk_usage(existing)
    return Disk(str(folder), usage.total, usage.free)


def existing_folder(folder: Path) -> Path:
    """The folder, or the nearest above it that exists; what this user may not look into counts as absent."""
    return next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
