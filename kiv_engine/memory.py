"""Large blocks of RAM for what grows: taken from the system as they are written, on huge pages where it has them."""

import contextlib
import ctypes
import functools
import math
import mmap
import traceback
from collections.abc import Callable
from typing import Final, cast

import torch

from kiv_engine import garbage

HUGE_PAGE_BYTES: Final = 2 * 1024 * 1024

TAKES_MEMORY_LAZILY: Final = hasattr(mmap, "MADV_HUGEPAGE")
"""Linux: memory that was never written costs nothing."""


def allocate(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """An uninitialised CPU tensor. Raises RuntimeError or OSError where the system refuses.

    The scan reads gigabytes per second and a gather jumps all over the store: with 4 KB pages both spend much of their
    time on address translation.
    """
    count = math.prod(shape)
    num_bytes = count * dtype.itemsize
    with torch.inference_mode(False):  # such blocks outlive the call that needed them
        if num_bytes < HUGE_PAGE_BYTES or not TAKES_MEMORY_LAZILY:
            return torch.empty(shape, dtype=dtype)
        block = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a kernel without huge pages: small ones do
            block.madvise(mmap.MADV_HUGEPAGE)
        return torch.frombuffer(block, dtype=dtype, count=count).view(shape)


MOST_KEPT_BYTES: Final = 16 << 20
"""Steps take less; a block of questions may take much more, once."""


class ReusedMemory:
    """Memory that is lent again and again, for one tensor at a time. It grows where it has to; what is larger than
    `MOST_KEPT_BYTES` is new each time, and goes with the tensor.
    """

    def __init__(self, *, pin: bool = False) -> None:
        """`pin` locks it in RAM, for a GPU to copy from."""
        self._pin = pin
        self._bytes = torch.empty(0, dtype=torch.uint8)

    def lend(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """An uninitialised, contiguous tensor on the CPU; it takes the place of what was lent before."""
        num_bytes = math.prod(shape) * dtype.itemsize
        if num_bytes > MOST_KEPT_BYTES:
            return torch.empty(shape, dtype=dtype, pin_memory=self._pin)
        if num_bytes > self._bytes.numel():
            with torch.inference_mode(False):
                self._bytes = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=self._pin)
        return self._bytes[:num_bytes].view(dtype).view(shape)


def free_vram_bytes(device: torch.device) -> int:
    """Bytes of a GPU's memory that can still be had: free ones, and those that PyTorch holds for reuse."""
    free, _total = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def forget_frames(error: BaseException) -> None:
    """Drop the variables of all calls that an error, and those before it, came out of: they may hold gigabytes."""
    each: BaseException | None = error
    while each is not None:
        traceback.clear_frames(each.__traceback__)
        each = each.__cause__ or each.__context__


def give_back() -> None:
    """Let the system have what nobody holds any more: Python's cycles, freed blocks of the heap, PyTorch's of VRAM."""
    garbage.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """Let the system have the heap's freed blocks, which scatter and add up while work of many sizes goes on."""
    if trim := _malloc_trim():
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Only glibc keeps freed blocks to itself, and has this. Loaded once: each load leaves classes behind."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no library without a name
        return cast(Callable[[int], int], ctypes.CDLL(None).malloc_trim)
    return None
