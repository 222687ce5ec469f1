"""Where in the documents the tokens of an answer looked: softmax mass over equal parts of the text, the bins.

All numbers are what the engine's hit sets report, added up per bin. Only `heat` takes something away: the baseline,
which is what tokens hit whatever they are about (headings, line ends, the search's smallest finds), measured with
questions about nothing. The median over an answer's own tokens would not do: a good answer looks at its passage with
every token.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

HEAT_BINS: Final = 2_048
LAYER_BINS: Final = 128
"""Of each layer, so many of a token's heaviest bins are kept; the sum over layers is kept whole."""
ANSWER_TOKENS: Final = 2_048
"""Of a longer answer, only these first tokens are kept one by one: each takes some KB, and more for every layer."""
FEW_BINS: Final = 64
"""Of a token of an older answer, no more bins than these are kept, in 2 + 2 bytes each: half of them the heaviest, and
half those most above the baseline."""

HOT: Final = 0.1
"""From this share of the hottest bin on, a bin is a place worth going to."""

Mass: TypeAlias = NDArray[np.float32]
Heat: TypeAlias = "array[float]"
"""float32 per bin, the largest is 1. Four bytes a bin, since every answer of a chat keeps its own."""


@dataclass(frozen=True, eq=False)
class LayerMass:
    """The heaviest bins of one layer and token, heaviest first."""

    layer: int
    bins: NDArray[np.int16]
    mass: Mass


