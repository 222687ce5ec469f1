"""The memory that the app shows is what it takes: the real session with the built-in model, in a process of its own."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MEASURE = """
import json, sys
import psutil
from app.engine_session import EngineSession
from app.machine import Machine
from app.models.engine_status import EngineStatus
from app.models.memory_log import KNOWN, MemoryLog, of_process
from app.reports import ContextMeasured, ModelLoaded
from app.requests import ArchiveSource, ContextOptions, LoadModel, Read
from kiv_engine.config import KIVConfig
from kiv_engine.events import ReadFinished

status, session = EngineStatus(), EngineSession()
log, read = MemoryLog(Machine(), status), []

def do(request):
    for event in session.handle(request, lambda: False):
        match event:
            case ModelLoaded():
                status.set_model(event)
            case ContextMeasured():
                status.set_measured(event)
            case ReadFinished():
                read.append(event.tokens_read)

def take():
    from kiv_engine.memory import give_back
    give_back()
    sample, rss = log.measure(1), psutil.Process().memory_info().rss
    return {"rss": rss, "sum": of_process(sample.ram), "known": sum(sample.ram[:len(KNOWN)]), "disk": sample.disk_bytes}

do(LoadModel())
taken = [take()]
for chat, store in enumerate(("ram", "ram", sys.argv[1]), 1):  # the first is what torch keeps for itself
    do(Read(chat, (ArchiveSource(20_000),), ContextOptions(config=KIVConfig(store=store))))
    taken.append(take())
session.close()
print(json.dumps({"taken": taken, "read": read}))
"""


def test_the_parts_that_are_shown_are_the_memory_that_is_taken(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "store")]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert all(19_000 < tokens < 21_000 for tokens in found["read"]), found["read"]
    taken = found["taken"]
    for sample in taken:
        assert sample["sum"] == pytest.approx(sample["rss"], rel=0.1), taken
    for before, after in itertools.pairwise(taken[1:]):  # a context also has its document, and states of its layers
        grown = after["rss"] - before["rss"]
        assert after["known"] - before["known"] > 60_000_000
        assert after["known"] - before["known"] == pytest.approx(grown, rel=0.3), taken
    assert taken[2]["disk"] == 0 < taken[3]["disk"]
