"""KIVCache: a drop-in transformers cache whose growing layers keep recent tokens exact and find the old ones by search.

Growing layers are `KIVLayer`s; sliding and linear layers stay what transformers makes of them. Here is what concerns
all of them: forwards, rotary factors, going back, snapshots.
"""

import copy
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any, Final

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from kiv_engine.attention import Attachment
from kiv_engine.blocks import MappedRows
from kiv_engine.config import KIVConfig
from kiv_engine.device_map import devices_by_layer, is_spread
from kiv_engine.errors import BatchSizeError, ConfigError, CropError, UnsupportedModelError, said
from kiv_engine.events import MemoryUse
from kiv_engine.hits import HitRecorder
from kiv_engine.index import CODE_BLOCK_TOKENS
from kiv_engine.layer import KIVLayer
from kiv_engine.policy import Policy, compact_block_tokens
from kiv_engine.positions import PinnedRotary, Rotary, needs_compact, read_rotary
from kiv_engine.stopping import ShouldStop, never
from kiv_engine.store import SlabFolder
from kiv_engine.topology import Topology, inspect

# These drop a cache when a generation crosses the length at which their rotary factors switch; ours cannot switch.
SWITCHING_MODELS: Final = frozenset({"phi3", "phimoe", "phi4_multimodal"})


@dataclass(frozen=True)
class CacheSnapshot:
    """The state of the layers that forget (sliding window, linear attention) at one length."""

    num_tokens: int
    layers: dict[int, dict[str, Any]] = field(repr=False)

    @property
    def nbytes(self) -> int:
        return sum(_tensor_bytes(state) for state in self.layers.values())


def thinned(snapshots: Sequence[CacheSnapshot], most: int, room: int) -> list[CacheSnapshot]:
    """The snapshots, ascending, that are kept: at most so many, in so many bytes; the newest is, whatever it takes.

    Left out is, one after another, the one without which least is read again, as a share of how far it lies back: going
    back a little stays quick, and going back far takes little more than the way there.
    """
    kept = list(snapshots)
    size = sum(snapshot.nbytes for snapshot in kept)
    while (size > room or len(kept) > most) and len(kept) > 1:
        lengths = [0, *(snapshot.num_tokens for snapshot in kept)]
        shares = [(lengths[i + 2] - lengths[i]) / (lengths[-1] - lengths[i + 1]) for i in range(len(kept) - 1)]
        size -= kept.pop(shares.index(min(shares))).nbytes
    return kept


