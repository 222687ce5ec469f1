"""StreamingLLM's cache (arXiv:2309.17453), as a peer: a query sees the first tokens and the newest ones, no others."""

import weakref
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

from kiv_engine.attention import Attachment, tag
from kiv_engine.config import KIVConfig
from kiv_engine.prefill import ScoreRule, attend_at_once
from kiv_engine.topology import inspect


class StreamingLayer(CacheLayerMixin):
    """The first `sinks` and the last `window` tokens; positions stay true, unlike in the paper, where they are counted
    within the cache. A model without rotary positions in its growing layers does not see the difference.

    Attributes:
        keys, values: (1, H, n, D), the sinks first; replaced by every update, never changed.
        num_tokens: tokens seen.
    """

    is_sliding = False

    def __init__(self, sinks: int, window: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num_tokens = 0
        self._sinks = sinks
        self._window = window

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Begin empty."""
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take new tokens; what they do not see any more goes when they have attended."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        keys, values = self.held()
        self.num_tokens += key_states.shape[2]
        self.keys = torch.cat((self._kept(keys), key_states), 2)
        self.values = torch.cat((self._kept(values), value_states), 2)
        return tag(key_states, self), tag(value_states, self)

    def held(self) -> tuple[torch.Tensor, torch.Tensor]:
        """K and V that are kept."""
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def _kept(self, states: torch.Tensor) -> torch.Tensor:
        if states.shape[2] <= self._sinks + self._window:
            return states
        return torch.cat((states[:, :, : self._sinks], states[:, :, -self._window :]), 2)

    def attend(self, layer_idx: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """Attend from the newest T tokens, queries (H, G, T, D) -> (H, G, T, D)."""
        keys, values = self.held()
        held = keys.shape[2]
        places = torch.arange(held, device=queries.device)
        positions = torch.where(places < self._sinks, places, places + self.num_tokens - held)
        own = positions[-queries.shape[2] :, None]
        mask = (positions <= own) & ((positions < self._sinks) | (positions > own - self._window))
        return attend_at_once(rule, queries, keys[0], values[0], mask)

    def get_seq_length(self) -> int:
        """Tokens seen."""
        return self.num_tokens

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """The mask only covers the new tokens."""
        return query_length, self.num_tokens

    def get_max_length(self) -> int:
        """No maximum."""
        return -1


class StreamingCache(Cache):
    """A cache whose growing layers are StreamingLayers; `close` puts the model back as it was."""

    def __init__(self, model: PreTrainedModel, config: KIVConfig) -> None:
        layers = DynamicCache(config=model.config).layers
        for geometry in inspect(model.config).growing:
            layers[geometry.index] = StreamingLayer(config.sink_tokens, config.hot_tokens)
        super().__init__(layers=layers)
        decoder = model.get_decoder()
        assert isinstance(decoder, PreTrainedModel)
        attachment = Attachment.of(decoder)
        attachment.acquire()
        self.close = weakref.finalize(self, attachment.release)
