"""What was measured beside what was planned: kept after reading, shown by `kiv fit`, and never in the way."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kiv_engine import Engine, cli, records
from kiv_engine.records import Record, keep, measure, read_records

OLDER = {
    "model": "a/b", "quantize": "none", "device": "cpu", "tokens": 9, "planned_weights": 1, "weights": 1,
    "planned_ram": 820_000_000, "ram": 1_150_000_000,
}  # fmt: skip
"""A record of the whole process beside a plan without window and documents."""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "below" / "measured.json"
    monkeypatch.setattr(records, "records_file", lambda: path)
    return path


def test_reading_keeps_a_record_that_fit_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", "archive:8000", "-q", "Who?", "--max-new-tokens", "1", "--device", "cpu"]) == 0
    record = read_records()["demo", "none"]
    assert record.weights == pytest.approx(record.planned_weights, rel=0.01)
    assert record.tokens >= 8_000
    assert record.ram > record.weights
    assert record.ram == pytest.approx(record.planned_ram, rel=0.01), "the same things are counted"
    assert record.program_ram > record.ram + 100e6, "Python and PyTorch"
    assert (record.planned_vram, record.vram) == (0, 0)
    capsys.readouterr()
    assert cli.main(["fit", "demo", "--ram", "16"]) == 0
    assert f"When it was last used, weights in full: {record.sentence}." in capsys.readouterr().out


def test_an_opened_context_is_planned_without_the_rows_that_stay_in_its_files(tmp_path: Path) -> None:
    saved = str(tmp_path / "saved")
    asked = ["ask", "archive:8000", "-q", "Who?", "--max-new-tokens", "1", "--device", "cpu"]
    assert cli.main([*asked, "--save", saved]) == 0
    engine = Engine.load(device="cpu")
    context = engine.open_context(saved)
    try:
        record = measure(engine.loaded, engine.options, context)
    finally:
        context.close()
    assert record.ram == pytest.approx(record.planned_ram, rel=0.05)


def test_the_newest_record_of_a_model_and_its_weights_counts() -> None:
    old = Record("a/b", "4bit", "cpu", 10, 1, 1, 2, 2, 3)
    new = Record("a/b", "4bit", "cuda", 40_000, 1, 1, 2, 2, 1_500_000_000, 3_000_000_000, 3_100_000_000)
    other = Record("a/b", "none", "cpu", 40_000, 1, 1, 4_900_000_000, 4_910_000_000, 5_400_000_000)
    for record in (old, other, new):
        keep(record)
    assert read_records() == {("a/b", "4bit"): new, ("a/b", "none"): other}
    assert new.sentence == (
        "the model and 40,000 tokens took 3.10 GB of VRAM (predicted 3.00), the whole program 1.50 GB of RAM"
    )
    told = "the model and 40,000 tokens took 4.91 GB of RAM (predicted 4.90), the whole program 5.40 GB"
    assert other.sentence == told
    timed = replace(other, read_tokens_per_s=3_150.0)
    assert timed.sentence == f"{told}; 3,150 tokens were read a second"
    assert replace(timed, planned_read_tokens_per_s=2_900.0).sentence == f"{timed.sentence} (predicted 2,900)"


def test_a_rate_stays_until_another_is_measured_on_the_same_device() -> None:
    timed = Record("a/b", "none", "cpu", 9_000, 1, 1, 1, 1, 1, read_tokens_per_s=80.0)
    untimed = replace(timed, tokens=12, read_tokens_per_s=0.0)
    for record, rate in (
        (untimed, 0.0),
        (timed, 80.0),
        (untimed, 80.0),
        (replace(timed, read_tokens_per_s=90.0), 90.0),
        (replace(untimed, device="cuda"), 0.0),
    ):
        keep(record)
        assert read_records()["a/b", "none"] == replace(record, read_tokens_per_s=rate)
    planned = replace(timed, planned_read_tokens_per_s=70.0)
    for record in (planned, timed):  # what the next reading is expected to take is told by this one, not estimated anew
        keep(record)
        assert read_records()["a/b", "none"] == planned


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", '{"records": 3}', '{"records": [{"model": "a"}]}', f"[{json.dumps(OLDER)}]"]
)
def test_a_damaged_or_older_file_is_no_record(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    assert read_records() == {}
    keep(Record("a/b", "none", "cpu", 1, 1, 1, 1, 1, 1))
    assert len(read_records()) == 1


def test_where_nothing_can_be_written_nothing_is_kept(file: Path) -> None:
    file.parent.write_text("in the way")
    keep(Record("a/b", "none", "cpu", 1, 1, 1, 1, 1, 1))
    assert read_records() == {}
