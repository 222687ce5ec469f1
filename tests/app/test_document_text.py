"""Blocks for display against the text itself."""

import random
import re
import sys
import textwrap

import pytest

from app.document_text import BLOCK_CHARACTERS, BLOCK_PAIRS, UNBROKEN_CHARACTERS, DocumentText, fold
from kiv_engine.documents.places import Places


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
    cut = DocumentText.cut("name", "word " * BLOCK_CHARACTERS)
    assert cut.num_blocks > 4
    assert all(cut.block(number).startswith("word") for number in range(cut.num_blocks - 1))


def test_a_paragraph_that_a_person_wrote_is_one_block() -> None:
    paragraph = "The goose was counted at noon, and again at night. " * 190
    assert DocumentText.cut("name", f"{paragraph}\n\n{paragraph}").shown(0, 1) == paragraph


@pytest.mark.parametrize(
    "sentence", ["The goose (41 of them) said “No.” ", "鹅在中午被清点。", "Is it 4.5 or e.g. four? "]
)
def test_very_long_lines_are_cut_where_a_sentence_ends(sentence: str) -> None:
    cut = DocumentText.cut("name", sentence * (5 * BLOCK_CHARACTERS // len(sentence)))
    ends = {cut.block(number).rstrip()[-2:] for number in range(cut.num_blocks - 1)}
    assert cut.num_blocks > 4
    assert ends == {sentence.rstrip()[-2:]}


def test_letters_without_a_blank_are_cut_sooner() -> None:
    cut = DocumentText.cut("name", "A line of words. " + "x" * 3 * BLOCK_CHARACTERS)
    assert cut.block(0) == "A line of words. "
    assert max(len(cut.block(number)) for number in range(1, cut.num_blocks - 6)) == UNBROKEN_CHARACTERS


@pytest.mark.parametrize("text", ["🪿", "🪿 ", "👍🏽🎉 ", "A goose 🪿. "])
def test_blocks_of_emoji_are_short(text: str) -> None:
    """Qt looks a place up by going through its block; pairs of UTF-16 cost it tens of times as much."""
    cut = DocumentText.cut("name", text * 5_000)
    blocks = [cut.block(number) for number in range(cut.num_blocks)]
    assert max(sum(letter > "\uffff" for letter in block) for block in blocks) <= BLOCK_PAIRS
    assert all(len(block) > BLOCK_PAIRS // 4 for block in blocks[:-1]), "and not in crumbs"


def test_a_few_emoji_do_not_break_a_paragraph() -> None:
    paragraph = "The goose 🪿 was counted at noon, and again at night, and it was still one goose. " * 40
    assert DocumentText.cut("name", paragraph).num_blocks == 1


def test_an_empty_text_is_one_block() -> None:
    assert DocumentText.cut("name", "").num_blocks == 1


def test_a_text_for_searching_is_as_long_and_finds_small_and_large_letters() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    assert [letter for letter in every if len(fold(letter)) != 1] == []
    assert fold("ÄRGER\xa0im Haus") == fold("ärger im HAUS") == "ärger im haus"


PROSE = (
    "It had rained since the morning, and nobody in the village remembered such an autumn. Old Marisol Hathaway sat by "
    'the window with 12 letters in her lap. "They will not come today," she said, "nor tomorrow." The miller, whose '
    "name was Quentin, had lost the key of the barn, and everything took longer than anybody had thought possible."
)
LINES = (
    "We need more apples of the old barn by the river,\npears\nplums of the mill\n",
    "def add(one: int, other: int, another: int, carry: int) -> int:\n    total = one + other\n    return total\n",
    "- a well that nobody has looked into since last May\n- a goose, if somebody can find one before it is\n- a boat\n",
    "error: the boat of the miller was not at its usual place\nwarning: a goose\nerror: the barn has no key\n",
    "The tide goes out, the tide comes in,\nand nobody has seen it;\nThe sand is white, the sand is thin,\n",
)


@pytest.mark.parametrize("width", [56, 72, 80, 100])
def test_wrapped_prose_flows_and_every_offset_stays(width: int) -> None:
    text = f"A heading\n\n{textwrap.fill(PROSE, width)}\n\n{LINES[0]}"
    cut = DocumentText.cut("name", text)
    assert [cut.block(number) for number in range(2, 4)] == [PROSE, ""]
    assert cut.folded.replace("\n", " ") == fold(text).replace("\n", " ")
    assert cut.folded.index("the miller, whose name was quentin") == re.search(r"The\smiller,", text).start()  # type: ignore[union-attr]
    for offset in range(len(text)):
        assert cut.offset_at(cut.block_at(offset), cut.units_before(offset)) == offset


@pytest.mark.parametrize("lines", LINES)
def test_lines_that_were_not_wrapped_stay(lines: str) -> None:
    cut = DocumentText.cut("name", lines)
    assert cut.shown(0, cut.num_blocks) == lines


def test_lines_that_have_numbers_stay() -> None:
    places = Places()
    places.lines.append(0, 1)
    text = textwrap.fill(PROSE, 72)
    assert DocumentText.cut("name", text, places).shown(0, 5) == text
