"""Write docs/results.md, the plots it shows, and the README's table of figures from the committed results. Nothing in
them is written by hand but results/notes.md, which is taken in as it is.

    python benchmarks/make_results.py [--check]        (--check writes nothing and fails if something would change)
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from kiv_engine.evaluation import bench_report, eval_report
from kiv_engine.evaluation.bench_report import machine_line
from kiv_engine.evaluation.markdown import number, table

HERE: Final = Path(__file__).resolve().parent
DOCS: Final = HERE.parent / "docs"
PAGE: Final = "results.md"
PLOTS: Final = "results"
"""The plots' folder, beside the page."""

NOT_MEASURED: Final = "What was not measured, never run, or not built"
QUICK_LEAVES_OUT: Final = {
    "eval": "documents of 262,144 and 1,048,576 tokens are missing, and more than one document of each length",
    "bench": "the model at 262,144 and 1,048,576 tokens, Shape B in int8 at 4,194,304 and single layers at 1,048,576 "
    "are missing",
}
FIND_MORE: Final = "0007-nothing-finds-more.md"

Record = dict[str, Any]

INTRODUCTION: Final = """# Results

Written by `python benchmarks/make_results.py` from [benchmarks/results/](../benchmarks/results/); a test fails when the
two differ. Ratios count more than times, which are those of one machine on one day: both sides of a ratio come from one
run. "load" is how many processors other programs kept busy meanwhile, or, of older results, how many processes wanted
to run during the minute before. Times taken at a load above 0.5 are shown as dashes."""

LOADED: Final = 0.5
TIME: Final = re.compile(r"(.+_)?(s|ms)|seconds")
"""Names of figures that are times, or rates over time."""


def section_eval(result: Record) -> Iterator[str]:
    """`kiv eval`."""
    yield f"Model: {result['model']}; {result['seeds']} documents per length, {result['depths']} depths." + (
        bench_report.how_it_ended(result)
    )
    yield eval_report.EXPLANATION
    yield eval_report.overview(result)
    yield "By task, with the default configuration and with the peers:"
    yield eval_report.task_table(result)
    if eval_report.needle_maps(result):
        yield f"![Share of needles found, by length and depth]({PLOTS}/needles.svg)"


def section_bench(result: Record) -> Iterator[str]:
    """`kiv bench`."""
    yield f"Model: {result['model_name']}; {result['threads']} threads.{bench_report.how_it_ended(result)}"
    for part in bench_report.measured_sections(result):
        yield part.replace("## ", "### ")
    for name in bench_report.plots(result):
        yield f"![{name.removesuffix('.svg')}]({PLOTS}/{name})"


def asked_and_measured(rows: list[tuple[str, str, float | None]]) -> str:
    """What was asked for beside what came out."""
    return table(("", "asked for", "measured"), [(name, asked, number(value)) for name, asked, value in rows])


def section_decode(result: Record) -> Iterator[str]:
    """decode.py."""
    yield (
        "Qwen2 shape with random weights, 4 layers, 8 query heads, 2 KV heads, head_dim 64, float32; default "
        f"`KIVConfig()`; {result['steps']:,} steps at 4K and at 1,048,576 tokens, {result['threads']} threads."
    )
    yield asked_and_measured([
        ("planted keys (10 standard deviations, random cold places) in the hit sets", "0.95", result["planted_found"]),
        ("median at 1M / median at 4K", "at most 1.25", result["long_over_short_median"]),
        ("p99 at 1M / median at 4K", "at most 2.5", result["long_p99_over_short_median"]),
        ("our 4K / DynamicCache's 4K", "at most 1.2", result["short_over_dynamic"]),
        ("DynamicCache at 131,072 / ours at 131,072", "at least 15", result["dynamic_128k_over_ours_128k"]),
    ])  # fmt: skip
    rows = [(name, number(value), number(result["p99_ms"][name])) for name, value in result["median_ms"].items()]
    yield table(("", "median, ms", "p99, ms"), rows)


