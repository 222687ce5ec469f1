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


def test_the_readmes_figures_are_those_of_the_results(generator: ModuleType) -> None:
    records: dict[str, Any] = json.loads(json.dumps(generator.load(RESULTS)))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert generator.with_claims(readme, records) == readme, "run benchmarks/make_results.py"
    records["decode"]["result"]["long_over_short_median"] = 7.891
    assert "| 7.89 | [" in generator.with_claims(readme, records)
    del records["decode"]
    assert "#decode-steps" not in generator.with_claims(readme, records)


def test_links_into_pages_lead_to_headings(generator: ModuleType) -> None:
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "benchmarks/README.md",
    ]
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if "://" not in link
    ]  # fmt: skip
    assert sum("results.md#" in link for _, link in links) > 5
    assert [f"{page.name}: {link}" for page, link in links if not leads_somewhere(generator, page, link)] == []
    assert not leads_somewhere(generator, ROOT / "README.md", "docs/results.md#nothing")


def leads_somewhere(generator: ModuleType, page: Path, link: str) -> bool:
    """Whether a file is there, and its heading."""
    name, _, heading = link.partition("#")
    target = page.parent / name if name else page
    if not heading:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = [generator.anchor(each) for each in headings]
    return anchors.count(heading) == 1


def test_what_never_ran_is_listed(generator: ModuleType, committed: dict[str, str]) -> None:
    section = committed["results.md"].split(f"## {generator.NOT_MEASURED}")[1].split("\n## ")[0]
    for what in (
        "CUDA:", "Windows:", "macOS:", "`kiv.bat`", "On a GPU: CUDA graphs", "Published models", "`./kiv eval` in full",
        "`./kiv bench` in full", "Two-bit codes", "The fit planner's times",
    ):  # fmt: skip
        assert f"- {what}" in section
    for what in ("overlaps", "a cache on the device", "unpacking them to 16 bit"):
        assert what in section


def test_runs_in_full_are_not_said_to_be_missing(generator: ModuleType) -> None:
    records: dict[str, Any] = json.loads(json.dumps(generator.load(RESULTS)))
    records["eval"]["options"], records["bench"]["options"] = [], ["--predict"]
    records["mass"]["result"]["index_bits"]["2"] = records["mass"]["result"]["index_bits"]["1"]
    page = generator.render(records, "")["results.md"]
    assert "in full: never" not in page
    assert "no committed accuracy" not in page
    assert "`./kiv bench --predict`, " in page
    assert "--predict --predict" not in page


def test_every_plot_and_result_that_is_linked_is_there(committed: dict[str, str]) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", committed["results.md"])
    assert len(links) > 5
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_a_missing_result_is_said_to_be_missing(generator: ModuleType) -> None:
    records = generator.load(RESULTS)
    without = {name: record for name, record in records.items() if name != "decode"}
    page = generator.render(without, "")["results.md"]
    assert (
        "- Decode steps up to a million tokens, Shape B: no committed result yet; `python benchmarks/decode.py`."
        in page
    )
    assert "\n## Decode steps" not in page


def test_figures_come_from_the_results(generator: ModuleType) -> None:
    records: dict[str, Any] = json.loads(json.dumps(generator.load(RESULTS)))
    records["decode"]["result"]["planted_found"] = 0.8765
    assert "| 0.88 |" in generator.render(records, "")["results.md"]


def test_times_of_a_loaded_machine_are_dashes(generator: ModuleType) -> None:
    records: dict[str, Any] = json.loads(json.dumps(generator.load(RESULTS)))
    records["decode"]["load"], records["parsing"]["load"] = 0.9, 0.1
    records["decode"]["result"] |= {"planted_found": 0.8765, "short_over_dynamic": 1.2345}
    page = generator.render(records, "")["results.md"]
    assert ", load 0.9;" in page
    assert "| KIVCache 1M | – | – |" in page
    assert "| 0.88 |" in page
    assert "| 1.23 |" in page
    assert f"{records['parsing']['result']['seconds']:.1f} s (asked for" in page
    records["decode"]["load"], records["parsing"]["load"] = 0.1, 0.9
    page = generator.render(records, "")["results.md"]
    assert f"| KIVCache 1M | {records['decode']['result']['median_ms']['KIVCache 1M']:.2f} |" in page
    assert "characters: – s (asked for" in page


def test_only_what_was_timed_is_left_out(generator: ModuleType) -> None:
    result = {
        "median_ms": {"shown": 1.0}, "modes": [{"tokens_per_s": 2.0, "tokens": 3}], "questions": 4, "seconds": 5.0,
        "long_over_short": 6.0, "prediction": {"step_ms": 7.0},
    }  # fmt: skip
    assert generator.shown({"load": None, "load_before": 9.0, "result": result}) == result
    assert generator.shown({"load_before": 9.0, "result": result}) == {
        "median_ms": {"shown": None}, "modes": [{"tokens_per_s": None, "tokens": 3}], "questions": 4, "seconds": None,
        "long_over_short": 6.0, "prediction": {"step_ms": 7.0},
    }  # fmt: skip
