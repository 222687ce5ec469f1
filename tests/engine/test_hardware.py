"""This PC, against what the system says by other ways; drivers and containers that this machine lacks, as data."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pynvml
import pytest
import torch

from kiv_engine import free_space, hardware
from kiv_engine.hardware import Driver, Gpu, TorchBuild

GPU = Gpu("NVIDIA GeForce RTX 4070", 12_878_610_432, 11_500_000_000, "550.54.14", "8.9", "GPU-1b2c")
NEW_DRIVER = Driver((GPU,), "550.54.14", (12, 4))
CUDA_BUILD = TorchBuild("2.13.0+cu126", (12, 6))


def test_the_processor_is_the_systems() -> None:
    cpu = hardware.read_cpu()
    assert cpu.logical_cores == psutil.cpu_count(logical=True)
    assert cpu.usable_cores == len(psutil.Process().cpu_affinity() or [])
    flags = Path("/proc/cpuinfo").read_text().split()
    assert ("AVX2" in cpu.instruction_sets) == ("avx2" in flags)
    assert ("AVX-512" in cpu.instruction_sets) == ("avx512f" in flags)
    assert ("AVX512-BF16" in cpu.instruction_sets) == ("avx512_bf16" in flags)
    assert cpu.name


def test_ram_and_disk_are_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ram = free_space.read_ram()
    assert 0 < ram.available_bytes < ram.total_bytes <= psutil.virtual_memory().total
    status = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: status)  # one reading, for others write, too
    disk = free_space.read_disk(tmp_path / "not" / "there" / "yet")
    assert disk.total_bytes == status.f_frsize * status.f_blocks
    assert disk.free_bytes == status.f_frsize * status.f_bavail


def test_a_folder_in_one_that_is_closed_to_this_user_is_on_the_disk_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions do not keep root, who may run this, from looking."""
    closed, really = tmp_path / "closed", os.stat
    closed.mkdir()

    def stat(path: str | os.PathLike[str], **options: bool) -> os.stat_result:
        if closed in Path(path).parents:
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", stat)
    assert free_space.existing_folder(closed / "models" / "hub") == closed
    assert free_space.existing_folder(closed) == closed


def limits(root: Path, membership: str) -> list[tuple[int, int]]:
    (root / "self").write_text(membership)
    return list(free_space._container_limits(root, root / "self"))


def write_group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"memory.{name}").write_text(f"{content}\n")


