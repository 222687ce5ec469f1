"""`kiv bench` in a few steps, and its arithmetic by hand."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.errors import ConfigError
from kiv_engine.evaluation import bench, commands, plots, recall, shapes
from kiv_engine.evaluation.bench import BenchPlan, Planted, cold_places
from kiv_engine.evaluation.caches import cache_bytes
from kiv_engine.evaluation.prediction import KNOWN, gpu_of, predict_step
from kiv_engine.evaluation.shapes import GEMMA_4_E2B
from kiv_engine.evaluation.timing import quantile, timed_steps

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = BenchPlan(
    decode=(4_096, 8_192), int8=5_120, keep_all=4_096, quadratic_read=4_096, steps=4, read=(4_096,), layer=(4_096,)
)
Kiv = Callable[..., tuple[int, str, str]]
PageOf = Callable[[str, dict[str, Any]], str]


def test_a_run_ends_with_tables_and_a_json_line(
    kiv: Kiv, page_of: PageOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "QUICK", TINY)
    monkeypatch.setattr(bench, "MODEL_SHAPES", (GEMMA_4_E2B,))
    monkeypatch.setattr(bench, "ANSWERS", 1)
    monkeypatch.setattr(bench, "ANSWER_TOKENS", 3)
    monkeypatch.setattr(bench, "PROBES", 2)
    code, printed, err = kiv("bench", "--quick", "--out", tmp_path / "out", "--predict")
    assert code == 0
    assert printed.startswith("## Decode, Shape B")
    assert "Shape B, DynamicCache (full attention), 8,192 tokens: not measured" in err
    report = json.loads(printed.splitlines()[-1])
    assert report["complete"]
    row = report["shape_b"]["8192"]["kiv"]
    assert row["p99_ms"] >= row["p50_ms"] > 0
    assert row["resident_bytes"].keys() == {"hot", "index", "cold_keys", "cold_values"}
    # Four layers of two heads: V of 256 tokens each, and K of all that were ranked by it.
    values_bytes = 4 * 2 * 256 * shapes.HEAD_DIM * 4
    assert row["fetched_bytes_per_step"]["attention"] == values_bytes
    assert row["fetched_bytes_per_step"]["all"] >= 2 * values_bytes
    assert row["recall"]["planted"] == 1
    assert set(report["shape_b"]["4096"]) == {"kiv", "full", "fp8", "sinks"}
    assert set(report["shape_b"]["5120"]) == {"kiv int8"}
    assert report["model"]["4096"].keys() >= {"sparse", "window", "exact", "full", "sinks", "forward", "recall"}
    layer = report["layers"]["Gemma 4 E2B"]["4096"]
    assert layer["computed"]["step_ms"] == pytest.approx(7 * layer["layer_p50_ms"])
    files = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert json.loads(files["report.json"])["shape_b"] == report["shape_b"]
    assert "arithmetic, not measured" in files["report.md"]
    for name in ("decode.svg", "reading.svg"):
        assert ElementTree.fromstring(files[name]).tag.endswith("svg")
    page = page_of("bench", json.loads(files["report.json"]))
    assert "### Prediction for RTX 4070 (arithmetic, not measured)" in page
    assert "- Shape B, DynamicCache (full attention), 8,192 tokens: attends to everything" in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--predict", "abacus"), "predict is 'abacus'"), (("--out", "/dev/null/x"), "cannot take the results")],
)
def test_bad_input_is_told_in_one_line(kiv: Kiv, tmp_path: Path, arguments: tuple[str, str], says: str) -> None:
    code, out, err = kiv("bench", "--out", tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_planted_keys_are_where_exact_search_finds_them() -> None:
    model = shapes.build()
    cache = KIVCache(model, KIVConfig(hot_tokens=64, retrieved_tokens=8))
    planted = Planted(cold_places(4_096), bench.PROBES)
    shapes.fill(cache, 4_096, planted=planted.keys())
    timed_steps(model, cache, 1)
    found = planted.recall(cache)
    cache.close()
    assert found["planted"] == 1
    assert found["top"] == 1
    assert found["ratio"] == pytest.approx(1, abs=1e-4)


def test_overlap_is_counted_per_head() -> None:
    wanted = torch.tensor([[1, 2], [3, 4]])
    found = torch.tensor([[2, 9, 1], [1, 2, 4]])
    assert recall.overlap(wanted, found) == 0.75


def test_quantiles_are_in_milliseconds_and_lie_between_their_neighbors() -> None:
    assert quantile([0.003, 0.001, 0.002, 0.004], 0.5) == pytest.approx(2.5)
    assert quantile([0.001 * n for n in range(101)], 0.99) == pytest.approx(99)


def test_bytes_of_a_peer_are_those_of_its_tensors() -> None:
    model = shapes.build()
    cache = DynamicCache(config=model.config)
    shapes.fill(cache, 4_096)
    expected = 2 * 4_096 * shapes.LAYERS * shapes.KV_HEADS * shapes.HEAD_DIM * 4
    assert cache_bytes(cache) == pytest.approx(expected, rel=0.01)


def test_a_prediction_is_the_arithmetic_it_says() -> None:
    step = predict_step(KNOWN["RTX 4070"], GEMMA_4_E2B, 1_000_000)
    assert step["fetched_bytes"] == 7 * 256 * 2 * 1_024
    assert step["fetch_ms"] == pytest.approx(step["fetched_bytes"] / (32e9 * 0.5) * 1e3)
    assert step["codes_bytes"] == pytest.approx((1_000_000 - 2_064) * 3 * 512 * 2 / 8)
    parts = ("weights_ms", "codes_ms", "local_ms", "fetch_ms", "launch_ms")
    assert step["step_ms"] == pytest.approx(sum(step[part] for part in parts))
    assert step["tokens_per_s"] == pytest.approx(1e3 / step["step_ms"])


def test_a_gpu_can_be_given_by_its_bandwidths() -> None:
    assert gpu_of("504,32").memory_gb_per_s == KNOWN["RTX 4070"].memory_gb_per_s
    for text in ("504", "0,32", "fast,slow", "nan,1"):
        with pytest.raises(ConfigError):
            gpu_of(text)


def test_plots_are_svg_and_hold_every_name() -> None:
    series = [plots.Series("a < b", [(4_096, 1.5), (65_536, 40)]), plots.Series("c", [(4_096, 2)])]
    drawn = ElementTree.fromstring(plots.line_plot("title", "x", "y", series))
    texts = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"title", "x", "y", "a < b", "c", "4K", "64K", "1", "100"} <= texts
