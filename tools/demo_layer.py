"""Writes the weights of one layer of the built-in model: what its heads look for, and what its MLP does when."""

import math
from typing import Any, Final

import torch
from demo_layout import HEAD_DIM, THETA, UNITS, WINDOW, Flag, reading
from torch import Tensor

STEEP: Final = 20.0
"""By how much gates are multiplied: silu is then a ramp, and a condition a step."""
OFFSET_PAIRS: Final = range(17)
"""The fast rotary pairs, which tell one place from the next."""
DISTANCE_PAIRS: Final = (17, 20)
"""Those that turn by one or two rounds in the window: together, they are near 2 about one distance only."""
RECENCY_PAIRS: Final = (26, 27, 28)
"""Those that turn by less than half a round in the window: together, nearly a line."""
FIRST_PAIR: Final = 40
WEIGHT_PAIR: Final = 41
LINE_PAIR: Final = 42
END_PAIR: Final = 43
DISTANCE_PAIR: Final = 44
QUESTION_PAIR: Final = 45
"""Slow pairs for flags. In the window they hardly turn, so they match content."""
OFFSET_KEY: Final = 4.0
OFFSET_SCORE: Final = 100.0
SOFT_OFFSET_SCORE: Final = 8.0
"""Size in the keys, and score, of each pair at the right offset; and where a mark may be worth more."""
RECENCY_KEY: Final = 5.0
RECENCY_SLOPE: Final = 2.0
"""Size in the keys, and how much more each token nearer scores."""
MARK_KEY: Final = 6.0
MARK_SCORE: Final = 300.0
"""Size in the keys, and score, of a token with a flag. More than recency gives in a whole window."""


def frequency(pair: int) -> float:
    """By how much a rotary pair turns with each token."""
    return float(THETA ** (-2 * pair / HEAD_DIM))


class Layer:
    """Writes the weights of one layer, which begin as zeros.

    The dimensions i and i + HEAD_DIM / 2 of a head are rotary pair i. All heads share the keys and values.
    Queries undo the division of scores by the root of their size.
    """

    def __init__(self, layer: Any) -> None:
        attention, self._mlp = layer.self_attn, layer.mlp
        modules = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        for module in (*modules, self._mlp.gate_proj, self._mlp.up_proj, self._mlp.down_proj):
            module.weight.data.zero_()
        self._queries, self.keys, self._values, self._outputs = (module.weight.data for module in modules)
        self._units = 0

    def query(self, head: int, dims: slice | int, rows: Tensor) -> None:
        first = head * HEAD_DIM
        dims = slice(dims, dims + 1) if isinstance(dims, int) else dims
        self._queries[first + dims.start : first + dims.stop] += rows * math.sqrt(HEAD_DIM)

    def query_flag(self, head: int, dim: int, flag: Flag, weight: float) -> None:
        self.query(head, dim, _flag_row(flag, weight))

    def key_flag(self, dim: int, flag: Flag, weight: float) -> None:
        self.keys[dim] += _flag_row(flag, weight)[0]

    def offset_keys(self) -> None:
        for pair in OFFSET_PAIRS:
            self.key_flag(pair, Flag.CONSTANT, OFFSET_KEY)

    def look_back(self, head: int, tokens: int, score: float = OFFSET_SCORE, asking: Flag = Flag.CONSTANT) -> None:
        """Where a query has the flag, the head sees the token that many places back: there all pairs meet."""
        size = score / OFFSET_KEY
        for pair in OFFSET_PAIRS:
            angle = tokens * frequency(pair)
            self.query_flag(head, pair, asking, size * math.cos(angle))
            self.query_flag(head, HEAD_DIM // 2 + pair, asking, -size * math.sin(angle))

    def look_at_distance(self, head: int, flag: Flag, tokens: int, beyond: int, score: float) -> None:
        """Keys with the flag score higher the nearer they are to a distance; 0 where they are `beyond` tokens off it.

        `score`: of each pair.
        """
        least = sum(math.cos(beyond * frequency(pair)) for pair in DISTANCE_PAIRS)
        for pair in (*DISTANCE_PAIRS, DISTANCE_PAIR):
            self.key_flag(pair, flag, MARK_KEY)
        size = score / MARK_KEY
        for pair in DISTANCE_PAIRS:
            angle = tokens * frequency(pair)
            self.query_flag(head, pair, Flag.CONSTANT, size * math.cos(angle))
            self.query_flag(head, HEAD_DIM // 2 + pair, Flag.CONSTANT, -size * math.sin(angle))
        self.query_flag(head, DISTANCE_PAIR, Flag.CONSTANT, -size * least)

    def recency_keys(self) -> None:
        for pair in RECENCY_PAIRS:
            self.key_flag(pair, Flag.CONSTANT, RECENCY_KEY)

    def look_near(self, head: int, asking: Flag = Flag.CONSTANT, slope: float = RECENCY_SLOPE) -> None:
        """Later keys score higher, where a query has the flag: cosines, steepest in the middle of the window."""
        size = slope / sum(frequency(pair) for pair in RECENCY_PAIRS) / RECENCY_KEY
        for pair in RECENCY_PAIRS:
            angle = math.pi / 2 - frequency(pair) * WINDOW / 2
            self.query_flag(head, pair, asking, size * math.cos(angle))
            self.query_flag(head, HEAD_DIM // 2 + pair, asking, size * math.sin(angle))

    def look_for_mark(self, head: int, pair: int, asking: Flag = Flag.CONSTANT) -> None:
        """The head sees, where a query has the flag, keys that are marked in this pair."""
        self.query_flag(head, pair, asking, MARK_SCORE / MARK_KEY)

    def value(self, first: int, rows: Tensor) -> None:
        """The values from dimension `first` on."""
        self._values[first : first + len(rows)] += rows

    def output(self, head: int, first: int, place: slice | Flag, matrix: Tensor | float) -> None:
        """What the head has seen in the values from dimension `first` on goes to a slot, or one number to a flag."""
        if not isinstance(matrix, Tensor):
            matrix = torch.full((1, 1), matrix)
        rows = place if isinstance(place, slice) else slice(int(place), int(place) + 1)
        self._outputs[rows, head * HEAD_DIM + first : head * HEAD_DIM + first + matrix.shape[1]] += matrix

    def units(self, gates: Tensor, values: Tensor, columns: Tensor) -> None:
        """MLP units: columns @ (silu(gates) * values)."""
        new = slice(self._units, self._units + len(gates))
        if new.stop > UNITS:
            raise ValueError("the MLP has too few units")
        self._units = new.stop
        self._mlp.gate_proj.weight.data[new] = gates
        self._mlp.up_proj.weight.data[new] = values
        self._mlp.down_proj.weight.data[:, new] = columns

    def when(self, conditions: Tensor, values: Tensor, columns: Tensor) -> None:
        """Units that count where a condition is above 0, in proportion to it."""
        count = columns.shape[1]
        self.units(STEEP * conditions.expand(count, -1), values.expand(count, -1), columns / STEEP)

    def always(self, values: Tensor, columns: Tensor) -> None:
        """A linear map."""
        self.when(reading({}, 1), values, columns)


def _flag_row(flag: Flag, weight: float) -> Tensor:
    return reading({}, weight) if flag is Flag.CONSTANT else reading({flag: weight})
