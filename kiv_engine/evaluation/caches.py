"""The caches that ours is compared with, made over any model; what cannot be made here says why."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import torch
import transformers
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from kiv_engine.config import KIVConfig
from kiv_engine.evaluation.streaming import StreamingCache
from kiv_engine.topology import inspect

Base = TypeVar("Base")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Named(Generic[Base, Made]):
    """What takes part in a comparison.

    Attributes:
        name: as on the command line and in the results.
        label: for people.
        make: makes a new one upon a model or an engine.
        missing: why it cannot be made there, or None.
    """

    name: str
    label: str
    make: Callable[[Base], Made]
    missing: Callable[[Base], str | None] = lambda _base: None


@dataclass(frozen=True)
class Peer(Named[PreTrainedModel, Cache]):
    """Another cache; an empty one is made for a model.

    Attributes:
        keeps_all: it holds and attends to every token, so time per token grows with the length.
    """

    keeps_all: bool = True


def dynamic(model: PreTrainedModel, *, offloading: bool = False) -> Cache:
    """transformers' default cache: everything, in the model's dtype."""
    return DynamicCache(config=model.config, offloading=offloading)


def quantized(model: PreTrainedModel, layer_class: str) -> Cache:
    """DynamicCache with quantized growing layers; transformers' QuantizedCache refuses models with sliding ones."""
    layers = DynamicCache(config=model.config).layers
    for geometry in inspect(model.config).growing:
        layers[geometry.index] = getattr(transformers.cache_utils, layer_class)()
    return Cache(layers=layers)


def close(cache: Any) -> None:
    """Let go of the model, where a cache holds on to it."""
    if isinstance(cache, StreamingCache):
        cache.close()


def cache_bytes(cache: Any) -> int:
    """Bytes of all tensors that the layers keep."""
    return sum(_bytes_of(value) for layer in cache.layers for value in vars(layer).values())


def _bytes_of(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return int(value.nbytes)
    if isinstance(value, tuple | list):
        return sum(_bytes_of(part) for part in value)
    return 0


def _no_fp8(model: PreTrainedModel) -> str | None:
    if hasattr(transformers.cache_utils, "Fp8QuantizedLayer"):
        return _mixed_layers(model)
    return f"transformers {transformers.__version__} has no fp8 cache"


def _no_quanto(model: PreTrainedModel) -> str | None:
    if importlib.util.find_spec("optimum") is None or importlib.util.find_spec("optimum.quanto") is None:
        return "the package optimum-quanto is not installed"
    return _mixed_layers(model)


def _mixed_layers(model: PreTrainedModel) -> str | None:
    """Why this model's growing layers cannot be replaced by quantized ones."""
    layers = DynamicCache(config=model.config).layers
    if all(type(layers[geometry.index]) is DynamicLayer for geometry in inspect(model.config).growing):
        return None
    return "this model's layers keep more than K and V"


def _no_cuda(model: PreTrainedModel) -> str | None:
    return None if model.device.type == "cuda" else "offloading needs a CUDA device, and the model is on the CPU"


PEERS: Final = (
    Peer("full", "DynamicCache (full attention)", dynamic),
    Peer("offloaded", "DynamicCache with offloading", lambda model: dynamic(model, offloading=True), _no_cuda),
    Peer("fp8", "quantized, fp8", lambda model: quantized(model, "Fp8QuantizedLayer"), _no_fp8),
    Peer("int4", "quantized, 4 bit (quanto)", lambda model: quantized(model, "QuantoQuantizedLayer"), _no_quanto),
    Peer("sinks", "sliding window with sinks", lambda model: StreamingCache(model, KIVConfig()), keeps_all=False),
)
