"""Peaks of memory are of the work at hand, whatever was measured before."""

import torch

from tests.engine.peaks import peak_bytes

BLOCK = 1 << 20


def test_what_another_measurement_left_is_not_counted_as_given_back() -> None:
    kept: list[torch.Tensor] = []

    def keep() -> None:
        kept.append(torch.empty(BLOCK, dtype=torch.uint8))

    def replace() -> None:
        kept.clear()
        keep()

    assert peak_bytes(keep) == BLOCK
    assert peak_bytes(replace) == BLOCK
    assert peak_bytes(lambda: (keep(), keep())) == 2 * BLOCK


def test_what_was_given_back_makes_room() -> None:
    def one_after_the_other() -> None:
        for _ in range(3):
            torch.empty(BLOCK, dtype=torch.uint8)

    assert peak_bytes(one_after_the_other) == BLOCK
