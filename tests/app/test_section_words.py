"""What became of the sections: a sentence for each thing, and the numbers of all that have no text."""

import pytest

from app.figures import as_ranges
from app.reports import SectionProgress
from app.section_words import section_line, with_sections


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        (SectionProgress(25, 25), ""),
        (SectionProgress(25, 25, (*range(1, 8), *range(9, 25))), "Nothing found in 23 of 25 sections (1–7, 9–24)."),
        (SectionProgress(25, 25, tuple(range(1, 26))), "Nothing found in any of the 25 sections."),
        (SectionProgress(25, 0), "Read to the end: 0 of 25 sections."),
        (SectionProgress(25, 2, (1, 2)), "Read to the end: 2 of 25 sections. Nothing found in 2 of them (1–2)."),
        (
            SectionProgress(9, 9, (3,), ((1, (2, 4, 5)), (6, (8,)))),
            "Nothing found in 1 of 9 sections (3). The answer of section 1 came again in 3 of 9 sections (2, 4–5). "
            "The answer of section 6 came again in 1 of 9 sections (8).",
        ),
    ],
)
def test_the_line_accounts_for_every_section_without_text(sections: SectionProgress, line: str) -> None:
    assert with_sections("", sections) == line
    assert with_sections("Geese.", sections) == (f"Geese.\n\n---\n\n{line}" if line else "Geese.")


def test_an_answer_that_was_not_asked_for_by_section_is_left_as_it_is() -> None:
    assert with_sections(" Geese.\n", None) == " Geese.\n"


def test_the_line_on_the_way_tells_what_was_not_found() -> None:
    assert section_line(SectionProgress(25, 7)) == "Section 8 of 25; Esc stops"
    assert section_line(SectionProgress(25, 7, (1, 5))) == "Section 8 of 25, nothing found in 2 so far; Esc stops"
    assert section_line(SectionProgress(25, 25)) == "Section 25 of 25; Esc stops"


@pytest.mark.parametrize(
    ("numbers", "text"), [((), ""), ((4,), "4"), ((1, 2), "1–2"), ((1, 3, 4, 5, 999, 1_000), "1, 3–5, 999–1000")]
)
def test_numbers_that_follow_each_other_are_one_range(numbers: tuple[int, ...], text: str) -> None:
    assert as_ranges(numbers) == text
