"""Sections of a document: no gap, no section too long, and cuts where a reader would make them."""

from functools import cache
from itertools import pairwise

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from kiv_engine.document import Document, TokenizedDocument, tokenize
from kiv_engine.documents.places import Places
from kiv_engine.model_folder import DEMO_FOLDER
from kiv_engine.sections import cut_sections


@cache
def demo_tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(DEMO_FOLDER)


def tokenized(text: str, places: Places | None = None) -> TokenizedDocument:
    return tokenize(Document("a", text, places or Places()), demo_tokenizer())


TEXTS = {
    "paragraphs": "A goose was counted. It was noon.\n\n" * 60,
    "lines": "one line after another\n" * 90,
    "one line": "word " * 400,
    "one word": "x" * 700,
    "letters of many bytes": "🪿鵝 " * 120,
    "short": "Hello.",
    "empty": "",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("size", [8, 64, 10_000])
def test_sections_follow_each_other_without_a_gap(name: str, size: int) -> None:
    document = tokenized(TEXTS[name])
    sections = list(cut_sections(document, len(document), size))
    assert sum(section.tokens for section in sections) == len(document)
    assert all(0 < section.tokens <= size for section in sections)
    assert all(before.end >= after.start for before, after in pairwise(sections))
    assert "".join(TEXTS[name][section.start : section.end] for section in sections) == TEXTS[name]


def test_a_cut_is_made_behind_a_paragraph() -> None:
    document = tokenized(TEXTS["paragraphs"])
    sections = list(cut_sections(document, len(document), 64))
    assert len(sections) > 5
    assert all(document.document.text[: section.end].endswith("\n\n") for section in sections)


def test_a_cut_is_made_where_a_chapter_begins_and_its_title_is_told() -> None:
    text, places = "".join(f"Chapter {n}. {'Geese, geese. ' * 12}\n\n" for n in range(6)), Places()
    starts = [text.index(f"Chapter {n}.") for n in range(6)]
    for number, start in enumerate(starts):
        places.append_section(start, f"The {number}")
    document = tokenized(text, places)
    size = round(1.4 * len(document) / 6)
    sections = list(cut_sections(document, len(document), size))
    assert [section.start for section in sections] == starts
    assert [section.title for section in sections] == [f"The {number}" for number in range(6)]


def test_only_what_was_read_is_cut() -> None:
    document = tokenized(TEXTS["paragraphs"])
    assert sum(section.tokens for section in cut_sections(document, 100, 64)) == 100
