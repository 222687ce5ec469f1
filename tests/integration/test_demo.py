"""`kiv demo` as a person runs it: a process of its own with the real engine and the built-in model; no display."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

from app.demo import QUESTION
from app.views.main_window import SIZE

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600


def test_the_demo_reads_answers_tells_and_leaves_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the engine needs torch")
    picture = tmp_path / "demo.png"
    command = [sys.executable, "-m", "app", "demo", "--tokens", "20000", "--screenshot", str(picture)]
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT), "QT_SCALE_FACTOR": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, _, question, _, answer, *_ = done.stdout.splitlines()
    read = re.fullmatch(r"Read ([\d,]+) of ([\d,]+) tokens in \d+\.\d s\.", first)
    assert read is not None
    assert read[1] == read[2]
    assert abs(int(read[1].replace(",", "")) - 20_000) < 500
    assert question == f"> {QUESTION}"
    assert answer
    assert "\nPassages retrieved while writing this answer:\n" in done.stdout
    assert QImage(str(picture)).size() == SIZE