@dataclass(frozen=True, eq=False)
class TokenHits:
    """What one generated token used: the bins with mass, ascending, and their mass, the mean of all layers; the layers.

    In the built-in model 600 of 2,048 bins have mass: without the others a token takes half the memory. `few` are the
    places in `bins` of those that are kept when the answer is older, FEW_BINS at most.
    """

    bins: NDArray[np.int16]
    mass: NDArray[np.float32] | NDArray[np.float16]
    layers: tuple[LayerMass, ...]
    few: NDArray[np.int16]

    @classmethod
    def of(cls, row: Mass, layers: tuple[LayerMass, ...], baseline: Mass) -> "TokenHits":
        """From mass per bin (HEAT_BINS)."""
        bins = np.flatnonzero(row)
        mass = row[bins]
        few = np.arange(len(bins))
        if len(bins) > FEW_BINS:
            half = [np.argpartition(each, -FEW_BINS // 2)[-FEW_BINS // 2 :] for each in (mass, mass - baseline[bins])]
            few = np.unique(np.concatenate(half))
        return cls(bins.astype(np.int16), mass, layers, few.astype(np.int16))


class FewHits(Sequence[TokenHits]):
    """The tokens of an older answer: of each its few bins, and no layers. At most 260 bytes a token."""

    def __init__(self, tokens: Sequence[TokenHits]) -> None:
        none = [np.zeros(0, np.int16)]
        self._bins: NDArray[np.int16] = np.concatenate(none + [token.bins[token.few] for token in tokens])
        mass = np.concatenate([np.zeros(0, np.float32)] + [token.mass[token.few] for token in tokens])
        self._mass: NDArray[np.float16] = mass.astype(np.float16)
        self._ends: NDArray[np.int32] = np.cumsum([0] + [len(token.few) for token in tokens], dtype=np.int32)

    @property
    def nbytes(self) -> int:
        """What it takes."""
        return self._bins.nbytes + self._mass.nbytes + self._ends.nbytes

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> TokenHits: ...
    @overload
    def __getitem__(self, place: slice) -> list[TokenHits]: ...
    def __getitem__(self, place: int | slice) -> TokenHits | list[TokenHits]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        first, last = self._ends[place : place + 2]
        few = np.arange(last - first, dtype=np.int16)
        return TokenHits(self._bins[first:last], self._mass[first:last], (), few)


@dataclass(frozen=True, eq=False)
class Baseline:
    """What tokens hit whatever they are about: mass per bin, the mean of all layers, and of each layer."""

    mass: Mass
    layers: dict[int, Mass]

    @classmethod
    def of(cls, tokens: Sequence[TokenHits]) -> "Baseline":
        """The median over tokens of answers to questions about nothing."""
        layers = sorted({part.layer for token in tokens for part in token.layers})
        return cls(_median(tokens, None), {layer: _median(tokens, layer) for layer in layers})

    def of_layer(self, layer: int | None) -> Mass:
        """Mass per bin of one layer or the mean of all."""
        return self.mass if layer is None else self.layers.get(layer, np.zeros_like(self.mass))


NO_BASELINE: Final = Baseline(np.zeros(HEAT_BINS, np.float32), {})


def _median(tokens: Sequence[TokenHits], layer: int | None) -> Mass:
    median: Mass = np.median(mass_rows(tokens, layer), axis=0).astype(np.float32)
    return median


class HitCollector:
    """Turns hits, which name tokens of the context, into mass per bin, token by token.

    `bin_of_token`: int16, the bin of each position of the context, -1 where that is no evidence: outside the documents,
    and the sinks, which take mass by design. Positions behind its end are no evidence either.
    """

    def __init__(self, bin_of_token: NDArray[np.int16], baseline: Baseline = NO_BASELINE) -> None:
        self._bin_of_token = bin_of_token
        self._baseline = baseline
        self._heat = np.zeros(HEAT_BINS, np.float32)
        self._position: int | None = None
        self._row = np.zeros(HEAT_BINS, np.float32)
        self._layers: list[LayerMass] = []
        self._taken: list[TokenHits] = []

    def add(self, layer: int, position: int, tokens: NDArray[np.int64], mass: Mass) -> None:
        """Take one layer's hits of the query at a position; a query's layers come one after the other."""
        if position != self._position:
            self._finish_token()
            self._position = position
        inside = tokens < len(self._bin_of_token)
        bins = self._bin_of_token[tokens[inside]]
        evident = bins >= 0
        row = np.bincount(bins[evident], mass[inside][evident], HEAT_BINS).astype(np.float32)
        heaviest = np.argsort(row)[: -LAYER_BINS - 1 : -1]
        heaviest = heaviest[row[heaviest] > 0]
        self._layers.append(LayerMass(layer, heaviest.astype(np.int16), row[heaviest]))
        self._row += row

    def _finish_token(self) -> None:
        if self._position is None:
            return
        row = self._row / np.float32(len(self._layers))
        self._heat += np.maximum(row - self._baseline.mass, 0)
        self._taken.append(TokenHits.of(row, tuple(self._layers), self._baseline.mass))
        self._row, self._layers, self._position = np.zeros_like(row), [], None

    def take(self) -> tuple[TokenHits, ...]:
        """The tokens since the last call; all layers of the last one have been added."""
        self._finish_token()
        taken, self._taken = self._taken, []
        return tuple(taken)

    def heat(self) -> Heat:
        """Mass of all tokens over the baseline, per bin; the largest is 1."""
        return as_heat(self._heat)


def mass_rows(tokens: Sequence[TokenHits], layer: int | None = None) -> Mass:
    """Mass per token and bin (tokens, HEAT_BINS), of one layer or the mean of all."""
    rows = np.zeros((len(tokens), HEAT_BINS), np.float32)
    for row, token in zip(rows, tokens, strict=True):
        if layer is None:
            row[token.bins] = token.mass
        for part in token.layers:
            if part.layer == layer:
                row[part.bins] = part.mass
    return rows


def as_heat(mass: Mass) -> Heat:
    """Scaled so that the largest is 1."""
    return array("f", (mass / np.float32(max(float(mass.max(initial=0.0)), 1e-12))).tobytes())


def bin_of(character: int, total: int) -> int:
    """The bin of a character of all documents' text, which has so many."""
    return min(character * HEAT_BINS // max(1, total), HEAT_BINS - 1)


def hot_places(heat: Sequence[float] | Mass) -> list[int]:
    """Bins to go to, ascending: of each run of bins that are at least HOT of the hottest one, the hottest."""
    values = np.asarray(heat, np.float32)
    hot = np.flatnonzero(values >= max(HOT * float(values.max(initial=0.0)), 1e-12))
    runs = np.split(hot, np.flatnonzero(np.diff(hot) > 1) + 1)
    return [int(run[values[run].argmax()]) for run in runs if len(run)]


@dataclass(eq=False)
class Evidence:
    """What is known of where an answer looked, while it is written and after.

    Attributes:
        tokens: one by one, no more than ANSWER_TOKENS; one more than the answer has if it ended by itself. None of
            an answer from disk.
        ends: how many characters the answer had after each token; tokens that have none yet are not in it.
        heat: of the whole answer, over the baseline; the largest is 1.
    """

    tokens: Sequence[TokenHits] = ()
    ends: Sequence[int] = ()
    heat: Heat = field(default_factory=lambda: array("f"), repr=False)
    baseline: Baseline = NO_BASELINE

    def grow(self, tokens: Iterable[TokenHits], ends: Sequence[int], heat: Heat) -> None:
        """Take what came since."""
        self.tokens = [*self.tokens, *islice(tokens, ANSWER_TOKENS - len(self.tokens))]
        self.ends, self.heat = tuple(ends), heat

    def shrink(self) -> None:
        """Keep only the few bins of each token that matter most: all of them take thousands of bytes a token."""
        self.tokens, self.ends = FewHits(self.tokens), array("i", self.ends)
        self.baseline = Baseline(self.baseline.mass, {})

    @property
    def is_full(self) -> bool:
        """Whether the answer has, or may get, tokens that are not kept."""
        return len(self.tokens) >= ANSWER_TOKENS

    @property
    def layers(self) -> list[int]:
        """The layers that search, ascending."""
        return sorted({layer.layer for token in self.tokens[:1] for layer in token.layers})

    def tokens_of(self, start: int, end: int) -> range:
        """The tokens that wrote the characters [start, end) of the answer."""
        first = sum(token_end <= start for token_end in self.ends)
        last = sum(token_end < end for token_end in self.ends)
        return range(first, min(last + 1, len(self.tokens), len(self.ends))) if start < end else range(0)

    def characters_of(self, tokens: range) -> tuple[int, int]:
        """The characters [start, end) of the answer that some tokens wrote."""
        ends = (0, *self.ends)
        last = len(ends) - 1
        return ends[min(tokens.start, last)], ends[min(tokens.stop, last)]

    def rows(self, layer: int | None = None, *, above: bool = False, first: int = 0) -> Mass:
        """Mass per token, from a `first` one on, and bin (tokens, HEAT_BINS); `above` the baseline, or as it is."""
        rows = mass_rows(self.tokens[first:], layer)
        return np.maximum(rows - self.baseline.of_layer(layer), 0) if above else rows

    def heat_of(self, tokens: range) -> Heat:
        """Mass of some tokens over the baseline, per bin; the largest is 1."""
        some = mass_rows(self.tokens[tokens.start : tokens.stop])
        return as_heat(np.maximum(some - self.baseline.mass, 0).sum(axis=0))
