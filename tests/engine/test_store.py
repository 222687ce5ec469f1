"""The cold store: rows come back as they went in, from RAM or a folder, across slabs, after truncation."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kiv_engine.errors import CapacityError, ConfigError
from kiv_engine.store import ColdStore, RowTable, SlabFolder

HEADS, DIM = 2, 16


@pytest.fixture(params=["ram", "folder", "int8"])
def table(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RowTable:
    """A table whose first slab ends at 64 rows."""
    monkeypatch.setattr("kiv_engine.store.FIRST_SLAB_TOKENS", 64)
    monkeypatch.setattr("kiv_engine.store.LAZY_SLAB_TOKENS", 64)
    folder = SlabFolder(tmp_path / "store") if request.param == "folder" else None
    return RowTable(HEADS, DIM, torch.float32, int8=request.param == "int8", folder=folder)


def tolerance(table: RowTable) -> dict[str, float]:
    return {"atol": 0.02, "rtol": 0} if table._int8 else {"atol": 0, "rtol": 0}


def test_rows_come_back_across_slabs(table: RowTable) -> None:
    rows = torch.randn(HEADS, 300, DIM)
    for part in rows.split([30, 70, 1, 199], 1):
        table.append(part)
    assert table.num_tokens == 300
    assert len(table._slabs) > 1
    torch.testing.assert_close(table.read(0, 300), rows, **tolerance(table))
    torch.testing.assert_close(table.read(60, 70), rows[:, 60:70], **tolerance(table))
    assert table.read(5, 5).shape == (HEADS, 0, DIM)
    ids = torch.randint(0, 300, (HEADS, 40))
    expected = rows.gather(1, ids[..., None].expand(-1, -1, DIM))
    torch.testing.assert_close(table.gather(ids), expected, **tolerance(table))
    out = torch.empty(HEADS, 40, DIM)
    assert table.gather(ids, out) is out
    torch.testing.assert_close(out, expected, **tolerance(table))


def test_appending_leaves_the_rows_of_the_caller_alone(table: RowTable) -> None:
    rows = torch.randn(HEADS, 20, DIM)
    kept = rows.clone()
    table.append(rows)
    assert torch.equal(rows, kept)
    rows.zero_()
    torch.testing.assert_close(table.read(0, 20), kept, **tolerance(table))


def test_truncated_rows_are_written_over(table: RowTable) -> None:
    first, second = torch.randn(2, HEADS, 100, DIM)
    table.append(first)
    table.truncate(50)
    table.truncate(90)  # forgets nothing more
    assert table.num_tokens == 50
    capacity = table.capacity
    table.append(second[:, :40])
    assert table.capacity == capacity
    torch.testing.assert_close(table.read(0, 90), torch.cat((first[:, :50], second[:, :40]), 1), **tolerance(table))


def test_one_slab_is_gathered_without_a_detour(table: RowTable) -> None:
    rows = torch.randn(HEADS, 40, DIM)
    table.append(rows)
    ids = torch.tensor([[0, 39, 5], [7, 7, 1]])
    expected = rows.gather(1, ids[..., None].expand(-1, -1, DIM))
    torch.testing.assert_close(table.gather(ids), expected, **tolerance(table))


def test_a_reserved_table_lies_in_one_piece(table: RowTable) -> None:
    table.reserve(1_000)
    table.append(torch.randn(HEADS, 900, DIM))
    assert len(table._slabs) == 1
    row = HEADS * (DIM + 4) if table._int8 else HEADS * DIM * 4
    assert table.nbytes == 900 * row


def test_zero_rows_survive_int8() -> None:
    table = RowTable(HEADS, DIM, torch.float32, int8=True)
    table.append(torch.zeros(HEADS, 3, DIM))
    assert torch.equal(table.read(0, 3), torch.zeros(HEADS, 3, DIM))


def test_a_store_hands_out_blocks_oldest_first() -> None:
    store = ColdStore(RowTable(HEADS, DIM, torch.float32), RowTable(HEADS, DIM, torch.float32))
    keys, values = torch.randn(2, HEADS, 100, DIM)
    store.append(keys, values)
    blocks = list(store.blocks(10, 95, 40))
    assert [block[0].shape[1] for block in blocks] == [40, 40, 5]
    assert torch.equal(torch.cat([block[0] for block in blocks], 1), keys[:, 10:95])
    assert torch.equal(torch.cat([block[1] for block in blocks], 1), values[:, 10:95])
    store.truncate(20)
    assert store.num_tokens == store.values.num_tokens == 20


def test_the_files_go_with_their_folder(tmp_path: Path) -> None:
    folder = SlabFolder(tmp_path / "new" / "store")
    table = RowTable(HEADS, DIM, torch.float32, folder=folder)
    table.append(torch.randn(HEADS, 3, DIM))
    assert list(folder.path.iterdir())
    folder.close()
    assert not list((tmp_path / "new" / "store").iterdir())
    collected = SlabFolder(tmp_path / "collected")
    del collected
    gc.collect()
    assert not list((tmp_path / "collected").iterdir())


def test_what_windows_holds_on_to_goes_with_the_next_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SlabFolder(tmp_path)

    def keep_slabs(path: Path, ignore_errors: bool) -> None:
        assert ignore_errors
        (path / "lock").unlink(missing_ok=True)  # as releasing it does there

    with monkeypatch.context() as windows:
        windows.setattr(shutil, "rmtree", keep_slabs)
        folder.close()
    [left] = tmp_path.iterdir()
    os.utime(left / "lock", (0, 0))
    new = SlabFolder(tmp_path)
    assert list(tmp_path.iterdir()) == [new.path]


def test_what_a_killed_process_left_goes_with_the_next_store(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from kiv_engine.store import SlabFolder\n"
        "folder = SlabFolder(Path(sys.argv[1])); (folder.path / 'rows').write_text('x'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path], check=False).returncode == 9
    [left] = tmp_path.iterdir()
    used, new = SlabFolder(tmp_path), SlabFolder(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {left.name, used.path.name, new.path.name}
    (tmp_path / "kiv-notes").mkdir()  # somebody else's: there is no lock in it
    for path in (left, used.path):
        os.utime(path / "lock", (1000.0, 1000.0))
    last = SlabFolder(tmp_path)
    kept = {"kiv-notes", used.path.name, new.path.name, last.path.name}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_an_unwritable_folder_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot be written"):
        SlabFolder(tmp_path / "file")


def test_a_full_disk_is_a_capacity_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _num_bytes: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kiv_engine.store.reserve_blocks", full)
    table = RowTable(HEADS, DIM, torch.float32, folder=SlabFolder(tmp_path))
    with pytest.raises(CapacityError, match="full"):
        table.append(torch.randn(HEADS, 3, DIM))
