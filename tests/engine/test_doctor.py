"""What `kiv doctor` says of this PC and of others."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kiv_engine import cli, doctor
from kiv_engine.hardware import Cpu, Cuda, Disk, Gpu, Hardware, Ram, TorchBuild, inspect_hardware

GPU = Gpu("NVIDIA GeForce RTX 4070", 12_878_610_432, 11_500_000_000, "550.54.14", "8.9")
PC = Hardware(
    Cpu("Some CPU", 16, 16, ("AVX2", "FMA")),
    Ram(34_000_000_000, 28_000_000_000, False),
    Disk("/models", 1_000_000_000_000, 400_000_000_000),
    (GPU,),
    TorchBuild("2.13.0+cu126", (12, 6)),
    Cuda(True, "PyTorch 2.13.0+cu126 uses the NVIDIA GeForce RTX 4070."),
)


def test_json_has_the_machine_and_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    found = json.loads(out)
    expected = inspect_hardware(Path(found["disk"]["path"]))
    assert found["cpu"]["logical_cores"] == expected.cpu.logical_cores
    assert found["ram"]["total_bytes"] == expected.ram.total_bytes
    assert found["ram"]["available_bytes"] == pytest.approx(expected.ram.available_bytes, rel=0.2)
    assert found["disk"]["free_bytes"] == pytest.approx(expected.disk.free_bytes, rel=0.2)
    assert len(found["gpus"]) == len(expected.gpus)
    assert found["cuda"]["usable"] == expected.cuda.usable
    assert found["cuda"]["reason"] == expected.cuda.reason
    assert found["verdict"]


def test_text_shows_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for title in ("Processor", "RAM", "Disk", "CUDA"):
        assert f"\n{title} " in f"\n{out}"


def test_a_gpu_has_a_line_and_the_verdict() -> None:
    text = "\n".join(doctor.lines(PC))
    assert "NVIDIA GeForce RTX 4070: 11.5 GB free of 12.9 GB, driver 550.54.14, compute capability 8.9" in text
    assert "Usable. PyTorch 2.13.0+cu126 uses" in text
    assert doctor.verdict(PC).startswith("Models run on the NVIDIA GeForce RTX 4070; 28.0 GB of RAM")


def test_a_gpu_that_stays_idle_is_said_with_the_remedy() -> None:
    cuda = Cuda(False, "PyTorch 2.13.0+cpu is a build for the CPU only.", "Install a build for CUDA 12.")
    assert doctor.verdict(replace(PC, cuda=cuda)).endswith("on the CPU for now: Install a build for CUDA 12.")
    assert "Install a build for CUDA 12." in "\n".join(doctor.lines(replace(PC, cuda=cuda)))


def test_what_is_scarce_is_said() -> None:
    full = replace(PC, gpus=(), ram=Ram(8_000_000_000, 900_000_000, True), disk=Disk("/m", 10**11, 10**9))
    full = replace(full, cuda=Cuda(False, "There is no NVIDIA GPU."), cpu=replace(PC.cpu, usable_cores=4))
    assert doctor.verdict(full).endswith("Little RAM is free: close other programs. The disk is almost full: most "
                                         "models need several GB.")  # fmt: skip
    text = "\n".join(doctor.lines(full))
    assert "4 of them for this program" in text
    assert "limit of this container" in text
