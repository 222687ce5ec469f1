"""`kiv bench` in a few steps, and its arithmetic by hand."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from kiv_engine import model_shape
from kiv_engine.archive import Archive, CountTokens, write_archive
from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.context import Context
from kiv_engine.engine import Engine
from kiv_engine.errors import CapacityError, ConfigError
from kiv_engine.evaluation import bench, commands, plots, prediction, recall, shapes
from kiv_engine.evaluation.bench import Bench, BenchPlan, Planted, cold_places
from kiv_engine.evaluation.bench_report import LABELS, SECTIONS, measured_sections
from kiv_engine.evaluation.caches import cache_bytes
from kiv_engine.evaluation.prediction import KNOWN, gpu_of, predict, predict_step
from kiv_engine.evaluation.progress import Progress
from kiv_engine.evaluation.shapes import GEMMA_4_E2B, MODEL_SHAPES
from kiv_engine.evaluation.timing import p99, quantile, timed_steps
from kiv_engine.index import ranking_bytes

pytestmark = pytest.mark.usefixtures("one_thread", "online")

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
    written: list[int] = []

    def write_and_note(length: int, count: CountTokens) -> Archive:
        written.append(length)
        return write_archive(length, count)

    monkeypatch.setattr(bench, "write_archive", write_and_note)
    code, printed, err = kiv("bench", "--quick", "--out", tmp_path / "out", "--predict")
    assert code == 0
    assert printed.startswith("## Decode, Shape B")
    assert "Shape B, DynamicCache (full attention), 8,192 tokens: not measured" in err
    report = json.loads(printed.splitlines()[-1])
    assert report["complete"]
    assert written == [4_096]
    row = report["shape_b"]["8192"]["kiv"]
    assert row["p50_ms"] > 0
    assert (row["steps"], row["p99_ms"]) == (4, None)
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


DECODE_ALONE = BenchPlan(decode=(4_096,), int8=0, steps=4, read=(), layer=())


def failing(monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> None:
    """Let the first decode measurements raise these; those of None, and the rest, are real."""
    measure, waiting = bench.measure_decode, list(errors)

    def measure_or_raise(*arguments: Any) -> dict[str, Any]:
        if waiting and (error := waiting.pop(0)):
            raise error
        return measure(*arguments)

    monkeypatch.setattr(bench, "measure_decode", measure_or_raise)
    monkeypatch.setattr(commands, "QUICK", DECODE_ALONE)


def test_what_does_not_fit_is_left_out_with_its_reason_and_the_rest_goes_on(
    kiv: Kiv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = (CapacityError("No memory for 9 tokens."), MemoryError(), RuntimeError("can't allocate memory"))
    failing(monkeypatch, *errors)
    code, printed, err = kiv("bench", "--quick", "--out", tmp_path)
    assert code == 0
    assert "Shape B, kiv, 4,096 tokens: not measured; No memory for 9 tokens\n" in err
    report = json.loads(printed.splitlines()[-1])
    assert report["complete"]
    assert set(report["shape_b"]["4096"]) == {"sinks"}
    reasons = [each["reason"] for each in report["left_out"] if each["what"].startswith("Shape B")]
    assert reasons == ["No memory for 9 tokens", "out of memory", "out of memory"]
    page = (tmp_path / "report.md").read_text()
    assert "- Shape B, kiv, 4,096 tokens: No memory for 9 tokens.\n" in page


def test_any_other_failure_ends_the_run_with_a_report_of_what_was_measured(
    kiv: Kiv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, None, RuntimeError("the moon is full"))
    code, out, err = kiv("bench", "--quick", "--out", tmp_path)
    assert (code, out) == (1, "")
    assert "kiv: RuntimeError: the moon is full" in err
    report = json.loads((tmp_path / "report.json").read_text())
    assert not report["complete"]
    assert set(report["shape_b"]["4096"]) == {"kiv"}
    assert "The run failed (RuntimeError: the moon is full)" in (tmp_path / "report.md").read_text()


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


def test_recall_is_refused_where_positions_are_compact(
    kiv: Kiv, tiny: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = LlamaForCausalLM(LlamaConfig(**{**tiny.loaded.model.config.to_dict(), "max_position_embeddings": 2_048}))
    short = Engine(replace(tiny.loaded, model=trained.eval()))
    monkeypatch.setattr(Engine, "load", lambda *_args, **_options: short)
    monkeypatch.setattr(commands, "QUICK", BenchPlan(decode=(), int8=0, read=(4_096,), layer=()))
    monkeypatch.setattr(bench, "ENTRANTS", ())
    monkeypatch.setattr(Context, "read", None)
    code, printed, err = kiv("bench", "--quick", "--out", tmp_path)
    assert code == 0
    assert "recall, 4,096 tokens: not measured; positions are compact beyond the trained 2,048 tokens" in err
    assert json.loads(printed.splitlines()[-1])["model"]["4096"].keys() == {"forward"}


def test_recall_is_refused_from_the_token_on_that_makes_positions_compact() -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=90, max_position_embeddings=512, **sizes)).eval()
    cache = KIVCache(model, KIVConfig(hot_tokens=64, sink_tokens=4, retrieved_tokens=8))
    token = torch.tensor([[1]])
    with torch.inference_mode():
        model(torch.ones((1, 511), dtype=torch.long), past_key_values=cache)
        with recall.probing(cache) as probe:
            model(token, past_key_values=cache)
            with pytest.raises(recall.NotMeasuredError, match="beyond the trained 512 tokens"):
                model(token, past_key_values=cache)
    cache.close()
    assert len(probe.samples) == 1


def test_overlap_is_counted_per_head() -> None:
    wanted = torch.tensor([[1, 2], [3, 4]])
    found = torch.tensor([[2, 9, 1], [1, 2, 4]])
    assert recall.overlap(wanted, found) == 0.75


def test_quantiles_are_in_milliseconds_and_lie_between_their_neighbors() -> None:
    assert quantile([0.003, 0.001, 0.002, 0.004], 0.5) == pytest.approx(2.5)
    assert quantile([0.001 * n for n in range(101)], 0.99) == pytest.approx(99)


def test_a_99_percent_quantile_needs_a_hundred_times() -> None:
    assert p99([0.001] * 99) is None
    assert p99([0.001] * 100) == pytest.approx(1)


def test_a_cache_that_forgets_needs_no_room_for_what_it_forgets(tiny: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "available_ram_bytes", lambda: 10**9)
    run = Bench(tiny, BenchPlan(decode=(1_048_576,), int8=0, keep_all=1_048_576, read=(), layer=()))
    assert not any(isinstance(event, Progress) for event in run.run(lambda: True))
    needing = " ".join(each["what"] for each in run.report["left_out"] if "GB of RAM" in each["reason"])
    assert LABELS["full"] in needing
    assert "kiv" in needing
    assert LABELS["sinks"] not in needing


def test_exact_attention_of_a_layer_is_over_all_its_tokens() -> None:
    (layer,) = shapes.build_layers(GEMMA_4_E2B, 1, KIVConfig(hot_tokens=64, sink_tokens=4))
    generator = torch.Generator().manual_seed(0)
    keys, values = (shapes.random_rows(GEMMA_4_E2B, 300, generator, torch.float32) for _ in range(2))
    layer.update(keys, values)
    assert layer.store.num_tokens > 0
    held_keys, held_values = bench.everything(layer)
    assert torch.equal(held_keys, keys[0])
    assert torch.equal(held_values, values[0])
    assert bench.layer_bytes(GEMMA_4_E2B, 300) == 2 * 2 * keys.nbytes  # as the layer has them, and in one piece


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
    assert step["codes_bytes"] == pytest.approx((1_000_000 - 2_064) * 3 * (512 / 8 + 448 / 8 + 1))
    lasting = prediction.loaded_weight_bytes(GEMMA_4_E2B) + 2 * GEMMA_4_E2B.keys_bytes(2_048, 2) + step["codes_bytes"]
    passing = ranking_bytes(8, 1, 512, torch.device("cuda"))
    assert step["needed_bytes"] == pytest.approx(lasting + passing + model_shape.RUNTIME_BYTES["cuda"])
    parts = ("weights_ms", "codes_ms", "local_ms", "fetch_ms", "launch_ms")
    assert step["step_ms"] == pytest.approx(sum(step[part] for part in parts))
    assert step["tokens_per_s"] == pytest.approx(1e3 / step["step_ms"])


def test_no_rate_is_predicted_where_the_bytes_do_not_fit() -> None:
    (phi,) = (each for each in MODEL_SHAPES if each.name == "Phi-3.5-mini")
    step = predict_step(KNOWN["RTX 4070"], phi, 1_048_576)
    assert step["codes_bytes"] > 24e9
    assert step["needed_bytes"] > step["codes_bytes"] + 1.9e9
    assert step["tokens_per_s"] is None
    assert step["step_ms"] is None
    assert predict_step(KNOWN["RTX 4070"], phi, 131_072)["tokens_per_s"] > 40
    assert predict_step(gpu_of("504,32,48"), phi, 1_048_576)["tokens_per_s"] > 10
    nothing = {needs: None for _, needs, _ in SECTIONS}
    page = "\n".join(measured_sections({**nothing, "prediction": predict(KNOWN["RTX 4070"], (4_096, 1_048_576))}))
    assert "| does not fit |" in page
    for assumed in ("unpacks them to 16 bit, tile by tile", "one captured graph", "do not fit"):
        assert assumed in page


def test_the_weights_of_a_predicted_step_are_those_that_are_loaded() -> None:
    """Of Llama 3.2 1B a step meets all: its embeddings are its output layer. Norms are left out, some thousands."""
    (shape,) = (each for each in MODEL_SHAPES if each.name == "Llama-3.2-1B")
    step = predict_step(KNOWN["RTX 4070"], shape, 1_000_000)
    loaded = model_shape.ModelShape(shape.config).weight_bytes("4bit", 2)
    assert step["weights_ms"] * 504e6 * 0.85 == pytest.approx(loaded, rel=1e-3)


def test_a_gpu_can_be_given_by_its_bandwidths() -> None:
    assert gpu_of("504,32").memory_gb_per_s == KNOWN["RTX 4070"].memory_gb_per_s
    assert gpu_of("504,32,12").memory_gb == KNOWN["RTX 4070"].memory_gb
    for text in ("504", "0,32", "fast,slow", "nan,1", "504,32,0", "504,32,12,1"):
        with pytest.raises(ConfigError):
            gpu_of(text)


def test_plots_are_svg_and_hold_every_name() -> None:
    series = [plots.Series("a < b", [(4_096, 1.5), (65_536, 40)]), plots.Series("c", [(4_096, 2)])]
    drawn = ElementTree.fromstring(plots.line_plot("title", "x", "y", series))
    texts = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"title", "x", "y", "a < b", "c", "4K", "64K", "1", "100"} <= texts
