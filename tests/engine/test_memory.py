"""Giving memory back to systems of all kinds."""

import ctypes

import pytest

from kiv_engine import memory


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])  # the last is what Python on Windows raises
def test_only_glibc_can_be_told_to_give_memory_back(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: None) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    memory._malloc_trim.cache_clear()
    try:
        memory.give_back()
    finally:
        memory._malloc_trim.cache_clear()
