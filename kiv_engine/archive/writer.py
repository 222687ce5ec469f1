"""Sections and paragraphs, written one after another and without end."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from kiv_engine.archive.facts import ArchiveFact, FactSource
from kiv_engine.archive.grammar import below, capitalized, expand, order, titled
from kiv_engine.archive.sentences import COMMON, KINDS
from kiv_engine.archive.words import MONTHS, OFFICES, PREFACE, SEASONS, TITLE, TITLES


@dataclass(frozen=True)
class Section:
    """A heading and its paragraphs. Offsets are characters of `text`; `cuts` are the ends of its sentences."""

    text: str
    cuts: tuple[int, ...]
    facts: tuple[ArchiveFact, ...]

    def until(self, cut: int) -> "Section":
        """The section's first `cut` characters, with the facts that lie within."""
        cuts = tuple(end for end in self.cuts if end <= cut)
        return Section(self.text[:cut], cuts, tuple(fact for fact in self.facts if fact.end <= cut))

    def plus(self, closing: str) -> "Section":
        """The section with one more sentence at its end."""
        return Section(f"{self.text} {closing}", self.cuts, self.facts)


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
        slots = {**self.slots, "weather": expand(f"{{{self.season}_weather}}", rng, {})}
        place = below(rng, len(self.people))
        other = (place + 1 + below(rng, len(self.people) - 1)) % len(self.people)
        for role, person in (("A", self.people[place]), ("B", self.people[other])):
            by_office = person.name in named and person.title in OFFICES and rng.random() < 0.7
            slots |= person.slots(role, f"the {person.title.lower()}" if by_office else person.name)
        return slots


class Writer:
    """Writes an archive's sections, one after another and without end.

    Attributes: `seed`; `source`, the facts; `decks`, what is left to draw of each pool of sentences, so that a sentence
    pattern comes back only when its pool is spent; `written` and `due`, both in characters: where the text stands, and
    where the next fact belongs.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.source = FactSource()
        self.decks: dict[str, list[str]] = {}
        self.written = 0
        self.due = 0

    def sections(self) -> Iterator[Section]:
        """All sections, in order, each from its own seed."""
        for number in itertools.count():
            yield self._section(number, random.Random(self.seed * 1_000_003 + number))

    def _section(self, number: int, rng: random.Random) -> Section:
        """Section `number`, counted from 0."""
        kind = self._draw("kinds", rng)
        scene = self._scene(number, rng)
        page = _Page(self._headings(number, kind, scene, rng))
        paragraphs = 4 + below(rng, 3)
        for place in range(paragraphs):
            self._paragraph(page, kind, scene, rng)
            if place == paragraphs - 1:
                self._sentence(page, f"{kind}.close", scene, rng)
        self.written += page.length
        return page.section()

    def _headings(self, number: int, kind: str, scene: _Scene, rng: random.Random) -> list[str]:
        """The lines above section `number`: the archive's title, a volume's title, and always a chapter's."""
        volume, chapter = divmod(number, _SECTIONS_A_VOLUME)
        lines = [] if number else [TITLE, PREFACE]
        if chapter == 0:
            first = _FIRST_YEAR + number // _SECTIONS_A_YEAR
            title = expand("{book_of}", self._volume_rng(volume), {})
            lines.append(f"VOLUME {volume + 1}: {title}, {first} to {first + 1}")
        heading = expand(self._draw(f"{kind}.head", rng), rng, scene.slots)
        return [*lines, f"Chapter {chapter + 1}. {titled(heading)}"]

    def _volume_rng(self, volume: int) -> random.Random:
        """Chance that is the same in all sections of a volume."""
        return random.Random(self.seed * 1_000_003 + _VOLUME_SEEDS + volume)

    def _scene(self, number: int, rng: random.Random) -> _Scene:
        """The scene of section `number`, with six of the volume's twelve people."""
        month, year = number % _SECTIONS_A_YEAR, _FIRST_YEAR + number // _SECTIONS_A_YEAR
        season = SEASONS[(month + 1) % 12 // 3]
        cast = _volume_cast(self._volume_rng(number // _SECTIONS_A_VOLUME))
        writer, *people = (cast[place] for place in order(rng, len(cast))[:6])
        date = f"{MONTHS[month]} {1 + below(rng, 28)}, {year}"
        return _Scene({"date": date, "season": season, **writer.slots("W", writer.name)}, season, tuple(people))

    def _paragraph(self, page: "_Page", kind: str, scene: _Scene, rng: random.Random) -> None:
        """Write one paragraph of about 340 to 800 characters, with a fact if one is due."""
        target = 340 + below(rng, 260)
        fact_due = self.written + page.length >= self.due
        fact_place = 1 + below(rng, 3) if self.due else 1
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
        sentence = capitalized(expand(template, rng, scene.sentence_slots(page.named, rng)))
        page.add(sentence)
        page.named |= {person.name for person in scene.people if person.name in sentence}

    def _fact(self, page: "_Page", scene: _Scene, rng: random.Random) -> None:
        """Add a fact, and place the next one a chance distance on, measured from where this one was due."""
        page.add_fact(self.source.draw(rng, scene.sentence_slots(page.named, rng)))
        low, high = _FACT_SPACING
        self.due += low + below(rng, high - low)

    def _draw(self, pool: str, rng: random.Random) -> str:
        """The next of a pool's deck, which is shuffled anew when it is spent."""
        if not self.decks.get(pool):
            words = _pool(pool)
            self.decks[pool] = [words[place] for place in order(rng, len(words))]
        return self.decks[pool].pop()


def _pool(name: str) -> tuple[str, ...]:
    """What can be drawn: "kinds" of sections, "common" sentences, those of a kind, or a part such as "letter.open"."""
    if name == "kinds":
        return tuple(KINDS)
    if name == "common":
        return COMMON
    kind, _, part = name.partition(".")
    return KINDS[kind][part or "body"]


def _volume_cast(rng: random.Random) -> list[_Person]:
    """Twelve people with different titles."""
    titles = [TITLES[place].split(":") for place in order(rng, len(TITLES))[:12]]
    return [_Person(title, expand("{cast_surname}", rng, {}), she) for title, she in titles]


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
        self._facts.append(fact.moved(self.length - len(fact.sentence)))

    def section(self) -> Section:
        """The finished section."""
        return Section("".join(self._pieces), tuple(self._cuts), tuple(self._facts))
