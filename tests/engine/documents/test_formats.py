"""Every format as real programs write it: its text in order, and the place of each part."""

from pathlib import Path

import pytest

from kiv_engine.documents.limits import Limits
from kiv_engine.documents.text_builder import ParsedText
from kiv_engine.documents.worker import parse
from tests.engine.documents.writers import NEEDLE, SAMPLES, Sample

BY_NAME = {sample.name: sample for sample in SAMPLES}


def read(folder: Path, name: str) -> ParsedText:
    path = BY_NAME[name].write(folder / name)
    return parse(path.read_bytes(), name, Limits())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_needle_is_found_at_its_place(tmp_path: Path, sample: Sample) -> None:
    parsed = read(tmp_path, sample.name)
    assert parsed.kind == sample.kind
    assert parsed.text.count(NEEDLE) == 1
    for offset in (0, len(NEEDLE) - 1):
        assert parsed.places.at(parsed.text.index(NEEDLE) + offset) == sample.place


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample.name not in ("town.eml", "town.py")],
                         ids=lambda sample: sample.name)  # fmt: skip
def test_a_wrong_name_does_not_matter_where_the_content_tells(tmp_path: Path, sample: Sample) -> None:
    path = sample.write(tmp_path / sample.name)
    parsed = parse(path.read_bytes(), "thing.pdf", Limits())
    assert NEEDLE in parsed.text
    if sample.kind in ("PDF", "DOCX", "EPUB", "ODT", "RTF", "PPTX", "XLSX", "HTML"):
        assert parsed.kind == sample.kind
