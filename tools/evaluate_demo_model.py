"""Measure what the built-in model can do: facts, near-duplicates, quotes and absence, by length of the document.

    python tools/evaluate_demo_model.py BOOK.txt [--model demo|FOLDER] [--lengths 4096,65536,1000000]
        [--layout joined|printed|wrapped] [--cases 200] [--long-cases 50] [--everything] [--json-out FILE]

The haystack is the given text, prose that the model was not trained on: with its lines joined, as it is printed, or
with a line break every 72 characters, as many books and letters are stored. Facts are put between its sentences, in
phrasings, about names and with values that the training generator does not have; every case is asked through the
engine from a context that read its document once. With --everything each case is asked again with every cold token
retrieved, that is, with exact attention. The archive's own facts, and questions about what is not in it, are measured
beside them. In documents of up to 100,000 tokens, so are facts about people with a title or an initial ("Dr.
Pemberton", "Gideon J. Whitlock"), which are asked for once more behind a sentence that is no question, and questions
about such people who are nowhere, and about subjects with two facts each: a question is followed by one that says "his"
or "its" of the other fact, or of what is nowhere, or that names another subject ("And foundry 182?").
Rates are shown with their 95 % Wilson intervals, which are too narrow where cases of one document go wrong together.
"""

import argparse
import json
import math
import random
import re
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from demo_data import split_words

from kiv_engine import Engine, KIVConfig, SamplingConfig
from kiv_engine.archive import absent_questions, write_archive
from kiv_engine.context import Context
from kiv_engine.document import Document
from kiv_engine.evaluation.figures import wilson
from kiv_engine.evaluation.readers import EVERYTHING
from kiv_engine.events import AnswerFinished, Failed

NEAR_GROUP: Final = 21
FACTS_PER_SHORT_DOCUMENT: Final = 20
SHORT: Final = 8192
TOKENS_PER_FACT: Final = 32
QUOTE_WORDS: Final = 8
REFUSAL: Final = "do not find"
LAYOUTS: Final = ("joined", "printed", "wrapped")
LINE_WIDTH: Final = 72
PARAGRAPH_BREAK: Final = re.compile(r"\s*\n\s*\n\s*")

FIRST_NAMES: Final = split_words(
    "Amaury|Birgitta|Cosmo|Delphine|Evander|Fenella|Gideon|Halcyon|Isolde|Jasper|Kestrel|Leopold|Marisol|Nerys|"
    "Octavia|Percival|Quentin|Rosalba|Sylvester|Tabitha|Ulysses|Valentina|Winifred|Xiomara|Yolanda|Zebulon|"
    "Ambrose|Clementine"
)
SURNAMES: Final = split_words(
    "Abernathy|Bellweather|Cavendish|Duquesne|Eastlake|Fairbanks|Galloway|Hathaway|Ishikawa|Jankowski|Kowalczyk|"
    "Lindqvist|Montague|Nakamura|Oyelaran|Pemberton|Quesada|Rasmussen|Sutherland|Thackeray|Underhill|Vandermeer|"
    "Whitlock"
)
PLACES: Final = split_words(
    "pump|kennel|silo|greenhouse|foundry|quarry|observatory|bakery|smithy|turbine|ferryboat|pavilion"
)
VALUE_WORDS: Final = split_words(
    "walnut|comet|ladder|violet|anvil|pepper|glacier|ribbon|tiger|marble|lantern|saffron|thistle|copper|meadow|"
    "falcon|cinnamon|harvest|velvet|orchid|granite|juniper|magnet|puzzle|rocket|shadow|tunnel|willow|zephyr|"
    "almond"
)
ATTRIBUTES: Final[dict[str, Callable[[random.Random], str]]] = {
    "passphrase": lambda rng: " ".join(rng.sample(VALUE_WORDS, 3)),
    "invoice number": lambda rng: str(rng.randrange(10_000, 999_999)),
    "shoe size": lambda rng: str(rng.randrange(30, 50)),
    "favorite dessert": lambda rng: f"{rng.choice(VALUE_WORDS)} {rng.choice(('cake', 'custard', 'sorbet', 'tart'))}",
    "bank account": lambda rng: f"{rng.choice('BDFHKM')}{rng.choice('PRTVX')}-{rng.randrange(1_000, 10_000)}",
    "graduation day": lambda rng: f"{rng.choice(('March', 'May', 'June', 'October'))} {rng.randrange(1, 29)}",
    "best friend": lambda rng: f"{rng.choice(FIRST_NAMES)} {rng.choice(SURNAMES)}",
    "monthly wage": lambda rng: f"{rng.randrange(100, 9_999)} florins",
}
ABSENT_ATTRIBUTES: Final = ("blood type", "dentist", "burial plot", "horse")
SENTENCES: Final = (
    "Somebody had noted on the cover that {S}'s {T} is {V}.",
    "It may be added here that the {T} of {S} is {V}.",
    "In those days {S}'s {T} was {V}.",
    "A footnote explains that {S}'s {T} is {V}, which surprised the reader.",
    "You should remember that the {T} of {S} is {V}.",
    "{S} once mentioned that the {T} in question is {V}.",
    "The ledger shows {V} as the {T} of {S}.",
    "They all agreed that {S}'s {T} was {V} and nothing else.",
)
QUESTIONS: Final = (
    "What is {S}'s {T}?",
    "What is the {T} of {S}?",
    "What is the {T} that belongs to {S}?",
    "Could you find {S}'s {T} for me?",
    "I would like to know the {T} of {S}.",
)
TITLES: Final = ("Mr.", "Mrs.", "Dr.", "Prof.", "Capt.")
INITIALS: Final = "ABCDEFGHJKLMNOPRSTVW"
LEADS: Final = ("Hello.", "I have a question.", "Thanks!", "I am writing a report about all this.")
LONG: Final = 100_000
"""Beyond it a document is asked fewer questions, and none about people with titles: that takes another reading."""
QUOTE_QUESTIONS: Final = ('What comes after "{Q}"?', 'Which words follow "{Q}"?', 'Continue the quote: "{Q}')

