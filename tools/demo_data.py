"""The worlds that the built-in model is trained on: chunks of documents, and questions about them, as token ids.

A world is one batch. Its chunks together are one document; every question sees all of them, as it does in the engine,
where far tokens are found by content alone. Facts come from the sample archive and from the templates below, about
subjects whose names are put together from syllables and words, so no name is ever learned by heart. For each token of
an answer the world says from which token of the document it is copied.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from kiv_engine.archive import write_archive

Ids = list[int]
Array = npt.NDArray[np.int64]

ABSENT: Final = "I do not find that in the document."
SAYS: Final = "The document says"
GOES_ON: Final = "The document goes on:"
HELLO: Final = "Hello! I am the small built-in model: add a document, then ask me for a fact or a quote in it."
FOUND_WEIGHT: Final = 2.0
ABSENT_WEIGHT: Final = 0.8
"""The loss weights of an answer's first token, which decides whether anything was found. Where both are possible, an
answer that can be checked against its passages is of more use than a refusal."""
STRANGE: Final = 0.25
"""The share of words that are put together from tokens by chance."""
CLUSTER_ENDS: Final = 0.1
"""How often near-duplicates turn to something else: there are about ten of each."""
SINK: Final = 0
"""Where an answer that is nowhere in the document looks: the first token."""

# ----------------------------------------------------------------------------------------------------- names and values


def split_words(text: str) -> tuple[str, ...]:
    """The parts of a text between its bars."""
    return tuple(text.split("|"))


_ONSETS = split_words("b|br|c|ch|cl|d|dr|f|fl|g|gl|gr|h|j|k|kr|l|m|n|p|pl|pr|qu|r|s|sh|sk|sl|st|t|th|tr|v|w|y|z")
_VOWELS = split_words("a|e|i|o|u|ai|ea|ee|ie|oa|ou|y")
_CODAS = split_words("|||b|ck|d|g|l|ll|m|n|nd|ng|nt|r|rd|rk|rn|s|ss|st|t|th|x")
_ENDINGS = split_words("ton|ley|wick|ford|man|son|well|wood|by|ham|er|ing|ski|ova|in|ez|o|a|us|e")
_NOUNS = split_words(
    "harbor|locker|room|vault|ship|barn|mill|farm|school|office|station|bridge|tower|engine|garden|boat|hotel|"
    "case|file|team|unit|lamp|shop|house|cave|lake|hill|inn|chapel|museum|library|factory|train|truck|horse|dog|"
    "cat|clock|painting|project|client|sensor|server|module|contract|order|patient|sample|plot|gate|wagon|well|"
    "cottage|school|hall|bank|store|market|island|valley|machine|cabin|tunnel|dock|pier|crate|chest|desk"
)
_TITLES = split_words(
    "Captain|Doctor|Professor|Sister|Inspector|Lady|Sir|Madam|Judge|Colonel|Prince|Countess|Uncle|Mr.|Mrs."
)
_MONTHS = split_words("January|February|March|April|May|June|July|August|September|October|November|December")
_DAYS = split_words("Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday")
_UNITS = split_words(
    "feet|miles|pounds|crowns|dollars|hours|days|acres|tons|gallons|inches|degrees|pages|men|yards|barrels"
)
_MONEY = split_words("crowns|dollars|pounds|rubles|francs")
_COLORS = split_words("red|blue|green|black|white|yellow|brown|gray|pink|purple|silver|golden|orange|crimson|pale blue")
_PLACES = split_words("under|behind|inside|above|below|near|beside|in|at|beyond|on top of|next to")
_NUMBERS = split_words("two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|sixty")

_ATTRIBUTES: Final[dict[str, str]] = {
    "number": "stair count|locker number|room number|berth|seat|population|tag number|page count|score|"
    "head count|stock|capacity",
    "year": "building year|founding year|birth year|year of construction|year of death|first season",
    "code": "code|access code|serial number|lock code|license plate|call sign|signal code|order number|badge|reference",
    "date": "arrival date|birthday|opening day|due date|wedding day|inspection date|feast day|deadline|launch date",
    "time": "departure time|closing time|opening hour|curfew|bedtime|start time|arrival time",
    "money": "price|yearly rent|debt|salary|fare|fine|budget|fee|cost|tax|reward|deposit",
    "person": "owner|captain|keeper|doctor|tenant|pilot|teacher|partner|guardian|manager|holder|neighbor|lawyer|author|"
    "founder|builder|director|rival|mother|father|wife|husband|cook|driver|tutor|heir|inspector|landlord",
    "measure": "depth|height|weight|length|width|distance|speed|range|age|volume|size|temperature",
    "color": "color|paint|uniform color|flag color|eye color|coat color|door color",
    "place": "hiding place|location|home|usual seat|workshop|burial place|birthplace|post|favorite spot|destination",
    "name": "nickname|real name|home town|home port|village|parish|street|maiden name|former name|brand|country",
    "words": "cargo|password|motto|favorite supper|night password|favorite song|trade|hobby|punishment|favorite food|"
    "specialty|costume|gift|treasure|secret|reason|symbol|disease|weapon|instrument|contents|diet|toast",
}


class Names:
    """Makes names, words and values by chance."""

    def __init__(self, rng: random.Random, words: Sequence[str], starts: Sequence[str], pieces: Sequence[str]) -> None:
        """`words` are whole; `starts` and `pieces` are what longer ones are put together from."""
        self.rng = rng
        self._words, self._starts, self._pieces = words, starts, pieces

    def syllable_name(self) -> str:
        pick = self.rng.choice
        count = pick((1, 1, 1, 2, 2))
        core = "".join(pick(_ONSETS) + pick(_VOWELS) + pick(_CODAS) for _ in range(count))
        name = core + pick(_ENDINGS) if count == 1 or self.rng.random() < 0.4 else core
        return name.capitalize()

    def word(self) -> str:
        return self.strange_word() if self.rng.random() < STRANGE else self.rng.choice(self._words)

    def strange_word(self) -> str:
        """A word that nobody knows, of tokens drawn evenly: what is rare in texts must be copied just as well."""
        pick = self.rng.choice
        return pick(self._starts) + "".join(pick(self._pieces) for _ in range(pick((0, 0, 1, 1, 2))))

    def noun(self) -> str:
        return self.rng.choice(_NOUNS) if self.rng.random() < 0.7 else self.word()

    def name(self) -> str:
        return self.syllable_name() if self.rng.random() < 0.75 else self.word().capitalize()

    def code(self) -> str:
        letters = "".join(self.rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(self.rng.choice((1, 2, 3))))
        digits = "".join(self.rng.choice("0123456789") for _ in range(self.rng.choice((2, 3, 4))))
        return self.rng.choice((f"{letters}-{digits}", f"{letters}{digits}", f"{digits}-{letters}", digits))

    def number(self) -> str:
        size = self.rng.choice((1, 2, 3, 3, 4, 5))
        value = self.rng.randrange(10 ** (size - 1), 10**size)
        return f"{value:,}" if value >= 1000 and self.rng.random() < 0.3 else str(value)

    def subject_slots(self) -> tuple[str, tuple[str, ...]]:
        """A pattern and what fills it; near-duplicates change one of the fillings."""
        kind = self.rng.randrange(11)
        if kind <= 1:
            return "{} {}", (self.name(), self.name())
        if kind == 2:
            return "{} {}", (self.rng.choice(_TITLES), self.name())
        if kind == 3:
            return "the {} {}", (self.word().capitalize(), self.noun().capitalize())
        if kind <= 5:
            return self.noun() + " {}", (str(self.rng.randrange(10, 1000)),)
        if kind == 6:
            return "{} {}", (self.name(), self.noun().capitalize())
        if kind == 7:
            return "{} House in {} {}", (self.name(), self.name(), self.rng.choice(("Street", "Lane", "Row", "Hill")))
        if kind == 8:
            return "the " + self.noun() + " of {} {}", (self.name(), self.name())
        if kind == 9:
            return "{} the {} " + self.noun(), (self.name(), self.word())
        return "the {} " + self.noun() + " in {}", (self.name(), self.name())

    def similar(self, pattern: str, slots: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        place = self.rng.randrange(len(slots))
        old = slots[place]
        other_word = self.name if old[0].isupper() else self.word
        new = self._similar_number(old) if old.isdigit() else other_word()
        return pattern, (*slots[:place], new, *slots[place + 1 :])

    def _similar_number(self, number: str) -> str:
        digits = list(number)
        if len(digits) > 1 and self.rng.random() < 0.3:
            digits[-1], digits[-2] = digits[-2], digits[-1]
        place = self.rng.randrange(len(digits))
        if "".join(digits) == number:
            digits[place] = self.rng.choice("123456789")
        return "".join(digits)

    def attribute(self) -> tuple[str, str]:
        """An attribute and the sort of its values."""
        sort = self.rng.choice(list(_ATTRIBUTES))
        if self.rng.random() < 0.3:
            return self.rng.choice((f"{self.word()} {self.noun()}", self.word(), f"{self.noun()} {self.word()}")), sort
        return self.rng.choice(_attribute_names(sort)), sort

    def value(self, sort: str) -> str:
        pick, number, name, word = self.rng.choice, self.number, self.name, self.word
        day, hour, minute, year = (
            self.rng.randrange(low, high) for low, high in ((1, 29), (1, 13), (10, 60), (1100, 2040))
        )
        month = pick(_MONTHS)
        choices: dict[str, Callable[[], tuple[str, ...]]] = {
            "number": lambda: (number(),),
            "year": lambda: (str(year),),
            "code": lambda: (self.code(),),
            "date": lambda: (f"{month} {day}", f"{day} {month}", f"{month} {day}, {year}", pick(_DAYS)),
            "time": lambda: (f"{hour} o'clock", f"{hour}:{minute}", f"half past {pick(_NUMBERS)}"),
            "money": lambda: (f"{number()} {pick(_MONEY)}", f"${number()}"),
            "person": lambda: (f"{name()} {name()}", f"{name()} {name()}", f"{pick(_TITLES)} {name()}", name()),
            "measure": lambda: (f"{number()} {pick(_UNITS)}", f"{pick(_NUMBERS)} {pick(_UNITS)}"),
            "color": lambda: _COLORS,
            "place": lambda: (f"{pick(_PLACES)} the {pick((word() + ' ', ''))}{self.noun()}",),
            "name": lambda: (name(), name(), f"{name()} {self.noun().capitalize()}", f"Saint {name()}"),
            "words": lambda: (" ".join(word() for _ in range(pick((1, 2, 2, 3, 3, 4)))),),
        }
        return pick(choices[sort]())


@cache
def _attribute_names(sort: str) -> tuple[str, ...]:
    return split_words(_ATTRIBUTES[sort])


# ------------------------------------------------------------------------------------------------------------ sentences

_SENTENCES = """\
{S}'s {T} is {V}.
The {T} of {S} is {V}.
{S} has {V} as its {T}.
The {T} of {S} was {V}.
We learned that the {T} of {S} is {V}.
{S}: {T} {V}.
In the list stands {S}, {T}: {V}.
{w} said that {S}'s {T} was {V}.
{S}'s {T} is still {V}, as {n} wrote.
Regarding {S}, the {T} is {V}.
{n} told {n} that the {T} of {S} is {V}, and went away.
As everyone knew, {S}'s {T} was {V}.
The papers give {S}'s {T} as {V}.
For {S} the {T} was set at {V}.
It turned out that {S}'s {T} had always been {V}.
"Listen," said {n}, "the {T} of {S} is {V}."
{n} wrote down the {T} of {S}: {V}.
At {S} the {T} is {V}.
In the case of {S}, the {T} remains {V}.
Of {S} it is known that the {T} is {V}.
{S}, whose {T} is {V}, was mentioned by {n}.
{S}, with {V} as {T}, came next.
Nobody doubts that the {T} of {S} is {V}.
Concerning {S}: its {T} is {V}.
The {T} for {S} is listed as {V}.
{n} remembered that {S}'s {T} was {V} and smiled.
The {T} at {S} was given as {V}.
According to {n}, the {T} of {S} is {V}.
{S} ({T}: {V}) was next.
Under {T}, the entry for {S} says {V}.
If you ask about {S}, the {T} is {V}.
The report states that {S}'s {T} is {V}, not more.
Then {n} asked about {S} and heard that the {T} was {V}.
What {n} did not know was that {S}'s {T} is {V}.
{V} is the {T} of {S}.
They chose {V} as the {T} of {S}.""".splitlines()

_LEADS = """\
{n} noted that
It is written that
In {n} people say that
On page {d} one reads that
Nobody here forgot that
The {w} had heard that
A letter from {n} says that
After the {w} it was found that
{n} and {n} both knew that
On that {w} morning
Once more it was said that
The clerk put down that
As far as {n} could tell,
By then
Later
We are told that
It was no secret that
To the surprise of {n},
I will only say that
One line of the {w} shows that
Every {w} knew that
Strange as it is,
All {w} aside,""".splitlines()

_CLAUSES = """\
{S}'s {T} is {V}
{S}'s {T} was {V}
{S}'s {T} had been {V}
{S}'s {w} {T} is {V}
the {T} of {S} is {V}
the {T} of {S} was {V}
the {T} of {S} became {V}
the {T} given for {S} is {V}
the {T} that {S} has is {V}
the {T} which belongs with {S} is {V}
the {T} for {S} must be {V}
{S} has {V} for {T}
{S} has the {T} {V}
{S} had {V} as {T}
{S} was known with {V} as the {T}
{S} kept {V} as the {T}
{S} says that the {T} is {V}
{S} told {n} that the {T} here is {V}
{S} comes with this {T}: {V}
{S} stands there with the {T} {V}
{V} is {S}'s {T}
{V} was the {T} of {S}
{V} serves as {S}'s {T}
{V} is given as the {T} of {S}
the book gives {V} as the {T} of {S}
the {w} names {V} as {S}'s {T}
for {S}, {V} is the {T}""".splitlines()

_TAILS = """\
, and that was {w}
, which {w} {n}
, as {n} said
, as it was before
 and no other
 and not {w}
 since the {w}
 to this day
