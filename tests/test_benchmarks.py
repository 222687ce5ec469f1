"""Every benchmark runs, and its last line is JSON with the figures that results and documentation quote."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.evaluation import machine, shapes
from kiv_engine.evaluation.timing import timed_steps

ROOT = Path(__file__).resolve().parent.parent


SHARED_PROCESS = """
import json, runpy, sys
for script, *options in json.loads(sys.argv[1]):
    sys.argv = [script, *options]
    runpy.run_path(script, run_name="__main__")
    print("-- end of a script")
"""
"""Runs several scripts in one process: importing transformers takes longer than all of them."""


def output(*command: str) -> str:
    """What a Python process prints."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "benchmarks")))
    environment = {**os.environ, "PYTHONPATH": path}
    finished = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def module(name: str) -> ModuleType:
    """A benchmark, imported here."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def last_line(printed: str) -> dict[str, Any]:
    """The JSON line."""
    result: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return result


def run(script: str, *options: str) -> dict[str, Any]:
    """The JSON line of a benchmark in a process of its own."""
    return last_line(output(str(ROOT / "benchmarks" / script), *options))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The JSON lines of tiny runs, by benchmark, and what needles.py wrote to its file."""
    out = tmp_path_factory.mktemp("needles") / "needles.json"
    question = ("--index-bits", "1", "--question", "Who?")
    needles = ("--lengths", "900", "--seeds", "1", "--answer-tokens", "2", "--json-out", str(out))
    runs = {
        "bytes": ("--tokens", "4608", "--steps", "1"),
        "reading": ("--child", "window", "256", "--peer-tokens", "256"),
        "mass": ("--tokens", "2300", "--prefill", "window", *question),
        "needles": ("--prefill", "window", *needles),
    }
    scripts = [[str(ROOT / "benchmarks" / f"{name}.py"), *options] for name, options in runs.items()]
    parts = output("-c", SHARED_PROCESS, json.dumps(scripts)).split("-- end of a script\n")[:-1]
    results = {name: last_line(part) for name, part in zip(runs, parts, strict=True)}
    return {**results, "needles file": json.loads(out.read_text())}


def test_importing() -> None:
    result = run("importing.py", "--runs", "1")
    assert result["median_s"]["empty python"] > 0
    assert {"import_s", "kiv_help_s"} <= result.keys()


def test_parsing() -> None:
    result = run("parsing.py", "--pages", "60", "--runs", "1")
    assert result["wrong_pages"] == 0
    assert result["seconds"] > 0


def test_bytes(smoke: dict[str, dict[str, Any]]) -> None:
    result = smoke["bytes"]
    assert result["hot_is_constant"]
    assert result["hot_within_limit"]
    assert result["long"]["rows_per_step"] >= result["long"]["rows_reported"] > 0
    assert {"index_within_limit", "fetched_within_limit", "fetched_within_limit_short"} <= result.keys()


def test_reading_child(smoke: dict[str, dict[str, Any]]) -> None:
    result = smoke["reading"]
    assert result["mode"] == "window"
    assert result["peak_bytes"] >= result["peak_before_reading_bytes"] > 0
    assert {"tokens_per_s", "peer_tokens_per_s", "bytes_by_part"} <= result.keys()


def test_mass(smoke: dict[str, dict[str, Any]]) -> None:
    found = smoke["mass"]["index_bits"]["1"]
    # With fewer cold tokens than are retrieved, all of them are.
    assert found["ratio"] == pytest.approx(1, abs=1e-3)
    assert 0 < found["local"] < 1
    assert {"p5_ratio", "worst_layer_ratio", "cold_ratio"} <= found.keys()
    assert set(found["layers"]) == {"3", "4"}  # the full attention layers


def test_decode_finds_the_keys_that_it_planted() -> None:
    num_tokens, steps = 8_448, 64
    decode = module("decode")
    model = shapes.build()
    cache = KIVCache(model, KIVConfig(hot_tokens=256))
    probes = decode.Probes(cache, num_tokens, steps)
    # As they were drawn for the committed figures.
    generator = torch.Generator().manual_seed(2)
    queries = torch.randn((64, 4, 2, 4, 64), generator=generator)
    places = (torch.randperm(num_tokens - 4_096, generator=generator)[:64] + 1_024).tolist()
    keys = probes.planted.keys()
    assert list(keys) == places
    torch.testing.assert_close(keys[places[5]], 10 * queries[5, :, :, 1] / queries[5, :, :, 1].norm(dim=-1)[..., None])
    shapes.fill(cache, num_tokens, planted=keys)
    timed_steps(model, cache, steps, probes.run)
    cache.close()
    assert probes.asked == 64 * 4 * 2
    assert probes.found / probes.asked > 0.95


