"""Blocks for display against the text itself."""

import random
import sys

from app.document_text import BLOCK_CHARACTERS, DocumentText, fold


def sample(seed: int) -> str:
    rng = random.Random(seed)
    return "".join(
        rng.choice(["a", " ", "\n", "🪿", "é", "word ", "\r", "\u2029"]) for _ in range(rng.randrange(5_000))
    )


def test_blocks_are_the_text() -> None:
    for seed in range(20):
        text = sample(seed) + "x" * (seed * 500)
        cut = DocumentText.cut("name", text)
        ends = [*cut.starts[1:], len(text)]
        assert "".join(text[start:end] for start, end in zip(cut.starts, ends, strict=True)) == text
        assert all(len(cut.block(number)) <= BLOCK_CHARACTERS for number in range(cut.num_blocks))


def test_every_character_is_found_in_its_block() -> None:
    text = sample(3)
    cut = DocumentText.cut("name", text)
    for offset in range(len(text)):
        number = cut.block_at(offset)
        shown = cut.block(number).encode("utf-16-le")
        unit = cut.units_before(offset)
        assert cut.offset_at(number, unit) == offset
        letter = shown[2 * unit :].decode("utf-16-le")[:1]
        assert letter == ("" if text[offset] == "\n" else " " if text[offset] in "\r\u2029" else text[offset])


def test_long_lines_are_cut_at_blanks() -> None:
    cut = DocumentText.cut("name", "word " * 1_000)
    assert all(cut.block(number).startswith("word") for number in range(cut.num_blocks - 1))


def test_an_empty_text_is_one_block() -> None:
    assert DocumentText.cut("name", "").num_blocks == 1


def test_a_text_for_searching_is_as_long_and_finds_small_and_large_letters() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    assert [letter for letter in every if len(fold(letter)) != 1] == []
    assert fold("ÄRGER\xa0im Haus") == fold("ärger im HAUS") == "ärger im haus"
