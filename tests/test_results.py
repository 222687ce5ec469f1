"""docs/results.md is what the committed results say, and shows whatever the commands report."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_results", ROOT / "benchmarks" / "make_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def committed(generator: ModuleType) -> dict[str, str]:
    notes = (RESULTS / "notes.md").read_text(encoding="utf-8")
    files: dict[str, str] = generator.render(generator.load(RESULTS), notes)
    return files


def test_regenerating_gives_the_committed_files(committed: dict[str, str]) -> None:
    for name, content in committed.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == content, f"run benchmarks/make_results.py: {name}"


def test_every_plot_and_result_that_is_linked_is_there(committed: dict[str, str]) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", committed["results.md"])
    assert len(links) > 5
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_a_missing_result_is_said_to_be_missing(generator: ModuleType) -> None:
    records = generator.load(RESULTS)
    without = {name: record for name, record in records.items() if name != "decode"}
    page = generator.render(without, "")["results.md"]
    assert "- Decode, Shape B: no committed result yet; `python benchmarks/decode.py`." in page
    assert "\n## Decode, Shape B" not in page


def test_figures_come_from_the_results(generator: ModuleType) -> None:
    records: dict[str, Any] = json.loads(json.dumps(generator.load(RESULTS)))
    records["decode"]["result"]["planted_found"] = 0.8765
    assert "| 0.88 |" in generator.render(records, "")["results.md"]