, if {n} is right
, though few {w} it
; {n} {w} about it
, so {n} went home
, which pleased {n}
 in the end
, said {n}
 for {w} and {w}
, to be exact
, and {n} agreed
 as well""".splitlines()

_REQUESTS = (
    ("{A}", "?"),
    ("What is {A}", "?"),
    ("What was {A}", "?"),
    ("What is {A}", "?"),
    ("What could be {A}", "?"),
    ("And what is {A}", "?"),
    ("Can you tell me {A}", "?"),
    ("Can you find {A}", "?"),
    ("Could you look up {A}", "?"),
    ("Could you tell {A}", "?"),
    ("Would you give me {A}", "?"),
    ("Do you see {A}", "?"),
    ("Look for {A}", "."),
    ("Look up {A}", "."),
    ("Give me {A}", "."),
    ("Give {A}", "."),
    ("Say {A}", "."),
    ("Name {A}", "."),
    ("Search {A}", "."),
    ("I am looking for {A}", "."),
    ("I want to know {A}", "."),
    ("I wonder what {A} is", "."),
    ("I would like {A}", "."),
    ("I must know {A}", "."),
    ("Does the text give {A}", "?"),
    ("Where it speaks of it, what is {A}", "?"),
)
_ASKED = split_words(
    "{S}'s {T}|{S}'s {T}|{S}'s {T}|the {T} of {S}|the {T} of {S}|the {T} of {S}|the {T} for {S}|the {T} that {S} has|"
    "the {T} given for {S}|the {T} which belongs with {S}|the {T} {S} has|{S}'s own {T}"
)
_ADDED = split_words(" for us| please|, please| in this text| here| in the document| now| at all| if you can| exactly")

_QUESTIONS = """\
What is {S}'s {T}?
What is the {T} of {S}?
What was the {T} of {S}?
Tell me the {T} of {S}.
What does the document say about the {T} of {S}?
What does it give as {S}'s {T}?
{S}: what is the {T}?
Do you know {S}'s {T}?
Which {T} does {S} have?
Find the {T} of {S}.
I need {S}'s {T}.
According to the text, what is the {T} of {S}?
What is the {T} for {S}?
What {T} is given for {S}?
Please tell me {S}'s {T}.""".splitlines()

