"""The first run: which build of PyTorch pip is asked for, with drivers, answers and pip played."""

import os
import shutil
import subprocess
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from kiv_engine import torch_build
from kiv_engine.torch_build import Nvidia

ROOT = Path(__file__).parents[2]
RTX = Nvidia((12, 4), ((8, 9),), "NVIDIA GeForce RTX 4070")
CPU_INDEX, CUDA_INDEX = (f"--extra-index-url https://download.pytorch.org/whl/{tag}" for tag in ("cpu", "cu126"))


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """packaging/choose_torch.py on an ordinary Linux PC without PyTorch, whose indexes can be reached."""
    spec = spec_from_file_location("choose_torch", ROOT / "packaging" / "choose_torch.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("KIV_TORCH", raising=False)
    monkeypatch.setattr(module, "installed_version", lambda: "")
    monkeypatch.setattr(module, "load_builds", lambda: torch_build)
    monkeypatch.setattr(torch_build, "has_choice", lambda: True)
    monkeypatch.setattr(torch_build, "wheel_bytes", lambda build, _: 850_000_000 if build.cuda else 191_794_682)
    monkeypatch.setattr(torch_build, "read_nvidia", Nvidia)
    return module


def test_without_a_driver_the_cpu_build_is_taken(choose: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose.main() == 0
    out, err = capsys.readouterr()
    assert out == f"{CPU_INDEX}\n"
    assert "for the CPU: 192 MB to download" in err


def test_an_index_out_of_reach_leaves_it_to_pip(
    choose: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch_build, "wheel_bytes", lambda *_: None)
    assert choose.main() == 0
    out, err = capsys.readouterr()
    assert out == "\n"
    assert "cannot be reached" in err
    assert "2.7 GB" in err


def test_a_driver_brings_the_cuda_build(
    choose: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch_build, "read_nvidia", lambda: RTX)
    assert choose.main() == 0  # nobody is there to be asked
    out, err = capsys.readouterr()
    assert out == f"{CUDA_INDEX}\n"
    assert "for CUDA 12.6: 850 MB" in err


@pytest.mark.parametrize(("typed", "index"), [(b"n\n", CPU_INDEX), (b"\n", CUDA_INDEX), (b"yes\n", CUDA_INDEX)])
def test_it_can_be_declined(
    choose: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: bytes,
    index: str,
) -> None:
    monkeypatch.setattr(torch_build, "read_nvidia", lambda: RTX)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(choose.os, "read", lambda *_: typed)
    assert choose.main() == 0
    out, err = capsys.readouterr()
    assert out == f"{index}\n"
    assert "RTX 4070" in err
    assert "850 MB" in err


def test_no_answer_is_a_yes(
    choose: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = threading.Event()
    monkeypatch.setattr(torch_build, "read_nvidia", lambda: RTX)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(choose.os, "read", lambda *_: typed.wait(60) and b"n\n")
    monkeypatch.setattr(choose, "ANSWER_S", 0.01)
    assert choose.main() == 0
    typed.set()
    assert capsys.readouterr().out == f"{CUDA_INDEX}\n"


def test_a_driver_that_is_too_old_is_said(
    choose: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch_build, "read_nvidia", lambda: Nvidia((11, 8), ((8, 6),), "RTX 3060"))
    assert choose.main() == 0
    out, err = capsys.readouterr()
    assert out == f"{CPU_INDEX}\n"
    assert "CUDA up to 11.8" in err
    assert "Update the driver" in err


def test_the_environment_decides(
    choose: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for wish in ("cpu", "cuda", "default", "gpu"):
        monkeypatch.setenv("KIV_TORCH", wish)
        code = choose.main()
        found[wish] = (code, capsys.readouterr().out.strip())
    assert found == {"cpu": (0, CPU_INDEX), "cuda": (0, ""), "default": (0, ""), "gpu": (2, "")}
    monkeypatch.setenv("KIV_TORCH", "cuda")
    monkeypatch.setattr(torch_build, "read_nvidia", lambda: RTX)
    choose.main()
    assert capsys.readouterr().out == f"{CUDA_INDEX}\n"


def test_what_is_installed_is_left_alone(choose: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "installed_version", choose.wanted_version)
    monkeypatch.setattr(torch_build, "read_nvidia", lambda: pytest.fail("it was asked"))
    assert choose.main() == 0


def test_nothing_needs_to_be_installed_for_it() -> None:
    script = ROOT / "packaging" / "choose_torch.py"
    environment = {**os.environ, "KIV_TORCH": "default"}
    command = [sys.executable, "-I", "-S", str(script)]  # -S: without any installed package
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    code = f"import sys; sys.path.insert(0, {str(script.parent)!r}); import choose_torch as c; c.load_builds()"
    assert subprocess.run([sys.executable, "-I", "-S", "-c", code], check=False).returncode == 0


PLAYED_PYTHON = """#!/bin/bash
case "$*" in
    *choose_torch.py) echo "$CHOSEN"; exit "$CODE" ;;
    *"pip --version") ;;
    *install*) printf '%s\\n' "$@" >"$RECORD" ;;
esac
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="kiv is a bash script")
@pytest.mark.parametrize(("chosen", "code"), [("", 0), (CUDA_INDEX, 0), ("", 2)])
def test_pip_is_told_what_was_chosen(tmp_path: Path, chosen: str, code: int) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    python, record = tmp_path / ".venv" / "bin" / "python", tmp_path / "record"
    python.parent.mkdir(parents=True)
    python.write_text(PLAYED_PYTHON)
    python.chmod(0o755)
    script = f"set -euo pipefail; root={tmp_path}; source {ROOT}/packaging/setup_venv.sh; set_up_venv app"
    environment = {**os.environ, "CHOSEN": chosen, "CODE": str(code), "RECORD": str(record)}
    result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    if code:
        assert not record.exists()
        return
    arguments = record.read_text().splitlines()
    begin = arguments.index("constraints.txt") + 1
    assert arguments[begin:] == [*chosen.split(), "--editable", ".[app]"]
