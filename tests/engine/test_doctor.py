"""What `kiv doctor` says of this PC and of others."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kiv_engine import cli, doctor, fit, hardware, speed
from kiv_engine.fit import Plan, Room, plan, room_of
from kiv_engine.free_space import Disk, Ram
from kiv_engine.hardware import Cpu, Cuda, Gpu, Hardware, TorchBuild, inspect_hardware
from kiv_engine.model_folder import DEMO_FOLDER
from kiv_engine.model_shape import Needs
from kiv_engine.speed import Pace

GPU = Gpu("NVIDIA GeForce RTX 4070", 12_878_610_432, 11_500_000_000, "550.54.14", "8.9")
PC = Hardware(
    Cpu("Some CPU", 16, 16, ("AVX2", "FMA")),
    Ram(34_000_000_000, 28_000_000_000, False),
    Disk("/models", 1_000_000_000_000, 400_000_000_000),
    (GPU,),
    TorchBuild("2.13.0+cu126", (12, 6)),
    Cuda(True, "PyTorch 2.13.0+cu126 uses the NVIDIA GeForce RTX 4070."),
)


def test_json_has_the_machine_and_a_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = inspect_hardware(doctor.models_folder())
    monkeypatch.setattr(hardware, "inspect_hardware", {doctor.models_folder(): expected}.__getitem__)
    assert cli.main(["doctor", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    found = json.loads(out)
    assert found["cpu"]["logical_cores"] == expected.cpu.logical_cores
    assert found["ram"]["total_bytes"] == expected.ram.total_bytes
    assert found["ram"]["available_bytes"] == expected.ram.available_bytes
    assert found["disk"]["free_bytes"] == expected.disk.free_bytes
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


def test_of_several_gpus_it_is_said_which_models_run_on() -> None:
    both = replace(PC, gpus=(GPU, replace(GPU, free_bytes=9_000_000_000)))
    assert doctor.verdict(both) == doctor.verdict(PC), "the other one is too old for this PyTorch"
    assert room_of(both).all_vram == (GPU.free_bytes,)
    both = replace(both, num_model_gpus=2)
    assert "RTX 4070, those too large for it on 2 GPUs together; 28.0 GB" in doctor.verdict(both)
    assert room_of(both).all_vram == (GPU.free_bytes, 9_000_000_000)
    plans = plans_of(replace(plan(NEEDS, room_of(both)), gpu_layers=(20, 16)))
    text = "\n".join(doctor.fit_lines("some/model", plans, "none", None))
    assert "some/model on up to 2 GPUs, with 11.5 GB and 9.0 GB of VRAM free" in text
    assert "Its layers are spread over the GPUs: 20, 16." in text
    assert "speed is not told" in text
    assert "each GPU was timed for itself" not in text
    text = "\n".join(doctor.fit_lines("some/model", plans, "none", Pace(258.8, 4.1)))
    assert "each GPU was timed for itself, and copies to it" in text
    alone = "\n".join(doctor.fit_lines("some/model", plans_of(FITS), "none", Pace(258.8, 4.1)))
    assert "times:" in alone
    assert "each GPU was timed for itself" not in alone


def test_a_model_on_several_gpus_is_timed_as_it_is_planned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timed: list[tuple[int, ...]] = []
    monkeypatch.setattr(fit, "room_of", lambda _hardware: Room(64 * 10**9, 10**12, 12 * 10**9, (12 * 10**9,)))
    monkeypatch.setattr(speed, "measure_pace", lambda _shape, _setting, layers: timed.append(layers) or Pace(9e3, 7.5))
    assert cli.main(["fit", "Qwen/Qwen2.5-7B-Instruct", "--quantize", "none"]) == 0
    told = capsys.readouterr().out
    assert f"Its layers are spread over the GPUs: {', '.join(map(str, timed[0]))}." in told
    assert "about 7.5 tok/s" in told
    assert (len(timed[0]), sum(timed[0])) == (2, 28)


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


# -- what fits -------------------------------------------------------------------------------------------------------

NEEDS = Needs(10**9, 4 * 10**9, 10**8, 10**6, 3 * 10**8, 4 * 10**8, token_keys_values=10_000, token_index=1_000)
FITS = plan(NEEDS, Room(32 * 10**9, 400 * 10**9))


def plans_of(one: Plan) -> "doctor.Plans":
    kinds = dict.fromkeys(("none", "8bit", "4bit"), one)
    return {"model": kinds, "int8": kinds}


@pytest.mark.usefixtures("one_thread")
def test_fit_of_the_built_in_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", "demo", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = json.loads(out)
    assert (report["model"], report["best"]) == ("demo", "none")
    assert report["pace"]["million_s"] > 0
    assert report["pace"]["tokens_per_s"] > 0
    settings = {(each["quantize"], each["store_dtype"]): each for each in report["settings"]}
    assert len(settings) == 8
    full, int8 = settings["none", "model"], settings["none", "int8"]
    assert full["needs"]["token_keys_values"] == 3 * 2 * 1 * 160 * 4  # layers, K and V, heads, dimensions, float32
    assert int8["needs"]["token_keys_values"] == 3 * 2 * 1 * (160 + 4)
    assert full["tokens_in_ram"] < int8["tokens_in_ram"] < int8["tokens_on_disk"]


@pytest.mark.usefixtures("one_thread")
def test_a_folder_needs_no_weights_to_be_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(DEMO_FOLDER / "config.json", tmp_path)
    assert cli.main(["fit", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"\nAs it is, it cannot be loaded. {tmp_path} has no weights: there is no model.safetensors.\n")
    assert f"{tmp_path} on the CPU, with " in out
    assert "Weights in full: up to " in out
    assert "What this rests on:" in out


@pytest.mark.usefixtures("one_thread")
def test_of_weights_that_are_quantized_already_it_is_said_that_they_take_less(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((DEMO_FOLDER / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert cli.main(["fit", str(tmp_path), "--ram", "8"]) == 0
    told = capsys.readouterr().out
    assert "\nIts weights are quantized already: they take less" in told
    assert "\nin full " in told
    assert not any(f"\n{kind} " in told for kind in ("bfloat16", "8 bit", "4 bit")), "what cannot be loaded"
    assert cli.main(["fit", str(tmp_path), "--ram", "8", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["quantized"], {each["quantize"] for each in report["settings"]}) == (True, {"none"})
    assert cli.main(["fit", str(tmp_path), "--quantize", "4bit"]) == 2
    assert capsys.readouterr().err.endswith("is already quantized; leave out --quantize.\n")


def test_what_fits_is_a_sentence() -> None:
    assert FITS.missing == 0
    assert doctor.fit_sentence(FITS, Pace(258.8, 4.1)) == (
        "up to 2.2 million tokens in RAM, 24.0 million with the disk; about 4 minutes to read a million tokens; "
        "about 4.1 tok/s"
    )
    assert doctor.fit_sentence(plan(NEEDS, Room(5 * 10**9, 10**9)), None) == "does not fit: 0.3 GB of RAM are missing"
    assert "VRAM" in doctor.fit_sentence(plan(NEEDS, Room(10**11, 10**9, vram=10**9)), None)


def test_what_does_not_fit_has_a_line_all_the_same() -> None:
    text = "\n".join(doctor.fit_lines("some/model", plans_of(plan(NEEDS, Room(5 * 10**9, 10**9))), "4bit", None))
    assert text.count("does not fit") == 4
    assert "times:" not in text


def test_a_gpu_is_named_with_its_memory() -> None:
    first, *_ = doctor.fit_lines("some/model", plans_of(plan(NEEDS, Room(10**11, 10**9, vram=10**10))), "none", None)
    assert first == "some/model on the GPU, with 10.0 GB of VRAM free, with 100.0 GB of RAM and 1.0 GB of disk free:"


@pytest.mark.parametrize(
    ("count", "text"),
    [(9_999, "9,999"), (852_400, "852,000"), (999_600, "1.0 million"), (2**62, "any number of")],
)
def test_token_counts_are_round(count: int, text: str) -> None:
    assert doctor.tokens(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(42, "42 seconds"), (600, "10 minutes"), (111_600, "31 hours"), (7_199, "120 minutes")]
)
def test_durations_are_round(seconds: float, text: str) -> None:
    assert doctor.duration(seconds) == text


def test_models_that_cannot_be_planned_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", str(tmp_path)]) == 2
    (tmp_path / "config.json").write_text('{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}')
    assert cli.main(["fit", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert "no config.json" in first
    assert "encoder-decoder" in second


def test_spilling_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = dict(doctor.facts(replace(PC, spilled_bytes=2_100_000_000)))
    assert facts["Spilling"].startswith("2.1 GB that belong into VRAM lie in RAM")
    monkeypatch.setattr(doctor.sys, "platform", "win32")
    assert "goes on in RAM here" in "\n".join(doctor.lines(PC))
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    assert "goes on in RAM" not in "\n".join(doctor.lines(PC))
