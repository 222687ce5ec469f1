"""Names, values and phrasings of the facts that the built-in model's search is learned from.

Names are put together from syllables and words by chance, so none is ever learned by heart.
"""

import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

STRANGE: Final = 0.25
"""The share of words that are put together from tokens by chance."""

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


_FOLLOW_UPS = split_words(
    "And {P} {T}?|What about {P} {T}?|Do you know {P} {T}?|Tell me {P} {T}.|And what was {P} {T}?|And {P} {T}, please?|"
    "Can you tell me {P} {T}?|Give me {P} {T}.|What does it say of {P} {T}?|Is {P} {T} given, too?|Name {P} {T}."
)
_FOLLOW_UPS_WHO = split_words("Who is {P} {T}?|And who was {P} {T}?|And who is {P} {T}?")
_AND_ANOTHER = split_words(
    "And {S}?|And for {S}?|And of {S}?|And what about {S}?|And the one of {S}?|And how is it with {S}?"
)
_OWNERS = split_words("his|her|its|their")

_ENTRIES = (
    *split_words(
        "{S}: {V}|{S}: {V}|{S}: {V}|- {S}: {V}|* {S}: {V}|{S} - {V}|{S} – {V}|{S}, {V}|{S} = {V}|{d}. {S}: {V}|"
        "{S} ({V})|{S} .... {V}|{S}; {V}"
    ),
    "| {S} | {V} |",
    "{S} | {V}",
    "| {d} | {S} | {V} |",
)
_LIST_TITLES = split_words(
    "{T}|The {T} of each:|List of {T}s|{T} register, page {d}:|The book of {T}s|Name and {T}|The {T}s at {n}:|"
    "{n}, {T}s:"
)


class Phrasing:
    """Says facts, and asks for them, in templates drawn by chance."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._rng = names.rng

    def sentence(self, subject: str, attribute: str, value: str) -> str:
        return self.fill(self._statement(), subject, attribute, value)

    def question(self, subject: str, attribute: str, sort: str) -> str:
        return self.fill(self._request(sort), subject, attribute, "")

    def follow_up(self, attribute: str, sort: str) -> str:
        """A question about what the one before was about."""
        who = sort == "person" and self._rng.random() < 0.6
        template = self._rng.choice(_FOLLOW_UPS_WHO if who else _FOLLOW_UPS)
        return self.fill(template.replace("{P}", self._rng.choice(_OWNERS)), "", attribute, "")

    def and_another(self, subject: str) -> str:
        """A question about another subject's attribute, which the one before names."""
        return self.fill(self._rng.choice(_AND_ANOTHER), subject, "", "")

    def entry(self) -> str:
        """The template of a list's entries."""
        return self._rng.choice(_ENTRIES)

    def title(self) -> str:
        """The template of a list's title."""
        return self._rng.choice(_LIST_TITLES)

    def _statement(self) -> str:
        pick, chance = self._rng.choice, self._rng.random
        if chance() < 0.4:
            return pick(_SENTENCES)
        lead = pick(_LEADS) + " " if chance() < 0.6 else ""
        return lead + pick(_CLAUSES) + (pick(_TAILS) if chance() < 0.6 else "") + "."

    def _request(self, sort: str) -> str:
        pick, chance = self._rng.choice, self._rng.random
        if sort == "person" and chance() < 0.6:
            return pick(_WHO)
        if chance() < 0.4:
            return pick(_QUESTIONS)
        asked, mark = pick(_REQUESTS)
        return asked.replace("{A}", pick(_ASKED)) + (pick(_ADDED) if chance() < 0.3 else "") + mark

    def fill(self, template: str, subject: str, attribute: str, value: str) -> str:
        """A template with its slots filled, the others by chance."""
        names = self._names
        filled = re.sub(r"\{n\}", lambda _: names.name(), template)
        filled = re.sub(r"\{w\}", lambda _: names.word(), filled)
        filled = filled.replace("{d}", str(names.rng.randrange(1, 1000)))
        filled = filled.replace("{S}", subject).replace("{T}", attribute).replace("{V}", value)
        return filled[0].upper() + filled[1:]