def test_needles(smoke: dict[str, dict[str, Any]]) -> None:
    result = smoke["needles"]
    assert set(result["lengths"]) == {"900", "all"}
    row = result["lengths"]["all"]
    assert row["needles"] == 10
    # Everything lies in the hot window here, so both passes attend to the same tokens.
    assert row["identical_answers"] == 1
    assert {"rate_default", "rate_everything", "agreement", "passages_with_needle"} <= row.keys()
    assert len(smoke["needles file"]["outcomes"]) == 10


@pytest.mark.long
def test_bytes_where_codes_rank_alone() -> None:
    result = run("bytes.py", "--tokens", "16384")
    # Seven attending layers, 256 tokens each, a K and a V row of one head.
    assert result["long"]["rows_per_step"] == result["long"]["rows_reported"] == 7 * 256 * 2
    assert result["fetched_within_limit"]


@pytest.mark.long
def test_mass_falls_short_with_few_candidates() -> None:
    narrow = ("--retrieved-tokens", "4", "--candidate-tokens", "32")
    result = run("mass.py", "--tokens", "9000", "--prefill", "window", "--question", "Who runs the bakery?", *narrow)
    for found in result["index_bits"].values():
        assert found["local"] < found["captured"] < found["best"] < 1


@pytest.mark.long
def test_reading() -> None:
    result = run("reading.py", "--short", "512", "--long", "4096", "--peer-tokens", "2048")
    assert {"sparse_over_window_short", "sparse_over_window_long"} <= result.keys()
    for summary in result["modes"].values():
        assert summary["long_store_and_index_bytes"] > 0
        assert {"long_over_short", "peak_ratio", "short_over_peer", "bytes_by_part"} <= summary.keys()


def test_run_all_keeps_the_result_and_the_machine(tmp_path: Path) -> None:
    run("run_all.py", "--small", "--only", "importing", "--results", str(tmp_path))
    record = json.loads((tmp_path / "importing.json").read_text())
    assert {"date", "load", "machine", "options", "result"} <= record.keys()
    assert {"cpu", "cores", "ram_bytes", "torch"} <= record["machine"].keys()
    assert record["result"]["benchmark"] == "importing"


def test_run_all_goes_on_behind_a_benchmark_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_all = module("run_all")

    def run_or_fail(name: str, *_arguments: object) -> dict[str, Any]:
        if name == "app_start":
            raise subprocess.CalledProcessError(1, name)
        return {"benchmark": name}

    monkeypatch.setattr(run_all, "run", run_or_fail)
    monkeypatch.setattr(sys, "argv", ["run_all.py", "--only", "app_start", "bytes", "--results", str(tmp_path)])
    with pytest.raises(SystemExit, match="Failed: app_start"):
        run_all.main()
    assert [path.name for path in tmp_path.iterdir()] == ["bytes.json"]


def test_run_all_and_the_readme_know_every_benchmark_of_the_results() -> None:
    results, known = module("make_results").SECTIONS, module("run_all").SMALL
    assert set(known) == set(results)
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    assert [name for name in known if f"`{name}.py`" not in readme and f"`{name}`" not in readme] == []


def test_time_elsewhere_is_what_other_processes_used(monkeypatch: pytest.MonkeyPatch) -> None:
    times = SimpleNamespace(user=100.0, nice=1.0, system=20.0, idle=900.0, iowait=30.0, steal=4.0, guest=50.0)
    own = SimpleNamespace(user=10.0, system=5.0, children_user=40.0, children_system=20.0)
    monkeypatch.setattr("psutil.cpu_times", lambda: times)
    monkeypatch.setattr("os.times", lambda: own)
    assert machine.seconds_elsewhere() == pytest.approx(125 - 75)
    monkeypatch.setattr("os.name", "nt")
    assert machine.seconds_elsewhere() is None


def test_saving_knows_no_anonymous_memory_where_the_system_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    saving = module("saving")
    if saving.ROLLUP.exists():
        assert saving.anonymous_bytes() > 1_000_000
    monkeypatch.setattr(saving, "ROLLUP", tmp_path / "missing")
    assert saving.anonymous_bytes() is None


def test_app_start() -> None:
    result = run("app_start.py", "--runs", "1")
    assert 0 < result["median_s"]["python"] < result["median_s"]["painted"]


def test_app_pane() -> None:
    result = run("app_pane.py", "--runs", "1", "--characters", "100000", "--exchanges", "12")
    assert {"shown", "slice", "jump", "heat", "chat"} <= result["median_ms"].keys()
    assert set(result["within_limit"]) == {"shown", "jump", "heat", "chat"}


@pytest.mark.long
def test_app_search() -> None:
    result = run("app_search.py", "--runs", "1", "--messages", "400")
    assert result["searches"] > 30
    assert 0 < result["median_ms"] <= result["slowest_ms"]


def test_app_gaps() -> None:
    result = run("app_gaps.py", "--seconds", "1", "--tokens", "3000")
    assert set(result["gaps_ms"]) == {"rest", "reading", "answering"}
    assert all(gaps["p99"] >= gaps["p50"] > 0 for gaps in result["gaps_ms"].values())
