"""Quotes and numbers of an answer against the documents' text."""

import pytest

from app import quote_check
from app.quote_check import MAX_CLAIMS, Place, check_claims

BOOK = 'He paid 1,250 crowns\nfor the "Second Bishop" on 7 May 1503. The price was 12.50. Captain Anna Thornwick.'
NOTES = "The Second  Bishop sank. 1503 was a bad year. Berth LX-7900."

LISTED = {"1503": True, "12.50": True, "12": False, "7": True}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The document says Captain Anna Thornwick.", {"Captain Anna Thornwick": True}),
        ("The document says: Captain Anna Thornwick.", {"Captain Anna Thornwick": True}),
        ("The document says: that, and nothing else.", {"that, and nothing else": False}),
        ("The document says captain anna thornwick.", {"captain anna thornwick": False}),
        ("The document goes on: for the crowns", {"for the crowns": False}),
        ("The document goes on: 1,250 crowns for the", {"1,250 crowns for the": True}),
        ("The document says nothing about geese.", {}),
        ("It was “Captain Anna”, said «Second Bishop».", {"Captain Anna": True, "Second Bishop": True}),
        ("It was “so, «or so, „Captain Anna“, «Second Bishop».", {"Captain Anna": True, "Second Bishop": True}),
        ('He said "paid 1,251 crowns".', {"paid 1,251 crowns": False, "1,251": False}),
        ("It cost 250 crowns in 1503, or 12.5 %.", {"250": False, "1503": True, "12.5 %": False}),
        ("It cost 12.50 on day 7, 7 days later; 50 more.", {"12.50": True, "7": True, "50": False}),
        ("1. First.\n2) Second.\n   3. **Third**\n\n### 4. In 1503\n\n**5.** 12.50 or 12\n1503 crowns. 7.", LISTED),
        ('In 1503:\n```python\nprint("Anna", 42)\n```\n7 times.\n~~~\n8', {"1503": True, "7": True}),
        ('```python\n"""\n    ```\n    x = 41\n    ```\n"""\n```\n- ~~~\n  42\n  ~~~\n7', {"7": True}),
        ("```Anna``` paid in 1503.\n\n12.50 in all, or 12.", {"1503": True, "12.50": True, "12": False}),
        (
            "He said:\n\n> Captain Anna Thornwick.\n> The price\n>\n> – Anna\n> - a list",
            {"Captain Anna Thornwick": True, "The price": True},
        ),
        ('> "The price was 12.60."', {"The price was 12.60": False, "12.60": False}),
        ("Berth LX-7900, or LX-7901, of 1502-1503.", {"LX-7900": True, "LX-7901": False, "1502": False, "1503": True}),
        ('No claims at all, nor is "a" one. B2B, x9.', {}),
    ],
)
def test_claims(answer: str, expected: dict[str, bool]) -> None:
    claims = check_claims(answer, [BOOK, NOTES])
    assert {claim.text: claim.place is not None for claim in claims} == expected
    for claim in claims:
        assert answer[claim.start : claim.end] == claim.text
        if claim.place is not None:
            there = [BOOK, NOTES][claim.place.document][claim.place.start : claim.place.end]
            assert there.split() == claim.text.split()


@pytest.mark.parametrize("marks", ["“”", "«»", "„“", '""'])
def test_a_mark_is_followed_to_the_next_of_its_kind_and_no_further(marks: str) -> None:
    """So that a text is gone through once for each kind of marks, however many of them nothing closes."""
    opens, closes = marks
    assert quote_check._QUOTED.match(f"{opens}Captain Anna{closes}")
    further = quote_check._QUOTED.match(f"{opens}some{opens}Captain Anna{closes}")
    assert further is None or further.end() == len(f"{opens}some{opens}")


def test_a_passage_is_looked_at_first() -> None:
    likely = [Place(1, 0, len(NOTES))]
    assert check_claims("In 1503.", [BOOK, NOTES], likely)[0].place == Place(1, 25, 29)
    assert check_claims("In 1503.", [BOOK, NOTES])[0].place == Place(0, BOOK.index("1503"), BOOK.index("1503") + 4)


def test_claims_are_in_order_and_not_too_many() -> None:
    answer = " ".join(f'{number} "word {number}"' for number in range(100, 130))
    claims = check_claims(answer, [BOOK])
    assert len(claims) == MAX_CLAIMS
    assert [claim.start for claim in claims] == sorted(claim.start for claim in claims)


def test_no_more_is_looked_up_than_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, answer = [], " ".join(map(str, range(100, 130)))
    monkeypatch.setattr(quote_check, "_find", lambda text, *_where: looked.append(text))
    check_claims(answer, [BOOK])
    assert looked == answer.split()[:MAX_CLAIMS]
    claims = check_claims(answer, [BOOK], (), lambda: len(looked) == MAX_CLAIMS + 3)
    assert [claim.text for claim in claims] == answer.split()[:3]


def test_without_documents_nothing_is_found() -> None:
    assert [claim.place for claim in check_claims("It was 1503.", [])] == [None]


class Counted(int):
    """A place that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) < int(other)

    def __ge__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) >= int(other)


def test_spans_and_blocks_of_code_are_passed_once() -> None:
    blocks = [(start, start + 5) for start in range(3, 10_000, 10)]
    spans = [(Counted(start), start + 1) for start in range(10_020)]
    expected = [start for start in range(10_020) if start >= 10_000 or not 3 <= start % 10 < 8]
    assert [start for start, _end in quote_check._outside(blocks, spans)] == expected
    assert Counted.compared <= 2 * len(spans) + len(blocks)


def test_numbers_around_and_in_code_are_told_apart() -> None:
    answer = "1\n```\n2\n```\n3\n```\n4\n```\n5\n"
    assert [claim.text for claim in check_claims(answer, [BOOK])] == ["1", "3", "5"]