def section_bytes(result: Record) -> Iterator[str]:
    """bytes.py."""
    yield f"Shape of {result['shape']}, bfloat16."
    names = ("hot", "index", "cold_keys", "cold_values", "fetched_per_step")
    rows = [(name, *(f"{result[length][name] / 1e6:,.2f}" for length in ("short", "long"))) for name in names]
    rows.append(("index / bytes of K", *(number(result[each]["index_over_keys"], ".4f") for each in ("short", "long"))))
    lengths = [f"{result[length]['tokens']:,} tokens" for length in ("short", "long")]
    yield table(("MB", *lengths), rows)
    yield "Limits: hot 13 MB at both lengths, index 0.125 of the bytes of K, 4 MB of rows fetched per step."


def section_reading(result: Record) -> Iterator[str]:
    """reading.py."""
    modes = result["modes"]
    rows = [
        (name, asked, *(number(summary[key]) for summary in modes.values()))
        for name, asked, key in (
            (f"tokens/s at {result['long']:,} / at {result['short']:,}", "at least 0.85", "long_over_short"),
            (f"of a plain forward's tokens/s at {result['short']:,}", "window 0.7, sparse 0.35", "short_over_peer"),
            (f"of a plain forward's tokens/s at {result['long']:,}", "window 0.7, sparse 0.35", "long_over_peer"),
            ("peak, long / (store + index + peak, short)", "at most 1.2", "peak_ratio"),
        )
    ]
    yield table(("", "asked for", *modes), rows)
    if "sparse_over_window_long" in result:
        yield f"Sparse over window, tokens/s: {result['sparse_over_window_long']:.2f} at {result['long']:,} tokens."


def section_needles(result: Record) -> Iterator[str]:
    """needles.py."""
    yield f"Ten facts a document, {result['seeds']} documents a length, prefill {result['prefill']}."
    columns = ("needles", "rate_default", "rate_everything", "agreement", "identical_answers", "passages_with_needle")
    rows = [
        (length, str(row["needles"]), *(number(row[name]) for name in columns[1:]))
        for length, row in result["lengths"].items()
    ]
    yield table(("tokens", *(name.replace("_", " ") for name in columns)), rows)


def section_mass(result: Record) -> Iterator[str]:
    """mass.py."""
    yield f"{result['questions']} questions about {result['document']}, {result['tokens'] or 'all its'} tokens."
    columns = ("queries", "local", "captured", "best", "ratio", "cold_ratio", "p5_ratio", "worst_layer_ratio")
    rows = [
        (bits, *(number(row[name], ".4g") for name in columns)) for bits, row in result["index_bits"].items()
    ]  # fmt: skip
    yield table(("index bits", "queries × layers", *(name.replace("_", " ") for name in columns[1:])), rows)


def section_find_more(result: Record) -> Iterator[str]:
    """find_more.py."""
    asked = f"{result['questions']} questions about {result['tokens']:,} tokens"
    yield f"{asked}; `--help` explains the ways. None is in the engine: [decisions/0007](decisions/{FIND_MORE})."
    columns = ("mass", "error", "right", "agreement", "identical")
    rows = [
        (budget, name, *(number(row[part], ".4f" if part in columns[:2] else ".2f") for part in columns))
        for budget, by_way in result["budgets"].items()
        for name, row in by_way.items()
    ]
    yield table(("budget", "way", *columns), rows)


def section_recording(result: Record) -> Iterator[str]:
    """recording.py."""
    yield (
        f"Recording hit sets at {result['tokens']:,} tokens, {result['rounds']} rounds: "
        f"{result['recording_over_plain']:.3f} times the plain step, where two plain ones differ by "
        f"{result['plain_again_over_plain']:.3f}."
    )


def section_importing(result: Record) -> Iterator[str]:
    """importing.py."""
    yield f"`import kiv_engine`: {number(result['import_s'], '.3f')} s above an empty Python."