FOLLOW_UPS: Final = ("And what is {P} {T}?", "What is {P} {T}?", "What was {P} {T}?", "Could you find {P} {T}, too?")
AND_OTHERS: Final = ("And {S}?", "And that of {S}?", "And what is that of {S}?")
UPDATES: Final = (
    "Since then the {T} of {S} has been changed to {V}.",
    "From that week on {S}'s {T} was {V}.",
    "A later note corrects the {T} of {S} to {V}.",
    "The {T} of {S} is now {V}.",
)


@dataclass(frozen=True)
class Case:
    """A question; `expected` is what the answer must hold, or None if the document does not say it.

    `before`: a question of the same chat that this one follows.
    """

    skill: str
    question: str
    expected: str | None
    before: str | None = None

    def is_right(self, answer: str) -> bool:
        if self.expected is None:
            return REFUSAL in answer
        if self.skill == "quote":
            return words(self.expected) == words(answer.partition(":")[2])[:QUOTE_WORDS]
        return self.expected in joined(answer)


@dataclass(frozen=True)
class Outcome:
    """What became of a case. `passage`: whether a passage of the answer holds what was expected."""

    skill: str
    right: bool
    refused: bool
    passage: bool
    everything_right: bool | None
    same: bool | None


def words(text: str) -> list[str]:
    return text.split()


def joined(text: str) -> str:
    """The text in one line."""
    return " ".join(text.split())


@dataclass
class Planted:
    """A document and the cases about it."""

    text: str
    cases: list[Case]


# ----------------------------------------------------------------------------------------------------------- documents


def subjects(rng: random.Random, count: int) -> list[str]:
    """Different names, of people and of numbered places."""
    found: dict[str, None] = {}
    while len(found) < count:
        if rng.random() < 0.7:
            found[f"{rng.choice(FIRST_NAMES)} {rng.choice(SURNAMES)}"] = None
        else:
            found[f"{rng.choice(PLACES)} {rng.randrange(10, 1000)}"] = None
    return list(found)


def near_subjects(rng: random.Random, count: int) -> list[str]:
    """Names that share a half with the first, or numbers close to each other."""
    if rng.random() < 0.3:
        place = rng.choice(PLACES)
        return [f"{place} {number}" for number in rng.sample(range(100, 100 + 4 * count), count)]
    first, last = rng.choice(FIRST_NAMES), rng.choice(SURNAMES)
    others = [f"{first} {other}" for other in SURNAMES if other != last]
    others += [f"{other} {last}" for other in FIRST_NAMES if other != first]
    return [f"{first} {last}", *rng.sample(others, count - 1)]


