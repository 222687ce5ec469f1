"""Several GPUs: which layers of a model go on which of them, so that the longest context fits.

Layers keep their order, so that hidden states go from one GPU to the next once in a forward. All else (embeddings,
norm, output) is on the first, which takes the tokens and gives the logits. What a layer keeps lies where it does.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn
from transformers import PreTrainedModel

MOST_TOKENS: Final = 2**62
"""No limit."""


@dataclass(frozen=True)
class Piece:
    """Neighbouring layers that must be on one GPU.

    Attributes:
        layers: how many.
        fixed: bytes before the first token: weights, hot windows, and maps of the index.
        token: bytes of codes of one cold token.
    """

    layers: int
    fixed: int
    token: int


@dataclass(frozen=True)
class Split:
    """How many layers each GPU has.

    Attributes:
        tokens: so many cold ones fit on all GPUs.
        missing: bytes that are short before the first token. Then the layers are spread so that all GPUs lack about as
            much.
    """

    layers: tuple[int, ...]
    tokens: int
    missing: int


def split(pieces: Sequence[Piece], rooms: Sequence[int]) -> Split:
    """Spread pieces over GPUs with so many bytes of room each, for the longest context."""
    _, missing = _fill(pieces, rooms, 0)
    if missing:
        roomy = [each + missing for each in rooms]
        spare = _largest(lambda less: not _fill(pieces, [each - less for each in roomy], 0)[1], missing)
        return Split(_fill(pieces, [each - spare for each in roomy], 0)[0], 0, missing)
    tokens = _largest(lambda count: not _fill(pieces, rooms, count)[1], MOST_TOKENS)
    return Split(_fill(pieces, rooms, tokens)[0], tokens, 0)


def _fill(pieces: Sequence[Piece], rooms: Sequence[int], tokens: int) -> tuple[tuple[int, ...], int]:
    """Layers on each GPU where one is filled after the other, the last with all that is left, and the bytes it lacks.

    If any spread in order fits, this one does. What is not in a layer is on the first GPU; another one without layers
    takes nothing, and lacks nothing.
    """
    layers, left = [0] * len(rooms), list(rooms)
    gpu = 0
    for piece in pieces:
        size = piece.fixed + tokens * piece.token
        while gpu < len(rooms) - 1 and size > left[gpu]:
            gpu += 1
        layers[gpu] += piece.layers
        left[gpu] -= size
    used = (room for number, room in enumerate(left) if layers[number] or number == 0)
    return tuple(layers), sum(max(0, -each) for each in used)


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits; 0 does, and whatever is below one that does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


# -- modules ---------------------------------------------------------------------------------------------------------


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList | None:
    """The list of a model's decoder layers, or None where they do not stand in one list."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
    count = int(model.config.get_text_config(decoder=True).num_hidden_layers)
    lists = (
        module
        for name, module in decoder.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count and is_text(name)
    )
    return next(lists, None)


def is_text(name: str) -> bool:
    """Whether a module belongs to the language model of a checkpoint that also sees and hears."""
    return not any(part in name for part in ("vision", "audio", "image", "visual"))


def device_map(model: PreTrainedModel, first: torch.device, devices: Sequence[torch.device]) -> dict[str, torch.device]:
    """What `from_pretrained` takes: a device for each layer, in order, and the first one for everything else."""
    layers = decoder_layers(model)
    assert layers is not None
    assert len(layers) == len(devices)
    placed = dict.fromkeys(_names_beside(model, layers), first)
    prefix = next(name for name, module in model.named_modules() if module is layers)
    return placed | {f"{prefix}.{index}": device for index, device in enumerate(devices)}


def _names_beside(module: nn.Module, layers: nn.ModuleList, prefix: str = "") -> Iterator[str]:
    """Modules that hold no layer, the largest ones, and tensors of those that do."""
    for tensors in (module._parameters, module._buffers):
        yield from (prefix + name for name, tensor in tensors.items() if tensor is not None)
    for name, child in module.named_children():
        if child is layers:
            continue
        if any(each is layers for each in child.modules()):
            yield from _names_beside(child, layers, f"{prefix}{name}.")
        else:
            yield prefix + name


def is_spread(model: PreTrainedModel) -> bool:
    """Whether a model was loaded onto several devices."""
    return len(set(getattr(model, "hf_device_map", {}).values())) > 1


def devices_by_layer(model: PreTrainedModel) -> list[torch.device]:
    """Where each decoder layer of a spread model is."""
    layers = decoder_layers(model)
    assert layers is not None
    return [next(layer.parameters()).device for layer in layers]
