"""Numbers as people read them."""

import pytest

from app.figures import as_pace


@pytest.mark.parametrize(
    ("tokens_per_s", "words"),
    [(92.0, "69 words a second"), (2.0, "2 words a second"), (0.4, "a word in 3 s"), (0.01, "a word in 2 min")],
)
def test_a_pace_is_told_in_words(tokens_per_s: float, words: str) -> None:
    assert as_pace(tokens_per_s) == words
