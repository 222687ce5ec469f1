"""The hot window: sinks and the newest tokens, in buffers that never move."""

import math
from collections.abc import Iterator

import torch

from kiv_engine.hits import RingPlaces


def window_bytes(num_heads: int, head_dim: int, slots: int, element_bytes: int) -> int:
    """Bytes of a HotWindow with so many slots: K, V, and a float32 of bias each."""
    return slots * (2 * num_heads * head_dim * element_bytes + 4)


class HotWindow:
    """Sinks, and a ring of the most recent tokens, in one buffer per K and V: (H, sinks + ring, D).

    Attributes:
        num_sinks, num_hot: tokens held in each part.
        bias: (sinks + ring,) 0 where a slot holds a token that is attended, -inf elsewhere.
    """

    def __init__(self, sinks: int, ring: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        self.num_sinks = 0
        self.num_hot = 0
        self._sinks = sinks
        self._ring = ring
        self._start = 0
        self.keys = keys.new_zeros((keys.shape[0], sinks + ring, keys.shape[-1]))
        self.values = values.new_zeros((values.shape[0], sinks + ring, values.shape[-1]))
        self.bias = torch.full((sinks + ring,), -math.inf, device=keys.device)

    @property
    def nbytes(self) -> int:
        tensors = (self.keys, self.values, self.bias)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def used(self) -> slice:
        """Slots that hold anything: a prefix until the ring has turned once."""
        turned = self._start > 0 or self.num_hot == self._ring
        return slice(0, self._sinks + self._ring if turned else self.num_sinks + self.num_hot)

    def _slots(self, first: int, count: int) -> Iterator[tuple[slice, slice]]:
        """Ring places of hot tokens first..first+count as (slots in the buffer, offsets), in at most two runs."""
        begin = (self._start + first) % self._ring
        run = min(count, self._ring - begin)
        if run:
            yield slice(self._sinks + begin, self._sinks + begin + run), slice(0, run)
        if count > run:
            yield slice(self._sinks, self._sinks + count - run), slice(run, count)

    def fill_sinks(self, keys: torch.Tensor, values: torch.Tensor) -> int:
        """Take the first tokens (H, n, D) that still belong to the sinks; how many were taken."""
        count = min(self._sinks - self.num_sinks, keys.shape[1])
        slots = slice(self.num_sinks, self.num_sinks + count)
        self.keys[:, slots], self.values[:, slots] = keys[:, :count], values[:, :count]
        self.bias[slots] = 0
        self.num_sinks += count
        return count

    def append(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Add tokens (H, n, D) to the ring, which must have room."""
        for slots, part in self._slots(self.num_hot, keys.shape[1]):
            self.keys[:, slots], self.values[:, slots] = keys[:, part], values[:, part]
            self.bias[slots] = 0
        self.num_hot += keys.shape[1]

    def read(self, first: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """K and V of hot tokens first..first+count, oldest first."""
        runs = [slots for slots, _ in self._slots(first, count)]
        if not runs:
            return self.keys[:, :0], self.values[:, :0]
        if len(runs) == 1:
            return self.keys[:, runs[0]], self.values[:, runs[0]]
        return (
            torch.cat([self.keys[:, slots] for slots in runs], 1),
            torch.cat([self.values[:, slots] for slots in runs], 1),
        )

    def drop_oldest(self, count: int) -> None:
        """Forget the oldest `count` hot tokens."""
        for slots, _ in self._slots(0, count):
            self.bias[slots] = -math.inf
        self._start = (self._start + count) % self._ring
        self.num_hot -= count

    def restart(self, num_sinks: int) -> None:
        """Forget the hot tokens, and all but the first `num_sinks` sinks."""
        self.num_sinks = min(self.num_sinks, num_sinks)
        self.num_hot = self._start = 0
        self.bias[self.num_sinks :] = -math.inf

    def places(self, num_tokens: int) -> RingPlaces:
        """What the slots hold in a context of `num_tokens`."""
        return RingPlaces(self._sinks, self._ring, self._start, num_tokens - self.num_hot)
