"""What was measured beside what was planned: kept after reading, shown by `kiv fit`, and never in the way."""

from dataclasses import replace
from pathlib import Path

import pytest

from kiv_engine import cli, records
from kiv_engine.records import Record, keep, read_records

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "below" / "measured.json"
    monkeypatch.setattr(records, "records_file", lambda: path)
    return path


def test_reading_keeps_a_record_that_fit_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ask", "archive:5000", "-q", "Who?", "--max-new-tokens", "1", "--device", "cpu"]) == 0
    record = read_records()["demo", "none"]
    assert record.weights == pytest.approx(record.planned_weights, rel=0.01)
    assert record.tokens >= 5_000
    assert record.ram > record.weights
    assert (record.planned_vram, record.vram) == (0, 0)
    assert record.planned_ram > 400e6
    capsys.readouterr()
    assert cli.main(["fit", "demo", "--ram", "16"]) == 0
    assert f"When it was last used, weights in full: {record.sentence}." in capsys.readouterr().out


def test_the_newest_record_of_a_model_and_its_weights_counts() -> None:
    old = Record("a/b", "4bit", "cpu", 10, 1, 1, 2, 2)
    new = Record("a/b", "4bit", "cuda", 40_000, 1, 1, 2, 2, 3_000_000_000, 3_100_000_000)
    other = Record("a/b", "none", "cpu", 40_000, 1, 1, 4_900_000_000, 5_100_000_000)
    for record in (old, other, new):
        keep(record)
    assert read_records() == {("a/b", "4bit"): new, ("a/b", "none"): other}
    assert new.sentence == "predicted 3.00 GB of VRAM, measured 3.10 GB, with 40,000 tokens"
    assert other.sentence == "predicted 4.90 GB of RAM, measured 5.10 GB, with 40,000 tokens"


def test_a_rate_stays_until_another_is_measured_on_the_same_device() -> None:
    timed = Record("a/b", "none", "cpu", 9_000, 1, 1, 1, 1, read_tokens_per_s=80.0)
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


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"model": "a"}]', "null"])
def test_a_damaged_file_is_no_record(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    assert read_records() == {}
    keep(Record("a/b", "none", "cpu", 1, 1, 1, 1, 1))
    assert len(read_records()) == 1


def test_where_nothing_can_be_written_nothing_is_kept(file: Path) -> None:
    file.parent.write_text("in the way")
    keep(Record("a/b", "none", "cpu", 1, 1, 1, 1, 1))
    assert read_records() == {}