def facts(rng: random.Random, skill: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, Case]]:
    """Sentences and their cases."""
    made = []
    for subject, attribute in pairs:
        value = ATTRIBUTES[attribute](rng)
        slots = {"S": subject, "T": attribute, "V": value}
        sentence, question = (rng.choice(kind).format(**slots) for kind in (SENTENCES, QUESTIONS))
        made.append((sentence[0].upper() + sentence[1:], Case(skill, question, value)))
    return made


def single_facts(rng: random.Random, count: int) -> list[tuple[str, Case]]:
    return facts(rng, "single", [(subject, rng.choice(list(ATTRIBUTES))) for subject in subjects(rng, count)])


def near_facts(rng: random.Random, count: int) -> list[tuple[str, Case]]:
    """Groups in which each fact has 20 near-duplicates: of the same attribute, or of the same subject."""
    made: list[tuple[str, Case]] = []
    while len(made) < count:
        some = near_subjects(rng, NEAR_GROUP)
        attribute, *rest = rng.sample(list(ATTRIBUTES), 6)
        pairs = [(some[0], other) for other in (attribute, *rest)] + [(other, attribute) for other in some[1:16]]
        made += facts(rng, "near", pairs)
    return made


def titled_subjects(rng: random.Random, count: int) -> list[str]:
    """Different names with a title or an initial."""
    found: dict[str, None] = {}
    while len(found) < count:
        first, last = rng.choice(FIRST_NAMES), rng.choice(SURNAMES)
        names = (f"{rng.choice(TITLES)} {last}", f"{rng.choice(TITLES)} {first} {last}")
        found[rng.choice((*names, f"{first} {rng.choice(INITIALS)}. {last}"))] = None
    return list(found)


def enough_documents(
    make: Callable[[Engine, str, int, int, int, str], Planted],
    engine: Engine,
    text: str,
    tokens: int,
    cases: int,
    seed: int,
    layout: str,
) -> list[Planted]:
    """Enough documents of a length for the cases, each with a seed of its own."""
    some = per_document(cases, tokens)
    return [make(engine, text, tokens, some, seed + 1000 * number, layout) for number in range(math.ceil(cases / some))]


