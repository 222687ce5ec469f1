"""The names, words and values that tasks are made of, drawn so that none comes twice in a document."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_FIRST: Final = str.split(
    "Abel Agnes Alban Alma Anselm Bertha Blaise Bruno Carmen Cecil Clara Cyrus Daphne Dora Edgar Edith Elmer Enid "
    "Ezra Fabian Flora Frieda Gilbert Greta Harvey Hedwig Hilda Horace Ida Irene Ivor Jerome Joan Judith Karl "
    "Kirsten Lambert Leila Leopold Lydia Magnus Mabel Martha Miles Mona Nestor Nora Olga Oscar Otto Paula Pearl "
    "Phoebe Ralph Regina Roland Ruth Selma Silas Sophie Stella Theo Thelma Ursula Vera Victor Wanda Walter Wilma "
    "Xavier"
)
_SURNAME_STARTS: Final = str.split(
    "Ash Beck Brook Clay Dale East Fair Glen Hart Holt Kirk Lang Marsh Nor Oak Rush Stan Thorn"
)
_SURNAME_ENDS: Final = str.split("bourne by field ford gate ham hurst land ley man mere ton well wick wood worth")
WORDS: Final = str.split(
    "acorn amber anchor apricot barrel basket beacon beetle bishop blanket bottle bridge bucket butter cabin "
    "candle canyon carpet castle cellar cherry chimney clover copper cotton cradle crystal curtain dagger desert "
    "diamond dragon engine falcon feather fiddle forest garden ginger goblet hammer harbor hazel helmet honey "
    "island ivory jacket jungle kettle ladder lantern lemon lizard magnet mantle maple marble meadow mirror "
    "mitten monkey mustard needle olive onion orchard oyster paddle parrot pebble pencil pepper pigeon pillow "
    "pocket potato prism pumpkin quarry rabbit raven ribbon river rocket saddle salmon sandal shadow shovel "
    "silver spider squirrel stable stream sugar summit tailor temple thimble thunder timber tomato tunnel turtle "
    "valley velvet violin wagon walnut willow"
)
_TOWNS: Final = str.split(
    "Aldermoor Bexhill Carrow Dunmere Elmstead Farleigh Gorsley Hexworth Inverley Kelsall Lowick Marden Netherby "
    "Ormskirk Penrith Quorn Ripley Selby Tarvin Upwell Wexcombe Yarmley"
)
_MONTHS: Final = str.split("January February March April May June July August September October November December")
_TRIES: Final = 10_000


@dataclass
class Draw:
    """Random choices for one document.

    Attributes:
        rng: the source of all of them.
        around: words of the text around; no surname, number or made-up word is among them.
        taken: what has been given away.
    """

    rng: random.Random
    around: frozenset[str] = frozenset()
    taken: set[str] = field(default_factory=set)

    def person(self) -> str:
        """A person nobody else is called like."""
        return self._unused(lambda: f"{self.rng.choice(_FIRST)} {self._surname()}")

    def namesakes(self, person: str, count: int) -> list[str]:
        """People who share the first name or the surname of a person, by turns."""
        first, last = person.split()
        makers = (lambda: f"{first} {self._surname()}", lambda: f"{self.rng.choice(_FIRST)} {last}")
        return [self._unused(makers[place % 2]) for place in range(count)]

    def _surname(self) -> str:
        return self.rng.choice(_SURNAME_STARTS) + self.rng.choice(_SURNAME_ENDS)

    def number(self, digits: int = 6) -> str:
        """A number of so many digits."""
        return self._unused(lambda: str(self.rng.randrange(10 ** (digits - 1), 10**digits)))

    def words(self, count: int = 3) -> str:
        """Different words, with spaces between them."""
        return self._unused(lambda: " ".join(self.rng.sample(WORDS, count)), common=True)

    def date(self) -> str:
        """Like 7 March 1871."""
        return self._unused(
            lambda: f"{self.rng.randrange(1, 29)} {self.rng.choice(_MONTHS)} {self.rng.randrange(1700, 2000)}",
            common=True,
        )

    def towns(self, count: int) -> list[str]:
        """Different towns."""
        return self.rng.sample(_TOWNS, count)

    def label(self) -> str:
        """Five capital letters, as a name of a variable."""
        return self._unused(lambda: "".join(self.rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=5)))

    def coded(self) -> str:
        """A made-up word of six small letters."""
        return self._unused(lambda: "".join(self.rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)))

    def _unused(self, make: Callable[[], str], *, common: bool = False) -> str:
        """What `make` makes, once it is new; `common` words may stand in the text around."""
        for _ in range(_TRIES):
            made = make()
            if made not in self.taken and (common or made.split()[-1] not in self.around):
                self.taken.add(made)
                return made
        raise AssertionError("the names of a document ran out")
