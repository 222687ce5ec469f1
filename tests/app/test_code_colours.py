"""Code in an answer: what its words are. In the order of the lines, counted as Qt counts."""

from collections.abc import Iterator

import pytest

from app.code_colours import ColouredCode, Kind, colour_code

PYTHON = 'def f(x):\n    """Two\n    lines."""\n    return x + 41  # why\n'


def words_of(code: ColouredCode) -> Iterator[tuple[str, Kind]]:
    """The coloured words."""
    for line, spans in zip(code.text.split("\n"), code.lines, strict=False):
        units = line.encode("utf-16-le", "surrogatepass")
        for span in spans:
            word = units[2 * span.start : 2 * (span.start + span.length)]
            yield word.decode("utf-16-le", "surrogatepass"), span.kind


def test_words_are_told_apart_line_by_line() -> None:
    [code] = colour_code(f"Look:\n\n```python\n{PYTHON}```\n\nThat is all.")
    assert code.text == PYTHON.rstrip("\n")
    assert len(code.lines) == len(code.text.split("\n"))
    words = list(words_of(code))
    for word in (("def", "keyword"), ("f", "name"), ("41", "number"), ("# why", "comment"), ("return", "keyword")):
        assert word in words
    assert [word for word, kind in words if kind == "string" and "lines" in word], "a text over two lines is in both"


def test_letters_of_two_units_do_not_shift_what_follows() -> None:
    [code] = colour_code("```python\na = '🪿🪿'; b = 7\n```")
    assert ("7", "number") in list(words_of(code))


@pytest.mark.parametrize(
    ("markdown", "texts"),
    [
        ("no code", []),
        ("```\nplain\n```", []),
        ("```nonsense-language\nx\n```", []),
        ("- item\n  ```js\n  var x = 1;\n  ```\n", ["var x = 1;"]),
        ("~~~sql\nselect 1\n~~~\n```py\nx\n```", ["select 1", "x"]),
        ("```py\nnot ended", ["not ended"]),
        ("````py\n```\n````", ["```"]),
        ("```py\na = 1\n    ```\nb = 2\n```", ["a = 1\n    ```\nb = 2"]),
        ("Say ```py x``` and:\n```py\ny\n```", ["y"]),
        ("- ```py\n  if x:\n      y()\n  ```\n", ["if x:\n    y()"]),
        ("> ```py\n> a > 1\n> ```\n", ["a > 1"]),
        ("  ```py\n> x\n  ```", ["> x"]),
        ("```py\n" + "x\n" * 60_000 + "```", []),
    ],
)
def test_blocks_are_found(markdown: str, texts: list[str]) -> None:
    assert [code.text for code in colour_code(markdown)] == texts
