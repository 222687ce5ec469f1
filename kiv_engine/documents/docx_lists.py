"""The numbers of a DOCX's lists, which Word does not write down but counts, as its numbering.xml says."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from kiv_engine.documents.docx_styles import value
from kiv_engine.documents.xml_tree import Element, attribute, local_name

BULLET: Final = "- "
MAX_NUMBER: Final = 32_767
"""Word's own limit; it also keeps numerals short."""

_PLACE: Final = re.compile(r"%([1-9])")
_ROMAN: Final = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip


@dataclass(frozen=True)
class Level:
    """How the items of one level are numbered.

    Attributes:
        form: like "decimal", "lowerRoman" or "bullet".
        text: what is shown, like "%1.%2" or "Clause (%1)".
        restarts: whether an item of a higher level starts it anew.
        plain: whether all numbers in the text are decimal, whatever their own level says.
    """

    start: int = 1
    form: str = "decimal"
    text: str = ""
    restarts: bool = True
    plain: bool = False


@dataclass(frozen=True)
class NumberedList:
    """A list: its levels, the pattern that it shares its counts with, and where it starts them anew."""

    pattern: str
    levels: dict[int, Level]
    starts: dict[int, int]


class Lists:
    """Counts the items of all lists in the order in which `label` is asked for them."""

    def __init__(self, numbering: Iterable[Element]) -> None:
        """From the children of numbering.xml."""
        self._lists = read_lists(list(numbering))
        self._counts: dict[str, dict[int, int]] = {}
        self._started: set[tuple[str, int]] = set()

    def label(self, list_id: str, level: int) -> str:
        """What stands before the next item of a list, with a blank; empty where Word shows nothing."""
        numbered = self._lists.get(list_id)
        if numbered is None or level not in numbered.levels:
            return BULLET
        self._count(list_id, numbered, level)
        shown = numbered.levels[level]
        if shown.form == "bullet":
            return BULLET
        text = _PLACE.sub(lambda place: self._numeral(numbered, int(place[1]) - 1, shown), shown.text).strip()
        return f"{text} " if text else ""

    def _count(self, list_id: str, numbered: NumberedList, level: int) -> None:
        counts = self._counts.setdefault(numbered.pattern, {})
        if level in numbered.starts and (list_id, level) not in self._started:
            counts[level] = numbered.starts[level]
        else:
            counts[level] = counts[level] + 1 if level in counts else numbered.levels[level].start
        self._started.add((list_id, level))
        for deeper in [key for key in counts if key > level and numbered.levels.get(key, Level()).restarts]:
            del counts[deeper]

    def _numeral(self, numbered: NumberedList, place: int, shown: Level) -> str:
        level = numbered.levels.get(place, Level())
        return numeral(self._counts[numbered.pattern].get(place, level.start), "decimal" if shown.plain else level.form)


def numeral(number: int, form: str) -> str:
    """A number as Word writes it; in digits where it would be words or of another script."""
    number = max(0, min(number, MAX_NUMBER))
    if form in ("bullet", "none"):
        return ""
    if form in ("lowerRoman", "upperRoman"):
        return roman(number) if form == "lowerRoman" else roman(number).upper()
    if form in ("lowerLetter", "upperLetter") and number:
        letter = chr(ord("a" if form == "lowerLetter" else "A") + (number - 1) % 26)
        return letter * ((number - 1) // 26 + 1)
    return f"{number:02}" if form == "decimalZero" else str(number)


def roman(number: int) -> str:
    """In small letters."""
    text = ""
    for size, letters in _ROMAN:
        text += letters * (number // size)
        number %= size
    return text


# -- numbering.xml -----------------------------------------------------------------------------------------------------


def read_lists(numbering: list[Element]) -> dict[str, NumberedList]:
    """All lists by their ids."""
    patterns = {attribute(element, "abstractNumId"): element for element in of_name(numbering, "abstractNum")}
    # A pattern may only name a style; the one with that style's name has the levels.
    styled = {value(pattern, "{*}styleLink"): key for key, pattern in patterns.items()}
    lists = {}
    for element in of_name(numbering, "num"):
        pattern = value(element, "{*}abstractNumId")
        if pattern in patterns and (style := value(patterns[pattern], "{*}numStyleLink")):
            pattern = styled.get(style, pattern)
        levels = read_levels(patterns[pattern]) if pattern in patterns else {}
        starts = {}
        for override in of_name(element, "lvlOverride"):
            levels |= read_levels(override)
            if start := value(override, "{*}startOverride"):
                starts[number_of(attribute(override, "ilvl"), 0)] = number_of(start, 1)
        lists[attribute(element, "numId")] = NumberedList(pattern, levels, starts)
    return lists


def read_levels(parent: Element) -> dict[int, Level]:
    """The levels that a pattern, or a list that differs from it, describes."""
    return {
        number_of(attribute(level, "ilvl"), 0): Level(
            start=number_of(value(level, "{*}start"), 0),
            form=value(level, "{*}numFmt") or "decimal",
            text=value(level, "{*}lvlText"),
            restarts=value(level, "{*}lvlRestart") != "0",
            plain=any(attribute(legal, "val") not in ("0", "false") for legal in of_name(level, "isLgl")),
        )
        for level in of_name(parent, "lvl")
    }


def of_name(elements: Iterable[Element], name: str) -> Iterator[Element]:
    """Those of this name."""
    return (element for element in elements if local_name(element) == name)


def number_of(text: str, otherwise: int) -> int:
    """A whole number of a few digits, or something else."""
    return int(text) if text.isdecimal() and len(text) < 6 else otherwise
