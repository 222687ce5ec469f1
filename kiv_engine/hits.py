"""Hit sets: which tokens each layer used for each query, with what softmax mass, as the attention itself saw them."""

from dataclasses import dataclass
from typing import Final

import torch

LOCAL_HITS: Final = 64
"""Of the hot window, this many heaviest tokens per layer and query are reported one by one; the rest as a sum."""


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
    """One layer's hits of one query as the decode step leaves them: on the device, with slots in place of positions.

    Attributes:
        cold_rows: (num_kv_heads, n) rows of the store, which begins behind the sinks.
        local_slots: (m,) slots of the buffer that `places` explains; those not filled yet have no mass.
        The others are as in LayerHits.
    """

    layer: int
    position: int
    cold_rows: torch.Tensor
    cold_mass: torch.Tensor
    local_slots: torch.Tensor
    local_mass: torch.Tensor
    local_total: torch.Tensor
    places: RingPlaces

    def finish(self) -> LayerHits:
        """The hits on the CPU."""
        local_tokens = self.places.position_of(self.local_slots.cpu())
        held = local_tokens <= self.position
        return LayerHits(
            layer=self.layer,
            position=self.position,
            cold_tokens=self.cold_rows.cpu() + self.places.sinks,
            cold_mass=self.cold_mass.cpu(),
            local_tokens=local_tokens[held],
            local_mass=self.local_mass.cpu()[held],
            local_total=self.local_total.cpu(),
        )


class HitRecorder:
    """Collects what tokens used while they are decoded; `drain` brings it to the CPU and starts anew.

    The decode step leaves everything that can be computed later to `drain`, and never waits for the device.
    """

    def __init__(self) -> None:
        self._recordings: list[Recording] = []

    def record(self, recording: Recording) -> None:
        """Keep one layer's hits of one query."""
        self._recordings.append(recording)

    def drain(self) -> list[LayerHits]:
        """Everything recorded since the last call, on the CPU."""
        recordings, self._recordings = self._recordings, []
        return [recording.finish() for recording in recordings]
