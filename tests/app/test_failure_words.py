"""What a failure says: the cause, figures, and what to do; whatever raised it."""

import errno

import pytest
import torch

from app.failure_words import explained, failure_of
from kiv_engine.errors import CapacityError, OutOfMemoryError, is_out_of_memory
from kiv_engine.events import Failed

CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 11.60 GiB of which 1.25 GiB is "
    "free. Including non-PyTorch memory, this process has 10.33 GiB memory in use."
)
CPU = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried 8"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(CPU), OSError(errno.ENOMEM, "no memory")])
def test_where_ram_ran_out_it_is_said_how_much_is_free(error: BaseException) -> None:
    failed = failure_of(error)
    assert failed.message.startswith("RAM ran out. ")
    assert " GB of RAM are free now; this app takes " in failed.message
    assert isinstance(failed.error, OutOfMemoryError)
    assert str(failed.error) == failed.message


def test_where_a_gpu_s_memory_ran_out_torch_s_figures_are_told() -> None:
    failed = failure_of(torch.OutOfMemoryError(CUDA))
    assert failed.message == "The GPU's memory ran out: 2.50 GiB more were wanted, and 1.25 GiB are free."
    assert isinstance(failed.error, OutOfMemoryError)


@pytest.mark.parametrize("words", ["CUDA error: out of memory\nCUDA kernels", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_also_where_torch_says_so_without_figures(words: str) -> None:
    failed = failure_of(RuntimeError(words))
    assert failed.message == "The GPU's memory ran out."
    assert isinstance(failed.error, OutOfMemoryError)


def test_a_gpu_that_stopped_working_needs_a_new_start() -> None:
    failed = failure_of(RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might"))
    assert "illegal memory access was encountered. Start the app again" in failed.message
    assert "\n" not in failed.message


def test_an_error_that_nobody_foresaw_is_told_in_one_line() -> None:
    failed = failure_of(ValueError("odd.\nat line 3"))
    assert failed.message.startswith("Unexpected error: ValueError: odd. Try again")
    assert "line 3" not in failed.message
    assert failure_of(AssertionError()).message.startswith("Unexpected error: AssertionError. ")


def test_the_engine_s_own_words_are_left_as_they_are() -> None:
    error = CapacityError("Too large.")
    assert explained(Failed("Too large.", error)) == Failed("Too large.", error)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk"), RuntimeError("mat1 and mat2"), ValueError()])
def test_other_errors_are_no_shortage(error: BaseException) -> None:
    assert not is_out_of_memory(error)
