"""The sample archive: a fictional town's papers, as long as wanted, with unique facts and their questions.

It is the demo document and the haystack of tests and benchmarks. The same seed, size and tokenizer give the same bytes
on every platform: the only source of chance is `random.Random(seed).random()`, whose sequence Python guarantees.

From the outside in: `write_archive` cuts to a number of tokens what a `_Writer` writes section by section; a section is
a heading and some paragraphs; a paragraph is drawn from the sentence grammar in `_WORDS`, `_COMMON` and `_KINDS`; about
every thousand characters a `_FactSource` puts in one fact.
"""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from kiv_engine.errors import ConfigError

MIN_TOKENS = 200
"""The shortest archive, in tokens: the title, one heading and some sentences."""

CountTokens = Callable[[list[str]], list[int]]
"""Gives the number of tokens of each piece of text."""


@dataclass(frozen=True)
class ArchiveFact:
    """One fact. `start` and `end` are the character offsets of `sentence` in the archive's text."""

    subject: str
    attribute: str
    value: str
    question: str
    sentence: str
    start: int
    end: int


@dataclass(frozen=True)
class Archive:
    """A finished archive: its text, its facts in the order of the text, and the seed it was written from."""

    text: str
    facts: tuple[ArchiveFact, ...]
    seed: int


def write_archive(num_tokens: int, count_tokens: CountTokens, seed: int = 0) -> Archive:
    """Write an archive of `num_tokens` tokens or just under (at most 1 % under from 2,000 tokens on, never over).

    `count_tokens(pieces)` gives the token count of each piece, without special tokens. Sections are written one after
    another, each from its own seed, so a longer archive of the same seed and tokenizer begins with the text of a
    shorter one up to the shorter one's last paragraph, which is cut and closed to length.
    """
    if num_tokens < MIN_TOKENS:
        raise ConfigError(f"An archive needs at least {MIN_TOKENS} tokens, not {num_tokens}.")
    if seed < 0:
        raise ConfigError(f"An archive's seed must not be negative, as {seed} is.")
    separator = _separator_tokens(count_tokens)
    whole, room, last = _whole_sections(num_tokens, count_tokens, separator, seed)
    if (tail := _cut(last, room, count_tokens)) is not None:
        return _bind([*whole, tail], seed)
    if not whole:
        raise ConfigError(f"{num_tokens} tokens of this tokenizer do not hold the archive's first sentence.")
    room += separator + count_tokens([whole[-1].text])[0]
    return _bind([*whole[:-1], _close(whole[-1], room, count_tokens)], seed)


def absent_questions(archive: Archive, count: int, seed: int = 0) -> tuple[str, ...]:
    """Write `count` distinct questions, in the archive's own style, about subjects that its text does not name."""
    source = _FactSource()
    rng = random.Random(seed)
    named = {fact.subject for fact in archive.facts}
    questions: dict[str, None] = {}
    while len(questions) < count:
        fact = source.draw(rng, {})
        if fact.subject not in named:
            questions[fact.question] = None
    return tuple(questions)


# -- Cutting to length -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Section:
    """A heading and its paragraphs. Offsets are characters of `text`; `cuts` are the ends of its sentences."""

    text: str
    cuts: tuple[int, ...]
    facts: tuple[ArchiveFact, ...]

    def until(self, cut: int) -> "_Section":
        """The section's first `cut` characters, with the facts that lie within."""
        cuts = tuple(end for end in self.cuts if end <= cut)
        return _Section(self.text[:cut], cuts, tuple(fact for fact in self.facts if fact.end <= cut))

    def plus(self, closing: str) -> "_Section":
        """The section with one more sentence at its end."""
        return _Section(f"{self.text} {closing}", self.cuts, self.facts)


def _separator_tokens(count_tokens: CountTokens) -> int:
    """An upper bound of the tokens that joining two sections costs beyond their own counts."""
    alone, before, after, joined = count_tokens(["\n\n", "It rained.", "CHAPTER", "It rained.\n\nCHAPTER"])
    return max(alone, joined - before - after)


