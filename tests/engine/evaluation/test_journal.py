"""The journal: what was written is taken up again, and nothing else."""

from pathlib import Path

import pytest

from kiv_engine.evaluation.journal import Journal, ResultsError

HEADER = {"model": "tiny"}


def record(question: str, *, everything: bool = False) -> dict[str, object]:
    return {"document": "d", "entrant": "full", "question": question, "everything": everything, "found": [True]}


def opened(folder: Path, header: dict[str, str] = HEADER) -> Journal:
    journal = Journal(folder)
    journal.open(header)
    return journal


def test_answers_and_readings_come_back(tmp_path: Path) -> None:
    journal = opened(tmp_path / "new" / "folder")
    journal.add(record("a"))
    journal.add({"document": "d", "entrant": "full", "tokens": 5, "seconds": 1.0})
    journal.close()
    again = opened(tmp_path / "new" / "folder")
    assert again.answers == {("d", "full", "a", False): record("a")}
    assert again.readings[("d", "full")]["tokens"] == 5
    assert list(again.answers_of("d", "full", True)) == []
    again.close()


def test_a_line_left_half_is_asked_again(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.add(record("a"))
    journal.add(record("b"))
    journal.close()
    path = tmp_path / "answers.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    again = opened(tmp_path)
    assert [key[2] for key in again.answers] == ["a"]
    again.add(record("c"))
    again.close()
    last = opened(tmp_path)
    assert [key[2] for key in last.answers] == ["a", "c"]
    last.close()


def test_another_model_and_a_strange_folder_are_refused(tmp_path: Path) -> None:
    opened(tmp_path / "run").close()
    with pytest.raises(ResultsError, match="another model"):
        opened(tmp_path / "run", {"model": "other"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ResultsError, match="holds other files"):
        opened(tmp_path / "mine")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultsError, match="cannot take the results"):
        opened(tmp_path / "file")
