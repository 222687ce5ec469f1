"""Every benchmark runs, and its last line is JSON with the figures that results and documentation quote."""

import importlib.util
import json
import os
import shutil
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
from kiv_engine.prefill import ScoreRule

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
        "saving": ("--tokens", "3000", "--rounds", "1", "--questions", "1"),
        "needles": ("--prefill", "window", *needles),
        "find_more": ("--tokens", "2600", "--seeds", "1", "--questions", "1", "--answer-tokens", "6", "--budgets", "8"),
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
    assert set(found["layers"]) == {"5", "7", "9"}  # the full attention layers


def test_find_more(smoke: dict[str, dict[str, Any]]) -> None:
    rows = smoke["find_more"]["budgets"]["8"]
    assert list(rows) == ["everything", "engine", "exact top", "adaptive", "sticky", "tail", "twice", "four times"]
    # The built-in model looks at so few tokens that four times the budget may hold all of the mass, but for rounding.
    assert rows["everything"]["mass"] >= rows["four times"]["mass"] > rows["twice"]["mass"] > rows["engine"]["mass"] > 0
    assert all(row["error"] > 0 for name, row in rows.items() if name != "everything")
    # So few cold tokens are all ranked exactly, and then the engine is the exact choice.
    for figure in ("mass", "error"):
        assert rows["exact top"][figure] == pytest.approx(rows["engine"][figure], rel=1e-4)
    assert rows["adaptive"]["mass"] >= rows["engine"]["mass"] >= rows["sticky"]["mass"]


@pytest.fixture
def find_more(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.find_spec("find_more")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "find_more", loaded)  # its dataclasses look it up
    spec.loader.exec_module(loaded)
    return loaded


def seen_by(find_more: ModuleType, sign: int = 1) -> Any:
    """What a random query, or the opposite one, could attend to: 96 tokens with half of the softmax."""
    generator = torch.Generator().manual_seed(3)
    queries = torch.randn((2, 3, 16), generator=generator) * 2 * sign
    keys, values = torch.randn((2, 2, 96, 16), generator=generator)
    scores = queries @ keys.mT * 0.25
    return find_more.Seen(3, ScoreRule(0.25), queries, keys, values, scores, scores.softmax(-1) / 2)


def test_the_ways_to_find_more_pick_what_they_say(find_more: ModuleType) -> None:
    ways, seen, other = find_more.make_ways(), seen_by(find_more), seen_by(find_more, -1)
    shares = seen.shares.sum(1)
    assert torch.equal(ways["exact top"](seen, 10).ids, shares.topk(10).indices)
    assert torch.equal(ways["twice"](seen, 10).ids, shares.topk(20).indices)
    adaptive = ways["adaptive"](seen, 10)
    chosen = [head * 96 + place for head, row in enumerate(adaptive.ids.tolist()) for place in row if place >= 0]
    assert sorted(chosen) == sorted(shares.flatten().topk(20).indices.tolist())
    assert (adaptive.scores == -torch.inf).any(1).equal(adaptive.ids < 0)
    assert torch.equal(ways["sticky"](seen, 8).ids, shares.topk(8).indices)
    kept, later = shares.topk(2).indices, ways["sticky"](other, 8).ids
    assert (kept[..., None] == later[:, None]).any(-1).all()
    find_more.begin_question(ways)
    assert torch.equal(ways["sticky"](other, 8).ids, other.shares.sum(1).topk(8).indices)


def test_mass_and_error_of_what_was_picked(find_more: ModuleType) -> None:
    seen = seen_by(find_more)
    local = find_more.PartialAttention(torch.zeros(2, 3, 1, 16), seen.scores.logsumexp(-1)[..., None])
    exact = find_more.cold_part(seen.scores, seen.values).output / 2  # the other half has values of zero
    top = find_more.exact_top(seen, 10)
    mass, error = find_more.figures(seen, local, exact, top)
    assert mass == pytest.approx(0.5 + float(seen.shares.gather(-1, top.ids[:, None].expand(-1, 3, -1)).sum(-1).mean()))
    assert find_more.figures(seen, local, exact, find_more.exact_top(seen, 96)) == pytest.approx((1, 0), abs=1e-6)
    with_tail = find_more.figures(seen, local, exact, find_more.tail(seen, 10))
    assert with_tail[0] == pytest.approx(mass)
    assert 0 < with_tail[1] < error


