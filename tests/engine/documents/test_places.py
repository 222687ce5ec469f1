"""The map of a text: what is where, parts joined, and the way to bytes and back."""

import random

import pytest

from kiv_engine.documents.places import Place, Places
from kiv_engine.documents.text_builder import ParsedText, TextBuilder, UnreadableError


def sample() -> Places:
    places = Places()
    places.pages.append(0, 1)
    places.append_section(5, "One")
    places.rows.append(8, 3)
    places.pages.append(10, 2)
    places.lines.append(12, 7)
    places.append_section(15, "")
    return places


def test_every_character_knows_its_place() -> None:
    places = sample()
    assert places.at(0) == places.at(4) == Place(page=1)
    assert places.at(5) == Place(page=1, section="One")
    assert places.at(9) == Place(page=1, section="One", row=3)
    assert places.at(14) == Place(page=2, section="One", row=3, line=7)
    assert places.at(15) == places.at(9_999) == Place(page=2, row=3, line=7)
    assert Places().at(3) == Place()


def test_a_part_ends_where_page_section_or_row_do() -> None:
    places = sample()
    ends = [places.span(offset, 20) for offset in (0, 6, 8, 11, 12, 16)]
    assert ends == [(0, 5), (5, 8), (8, 10), (10, 15), (10, 15), (15, 20)]
    assert Places().span(3, 20) == (0, 20)


def test_spans_and_parts_agree() -> None:
    chance = random.Random(0)
    places = Places()
    for track in (places.pages, places.rows, places.sections):
        for start in sorted(chance.sample(range(200), 20)):
            track.append(start, len(track.starts) + 1)
    places.titles.extend(str(number) for number in range(30))
    for offset in range(200):
        start, end = places.span(offset, 200)
        same = [other for other in range(200) if places.part(other) == places.part(offset)]
        assert same == list(range(start, end))


def test_bytes_and_back() -> None:
    places = sample()
    assert Places.from_bytes(places.to_bytes()) == places
    assert Places.from_bytes(Places().to_bytes()) == Places()


def test_damaged_bytes_are_refused() -> None:
    data = sample().to_bytes()
    for cut in range(len(data)):
        with pytest.raises(ValueError, match=r"."):
            Places.from_bytes(data[:cut])
    with pytest.raises(ValueError, match="section that is not there"):
        Places.from_bytes(data[:-4] + b"\xff\x00\x00\x00")


def test_texts_are_joined_with_their_places() -> None:
    out = TextBuilder()
    out.add("head\n")
    out.include(ParsedText("0123456789abcdefghij", sample()), "file")
    out.add("tail")
    places = out.so_far().places
    assert places.at(4) == Place()
    assert places.at(5) == Place(page=1, section="file")
    assert places.at(5 + 9) == Place(page=1, section="file, One", row=3)
    assert places.at(5 + 19) == Place(page=2, section="file", row=3, line=7)
    assert places.at(5 + 20) == Place(section="file")


def test_what_is_added_is_cleaned() -> None:
    out = TextBuilder()
    out.add("a\r\nb\rc\x00\ud800\U0001f600")
    assert out.so_far().text == "a\nb\nc\ufffd\ufffd\U0001f600"
    assert out.length == len(out.so_far().text)


def test_blocks_are_parted_once() -> None:
    out = TextBuilder()
    out.end_block()
    out.add("one")
    for _ in range(3):
        out.end_block()
    out.add("two\n")
    out.end_block(0)
    out.add("three\n\n\n")
    out.end_block(2)
    assert out.so_far().text == "one\n\ntwo\nthree\n\n\n"


def test_titles_are_one_short_line() -> None:
    out = TextBuilder()
    out.begin_section("  a \n title " + "very " * 100)
    [title] = out.places.titles
    assert title.startswith("a title very")
    assert len(title) == 120


def test_no_text_is_no_document() -> None:
    with pytest.raises(UnreadableError, match="holds no text"):
        TextBuilder().finish("text")
