"""The attention function, and attaching it to a model: the only file that touches transformers' registries.

While a model has a KIVCache, its attention implementation is ours. Keys that come from a KIVLayer carry a reference to
it (a plain attribute on the tensor), so the call finds its own cache: nothing is kept on modules and no cache is
"active". Every other call is handed, unchanged, to the implementation that the model had before.
"""

import sys
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from kiv_engine.banded import AttentionFunction, attend_in_blocks, is_band
from kiv_engine.errors import UnsupportedModelError, said
from kiv_engine.prefill import ScoreRule, causal_mask

PREFIX: Final = "kiv_"
PADDED: Final = said("KIVCache holds one unpadded sequence; pass input_ids without padding.")


class AttendingLayer(Protocol):
    """What the attention function needs of a cache layer."""

    def attend(self, layer_idx: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """Queries (H, G, T, D) of the newest T tokens -> (H, G, T, D)."""
        ...


@runtime_checkable
class ForwardListener(Protocol):
    """A cache that wants to know when a forward with it begins and ends."""

    def before_forward(self, batch_size: int, num_tokens: int) -> None: ...

    def after_forward(self, *, completed: bool) -> None: ...


class AllFilledError(Exception):
    """Not a failure: ends a forward whose output nobody wants, once all layers have their K and V."""


def tag(states: torch.Tensor, layer: AttendingLayer) -> torch.Tensor:
    """The same keys or values, carrying the layer they belong to."""
    tagged = states.view_as(states)
    tagged.kiv_layer = layer  # type: ignore[attr-defined]
    return tagged


def _attention_forward(original: str) -> Callable[..., tuple[torch.Tensor, Any]]:
    """The attention function that stands in for `original`."""

    def forward(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, Any]:
        layer = getattr(key, "kiv_layer", None)
        if layer is None:
            mask = _sliced_mask(original, query, key, attention_mask)
            function = _original_forward(original, module)
            if mask is not None and original == "sdpa" and is_band(mask, query.shape[2], kwargs.get("sliding_window")):
                return attend_in_blocks(function, module, query, key, value, mask, **kwargs)
            return function(module, query, key, value, mask, **kwargs)
        _refuse_changes(layer, module, value, attention_mask)
        return _attend(layer, module, query, key, attention_mask, kwargs), None

    return forward


def _attend(
    layer: AttendingLayer,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    kwargs: dict[str, Any],
) -> torch.Tensor:
    heads, dim = key.shape[1], query.shape[-1]
    count = query.shape[2]
    if mask is not None and count > 1:
        _refuse_padding(mask)
    scaling = kwargs.get("scaling")
    sinks = kwargs.get("s_aux")
    rule = ScoreRule(
        scaling=dim**-0.5 if scaling is None else float(scaling),
        softcap=kwargs.get("softcap"),
        sinks=None if sinks is None else sinks.detach().view(heads, -1),
    )
    queries = query[0].reshape(heads, -1, count, dim)
    output = layer.attend(int(module.layer_idx), queries, rule)  # type: ignore[arg-type]
    return output.reshape(1, -1, count, output.shape[-1]).transpose(1, 2).contiguous().to(query.dtype)


def _refuse_changes(
    layer: AttendingLayer, module: torch.nn.Module, value: torch.Tensor, mask: torch.Tensor | None
) -> None:
    """Refuse modules that do more with K and V than plain attention, which would be lost."""
    name = type(module).__name__
    if getattr(module, "is_causal", True) is False:
        raise UnsupportedModelError(said("{0} attends in both directions; KIV keeps causal decoders.", name))
    if getattr(value, "kiv_layer", None) is not layer:  # DiffLlama
        raise UnsupportedModelError(
            said("{0} changes its values after they were cached; KIV would attend to others.", name)
        )
    if mask is not None and mask.shape[1] != 1:  # Doge, ALiBi
        raise UnsupportedModelError(
            said("{0} biases the scores of each head by position, which KIV would leave out.", name)
        )


def _refuse_padding(mask: torch.Tensor) -> None:
    """The newest query sees every new token, unless some are padding."""
    last = mask[0, 0, -1]
    hidden = ~last if last.dtype == torch.bool else last < 0
    if bool(hidden.any()):
        raise UnsupportedModelError(PADDED)


def _sliced_mask(
    original: str, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor | None:
    """Models that share K/V drop early queries before the sharing layers, which SDPA's implied mask would misplace."""
    count = query.shape[2]
    if original == "sdpa" and mask is None and 1 < count < key.shape[2]:
        return causal_mask(count, key.shape[2], query.device)[None, None]
    return mask


def _original_forward(original: str, module: torch.nn.Module) -> AttentionFunction:
    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    function: AttentionFunction = ALL_ATTENTION_FUNCTIONS.get_interface(original, eager)  # type: ignore[arg-type]
    return function


def _register(original: str) -> str:
    """Register our stand-in for an implementation, once, and name it."""
    name = PREFIX + original.replace("flash_attention_", "fa").replace("flex_attention", "fx")
    if name not in ALL_ATTENTION_FUNCTIONS.valid_keys():
        AttentionInterface.register(name, _attention_forward(original))
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[original])
    return name


class Attachment:
    """One model with at least one KIVCache; `release` by the last cache puts the model back as it was."""

    _of_model: ClassVar["weakref.WeakKeyDictionary[PreTrainedModel, Attachment]"] = weakref.WeakKeyDictionary()

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = weakref.ref(model)
        self._original = str(model.config._attn_implementation)
        self._users = 0
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Attachment":
        """The attachment of a decoder, made on first use."""
        found = cls._of_model.get(model)
        if found is None:
            found = cls._of_model[model] = cls(model)
        return found

    def acquire(self) -> None:
        """A cache begins to use the model."""
        model = self._model()
        assert model is not None
        if self._users == 0:
            ours = _register(self._original)
            model.set_attn_implementation(ours)
            if model.config._attn_implementation != ours:
                self._of_model.pop(model, None)
                raise UnsupportedModelError(
                    said("{0} does not use transformers' attention interface.", type(model).__name__)
                )
            self._hooks = [
                model.register_forward_pre_hook(_before_forward, with_kwargs=True),
                model.register_forward_hook(_after_forward, with_kwargs=True, always_call=True),
            ]
        self._users += 1

    def release(self) -> None:
        """A cache is gone."""
        self._users -= 1
        model = self._model()
        if self._users > 0 or model is None:
            return
        for hook in self._hooks:
            hook.remove()
        model.set_attn_implementation(self._original)
        self._of_model.pop(model, None)


def _before_forward(_module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    cache = kwargs.get("past_key_values")
    if not isinstance(cache, ForwardListener):
        return
    inputs = kwargs.get("input_ids")
    inputs = inputs if inputs is not None else kwargs.get("inputs_embeds", args[0] if args else None)
    batch_size, num_tokens = (1, 0) if inputs is None else inputs.shape[:2]
    mask = kwargs.get("attention_mask")
    if num_tokens > 1 and isinstance(mask, torch.Tensor) and mask.ndim == 2 and not bool(mask.all()):
        raise UnsupportedModelError(PADDED)
    cache.before_forward(batch_size, num_tokens)


def _after_forward(_module: torch.nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
    cache = kwargs.get("past_key_values")
    if isinstance(cache, ForwardListener):
        cache.after_forward(completed=output is not None)
