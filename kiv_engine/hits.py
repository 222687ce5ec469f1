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

    def cpu(self) -> "LayerHits":
        """The same on the CPU, without the unused slots of a hot window that is not full yet."""
        local_tokens = self.local_tokens.cpu()
        held = local_tokens <= self.position
        return LayerHits(
            layer=self.layer,
            position=self.position,
            cold_tokens=self.cold_tokens.cpu(),
            cold_mass=self.cold_mass.cpu(),
            local_tokens=local_tokens[held],
            local_mass=self.local_mass.cpu()[held],
            local_total=self.local_total.cpu(),
        )

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensors."""
        return sum(part.nbytes for part in vars(self).values() if isinstance(part, torch.Tensor))

    def token_mass(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions and mass averaged over all heads, (k,) each; a position may stand more than once."""
        heads = max(self.cold_mass.shape[0], 1)
        tokens = torch.cat((self.cold_tokens.flatten(), self.local_tokens))
        return tokens, torch.cat((self.cold_mass.flatten() / heads, self.local_mass))


class HitRecorder:
    """Collects LayerHits on the device while tokens are decoded; `drain` brings them to the CPU and starts anew.

    Recording keeps references to small tensors that attention made anyway: no copy and no wait in the decode step.
    """

    def __init__(self) -> None:
        self._records: list[LayerHits] = []

    def record(self, hits: LayerHits) -> None:
        """Keep one layer's hits of one query."""
        self._records.append(hits)

    def drain(self) -> list[LayerHits]:
        """Everything recorded since the last call, on the CPU."""
        records, self._records = self._records, []
        return [record.cpu() for record in records]