class KIVCache(Cache):
    """A cache for `model.generate(**inputs, past_key_values=cache)`; one sequence, any length.

    Growing layers are KIVLayers; all others are what transformers' DynamicCache uses. Raises UnsupportedModelError for
    models it cannot serve and ConfigError for choices that contradict the model.
    """

    def __init__(self, model: PreTrainedModel, config: KIVConfig | None = None) -> None:
        config = config or KIVConfig()
        self.topology: Topology = inspect(model.config)
        _require_sharing_together(model, self.topology)
        decoder = _decoder(model)
        self.policy = _policy(config, self.topology, decoder)
        layers = DynamicCache(config=model.config).layers
        for geometry in self.topology.growing:
            _require_plain(layers[geometry.index], self.topology.model_type)
            layers[geometry.index] = KIVLayer(geometry, self.policy)
        super().__init__(layers=layers)
        self._rotary_module = getattr(decoder, "rotary_emb", None)
        self._pinned: PinnedRotary | None = None
        attachment = Attachment.of(decoder)
        attachment.acquire()
        self._detach = weakref.finalize(self, attachment.release)

    def __bool__(self) -> bool:
        # Phi-3's generate asks `if past_key_values and ...` before it drops a cache at the switch of its factors.
        return self.topology.model_type not in SWITCHING_MODELS

    @property
    def growing_layers(self) -> list[KIVLayer]:
        return [layer for layer in self.layers if isinstance(layer, KIVLayer)]

    @property
    def forgetting_layers(self) -> dict[int, Any]:
        """Layers that keep only recent state, by index."""
        kept = {}
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, KIVLayer) and (
                hasattr(layer, "cumulative_length") or hasattr(layer, "conv_states")
            ):
                kept[index] = layer
        return kept

    @property
    def num_tokens(self) -> int:
        """Tokens in the context."""
        growing = self.growing_layers
        return growing[0].num_tokens if growing else int(self.get_seq_length())

    def close(self) -> None:
        """Give the memory back and detach from the model; the cache is empty afterwards."""
        self.reset()
        if self.policy.folder is not None:
            self.policy.folder.close()
        self._detach()

    def plan(self, num_tokens: int) -> None:
        """Announce the final length: rotary factors are chosen for it and the store is laid out in one piece."""
        self.policy.planned_tokens = num_tokens
        for layer in self.growing_layers:
            layer.reserve(num_tokens)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While a document is read: forwards follow `prefill` to their end, without the search of their last tokens."""
        self.policy.reading = True
        try:
            yield
        finally:
            self.policy.reading = False

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Nobody wants the output: a forward ends, by AllFilledError, once the last layer has its K and V.

        What is left out (that layer's attention and MLP, layers that only share K and V, the logits) changes no layer.
        Where the last layer is none that grows, forwards run to their end.
        """
        self.policy.last_layer = self.topology.last_owner
        try:
            yield
        finally:
            self.policy.last_layer = None

    @contextmanager
    def stoppable(self, should_stop: ShouldStop) -> Iterator[None]:
        """A forward may be broken off, by StoppedError, before each of its modules and each block of queries.

        Some layers then have its tokens, others not: `restore` brings them to one length. torch's hook is for modules
        of all threads; what another one computes meanwhile, to time a model, goes on.
        """
        if should_stop is never:
            yield
            return
        self.policy.should_stop = should_stop
        thread = get_ident()
        asking = register_module_forward_pre_hook(
            lambda *_: self.policy.raise_if_stopped() if get_ident() == thread else None
        )
        try:
            yield
        finally:
            asking.remove()
            self.policy.should_stop = never

    @contextmanager
    def recording(self) -> Iterator[HitRecorder]:
        """Record the hit sets of every decoded token."""
        self.policy.recorder = recorder = HitRecorder()
        try:
            yield recorder
        finally:
            self.policy.recorder = None

    def before_forward(self, batch_size: int, num_tokens: int) -> None:
        """Refuse batches; hold length-dependent rotary factors at those of the final length. The attachment calls."""
        if batch_size != 1:
            raise BatchSizeError(
                said("KIVCache holds one sequence, but the batch has {0}; call it once per sequence.", batch_size)
            )
        if not PinnedRotary.applies_to(self._rotary_module):
            return
        if self._pinned is None:
            self._pinned = PinnedRotary(self._rotary_module, max(self.policy.planned_tokens, num_tokens))
        self._pinned.hold()

    def after_forward(self, *, completed: bool) -> None:
        """Give the rotary module back to others; make sure that what the layers took was attended to."""
        if self._pinned is not None:
            self._pinned.release()
        for layer in self.growing_layers:
            layer.end_forward()
        if completed and any(layer.is_unattended for layer in self.growing_layers):
            raise UnsupportedModelError(
                said(
                    "{0} does not hand cached keys to transformers' attention interface unchanged.",
                    self.topology.model_type,
                )
            )

    def check_saved(self) -> None:
        """Check what was used of saved files since the last time. Raises DamagedContextError."""
        for file in self.saved_files:
            file.check()

    @property
    def saved_files(self) -> list[MappedRows]:
        """The files that rows are mapped from."""
        return [file for layer in self.growing_layers for file in layer.saved_files]

    def bytes_by_part(self, device: torch.device | None = None) -> dict[str, int]:
        """Bytes of hot (with the layers that forget), index, cold_keys and cold_values over all layers.

        `device`: over those that are there.
        """
        total = {"hot": 0, "index": 0, "cold_keys": 0, "cold_values": 0}
        for layer in self.growing_layers:
            if device is None or (layer.is_initialized and layer.device == device):
                for part, size in layer.bytes_by_part().items():
                    total[part] += size
        forgetting = (vars(layer) for layer in self.forgetting_layers.values())
        total["hot"] += sum(_tensor_bytes(state, device) for state in forgetting)
        return total

    def mapped_bytes(self) -> MemoryUse:
        """Of them, those that lie in files."""
        return sum((layer.mapped_bytes() for layer in self.growing_layers), MemoryUse())

    def reset(self) -> None:
        """Forget everything."""
        self._pinned = None
        with torch.inference_mode():  # linear layers zero their states in place, which may be inference tensors
            super().reset()  # type: ignore[no-untyped-call]

    def crop(self, tokens_to_remove: int) -> None:
        """Remove the last tokens; like transformers', takes a count <= 0.

        Layers that forget can only be cropped while they have forgotten nothing; else CropError, and nothing changes.
        """
        if tokens_to_remove > 0:
            raise ValueError("crop takes a negative count: the number of tokens to remove from the end.")
        if tokens_to_remove == 0:
            return
        length = self.num_tokens
        target = max(0, length + tokens_to_remove)
        if target == 0:
            self.reset()
            return
        if any(_has_forgotten(layer) for layer in self.forgetting_layers.values()):
            raise CropError(
                said(
                    "This model's sliding or linear layers have forgotten what lies before token {0:,}; "
                    "possible lengths are 0 (reset) and {0:,}, or one that a Context kept a snapshot of.",
                    length,
                ),
                (0, length),
            )
        super().crop(tokens_to_remove)

    @property
    def snapshot_nbytes(self) -> int:
        """What a snapshot of the present length takes."""
        return sum(_tensor_bytes(vars(layer)) for layer in self.forgetting_layers.values())

    def snapshot(self) -> CacheSnapshot:
        """The state of the layers that forget, to come back to this length later."""
        layers = {index: _copy_state(vars(layer)) for index, layer in self.forgetting_layers.items()}
        return CacheSnapshot(self.num_tokens, layers)

    def restore(self, snapshot: CacheSnapshot) -> None:
        """Go back to a snapshot's length; growing layers are cropped, exactly. Raises CropError if it lies ahead."""
        if snapshot.num_tokens > self.num_tokens:
            raise CropError(
                said(
                    "The snapshot was taken at {0:,} tokens, but the cache holds {1:,}.",
                    snapshot.num_tokens,
                    self.num_tokens,
                ),
                (0, self.num_tokens),
            )
        for layer in self.growing_layers:
            layer.crop_to(snapshot.num_tokens)
        self.set_forgetting(snapshot)

    def set_forgetting(self, snapshot: CacheSnapshot) -> None:
        """Give the layers that forget the state of a snapshot."""
        for index, state in snapshot.layers.items():
            vars(self.layers[index]).update(_copy_state(state))


