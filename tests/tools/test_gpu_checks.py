"""What the checks for a GPU run, run on the CPU in small, so that it is sound when a GPU is at hand."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gpu_decode
import pytest

from kiv_engine.errors import OutOfMemoryError

ROOT = Path(__file__).resolve().parents[2]

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="the script is one of bash")


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As from a shell: no worker of another run of pytest."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    settings = {**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


def test_decode_is_measured_at_each_length() -> None:
    script = ROOT / "tools" / "gpu_decode.py"
    done = run(sys.executable, script, "--device", "cpu", "--lengths", "4096", "--steps", "2")
    assert done.returncode == 0, done.stderr
    shapes = json.loads(done.stdout.splitlines()[-1])["shapes"]
    assert set(shapes) == {"Shape B", "Gemma 4 E2B, attention"}
    for name, heads, attending, row_bytes in (("Shape B", 2, 4, 64 * 4), ("Gemma 4 E2B, attention", 1, 7, 512 * 4)):
        row = shapes[name]["4096"]
        assert row["fetched_bytes"] == 2 * 256 * heads * attending * row_bytes
        assert row["p90_ms"] >= row["p50_ms"] > 0
        assert row["peak_vram_bytes"] is None


def test_a_length_that_does_not_fit_is_told_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def shape_b(length: int, *_rest: Any) -> dict[str, Any]:
        if length > 4_096:
            raise OutOfMemoryError("No memory for more.")
        return dict.fromkeys(("p50_ms", "p90_ms", "fetched_bytes", "index_bytes", "peak_vram_bytes"), 1e6)

    monkeypatch.setattr(gpu_decode, "KINDS", {"Shape B": shape_b})
    monkeypatch.setattr(sys, "argv", ["gpu_decode", "--device", "cpu", "--lengths", "8192", "4096"])
    with pytest.raises(SystemExit) as exited:
        gpu_decode.main()
    assert exited.value.code == 1
    *table, last = capsys.readouterr().out.splitlines()
    assert "No memory for more." in table[1]
    assert set(json.loads(last)["shapes"]["Shape B"]) == {"8192", "4096"}


def test_the_tests_for_a_gpu_are_sound_on_the_cpu() -> None:
    command = (sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu")
    done = run(*command, "--numprocesses", "1", "-k", "llama or doctor or 64", KIV_GPU_TESTS_ON="cpu")
    assert done.returncode == 0, done.stdout[-3_000:]
    assert "5 passed, 2 skipped" in done.stdout, done.stdout[-3_000:]


@needs_bash
def test_without_a_folder_the_checks_say_what_to_give() -> None:
    script = ROOT / "tools" / "gpu_checks.sh"
    for arguments, told in (((), "give a folder"), (("out", "--device", "tpu"), "cuda or cpu")):
        done = run("bash", script, *arguments)
        assert done.returncode == 2
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1


@needs_bash
@pytest.mark.long
def test_all_checks_run_on_the_cpu(tmp_path: Path) -> None:
    done = run("bash", ROOT / "tools" / "gpu_checks.sh", tmp_path, "--device", "cpu", KIV_PYTHON=sys.executable)
    assert done.returncode == 0, done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["doctor", "ok"], ["tests", "ok"], ["decode", "ok"],
    ]  # fmt: skip
    assert "verdict" in json.loads((tmp_path / "doctor.json").read_text())
    assert json.loads((tmp_path / "decode.json").read_text())["report"] == "gpu_decode"
    assert " passed" in (tmp_path / "tests.txt").read_text()