def section_saving(result: Record) -> Iterator[str]:
    """saving.py."""
    before, after = (number(seconds, ".0f") for seconds in result["reads_s"])
    yield (
        f"The archive at {result['tokens']:,} tokens, the built-in model; read plainly in {before} s before "
        f"and {after} s after the saved reading."
    )
    grown = result["mapped_anonymous_bytes"]
    over_index = None if grown is None else (grown - result["index_bytes"]) / 1e6
    yield asked_and_measured([
        ("reading while saving / reading", "at most 1.1", result["saving_over_plain"]),
        ("opening to the first token, s", "at most 3", result["open_to_first_token_s"]),
        ("reading / opening to the first token", "at least 50", result["reading_over_opening"]),
        ("decoding speed, opened / in RAM", "", result["opened_ram_speed"]),
        ("decoding speed, mapped store / in RAM", "at least 0.8", result["mapped_ram_speed"]),
        ("anonymous memory of a mapped store beyond its index, MB", "at most 512", over_index),
    ])  # fmt: skip


def section_parsing(result: Record) -> Iterator[str]:
    """parsing.py."""
    yield (
        f"A generated PDF of {result['pages']:,} pages, {result['characters'] / 1e6:.1f} million characters: "
        f"{number(result['seconds'], '.1f')} s (asked for: at most 30), {result['wrong_pages']} page numbers wrong."
    )


def section_app_start(result: Record) -> Iterator[str]:
    """app_start.py."""
    rows = [(name, number(value)) for name, value in result["median_s"].items()]
    yield table(("from the start, s", f"median of {result['runs']}"), rows)


def section_app_gaps(result: Record) -> Iterator[str]:
    """app_gaps.py."""
    kinds = [kind for kind in result["gaps_ms"] if kind != "stopping"]
    rows = [
        (name, *(number(result["gaps_ms"][kind].get(name)) for kind in kinds))
        for name in result["gaps_ms"][kinds[0]]
        if name != "seconds"
    ]
    runs = f", median of {result['runs']} runs" if "runs" in result else ""
    yield f"Gaps of the window's thread, {result['tokens']:,} tokens{runs}. Asked for: p99 20 ms, p99.9 50 ms."
    yield table(("ms", *kinds), rows)
    if stopping := result["gaps_ms"].get("stopping"):
        yield f"The longest of ten stops of an answer being written took {number(stopping['longest'])} ms (asked: 200)."


def section_app_memory(result: Record) -> Iterator[str]:
    """app_memory.py."""
    yield (
        f"{result['answers']:,} answers in {result['minutes']:g} minutes, one after another in one chat. Asked for: "
        f"flat within 5 %. Resident bytes in the last minute over the second: {result['late_over_early']:.3f}; "
        f"without the {result['context_grew_bytes'] / 1e6:.1f} MB by which the answers made the context grow: "
        f"{result['rest_late_over_early']:.3f}."
    )


def section_app_pane(result: Record) -> Iterator[str]:
    """app_pane.py."""
    yield table(
        ("ms", f"median of {result['runs']}"), [(name, number(value)) for name, value in result["median_ms"].items()]
    )


def section_app_search(result: Record) -> Iterator[str]:
    """app_search.py."""
    yield (
        f"{result['searches']} searches, one for each letter typed, over {result['messages']:,} messages: the slowest "
        f"takes {number(result['slowest_ms'], '.1f')} ms (asked for: less than 50), the median "
        f"{number(result['median_ms'], '.1f')} ms."
    )


SECTIONS: Final[dict[str, tuple[str, str, Callable[[Record], Iterator[str]]]]] = {
    "eval": ("Finding things, beside other caches", "./kiv eval", section_eval),
    "bench": ("Speed, bytes and recall, beside other caches", "./kiv bench", section_bench),
    "decode": ("Decode steps up to a million tokens, Shape B", "python benchmarks/decode.py", section_decode),
    "reading": ("Reading", "python benchmarks/reading.py", section_reading),
    "bytes": ("Bytes on a GPU", "python benchmarks/bytes.py", section_bytes),
    "needles": ("Needles in the sample archive", "python benchmarks/needles.py", section_needles),
    "mass": ("Softmax mass that the search finds", "python benchmarks/mass.py", section_mass),
    "find_more": ("Ways to find more", "python benchmarks/find_more.py", section_find_more),
    "saving": ("Saved contexts and mapped stores", "python benchmarks/saving.py", section_saving),
    "parsing": ("Parsing", "python benchmarks/parsing.py", section_parsing),
    "app_start": ("The window's start", "python benchmarks/app_start.py", section_app_start),
    "app_memory": ("Memory while one asks and asks", "python benchmarks/app_memory.py", section_app_memory),
    "app_gaps": ("The window's gaps", "python benchmarks/app_gaps.py", section_app_gaps),
    "app_pane": ("The window's panes", "python benchmarks/app_pane.py", section_app_pane),
    "app_search": ("Searching the chats", "python benchmarks/app_search.py", section_app_search),
    "recording": ("Recording hit sets", "python benchmarks/recording.py", section_recording),
    "importing": ("Starting", "python benchmarks/importing.py", section_importing),
}


