"""`kiv eval` on a tiny random model: files, resumption, bad input, and figures worked out by hand."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kiv_engine.evaluation import figures
from kiv_engine.evaluation.readers import BY_NAME, Answer, KIVReader
from kiv_engine.terminal import StopFlag

pytestmark = pytest.mark.usefixtures("one_thread", "online")

SMALL = ("--lengths", "4096", "--seeds", "1", "--depths", "2", "--tasks", "digits,quote", "--peers", "window,sinks")
Kiv = Callable[..., tuple[int, str, str]]
PageOf = Callable[[str, dict[str, Any]], str]


def last_line(out: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(out.splitlines()[-1])
    return line


def test_a_run_ends_with_a_table_and_a_json_line_and_is_not_repeated(
    kiv: Kiv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    code, printed, _ = kiv("eval", *SMALL, "--out", out)
    assert code == 0
    assert printed.startswith("| tokens | cache |")
    line = last_line(printed)
    assert line["complete"]
    rows = line["lengths"]["4096"]
    assert rows["window"]["questions"] == rows["sinks"]["questions"] == 7
    assert {path.name for path in out.iterdir()} == {
        "run.json", "answers.jsonl", "report.json", "report.md", "needles.svg",
    }  # fmt: skip
    assert len((out / "answers.jsonl").read_text().splitlines()) == 2 + 7 * 3
    svg = ElementTree.parse(out / "needles.svg").getroot()
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}rect"))) == 1 + 3 * 2
    assert "| 4,096 | digits | 2 |" in (out / "report.md").read_text()

    def forbidden(*_arguments: object) -> None:
        raise AssertionError("a document was read again")

    monkeypatch.setattr(KIVReader, "read", forbidden)
    code, printed, _ = kiv("eval", *SMALL, "--out", out, "--json")
    assert code == 0
    assert printed.count("\n") == 1
    assert last_line(printed)["lengths"] == line["lengths"]


def test_a_stopped_run_goes_on_where_it_stopped(kiv: Kiv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = KIVReader.ask

    def ask_and_note(reader: KIVReader, question: str, *arguments: Any, **options: Any) -> Any:
        asked.append(question)
        return ask(reader, question, *arguments, **options)

    monkeypatch.setattr(KIVReader, "ask", ask_and_note)
    with monkeypatch.context() as patched:
        patched.setattr(StopFlag, "__call__", lambda _self: len(asked) >= 5)
        code, printed, _ = kiv("eval", *SMALL, "--out", tmp_path / "out")
    assert code == 130
    assert not last_line(printed)["complete"]
    assert len(asked) == 5
    code, printed, _ = kiv("eval", *SMALL, "--out", tmp_path / "out")
    assert code == 0
    assert last_line(printed)["complete"]
    assert len(asked) == 14


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tasks", "chess"), "tasks is 'chess'"),
        (("--lengths", "12"), "lengths is 12"),
        (("--lengths", "many"), "lengths is 'many'"),
        (("--peers", "nobody"), "peers is 'nobody'"),
        (("--seeds", "0"), "seeds is 0"),
        (("--depths", "99"), "depths is 99"),
        (("--tasks", ","), "must each name at least one"),
        (("--lengths", ",", "--peers", "sinks"), "must each name at least one"),
        (("--out", "/dev/null/x"), "cannot take the results"),
    ],
)
def test_bad_input_is_told_in_one_line(kiv: Kiv, arguments: tuple[str, ...], says: str) -> None:
    code, out, err = kiv("eval", "--lengths", "4096", "--out", "/dev/null/x", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_what_is_not_run_says_why(kiv: Kiv, page_of: PageOf, tmp_path: Path) -> None:
    short = ("--lengths", "4096", "--seeds", "1", "--tasks", "digits", "--depths", "1")
    code, printed, err = kiv("eval", *short, "--peers", "offloaded,sinks", "--out", tmp_path)
    assert code == 0
    assert "offloaded: not run; offloading needs a CUDA device" in err
    assert last_line(printed)["left_out"][0]["peer"] == "offloaded"
    assert "CUDA" in (tmp_path / "report.md").read_text()
    assert "about one document are not independent" in (tmp_path / "report.md").read_text()
    page = page_of("eval", json.loads((tmp_path / "report.json").read_text()))
    assert "- DynamicCache with offloading: offloading needs a CUDA device" in page
    assert "| 4,096 | sliding window with sinks |" in page
    assert "results/needles.svg" in page


def answer(question: str, *found: bool, depth: float = 0.1) -> dict[str, Any]:
    return {
        "document": "d", "question": question, "task": "digits", "depth": depth, "found": list(found),
        "answer": question, "first_token_s": 0.5, "token_s": 0.1 if len(found) > 1 else None,
    }  # fmt: skip


def test_agreement_counts_only_what_the_ceiling_found() -> None:
    default = [answer("a", True, False), answer("b", True, True), answer("c", False, False)]
    everything = [answer("a", True, True), answer("b", False, True), answer("c", False, False)]
    row = figures.summarize(default, everything)
    assert row["rate"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert row["ceiling"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert (row["ceiling_parts"], row["agreement"]) == (3, pytest.approx(2 / 3))
    nothing = figures.summarize([answer("c", False)], [answer("c", False)])
    assert nothing["agreement"] is None
    assert (row["token_s"], nothing["token_s"]) == (0.1, None)


def test_what_passages_hold_is_counted_beside_what_is_answered(
    kiv: Kiv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny model answers nothing right; its passages are replaced by the document's first half."""
    ask = KIVReader.ask

    def ask_with_half(reader: KIVReader, *arguments: Any, **options: Any) -> Answer:
        answer = ask(reader, *arguments, **options)
        text = reader._context.documents[0].tokens.document.text
        assert answer.passages is None if options["everything"] else answer.passages
        return answer if options["everything"] else replace(answer, passages=(text[: len(text) // 2],))

    monkeypatch.setattr(KIVReader, "ask", ask_with_half)
    options = ("--lengths", "4096", "--seeds", "1", "--depths", "2", "--peers", "sparse,sinks")
    code, printed, _ = kiv("eval", *options, "--tasks", "digits,common", "--out", tmp_path)
    assert code == 0
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    shown = {
        (line["entrant"], line["everything"], line["question"]): line["shown"] for line in lines if "question" in line
    }
    assert shown["sparse", False, "digits-0"] == [True]
    assert shown["sparse", False, "digits-1"] == [False]
    assert {each for key, each in shown.items() if key[1] or key[0] == "sinks" or key[2] == "common-0"} == {None}
    rows = json.loads((tmp_path / "report.json").read_text())["lengths"]["4096"]
    assert (rows["sparse"]["all"]["rate"], rows["sparse"]["all"]["shown"]) == (0.0, 0.5)
    assert rows["sparse"]["tasks"]["digits"]["shown"] == 0.5
    assert rows["sparse"]["tasks"]["common"]["shown"] is None
    assert rows["sinks"]["all"]["shown"] is None
    assert "| 4,096 | digits | 2 | – | – |" in (tmp_path / "report.md").read_text()  # the default here is exact
    assert " | 0.50 | 0.00 | – |" in printed


def test_depths_are_told_apart() -> None:
    records = [answer("a", True, depth=0.1), answer("b", False, depth=0.2), answer("c", True, depth=0.9)]
    assert figures.by_depth(records, 4) == [0.5, None, None, 1.0]


def test_an_interval_holds_its_rate() -> None:
    low, high = figures.wilson(9, 10)
    assert (round(low, 3), round(high, 3)) == (0.596, 0.982)


def test_every_cache_has_a_label_of_its_own() -> None:
    assert len({entrant.label for entrant in BY_NAME.values()}) == len(BY_NAME)


def test_what_does_not_fit_is_left_out_and_the_rest_goes_on(
    kiv: Kiv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiv_engine.footprint.Footprint.tokens_that_fit", lambda _self: 100)
    code, printed, err = kiv("eval", *SMALL, "--out", tmp_path / "out")
    assert code == 0
    assert "window at 4,096 tokens: not run; The document has" in err
    line = last_line(printed)
    assert set(line["lengths"]["4096"]) == {"sinks"}
    assert [each["peer"] for each in line["left_out"]] == ["window"]


def test_any_other_failure_ends_the_run_with_what_was_answered(
    kiv: Kiv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("the moon is full")

    monkeypatch.setattr(KIVReader, "ask", fail)
    code, out, err = kiv("eval", *SMALL, "--out", tmp_path / "out")
    assert (code, out) == (1, "")
    assert "kiv: RuntimeError: the moon is full" in err
    assert '"tokens"' in (tmp_path / "out" / "answers.jsonl").read_text()
