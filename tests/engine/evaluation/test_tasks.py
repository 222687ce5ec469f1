"""The document of an evaluation: every answer stands in it once, where it should, and plain reading finds it."""

import re
from collections import Counter

import pytest

from kiv_engine.errors import ConfigError
from kiv_engine.evaluation.haystack import Haystack, make_haystack
from kiv_engine.evaluation.tasks import HOPS, NEEDLE_TASKS, TASKS, Question, Size

DEPTHS = 4


def count_tokens(pieces: list[str]) -> list[int]:
    return [len(piece) // 4 + 1 for piece in pieces]


@pytest.fixture(scope="module", params=[4_096, 16_384])
def haystack(request: pytest.FixtureRequest) -> Haystack:
    return make_haystack(request.param, 3, DEPTHS, count_tokens)


def questions(haystack: Haystack, *tasks: str) -> list[Question]:
    found = [question for question in haystack.questions if question.task in tasks]
    assert {question.task for question in found} == set(tasks)
    return found


def value_of(text: str, key: str) -> str:
    """What stands behind the only occurrence of a key."""
    (value,) = re.findall(rf"{re.escape(key)} ?(?:is|:|=) ?([^\n.]+)", text)
    return value


def test_documents_have_the_length_asked_for_and_all_tasks(haystack: Haystack) -> None:
    (tokens,) = count_tokens([haystack.text])
    assert tokens == pytest.approx(haystack.length, rel=0.03)
    assert {question.task for question in haystack.questions} == set(TASKS)
    names = [question.name for question in haystack.questions]
    assert len(set(names)) == len(names)


def test_documents_are_the_same_each_time_and_differ_by_seed(haystack: Haystack) -> None:
    assert make_haystack(haystack.length, 3, DEPTHS, count_tokens) == haystack
    assert make_haystack(haystack.length, 4, DEPTHS, count_tokens).text != haystack.text


def test_each_needle_stands_once_and_at_its_depth(haystack: Haystack) -> None:
    for task in NEEDLE_TASKS:
        parts = []
        for question in questions(haystack, task):
            thing, person = re.fullmatch(r"What is the ([\w ]+) of ([\w ]+)\?", question.text).groups()  # type: ignore[union-attr]
            assert (value_of(haystack.text, f"The {thing} of {person}"),) == question.expected
            place = haystack.text.index(f"The {thing} of {person}") / len(haystack.text)
            assert place == pytest.approx(question.depth, abs=0.06)
            parts.append(int((question.depth or 0) * DEPTHS))
        assert parts == list(range(DEPTHS))


def test_near_needles_have_near_duplicates(haystack: Haystack) -> None:
    people = re.findall(r"The account number of (\w+) (\w+) is \d+\.", haystack.text)
    assert len(set(people)) == len(people)
    near = Size.of(haystack.length, DEPTHS).near
    for question in questions(haystack, "near"):
        first, last = question.text.rstrip("?").split()[-2:]
        assert sum(a == first or b == last for a, b in people) > near


def test_several_values_and_several_queries_are_all_there(haystack: Haystack) -> None:
    for question in questions(haystack, "values"):
        person = question.text.removeprefix("What are all the lottery numbers of ").rstrip("?")
        assert set(re.findall(rf"lottery numbers of {person} is (\d+)", haystack.text)) == set(question.expected)
    for question in questions(haystack, "queries"):
        people = re.split(", | and ", question.text.removeprefix("What are the ticket numbers of ").rstrip("?"))
        assert tuple(value_of(haystack.text, f"ticket number of {person}") for person in people) == question.expected


def test_books_hold_the_asked_entry_once(haystack: Haystack) -> None:
    entries = re.findall(r"^(\w+ \w+): (\d{7})$", haystack.text, re.MULTILINE)
    assert len(dict(entries)) == len(entries) == Size.of(haystack.length, DEPTHS).entries
    doubles = re.findall(r"^(\w+) (\w)\. (\w+): (\d{7})$", haystack.text, re.MULTILINE)
    assert set(Counter((first, last) for first, _, last, _ in doubles).values()) == {2}
    for question in questions(haystack, "phonebook", "namesakes"):
        name = question.text.partition(" number of ")[2].rstrip("?")
        assert (value_of(haystack.text, f"\n{name}"),) == question.expected


def test_lists_repeat_the_expected_words_most(haystack: Haystack) -> None:
    (common,) = questions(haystack, "common")
    listed = re.findall(r"\d+\. (\w+)", haystack.text.partition("The list of words: ")[2].partition("\n\n")[0])
    top = Counter(listed).most_common()
    assert {word for word, _ in top[:10]} == set(common.expected)
    assert top[9][1] > top[10][1]
    (frequent,) = questions(haystack, "frequent")
    coded = Counter(haystack.text.partition("The coded text: ")[2].partition("\n\n")[0].split()).most_common()
    assert tuple(word for word, _ in coded[:3]) == frequent.expected
    assert coded[2][1] > coded[3][1]


def test_variables_follow_from_the_assignments(haystack: Haystack) -> None:
    assigned = dict(re.findall(r"^VAR (\w+) = (.+)$", haystack.text, re.MULTILINE))

    def resolve(label: str) -> str:
        source = assigned[label]
        return resolve(source.removeprefix("VAR ")) if source.startswith("VAR ") else source

    for question in questions(haystack, "variables"):
        value = re.search(r"\d+", question.text)
        assert value is not None
        assert {label for label in assigned if resolve(label) == value[0]} == set(question.expected)
        assert len(question.expected) == HOPS + 1


def test_two_hops_lead_to_the_town(haystack: Haystack) -> None:
    for question in questions(haystack, "two-hop"):
        pupil = question.text.removeprefix("What is the home town of the teacher of ").rstrip("?")
        teacher = value_of(haystack.text, f"The teacher of {pupil}")
        assert (value_of(haystack.text, f"The home town of {teacher}"),) == question.expected


def test_quotes_go_on_as_the_document_does(haystack: Haystack) -> None:
    for question in questions(haystack, "quote"):
        quoted = question.text.partition("“")[2].rstrip("”?")
        _, following = haystack.text.split(quoted)
        assert " ".join(following.split()[:8]) == question.expected[0]


def test_a_part_counts_only_as_a_whole_word() -> None:
    question = Question("common", 0, "?", ("oak", "12 May 1801"))
    assert question.found("OAK, on 12  May\n1801.") == (True, True)
    assert question.found("oaken; 112 May 1801") == (False, False)


@pytest.mark.parametrize(("length", "depths", "says"), [(4_095, 1, "at least 4,096"), (4_096, 20, "leave no room")])
def test_what_has_no_room_is_refused(length: int, depths: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_haystack(length, 0, depths, lambda pieces: [len(piece) for piece in pieces])