_WHO = """\
Who is {S}'s {T}?
Who is the {T} of {S}?
Who was the {T} of {S}?
Name the {T} of {S}.
Who is named as {S}'s {T}?
Can you find out who the {T} of {S} is?""".splitlines()

_FOLLOW = """\
And its {T}?
And the {T}?
What about the {T}?
And what is the {T}?""".splitlines()

_QUOTE_QUESTIONS = """\
Continue the quote: "{Q}
What comes after "{Q}"?
Continue: "{Q}
How does it go on after "{Q}"?
What follows the words "{Q}"?
Complete this quote from the document: "{Q} ..."
Continue this: {Q}""".splitlines()

_SMALL_TALK = split_words(
    "hello|hi|Hello!|hi there|good morning|Hey|who are you?|What can you do?|what can you do|Help|how are you?|"
    "What is this?|good evening|thanks|thank you|Hi, who are you?|Can you help me?|test"
)

_FUNCTION_WORDS = split_words(
    "the|the|the|of|of|and|and|a|to|to|in|in|was|he|she|it|that|his|her|with|for|as|at|on|had|is|not|but|by|they|"
    "from|all|were|an|which|so|their|this|who|or|him|one|said|them|would|been|when|into|no|what|out|up|then|if"
)


@dataclass(eq=False)
class Fact:
    """A fact of a world. `tokens` are its sentence's ids, and values[0]:values[1] the value's place in them."""

    subject: str
    attribute: str
    value: str
    question: str
    tokens: Ids
    values: tuple[int, int]
    known: int
    """The token of the sentence at which subject and attribute are both known."""
    follow: str = ""
    place: int = -1
    """Where the sentence begins in the document, once it is there."""


