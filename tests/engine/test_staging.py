"""Rows on their way to the device: memory that is used again, and never before what was in it has been copied."""

from typing import Any

import pytest
import torch

from kiv_engine import memory as memory_module
from kiv_engine.memory import ReusedMemory
from kiv_engine.staging import STAGING_BLOCKS, Staging, staging
from kiv_engine.store import RowTable

CPU = torch.device("cpu")


@pytest.fixture
def table() -> RowTable:
    table = RowTable(2, 8, torch.float32)
    table.append(torch.randn(2, 100, 8))
    return table


def rows_of(table: RowTable, ids: torch.Tensor) -> torch.Tensor:
    return table.read(0, 100).gather(1, ids[..., None].expand(-1, -1, 8))


class LateCopies:
    """A device's queue: copies that were asked for are made when somebody waits for a mark behind them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.waits = 0
        self._copy = torch.Tensor.copy_
        late = self

        def copy_later(target: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
            assert non_blocking
            late.queue.append((target, source))
            return target

        monkeypatch.setattr(torch.Tensor, "copy_", copy_later)

    def finish(self, count: int) -> None:
        for target, source in self.queue[:count]:
            self._copy(target, source)
        del self.queue[:count]

    def new_mark(self) -> Any:
        late = self

        class Mark:
            behind = 0

            def record(self) -> None:
                self.behind = len(late.queue)

            def synchronize(self) -> None:
                late.waits += 1
                late.finish(self.behind)

        return Mark()


def test_a_block_is_filled_again_only_when_the_device_has_copied_it(
    table: RowTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [torch.randint(0, 100, (2, 1 + place)) for place in range(3 * STAGING_BLOCKS)]
    expected = [rows_of(table, some) for some in ids]
    device = LateCopies(monkeypatch)
    through = Staging(CPU, device.new_mark)
    fetched = [(through.fetch, through.glance)[place % 2](table, some) for place, some in enumerate(ids)]
    assert 0 < len(device.queue) <= STAGING_BLOCKS, "all was waited for, or nothing"
    device.finish(len(device.queue))
    for got, wanted in zip(fetched, expected, strict=True):
        assert torch.equal(got, wanted)
    assert device.waits == len(ids)


def test_rows_are_copied_out_of_few_blocks(table: RowTable, monkeypatch: pytest.MonkeyPatch) -> None:
    device = LateCopies(monkeypatch)
    through = Staging(CPU, device.new_mark)
    through.fetch(table, torch.zeros(2, 50, dtype=torch.long))
    through.fetch(table, torch.zeros(2, 50, dtype=torch.long))
    places = {source.data_ptr() for _, source in device.queue}
    for count in (7, 50, 1):
        through.fetch(table, torch.zeros(2, count, dtype=torch.long))
        assert device.queue[-1][1].data_ptr() in places


def test_without_copying_what_is_fetched_stays_and_what_is_glanced_at_is_written_over(table: RowTable) -> None:
    first, second = torch.randint(0, 100, (2, 2, 30))
    through = Staging(CPU)
    kept, seen = through.fetch(table, first), through.glance(table, first)
    assert torch.equal(seen, rows_of(table, first))
    again = through.glance(table, second)
    assert torch.equal(again, rows_of(table, second))
    assert again.data_ptr() == seen.data_ptr()
    through.fetch(table, second)
    assert torch.equal(kept, rows_of(table, first))
    assert staging(CPU) is staging(CPU)


def test_lent_memory_is_the_same_until_it_must_grow() -> None:
    memory = ReusedMemory()
    small = memory.lend((3, 4), torch.float32)
    assert small.shape == (3, 4)
    assert small.is_contiguous()
    assert memory.lend((2, 6), torch.int32).data_ptr() == small.data_ptr()
    large = memory.lend((300, 4), torch.int64)
    assert large.shape == (300, 4)
    assert memory.lend((3, 4), torch.float32).data_ptr() == large.data_ptr()


def test_memory_that_one_large_loan_took_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MOST_KEPT_BYTES", 64)
    memory = ReusedMemory()
    small = memory.lend((4, 4), torch.float32)
    large = memory.lend((4, 5), torch.float32)
    assert (large.shape, large.dtype) == ((4, 5), torch.float32)
    assert large.untyped_storage().data_ptr() != small.untyped_storage().data_ptr()
    assert memory.lend((2, 2), torch.float32).data_ptr() == small.data_ptr()
    assert memory.lend((4, 4), torch.float32).untyped_storage().nbytes() == 64
