"""Changing the build of PyTorch: what pip would be told, with a recorder in its place."""

import sys
from collections.abc import Sequence

import pytest

from kiv_engine import cli, hardware, torch_build, torch_swap
from kiv_engine.errors import EngineError
from kiv_engine.hardware import TorchBuild
from kiv_engine.torch_build import Nvidia
from kiv_engine.torch_swap import plan_swap

RTX = Nvidia((12, 4), ((8, 9),), "NVIDIA GeForce RTX 4070")
NEW_RTX = Nvidia((13, 0), ((8, 9),), "NVIDIA GeForce RTX 4070")
FOR_CPU = TorchBuild("2.13.0+cpu")
FOR_CUDA_12, FOR_CUDA_13 = TorchBuild("2.13.0+cu126", (12, 6)), TorchBuild("2.13.0+cu130", (13, 0))


class Pip:
    """Records its commands; after the first, `brings` is what is installed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, brings: TorchBuild, code: int = 0) -> None:
        self.commands: list[list[str]] = []
        self.code = code
        self._bring = lambda: monkeypatch.setattr(torch_swap, "read_torch_build", lambda: brings)

    def __call__(self, command: Sequence[str]) -> int:
        assert command[:4] == [sys.executable, "-P", "-m", "pip"]
        self.commands.append(list(command[6:]))
        self._bring()
        return self.code


@pytest.fixture(autouse=True)
def _an_ordinary_pc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_build.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch_swap, "wheel_bytes", lambda *_: 850_000_000)


@pytest.mark.parametrize(
    ("nvidia", "installed", "tag"),
    [
        (Nvidia(), FOR_CPU, None),
        (RTX, FOR_CUDA_12, None),
        (NEW_RTX, TorchBuild("2.14.0+cu132", (13, 2)), None),
        (RTX, FOR_CPU, "cu126"),
        (NEW_RTX, FOR_CPU, "cu130"),
        (RTX, FOR_CUDA_13, "cu126"),
        (Nvidia(), FOR_CUDA_13, "cpu"),
    ],
)
def test_only_what_does_not_fit_is_changed(nvidia: Nvidia, installed: TorchBuild, tag: str | None) -> None:
    swap = plan_swap(nvidia, installed, "linux")
    assert (None if swap is None else swap.build.tag) == tag
    assert plan_swap(nvidia, installed, "darwin") is None


def test_torch_must_be_there() -> None:
    with pytest.raises(EngineError, match=r"\./kiv"):
        plan_swap(RTX, TorchBuild())


def test_pip_replaces_torch_then_brings_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    swap = plan_swap(RTX, FOR_CPU, "linux")
    assert swap is not None
    pip = Pip(monkeypatch, FOR_CUDA_12)
    assert torch_swap.swap_torch(swap, pip) == FOR_CUDA_12
    first, second = pip.commands
    assert first[-3:] == ["--force-reinstall", "--no-deps", "torch==2.13.0+cu126"]
    assert second[-1] == "torch==2.13.0+cu126"
    for command in pip.commands:
        assert command[:2] == ["install", "--constraint"]
        assert command[3:5] == ["--extra-index-url", "https://download.pytorch.org/whl/cu126"]


def test_the_build_of_pypi_needs_no_other_index(monkeypatch: pytest.MonkeyPatch) -> None:
    swap = plan_swap(NEW_RTX, FOR_CPU, "linux")
    assert swap is not None
    assert torch_swap.download_size(swap) == "about 2.7 GB"
    pip = Pip(monkeypatch, FOR_CUDA_13)
    torch_swap.swap_torch(swap, pip)
    assert "--extra-index-url" not in pip.commands[0]
    assert pip.commands[0][-1] == "torch==2.13.0"


def test_what_only_cuda_needed_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["nvidia-ml-py", "nvidia-cublas", "cuda-toolkit", "triton", "torch"]
    installed = [type("Distribution", (), {"name": name})() for name in names]
    monkeypatch.setattr(torch_swap.importlib.metadata, "distributions", lambda: installed)
    swap = plan_swap(Nvidia(), FOR_CUDA_13, "linux")
    assert swap is not None
    pip = Pip(monkeypatch, FOR_CPU)
    torch_swap.swap_torch(swap, pip)
    assert pip.commands[-1] == ["uninstall", "--yes", "cuda-toolkit", "nvidia-cublas", "triton"]


def test_a_pip_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    swap = plan_swap(RTX, FOR_CPU, "linux")
    assert swap is not None
    pip = Pip(monkeypatch, FOR_CPU, code=1)
    with pytest.raises(EngineError, match=r"2\.13\.0\+cpu is in place"):
        torch_swap.swap_torch(swap, pip)
    assert len(pip.commands) == 1
    with pytest.raises(EngineError, match=r"instead of the build for CUDA 12\.6"):
        torch_swap.swap_torch(swap, Pip(monkeypatch, FOR_CPU))


def test_the_command_asks_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pip = Pip(monkeypatch, FOR_CUDA_12)
    monkeypatch.setattr(torch_build, "read_nvidia", lambda: RTX)
    monkeypatch.setattr(hardware, "read_torch_build", lambda: FOR_CPU)
    monkeypatch.setattr(torch_swap, "run_on_stderr", pip)
    assert cli.main(["doctor", "--fix"]) == 2  # nobody is there to be asked
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdin, "readline", lambda: "\n")
    assert cli.main(["doctor", "--fix"]) == 0
    assert "Nothing was changed" in capsys.readouterr().out
    assert not pip.commands
    monkeypatch.setattr(sys.stdin, "readline", lambda: "yes\n")
    assert cli.main(["doctor", "--fix"]) == 0
    out = capsys.readouterr().out
    assert "850 MB" in out
    assert "PyTorch is 2.13.0+cu126 now" in out


def test_where_it_fits_nothing_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch_build, "read_nvidia", Nvidia)
    monkeypatch.setattr(hardware, "read_torch_build", lambda: FOR_CPU)
    assert cli.main(["doctor", "--fix", "--yes"]) == 0
    assert "nothing to change" in capsys.readouterr().out


def test_an_index_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch_build, "read_nvidia", lambda: RTX)
    monkeypatch.setattr(hardware, "read_torch_build", lambda: FOR_CPU)
    monkeypatch.setattr(torch_swap, "wheel_bytes", lambda *_: None)
    assert cli.main(["doctor", "--fix", "--yes"]) == 2
    err = capsys.readouterr().err
    assert "check the connection" in err
    assert err.count("\n") == 1
