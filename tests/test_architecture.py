"""The rules about who may import whom, and what a file may be called."""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as run; run(['--no-cache', '--no-logo'])"
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}

# The contract's name, the file that breaks it (made if missing; of the engine where no folder is named), and the import
# that it breaks it with.
BAD_IMPORTS = [
    ("The engine is free of Qt", "config.py", "import PySide6.QtCore"),
    ("The engine needs no benchmark, test or tool", "store.py", "import benchmarks"),
    ("The engine needs no benchmark, test or tool", "store.py", "from tests import conftest"),
    ("The engine needs no benchmark, test or tool", "store.py", "import tools"),
    ("Imports in the engine point one way", "errors.py", "import kiv_engine.config"),
    ("Imports in the engine point one way", "attention.py", "from kiv_engine import cache"),
    ("Imports in the engine point one way", "context.py", "def late() -> None:\n    import kiv_engine.engine"),
    ("Imports in the engine point one way", "chat.py", "from kiv_engine import sampling"),
    ("Imports in the engine point one way", "a_file_without_a_place.py", ""),
    ("Imports in the engine point one way", "documents/pdf.py", "import kiv_engine.document"),
    ("Imports in the engine point one way", "engine.py", "import kiv_engine.evaluation"),
    ("Imports in the evaluation point one way", "evaluation/tasks.py", "import kiv_engine.evaluation.run"),
    ("Imports in the evaluation point one way", "evaluation/a_file_without_a_place.py", ""),
    ("The engine knows nothing of the app", "events.py", "import app.reports"),
    ("Imports in the app point one way", "app/models/chat.py", "import app.views.theme"),
    ("Imports in the app point one way", "app/reports.py", "import app.models.chat"),
    ("Imports in the app point one way", "app/views/meters.py", "import app.controllers.session_controller"),
    ("Imports in the app point one way", "app/a_file_without_a_place.py", ""),
    ("Imports in the app point one way", "app/history.py", "import app.controllers.session_controller"),
    ("Only the app's session uses the engine", "app/views/meters.py", "import torch"),
    ("Only the app's session uses the engine", "app/evidence.py", "from kiv_engine.hits import LayerHits"),
    ("Only the app's session uses the engine", "app/models/chat.py", "from kiv_engine.context import Context"),
    ("Only the app's session uses the engine", "app/engine_bridge.py", "import kiv_engine.engine"),
    ("Only the app's session uses the engine", "app/views/meters.py", "import kiv_engine.documents.opening"),
    ("The app's values and its session are free of Qt", "app/engine_session.py", "import PySide6.QtCore"),
    ("The app's values and its session are free of Qt", "app/settings.py", "import PySide6.QtCore"),
]


def run_python(code: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter that finds the packages of `folder` first."""
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def tree_with(folder: Path, file: str, line: str) -> Path:
    """Copy the packages and their contracts into `folder` and append `line` to one of the files."""
    for package in ("app", "kiv_engine"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    # Whatever the line imports must be there to be found.
    for name in ["engine.py", "cache.py", "config.py", "sampling.py"]:
        (folder / "kiv_engine" / name).touch()
    path = folder / file if file.startswith("app/") else folder / "kiv_engine" / file
    with path.open("a") as planted:
        planted.write(f"\n{line}\n")
    return folder


def python_files() -> list[Path]:
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [path for folder in folders for path in folder.rglob("*.py")]


def test_importing_the_engine_loads_no_heavy_library() -> None:
    heavy = ("PySide6", "torch", "transformers", "numpy")
    result = run_python(f"import sys, kiv_engine; print([name for name in {heavy} if name in sys.modules])")
    assert result.stdout.strip() == "[]", result.stderr


def test_import_contracts_hold() -> None:
    result = run_python(LINT_IMPORTS)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "file", "line"), BAD_IMPORTS)
def test_a_bad_import_breaks_its_contract(tmp_path: Path, contract: str, file: str, line: str) -> None:
    result = run_python(LINT_IMPORTS, tree_with(tmp_path, file, line))
    assert result.returncode == 1
    assert f"{contract} BROKEN" in result.stdout, result.stdout + result.stderr


OPENS_CONNECTIONS = ("socket", "ssl", "asyncio", "http", "urllib", "ftplib", "smtplib", "httpx", "requests", "aiohttp")
HARMLESS = {
    *("urllib.parse", "huggingface_hub.errors", "huggingface_hub.constants", "huggingface_hub.get_token"),
    *("PySide6.QtNetwork.QLocalServer", "PySide6.QtNetwork.QLocalSocket"),  # between two starts of the app
}


def imported_names(path: Path) -> set[str]:
    """All that a file imports, with what it takes out of it: `urllib.parse.quote`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{each.name}" for each in node.names}
    return names


def is_for_connections(name: str) -> bool:
    """Whether what a file imports can open a connection."""
    if any(f"{name}.".startswith(f"{harmless}.") for harmless in HARMLESS):
        return False
    library = name.partition(".")[0]
    return library in (*OPENS_CONNECTIONS, "huggingface_hub") or ".QtNetwork" in name or ".QtWeb" in name


def test_two_files_open_connections_and_one_starts_pip() -> None:
    """What README and architecture.md say."""
    files = [path for package in ("app", "kiv_engine", "packaging") for path in (ROOT / package).rglob("*.py")]
    able = {path.name for path in files if any(map(is_for_connections, imported_names(path)))}
    assert able == {"download.py", "torch_build.py"}
    assert {path.name for path in files if '"pip"' in path.read_text(encoding="utf-8")} == {"torch_swap.py"}


def test_a_connection_to_another_computer_would_fail_its_test(far_connections: list[str]) -> None:
    """Also in the app, in kiv contexts, eval and bench, which are run in the tests' own process; see `online`."""
    for address in (("192.0.2.1", 443), ("example.invalid", 80)):
        with pytest.raises(ConnectionRefusedError, match="a test wants to reach"):
            socket.create_connection(address)
        assert far_connections.pop() == f"socket.getaddrinfo {address[0]}"
    with socket.socket() as direct, pytest.raises(ConnectionRefusedError, match="a test wants to reach"):
        direct.connect(("192.0.2.1", 443))
    assert far_connections.pop() == "socket.connect 192.0.2.1"


def test_every_library_is_listed_with_its_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [
        *project["dependencies"],
        *project["optional-dependencies"]["app"],
        *project["optional-dependencies"]["dev"],
    ]
    listed = (ROOT / "resources" / "THIRD_PARTY.md").read_text(encoding="utf-8").replace(",", " ").split()
    assert [name for name in (re.split("[<>=]", line)[0] for line in needed) if name not in listed] == []


def test_every_file_is_named_after_a_thing() -> None:
    vague = [path for path in python_files() if path.stem in VAGUE_NAMES or "manager" in path.stem]
    assert vague == []


SLEEPS = re.compile(r"\bsleep\(|\"sleep\"|\bqtbot\.wait\(|\bqWait\(|\.wait\(0?\.00")


def test_no_test_sleeps() -> None:
    """They wait for signals and conditions instead."""
    files = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    assert [str(path) for path in files if SLEEPS.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "line", ["time.sleep(1)", "qtbot.wait(50)", "QTest.qWait(5)", 'do("sleep", 0.1)', "e.wait(.002)"]
)
def test_a_sleep_is_seen(line: str) -> None:
    assert SLEEPS.search(line)
