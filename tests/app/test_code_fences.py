"""Neighbouring blocks of code in Markdown get different fences, and nothing else of the text changes."""

import pytest

from app.code_fences import code_spans, tell_apart


@pytest.mark.parametrize(
    ("markdown", "told_apart"),
    [
        ("```\na\n```\n```\nb\n```", "```\na\n```\n~~~\nb\n~~~"),
        ("```py\na\n```\n\n```py\nb\n```\n\n```py\nc\n```", "```py\na\n```\n\n~~~py\nb\n~~~\n\n```py\nc\n```"),
        ("~~~\na\n~~~\n~~~\nb\n~~~\n", "~~~\na\n~~~\n```\nb\n```\n"),
        ("```\na\n```\n```\n~~~~\n```", "```\na\n```\n~~~~~\n~~~~\n~~~~~"),
        ("```\na\n```\n```\n```\n```\nb\n```", "```\na\n```\n```\n```\n~~~\nb\n~~~"),
        ("```\na\n```\n```\nb", "```\na\n```\n~~~\nb"),
        ("- ```\n  a\n  ```\n- ```\n  b\n  ```", "- ```\n  a\n  ```\n- ~~~\n  b\n  ~~~"),
        ("1. ```\n   a\n      ```\n   ```\n   b\n   ```", "1. ```\n   a\n      ```\n   ~~~\n   b\n   ~~~"),
        ("````\na\n```\n````\n```\nb\n````", "````\na\n```\n````\n~~~\nb\n~~~"),
    ],
)
def test_neighbours_are_told_apart(markdown: str, told_apart: str) -> None:
    assert tell_apart(markdown) == told_apart


@pytest.mark.parametrize(
    "markdown",
    [
        "",
        "```\na\n```\n\nText.\n\n```\nb\n```\n",
        "```\na\n```\n~~~\nb\n~~~",
        "~~~\na\n~~~\n~~~ a`b\nb\n~~~",
        "```\n~~~\n~~~\n~~~\n~~~\n```",
        "```\ndef f():\n    ```\n\n    ```\n    a\n```\n",
        "```\na\n\t```\n\t```\nb\n```",
        "Say ```a``` and ```b```.\n```a``` b\n```c```",
        "\r\n\n  \t```",
    ],
)
def test_what_has_no_neighbour_stays_as_it_is(markdown: str) -> None:
    assert tell_apart(markdown) == markdown


def test_blocks_are_found_with_their_fences_and_one_without_an_end_too() -> None:
    text = "Say:\n```py\na\n```\nand ```b```\n- ~~~\n  c\n  ~~~\n~~~~\nd"
    assert [text[start:end] for start, end in code_spans(text)] == ["```py\na\n```\n", "- ~~~\n  c\n  ~~~\n", "~~~~\nd"]
    assert code_spans("") == []
