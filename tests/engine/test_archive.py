"""The sample archive: exact length, exact facts, the same bytes every time."""

import hashlib
import re
from itertools import pairwise
from pathlib import Path

import pytest

from kiv_engine.archive import Archive, CountTokens, absent_questions, write_archive
from kiv_engine.errors import ConfigError

DEMO_MODEL = Path(__file__).parents[2] / "resources" / "models" / "kiv-demo"


def count_words(pieces: list[str]) -> list[int]:
    """Four tokens for three words, rounded up."""
    return [-(-4 * len(piece.split()) // 3) for piece in pieces]


def count_letters(pieces: list[str]) -> list[int]:
    """One token a character: the longest any tokenizer makes of plain text."""
    return [len(piece) for piece in pieces]


def paragraphs(archive: Archive) -> list[str]:
    """The archive's paragraphs without its headings."""
    return [block for block in archive.text.split("\n\n") if not is_heading(block)]


def is_heading(block: str) -> bool:
    return re.match(r"THE ARCHIVE|Being the minutes|VOLUME \d+: |Chapter \d+\. ", block) is not None


@pytest.fixture(scope="module")
def archive() -> Archive:
    return write_archive(120_000, count_words)


def test_same_seed_and_size_give_the_same_archive(archive: Archive) -> None:
    assert write_archive(120_000, count_words) == archive


def test_other_seed_gives_another_archive() -> None:
    first, second = (write_archive(2_000, count_words, seed) for seed in (1, 2))
    assert first.text != second.text
    assert (first.seed, second.seed) == (1, 2)


def test_bytes_do_not_depend_on_the_platform() -> None:
    text = write_archive(3_000, count_words, seed=7).text
    assert text.isascii()
    # Whoever changes the words or the grammar changes this, too.
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "6b322f8666d590cda9031c94475f1ffad37ec8cb52dd44dae11db8a98f7e334b"
    )


@pytest.mark.parametrize("shorter", [500, 3_000, 20_000])
def test_longer_archive_begins_with_the_shorter_one(archive: Archive, shorter: int) -> None:
    short = write_archive(shorter, count_words)
    kept, _ = short.text.rsplit("\n\n", 1)
    assert archive.text.startswith(kept)
    facts = [fact for fact in short.facts if fact.end <= len(kept)]
    assert facts == list(archive.facts[: len(facts)])
    assert len(short.facts) - len(facts) <= 1


@pytest.mark.parametrize("count_tokens", [count_words, count_letters])
@pytest.mark.parametrize("num_tokens", [2_000, 2_001, 4_096, 5_432, 9_999, 32_768, 60_000])
def test_length_is_at_most_one_percent_under(num_tokens: int, count_tokens: CountTokens) -> None:
    [tokens] = count_tokens([write_archive(num_tokens, count_tokens).text])
    assert num_tokens * 0.99 <= tokens <= num_tokens


@pytest.mark.parametrize("num_tokens", range(200, 1_400, 37))
def test_short_archives_are_never_over(num_tokens: int) -> None:
    archive = write_archive(num_tokens, count_words)
    [tokens] = count_words([archive.text])
    assert num_tokens * 0.9 <= tokens <= num_tokens
    assert archive.facts


def test_facts_stand_where_they_say(archive: Archive) -> None:
    for fact in archive.facts:
        assert archive.text[fact.start : fact.end] == fact.sentence
        assert fact.value in fact.sentence
        assert fact.subject.lower() in fact.sentence.lower()
        assert fact.subject.lower() in fact.question.lower()
        assert fact.value not in fact.question
    assert all(fact.end < after.start for fact, after in pairwise(archive.facts))


def test_every_question_has_one_answer(archive: Archive) -> None:
    assert len({(fact.subject, fact.attribute) for fact in archive.facts}) == len(archive.facts)
    assert len({fact.question for fact in archive.facts}) == len(archive.facts)


def test_a_subject_is_named_only_in_its_own_facts(archive: Archive) -> None:
    text = archive.text.lower()
    for subject in {fact.subject for fact in archive.facts[::7]}:
        name = re.compile(rf"\b{re.escape(subject.lower())}\b")
        own = [fact.sentence.lower() for fact in archive.facts if fact.subject == subject]
        assert len(name.findall(text)) == sum(len(name.findall(sentence)) for sentence in own)


def test_about_one_fact_in_four_is_plain(archive: Archive) -> None:
    plain = [fact for fact in archive.facts if fact.sentence.startswith("By the way, ")]
    assert 0.2 < len(plain) / len(archive.facts) < 0.35
    for fact in plain:
        verb = "are" if fact.attribute == "opening hours" else "is"
        assert fact.sentence == f"By the way, {fact.subject}'s {fact.attribute} {verb} {fact.value}."
        assert fact.question == f"What {verb} {fact.subject}'s {fact.attribute}?"


def test_there_are_near_duplicates(archive: Archive) -> None:
    subjects = [fact.subject for fact in archive.facts]
    assert len(set(subjects)) < 0.95 * len(subjects)
    pairs = {(fact.attribute, fact.subject) for fact in archive.facts}
    first_names = [(attribute, subject.split()[0]) for attribute, subject in pairs if " the " not in subject]
    assert len(set(first_names)) < len(first_names)


@pytest.mark.parametrize(
    "kind",
    [
        r"[A-Z][a-z]+ \d+",  # a date
        r"[A-Z]{2}-\d{4}",  # a code
        r"\d{4,5}",  # a combination
        r"\d{2,3}",  # a number
        r"\d+ (pounds|feet|fathoms)",
        r"\d+ crowns( and \d+ pence)?",
        r"[A-Z][a-z]+ [A-Z][a-z]+",  # a name
        r"[a-z]+ [a-z]+ [a-z]+",  # a password
        r"from [a-z ]+ to [a-z ]+",  # hours
        r"the [a-z]+ [A-Z][a-z]+day of the month",
        r"\S+ [a-z]+ of [a-zA-Z' ]+",  # goods
    ],
)
def test_values_are_of_many_kinds(archive: Archive, kind: str) -> None:
    assert sum(re.fullmatch(kind, fact.value) is not None for fact in archive.facts) >= 3


def test_every_part_of_the_text_has_facts(archive: Archive) -> None:
    tenth = len(archive.text) / 10
    per_tenth = [0] * 10
    for fact in archive.facts:
        per_tenth[int(fact.start / tenth)] += 1
    assert min(per_tenth) > 0.8 * len(archive.facts) / 10
    assert max(after.start - fact.end for fact, after in pairwise(archive.facts)) < 3_000


def test_paragraphs_are_distinct_and_of_readable_size(archive: Archive) -> None:
    written = paragraphs(archive)
    assert len(set(written)) == len(written)
    assert all(300 <= len(paragraph) <= 900 for paragraph in written[:-1])
    assert "\n" not in "".join(written)


def test_headings_are_distinct(archive: Archive) -> None:
    headings = [block for block in archive.text.split("\n\n") if is_heading(block)]
    assert len(set(headings)) == len(headings)
    assert any(heading.startswith("VOLUME 2: ") for heading in headings)


@pytest.mark.parametrize(
    "slip",
    [
        r"[{}|]",  # a slot or list that was left open
        r"  |[,;.]{2}| [,;.?!]",  # spacing
        r"[.?!] [a-z]",  # a sentence without its capital
        r"\b[Aa] (?!one)[aeiou]",
        r"\b[Aa]n (?!hour)[^aeiouAEIOU]",
        r"\b([a-z]+) \1\b",  # a word twice
    ],
)
def test_text_is_clean(archive: Archive, slip: str) -> None:
    assert [match.group() for match in re.finditer(slip, archive.text)] == []


def test_absent_questions_name_nothing_in_the_archive(archive: Archive) -> None:
    questions = absent_questions(archive, 50)
    assert len(set(questions)) == 50
    assert questions == absent_questions(archive, 50)
    assert questions != absent_questions(archive, 50, seed=1)
    assert not set(questions) & {fact.question for fact in archive.facts}
    subjects = {fact.subject for fact in archive.facts}
    assert not [each for each in questions for subject in subjects if re.search(rf"\b{re.escape(subject)}\b", each)]


@pytest.mark.parametrize("num_tokens", [199, 0, -1])
def test_too_short_is_refused(num_tokens: int) -> None:
    with pytest.raises(ConfigError, match="at least 200 tokens"):
        write_archive(num_tokens, count_words)


def test_tokenizer_that_cannot_hold_a_sentence_is_refused() -> None:
    with pytest.raises(ConfigError, match="first sentence"):
        write_archive(200, count_letters)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed"):
        write_archive(1_000, count_words, seed=-1)


@pytest.mark.skipif(not DEMO_MODEL.exists(), reason="the demo model is not here")
@pytest.mark.parametrize("num_tokens", [2_000, 20_000])
def test_length_with_the_demo_tokenizer(num_tokens: int) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)

    def count_tokens(pieces: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(pieces, add_special_tokens=False)["input_ids"]]

    archive = write_archive(num_tokens, count_tokens)
    [tokens] = count_tokens([archive.text])
    assert num_tokens * 0.99 <= tokens <= num_tokens
    assert num_tokens / 450 < len(archive.facts) < num_tokens / 250