CLAIMS: Final[tuple[tuple[str, str, Callable[[Record], str]], ...]] = (
    ("a decode step at 1,048,576 tokens / at 4,096", "decode", lambda r: number(r["long_over_short_median"])),
    ("DynamicCache's decode step / KIV's, at 4,096 tokens", "decode", lambda r: number(1 / r["short_over_dynamic"])),
    ("the same at 131,072 tokens", "decode", lambda r: number(r["dynamic_128k_over_ours_128k"], ".0f")),
    (
        "reading a million tokens sparsely / plain forwards without a cache, tokens/s",
        "reading",
        lambda r: number(r["modes"]["sparse"]["long_over_peer"]),
    ),
    (
        "softmax mass that is found at a million tokens / that the best 256 hold",
        "mass",
        lambda r: number(r["index_bits"]["1"]["ratio"], ".3f"),
    ),
    ("facts that the built-in model gives, 4,096 to a million tokens", "needles", lambda r: rate(r, "rate_default")),
    ("the same with everything retrieved", "needles", lambda r: rate(r, "rate_everything")),
    ("from opening what was read to the first token, s", "saving", lambda r: number(r["open_to_first_token_s"])),
    ("a PDF of 1,000 pages parsed, s", "parsing", lambda r: number(r["seconds"], ".1f")),
    ("from the start of the app to its painted window, s", "app_start", lambda r: number(r["median_s"]["painted"])),
)
"""The README's figures: what, of which result, and how it is read from there."""

CLAIMS_BEGIN: Final = "<!-- figures: written by benchmarks/make_results.py -->"
CLAIMS_END: Final = "<!-- end of figures -->"


def rate(result: Record, name: str) -> str:
    """A rate of needles.py over all lengths."""
    return number(result["lengths"]["all"][name])


def anchor(heading: str) -> str:
    """The address of a heading within its page, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def with_claims(readme: str, records: dict[str, Record]) -> str:
    """The README with its table of figures as the results have them now, each with a link to where it comes from."""
    rows = [
        (text, read(shown(records[name])), f"[{SECTIONS[name][0]}](docs/{PAGE}#{anchor(SECTIONS[name][0])})")
        for text, name, read in CLAIMS
        if name in records
    ]
    before, rest = readme.split(CLAIMS_BEGIN)
    head = ("on two cores of a CPU", "measured", "details")
    return f"{before}{CLAIMS_BEGIN}\n\n{table(head, rows)}\n\n{CLAIMS_END}{rest.split(CLAIMS_END)[1]}"


def shown(record: Record) -> Record:
    """A result as it is shown: times taken while other programs ran are left out; predictions were not taken."""
    load = load_of(record)
    result: Record = record["result"]
    if load is None or load <= LOADED:
        return result
    return {name: part if name == "prediction" else without_times(part, name) for name, part in result.items()}


def load_of(record: Record) -> float | None:
    """What other programs did on the machine; None where nobody noted it."""
    load: float | None = record.get("load", record.get("load_before"))
    return load


def without_times(value: Any, name: str) -> Any:
    """A part of a result, with None for everything under names that say that it is a time."""
    if isinstance(value, dict):
        return {key: without_times(part, name if TIME.fullmatch(name) else key) for key, part in value.items()}
    if isinstance(value, list):
        return [without_times(part, name) for part in value]
    return None if TIME.fullmatch(name) else value


def load(folder: Path) -> dict[str, Record]:
    """The committed results, by name."""
    paths = {name: folder / f"{name}.json" for name in SECTIONS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def render(records: dict[str, Record], notes: str) -> dict[str, str]:
    """The page and its plots: contents by path below docs/."""
    parts = [INTRODUCTION]
    files = {}
    results = {name: shown(record) for name, record in records.items()}
    for name, (title, command, section) in SECTIONS.items():
        if name in records:
            parts += [f"## {title}", provenance(name, command, records[name]), *section(results[name])]
    if "eval" in records and (plot := eval_report.needle_maps(results["eval"])):
        files[f"{PLOTS}/needles.svg"] = plot
    if "bench" in records:
        files |= {f"{PLOTS}/{name}": svg for name, svg in bench_report.plots(results["bench"]).items()}
    parts += [notes.strip(), f"## {NOT_MEASURED}", "\n".join(not_measured(records)), reproduce()]
    return {PAGE: "\n\n".join(part for part in parts if part) + "\n", **files}


def provenance(name: str, command: str, record: Record) -> str:
    """Where a section's figures come from."""
    load = load_of(record)
    load_text = "load not noted" if load is None else f"load {load:.1f}"
    options = " ".join(["", *record["options"]])
    return (
        f"`{command}{options}`, {record['date'][:10]}, {load_text}; {machine_line(record['machine'])} "
        f"[results/{name}.json](../benchmarks/results/{name}.json)"
    )