def titled_document(engine: Engine, text: str, tokens: int, cases: int, seed: int, layout: str) -> Planted:
    """Facts about people with titles or initials; half as many questions are about others, who are nowhere."""
    rng = random.Random(f"titled {seed}")
    names = titled_subjects(rng, cases + cases // 2)
    planted = facts(rng, "titled", [(name, rng.choice(list(ATTRIBUTES))) for name in names[:cases]])
    prose = _prose(engine, rng, text, tokens - TOKENS_PER_FACT * cases, layout)
    whole = _whole(rng, prose, [sentence for sentence, _ in planted], layout)
    asked = [case for _, case in planted]
    led = [Case("behind a sentence", f"{rng.choice(LEADS)} {case.question}", case.expected) for case in asked]
    nowhere = facts(rng, "titled absent", [(name, "shoe size") for name in names[cases:]])
    missing = [replace(case, expected=None) for _, case in nowhere]
    return Planted(whole, [*asked, *led, *missing])


def follow_up_document(engine: Engine, text: str, tokens: int, cases: int, seed: int, layout: str) -> Planted:
    """Two facts about each subject: a question about it is followed by one with "his" or "its", or about another."""
    rng = random.Random(f"follow-up {seed}")
    names = subjects(rng, cases // 2)
    attributes = list(ATTRIBUTES)
    pairs = [(name, attribute) for name in names for attribute in rng.sample(attributes, 2)]
    planted = facts(rng, "follow-up", pairs)
    asked = []
    for number, ((name, attribute), (_, case)) in enumerate(zip(pairs, planted, strict=True)):
        _, before = planted[number ^ 1]
        owner = "its" if name[0].islower() else rng.choice(("his", "her"))
        question = rng.choice(FOLLOW_UPS).format(P=owner, T=attribute)
        asked.append(replace(case, question=question, before=before.question))
        if number % 2:
            question = rng.choice(FOLLOW_UPS).format(P=owner, T=rng.choice(ABSENT_ATTRIBUTES))
            asked.append(Case("follow-up absent", question, None, before.question))
        others = [one for one, other in pairs if other == attribute and one != name]
        if number % 2 and others:
            before_that = rng.choice(QUESTIONS).format(S=rng.choice(others), T=attribute)
            question = rng.choice(AND_OTHERS).format(S=name)
            asked.append(Case("and another", question, case.expected, before_that))
    prose = _prose(engine, rng, text, tokens - TOKENS_PER_FACT * cases, layout)
    stated = [sentence for sentence, _ in planted]
    rng.shuffle(stated)
    return Planted(_whole(rng, prose, stated, layout), asked)


def updated_document(engine: Engine, text: str, tokens: int, cases: int, seed: int, layout: str) -> Planted:
    """Each fact is stated twice, with other values: the last one holds."""
    rng = random.Random(f"updated {seed}")
    stated: list[str] = []
    asked = []
    for subject in subjects(rng, cases):
        slots = {"S": subject, "T": rng.choice(list(ATTRIBUTES))}
        first, second = (ATTRIBUTES[slots["T"]](rng) for _ in range(2))
        update = rng.choice((*SENTENCES, *UPDATES)).format(**slots, V=second)
        later = rng.randrange(len(stated) + 1)
        stated.insert(later, update[0].upper() + update[1:])
        sentence = rng.choice(SENTENCES).format(**slots, V=first)
        stated.insert(rng.randrange(later + 1), sentence[0].upper() + sentence[1:])
        if second not in first:
            asked.append(Case("updated", rng.choice(QUESTIONS).format(**slots), second))
    prose = _prose(engine, rng, text, tokens - TOKENS_PER_FACT * len(stated), layout)
    return Planted(_whole(rng, prose, stated, layout), asked)


def _prose(engine: Engine, rng: random.Random, text: str, tokens: int, layout: str) -> list[str]:
    return cut(engine, joined(text) if layout == "joined" else text, tokens, rng)


def _whole(rng: random.Random, prose: list[str], stated: list[str], layout: str) -> str:
    whole = plant(rng, prose, stated)
    return wrap(whole) if layout == "wrapped" else whole


def absent_cases(rng: random.Random, count: int, present: list[Case]) -> list[Case]:
    """Half about subjects that are nowhere, half about known subjects' other attributes."""
    cases = []
    known = [case.question for case in present]
    asked = [found.group(0) for question in known if (found := re.search(r"[A-Z]\w+ [A-Z]\w+|\w+ \d+", question))]
    for number in range(count):
        subject = rng.choice(asked) if number % 2 and asked else f"{rng.choice(FIRST_NAMES)} von {rng.choice(SURNAMES)}"
        question = rng.choice(QUESTIONS).format(S=subject, T=rng.choice(ABSENT_ATTRIBUTES))
        cases.append(Case("absent", question, None))
    return cases


def quote_cases(rng: random.Random, text: str, count: int) -> list[Case]:
    """Continuations of places whose twelve words before are unique in the text."""
    cases: list[Case] = []
    while len(cases) < count:
        start = text.find(" ", rng.randrange(len(text))) + 1
        some = re.match(r"(?:[^\s\"“”]+[ \n]){12}", text[start : start + 300])
        after = text[start + some.end() : start + some.end() + 300] if some else ""
        follow = re.match(r"(?:[^\s]+[ \n]){8}", after)
        if some and follow and text.count(some.group(0)) == 1:
            question = rng.choice(QUOTE_QUESTIONS).format(Q=joined(some.group(0)))
            cases.append(Case("quote", question, follow.group(0).strip()))
    return cases


def plant(rng: random.Random, sentences: list[str], planted: list[str]) -> str:
    """The planted sentences between the others, which end in white space, at random places."""
    places = sorted(rng.randrange(len(sentences) + 1) for _ in planted)
    pieces: list[str] = []
    before = 0
    for place, sentence in zip(places, planted, strict=True):
        pieces += [*sentences[before:place], f"{sentence} "]
        before = place
    return "".join([*pieces, *sentences[before:]]).strip()


def wrap(text: str) -> str:
    """The text with no line longer than `LINE_WIDTH`, and one blank line between paragraphs."""
    return "\n\n".join(textwrap.fill(joined(part), LINE_WIDTH) for part in PARAGRAPH_BREAK.split(text))


def cut(engine: Engine, text: str, tokens: int, rng: random.Random) -> list[str]:
    """Sentences of a stretch of about so many tokens of the text, each with the white space behind it."""
    sentences = re.findall(r"\S.*?(?:[.!?]\s+|\Z)", text, re.DOTALL)
    start = rng.randrange(max(1, int(len(sentences) * (1 - tokens / 1_000_000)))) if tokens < 900_000 else 0
    counts = engine.count_tokens([sentence.strip() for sentence in sentences])
    total, end = 0, start
    while end < len(sentences) and total + counts[end] <= tokens:
        total += counts[end]
        end += 1
    return sentences[start:end]


def per_document(cases: int, tokens: int) -> int:
    """How many cases of a skill a document of a length has."""
    return min(cases, FACTS_PER_SHORT_DOCUMENT) if tokens <= SHORT else cases


def documents(engine: Engine, text: str, tokens: int, cases: int, seed: int, layout: str = LAYOUTS[0]) -> list[Planted]:
    """Enough documents of a length for the cases of every skill."""
    if layout == "joined":
        text = joined(text)
    shape = wrap if layout == "wrapped" else str
    rng = random.Random(seed)
    some = per_document(cases, tokens)
    made = []
    for _ in range(math.ceil(cases / some)):
        both = single_facts(rng, some)
        if tokens > SHORT:
            near = near_facts(rng, some)
            made.append(_document(engine, rng, text, tokens, some, both + near, shape))
            continue
        made.append(_document(engine, rng, text, tokens, some, both, shape))
        made.append(_document(engine, rng, text, tokens, 0, near_facts(rng, some), shape))
    return made


def _document(
    engine: Engine,
    rng: random.Random,
    text: str,
    tokens: int,
    cases: int,
    planted: list[tuple[str, Case]],
    shape: Callable[[str], str],
) -> Planted:
    sentences = cut(engine, text, tokens - TOKENS_PER_FACT * len(planted), rng)
    rng.shuffle(planted)
    whole = shape(plant(rng, sentences, [sentence for sentence, _ in planted]))
    asked = [case for _, case in planted]
    near = [case for case in asked if case.skill == "near"]
    kept = [case for case in asked if case.skill != "near"] + near[: max(cases, FACTS_PER_SHORT_DOCUMENT)]
    quotes = quote_cases(rng, whole, cases) if cases else []
    return Planted(whole, [*kept, *quotes, *absent_cases(rng, cases, asked)])


def archive_document(engine: Engine, tokens: int, cases: int, seed: int) -> Planted:
    """The sample archive with some of its own questions."""
    archive = write_archive(tokens, engine.count_tokens, seed)
    rng = random.Random(seed)
    some = rng.sample(archive.facts, min(cases, len(archive.facts)))
    asked = [Case("archive", fact.question, fact.value) for fact in some]
    missing = [Case("archive absent", question, None) for question in absent_questions(archive, cases // 2, seed)]
    return Planted(archive.text, asked + missing)


# -------------------------------------------------------------------------------------------------------------- asking


def last(events: Any) -> Any:
    event = list(events)[-1]
    if isinstance(event, Failed):
        raise event.error
    return event


def ask(context: Context, question: str, before: str | None = None) -> AnswerFinished:
    """The answer to a question, asked after another one if there is one before; the context is then as it was."""
    start = context.num_tokens
    sampling = SamplingConfig(temperature=0.0, max_new_tokens=48)
    if before is not None:
        last(context.ask(before, sampling))
    answer: AnswerFinished = last(context.ask(question, sampling))
    context.rewind(start)
    return answer


def run(engine: Engine, planted: Planted, everything: bool, show: int) -> list[Outcome]:
    """Read a document and ask every case."""
    context = engine.new_context(KIVConfig())
    outcomes = []
    try:
        last(context.read(Document("document", planted.text)))
        for case in planted.cases:
            answer = ask(context, case.question, case.before)
            exact = None
            if everything:
                with context.retrieving(EVERYTHING):
                    exact = ask(context, case.question, case.before)
            wanted = case.expected
            outcome = Outcome(
                case.skill,
                case.is_right(answer.text),
                REFUSAL in answer.text,
                wanted is not None and any(joined(wanted) in joined(passage.text) for passage in answer.passages),
                None if exact is None else case.is_right(exact.text),
                None if exact is None else exact.text == answer.text,
            )
            outcomes.append(outcome)
            if show > 0 and not outcome.right:
                show -= 1
                asked = f"{case.before} {case.question}" if case.before else case.question
                print(f"  {case.skill}: {asked} | {case.expected} | {answer.text!r}", file=sys.stderr)
    finally:
        context.close()
    return outcomes


def summarize(outcomes: list[Outcome]) -> dict[str, dict[str, Any]]:
    """Rates by skill."""
    table: dict[str, dict[str, Any]] = {}
    for skill in dict.fromkeys(outcome.skill for outcome in outcomes):
        some = [outcome for outcome in outcomes if outcome.skill == skill]
        right = sum(outcome.right for outcome in some)
        table[skill] = {
            "cases": len(some),
            "rate": right / len(some),
            "interval": wilson(right, len(some)),
            "refused": sum(outcome.refused for outcome in some) / len(some),
            "passages": sum(outcome.passage for outcome in some) / len(some),
        }
        if some[0].everything_right is not None:
            table[skill]["everything"] = sum(bool(outcome.everything_right) for outcome in some) / len(some)
            table[skill]["same"] = sum(bool(outcome.same) for outcome in some) / len(some)
    return table


def as_markdown(table: dict[str, dict[str, dict[str, Any]]]) -> str:
    """A row a skill, a column a length: rate, 95 % interval, and in brackets the rate with everything retrieved."""
    lengths = list(table)
    lines = [
        "| skill | " + " | ".join(f"{int(length):,}" for length in lengths) + " |",
        "|---" * (len(lengths) + 1) + "|",
    ]
    for skill in dict.fromkeys(skill for rows in table.values() for skill in rows):
        cells = []
        for length in lengths:
            row = table[length].get(skill)
            if row is None:
                cells.append("-")
                continue
            low, high = row["interval"]
            exact = f" ({row['everything']:.1%})" if "everything" in row else ""
            cells.append(f"{row['rate']:.1%}{exact} [{low:.0%}, {high:.0%}], {row['cases']}")
        lines.append(f"| {skill} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


KINDS: Final = ("facts", "titled", "follow-up", "updated", "archive")
"""The documents that are made. Long ones have none of the second to the fourth: each needs a reading."""


def made_of(
    kinds: set[str], engine: Engine, text: str, tokens: int, cases: int, options: argparse.Namespace
) -> list[Planted]:
    """The documents of these kinds of a length."""
    made = documents(engine, text, tokens, cases, options.seed, options.layout) if "facts" in kinds else []
    for kind, make in (
        ("titled", titled_document),
        ("follow-up", follow_up_document),
        ("updated", updated_document),
    ):
        if kind in kinds and tokens <= LONG:
            made += enough_documents(make, engine, text, tokens, cases, options.seed, options.layout)
    if "archive" in kinds:
        made.append(archive_document(engine, tokens, min(cases, max(20, tokens // 400)), options.seed))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("book", type=Path)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--lengths", default="4096,65536,1000000")
    parser.add_argument("--layout", choices=LAYOUTS, default=LAYOUTS[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--long-cases", type=int, default=50, help="cases a skill beyond 100,000 tokens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--everything", action="store_true")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of documents, some of these: %(default)s")
    parser.add_argument("--show", type=int, default=0, help="print so many wrong answers of each document")
    parser.add_argument("--json-out", type=Path)
    options = parser.parse_args()
    kinds = set(options.kinds.split(","))
    if unknown := kinds - set(KINDS):
        parser.error(f"--kinds has {', '.join(sorted(unknown))}; it knows {', '.join(KINDS)}.")
    engine = Engine.load(options.model)
    text = options.book.read_text(encoding="utf-8")
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for length in (int(part) for part in options.lengths.split(",")):
        begun = time.monotonic()
        cases = options.cases if length <= LONG else options.long_cases
        made = made_of(kinds, engine, text, length, cases, options)
        outcomes = [outcome for planted in made for outcome in run(engine, planted, options.everything, options.show)]
        table[str(length)] = summarize(outcomes)
        print(f"{length:,} tokens: {len(made)} documents, {time.monotonic() - begun:.0f} s", file=sys.stderr)
        for skill, row in table[str(length)].items():
            low, high = row["interval"]
            exact = f", everything {row['everything']:.3f}, same {row['same']:.3f}" if "everything" in row else ""
            print(
                f"  {skill:<15} {row['rate']:.3f} [{low:.3f}, {high:.3f}] of {row['cases']}, "
                f"refused {row['refused']:.3f}, passages {row['passages']:.3f}{exact}",
                file=sys.stderr,
                flush=True,
            )
    print(as_markdown(table))
    line = json.dumps({"evaluation": "demo model", "layout": options.layout, "lengths": table})
    if options.json_out:
        options.json_out.write_text(line + "\n", encoding="utf-8")
    print(line)


if __name__ == "__main__":
    main()