@dataclass
class Question:
    """A row of a batch: one or two questions with their answers.

    supervised: (place of the input token, the token to predict, its weight, what it is).
    looks: (place of the input token, the document token that its first look finds, the one it is copied from, what it
    is). The two differ where the value stands in front of what it is the value of; SINK is for what is nowhere.
    """

    ids: Ids = field(default_factory=list)
    supervised: list[tuple[int, int, float, str]] = field(default_factory=list)
    looks: list[tuple[int, int, int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Recipe:
    """What a batch is made of. Shares are probabilities."""

    chunks: int
    chunk_tokens: int
    facts: int
    questions: int
    near: float = 0.5
    archive: float = 0.4
    quotes: float = 0.2
    absent: float = 0.15
    small_talk: float = 0.02
    second: float = 0.3
    brief: float = 0.4
    """Questions about facts of which only the first token of the answer is taught: they cost half as many tokens."""


@dataclass(frozen=True)
class World:
    """A batch: `chunks` (chunks, chunk_tokens) and the rows of questions."""

    chunks: Array
    questions: list[Question]


def _tokens_of(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The tokens that stand for at least one of the characters [start, end)."""
    inside = [place for place, (begin, stop) in enumerate(offsets) if begin < end and stop > start]
    return inside[0], inside[-1] + 1


class WorldMaker:
    """Makes worlds from a tokenizer's words and the sample archive, by one chain of chance."""

    def __init__(
        self, tokenizer: Tokenizer, seed: int, archive_seeds: Sequence[int] = (), texts: Sequence[str] = ()
    ) -> None:
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        vocabulary = sorted(token[1:] for token in tokenizer.get_vocab() if re.fullmatch("Ġ[a-z]{3,}", token))
        starts = sorted(token[1:] for token in tokenizer.get_vocab() if re.fullmatch("Ġ[A-Za-z]+", token))
        pieces = sorted(token for token in tokenizer.get_vocab() if re.fullmatch("[a-z]+", token))
        self._names = Names(self._rng, vocabulary, starts, pieces)
        vocabulary_ids = tokenizer.get_vocab()
        self._im_start, self._im_end = vocabulary_ids["<|im_start|>"], vocabulary_ids["<|im_end|>"]
        self.prefix = [self._im_start, *self._encode("user\n")]
        self._to_answer = [self._im_end, *self._encode("\n"), self._im_start, *self._encode("assistant\n")]
        self._to_question = [self._im_end, *self._encode("\n"), self._im_start, *self._encode("user\n")]
        self._word_starts = {place for token, place in tokenizer.get_vocab().items() if token.startswith("Ġ")}
        self._says, self._goes_on = self._encode(SAYS), self._encode(GOES_ON)
        self._stop = self._encode(".")
        self._archive_facts: list[Fact] = []
        pools = [self._salad(40_000)]
        for archive_seed in archive_seeds:
            pools.append(self._archive_pool(archive_seed))
        for text in texts:
            pools.append(np.array(self._encode(text)))
        self._pools = [(pool, self._ends(pool)) for pool in pools]

    # -- text

    def _encode(self, text: str) -> Ids:
        ids: Ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _archive_pool(self, seed: int) -> Array:
        def count(pieces: list[str]) -> list[int]:
            return [len(encoded.ids) for encoded in self._tokenizer.encode_batch(pieces, add_special_tokens=False)]

        archive = write_archive(150_000, count, seed)
        for fact in archive.facts:
            made = self._fact(fact.subject, fact.attribute, fact.value, fact.sentence, fact.question)
            if made:
                self._archive_facts.append(made)
        return np.array(self._encode(archive.text))

    def _salad(self, tokens: int) -> Array:
        """Sentences of random words."""
        parts: list[str] = []
        rng, names = self._rng, self._names
        for _ in range(tokens // 14):
            strange = rng.random() < STRANGE
            words = [
                names.strange_word()
                if strange and rng.random() < 0.7
                else names.name()
                if rng.random() < 0.1
                else rng.choice(_FUNCTION_WORDS)
                if rng.random() < 0.5
                else names.word()
                for _ in range(rng.randrange(3, 22))
            ]
            if len(words) > 8 and rng.random() < 0.6:
                words[rng.randrange(2, 7)] += rng.choice((",", ",", ";", ":"))
            text = " ".join(words)
            sentence = text[0].upper() + text[1:] + rng.choice((".", ".", ".", "!", "?"))
            parts.append(f'"{sentence}"' if rng.random() < 0.1 else sentence)
            parts.append("\n\n" if rng.random() < 0.1 else " ")
        return np.array(self._encode(" " + "".join(parts)))

    def _ends(self, pool: Array) -> Array:
        """The places behind sentences."""
        stops = [self._tokenizer.token_to_id(mark) for mark in ".!?"]
        return np.flatnonzero(np.isin(pool, stops)) + 1

    def _filler(self, count: int) -> Ids:
        """So many tokens of text that end with a sentence."""
        if count <= 0:
            return []
        pool, ends = self._pools[self._rng.randrange(len(self._pools))]
        end = int(ends[self._rng.randrange(len(ends))])
        while end < count:
            end = int(ends[self._rng.randrange(len(ends))])
        ids: Ids = pool[end - count : end].tolist()
        return ids

    # -- facts

    def _fact(self, subject: str, attribute: str, value: str, sentence: str, question: str) -> Fact | None:
        """A fact with the value's place among its tokens; none if the value is not in them token by token."""
        start = sentence.find(value)
        if start < 1:
            return None
        encoded = self._tokenizer.encode(" " + sentence, add_special_tokens=False)
        first, last = _tokens_of(encoded.offsets, start + 1, start + 1 + len(value))
        if encoded.ids[first:last] != self._encode(" " + value) or last >= len(encoded.ids):
            return None
        known = [
            _tokens_of(encoded.offsets, found + 1, found + 1 + len(name))[1] - 1
            for name in (subject, attribute)
            if (found := sentence.lower().find(name.lower())) >= 0
        ]
        follow = self._rng.choice(_FOLLOW).replace("{T}", attribute)
        return Fact(subject, attribute, value, question, encoded.ids, (first, last), max(known, default=0), follow)

    def _made_fact(self, pattern: str, slots: tuple[str, ...], attribute: str, sort: str) -> Fact | None:
        subject, value = pattern.format(*slots), self._names.value(sort)
        sentence = self._fill(self._sentence(), subject, attribute, value)
        return self._fact(subject, attribute, value, sentence, self._ask(subject, attribute, sort))

    def _sentence(self) -> str:
        pick, chance = self._rng.choice, self._rng.random
        if chance() < 0.4:
            return pick(_SENTENCES)
        lead = pick(_LEADS) + " " if chance() < 0.6 else ""
        return lead + pick(_CLAUSES) + (pick(_TAILS) if chance() < 0.6 else "") + "."

    def _ask(self, subject: str, attribute: str, sort: str) -> str:
        return self._fill(self._question(sort), subject, attribute, "")

    def _question(self, sort: str) -> str:
        pick, chance = self._rng.choice, self._rng.random
        if sort == "person" and chance() < 0.6:
            return pick(_WHO)
        if chance() < 0.4:
            return pick(_QUESTIONS)
        asked, mark = pick(_REQUESTS)
        return asked.replace("{A}", pick(_ASKED)) + (pick(_ADDED) if chance() < 0.3 else "") + mark

    def _fill(self, template: str, subject: str, attribute: str, value: str) -> str:
        names = self._names
        filled = re.sub(r"\{n\}", lambda _: names.name(), template)
        filled = re.sub(r"\{w\}", lambda _: names.word(), filled)
        filled = filled.replace("{d}", str(names.rng.randrange(1, 1000)))
        filled = filled.replace("{S}", subject).replace("{T}", attribute).replace("{V}", value)
        return filled[0].upper() + filled[1:]

    def facts(self, recipe: Recipe) -> tuple[list[Fact], list[str]]:
        """A world's facts, and questions about what is not in it."""
        rng, names = self._rng, self._names
        used: set[tuple[str, str]] = set()
        known: list[tuple[str, tuple[str, ...], str, str]] = []
        facts: list[Fact] = []
        middle = 0
        while len(facts) < recipe.facts:
            if self._archive_facts and rng.random() < recipe.archive:
                self._add_archive_facts(facts, used, rng.randrange(1, 9))
                continue
            if known and rng.random() < recipe.near:
                middle = rng.randrange(len(known)) if rng.random() < CLUSTER_ENDS else middle
                pattern, slots, attribute, sort = known[middle]
                if rng.random() < 0.4:
                    attribute, sort = names.attribute()
                else:
                    pattern, slots = names.similar(pattern, slots)
            else:
                (pattern, slots), (attribute, sort) = names.subject_slots(), names.attribute()
            key = pattern.format(*slots), attribute
            if key in used:
                continue
            fact = self._made_fact(pattern, slots, attribute, sort)
            if fact:
                used.add(key)
                known.append((pattern, slots, attribute, sort))
                facts.append(fact)
        absent = self._absent_questions(known, used, recipe)
        rng.shuffle(facts)
        return facts, absent

    def _add_archive_facts(self, facts: list[Fact], used: set[tuple[str, str]], count: int) -> None:
        """Facts that stand close to each other in an archive, where near-duplicates are close too."""
        start = self._rng.randrange(max(1, len(self._archive_facts) - count))
        for fact in self._archive_facts[start : start + count]:
            key = fact.subject, fact.attribute
            if key not in used:
                used.add(key)
                facts.append(replace(fact))

    def _absent_questions(
        self, known: list[tuple[str, tuple[str, ...], str, str]], used: set[tuple[str, str]], recipe: Recipe
    ) -> list[str]:
        rng, names = self._rng, self._names
        questions: list[str] = []
        while len(questions) < recipe.questions:
            chance = rng.random()
            if known and chance < 0.35:
                pattern, slots, attribute, sort = rng.choice(known)
                attribute, sort = names.attribute()
            elif known and chance < 0.7:
                pattern, slots, attribute, sort = rng.choice(known)
                pattern, slots = names.similar(pattern, slots)
            elif self._archive_facts and chance < 0.85:
                fact = rng.choice(self._archive_facts)
                if (fact.subject, fact.attribute) not in used:
                    questions.append(fact.question)
                continue
            else:
                (pattern, slots), (attribute, sort) = names.subject_slots(), names.attribute()
            subject = pattern.format(*slots)
            if (subject, attribute) not in used:
                questions.append(self._ask(subject, attribute, sort))
        return questions

    # -- worlds

    def world(self, recipe: Recipe) -> World:
        """One batch."""
        rng = self._rng
        facts, absent = self.facts(recipe)
        limit = recipe.chunk_tokens - 8
        facts = [fact for fact in facts if len(fact.tokens) <= limit]
        rows: list[list[Fact]] = [[] for _ in range(recipe.chunks)]
        room = [limit] * recipe.chunks
        for fact in facts:
            row = rng.randrange(recipe.chunks)
            for _ in range(recipe.chunks):
                if room[row] >= len(fact.tokens):
                    rows[row].append(fact)
                    room[row] -= len(fact.tokens)
                    break
                row = (row + 1) % recipe.chunks
        chunks = [self._chunk(row, index, recipe.chunk_tokens) for index, row in enumerate(rows)]
        document = np.array(chunks)
        placed = [fact for row in rows for fact in row]
        return World(document, self._question_rows(recipe, placed, absent, document))

    def _chunk(self, facts: list[Fact], index: int, length: int) -> Ids:
        rng = self._rng
        ids = list(self.prefix) if index == 0 or rng.random() < 0.3 else []
        free = length - len(ids) - sum(len(fact.tokens) for fact in facts)
        cuts = sorted(rng.randrange(free + 1) for _ in facts)
        gaps = [after - before for before, after in zip([0, *cuts], [*cuts, free], strict=True)]
        for gap, fact in zip(gaps, facts, strict=False):
            ids += self._filler(gap)
            fact.place = index * length + len(ids)
            ids += fact.tokens
        return ids + self._filler(gaps[-1])

    def _question_rows(self, recipe: Recipe, facts: list[Fact], absent: list[str], document: Array) -> list[Question]:
        rng = self._rng
        rows: list[Question] = []
        by_subject: dict[str, list[Fact]] = {}
        for fact in facts:
            by_subject.setdefault(fact.subject, []).append(fact)
        while len(rows) < recipe.questions:
            row = Question(self._filler(rng.randrange(0, 9)) + self._encode("\n\n"))
            kind = self._add_turn(row, recipe, rng.choice(facts), absent, document)
            if row.ids[-1] == self._im_end and rng.random() < recipe.second:
                row.ids += self._encode("\n") + self._to_question[2:]
                others = by_subject[kind.subject] if kind else []
                other = rng.choice(others) if len(others) > 1 else None
                if other is not None and other is not kind and rng.random() < 0.7:
                    self._answer_fact(row, other, other.follow)
                else:
                    self._add_turn(row, recipe, rng.choice(facts), absent, document)
            rows.append(row)
        return rows

    def _add_turn(self, row: Question, recipe: Recipe, fact: Fact, absent: list[str], document: Array) -> Fact | None:
        """Add a question and its answer; the fact, if it is about one."""
        chance = self._rng.random()
        if chance < recipe.quotes:
            self._answer_quote(row, document, recipe)
        elif chance < recipe.quotes + recipe.absent:
            self._answer_plainly(row, absent.pop() if absent else "Why?", ABSENT, "absent")
        elif chance < recipe.quotes + recipe.absent + recipe.small_talk:
            self._answer_plainly(row, self._rng.choice(_SMALL_TALK), HELLO, "talk")
        else:
            self._answer_fact(row, fact, fact.question, brief=self._rng.random() < recipe.brief)
            return fact
        return None

    def _answer_plainly(self, row: Question, question: str, answer: str, kind: str) -> None:
        row.ids += self._encode(question) + self._to_answer
        if kind == "absent":
            row.looks.append((len(row.ids) - 1, SINK, SINK, kind))
        first = True
        for token in [*self._encode(answer), self._im_end]:
            row.supervised.append((len(row.ids) - 1, token, ABSENT_WEIGHT if first else 0.1, kind if first else "rest"))
            row.ids.append(token)
            first = False

    def _answer_fact(self, row: Question, fact: Fact, question: str, *, brief: bool = False) -> None:
        first, last = fact.values
        row.ids += self._encode(question) + self._to_answer
        known = None if fact.known < first else fact.place + fact.known
        self._copy(row, self._says, fact.tokens[first:last], fact.place + first, "fact", self._stop, known, brief)

    def _copy(
        self,
        row: Question,
        lead: Ids,
        copied: Ids,
        place: int,
        kind: str,
        end: Ids,
        known: int | None = None,
        brief: bool = False,
    ) -> None:
        """An answer: a lead, what is copied from the document's `place` on, and an end.

        `known`: the place behind the copied tokens that tells what they are. `brief`: only the first token.
        """

        def look(target: int, kind: str) -> None:
            row.looks.append((len(row.ids) - 1, target if known is None else known, target, kind))

        def say(token: int, weight: float, kind: str) -> None:
            row.supervised.append((len(row.ids) - 1, token, weight, kind))
            row.ids.append(token)

        look(place, kind)
        if brief:
            say(lead[0], FOUND_WEIGHT, "found")
            return
        for number, token in enumerate(lead):
            say(token, FOUND_WEIGHT if number == 0 else 0.1, "found" if number == 0 else "rest")
        for number, token in enumerate(copied):
            look(place + number, kind if number == 0 else "next")
            say(token, 1.0, kind if number == 0 else "next")
        look(place + len(copied), "next")
        for number, token in enumerate([*end, self._im_end]):
            say(token, 0.5 if number == 0 else 0.1, "end" if number == 0 else "rest")

    def _answer_quote(self, row: Question, document: Array, recipe: Recipe) -> None:
        """Ask for what stands behind some words of the document."""
        rng = self._rng
        asked, more = rng.randrange(10, 25), rng.randrange(12, 25)
        chunk = rng.randrange(len(document))
        start = rng.randrange(len(self.prefix) + 1, recipe.chunk_tokens - asked - more)
        ids: Ids = document[chunk].tolist()
        while start > len(self.prefix) + 1 and ids[start] not in self._word_starts:
            start -= 1
        middle = start + asked
        while ids[middle] not in self._word_starts and middle > start + 8:
            middle -= 1
        end = middle + more
        for place in range(middle + 10, end):
            if ids[place] in self._stop:
                end = place + 1
                break
        quote = self._tokenizer.decode(ids[start:middle]).strip().replace("\n\n", " ")
        row.ids += self._encode(rng.choice(_QUOTE_QUESTIONS).replace("{Q}", quote)) + self._to_answer
        self._copy(row, self._goes_on, ids[middle:end], chunk * recipe.chunk_tokens + middle, "quote", [])
