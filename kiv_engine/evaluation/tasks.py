"""What is asked of a long document: the sentences planted in it, the questions, and when an answer is right.

The task definitions are RULER's (arXiv:2404.06654) where it has them; names, texts and code are our own. All tasks are
planted in one document, so that it is read once.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kiv_engine.evaluation.names import WORDS, Draw

NEEDLE_TASKS: Final = ("digits", "words", "dates", "near")
"""Asked at every depth: the heat map's tasks."""

SCATTERED: Final = ("common", "frequent")
"""What is counted over a long stretch, and stands nowhere by itself."""

VALUES: Final = 4
"""Values of one key in "values", and keys of one question in "queries"."""

HOPS: Final = 4
"""Assignments behind a chain's first in "variables"."""

COMMON: Final = 10
FREQUENT: Final = 3
PAGE_ENTRIES: Final = 20
ASKED_IN_BOOK: Final = 4
BOOK_SIZES: Final = (20, 200, 1_000, 10_000)
QUOTE_BEFORE: Final = 12
QUOTE_AFTER: Final = 8


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        task: name of the task.
        number: which of the task's questions in this document.
        text: what is asked.
        expected: what the answer must hold, each part verbatim but for case and spaces.
        depth: share of the document before what it asks for, where that is one place.
    """

    task: str
    number: int
    text: str
    expected: tuple[str, ...]
    depth: float | None = None

    @property
    def name(self) -> str:
        return f"{self.task}-{self.number}"

    def found(self, answer: str) -> tuple[bool, ...]:
        """Which parts an answer holds, as whole words."""
        plain = _plain(answer)
        return tuple(re.search(rf"(?<!\w){re.escape(_plain(part))}(?!\w)", plain) is not None for part in self.expected)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


@dataclass(frozen=True)
class Paragraph:
    """A paragraph to be put into the document, about so far into it (0 to 1).

    Attributes:
        large: it is part of something long, which goes in before the short ones, so that their depths come out right.
    """

    depth: float
    text: str
    large: bool = False


@dataclass(frozen=True)
class Size:
    """How much is planted in a document.

    Attributes:
        tokens: length of the whole document.
        num_depths: a needle of every kind goes into each of so many equal parts of the document.
        near: near-duplicates of each needle of "near".
        entries: names in the phone book; the directory of namesakes has half as many.
        listed: words in each list of words, about.
    """

    tokens: int
    num_depths: int
    near: int
    entries: int
    listed: int

    @classmethod
    def of(cls, tokens: int, num_depths: int) -> "Size":
        """What fits: an entry of a book has 10 to 20 tokens, and the book about a third of the document at most."""
        entries = max(size for size in BOOK_SIZES if size == BOOK_SIZES[0] or size * 20 <= tokens / 3)
        return cls(
            tokens=tokens,
            num_depths=num_depths,
            near=max(2, min(20, tokens // (400 * num_depths))),
            entries=entries,
            listed=max(60, min(1_000, tokens // 60)),
        )

    def depths(self, rng: random.Random) -> list[float]:
        """A place in every part."""
        return [(part + rng.random()) / self.num_depths for part in range(self.num_depths)]


@dataclass(frozen=True)
class Material:
    """Paragraphs to plant and what to ask about them."""

    paragraphs: list[Paragraph]
    questions: list[Question]


Maker = Callable[[Draw, Size], Material]


# -- needles -----------------------------------------------------------------------------------------------------------


def _needles(task: str, thing: str, value: Callable[[Draw], str]) -> Maker:
    """One fact at every depth."""

    def make(draw: Draw, size: Size) -> Material:
        paragraphs, questions = [], []
        for number, depth in enumerate(size.depths(draw.rng)):
            person, what = draw.person(), value(draw)
            paragraphs.append(Paragraph(depth, f"The {thing} of {person} is {what}."))
            questions.append(Question(task, number, f"What is the {thing} of {person}?", (what,), depth))
        return Material(paragraphs, questions)

    return make


def near(draw: Draw, size: Size) -> Material:
    """Like digits, among facts of the same kind about people of half the same name (RULER's multi-key)."""
    paragraphs, questions = [], []
    for number, depth in enumerate(size.depths(draw.rng)):
        person, value = draw.person(), draw.number()
        paragraphs.append(Paragraph(depth, f"The account number of {person} is {value}."))
        for other in draw.namesakes(person, size.near):
            paragraphs.append(Paragraph(draw.rng.random(), f"The account number of {other} is {draw.number()}."))
        questions.append(Question("near", number, f"What is the account number of {person}?", (value,), depth))
    return Material(paragraphs, questions)


def values(draw: Draw, size: Size) -> Material:
    """All values of one key, which stand in different places (RULER's multi-value)."""
    paragraphs, questions = [], []
    for number in range(2):
        person = draw.person()
        some = tuple(draw.number() for _ in range(VALUES))
        paragraphs += [
            Paragraph(draw.rng.random(), f"One of the lottery numbers of {person} is {one}.") for one in some
        ]
        questions.append(Question("values", number, f"What are all the lottery numbers of {person}?", some))
    return Material(paragraphs, questions)


def queries(draw: Draw, size: Size) -> Material:
    """One question about several keys (RULER's multi-query)."""
    paragraphs, questions = [], []
    for number in range(2):
        people = [draw.person() for _ in range(VALUES)]
        some = tuple(draw.number() for _ in people)
        paragraphs += [
            Paragraph(draw.rng.random(), f"The ticket number of {person} is {one}.")
            for person, one in zip(people, some, strict=True)
        ]
        listed = f"{', '.join(people[:-1])} and {people[-1]}"
        questions.append(Question("queries", number, f"What are the ticket numbers of {listed}?", some))
    return Material(paragraphs, questions)


# -- lists -------------------------------------------------------------------------------------------------------------


def phonebook(draw: Draw, size: Size) -> Material:
    """A number in a long list of names, no two of which are the same."""
    names = [draw.person() for _ in range(size.entries)]
    return _book("phonebook", "The telephone book", names, draw)


def namesakes(draw: Draw, size: Size) -> Material:
    """The same where every entry shares first name and surname with another, and differs by the initial between."""
    names = []
    for _ in range(size.entries // 4):
        first, last = draw.person().split()
        names += [f"{first} {initial}. {last}" for initial in draw.rng.sample("ABCDEFGHJKLMNPRSTW", 2)]
    draw.rng.shuffle(names)
    return _book("namesakes", "The directory of the old town", names, draw)


def _book(task: str, title: str, names: list[str], draw: Draw) -> Material:
    numbers = [draw.number(7) for _ in names]
    lines = [f"{name}: {number}" for name, number in zip(names, numbers, strict=True)]
    what = "telephone number" if task == "phonebook" else "directory number"
    asked = draw.rng.sample(range(len(names)), ASKED_IN_BOOK)
    questions = [
        Question(task, place, f"What is the {what} of {names[entry]}?", (numbers[entry],))
        for place, entry in enumerate(asked)
    ]
    depth = draw.rng.uniform(0.1, 0.6)
    pages = [lines[first : first + PAGE_ENTRIES] for first in range(0, len(lines), PAGE_ENTRIES)]
    paragraphs = [
        Paragraph(depth, "\n".join([f"{title}, page {page}:", *some]), large=True) for page, some in enumerate(pages, 1)
    ]
    return Material(paragraphs, questions)


def common(draw: Draw, size: Size) -> Material:
    """The ten words that a list repeats most (RULER's common words)."""
    times = max(4, min(30, size.listed * 6 // (10 * COMMON)))
    rare_times = max(1, times // 10)
    some = draw.rng.sample(WORDS, min(len(WORDS), COMMON + size.listed * 4 // (10 * rare_times)))
    often, rare = some[:COMMON], some[COMMON:]
    listed = often * times + rare * rare_times
    draw.rng.shuffle(listed)
    text = "The list of words: " + " ".join(f"{place}. {word}" for place, word in enumerate(listed, 1))
    question = f"What are the {COMMON} most common words in the list of words?"
    return Material(
        [Paragraph(draw.rng.uniform(0.1, 0.9), text, large=True)], [Question("common", 0, question, tuple(often))]
    )


def frequent(draw: Draw, size: Size) -> Material:
    """The three most frequent words of a coded text, whose n-th word is 1/n**2 as frequent (RULER's frequent words)."""
    first = size.listed * 6 / 10
    counts = [max(1, int(first / rank**2)) for rank in range(1, 1 + max(8, size.listed // 20))]
    coded = [draw.coded() for _ in counts]
    listed = [word for word, times in zip(coded, counts, strict=True) for _ in range(times)]
    draw.rng.shuffle(listed)
    question = f"What are the {FREQUENT} most frequent words in the coded text?"
    return Material(
        [Paragraph(draw.rng.uniform(0.1, 0.9), "The coded text: " + " ".join(listed), large=True)],
        [Question("frequent", 0, question, tuple(coded[:FREQUENT]))],
    )


# -- several steps -----------------------------------------------------------------------------------------------------


def variables(draw: Draw, size: Size) -> Material:
    """All variables of a chain of assignments, beside other chains (RULER's variable tracking)."""
    paragraphs, questions = [], []
    for number in range(3):
        chain, value = [draw.label() for _ in range(HOPS + 1)], draw.number(5)
        places = sorted(draw.rng.random() for _ in chain)
        sources = [value, *(f"VAR {label}" for label in chain)]
        paragraphs += [
            Paragraph(place, f"VAR {label} = {source}")
            for place, label, source in zip(places, chain, sources[:-1], strict=True)
        ]
        if number < 2:
            text = f"Which variables are assigned the value {value}, directly or through other variables?"
            questions.append(Question("variables", number, text, tuple(chain)))
    return Material(paragraphs, questions)


def two_hop(draw: Draw, size: Size) -> Material:
    """A fact about a person whom another fact names."""
    paragraphs, questions = [], []
    for number, town in enumerate(draw.towns(4)):
        pupil, teacher = draw.person(), draw.person()
        paragraphs.append(Paragraph(draw.rng.random(), f"The teacher of {pupil} is {teacher}."))
        paragraphs.append(Paragraph(draw.rng.random(), f"The home town of {teacher} is {town}."))
        questions.append(Question("two-hop", number, f"What is the home town of the teacher of {pupil}?", (town,)))
    return Material(paragraphs, questions)


def quotes(rng: random.Random, prose: str, text: str, count: int) -> list[Question]:
    """What follows twelve words of the prose that stand in the whole text only once."""
    questions: list[Question] = []
    pattern = re.compile(rf"((?:[^\s\"“”]+ ){{{QUOTE_BEFORE}}})((?:[^\s\"“”]+ ){{{QUOTE_AFTER}}})")
    for _ in range(100 * count):
        match = pattern.match(prose, prose.find(" ", rng.randrange(len(prose))) + 1)
        if match and text.count(match[1]) == 1:
            ask = f"Which {QUOTE_AFTER} words follow “{match[1].strip()}”?"
            depth = text.index(match[0]) / len(text)
            questions.append(Question("quote", len(questions), ask, (match[2].strip(),), depth))
        if len(questions) == count:
            break
    return questions


MAKERS: Final[dict[str, Maker]] = {
    "digits": _needles("digits", "locker number", Draw.number),
    "words": _needles("words", "pass phrase", Draw.words),
    "dates": _needles("dates", "wedding day", Draw.date),
    "near": near,
    "values": values,
    "queries": queries,
    "phonebook": phonebook,
    "namesakes": namesakes,
    "variables": variables,
    "common": common,
    "frequent": frequent,
    "two-hop": two_hop,
}
TASKS: Final = (*MAKERS, "quote")
NUM_QUOTES: Final = 5
