"""How memory is shared out: each part where it lies, the rest of the app, other programs, and all of it together."""

import os
from types import SimpleNamespace

import psutil
import pynvml
import pytest
from PySide6.QtCore import QObject

from app.machine import Gpu, Machine, RamReading, VramReading
from app.models.engine_status import EngineStatus
from app.models.memory_log import MemoryLog, of_process, ram_parts, vram_parts
from app.reports import ContextMeasured, ModelLoaded
from kiv_engine.events import MemoryPlaces, MemoryUse
from tests.app.scripted_machine import GB, ScriptedMachine

MB = 1_000_000
PARTS_OF_ONE = MemoryUse(weights=500 * MB, hot=20 * MB, index=80 * MB, cold_keys=400 * MB, cold_values=400 * MB)
COLD = MemoryUse(cold_keys=400 * MB, cold_values=400 * MB)


def test_in_ram_the_parts_sum_to_what_is_used() -> None:
    parts = ram_parts(RamReading(2 * GB, 200 * MB, 9 * GB, 32 * GB), MemoryPlaces.of(PARTS_OF_ONE, on_gpu=False))
    assert parts == (500 * MB, 20 * MB, 80 * MB, 400 * MB, 400 * MB, 600 * MB, 7 * GB)
    assert of_process(parts) == 2 * GB


def test_on_a_gpu_each_part_is_counted_once() -> None:
    memory = MemoryPlaces.of(PARTS_OF_ONE, on_gpu=True)
    ram = ram_parts(RamReading(2 * GB, 200 * MB, 9 * GB, 32 * GB), memory)
    vram = vram_parts(VramReading(1 * GB, 3 * GB, 12 * GB), memory, 900 * MB)
    assert ram == (0, 0, 0, 400 * MB, 400 * MB, 1_200 * MB, 7 * GB)
    assert vram == (500 * MB, 20 * MB, 80 * MB, 0, 0, 400 * MB, 2 * GB)


def test_where_the_driver_does_not_tell_programs_apart_pytorch_says_what_is_its_own() -> None:
    memory = MemoryPlaces.of(PARTS_OF_ONE, on_gpu=True)
    assert vram_parts(VramReading(0, 3 * GB, 12 * GB), memory, 900 * MB)[-2:] == (300 * MB, 2_100 * MB)


@pytest.mark.parametrize(
    ("files", "cached"),
    [(0, 0), (200 * MB, 100 * MB), (3 * GB, 400 * MB)],
    ids=["nobody says", "some of it", "all of it"],
)
def test_a_store_on_the_disk_is_counted_as_far_as_ram_holds_it(files: int, cached: int) -> None:
    memory = MemoryPlaces.of(PARTS_OF_ONE, mapped=COLD, on_gpu=False)
    parts = ram_parts(RamReading(4 * GB, files, 9 * GB, 32 * GB), memory)
    assert parts[:5] == (500 * MB, 20 * MB, 80 * MB, cached, cached)
    assert of_process(parts) == 4 * GB
    assert parts[-1] == 5 * GB + 2 * cached, "what the system would take back does not count as used"


def test_weights_that_are_not_in_ram_yet_do_not_count() -> None:
    parts = ram_parts(RamReading(300 * MB, 100 * MB, 1 * GB, 8 * GB), MemoryPlaces(ram=MemoryUse(weights=500 * MB)))
    assert parts == (300 * MB, 0, 0, 0, 0, 0, 700 * MB)


def test_contexts_add_up_and_weights_are_there_once(qapp: QObject) -> None:
    status = EngineStatus()
    log = MemoryLog(ScriptedMachine(), status)
    weights = MemoryPlaces(ram=MemoryUse(weights=500 * MB))
    status.set_model(ModelLoaded("some/model", 1, 1, 1, 1, 1, weights))
    assert log.measure(1).ram[0] == 500 * MB, "before anything is read, too"
    for chat in (1, 2):
        status.set_measured(ContextMeasured(chat, 1_000 * chat, 0, MemoryPlaces(ram=MemoryUse(0, 20, 80, 400, 400))))
    sample = log.measure(2)
    assert sample.ram[:5] == (500 * MB, 40, 160, 800, 800)
    assert sample.context_tokens == 2_000
    status.forget(2)
    assert log.measure(2).ram[1:5] == (20, 80, 400, 400)
    assert log.measure(2).context_tokens == 0


# -- what is read ------------------------------------------------------------------------------------------------------


def fail(*_arguments: object) -> None:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def test_of_a_gpus_processes_ones_own_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = [(os.getpid(), 900 * MB), (os.getpid() + 1, 5 * GB), (os.getpid(), None)]
    listed = [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in processes]
    memory = SimpleNamespace(used=8 * GB, total=12 * GB)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda _: memory)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda _: listed)
    assert Gpu(0).read_vram() == VramReading(900 * MB, 8 * GB, 12 * GB)
    assert Gpu(0, (1,)).read_vram() == VramReading(1_800 * MB, 16 * GB, 24 * GB), "of both that share a model"
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", fail)
    assert Gpu(0).read_vram() == VramReading(0, 8 * GB, 12 * GB)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", fail)
    assert Gpu(0).read_vram() is None


def test_the_cpu_is_measured_over_a_tenth_of_a_second_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    now, percents = [0.0], iter([0.0, 30.0, 60.0])
    monkeypatch.setattr("app.machine.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(psutil, "cpu_percent", lambda: next(percents))
    machine, found = Machine(), []
    for now[0] in (0.5, 0.55, 0.7):
        found.append(machine.read(None).cpu_percent)
    assert found == [30.0, 30.0, 60.0]


def test_what_is_mapped_from_files_is_part_of_the_process() -> None:
    ram = Machine().read(None).ram
    assert 0 <= ram.files < ram.process < ram.total
    assert 0 < ram.used < ram.total