def not_measured(records: dict[str, Record]) -> Iterator[str]:
    """What has no figures: systems, missing results, and what the runs left out."""
    machines = [record["machine"] for record in records.values()]
    if not any(machine.get("gpu") for machine in machines):
        yield "- CUDA: no result is from a machine with a GPU. Its code is there and its logic is tested on the CPU."
        yield (
            "- Several GPUs: never run. That layers, and what a cache keeps of them, can lie on two devices is tested "
            "on the CPU, with devices that pretend."
        )
    for prefix, system in (("Windows", "Windows"), ("macOS", "macOS")):
        if not any(machine["system"].startswith(prefix) for machine in machines):
            yield f"- {system}: no result is from it."
    yield "- `kiv.bat`: run [under Wine](windows.md), never on Windows."
    yield from never_run(records)
    for name, (title, command, _) in SECTIONS.items():
        if name not in records:
            yield f"- {title}: no committed result yet; `{command}`."
    if "eval" in records:
        yield from eval_report.left_out_lines(records["eval"]["result"])
    if "bench" in records:
        yield from bench_report.left_out_lines(records["bench"]["result"])


def never_run(records: dict[str, Record]) -> Iterator[str]:
    """What was left out of all runs, and what there is nothing of to run."""
    yield (
        "- Published models with their trained weights: none was ever run. The built-in model was made for this "
        "project; named models were run with random weights, at full width and with few layers."
    )
    for name in ("eval", "bench"):
        if "--quick" in records.get(name, {}).get("options", ()):
            yield f"- `./kiv {name}` in full: never run, only with `--quick`: {QUICK_LEAVES_OUT[name]}."
    if "2" not in records.get("mass", {}).get("result", {}).get("index_bits", ()):
        yield (
            "- Two-bit codes that rank alone, which is how the index is on a GPU (`codes2` of `./kiv eval`, `2` of "
            "`mass.py`): no committed accuracy."
        )
    yield "- The fit planner's times: never held against the reading and answering of a real model."
    yield (
        "- On a GPU: CUDA graphs, a search that reads codes as they are instead of unpacking them to 16 bit, "
        "selection that overlaps with other work, and a cache on the device for rows fetched recently: not built."
    )


def reproduce() -> str:
    """How to get all of it again."""
    return (
        "## How to reproduce\n\n"
        "`python benchmarks/run_all.py` runs everything above, one after another, and keeps each result with its "
        "machine and load; `--only eval bench` picks some. `python benchmarks/make_results.py` then writes this page."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something would change")
    options = parser.parse_args()
    records = load(HERE / "results")
    files = render(records, (HERE / "results" / "notes.md").read_text(encoding="utf-8"))
    files["../README.md"] = with_claims((DOCS.parent / "README.md").read_text(encoding="utf-8"), records)
    changed = []
    for name, content in files.items():
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            changed.append(name)
            if not options.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
    print(json.dumps({"changed": changed, "written": not options.check}))
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
