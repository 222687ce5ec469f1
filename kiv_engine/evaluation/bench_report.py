"""What `kiv bench` measured, as Markdown and plots."""

from collections.abc import Iterable
from typing import Any

from kiv_engine.evaluation.caches import PEERS
from kiv_engine.evaluation.markdown import number, table
from kiv_engine.evaluation.plots import Series, line_plot
from kiv_engine.evaluation.prediction import ASSUMPTIONS
from kiv_engine.evaluation.readers import BY_NAME

LABELS = {"kiv": "KIV", "kiv int8": "KIV, int8", **{peer.name: peer.label for peer in PEERS}}


def megabytes(num_bytes: float | None) -> str:
    """Like 12.9."""
    return "–" if num_bytes is None else f"{num_bytes / 1e6:,.1f}"


def machine_line(machine: dict[str, Any]) -> str:
    """One sentence about the machine."""
    gpu = machine.get("gpu") or "no GPU"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['ram_bytes'] / 1e9:.0f} GB, {gpu}; {machine['system']}; "
        f"Python {machine['python']}, torch {machine['torch']}, transformers {machine['transformers']}."
    )


def decode_table(report: dict[str, Any]) -> str:
    """Shape B: a row per length and cache."""
    head = (
        "tokens", "cache", "steps", "p50, ms", "p99, ms", "rows read a step, MB", "sinks and hot window, MB",
        "index, MB", "cold or all K and V, MB",
    )  # fmt: skip
    rows = []
    for length, by_name in report["shape_b"].items():
        for name, row in by_name.items():
            parts = row["resident_bytes"]
            cold = parts.get("all", parts.get("cold_keys", 0) + parts.get("cold_values", 0))
            fetched = row.get("fetched_bytes_per_step", {}).get("all")
            rows.append((
                f"{int(length):,}", LABELS.get(name, name), f"{row['steps']:,}", number(row["p50_ms"]),
                number(row["p99_ms"]), megabytes(fetched), megabytes(parts.get("hot")),
                megabytes(parts.get("index")), megabytes(cold),
            ))  # fmt: skip
    return table(head, rows)


def reading_table(report: dict[str, Any]) -> str:
    """The model: a row per length and cache, and plain forwards."""
    head = ("tokens", "cache", "read, tokens/s", "of plain forwards", "first token, ms", "ms a token")
    rows = []
    for length, by_name in report["model"].items():
        plain = by_name.get("forward", {}).get("read_tokens_per_s")
        for name, row in by_name.items():
            if name == "recall":
                continue
            label = "plain forwards without a cache" if name == "forward" else BY_NAME[name].label
            share = row["read_tokens_per_s"] / plain if plain else None
            rows.append((
                f"{int(length):,}", label, number(row["read_tokens_per_s"], ",.0f"), number(share),
                number(row.get("first_token_ms"), ",.0f"), number(row.get("token_p50_ms")),
            ))  # fmt: skip
    return table(head, rows)


def recall_table(report: dict[str, Any]) -> str:
    """Retrieval against the exact softmax."""
    head = (
        "tokens",
        "where",
        "queries × layers",
        "mass / best",
        "cold mass / best",
        "worst",
        "top 256",
        "top 8",
        "planted",
    )
    rows = []
    for where, by_length in (("Shape B", report["shape_b"]), ("model", report["model"])):
        for length, by_name in by_length.items():
            for found in _recalls(by_name):
                rows.append((
                    f"{int(length):,}", where, str(found["queries"]), number(found["ratio"], ".4f"),
                    number(found["cold_ratio"], ".4f"), number(found["min_ratio"], ".4f"), number(found["top"], ".3f"),
                    number(found["top_few"], ".3f"), number(found.get("planted"), ".3f"),
                ))  # fmt: skip
    return table(head, rows)


