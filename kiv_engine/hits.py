"""Hit sets: which tokens each layer used for each query, with what softmax mass, as the attention itself saw them."""

from dataclasses import dataclass
from typing import Final

import torch

LOCAL_HITS: Final = 64
"""Of the hot window, this many heaviest tokens per layer and query are reported one by one; the rest as a sum."""

STEPS_AT_ONCE: Final = 16
"""Hits of so many decode steps are averaged over heads together."""


@dataclass(frozen=True)
class LayerHits:
    """What one layer attended to for one query. Masses are averages over query heads, so a step's masses sum to 1.

    Attributes:
        layer: index of the attending layer.
        position: position of the query in the context, in tokens.
        cold_tokens, cold_mass: (num_kv_heads, n) positions fetched and the mass each got, averaged over the group.
        local_tokens, local_mass: (m,) heaviest tokens of the hot window and sinks, averaged over all heads.
        local_total: () mass of sinks and hot window together.
    """

    layer: int
    position: int
    cold_tokens: torch.Tensor
    cold_mass: torch.Tensor
    local_tokens: torch.Tensor
    local_mass: torch.Tensor
    local_total: torch.Tensor

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensors."""
        return sum(part.nbytes for part in vars(self).values() if isinstance(part, torch.Tensor))

    def token_mass(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions and mass averaged over all heads, (k,) each; a position may stand more than once."""
        heads = max(self.cold_mass.shape[0], 1)
        tokens = torch.cat((self.cold_tokens.flatten(), self.local_tokens))
        return tokens, torch.cat((self.cold_mass.flatten() / heads, self.local_mass))


@dataclass(frozen=True)
class HitsDrained:
    """An answer is under way: what its tokens since the last such event used. All together are the hits of its turn."""

    hits: tuple[LayerHits, ...]


@dataclass(frozen=True)
class RingPlaces:
    """Where the tokens of a sinks-and-ring buffer stand in the context.

    Attributes:
        sinks: slots in front of the ring; slot and position are the same there.
        ring: slots of the ring.
        start: place in the ring of its oldest token.
        oldest: that token's position.
    """

    sinks: int
    ring: int
    start: int
    oldest: int

    def position_of(self, slots: torch.Tensor) -> torch.Tensor:
        """Positions in the context of the tokens that lie in these slots."""
        return torch.where(slots < self.sinks, slots, (slots - self.sinks - self.start) % self.ring + self.oldest)


@dataclass(frozen=True)
class Recording:
    """One layer's attention for one query as the decode step leaves it: on the device, with slots for positions.

    Attributes:
        cold_rows: (num_kv_heads, r) rows of the store, which begins behind the sinks.
        cold_weights, cold_factor: (num_kv_heads, group, r) and (num_kv_heads, group); the product is the softmax.
        local_weights, local_factor: (heads, n) and (heads,), of the slots of the buffer that `places` explains; those
            not filled yet have no weight.
        The others are as in LayerHits.
    """

    layer: int
    position: int
    cold_rows: torch.Tensor
    cold_weights: torch.Tensor
    cold_factor: torch.Tensor
    local_weights: torch.Tensor
    local_factor: torch.Tensor
    places: RingPlaces

    @property
    def kind(self) -> tuple[int, int, int]:
        """Recordings of one kind are of one layer and of the same shapes."""
        return self.layer, self.local_weights.shape[-1], self.cold_rows.shape[-1]


@dataclass(frozen=True)
class Condensed:
    """Hits of several queries of one layer, still on the device.

    Of b queries: cold_rows, cold_mass (b, num_kv_heads, r); local_slots, local_mass (b, m); local_total (b,).
    """

    layer: int
    positions: list[int]
    places: list[RingPlaces]
    cold_rows: torch.Tensor
    cold_mass: torch.Tensor
    local_slots: torch.Tensor
    local_mass: torch.Tensor
    local_total: torch.Tensor

    @classmethod
    def of(cls, recordings: list[Recording]) -> "Condensed":
        """Average recordings of one kind over heads, and pick what is reported one by one."""
        factor = torch.stack([each.local_factor for each in recordings])[:, None]
        local = (factor @ torch.stack([each.local_weights for each in recordings]))[:, 0] / factor.shape[-1]
        heaviest = local.topk(min(LOCAL_HITS, local.shape[-1]), sorted=False)
        group = torch.stack([each.cold_factor for each in recordings])[:, :, None]
        cold = group @ torch.stack([each.cold_weights for each in recordings])
        return cls(
            recordings[0].layer,
            [each.position for each in recordings],
            [each.places for each in recordings],
            torch.stack([each.cold_rows for each in recordings]),
            cold[:, :, 0] / max(1, group.shape[-1]),
            heaviest.indices,
            heaviest.values,
            local.sum(-1),
        )

    def finish(self) -> list[LayerHits]:
        """The hits on the CPU."""
        cold_rows, cold_mass = self.cold_rows.cpu(), self.cold_mass.cpu()
        slots, local_mass, total = self.local_slots.cpu(), self.local_mass.cpu(), self.local_total.cpu()
        finished = []
        for row, (position, places) in enumerate(zip(self.positions, self.places, strict=True)):
            tokens = places.position_of(slots[row])
            held = tokens <= position
            hits = LayerHits(
                layer=self.layer,
                position=position,
                cold_tokens=cold_rows[row] + places.sinks,
                cold_mass=cold_mass[row],
                local_tokens=tokens[held],
                local_mass=local_mass[row][held],
                local_total=total[row],
            )
            finished.append(hits)
        return finished


class HitRecorder:
    """Collects what tokens used while they are decoded; `drain` brings it to the CPU and starts anew.

    The decode step only leaves references to what it computed anyway. Every few steps these are averaged together,
    which takes a third of the time that it takes one by one; nothing waits for the device before `drain`.
    """

    def __init__(self) -> None:
        self._recordings: dict[tuple[int, int, int], list[Recording]] = {}
        self._condensed: list[Condensed] = []

    def record(self, recording: Recording) -> None:
        """Keep one layer's hits of one query."""
        some = self._recordings.setdefault(recording.kind, [])
        some.append(recording)
        if len(some) == STEPS_AT_ONCE:
            self._condensed.append(Condensed.of(some))
            some.clear()

    def drain(self) -> list[LayerHits]:
        """Everything recorded since the last call, on the CPU, by position and layer."""
        condensed = self._condensed + [Condensed.of(some) for some in self._recordings.values() if some]
        self._condensed, self._recordings = [], {}
        hits = [each for part in condensed for each in part.finish()]
        return sorted(hits, key=lambda each: (each.position, each.layer))
