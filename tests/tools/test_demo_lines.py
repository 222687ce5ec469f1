"""The built-in model's tokenizer reads wrapped prose as if it were not wrapped, and leaves all other lines."""

import random
import textwrap

import pytest
from demo_lines import FULL_LINE, read_lines
from tokenizers import Tokenizer
from train_demo_model import MODEL, TOKENIZER_FILES

PROSE = (
    "It had rained since the morning, and nobody in the village remembered such an autumn. Old Marisol Hathaway sat by "
    'the window with 12 letters in her lap. "They will not come today," she said, "nor tomorrow." The miller, whose '
    "name was Quentin, had lost the key of the barn on May 18; it was found in the well in 1847, when Isolde's brother "
    "looked for the bucket that the goat had pushed over the edge. So everything took longer than anybody had thought."
)
LINES = (
    "",
    "We need:\napples of the barn\npears\nplums of the old mill\n",
    "name: kettle\nsize: 12\n- well\n- goose\n\n\n",
    "def add(one: int, other: int) -> int:\n    total = one + other\n\n    return total\n\n\nx = 1\n",
    "\tTab\n x\n  y \n\n   z\n \n",
    "The tide goes out, the tide comes in,\nand nobody has seen it;\nThe sand is white, the sand is thin,\n",
    "1. Open the box that stands in the corner behind the door.\n2. Take the kettle out of it before anybody sees.\n",
    "Xaver zog um\nÜber Berge\nÉtienne y va\n漢字\nzebra\nqueue\n",
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(MODEL / "tokenizer.json"))


def test_the_shipped_tokenizer_is_the_one_that_the_tool_makes(tokenizer: Tokenizer) -> None:
    made = Tokenizer.from_file(str(MODEL / TOKENIZER_FILES[0]))
    read_lines(made)
    assert made.to_str() == tokenizer.to_str()


@pytest.mark.parametrize("width", [56, 60, 72, 80, 100, 120])
def test_wrapped_prose_has_the_tokens_of_what_is_not_wrapped(tokenizer: Tokenizer, width: int) -> None:
    wrapped = textwrap.fill(PROSE, width)
    assert wrapped.count("\n") >= 3
    assert tokenizer.encode(f"{wrapped}\n\n{wrapped}").ids == tokenizer.encode(f"{PROSE}\n\n{PROSE}").ids


@pytest.mark.parametrize("text", LINES)
def test_lines_that_are_not_wrapped_stay(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_any_mixture_of_short_lines_stays(tokenizer: Tokenizer) -> None:
    chance = random.Random(1)
    for _ in range(300):
        text = "".join(chance.choice(("a", "X", "1", ".", " ", "\n", "-", "é", "\t")) for _ in range(FULL_LINE - 1))
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_word_has_the_same_tokens_at_a_line_s_beginning(tokenizer: Tokenizer) -> None:
    for word in ("Quentin", "harbour", "What", '"So', "12", "-"):
        assert tokenizer.encode(f"It was\n{word}").tokens[3:] == tokenizer.encode(f" {word}").tokens


def test_every_token_tells_which_characters_it_stands_for(tokenizer: Tokenizer) -> None:
    text = f"{textwrap.fill(PROSE, 72)}\n\n{LINES[2]}"
    encoded = tokenizer.encode(text)
    for token, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
        assert tokenizer.decode([token]).strip() == text[start:end].strip()