@pytest.fixture
def in_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three gigabytes, two of them used, half a gigabyte of it page cache."""
    write_group(tmp_path, max=3_000_000_000, current=2_000_000_000, stat="anon 5\ninactive_file 500000000")
    found = limits(tmp_path, "0::/\n")
    monkeypatch.setattr(free_space, "_container_limits", lambda: iter(found))
    return


@pytest.mark.usefixtures("in_container")
def test_a_container_limits_ram() -> None:
    ram = free_space.read_ram()
    assert ram.in_container
    assert ram.total_bytes == 3_000_000_000
    assert 0 < ram.available_bytes <= 1_500_000_000


def test_limits_of_all_groups_around_the_process_count(tmp_path: Path) -> None:
    stat = "inactive_file 0"
    write_group(tmp_path / "a", max=900, current=300, stat=stat)
    write_group(tmp_path / "a" / "b", max="max", current=200, stat=stat)
    write_group(tmp_path / "a" / "b" / "c", max=500, current=100, stat="inactive_file 40")
    assert limits(tmp_path, "0::/a/b/c\n") == [(500, 60), (900, 300)]


def test_the_older_control_groups_are_read(tmp_path: Path) -> None:
    files = {"limit_in_bytes": 700, "usage_in_bytes": 300, "stat": "cache 9\ntotal_inactive_file 100"}
    write_group(tmp_path / "memory" / "docker" / "1", **files)
    membership = "5:cpu,cpuacct:/\n4:memory:/docker/1\n0::/\n"
    assert limits(tmp_path, membership) == [(700, 200)]
    # Inside of the container only the group's own folder is there, as the root.
    write_group(tmp_path / "memory", **files)
    assert limits(tmp_path, "4:memory:/docker/2\n") == [(700, 200)]


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert list(free_space._container_limits(tmp_path, tmp_path / "nothing")) == []
    assert limits(tmp_path, "0::/\n") == []


# -- NVIDIA ----------------------------------------------------------------------------------------------------------


def fake_nvml(monkeypatch: pytest.MonkeyPatch, **functions: object) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(pynvml, name, function)


def failing(code: int) -> object:
    def fail(*_: object) -> None:
        raise pynvml.NVMLError(code)

    return fail


def test_no_driver_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED):
        fake_nvml(monkeypatch, nvmlInit=failing(code))
        assert hardware.read_driver() == Driver()


def test_a_driver_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, nvmlInit=failing(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH))
    driver = hardware.read_driver()
    assert "mismatch" in driver.problem
    assert not hardware.judge_cuda(driver, CUDA_BUILD).usable


@pytest.mark.parametrize("text", [str, str.encode])
def test_gpus_are_read_and_the_library_is_closed(monkeypatch: pytest.MonkeyPatch, text: object) -> None:
    calls: list[str] = []
    fake_nvml(
        monkeypatch,
        nvmlInit=lambda: calls.append("open"),
        nvmlShutdown=lambda: calls.append("close"),
        nvmlSystemGetCudaDriverVersion=lambda: 12_040,
        nvmlSystemGetDriverVersion=lambda: text("550.54.14"),
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(total=12_878_610_432, free=11_500_000_000),
        nvmlDeviceGetName=lambda _: text("NVIDIA GeForce RTX 4070"),
        nvmlDeviceGetCudaComputeCapability=lambda _: (8, 9),
        nvmlDeviceGetUUID=lambda _: text("GPU-1b2c"),
    )
    assert hardware.read_driver() == NEW_DRIVER
    assert calls == ["open", "close"]
    fake_nvml(monkeypatch, nvmlDeviceGetCudaComputeCapability=failing(pynvml.NVML_ERROR_NOT_SUPPORTED))
    assert hardware.read_driver().gpus[0].compute_capability == ""


@pytest.mark.parametrize(
    ("driver", "build", "reason", "remedy"),
    [
        (Driver(), CUDA_BUILD, "no NVIDIA GPU, or no driver", "install its driver"),
        (Driver(version="550"), CUDA_BUILD, "finds no GPU", "install its driver"),
        (NEW_DRIVER, TorchBuild(), "not installed", "./kiv"),
        (NEW_DRIVER, TorchBuild("2.13.0+cpu"), "build for the CPU only", "doctor --fix"),
        (NEW_DRIVER, TorchBuild("2.13.0", (13, 0)), "CUDA up to 12.4, but PyTorch 2.13.0 needs 13", "Update"),
        (Driver(problem="Unknown Error"), CUDA_BUILD, "Unknown Error", "Restart"),
    ],
)
def test_what_keeps_cuda_from_being_used_is_said(driver: Driver, build: TorchBuild, reason: str, remedy: str) -> None:
    cuda = hardware.judge_cuda(driver, build)
    assert cuda is not None
    assert not cuda.usable
    assert reason in cuda.reason
    assert remedy in cuda.remedy


def test_a_driver_runs_builds_for_a_later_minor_version() -> None:
    assert hardware.judge_cuda(NEW_DRIVER, CUDA_BUILD) is None


def test_the_build_is_read_without_importing_it() -> None:
    build = hardware.read_torch_build()
    assert build.version == torch.__version__
    assert (
        build.cuda == tuple(map(int, (torch.version.cuda or "").split("."))) if torch.version.cuda else not build.cuda
    )


@pytest.fixture
def torch_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU, and code for the architectures of a common build."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1b2c"))
    monkeypatch.setattr(
        torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_86", "sm_90", "sm_120", "compute_120"]
    )


@pytest.mark.usefixtures("torch_sees")
def test_torch_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware.ask_torch(NEW_DRIVER).usable
    old = Driver((Gpu("GeForce GTX 1080", 8_000_000_000, 8_000_000_000, "550", "6.1"),), "550", (12, 4))
    assert "no code for the GeForce GTX 1080" in hardware.ask_torch(old).reason
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "gives no reason" in hardware.ask_torch(NEW_DRIVER).reason
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CUDA_VISIBLE_DEVICES is '-1'" in hardware.ask_torch(NEW_DRIVER).reason


@pytest.mark.usefixtures("torch_sees")
def test_the_first_gpu_is_the_one_that_torch_calls_its_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = Gpu("GeForce GTX 1080", 8_000_000_000, 7_000_000_000, "550", "6.1", "GPU-0000")
    monkeypatch.setattr(hardware, "read_driver", lambda: replace(NEW_DRIVER, gpus=(other, GPU)))
    monkeypatch.setattr(hardware, "read_torch_build", lambda: CUDA_BUILD)
    found = hardware.inspect_hardware(tmp_path)
    assert found.gpus == (GPU, other)
    assert found.cuda.usable
    assert GPU.name in found.cuda.reason


@pytest.mark.usefixtures("torch_sees")
def test_further_gpus_are_those_that_torch_has_code_for_in_its_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = Gpu("GeForce GTX 1080", 8_000_000_000, 7_000_000_000, "550", "6.1", "GPU-0000")
    second = replace(GPU, name="NVIDIA GeForce RTX 3060", compute_capability="8.6", uuid="GPU-3060")
    in_torch = [(GPU, (8, 9)), (old, (6, 1)), (second, (8, 6))]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(in_torch))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: in_torch[index][1])
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=in_torch[index][0].uuid[4:])
    )
    monkeypatch.setattr(hardware, "read_driver", lambda: replace(NEW_DRIVER, gpus=(old, second, GPU)))
    monkeypatch.setattr(hardware, "read_torch_build", lambda: CUDA_BUILD)
    assert hardware.further_gpus(0) == [2]
    assert hardware.further_gpus(2) == [0]
    found = hardware.inspect_hardware(tmp_path)
    assert found.gpus == (GPU, second, old)
    assert found.model_gpus == (GPU, second)


@pytest.mark.parametrize(
    ("capability", "runs"),
    [("7.5", True), ("8.0", True), ("8.9", True), ("9.0", True), ("6.1", False), ("7.0", False), ("10.3", False)],
)
def test_machine_code_runs_on_later_minor_versions(capability: str, runs: bool) -> None:
    assert hardware.runs_on(capability, ["sm_75", "sm_80", "sm_86", "sm_90a", "sm_120"]) == runs


def test_intermediate_code_runs_on_everything_later() -> None:
    assert hardware.runs_on("12.1", ["sm_90", "compute_90"])
    assert not hardware.runs_on("8.9", ["compute_90", "something else"])


def test_looking_at_the_hardware_imports_no_torch_where_there_is_no_gpu() -> None:
    code = (
        "import sys, pathlib; from kiv_engine import hardware; hardware.read_driver = hardware.Driver;"
        "print(hardware.inspect_hardware(pathlib.Path('.')).cuda.usable, 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]


def test_vram_that_lies_in_ram_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch believes to have 14 GB, of a GPU on which all programs together use 11.9."""
    assert hardware.read_spilled_bytes() == hardware.read_reserved_bytes() == 0  # nothing here has touched a GPU
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1b2c"))
    reserved = 14_000_000_000
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: 0 if index else reserved)
    fake_nvml(
        monkeypatch,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetMemoryInfo={"GPU-1b2c": SimpleNamespace(used=11_900_000_000)}.__getitem__,
    )
    assert hardware.read_spilled_bytes() == 2_100_000_000
    assert hardware.read_reserved_bytes() == 14_000_000_000
    reserved = 9_000_000_000
    assert hardware.read_spilled_bytes() == 0
    fake_nvml(monkeypatch, nvmlDeviceGetMemoryInfo=failing(pynvml.NVML_ERROR_NOT_SUPPORTED))
    assert hardware.read_spilled_bytes() == 0