def _decoder(model: PreTrainedModel) -> PreTrainedModel:
    """The module that runs the layers and whose config names the attention."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    if isinstance(decoder, PreTrainedModel):
        return decoder
    base = model.base_model
    return base if isinstance(base, PreTrainedModel) else model


def _policy(config: KIVConfig, topology: Topology, decoder: PreTrainedModel) -> Policy:
    rotary = _compact_rotary(config, topology, decoder)
    hot = config.hot_tokens
    if rotary is not None:
        hot = min(hot, _compact_hot_tokens(config, topology))
    folder = None if config.store_folder is None else SlabFolder(config.store_folder)
    return Policy(config, hot, topology.trained_tokens, rotary, folder)


def _compact_rotary(config: KIVConfig, topology: Topology, decoder: PreTrainedModel) -> Rotary | None:
    """The rotary facts if positions are to be compact, else None."""
    if config.positions == "true" or not any(layer.rotary for layer in topology.growing):
        return None
    try:
        rotary = read_rotary(decoder)
    except UnsupportedModelError:
        if config.positions == "compact":
            raise
        return None
    if PinnedRotary.applies_to(getattr(decoder, "rotary_emb", None)):
        if config.positions == "compact":
            raise ConfigError(
                said("positions='compact' does not work with length-dependent rotary factors; use 'true'.")
            )
        return None
    if config.positions == "auto" and not needs_compact(topology, rotary):
        return None
    if config.prefill == "exact" and config.positions == "compact":
        raise ConfigError(
            said(
                "positions='compact' moves retrieved tokens but prefill='exact' has none; use prefill "
                "'sparse' or 'window'."
            )
        )
    return rotary


def _compact_hot_tokens(config: KIVConfig, topology: Topology) -> int:
    """The longest hot window with which sinks, hits, window and a block of queries stay within the trained length."""
    block = compact_block_tokens(topology.trained_tokens)
    room = topology.trained_tokens - config.sink_tokens - config.retrieved_tokens - CODE_BLOCK_TOKENS - block
    if room < CODE_BLOCK_TOKENS:
        raise ConfigError(
            said(
                "sink_tokens + retrieved_tokens is {0}, which leaves no hot window within the trained "
                "{1} tokens; lower retrieved_tokens.",
                config.sink_tokens + config.retrieved_tokens,
                topology.trained_tokens,
            )
        )
    return room


def _require_sharing_together(model: PreTrainedModel, topology: Topology) -> None:
    """Refuse a device map that parts layers from the K/V they use: brought to another device they lose their cache."""
    if is_spread(model) and len(set(devices_by_layer(model)[topology.first_shared :])) > 1:
        raise UnsupportedModelError(
            said(
                "{0}: layers {1} to {2} share keys and values but lie on several devices; load the model "
                "with all of them on one.",
                topology.model_type,
                topology.first_shared,
                topology.num_layers - 1,
            )
        )


def _require_plain(layer: Any, model_type: str) -> None:
    if type(layer) is not DynamicLayer:
        raise UnsupportedModelError(
            said("{0}: its {1} mixes attention with other state.", model_type, type(layer).__name__)
        )


def _has_forgotten(layer: Any) -> bool:
    if hasattr(layer, "cumulative_length"):
        return bool(layer.cumulative_length >= layer.sliding_window)
    return any(layer.has_previous_state.values())


def _copy_state(state: dict[str, Any]) -> dict[str, Any]:
    """A layer's attributes with its tensors copied, compactly."""
    return {name: _copy_value(value) for name, value in state.items()}


def _copy_value(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone(memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        return {key: _copy_value(item) for key, item in value.items()}
    return copy.copy(value)


def _tensor_bytes(state: dict[str, Any], device: torch.device | None = None) -> int:
    """Bytes of the tensors among a layer's attributes, all or those on a device."""
    total = 0
    for value in state.values():
        if isinstance(value, torch.Tensor):
            total += value.numel() * value.element_size() if device in (None, value.device) else 0
        elif isinstance(value, dict):
            total += _tensor_bytes(value, device)
    return total