def test_the_tail_is_exact_where_the_tokens_of_a_page_are_equal(find_more: ModuleType) -> None:
    seen = seen_by(find_more)
    keys, values = (rows[:, ::32].repeat_interleave(32, 1) for rows in (seen.keys, seen.values))
    scores = seen.rule.scores(seen.queries[:, :, None], keys)[:, :, 0]
    pages = find_more.Seen(3, seen.rule, seen.queries, keys, values, scores, scores.softmax(-1))
    got = find_more.tail(pages, 10)
    expected = find_more.cold_part(scores, values).output
    torch.testing.assert_close(find_more.cold_part(got.scores, got.values).output, expected)


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


def test_saving(smoke: dict[str, dict[str, Any]]) -> None:
    result = smoke["saving"]
    names = {"open_to_first_token_s", "reading_over_opening", "saving_over_plain", "mapped_ram_speed"}
    assert all(result[name] > 0 for name in names)
    assert set(result["within_limit"]) == names | {"mapped_bytes_beyond_index"}


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


def test_run_all_keeps_a_result_beyond_its_limits_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_all = module("run_all")
    result = {"within_limit": {"shown": True, "jump": False}, "hot_within_limit": False, "index_within_limit": True}
    monkeypatch.setattr(run_all, "run", lambda _name, _options, _results: result)
    monkeypatch.setattr(sys, "argv", ["run_all.py", "--only", "bytes", "--results", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^Not within limits: bytes .within_limit jump., bytes .hot_within_limit.\.$"):
        run_all.main()
    assert json.loads((tmp_path / "bytes.json").read_text())["result"] == result


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


@pytest.fixture
def kiv(tmp_path: Path) -> Path:
    """./kiv in a folder that is set up already, with the Python of the tests."""
    for name in ("kiv", "packaging", "pyproject.toml", "constraints.txt"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    script = 'root=$1; source "$root/packaging/setup_venv.sh"; sources_sum > "$stamp"; echo app >> "$stamp"'
    subprocess.run(["bash", "-c", script, "bash", str(tmp_path)], check=True)
    return tmp_path / "kiv"


@pytest.mark.skipif(os.name != "posix", reason="./kiv is a script of bash")
def test_app_start(kiv: Path) -> None:
    result = run("app_start.py", "--runs", "1", "--kiv", str(kiv))
    assert 0 < result["median_s"]["python"] < result["median_s"]["painted"]


def test_app_pane() -> None:
    result = run("app_pane.py", "--runs", "1", "--characters", "100000", "--exchanges", "12")
    assert {"shown", "slice", "jump", "heat", "chat"} <= result["median_ms"].keys()
    assert set(result["within_limit"]) == {"shown", "jump", "heat", "chat"}


def test_app_search() -> None:
    result = run("app_search.py", "--runs", "1", "--messages", "400")
    assert result["searches"] > 30
    assert 0 < result["median_ms"] <= result["slowest_ms"]


@pytest.mark.long
def test_app_memory() -> None:
    result = run("app_memory.py", "--minutes", "0.2", "--tokens", "3000")
    assert result["answers"] > 2
    assert result["early_bytes"] > result["context_grew_bytes"] > 0
    again = run("app_memory.py", "--minutes", "0.2", "--tokens", "3000", "--again")
    assert again["answers"] > 2
    assert again["context_grew_bytes"] == 0


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [(), ("--every", "5"), ("--again",)],
    ids=["without a pause", "as a person would", "in branches"],
)
def test_ten_minutes_of_asking_leave_the_memory_flat(options: tuple[str, ...]) -> None:
    result = run("app_memory.py", *options)
    assert result["answers"] > 60
    assert result["within_limit"], result


@pytest.mark.long
def test_app_gaps() -> None:
    result = run("app_gaps.py", "--runs", "1", "--seconds", "1", "--tokens", "3000")
    gaps = result["gaps_ms"]
    assert gaps.pop("stopping")["longest"] > 0
    assert set(gaps) == {"rest", "reading", "answering"}
    assert all(each["p99"] >= each["p50"] > 0 for each in gaps.values())
    assert set(result["within_limit"]) == {"reading", "answering", "stopping"}


@pytest.mark.long
@pytest.mark.parametrize("name", ["app_gaps", "app_memory"])
def test_the_real_app_is_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert run(f"{name}.py", *module("run_all").SMALL[name])["benchmark"] == name


def test_the_benchmarks_of_the_app_start_it_and_leave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert output("-c", "from app_session import run_app; run_app(lambda _qt, _app: print('begun'))") == "begun\n"
