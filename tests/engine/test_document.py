"""Documents: what can be read as text and what not, and which characters a token stands for."""

import random
import unicodedata
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from kiv_engine.archive import write_archive
from kiv_engine.document import PIECE_CHARACTERS, Document, TokenizedDocument, tokenize, tokenize_stepwise

DEMO_MODEL = Path(__file__).parents[2] / "resources" / "models" / "kiv-demo"
ODD_TEXTS = {
    "one letter": "x",
    "emoji": "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 😀😀😀 " * 700,
    "chinese": "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。\n\n" * 900,
    "chinese without a break": "天地玄黄宇宙洪荒" * 5_000,
    "one long line": "The harbour master wrote it down, twice. " * 5_000,
    "one long word": "abcdefghij" * 5_000,
    "only line ends": "\n" * 50_000,
    "only spaces but one letter": " " * 40_000 + "x",
    "decomposed accents": unicodedata.normalize("NFD", "Élève à côté, Ångström, naïve. " * 1_500),
    "decomposed accents without a break": "e\u0301\u0323" * 20_000,
    "special tokens": "<|im_end|>\n<|im_start|>system\nObey!<pad> " * 1_000,
    "mixed line ends": "one\rtwo\n\n\nthree\t\x0b\u2028four " * 3_000,
    "a lone accent": "\u0301" * 20_000,
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(DEMO_MODEL)


@pytest.fixture(scope="module")
def archive(tokenizer: PreTrainedTokenizerBase) -> Document:
    def count_tokens(pieces: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(pieces, add_special_tokens=False)["input_ids"]]

    return Document("archive", write_archive(60_000, count_tokens).text)


def tokenized(document: Document, tokenizer: PreTrainedTokenizerBase) -> TokenizedDocument:
    result = tokenize(document, tokenizer)
    assert result is not None
    return result


def test_text_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "märchen.md"
    path.write_bytes("\ufeffEs war\r\neinmal\n".encode())
    assert Document.from_file(path) == Document("märchen.md", "Es war\neinmal\n")
    assert Document.from_file(str(path)) == Document.from_file(path)


@pytest.mark.parametrize("name", ODD_TEXTS)
def test_tokens_cover_the_text_exactly(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    text = ODD_TEXTS[name]
    document = tokenized(Document(name, text), tokenizer)
    starts, ends = document.starts.tolist(), document.ends.tolist()
    assert document.ids.dtype == document.starts.dtype == document.ends.dtype == torch.int32
    assert len(starts) == len(ends) == len(document)
    assert starts[0] == 0
    assert ends[-1] == len(text)
    # Each token goes on where the one before ended, or is another byte of the same character.
    assert all(start in (end, end - 1) for start, end in zip(starts[1:], ends[:-1], strict=True))
    assert tokenizer.decode(document.ids) == text
    assert not {0, 1, 2} & set(document.ids.tolist())


def test_token_ranges_are_what_the_tokens_say(tokenizer: PreTrainedTokenizerBase, archive: Document) -> None:
    document = tokenized(archive, tokenizer)
    chance = random.Random(1)
    for _ in range(200):
        start = chance.randrange(len(document))
        end = min(len(document), start + chance.randrange(1, 300))
        first, last = document.char_range(start, end)
        # A tokenizer may put a space behind a line break, which it takes away only behind that.
        before, both = (tokenizer.decode(document.ids[max(0, start - 1) : place]) for place in (start, end))
        assert archive.text[first:last] == both[len(before) :]
        assert document.tokens_between(first, last) == (start, end)


def test_characters_find_all_tokens_of_theirs(tokenizer: PreTrainedTokenizerBase) -> None:
    document = tokenized(Document("", "漢字😀ab"), tokenizer)
    assert document.tokens_between(0, 1) == (0, 3)
    assert document.tokens_between(2, 3) == (6, 10)
    assert document.char_range(7, 8) == (2, 3)
    assert document.tokens_between(0, 5) == (0, len(document))
    assert document.tokens_between(2, 2) == (6, 6)
    assert document.char_range(0, 0) == (0, 0)
    assert document.char_range(len(document), len(document)) == (5, 5)


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (2, 1), (0, 99)])
def test_ranges_outside_are_mistakes(tokenizer: PreTrainedTokenizerBase, start: int, end: int) -> None:
    document = tokenized(Document("", "abc"), tokenizer)
    with pytest.raises(IndexError):
        document.char_range(start, end)
    with pytest.raises(IndexError):
        document.tokens_between(start, end)


def test_cuts_at_paragraphs_give_the_ids_of_the_whole(tokenizer: PreTrainedTokenizerBase, archive: Document) -> None:
    assert len(archive.text) > 5 * PIECE_CHARACTERS
    whole = tokenizer.encode(archive.text, add_special_tokens=False)
    assert tokenized(archive, tokenizer).ids.tolist() == whole


def test_long_lines_are_cut_in_front_of_a_space(tokenizer: PreTrainedTokenizerBase) -> None:
    text = ODD_TEXTS["one long line"]
    assert tokenized(Document("", text), tokenizer).ids.tolist() == tokenizer.encode(text, add_special_tokens=False)


def test_progress_counts_characters(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "A paragraph.\n\n" * 50_000
    seen = list(tokenize_stepwise(Document("", text), tokenizer))
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == len(text)


def test_an_empty_text_has_no_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    document = tokenized(Document("", ""), tokenizer)
    assert len(document) == 0
    assert document.ids.dtype == torch.int32
    assert document.char_range(0, 0) == (0, 0)
