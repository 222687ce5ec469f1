"""From the store to the model's device: rows are gathered where the device can copy them, in memory that is used again.

A GPU copies by itself, while the CPU goes on, only from memory that is pinned; from any other the driver first copies
on the CPU, and waits. Pinning takes long, so that a few blocks are pinned once and filled in turn. One is filled again
only when the GPU has copied what was in it.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import torch

from kiv_engine.memory import ReusedMemory
from kiv_engine.store import RowTable

STAGING_BLOCKS: Final = 2
"""While the GPU copies out of one, the other is filled."""


class Mark(Protocol):
    """A place in a device's queue of work, as CudaMark is one."""

    def record(self) -> None:
        """Put it behind all that was asked for so far."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has come there; return at once where it was never put anywhere."""
        ...


class CudaMark:
    """A place in the queue that a GPU's copies stand in."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._event = torch.cuda.Event()

    def record(self) -> None:
        self._event.record(torch.cuda.current_stream(self._device))

    def synchronize(self) -> None:
        self._event.synchronize()


class Staging:
    """Fetches rows for one device, in one thread."""

    def __init__(self, device: torch.device, new_mark: Callable[[], Mark] | None = None) -> None:
        """`new_mark` makes marks in the device's queue; without it nothing is copied: rows are used where they are."""
        self._device = device
        self._marks = [new_mark() for _ in range(STAGING_BLOCKS)] if new_mark else []
        self._blocks = [ReusedMemory(pin=device.type == "cuda") for _ in range(STAGING_BLOCKS)]
        self._next = 0

    def fetch(self, table: RowTable, ids: torch.Tensor) -> torch.Tensor:
        """Rows (H, n, D) of tokens `ids` (H, n) on the device, the caller's to keep."""
        return self._copied(table, ids) if self._marks else table.gather(ids.to("cpu")).to(self._device)

    def glance(self, table: RowTable, ids: torch.Tensor) -> torch.Tensor:
        """The same, the caller's until the next call: without copying it is in the same memory each time."""
        if self._marks:
            return self._copied(table, ids)
        return table.gather(ids.to("cpu"), self._blocks[0].lend((*ids.shape, table.dim), table.dtype)).to(self._device)

    def _copied(self, table: RowTable, ids: torch.Tensor) -> torch.Tensor:
        block, mark = self._blocks[self._next], self._marks[self._next]
        self._next = (self._next + 1) % STAGING_BLOCKS
        on_cpu = ids.to("cpu")
        mark.synchronize()
        rows = table.gather(on_cpu, block.lend((*ids.shape, table.dim), table.dtype))
        copied = torch.empty(rows.shape, dtype=rows.dtype, device=self._device)
        copied.copy_(rows, non_blocking=True)
        mark.record()
        return copied


class _Stagings(threading.local):
    def __init__(self) -> None:
        self.by_device: dict[torch.device, Staging] = {}


_STAGINGS: Final = _Stagings()


def staging(device: torch.device) -> Staging:
    """What this thread fetches through, whichever layer and cache it is for."""
    found = _STAGINGS.by_device.get(device)
    if found is None:
        new_mark = partial(CudaMark, device) if device.type == "cuda" else None
        found = _STAGINGS.by_device[device] = Staging(device, new_mark)
    return found