def _recalls(by_name: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if "recall" in by_name:
        yield by_name["recall"]
    for row in by_name.values():
        if "recall" in row:
            yield row["recall"]


def layer_table(report: dict[str, Any]) -> str:
    """Single layers: measured, and computed for the whole model."""
    head = (
        "shape", "tokens", "steps", "one layer, ms", "exact attention in it, ms", "all layers, ms (computed)",
        "exact attention in all, ms (computed)", "rows read a step, MB (computed)", "index, MB (computed)",
    )  # fmt: skip
    rows = []
    for name, by_length in report["layers"].items():
        for length, row in by_length.items():
            computed = row["computed"]
            fetched = computed["fetched_bytes_per_step"]["all"]
            rows.append((
                name, f"{int(length):,}", str(row["steps"]), number(row["layer_p50_ms"]),
                number(row["exact_layer_ms"]), number(computed["step_ms"]), number(computed["exact_step_ms"]),
                megabytes(fetched), megabytes(computed["resident_bytes"]["index"]),
            ))  # fmt: skip
    return table(head, rows)


def prediction_table(prediction: dict[str, Any]) -> str:
    """A row per model and length; nothing of it was measured."""
    head = (
        "model", "tokens", "needs, GB", "weights, ms", "codes, ms", "fetch, ms", "step, ms", "tokens/s", "fetched, MB",
    )  # fmt: skip
    rows = []
    for name, by_length in prediction["models"].items():
        for length, row in by_length.items():
            needs = number(row["needed_bytes"] / 1e9, ".1f")
            parts = (number(row[part]) for part in ("weights_ms", "codes_ms", "fetch_ms", "step_ms"))
            rate = "does not fit" if row["tokens_per_s"] is None else number(row["tokens_per_s"], ".0f")
            rows.append((name, f"{int(length):,}", needs, *parts, rate, megabytes(row["fetched_bytes"])))
    return table(head, rows)


SECTIONS = (
    ("Decode, Shape B", "shape_b", decode_table),
    ("Reading and answering, the model", "model", reading_table),
    ("Recall against the exact softmax", "model", recall_table),
    ("Single layers at full width", "layers", layer_table),
)


def measured_sections(report: dict[str, Any]) -> list[str]:
    """Titles and tables of what was measured, and of what was predicted if anything was."""
    parts = []
    for title, needs, make in SECTIONS:
        if report[needs]:
            parts += [f"## {title}", make(report)]
    if report.get("prediction"):
        parts += [f"## Prediction for {report['prediction']['gpu']} (arithmetic, not measured)"]
        parts += [ASSUMPTIONS, prediction_table(report["prediction"])]
    return parts


def left_out_lines(report: dict[str, Any]) -> list[str]:
    """What was not measured, and why."""
    return [f"- {each['what']}: {each['reason']}." for each in report["left_out"]]


def sections(report: dict[str, Any]) -> list[str]:
    """Titles and tables, and what was not measured."""
    parts = measured_sections(report)
    if report["left_out"]:
        parts.append("Not measured:\n\n" + "\n".join(left_out_lines(report)))
    return parts


def how_it_ended(report: dict[str, Any]) -> str:
    """A remark where a run did not reach its end."""
    if report["complete"]:
        return ""
    end = f"failed ({report['failure']})" if "failure" in report else "was stopped"
    return f" The run {end}; these are its figures so far."


def as_markdown(report: dict[str, Any]) -> str:
    """The whole report for people."""
    end = how_it_ended(report)
    head = [f"# Benchmark with {report['model_name']}", f"{report['date']}; {machine_line(report['machine'])}{end}"]
    return "\n\n".join([*head, *sections(report)]) + "\n"


# -- plots -------------------------------------------------------------------------------------------------------------


def plots(report: dict[str, Any]) -> dict[str, str]:
    """SVG files by name."""
    files = {}
    if lines := _series(report["shape_b"], LABELS, "p50_ms"):
        files["decode.svg"] = line_plot("Decode step on Shape B, median", "tokens in the context", "ms", lines)
    labels = {name: entrant.label for name, entrant in BY_NAME.items()} | {"forward": "plain forwards"}
    if lines := _series(report["model"], labels, "read_tokens_per_s"):
        files["reading.svg"] = line_plot("Reading", "tokens of the document", "tokens/s", lines)
    return files


def _series(by_length: dict[str, Any], labels: dict[str, str], figure: str) -> list[Series]:
    found = []
    for name, label in labels.items():
        rows = [(float(length), row[name]) for length, row in by_length.items() if name in row]
        points = [(length, row[figure]) for length, row in rows if row[figure] is not None]
        if points:
            found.append(Series(label, points))
    return found