def _whole_sections(
    num_tokens: int, count_tokens: CountTokens, separator: int, seed: int
) -> tuple[list[_Section], int, _Section]:
    """The sections that fit `num_tokens`, the tokens left for the text of one more, and the first that does not fit."""
    sections = _Writer(seed).sections()
    whole: list[_Section] = []
    room, mean = num_tokens, 1_000
    while True:
        batch = list(itertools.islice(sections, max(1, min(512, room // mean + 1))))
        for section, tokens in zip(batch, count_tokens([section.text for section in batch]), strict=True):
            if tokens > room:
                return whole, room, section
            whole.append(section)
            room -= tokens + separator
        mean = max(1, (num_tokens - room) // len(whole))


def _cut(section: _Section, room: int, count_tokens: CountTokens) -> _Section | None:
    """The longest run of whole sentences of `section` that fits `room` tokens, closed to length; None if none fits."""
    counts = count_tokens([section.text[:cut] for cut in section.cuts])
    fitting = [cut for cut, tokens in zip(section.cuts, counts, strict=True) if tokens <= room]
    return _close(section.until(fitting[-1]), room, count_tokens) if fitting else None


def _close(section: _Section, room: int, count_tokens: CountTokens) -> _Section:
    """Add the longest closing sentences that still fit `room` tokens, each at most once."""
    closings = list(_CLOSINGS)
    while closings:
        counts = count_tokens([section.plus(closing).text for closing in closings])
        fitting = [(tokens, closing) for tokens, closing in zip(counts, closings, strict=True) if tokens <= room]
        if not fitting:
            break
        section = section.plus(max(fitting)[1])
        closings = [closing for _, closing in fitting if not section.text.endswith(closing)]
    return section


def _bind(sections: list[_Section], seed: int) -> Archive:
    """Join the sections with blank lines and move their facts to their place in the whole text."""
    facts: list[ArchiveFact] = []
    offset = 0
    for section in sections:
        facts += [_moved(fact, offset) for fact in section.facts]
        offset += len(section.text) + 2
    return Archive("\n\n".join(section.text for section in sections), tuple(facts), seed)


def _moved(fact: ArchiveFact, offset: int) -> ArchiveFact:
    """The fact with its sentence `offset` characters further on."""
    return ArchiveFact(
        fact.subject, fact.attribute, fact.value, fact.question, fact.sentence, fact.start + offset, fact.end + offset
    )


# -- Chance and grammar ------------------------------------------------------------------------------------------------


def _below(rng: random.Random, limit: int) -> int:
    """A whole number from 0 to `limit` - 1."""
    return int(rng.random() * limit)


def _pick(rng: random.Random, words: tuple[str, ...]) -> str:
    return words[int(rng.random() * len(words))]


def _order(rng: random.Random, length: int) -> list[int]:
    """The places 0 to `length` - 1 in a chance order."""
    order = list(range(length))
    for place in range(length - 1, 0, -1):
        other = _below(rng, place + 1)
        order[place], order[other] = order[other], order[place]
    return order


@cache
def _parts(template: str) -> tuple[str, ...]:
    """Text and slot names of a template, by turns: even places are text."""
    return tuple(re.split(r"\{([^}]*)\}", template))


def _expand(template: str, rng: random.Random, bound: Mapping[str, str]) -> str:
    """Fill a template's slots.

    `{name}` is bound text or a word of the list of that name (itself a template); `{a name}` puts "a" or "an" before
    it; `{name!}` capitalizes it.
    """
    parts = _parts(template)
    if len(parts) == 1:
        return template
    filled = list(parts)
    for place in range(1, len(parts), 2):
        filled[place] = _fill(parts[place], rng, bound)
        if filled[place] in filled[1:place:2]:  # once more, so that "{folk} met {folk}" is seldom the same folk
            filled[place] = _fill(parts[place], rng, bound)
    return "".join(filled)


def _fill(slot: str, rng: random.Random, bound: Mapping[str, str]) -> str:
    """The text of one slot."""
    if slot in bound:
        return bound[slot]
    if slot.startswith("a "):
        return _with_article(_fill(slot[2:], rng, bound))
    if slot.endswith("!"):
        return _capitalized(_fill(slot[:-1], rng, bound))
    if slot in _NUMBERS:
        low, high = _NUMBERS[slot]
        return str(low + _below(rng, high - low + 1))
    return _expand(_pick(rng, _WORDS[slot]), rng, bound)


def _with_article(noun: str) -> str:
    article = "an" if noun[0].lower() in "aeiou" and not noun.startswith(("one", "use", "uni")) else "a"
    return f"{article} {noun}"


def _capitalized(text: str) -> str:
    """The text with its first letter a capital, the others as they are."""
    return text[:1].upper() + text[1:]


def _titled(heading: str) -> str:
    """The heading with capitals, apart from its small words."""
    return " ".join(word if word in _SMALL_WORDS else _capitalized(word) for word in heading.split(" "))


# -- Sections and paragraphs -------------------------------------------------------------------------------------------

_SECTIONS_A_YEAR = 12
_SECTIONS_A_VOLUME = 24
_FIRST_YEAR = 1501
_VOLUME_SEEDS = 500_000_000_000
"""Where the seeds of volumes begin, far beyond those of sections."""
_FACT_SPACING = 900, 1_200
"""Fewest and most characters from one fact to the next one that is due."""


@dataclass(frozen=True)
class _Person:
    """One of the town's people; `she` is "she" or "he"."""

    title: str
    surname: str
    she: str

    @property
    def name(self) -> str:
        return f"{self.title} {self.surname}"

    def slots(self, role: str, called: str) -> dict[str, str]:
        """The slots of the person in a role: what the sentence calls the person, and the pronouns."""
        his, him = ("her", "her") if self.she == "she" else ("his", "him")
        return {role: called, f"{role}.he": self.she, f"{role}.his": his, f"{role}.him": him}


@dataclass(frozen=True)
class _Scene:
    """What stays fixed within a section: slots for its date, season and writer, and its other people."""

    slots: dict[str, str]
    season: str
    people: tuple[_Person, ...]

    def sentence_slots(self, named: set[str], rng: random.Random) -> dict[str, str]:
        """The scene's slots, two people as A and B, and weather of the season.

        Who was `named` in the paragraph is mostly called by the office alone from then on.
        """
        slots = {**self.slots, "weather": _expand(f"{{{self.season}_weather}}", rng, {})}
        place = _below(rng, len(self.people))
        other = (place + 1 + _below(rng, len(self.people) - 1)) % len(self.people)
        for role, person in (("A", self.people[place]), ("B", self.people[other])):
            by_office = person.name in named and person.title in _OFFICES and rng.random() < 0.7
            slots |= person.slots(role, f"the {person.title.lower()}" if by_office else person.name)
        return slots


class _Writer:
    """Writes an archive's sections, one after another and without end.

    Attributes: `seed`; `source`, the facts; `decks`, what is left to draw of each pool of sentences, so that a sentence
    pattern comes back only when its pool is spent; `written` and `due`, both in characters: where the text stands, and
    where the next fact belongs.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.source = _FactSource()
        self.decks: dict[str, list[str]] = {}
        self.written = 0
        self.due = 0

    def sections(self) -> Iterator[_Section]:
        """All sections, in order, each from its own seed."""
        for number in itertools.count():
            yield self._section(number, random.Random(self.seed * 1_000_003 + number))

    def _section(self, number: int, rng: random.Random) -> _Section:
        """Section `number`, counted from 0."""
        kind = self._draw("kinds", rng)
        scene = self._scene(number, rng)
        page = _Page(self._headings(number, kind, scene, rng))
        paragraphs = 4 + _below(rng, 3)
        for place in range(paragraphs):
            self._paragraph(page, kind, scene, rng)
            if place == paragraphs - 1:
                self._sentence(page, f"{kind}.close", scene, rng)
        self.written += page.length
        return page.section()

    def _headings(self, number: int, kind: str, scene: _Scene, rng: random.Random) -> list[str]:
        """The lines above section `number`: the archive's title, a volume's title, and always a chapter's."""
        volume, chapter = divmod(number, _SECTIONS_A_VOLUME)
        lines = [] if number else [_TITLE, _PREFACE]
        if chapter == 0:
            first = _FIRST_YEAR + number // _SECTIONS_A_YEAR
            title = _expand("{book_of}", self._volume_rng(volume), {})
            lines.append(f"VOLUME {volume + 1}: {title}, {first} to {first + 1}")
        heading = _expand(self._draw(f"{kind}.head", rng), rng, scene.slots)
        return [*lines, f"Chapter {chapter + 1}. {_titled(heading)}"]

    def _volume_rng(self, volume: int) -> random.Random:
        """Chance that is the same in all sections of a volume."""
        return random.Random(self.seed * 1_000_003 + _VOLUME_SEEDS + volume)

    def _scene(self, number: int, rng: random.Random) -> _Scene:
        """The scene of section `number`, with six of the volume's twelve people."""
        month, year = number % _SECTIONS_A_YEAR, _FIRST_YEAR + number // _SECTIONS_A_YEAR
        season = _SEASONS[(month + 1) % 12 // 3]
        cast = _volume_cast(self._volume_rng(number // _SECTIONS_A_VOLUME))
        writer, *people = (cast[place] for place in _order(rng, len(cast))[:6])
        date = f"{_MONTHS[month]} {1 + _below(rng, 28)}, {year}"
        return _Scene({"date": date, "season": season, **writer.slots("W", writer.name)}, season, tuple(people))

    def _paragraph(self, page: "_Page", kind: str, scene: _Scene, rng: random.Random) -> None:
        """Write one paragraph of about 340 to 800 characters, with a fact if one is due."""
        target = 340 + _below(rng, 260)
        fact_due = self.written + page.length >= self.due
        fact_place = 1 + _below(rng, 3) if self.due else 1
        page.begin()
        while fact_due or page.open_length < target:
            if not page.has_sentences:
                self._sentence(page, f"{kind}.open", scene, rng)
            elif fact_due and page.open_sentences == fact_place:
                self._fact(page, scene, rng)
                fact_due = False
            else:
                self._sentence(page, kind if rng.random() < 0.5 else "common", scene, rng)

    def _sentence(self, page: "_Page", pool: str, scene: _Scene, rng: random.Random) -> None:
        """Add a sentence of a pool, or, where the section had the pattern that comes next, of the common pool."""
        template = self._draw(pool, rng)
        while template in page.used:
            template = self._draw("common", rng)
        page.used.add(template)
        sentence = _capitalized(_expand(template, rng, scene.sentence_slots(page.named, rng)))
        page.add(sentence)
        page.named |= {person.name for person in scene.people if person.name in sentence}

    def _fact(self, page: "_Page", scene: _Scene, rng: random.Random) -> None:
        """Add a fact, and place the next one a chance distance on, measured from where this one was due."""
        page.add_fact(self.source.draw(rng, scene.sentence_slots(page.named, rng)))
        low, high = _FACT_SPACING
        self.due += low + _below(rng, high - low)

    def _draw(self, pool: str, rng: random.Random) -> str:
        """The next of a pool's deck, which is shuffled anew when it is spent."""
        if not self.decks.get(pool):
            words = _pool(pool)
            self.decks[pool] = [words[place] for place in _order(rng, len(words))]
        return self.decks[pool].pop()


def _pool(name: str) -> tuple[str, ...]:
    """What can be drawn: "kinds" of sections, "common" sentences, those of a kind, or a part such as "letter.open"."""
    if name == "kinds":
        return tuple(_KINDS)
    if name == "common":
        return _COMMON
    kind, _, part = name.partition(".")
    return _KINDS[kind][part or "body"]


def _volume_cast(rng: random.Random) -> list[_Person]:
    """Twelve people with different titles."""
    titles = [_TITLES[place].split(":") for place in _order(rng, len(_TITLES))[:12]]
    return [_Person(title, _expand("{cast_surname}", rng, {}), she) for title, she in titles]


class _Page:
    """A section in the making. All lengths are in characters.

    Attributes: `length`; `open_sentences`, the number of sentences in the paragraph that is being written, and `named`,
    the people whose names stand in it; `used`, the section's sentence patterns so far.
    """

    def __init__(self, headings: list[str]) -> None:
        self._pieces = ["\n\n".join(headings)]
        self.length = len(self._pieces[0])
        self._cuts: list[int] = []
        self._facts: list[ArchiveFact] = []
        self._begun = 0
        self.open_sentences = 0
        self.used: set[str] = set()
        self.named: set[str] = set()

    @property
    def has_sentences(self) -> bool:
        """Whether anything stands below the headings."""
        return bool(self._cuts)

    @property
    def open_length(self) -> int:
        """The length of the paragraph that is being written."""
        return self.length - self._begun

    def begin(self) -> None:
        """Begin a paragraph."""
        self._begun = self.length + 2
        self.open_sentences = 0
        self.named = set()

    def add(self, sentence: str) -> None:
        """Add a sentence to the paragraph."""
        gap = " " if self.open_sentences else "\n\n"
        self._pieces += [gap, sentence]
        self.length += len(gap) + len(sentence)
        self._cuts.append(self.length)
        self.open_sentences += 1

    def add_fact(self, fact: ArchiveFact) -> None:
        """Add a fact's sentence to the paragraph, and keep where it stands."""
        self.add(fact.sentence)
        self._facts.append(_moved(fact, self.length - len(fact.sentence)))

    def section(self) -> _Section:
        """The finished section."""
        return _Section("".join(self._pieces), tuple(self._cuts), tuple(self._facts))


# -- Facts -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Attribute:
    """What can be known of a subject. `value` names the list of values; the other two are phrasings of its own."""

    name: str
    value: str
    sentences: tuple[str, ...]
    questions: tuple[str, ...]

    @property
    def is_person(self) -> bool:
        """Whether the value is a person's name, so that questions ask who."""
        return self.value == "v_name"


@dataclass(frozen=True)
class _Family:
    """Subjects of one sort: `pattern` filled with a word of each list, or with a number where the lists are empty."""

    pattern: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    attributes: tuple[_Attribute, ...]

    def subject(self, key: tuple[int, int]) -> str:
        """The subject of a key: a number and 0, or a place in each list."""
        if not self.first:
            return self.pattern.format(key[0])
        return self.pattern.format(self.first[key[0]], self.second[key[1]])

    def chance_key(self, rng: random.Random, numbers: int) -> tuple[int, int]:
        """Any key; where the family is numbered, below `numbers`."""
        if not self.first:
            return 11 + _below(rng, numbers), 0
        return _below(rng, len(self.first)), _below(rng, len(self.second))

    def similar_key(self, key: tuple[int, int], rng: random.Random) -> tuple[int, int]:
        """A key whose subject is easily taken for that of `key`: the next number, or one half of the name shared."""
        if not self.first:
            return max(11, key[0] + (1, -1, 10, 100)[_below(rng, 4)]), 0
        if rng.random() < 0.5:
            return key[0], _below(rng, len(self.second))
        return _below(rng, len(self.first)), key[1]


class _FactSource:
    """Draws facts, no (subject, attribute) pair twice, with natural near-duplicates among them."""

    def __init__(self) -> None:
        self._used: set[tuple[int, tuple[int, int], str]] = set()
        self._known: list[tuple[int, tuple[int, int], _Attribute]] = []

    def draw(self, rng: random.Random, bound: Mapping[str, str]) -> ArchiveFact:
        """A new fact, its sentence filled from `bound`, its offsets those of the sentence alone."""
        place, key, attribute = self._new_pair(rng)
        self._used.add((place, key, attribute.name))
        self._known.append((place, key, attribute))
        subject = _FAMILIES[place].subject(key)
        value = _expand(_pick(rng, _WORDS[attribute.value]), rng, {})
        sentence, question = _phrasing(attribute, not _FAMILIES[place].first, rng)
        verb = "are" if attribute.name.endswith("hours") else "is"
        slots = {**_NOBODY, **bound, "S": subject, "T": attribute.name, "V": value, "is": verb}
        said, asked = (_capitalized(_expand(template, rng, slots)) for template in (sentence, question))
        return ArchiveFact(subject, attribute.name, value, asked, said, 0, len(said))

    def _new_pair(self, rng: random.Random) -> tuple[int, tuple[int, int], _Attribute]:
        """A family's place, a subject's key and an attribute that were not drawn together before."""
        tries = 0
        while True:
            place, key, attribute = self._candidate(rng, 900 + 2 * len(self._known) + 100 * tries)
            if (place, key, attribute.name) not in self._used:
                return place, key, attribute
            tries += 1

    def _candidate(self, rng: random.Random, numbers: int) -> tuple[int, tuple[int, int], _Attribute]:
        """A known subject's other attribute, a similar subject's same attribute, or, most often, anything."""
        chance = rng.random()
        if self._known and chance < 0.4:
            place, key, attribute = self._known[_below(rng, len(self._known))]
            family = _FAMILIES[place]
            if chance < 0.2:
                return place, key, family.attributes[_below(rng, len(family.attributes))]
            return place, family.similar_key(key, rng), attribute
        place = _below(rng, len(_FAMILIES))
        family = _FAMILIES[place]
        return place, family.chance_key(rng, numbers), family.attributes[_below(rng, len(family.attributes))]


def _phrasing(attribute: _Attribute, numbered: bool, rng: random.Random) -> tuple[str, str]:
    """The templates of a fact's sentence and question: about one in four plain, the others varied."""
    if not attribute.is_person and rng.random() < (0.5 if numbered else 0.22):
        return _PLAIN_SENTENCE, _PLAIN_QUESTION
    sentences = attribute.sentences if rng.random() < 0.35 else _FACT_SENTENCES
    generic = _WHO_QUESTIONS if attribute.is_person else _WHAT_QUESTIONS
    return _pick(rng, sentences), _pick(rng, attribute.questions if rng.random() < 0.5 else generic)


_NOBODY = {"A": "the clerk", "A.he": "he", "A.his": "his", "B": "the sexton"}
_PLAIN_SENTENCE = "By the way, {S}'s {T} {is} {V}."
_PLAIN_QUESTION = "What {is} {S}'s {T}?"


def _lines(text: str) -> tuple[str, ...]:
    """The lines of a block of text, without its blank ones."""
    return tuple(line.strip() for line in text.strip().splitlines() if line.strip())


def _words(text: str) -> tuple[str, ...]:
    """The words of a list written with bars between them."""
    return tuple(word.strip() for word in text.replace("\n", " ").split("|"))


def _family(pattern: str, first: tuple[str, ...], second: tuple[str, ...], attributes: str) -> _Family:
    """Read a family: `name = values` begins an attribute, "- " one of its phrasings, "? " one of its questions."""
    read: list[_Attribute] = []
    for line in _lines(attributes):
        name, is_head, value = line.partition(" = ")
        if is_head:
            read.append(_Attribute(name, value, (), ()))
        elif line.startswith("? "):
            read[-1] = replace(read[-1], questions=(*read[-1].questions, line[2:]))
        else:
            read[-1] = replace(read[-1], sentences=(*read[-1].sentences, line[2:]))
    return _Family(pattern, first, second, tuple(read))


# -- The words ---------------------------------------------------------------------------------------------------------

_TITLE = "THE ARCHIVE OF PELLINGWATER"
_PREFACE = (
    "Being the minutes, logs, letters, quarrels and recipes of one small harbor town, copied fair and left unsorted."
)
_MONTHS = _words("January|February|March|April|May|June|July|August|September|October|November|December")
_SEASONS = ("winter", "spring", "summer", "autumn")
_SMALL_WORDS = _words("a|an|the|of|in|on|at|to|by|for|from|and|or|with|that|such|as|it|is")
# A title and its bearer's pronoun; each goes with one surname for the length of a volume.
_TITLES = _words(
    """Alderman:he|Widow:she|Sister:she|Brother:he|Captain:he|Doctor:she|Beadle:he|Dame:she|Magistrate:she|
    Constable:he|Mother:she|Uncle:he|Aunt:she|Professor:he|Sergeant:he|Deacon:he|Matron:she|Commissioner:he|Master:he|
    Mistress:she|Goodman:he|Abbess:she|Organist:he|Ferrymaster:he|Apothecary:she|Librarian:she|Bandmaster:he|Inspector:she"""
)
_OFFICES = _words(
    """Alderman|Widow|Doctor|Beadle|Magistrate|Constable|Professor|Sergeant|Deacon|Matron|Commissioner|Abbess|Organist|
    Ferrymaster|Apothecary|Librarian|Bandmaster|Inspector"""
)
_CLOSINGS = _lines("""
    So much for today.
    More tomorrow.
    Here the page ends.
    The candle is nearly out.
    The rest of this sheet was eaten by mice.
    Below this line there is only a ring left by a cup of tea.
    The remaining lines are blotted, and smell, even now, of pickled herring and lamp oil.
    Whoever copied this page drew a small snail in the corner, gave it a hat, and went home to supper.
    Stop.
    Enough.
    And so on.
    The end of the sheet is torn off, and the tear is neat, as if someone had needed the paper for a shopping list.
""")

_NUMBERS = {
    "n9": (2, 9),
    "n20": (13, 39),
    "n31": (1, 28),
    "n99": (11, 99),
    "n300": (21, 300),
    "n999": (101, 999),
    "n9999": (1_001, 9_999),
    "n99999": (10_001, 99_999),
    "year_value": (1_203, 1_499),
}

_WORDS: dict[str, tuple[str, ...]] = {
    "book_of": _lines("""
        The Book of the {bookish} {book_noun}
        The Years of the {bookish} {book_noun}
        The Ledger of the {bookish} {book_noun}
        Papers from the {bookish} {book_noun}
    """),
    "bookish": _words(
        """Leaking|Borrowed|Second|Painted|Unpaid|Missing|Crooked|Frozen|Noisy|Lost|Patient|Upside-Down|Mended|
        Singing|Forgotten|Salted|Stubborn|Tall|Ill-Tempered|Honest|Quarrelsome|Yellow|Late|Sunken|Whistling|Disputed"""
    ),
    "book_noun": _words(
        """Roof|Bell|Ladder|Tide|Goose|Pump|Bridge|Chimney|Herring|Ferry|Staircase|Wedding|Turnip|Anchor|Umbrella|
        Lamp|Weathercock|Orchard|Cellar|Parade|Kettle|Fog|Trombone|Cheese|Almanac|Gate"""
    ),
    "cast_surname": ("{cast_pre}{cast_suf}",),
    "cast_pre": _words("Tam|Ober|Pock|Lud|Quen|Bram|Hask|Dray|Mop|Fen|Gad|Wim|Trol|Snod|Hob|Yar|Crum|Pil|Vent|Nub"),
    "cast_suf": _words("sbury|sworth|kettle|nacle|stoke|plow|gable|bottle|ridge|whistle"),
    "v_name": ("{v_first} {v_pre}{v_suf}",),
    "v_first": _words(
        """Adela|Bastian|Celia|Dorian|Elspet|Florian|Greta|Hector|Ilse|Joram|Katrin|Lorenz|Mirabel|Nestor|Odile|
        Piers|Quirin|Rosamund|Silas|Tilda|Ulric|Verity|Wendel|Xenia|Yorick|Zelda|Ambrose|Beatrix|Corwin|Delphine"""
    ),
    "v_pre": _words(
        """Ald|Birk|Cald|Darn|Elm|Farn|Glen|Hart|Ives|Kell|Lang|Marl|Nor|Oak|Penn|Rav|Sand|Tarn|Under|Wyn|Cran|Stan"""
    ),
    "v_suf": _words("mere|dale|worthy|gate|combe|holt|ley|ford"),
    "few": _words("two|three|four|five|six|seven|eight|nine|eleven|twelve"),
    "street": _words(
        """Weir Lane|Candle Street|Eelpot Row|Sloping Lane|Tar Alley|Mustard Street|Ropewalk|Gander Hill|
        Lower Pump Lane|Netmakers' Row|Blind Horse Alley|Salt Steps|Pewter Street|Long Ditch|Hatbox Lane|
        Thimble Court|Barrel Hill|Old Mole Street|Creaking Stairs|Nettle Lane|Upper Pump Lane|Quince Street|
        Dripping Arch|Seven Doors"""
    ),
    "place": _words(
        """the fish market|the tollhouse|the customs shed|the lower pump|the bandstand|the school gate|
        the salt barn|the rope yard|the north quay|the duck pond|the vestry|the weigh house|the drying green|
        the town oven|the ferry steps|the almshouse|the skittle ground|the old gallows|the bakehouse|
        the boat shed|the tannery|the little library|the clock stairs|the cooper's yard|the mill race|{inn}"""
    ),
    "inn": _words(
        """the Drowned Cork|the Tired Heron|the Three Left Boots|the Ninth Wave|the Sober Monk|the Crab and Candle|
        the Last Ferry|the Upturned Boat|the Feathered Anchor|the Empty Purse"""
    ),
    "thing": _words(
        """borrowed ladder|stuffed pike|brass weathercock|left boot|barometer|trombone|butter churn|wooden leg|
        umbrella|wedding hat|cracked bell|harpoon|spare rudder|iron stove|birdcage|copper kettle|accordion|
        wheelbarrow|pulpit|painted sign|rocking chair|fishing net|grandfather clock|sledge|lamp|parish pump handle|
        piano stool|compass|mousetrap|bathtub|coil of rope|portrait of the founder|cheese press|feather bed|
        hourglass|telescope|egg basket|oar|drum|scarecrow|bellows|snow shovel|gravy boat|chess set|cradle|
        spinning wheel|anvil|tea chest"""
    ),
    "things": _words(
        """lanterns|eel traps|church candles|oak planks|roof tiles|hymn books|herring barrels|fishhooks|mattresses|
        pewter spoons|tin whistles|window panes|sailcloth patches|cabbages|turnips|cider jugs|door hinges|
        goose quills|wool blankets|brass buttons|clay pipes|onions|honey jars|horseshoes|walnuts|chamber pots|
        paper lanterns|sheepskins|candlesticks|smoked hams|bell ropes|wheel spokes"""
    ),
    "stuff": _words(
        """salted herring|blue candles|lamp oil|dried pears|Sunday hats|black pepper|goose feathers|window glass|
        smoked eel|almond soap|barley sugar|ship's biscuit|yellow ink|raw wool|pickled walnuts|roof slates|
        cork floats|beeswax|mustard seed|copper nails|tea leaves|lavender oil|church bells|sea salt|green paint|
        playing cards|ginger root|fiddle strings|sealing wax|marmalade|oak barrels|wooden spoons"""
    ),
    "container": _words("crates|barrels|sacks|chests|baskets|casks|bales|tubs|jars|boxes"),
    "animal": _words(
        """goose|one-eyed cat|mule|goat|parrot|pig|donkey|swan|ferret|rooster|sheepdog|seal|magpie|tortoise|
        hedgehog|cow|pony|jackdaw"""
    ),
    "folk": _words(
        """the coopers|the net menders|the bell ringers|the schoolchildren|the fishwives|the tanners|the choirboys|
        the watchmen|the lamplighters|the bakers|the ferrymen|the chimney sweeps|the rope walkers|the midwives|
        the glaziers|the trumpeters|the beekeepers|the widows of {street}|the visitors|the oldest men on the quay"""
    ),
    "matter": _words(
        """the drains|the missing {thing}|the price of bread|the smell from {place}|the new bridge|
        the crooked chimney|the feud in {street}|the quality of the beer|the goose in the vestry|
        the ferry's timetable|the harvest supper|the color of the town hall door|the late clock|the rats|
        the fence by {place}|the noise of {folk}|the band's hats|the ghost in {street}|the pigeons|
        the election of a new beadle|the {thing} in the well"""
    ),
    "why": _words(
        """on account of the fog|because nobody had brought a key|for want of chairs|owing to a wedding|
        because of the smell|since the tide would not wait|for reasons of economy|out of plain stubbornness|
        because the cat was asleep on it|by order of a committee nobody remembers appointing|as custom demands|
        for fear of the {animal}|since it was raining indoors as well|because someone had painted over the notice|
        to spare the feelings of {folk}|as the ladder had been lent out|in memory of better soup"""
    ),
    "when": _words(
        """at low tide|before breakfast|after the second bell|toward evening|in broad daylight|during the sermon|
        between two showers|on market day|shortly before midnight|at the stroke of noon|while the band was playing|
        in the middle of supper|at first light|on the way to {place}|on the eve of the fair|
        just after the ferry left"""
    ),
    "lead": _words(
        """Toward evening,|After the second bell,|On the way home,|Before anyone could object,|By common consent,|
        In the confusion,|To be fair,|According to {folk},|As usual,|Rather late in the day,|That same week,|
        If {folk} are to be believed,|Without a word,|At the corner of {street},|Not for the first time,|
        Between two showers,|In the end,|As so often in {season},|Behind {place},|While the kettle boiled,"""
    ),
    "tail": (
        *("" for _ in range(9)),
        *_lines("""
            , which surprised nobody
            , to general relief
            , to the surprise of the {animal}
            , though opinions differ
            , as {folk} had foretold
            , and the matter rested there
            , with the usual consequences
            , or so it is told in {street}
            , much to the annoyance of {folk}
            , and no harm was done
            , {why}
            , in spite of the weather
            , for the third time since {pastmonth}
            , and the soup got cold meanwhile
            , without asking {folk}
            , whatever the almanac says
        """),
    ),
    "pastmonth": _MONTHS,
    "verdict": _words(
        """a disgrace|a triumph|no worse than last year|an omen|a waste of good rope|the talk of {street}|
        very nearly art|a matter for the bishop|entirely the fault of {folk}|an improvement|a sign of the times|
        too salty|a great comfort|not what was ordered|beneath comment|the finest in living memory|
        a nuisance by day and a terror by night"""
    ),
    "mood": _words(
        """cheerful|sour|thoughtful|damp|unusually polite|suspicious|hungry|out of breath|covered in flour|
        very quiet|in high spirits|offended|half asleep|pink with effort|entirely unrepentant|
        wrapped in a tablecloth"""
    ),
    "good": _words(
        """patience|a fine singing voice|thrift|soup|honest weights|knots|good handwriting|a talent for silence|
        long memory|quick temper|excellent cheese|skill with bees|kindness to mules|loud prayers|punctuality"""
    ),
    "food": _words(
        """eel pie|barley soup|pickled walnuts|onion tart|plum dumplings|smoked haddock|turnip mash|
        goose in mustard|seed cake|crab broth|honey bread|cabbage rolls|apple fritters|pease pudding|
        herring on toast|quince jelly|oat cakes|mutton stew"""
    ),
    "spice": _words("nutmeg|caraway|mustard|dill|black pepper|ginger|saffron|thyme|salt|juniper|fennel seed|bay leaf"),
    "ware": _words(
        "an iron pan|the second-best pot|a stone jar|the deep dish|a clean bucket|the big copper|a borrowed bowl"
    ),
    "remedy": _words(
        """goose fat|nettle tea|a hot brick|a poultice of onions|brandy|prayer|sea bathing|a red flannel sock|
        silence|honey and vinegar|a brisk walk to {place}|a day in bed"""
    ),
    "boat": _words(
        """barge from upriver|three-masted stranger|eel boat|coal lighter|mail cutter|timber raft|leaky ketch|
        herring smack|pilot boat|salt barge|pleasure boat with no one aboard|dredger|whaler, long retired|
        brig under patched sails"""
    ),
    "wind": _words(
        """northeasterly|light and shifting|strong from the west|a dead calm|southerly with drizzle|
        gusting from the hills|fair for once|backing east by noon|steady from seaward|sulky"""
    ),
    "winter_weather": _words(
        """hard frost|sleet|snow to the doorsills|a thin gray fog|ice on the mill race|bitter wind off the bar|
        still cold|a sky like pewter|hail at noon|black ice in {street}"""
    ),
    "spring_weather": _words(
        """soft rain|a bright cold morning|a scattering of showers|mud everywhere|the first warm wind|a late frost|
        a sky full of swallows|a rainbow over {place}|blossom and drizzle|sun between squalls"""
    ),
    "summer_weather": _words(
        """heat over the flats|thunder inland|a cloudless day|warm haze|dust in {street}|a sea like glass|
        a plague of midges|one short shower|a copper sunset|long light until ten"""
    ),
    "autumn_weather": _words(
        """a gale from the west|thick fog off the marsh|a golden afternoon|steady rain|a litter of leaves|
        a high tide|a noise of wild geese|the first frost|a red moon|wind in the chimneys"""
    ),
    "sum": _words(
        "{few} crowns|{n20} pence|{n99} crowns|half a crown|{few} crowns and {few} pence|the price of a good hat"
    ),
    # Values of facts.
    "v_date": tuple(f"{month} {{n31}}" for month in _MONTHS),
    "v_number": ("{n99}", "{n999}", "{n300}"),
    "v_pounds": ("{n999} pounds", "{n9999} pounds"),
    "v_feet": ("{n99} feet", "{n20} fathoms", "{n300} feet"),
    "v_code": tuple(f"{a}{b}-{{n9999}}" for a, b in zip("BDFGHKLMNPQRSTVWXZ", "KWTRZNXQMLVBPHDGFS", strict=True)),
    "v_pin": ("{n9999}", "{n99999}"),
    "v_price": ("{n99} crowns", "{n300} crowns", "{n9} crowns and {n20} pence"),
    "v_year": ("{year_value}",),
    "v_time": _words(
        """half past six|a quarter to eight|ten minutes past nine|noon|a quarter past four|half past eleven|
        twenty minutes to seven|five in the morning|a quarter to midnight|half past two|ten minutes to three|
        twenty minutes past ten|a quarter past seven|half past five"""
    ),
    "v_hours": ("from {v_open} to {v_shut}",),
    "v_open": _words("six|seven|half past seven|eight|half past eight|nine|ten|eleven"),
    "v_shut": _words("noon|one|two|half past two|three|four|half past four|five"),
    "v_weekday": tuple(
        f"the {which} {day} of the month"
        for which in ("first", "second", "third", "last")
        for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    ),
    "v_goods": ("{few} {container} of {stuff}", "{n99} {container} of {stuff}"),
    "v_color": tuple(
        f"{shade} {color}"
        for shade in ("dark", "pale", "bright", "smoky", "faded", "milky")
        for color in ("green", "blue", "red", "yellow", "gray", "violet", "orange", "brown")
    ),
    "v_password": ("{pass_a} {pass_b} {pass_c}",),
    "pass_a": _words(
        "copper|velvet|hollow|silver|burning|frozen|crimson|paper|wooden|marble|amber|thirsty|gentle|iron"
    ),
    "pass_b": _words("lantern|pelican|thimble|walnut|ladder|trumpet|candle|beetle|saddle|teacup|barley|feather|acorn"),
    "pass_c": _words("nine|river|at dawn|sleeping|forty|meadow|overboard|tomorrow|uphill|seventeen|harvest|twice"),
    "v_trade": _words(
        """clock mender|bell founder|eel smoker|map painter|rope maker|glass blower|bee keeper|button carver|
        wig maker|barrel cooper|candle dipper|ship's carpenter|salt boiler|toy maker|lock smith|ink grinder|
        lace weaver|well digger|sign painter|oven builder|letter writer|fiddle maker|snuff grinder|mole catcher|
        goose herd|paper maker|sail maker|tooth puller|kite maker|bridge keeper"""
    ),
    "v_dish": ("{food} with {with_food}",),
    "with_food": _words(
        """mustard|plum sauce|brown butter|stewed pears|pickled onions|horseradish|sour cream|fried sage|honey|dill|
        red cabbage|walnuts|green apples|burnt sugar"""
    ),
    "v_place": _words(
        """behind the bread oven|under the third stair|inside the hollow elm|above the stable door|
        in the rain barrel|beneath the sundial|in a blue teapot|up the cold chimney|between two hymn books|
        under the beehive|in the left boot|behind the founder's portrait|in the flour bin|under a loose brick|
        inside the cuckoo clock|below the anchor stone|in the cheese cellar|on top of the linen press|
        in the toe of a stocking"""
    ),
}

# -- The phrasings of facts --------------------------------------------------------------------------------------------

# {S} is the subject, {T} the attribute, {V} the value. No template begins with {V}: the value stands as it is.
_FACT_SENTENCES = _lines("""
    The clerk noted in the margin that the {T} of {S} {is} {V}.
    For the record, {S}'s {T} {is} {V}, whatever they say at {inn}.
    {A} swears that {S}'s {T} {is} {V}, and {A.he} looked it up twice.
    Note well: the {T} of {S} {is} {V}.
    As for {S}, the {T} {is} {V}, and nobody disputes it.
    Ask any child in {street} and you will hear that the {T} of {S} {is} {V}.
    The entry for {S} reads as follows: {T}, {V}.
    Under {S} the register gives {V} as the {T}.
    A penciled line gives {S}'s {T} as {V}.
    Let no one forget again that {S}'s {T} {is} {V}.
    {A} lost a wager of three eels by denying that the {T} of {S} {is} {V}.
    When asked about the {T} of {S}, {B} looked it up and answered: {V}.
    Painted on a board outside {place}, for all to read: {T} of {S}, {V}.
    Three separate hands confirm that {S}'s {T} {is} {V}.
    It is written on the back of an old menu that the {T} of {S} {is} {V}.
    {B} would like it known that {S}'s {T} {is} {V} and has never been anything else.
    After some argument it was agreed that {V} {is} the correct {T} of {S}.
    A slip of paper tucked in here says only this: {S}, {T}, {V}.
""")
_WHAT_QUESTIONS = _lines("""
    What {is} {S}'s {T}?
    What {is} the {T} of {S}?
    According to the archive, what {is} {S}'s {T}?
    Can you tell me the {T} of {S}?
    What does the archive give as the {T} of {S}?
    Please look up {S}'s {T}: what {is} it?
""")
_WHO_QUESTIONS = _lines("""
    Who is {S}'s {T}?
    Who is the {T} of {S}?
    According to the archive, who is {S}'s {T}?
    Can you tell me the name of {S}'s {T}?
    Whom does the archive name as the {T} of {S}?
""")

_SHIP_WORDS = _words(
    """Merry|Patient|Crooked|Silver|Northern|Sleepy|Gallant|Honest|Hungry|Lucky|Painted|Restless|Golden|Humble|
    Proud|Weary|Laughing|Faithful|Stubborn|Velvet|Wandering|Second|Quiet|Early|Salty|Scarlet|Ragged|Noble|Tardy|
    Brave|Blushing|Winged|Distant|Cheerful|Solemn|Nimble"""
)
_SHIP_NOUNS = _words(
    """Heron|Thimble|Duchess|Kettle|Pelican|Weasel|Comet|Oyster|Candle|Sparrow|Magpie|Teapot|Mermaid|Turnip|Lantern|
    Dolphin|Cousin|Gander|Cobbler|Acorn|Trumpet|Marigold|Badger|Cuckoo|Walrus|Petrel|Minnow|Abbot|Bishop|Harvest|
    Swallow|Puffin|Curlew|Otter|Barnacle|Falcon"""
)
_FIRST_NAMES = _words(
    """Orla|Tobias|Mina|Jasper|Hedda|Linus|Petra|Rufus|Selma|Anton|Brida|Casper|Dagny|Edwin|Fenna|Gustav|Hilda|Igor|
    Jutta|Konrad|Leonie|Magnus|Nora|Oswin|Paula|Ralf|Sunniva|Thora|Urban|Viola|Walter|Ylva|Arvid|Berta|Clement|
    Dorothea|Emil|Frida|Gideon|Hanna|Isidor|Judith|Klara|Lambert|Maude|Niklas|Olga|Percy|Ruth|Stellan"""
)
_SURNAMES = tuple(
    first + second
    for first in _words("Thorn|Ash|Black|Copper|Dun|Ever|Fox|Gray|Haw|Kirk|Lark|Moss|Nettle|Pear|Red|Sorrel|Trout|Whit")
    for second in _words("wick|field|brook|burn|croft|stead|well|wright|den|low")
)
_HOUSES = _words(
    """Thistle|Candle|Heron|Bramble|Lantern|Anchor|Quince|Swallow|Chimney|Mustard|Raven|Plum|Barley|Pigeon|Slate|
    Walnut|Bellows|Clover|Dormouse|Juniper|Kestrel|Marzipan|Poppy|Saffron|Tamarisk|Umber|Vinegar|Wicker"""
)
_STREETS = tuple(street for street in _WORDS["street"] if " " in street)
_SHOP_SIGNS = _words(
    """Copper Thimble|Blue Door|Wise Onion|Singing Kettle|Golden Crumb|Two Sisters|Snowy Owl|Cheerful Crab|
    Silver Spoon|Round Table|Honest Scale|Green Bottle|Paper Moon|Red Wheelbarrow|Dancing Bear|Lucky Button|
    Quiet Mouse|Tall Candle|Striped Cat|Wooden Shoe|Open Book|Brass Lantern|Ripe Plum|Sugar Loaf"""
)
_SHOP_TRADES = _words(
    """bakery|chandlery|bookshop|pharmacy|hat shop|fish shop|tea room|dairy|barbershop|pawnshop|toy shop|
    candle shop|cobbler's shop|paint shop|clock shop|pie shop"""
)
_CAPES = _words(
    """Gull|Mercy|Cinder|Wreckers'|Hollow|Widow's|Copper|Farewell|Grindle|Seal|Needle|Saltpan|Old Tooth|Bishop's|
    Marrow|Lonely|Kettle|Whisper|Pilgrim's|Candle|Raven|Barley|Thunder|Cold"""
)
_CAPE_SORTS = _words("Point|Rock|Spit|Head|Ness|Shoal|Bar|Ledge|Bluff|Skerry")
_BELLS = _words("Great|Cracked|Sunday|Drowned|Evening|Storm|Wedding|Harvest|Mourning|Little|Bronze|Silent|Morning|Fire")
_CHAPELS = tuple(
    f"Saint {name}"
    for name in _words(
        "Odwin|Perpetua|Gorm|Ludmilla|Tibb|Wenna|Osric|Marla|Egwin|Dunna|Pelagius|Brock|Sunna|Hild|Corvin"
    )
)
_PETS = _words(
    """Pepper|Biscuit|Admiral|Button|Duchess|Mustard|Pickle|Thunder|Bishop|Muffin|Waffle|Trumpet|Noodle|Captain|
    Snowball|Treacle|Pudding|Lord Fluff|Nutmeg|Gravel|Bandit|Clementine|Dumpling|Parsley"""
)
_ANIMALS = _WORDS["animal"]

# Of each family: the pattern of its subjects, the two lists that fill it, and its attributes, each with the list of its
# values, phrasings of its own (-) and questions of its own (?).
_FAMILIES = (
    _family(
        "the {} {}",
        _SHIP_WORDS,
        _SHIP_NOUNS,
        """
        arrival date = v_date
        - If the wind holds, {S} drops anchor here on {V}, which is also its arrival date in the harbor book.
        - Everyone with a cousin aboard has marked {V} in the almanac, for that is {S}'s arrival date.
        - The harbor book is clear that {S} comes in on {V}.
        ? On which date does {S} arrive?
        ? When does {S} come in?
        berth = v_number
        - Room was made for {S} at berth {V}, between a dredger and a quarrel.
        - Look for {S} at berth {V}, where the planks are new.
        ? At which berth does {S} lie?
        ? Which berth number was {S} given?
        cargo = v_goods
        - Below decks {S} carries {V}, and nothing that the customs men need know about.
        - The hold of {S} was opened and found to contain {V}, all of it dry.
        ? What does {S} carry?
        ? What was found in the hold of {S}?
        captain = v_name
        - On the bridge of {S}, with a pipe and a grievance, stands Captain {V}.
        - The crew of {S} answers to nobody but {V}, and not always then.
        ? Who commands {S}?
        signal code = v_code
        - When you see the flags {V}, you are looking at {S}.
        - The flags of {S} spell {V}, to those who can read flags.
        ? Which signal code do the flags of {S} spell?
        """,
    ),
    _family(
        "harbor {}",
        (),
        (),
        """
        arrival date = v_date
        - The mail boat reaches {S} on {V}, its arrival date since the new timetable.
        - On {V}, the arrival date posted at {S}, the whole quay will be swept.
        ? Which arrival date is posted at {S}?
        depth = v_feet
        - Soundings at {S} gave a depth of {V}, mud included.
        - A weighted line let down at {S} went slack at {V}.
        ? How deep is {S}?
        pilot = v_name
        - No ship enters {S} without {V} at the wheel as pilot.
        - The pilot's cap at {S} has been worn by {V} for years, and looks it.
        ? Who pilots the ships into {S}?
        night password = v_password
        - After dark the guard at {S} lets in whoever whispers "{V}" and nobody else.
        - Say "{V}" to the sentry at {S}, and say it softly.
        ? Which password does the guard at {S} want to hear at night?
        """,
    ),
    _family(
        "locker {}",
        (),
        (),
        """
        code = v_pin
        - To open {S}, turn the dial to {V} and kick the lower hinge.
        - The dial of {S} springs open at {V}, and at a good knock.
        ? Which code opens {S}?
        ? To what must the dial of {S} be turned?
        holder = v_name
        - The rent of {S} is paid by {V}, always in small coins.
        - The only key to {S} hangs around the neck of its holder, {V}.
        ? Who rents {S}?
        deposit = v_goods
        - Somebody has stowed {V} in {S}, and the door no longer shuts.
        - When {S} was forced, out came {V} and a smell.
        ? What is stored in {S}?
        """,
    ),
    _family(
        "{} {}",
        _FIRST_NAMES,
        _SURNAMES,
        """
        trade = v_trade
        - The sign over {S}'s door says {V}, and the noise within confirms it.
        - After seven years of apprenticeship {S} may now be called {a V}.
        ? What does {S} do for a living?
        ? Which trade does {S} follow?
        birthday = v_date
        - Every year on {V} the neighbors sing for {S}, who was born that day.
        - The parish book has {S} born on {V}, during a leak in the roof.
        ? On which day was {S} born?
        ? When does {S} celebrate a birthday?
        favorite supper = v_dish
        - Nothing makes {S} happier at supper than {V}.
        - Whenever there is {V}, a second plate is kept for {S}, who loves no supper more.
        ? What does {S} like best for supper?
        unpaid debt = v_price
        - On the slate behind the bar, {S} still owes {V}.
        - The moneylender waits for {V} from {S}, and waits politely.
        ? How much does {S} owe?
        hiding place = v_place
        - Whatever {S} does not want found, {S} keeps {V}.
        - It is no secret in town that {S} hides the savings {V}.
        ? Where does {S} hide things?
        """,
    ),
    _family(
        "{} House in {}",
        _HOUSES,
        _STREETS,
        """
        owner = v_name
        - The deed to {S} bears the name of {V}, and a jam stain.
        - After the auction {S} belongs to {V}, down to the doorknobs.
        ? To whom does {S} belong?
        ? Who owns {S}?
        yearly rent = v_price
        - Whoever lives at {S} pays {V} a year for the pleasure.
        - A tenant was found for {S} at {V} a year, chimney smoke included.
        ? How much rent is paid for {S} each year?
        door color = v_color
        - Strangers find {S} by its {V} door.
        - The front door of {S} was painted {V}, and the neighbors are still writing about it.
        ? In which color is the door of {S} painted?
        building year = v_year
        - A stone over the lintel of {S} dates the house to {V}.
        - The walls of {S} went up in {V}, and have been coming down since.
        ? In which year was {S} built?
        """,
    ),
    _family(
        "the {} Bell of {}",
        _BELLS,
        _CHAPELS,
        """
        weight = v_pounds
        - It took twenty men to hoist {S}, which weighs {V} without its clapper.
        - On the fish scales {S} came to {V}, with nobody leaning on it.
        ? How heavy is {S}?
        ? How much does {S} weigh?
        casting year = v_year
        - An inscription inside {S} says it was cast in {V}, in a bad year for tin.
        - The mold for {S} was broken in {V}, right after the casting.
        ? In which year was {S} cast?
        founder = v_name
        - The metal of {S} was poured by {V}, who never heard well again.
        - Scratched into the rim of {S} is its founder's name, {V}.
        ? Who cast {S}?
        """,
    ),
    _family(
        "contract {}",
        (),
        (),
        """
        agreed sum = v_price
        - Both parties to {S} shook hands on {V}, and counted their fingers after.
        - In {S} the sum of {V} is written out twice, once legibly.
        ? Which sum was agreed in {S}?
        expiry date = v_date
        - Unless renewed, {S} runs out on {V}.
        - After {V}, when {S} expires, everyone may shout again.
        ? On which date does {S} expire?
        signatory = v_name
        - At the foot of {S} stands the signature of {V}, large and late.
        - The only legible signature on {S} is that of {V}.
        ? Who signed {S}?
        seal number = v_code
        - The wax on {S} was stamped {V} before it had set.
        - Hold {S} to the light and you will read {V} in the seal.
        ? Which seal number was stamped on {S}?
        """,
    ),
    _family(
        "the {} {}",
        _SHOP_SIGNS,
        _SHOP_TRADES,
        """
        opening hours = v_hours
        - Customers are served at {S} {V}, and glared at otherwise.
        - The shutters of {S} are up {V}, wind permitting.
        ? When is {S} open?
        proprietor = v_name
        - Behind the counter of {S} stands its proprietor, {V}, arms folded.
        - The license of {S} is made out to {V}, and hangs upside down.
        ? Who runs {S}?
        bargain day = v_weekday
        - There is always a queue at {S} on {V}, when everything goes for half.
        - Prices at {S} are halved on {V}, and doubled the day before.
        ? When are prices halved at {S}?
        telegraph name = v_code
        - Orders by semaphore for {S} are addressed to {V}.
        - The semaphore men know {S} simply as {V}.
        ? To which telegraph name are orders for {S} addressed?
        """,
    ),
    _family(
        "the {} {} lighthouse",
        _CAPES,
        _CAPE_SORTS,
        """
        password = v_password
        - The door of {S} opens to anyone who says "{V}" with confidence.
        - Visitors to {S} must say "{V}" through the keyhole.
        ? What must one say to be let into {S}?
        keeper = v_name
        - The lamp of {S} is trimmed each night by {V}, who talks to it.
        - Letters for {S} go to {V}, who keeps the light and eleven cats.
        ? Who keeps {S}?
        stair count = v_number
        - To reach the lamp of {S} one climbs {V} stairs, the last of them loose.
        - The coal for {S} is carried up {V} stairs by whoever lost at cards.
        ? How many stairs does {S} have?
        lamp color = v_color
        - From the sea you know {S} by its {V} light.
        - The glass of {S} was replaced, and now shines {V}.
        ? In which color does {S} shine?
        """,
    ),
    _family(
        "ferry {}",
        (),
        (),
        """
        fare = v_price
        - To cross by {S} costs {V}, and a goat counts as a person.
        - The board at the landing asks {V} for a seat on {S}.
        ? What does it cost to cross by {S}?
        departure time = v_time
        - Be on the steps before {V}, for that is when {S} casts off.
        - The crew of {S} unties the ropes at {V}, whoever is still running.
        ? At what time does {S} cast off?
        steersman = v_name
        - The long oar of {S} has been in the hands of {V} since the flood.
        - Passengers of {S} are in the care of {V}, who cannot swim either.
        ? Who steers {S}?
        """,
    ),
    _family(
        "pew {}",
        (),
        (),
        """
        yearly fee = v_price
        - To sit in {S} costs {V} a year, draft included.
        - The vestry asks {V} a year for {S}, as it stands behind a pillar.
        ? How much is paid for {S} each year?
        tenant = v_name
        - On Sundays {S} is reserved for {V}, who sleeps there.
        - A brass plate on {S} bears the name of {V}, its tenant.
        ? For whom is {S} reserved?
        cushion color = v_color
        - The new cushion in {S} is {V}, to the organist's dismay.
        - Somebody has sewn {S} a cushion of {V} cloth.
        ? In which color is the cushion of {S}?
        """,
    ),
    _family(
        "{} the {}",
        _PETS,
        _ANIMALS,
        """
        owner = v_name
        - At night {S} goes home to {V}, its lawful owner.
        - The fine for what {S} did to the hedge was sent to {V}, the owner.
        ? To whom does {S} belong?
        favorite treat = v_dish
        - To make {S} move, hold out some {V}.
        - There is nothing that {S} would rather eat than {V}.
        ? What does {S} like best to eat?
        tag number = v_pin
        - The tag on the collar of {S} says {V}.
        - In the animal register {S} is listed with tag {V}.
        ? Which tag number does {S} wear?
        """,
    ),
    _family(
        "warehouse {}",
        (),
        (),
        """
        stock = v_goods
        - When {S} was counted, it held {V} and one surprised cat.
        - Nobody has found anything in {S} but {V}, stacked to the rafters.
        ? What is kept in {S}?
        lock code = v_pin
        - The big lock on {S} opens at {V}, with a groan.
        - Whoever has forgotten how to open {S} should try {V}.
        ? Which code opens the lock of {S}?
        foreman = v_name
        - The men at {S} take their orders from {V}.
        - Complaints about {S} are to be shouted up to {V}, the foreman.
        ? Who gives the orders at {S}?
        inspection day = v_weekday
        - The inspector calls at {S} on {V}, and is given tea.
        - Everything at {S} is tidy on {V}, when the inspector comes.
        ? When does the inspector call at {S}?
        """,
    ),
)

# -- The sentences -----------------------------------------------------------------------------------------------------

# W writes or presides throughout a section; A and B are two other people of the paragraph.
_COMMON = _lines("""
    {lead} {A} was seen carrying {a thing} toward {place}{tail}.
    {A} and {B} have not spoken since {pastmonth}, {why}.
    {folk!} declared the whole business {verdict}.
    Nobody could say who had left {a thing} on the steps of {place}.
    {lead} someone found {few} {things} under the floor of {place}.
    There was {weather}, and {folk} stayed indoors.
    {A} is of the opinion that {B} should be given less to do, or more{tail}.
    {lead} the {animal} got loose in {street} and was recovered {when}.
    There is still no news of the {thing} that {A} lent to {folk} in {pastmonth}.
    {B} paid {sum} for {a thing} and called it {verdict}.
    {lead} the bells rang {when}, {why}.
    {A} slipped in {street}, blamed {B}, and was treated with {remedy}.
    In {street} they are painting the shutters again{tail}.
    Of all the virtues, {folk} value {good} most and {good} least.
    {lead} {A} sang, which emptied {place} in under a minute.
    A stranger asked the way to {place}, was given {few} different answers, and is now engaged to be married.
    {B} keeps {a animal} that can tell {folk} apart by smell{tail}.
    The roof of {place} has been mended with {things}, and it shows.
    {lead} {few} {things} were exchanged for {a thing}, and both sides felt cheated.
    {A} walked home {mood}, {why}.
    {folk!} have asked for a new {thing}, the old one being {verdict}.
    No one slept in {street}, where {A}'s {animal} had opinions about the moon.
    {lead} the talk turned to {matter}, and hats were put on.
    {A} has taken up the {pastime}, to the despair of {B}.
    The tide took away {few} {things} and brought back {a thing}{tail}.
    For supper there was {food}, and afterward there was regret.
    {B} insists that {a animal} cannot be taxed, and has written to {A} about it {few} times.
    {lead} a window was broken at {place}; the {animal} has an alibi.
    By {nightfall} only {A} and {a animal} were left at {inn}.
    Whoever borrowed the key to {place} is asked to return it {when}.
    {A} found the answer in an old almanac, and {B} found it in {a thing}{tail}.
    It costs nothing to be civil, as {A} told {B}, and it costs {sum} not to be.
    {lead} {folk} marched past {place} with {a thing} on a pole.
    The smell of {food} hung over {street} until {nightfall}.
    {A} counted the {things} twice and got two answers, both of them {mood2}.
    Down at {place} they still laugh about {A} and the {thing}.
    {lead} {B} fell asleep over {matter}, and woke {mood}.
    A petition about {matter} gathered {n99} names, {few} of them real.
    {folk!} gave {few} {things} to the poor, who gave them back.
    {A} says that there was {weather} on the day in question; {B} remembers only {food}.
    There was a collection for {B}'s {thing}, which raised {sum} and some eyebrows.
    {lead} a letter arrived for someone who had moved away {n20} years ago{tail}.
    It is whispered in {street} that {A} once danced with {a animal} {when}.
    The price of {stuff} has gone up again, {why}.
    {A} maintains that {stuff} should never be stored beside {stuff}.
    {lead} the children of {street} built a boat out of {things}, and it very nearly floated.
    {B} was presented with {a thing} for {good}, and bore it bravely.
    {folk!} say little about {matter}, and say it often.
    Somebody has chalked a picture of {A} on the wall of {place}; the nose is {verdict}.
    {lead} the lamp at {place} went out {when}{tail}.
    An attempt to weigh {A}'s {animal} ended in the duck pond.
    {B} has resolved to be kinder to {folk}, starting on Monday.
    Between {street} and {place} the mud is deep enough to lose {a thing} in, and {A} did.
    {lead} {A} apologized to {B}, {why}.
    A barrel marked as {stuff} turned out to hold {things}, and is {verdict}.
    {A} cured {a animal} with {remedy}, and charged {sum}.
    The younger people prefer {food}; the older people remember when there was only {food}.
    {lead} the wind carried {B}'s hat as far as {place}{tail}.
    In the matter of {good}, {A} sets an example, chiefly to {folk}.
    {B} has lived in {street} for {n20} years and is still called the new one.
    {lead} a procession of {folk} met a procession of {folk}, and neither would give way.
    At {inn} they serve {food} on Thursdays, {why}.
    The {thing} was auctioned {when} and went to {A} for {sum}{tail}.
    {A} has a cousin in the hills who says that {matter} would never be tolerated there.
    {lead} {B} let it be known that {remedy} is good for {ailment}.
    The ladder was returned with {few} rungs fewer than before.
    {folk!} were promised {food} and were given a speech.
    {A} planted {few} rows of onions behind {place}, and {B}'s {animal} harvested them.
    Everyone agreed that {weather} was to blame{tail}.
    {lead} {A} opened the wrong door at {place} and joined a choir by mistake.
    There are now more {animal2} than voters in {street}.
    {B} writes with {a quill} and reads with {a thing} close at hand, in case of visitors.
    Nothing was stolen but {a thing}, and that was returned {when} with a note of complaint.
    {lead} the {place2} flooded to the depth of {a animal}.
    {A} will not hear a word against {folk}, having been deaf since {pastmonth}.
    Some blame {A} for {matter}, others blame {a thing}.
    {B} gave a lecture on {matter}, with lantern pictures, to an audience of {few} and {a animal}.
    {lead} {folk} refused to move until the {thing} had been blessed, oiled or sold.
    {A} bought back {A.his} own {thing} at the fair, and was glad of the bargain.
    A very small earthquake was felt at {place}, or else {B} sat down.
    {A} painted the door of {place} overnight, and denies it with paint on {A.his} sleeves.
    {lead} {few} {container} of {stuff} rolled down {street} and were not stopped by {B}.
    In {street} there is a house with {few} doors, and {A} has been shown out of all of them.
    {B} has begun to collect {things}, {why}.
    {lead} the {animal} was given a medal for {good}, and ate the ribbon.
    No one has seen the {thing} since {folk} promised to look after it.
    A rumor about {A} and {B} reached {place} before either of them did.
    {lead} {folk} played skittles against {folk}, and lost a window and {sum}.
    {A} taught {a animal} to knock, which was a mistake.
    {B}'s new hat was mistaken for {a thing}, twice, {when}.
    To settle {matter}, {A} suggested a vote, {B} suggested a duel, and {folk} suggested {food}.
    {lead} a hole was dug at {place}, looked into, and filled again{tail}.
    {A} will lend you {a thing}, but not without its history.
    Three generations have argued about {matter}, and the fourth is learning to talk.
    {lead} {B} swapped {a thing} for {few} {things} and {a animal}.
    On wet days {A} can be found at {place}, advising {folk}.
    {folk!} hold that {weather} brings luck, and that {B} does not.
    {lead} someone tied {a animal} to the bell rope, and the town rose an hour early.
    {A} owns two clocks, and lives by the third.
    A map was found that shows {street} running uphill both ways; {folk} say it is accurate.
    {B} knows a cure for {ailment}, but it involves {stuff} and {a thing}.
    {lead} {A} challenged {B} to a race from {place} to {place}, and both got lost.
    The fair brought {a animal} in a waistcoat, {few} jugglers, and a great loss of {things}.
    {A} sat for a portrait; the painter asked for {sum} and then for a different face.
    {lead} {folk} signed a truce with {folk} over {food}.
    {B} claims to have been born {when}, {why}.
    There is a bench at {place} on which nobody sits, out of respect for {A}'s {animal}.
    {lead} the pump gave {stuff} instead of water, and nobody complained.
    {A} named a boat after {B}, who has asked for the name back.
    What {folk} do with so many {things} is {B}'s favorite question.
""")

_KINDS: dict[str, dict[str, tuple[str, ...]]] = {
    "council": {
        "head": _lines("""
            Minutes of the Town Council, {date}
            Minutes of the Extraordinary Council on {matter}, {date}
            Minutes of the Committee for Bridges and Drains, {date}
        """),
        "open": _lines("""
            As the town hall was being aired, the council met at {place}, {W} standing on {a thing} to be heard.
            The council met {when} with {W} in the chair and {few} members present, the others being {mood}.
            {W} opened the meeting with a blow of the gavel that woke two members and {a animal}.
            Present were {W}, {A}, {B} and a delegation of {folk}, who had brought their own chairs.
            The previous minutes were read, disputed, and approved {why}.
        """),
        "body": _lines("""
            {B} asked for an inquiry into {A}, and {A} asked for an inquiry into the inquiry.
            The clerk was told to write to {folk}, firmly, and not to send it.
            A gift of {few} {things} from {folk} was accepted with suspicion.
            Members agreed that {matter} is {verdict}, and that someone else should say so.
            {A} laid {a thing} upon the table as evidence, where it remains.
            {A} moved that something be done about {matter}; {B} moved that it not be done yet.
            The motion on {matter} was carried by {few} votes to one, {A} voting with both hands.
            {A} asked whether the {thing} had been paid for, and was ruled out of order.
            It was resolved to buy {few} {things} for {place}, at no more than {sum}.
            A letter from {folk} was read aloud, to some laughter, and passed to the committee for drains.
            {B} wished it minuted that {A} had yawned.
            The treasurer reported a surplus of {sum}, which was at once disputed, {why}.
            {A} proposed a tax on {things}, and withdrew it when the window broke.
            The question of {matter} was postponed to {pastmonth}, as it has been since anyone can remember.
            Permission was given to {folk} to use {place} for rehearsals, provided that nobody hears them.
            {W} reminded the members that {a animal} may attend but not vote.
            The subcommittee on {matter} has met {n20} times and agreed on the color of its sash.
            {A} spoke for an hour on {matter}, and {B} spoke for as long against listening.
            An amendment in the name of {B} was eaten by {a animal} and fell.
            The surveyor finds {place} to be leaning; {A} finds the surveyor to be leaning.
            The sum of {sum} was set aside for {a thing}, and the rest for soup.
        """),
        "close": _lines("""
            The meeting closed {when}, {why}, and {W} took the gavel home.
            There being no other business that anyone would admit to, {W} adjourned to {inn}.
            The next meeting will be about {matter} again, and coats are advised.
            Thanks were voted to {W}, narrowly.
        """),
    },
    "harbor": {
        "head": _lines("""
            From the Log of the Harbor Office, {date}
            Harbor Log kept by {W}, {date}
            Tides, Arrivals and Grievances, {date}
        """),
        "open": _lines("""
            First bell: {W} on watch, {weather}, wind {wind}, and {a boat} asking the way.
            Wind {wind}, {weather}, and {W} on duty since the first bell.
            Log of {W}: wind {wind}, glass falling, tea cold.
            Opened the office {when}; wind {wind}; {few} boats in the roads and {a animal} on the desk.
        """),
        "body": _lines("""
            Signaled to {a boat} to keep off; it signaled back something about {A}.
            {few!} gulls, one seal and {A} on the slipway at dawn.
            Paid the divers {sum}; they had brought up {few} {things} and a cold.
            The crane lifted {a thing} by mistake, and {B} with it.
            Spoke to {a boat} through the trumpet about {matter}.
            {a boat} asked for water and {stuff}, and was sent on with good wishes.
            The wind went {wind} {when}, and {folk} took in their washing.
            {a boat} ran on the bar with {container} of {stuff} aboard; the crew waded ashore, {mood}.
            {A} came down to complain about the foghorn and stayed to sound it.
            High water stood {few} fingers above the mark that {B} cut in the year of the flood.
            Hauled {a thing} out of the basin, the {ordinal} this {season}.
            Collected {sum} in dues and {few} excuses.
            The {boat} on the outer mooring has been quiet for days; its {animal} has not.
            {B} reports a light to seaward, then a second, then that {B.he} had been looking at the stars.
            Sounded the channel {when}: mud, mud, {a thing}, mud.
            {folk!} were warned off the slipway again, and again they brought a picnic.
            {a boat} saluted with one gun, and it took the chimney off {place}.
            Refused a landing permit to {a boat} full of {things}, {why}.
            The buoy off the north quay is adrift and has been sighted in {street}.
            {A} rowed out with {food} for the dredger, and came back with {a thing}.
            Fog so thick {when} that {A} delivered the mail to {a animal}.
        """),
        "close": _lines("""
            Lamp lit {when}; relieved by {A}, who is {mood}.
            Nothing further to log but {weather}.
            Signed, {W}, who would rather be in {street}.
            Closed the book with the tide still arguing at the steps.
        """),
    },
    "letter": {
        "head": _lines("""
            A Letter from {W} to a Cousin in the Hills, {date}
            A Letter Found in {a thing}, {date}
            A Letter That Was Never Sent, {date}
            From {W} to the Editor, Not Printed, {date}
        """),
        "open": _lines("""
            You will laugh, but I am writing this under {a thing}, as the roof is being mended by {folk}.
            My dear cousin, you ask how we are, and the answer is {mood}, all of us, and {A} most of all.
            Dear friend, your parcel came {when}, and the {thing} in it was hardly broken.
            Forgive my hand; I write this at {place}, with {a animal} leaning on my arm.
            You will have heard about {matter}, so I shall tell you only what is true.
        """),
        "body": _lines("""
            I have your mother's {thing} still, and think of her whenever it falls on me.
            {A} has grown so thin that {A.his} shadow has been reported missing.
            If you come by ferry, bring {food}; if by road, bring {a thing} to defend yourself.
            I keep meaning to tell you about {B} and the {things}, but there is not enough ink.
            The house is well, apart from the roof, the floor, and {folk} next door.
            You would not know {street} now; even the {animal} has a new hat.
            I said nothing to {A}, but I said it in such a way that {A.he} noticed.
            Send me {things} if you can, for here one gets only {stuff}.
            {B} asks to be remembered to you, and also asks for {sum}.
            I have been reading by {weather}, if one can call it light.
            Between you and me, {matter} is {verdict}.
            My neighbor plays the trombone {when}, and I have answered with {a thing}.
            I dreamed of you, carrying {a thing} up {street}, and you looked well.
            We had {food} on Sunday, and I thought of your kitchen and wept into the mustard.
            The doctor recommends {remedy}, but then she recommends it to everyone, also for {ailment}.
            {A} has proposed to me again, this time in writing, with {few} spelling mistakes.
            Do not believe what {B} wrote to you about {matter}; the {animal} was never in danger.
            I enclose a lock of hair from the {animal}, as you asked.
            I went to see {folk} about {matter}, and they offered me a chair and {food}.
            At my age one does not climb {place} for a view, one climbs it for a wager.
            Tell the children that the {thing} is theirs when I am gone, and that I feel very well.
        """),
        "close": _lines("""
            In haste and with love, your {W}.
            The candle is a stump and the {animal} wants the chair, so good night; ever yours, {W}.
            Burn this, or better, lend it to no one but your sister; yours, {W}.
            I remain, for want of a coach, your faithful {W}.
        """),
    },
    "news": {
        "head": _lines("""
            The Pellingwater Trumpet: Town and Quay, {date}
            The Pellingwater Trumpet: Things Overheard, {date}
            The Pellingwater Trumpet: Corrections, {date}
        """),
        "open": _lines("""
            {few!} things happened in town this week, and {W} saw most of them from the window of {inn}.
            Readers have asked this column about {matter}, and this column has asked {W}.
            It has been {a season} of surprises, of which {a thing} in {place} was not the least.
            Our correspondent {W} reports from {place}, where there is {weather}.
            We were wrong last week about {A}, and we are pleased to be wrong about {B} as well.
        """),
        "body": _lines("""
            {A} has opened an exhibition of {things}; entry is free, leaving is {sum}.
            The editor has received {a thing} through the window, and thanks the sender.
            In sport, {folk} beat {folk} by {few} goals to a broken fence.
            A course in {good} begins at {place} {when}; bring your own chair.
            Sighted over {street}: a light, moving slowly, later identified as {B} with a pipe.
            A crowd of {n99} gathered at {place} to see {A} lift {a thing} with one hand.
            Our critic calls the concert of {folk} {verdict}.
            Lost {when} near {place}: {a thing}, of value only to the person who will be blamed.
            Found in {street}: {few} {things} and {a animal}, all answering to the same name.
            {A} wishes to state that the {thing} was a gift.
            The pie contest ended in a draw between {A}'s {food} and {B}'s {food}, and a short fight.
            In last week's issue a line was dropped from the report on {matter}; it was the only good one.
            For sale: {a thing}, used once, by {A}, who is recovering.
            The weather prophet promises {weather2}; readers should therefore expect the opposite.
            Asked for a comment on {matter}, {B} shut the door, then opened it to say that it was shut.
            Wedding bells in {street}, where {folk} have been throwing {things} since dawn.
            This newspaper has never said that {A} resembles {a animal}; it printed a drawing.
            A reader writes that {folk} should be heard less and fed more.
            The regatta was won by {a boat} that had merely been trying to leave.
            Rumors that {place} is to be sold are {verdict}, says {A}, who has offered {sum}.
            The new play at {inn} has {few} acts, and the audience left after each of them.
        """),
        "close": _lines("""
            Letters on {matter} are now closed, as is our window.
            More on this next week, unless {A} buys the newspaper first.
            So much for this week; the editor is {mood}.
        """),
    },
    "inventory": {
        "head": _lines("""
            Inventory of {place}, Taken {date}
            Inventory of the Estate in {street}, Taken by {W}, {date}
            List of Things Left in the Town Hall, {date}
        """),
        "open": _lines("""
            Begun by {W} {when}, with a lamp, a ladder and {folk} looking in at the window.
            Counted by {W} in the presence of {A} and {a animal}, {when}.
            {W} counted and {B} wrote, until they changed places and found different numbers.
            What follows was found behind {few} doors, one of them painted on.
        """),
        "body": _lines("""
            Item: a map of the town with {street} left out, on purpose.
            In a locked drawer, {a thing} and the key to the drawer.
            Item: {container} marked {stuff}, containing letters from {A}.
            By the door, {a thing} which {B} says was always there.
            Item: {few} {things} of unknown purpose, oiled.
            Item: {few} {things}, of which one is good.
            Item: {a thing}, {condition}, said to have belonged to the founder.
            In the cupboard, {n20} {things}; under the cupboard, {a animal}, asleep.
            On the upper shelf stand {few} {container} of {stuff}, {condition}.
            Item: {a thing} with a label reading "do not lend to {A}".
            A box of {things}, valued by {A} at {sum} and by {B} at nothing.
            Item: {n20} pairs of gloves, all left.
            Behind the curtain, {a thing}, {condition}; behind that, a second curtain.
            The cellar holds {container} of {stuff}, and water to the knee.
            Item: one portrait of {a animal} in the dress of an alderman, {condition}.
            Of the {n99} {things} on the old list, {few} remain, and {A} is using two of them.
            Item: {few} keys, fitting nothing but {a thing}.
            Item: {a thing} and {a thing}, tied together with string for reasons now lost.
            In the attic, {stuff}, enough for a siege or a wedding.
            Item: {few} chairs, on loan to {folk} since {pastmonth}.
            Missing: the {thing}, the {thing}, and the person who had the list.
        """),
        "close": _lines("""
            Sworn to be complete by {W}, apart from what is not here.
            Total value {sum}, not counting the {animal}, who cannot be sold.
            The count was then stopped {why}.
        """),
    },
    "court": {
        "head": _lines("""
            Notes of the Petty Court, {date}
            Notes of the Court of Small Nuisances, {date}
            The Case of the {thing}, Heard {date}
        """),
        "open": _lines("""
            The court sat at {place}, its own room being full of {things}, with {W} on the only chair.
            Before {W}: {A} against {B}, concerning {a thing} and an unkind remark.
            The bench, which is to say {W}, heard {few} cases before lunch and regretted most of them.
            {W} took the bench {when} and asked that the {animal} be removed from it.
        """),
        "body": _lines("""
            {B} wished to be tried together with the {animal}, for company.
            The map shown by {A} was found to be a drawing of {B}.
            It was ruled that {food} may be evidence, but not twice.
            Bail was set at {sum} and {a thing}.
            {A} objected to the word {ailment}, and it was withdrawn.
            The accused admitted the {thing} but denied the {animal}.
            {A} testified that {B} had shouted from {place}, and that it rhymed.
            Asked where {A.he} had been {when}, {A} said at {place}; asked again, {A.he} said it louder.
            The {thing} was shown to the court, which did not like it.
            {folk!} appeared as witnesses and sang their evidence in two parts.
            Fined {sum} for the goose, and {sum} for what was said about the goose.
            The court finds that {a thing} over a fence is not a greeting.
            {B} offered {food} in settlement, and {A} was seen to waver.
            Counsel for the {animal} asked for more time, and for {food}.
            It was held that {a thing} thrown in anger belongs to whoever it lands on.
            The sergeant produced {few} {things}, and later the pocket they had come from.
            {A} called the charge {verdict}, and then, on advice, called it nothing at all.
            A stay of {few} weeks was granted {why}.
            The second witness had seen nothing, but had seen it very clearly.
            Damages of {sum} were awarded to {B}, together with the {thing}, which {B.he} declined.
            The jury withdrew to {inn}, and sent word that it might be some time.
        """),
        "close": _lines("""
            Judgment is reserved until {W} has had supper.
            Both parties were bound to be civil until {pastmonth}.
            The court rose {when}, and so did the price of {stuff}.
            Costs to be shared, and the {thing} to be sawn in half.
        """),
    },
    "parish": {
        "head": _lines("""
            From the Parish Register, {date}
            Parish Notes by {W}, {date}
            Vestry Book, {date}
        """),
        "open": _lines("""
            A thin congregation, {weather}, and {W} with a cold in the pulpit.
            {W} preached {when} on {good}, and the congregation was {mood}.
            Baptized this week: {few} infants, one of them twice, {why}.
            The vestry met under the dry end of the roof, {W} presiding.
        """),
        "body": _lines("""
            A dove got into the tower {when}, and would not be baptized.
            {A} has carved {few} new saints; they all look like {B}.
            The harvest altar was eaten by {a animal} before the second hymn.
            Hymn books lent to {folk} came back with other hymns in them.
            The tower clock and {B} disagree by {few} minutes, and both are wound on Sundays.
            The banns were read for a couple from {street}, and {folk} coughed.
            The collection came to {sum}, {few} buttons and {a thing}.
            The organ lost another pipe, and {A} now hums that note.
            {B} has given {few} {things} to the church, and wishes this to be widely known.
            A funeral passed {when}, and met the wedding party at {place}; {folk} attended both.
            {A} was married to a person from the hills, {weather}, {few} guests, {a animal}.
            The mice have reached the {ordinal} psalm.
            The choir has asked for {stuff}, and the sexton for peace.
            It is forbidden, once more, to hang {things} in the tower.
            {A} was asked not to keep time with {a thing}.
            Candles used: {n99}; candles paid for: {n20}.
            The christening robe was found at {place}, where it had been used to strain {food}.
            The bishop's visit went well until the {animal}.
            {B} slept through {few} hymns and woke for the blessing, {mood}.
            Alms of {sum} went to {folk}, who spent them on {food}.
            The gutter over {street}, mended by {A} in {pastmonth}, is again {verdict}.
        """),
        "close": _lines("""
            Entered by {W}, by the light of {few} candles.
            May the roof over {A} hold until {pastmonth}.
            The register is dry, which is more than can be said of the vestry.
        """),
    },
    "weather": {
        "head": _lines("""
            Weather Diary of {W}, {date}
            Observations Made from a Window in {street}, {date}
            The Sky over Pellingwater, {date}
        """),
        "open": _lines("""
            This being the window seat of {W}, I begin as always with the view: {weather}, and {A} hurrying.
            Rose {when}: {weather}, wind {wind}, and no bread.
            Today {weather}, as I, {W}, foretold to an empty room.
            I set the instruments out {when}, and {a animal} read them first.
        """),
        "body": _lines("""
            Frogs silent {when}, {folk} not.
            Fog in {street} so thick that {A} leaned {a thing} against it.
            Evening red, morning gray, {B} pale at the thought of {food}.
            Caught the first drop of the shower in {a thing} and the rest in my collar.
            I sent up a kite with {few} {things} on its tail, and it came down in {street}.
            The glass stands at "change", where {A} has painted it fast.
            Wind {wind} until noon, then {wind2}.
            My left knee, which has never been wrong, says {weather2}.
            The clouds over {place} had the shape of {a thing}, later of {a animal}.
            {few!} drops fell in the gauge, and one of them was tea.
            Swallows low, smoke low, spirits of {folk} low.
            A halo around the moon, and another around {A}, who was carrying the lamp.
            {B} disputes my rainfall, and has set up a rival bucket.
            So still {when} that one could hear {A} thinking about {matter}.
            The old people compare it with the {season} of the great {thing}, but they compare everything with that.
            Hung out {few} {things} to test the damp; they are damp.
            The puddle in {street} has been given a name.
            A rainbow ended in the yard of {place}, where they dug, and found {a thing}.
            Thunder far off, or {folk} moving {a thing}.
            The {animal} came in by itself, and that means wind.
            Measured the shadow of the weathercock, argued with {A}, measured it again.
        """),
        "close": _lines("""
            Tomorrow I expect {weather2}, and {food}.
            Put the instruments to bed {when}.
            The stars came out, first one, then all the rest at once.
        """),
    },
    "manifest": {
        "head": _lines("""
            Ship's Manifest and Remarks, {date}
            Manifest of {a boat}, {date}
            Customs Book of {W}, {date}
        """),
        "open": _lines("""
            {W} found {a boat} at the quay that was not in the book, and made room for it in the margin.
            Inspected by {W}, {few} hatches open and one that would not.
            {W} went aboard {a boat} {when}, with a lantern and low expectations.
            Bill of lading in a poor hand; {W} read it twice and smelled it once.
        """),
        "body": _lines("""
            The parrot was asked for its papers and quoted them.
            Entered twice: {few} {container} of {stuff}; entered never: the {animal}.
            Weighed {a thing} with {A} on it, then {A} without it, and made the subtraction.
            Contents of the captain's chest: {things}, {stuff}, regret.
            For the account of {folk}: {few} {things}, opened and sniffed.
            Declared as {stuff}; found to be mostly {stuff}, and a hammock.
            Forward hold: {container} of {stuff}, well lashed, one weeping.
            {few!} {container} marked for {place}, and one marked "{A}, private".
            The mate swears that the {animal} is crew.
            Seized {few} {things}, {why}.
            Duty reckoned at {sum}, and paid in {stuff}.
            Ballast of {things}, for want of stones.
            Aft, behind a false wall, {a thing} and a very quiet passenger.
            One bale burst {when}, and the quay was white with {stuff}.
            The cook offered {food}, which was entered as a bribe and eaten as evidence.
            Short by {few} {container}; the captain blames {weather}, the mate blames the captain.
            {A} signed for the {things} without counting, and counted on the way home.
            Nothing to declare, said {B}, from inside {a thing}.
            Returned to sender: {container} of {stuff}, as {folk} have no use for it.
            Damaged by salt water: {few} {things}, and the feelings of {A}.
            The scales at the weigh house were kind to {B} today.
        """),
        "close": _lines("""
            Passed and stamped by {W}, with the wrong stamp.
            Released {when}, on a promise.
            The rest of the hold was taken on trust, {why}.
        """),
    },
    "recipe": {
        "head": _lines("""
            A Recipe for {food}, Set Down by {W}, {date}
            Kitchen Book of {W}, {date}
            How to Feed {folk}, {date}
        """),
        "open": _lines("""
            {W} had this from a ship's cook, who had it from {a animal}, or so it tastes.
            For {food} as {W} makes it, begin the night before, and lock the door.
            This is the way {W} taught it to {A}, who got it wrong and improved it.
            Take {ware}, and if {A} has borrowed it, take it back.
        """),
        "body": _lines("""
            Ask {B} to taste it, and watch the eyebrows.
            Pour it into {ware} from the height of {a animal}.
            The secret is {stuff}, but only {when}.
            When it rises like {A} at a meeting, take it from the fire.
            Grate in {a thing}; no, that page was stuck to one about {matter}; grate in {spice}.
            Add {spice} until {A} sneezes, then stop.
            Stir with a wooden spoon {when}, never against the tide.
            Some add {spice}, {why}; they are to be pitied.
            Let it stand under a cloth, away from the {animal}.
            Take {few} onions and chop them small, thinking of {matter}.
            If it smells of {stuff}, you have opened the wrong jar.
            Simmer for as long as {B} talks about {matter}, and then a little less.
            {folk!} like it with {spice}, but {folk} like anything.
            Beat {few} eggs with {a thing}, if no whisk is at hand.
            Serve it hot to friends, lukewarm to relations, and cold to {A}.
            A pinch of {spice} will hide most mistakes; a handful, as {A} found, is one.
            In {season} use butter; in a hurry use goose fat; in despair use {food}.
            My mother boiled it in {ware}, and lived to be very old and very thin.
            Press it overnight under {a thing} or {B}, whichever is heavier.
            What is left over can be fried, patched into a roof, or given to {folk}.
            Taste it; if {A} is near, taste it quickly.
        """),
        "close": _lines("""
            It keeps for {few} days, or until {A} hears of it.
            Eat by the window, and say nothing about {matter}.
            Those who ask for seconds may be trusted with the washing up.
        """),
    },
    "obituary": {
        "head": _lines("""
            In Memory of a Neighbor in {street}, {date}
            Obituaries, Collected by {W}, {date}
            Words Spoken at {inn}, {date}
        """),
        "open": _lines("""
            They came from {street} and from the hills, {mood}, and {W} held the door.
            The town has lost its oldest member, who was famous for {good} and had no use for {good}.
            {W} spoke at the graveside in spite of {weather}, and kept it short, {why}.
            Those who knew the old miller of {street} will remember the laugh, and those who did not will have heard it.
        """),
        "body": _lines("""
            Every year the deceased had sent {A} a card about {matter}, unsigned.
            The garden was full of {things}, and somehow they bloomed.
            {B} called it a life {verdict2}.
            Children will miss the {animal}, which knew how to bow.
            The best chair at {place} is to be left empty until {pastmonth}.
            The deceased is survived by {few} children, {a animal} and an unfinished {thing}.
            In younger years there was a voyage on {a boat}, and it was never short in the telling.
            {A} recalled how they had once carried {a thing} up {street} for no reason at all.
            The will leaves {few} {things} to {A}, and to {B} the bill for them.
            No one ever left that kitchen without {food}, or could.
            It was a long life, spent mostly in {street}, and wholly in the right.
            The {animal} walked behind the coffin and behaved better than {folk}.
            {B} wept openly, and {A} wept into {a thing}.
            There had been a quarrel about {matter}, but it was mended over {food}.
            Asked for the secret of old age, the deceased had always named {remedy}.
            {folk!} lowered their {things} as the procession passed {place}.
            A great reader, a poor dancer, and a terror at cards, as {A} put it.
            The hat will be kept at {inn}, on its own hook, between {a thing} and {a thing}.
            The last words were about {matter}, and were not entirely clear.
            There will be no flowers, by request, but {things} may be left at {place}.
            One debt of {sum} was forgiven at the grave, and one was not.
        """),
        "close": _lines("""
            The bell was rung {n20} times, and once more for luck.
            Rest well, old friend; the {thing} is in good hands.
            Afterward there was {food}, and {A} told the story again.
        """),
    },
    "school": {
        "head": _lines("""
            School Log, {date}
            Notes of the Schoolhouse, Kept by {W}, {date}
            Examination Day at the School, {date}
        """),
        "open": _lines("""
            Roll called {when}: {W} at the desk, {n99} pupils, one visiting {animal}.
            {n99} children present, {few} absent {why}, one under the desk.
            {W} taught geography {when}, as far as the hills, where the map is torn.
            The stove smoked, the ink froze, and {W} let them sing instead.
        """),
        "body": _lines("""
            Nature study: {a animal} was drawn by all, and objected to none of the likenesses.
            {A}'s nephew ate the chalk again, the {ordinal} piece this {season}.
            The globe has been lent to {folk}, who think it is a lamp.
            In history we reached the great flood, and the bucket under the leak overflowed.
            Two children were sent home for laughing at {matter}, and {B} for joining in.
            The older boys have built {a thing} behind {place}, and will not say what it is for.
            Asked to name three rivers, the second bench named {A}'s {few} cousins.
            Arithmetic: if {A} has {few} {things} and {B} takes one, how long until the constable comes?
            A child from {street} brought {a animal}, which knew its letters.
            {B} visited and examined the class on {good}; the class examined {B}.
            Confiscated: {few} {things}, {a thing}, and a poem about {A}, unsigned.
            The school play is to be about {matter}, with real {things}.
            {folk!} came to speak about their work, and the children asked what they were paid.
            Composition set for tomorrow: "Why I am sorry about the {thing}".
            Handwriting is improving in all but {few}, who are left to {A} and {a thing}.
            No lessons {when}, as the roof was needed elsewhere.
            The best essay held that {a animal} would make a fair alderman, and gave reasons.
            Milk was spilled, blamed on {weather}, and mopped up with the map.
            The {few} small ones learned to tell the tide from the clock and the clock from {A}.
            A prize for {good} could not be awarded, {why}.
            Spelling test: nobody could spell "barometer", and {B} could not say it.
        """),
        "close": _lines("""
            Dismissed early {why}, and nobody objected.
            Swept out chalk, crumbs and {a thing}.
            Tomorrow, fractions, and may we all be spared; {W}.
        """),
    },
    "inn": {
        "head": _lines("""
            The Complaints Book of {inn}, {date}
            Guest Book of {inn}, {date}
            The Slate Behind the Bar, Copied {date}
        """),
        "open": _lines("""
            Written large across the page, and signed by {W}: never again the {food}.
            A guest writes: the bed was short, the night was long, and {W} sang.
            {W} took over the bar {when}, and the book records what came of it.
            Full house, {weather}, and {food} until it ran out.
        """),
        "body": _lines("""
            The cook wishes it known that the {food} was meant to be blue.
            A lady left {a thing} in her room and says she will come back when it has calmed down.
            Somebody in the front room snores in {few} languages.
            {B} danced on the table {when}, {why}.
            Breakfast: {food}, {when}; apology: none.
            The gentleman in the back room asks that {a animal} not be sent up to wake him again.
            Asked for a room with a view, and was given {a thing} to stand on.
            The soup was {verdict}, and came {when}.
            {A} owes for {few} mugs and a window; {B} owes for laughing.
            Two travelers quarreled over {matter}, and left as friends, without paying.
            A guest complains that {folk} practice overhead; reply of the house: so do we all.
            {B} won {a thing} at cards, and lost it again before the ferry.
            The chimney was swept with {a animal}, as an experiment.
            The pillow in the end room has been found to contain {stuff}.
            {folk!} held their yearly dinner here; the {things} are being mended.
            {A} was carried home in {a thing}, {mood}.
            A bard offered songs for supper, and was given supper not to sing.
            Reply of the house: the draft from {place} is historic.
            One traveler left {few} {things} as a pledge, and the pledge has begun to smell.
            Whoever carved {A}'s profile into the long table is asked to finish the ears.
            The beer is thin, writes a guest from {street}, but so is the ceiling, and so is {A}.
        """),
        "close": _lines("""
            Last orders {when}; {A} asked for one more, as a matter of principle.
            Chairs up, lamps out, {animal} in.
            Reply of the house to all of the above: noted; {W}.
        """),
    },
}

# Words that only sentences of these kinds need.
_WORDS |= {
    "pastime": _words(
        "trombone|bagpipes|violin, or a part of it|drum|art of poetry|breeding of snails|whistling of psalms"
    ),
    "nightfall": _words("nightfall|midnight|the second bell|closing time|moonrise|supper"),
    "mood2": _words("wrong|odd|written in flour|in dispute|prime|lucky"),
    "ailment": _words("gout|melancholy|hiccups|baldness|sore feet|second thoughts|toothache|bad dreams|a stiff neck"),
    "animal2": _words("geese|goats|cats|magpies|hedgehogs|donkeys|jackdaws|tortoises"),
    "quill": _words("goose quill|burnt stick|borrowed pen|fork dipped in ink|pencil stub"),
    "place2": _words("cellar of {inn}|lower end of {street}|yard behind {place}|crypt|skittle alley"),
    "ordinal": _words("third|fourth|fifth|sixth|seventh|ninth|twelfth"),
    "verdict2": _words(
        "well spent|loudly lived|lived mostly in slippers|without a dull Thursday|too short for its stories"
    ),
    "condition": _words(
        """much mended|missing its lid|sound but ugly|chewed at one end|in the original wrapping|slightly haunted|
        without a handle|painted to look like marble|in use as a hen house|better than it looks|not to be touched"""
    ),
    "weather2": tuple(word for season in _SEASONS for word in _WORDS[f"{season}_weather"]),
    "wind2": _WORDS["wind"],
}
