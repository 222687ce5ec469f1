"""The tokens that a cache holds: fed through the model, and gone back from."""

from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import torch

from kiv_engine.attention import AllFilledError
from kiv_engine.cache import CacheSnapshot, KIVCache, thinned
from kiv_engine.errors import StoppedError
from kiv_engine.loader import LoadedModel
from kiv_engine.stopping import ShouldStop, never

MOST_SNAPSHOTS: Final = 32
SNAPSHOT_BYTES: Final = 64 << 20
"""How many snapshots there may be, and what they may take in RAM and in a saved context: each turn leaves one, a
megabyte and more."""


class CachedTokens:
    """One sequence of tokens, as long as the cache is.

    Attributes:
        cache: the KIVCache that holds their K and V.
        ids: all of them; going back makes another array.
        snapshots: what layers that forget go back to, the shortest first.
        is_torn: a forward was broken off: some layers have its tokens, others not. `go_back` mends it.
    """

    def __init__(self, loaded: LoadedModel, cache: KIVCache) -> None:
        self.cache = cache
        self.ids = array("i")
        self.snapshots: list[CacheSnapshot] = []
        self.is_torn = False
        self._loaded = loaded

    def __len__(self) -> int:
        return len(self.ids)

    def feed(self, ids: "Sequence[int] | array[int]", should_stop: ShouldStop = never) -> torch.Tensor:
        """Feed tokens; logits (vocab,) of the last one, or none of what only fills the cache.

        Several may take a large model minutes, so the forward may be broken off, by StoppedError; `go_back` to the
        present length takes back what it did. (Of an int8 store, the hot window then comes back as it was stored.)
        Where a snapshot of this length would be too large to keep, the forward goes on to its end.
        """
        if len(ids) == 1 or self.cache.snapshot_nbytes > SNAPSHOT_BYTES:
            should_stop = never
        here = self.snapshots if should_stop is never else self.snapshots_to_here()
        inputs = torch.tensor(ids, dtype=torch.long, device=self._loaded.device)[None]
        logits = torch.empty(0)
        self.is_torn = True
        try:
            with torch.inference_mode(), suppress(AllFilledError), self.cache.stoppable(should_stop):
                output = self._loaded.model(
                    input_ids=inputs, past_key_values=self.cache, use_cache=True, logits_to_keep=1
                )
                logits = output.logits[0, -1]
        except StoppedError:
            self.snapshots = here
            raise
        self.ids.extend(ids)
        self.is_torn = False
        return logits

    def go_back(self, num_tokens: int) -> None:
        """Bring all layers to the nearest length at or below that needs no forward, whatever length each has now."""
        base = self._restore(num_tokens)
        self.is_torn = False
        self.ids = self.ids[:base]

    def _restore(self, num_tokens: int) -> int:
        if not self.cache.forgetting_layers and num_tokens:
            self.cache.restore(CacheSnapshot(num_tokens, {}))
            return num_tokens
        self.snapshots = [snapshot for snapshot in self.snapshots if snapshot.num_tokens <= num_tokens]
        if not self.snapshots:
            with torch.inference_mode():  # linear layers keep their state, made in this mode, and zero it
                self.cache.reset()
            return 0
        self.cache.restore(self.snapshots[-1])
        return self.snapshots[-1].num_tokens

    def take_snapshot(self) -> None:
        """Make the present length one to go back to."""
        self.snapshots = self.snapshots_to_here()

    def snapshots_to_here(self) -> list[CacheSnapshot]:
        """Those that there is room for, the last at the present length; none where no layer forgets."""
        if not self.cache.forgetting_layers or not self.ids:
            return self.snapshots
        earlier = [kept for kept in self.snapshots if kept.num_tokens < len(self)]
        return thinned([*earlier, self.cache.snapshot()], MOST_SNAPSHOTS, SNAPSHOT_BYTES)
