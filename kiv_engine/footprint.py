"""What a context takes in memory, how many tokens more fit, and how it is told where memory ran out."""

import shutil
from typing import Final

import torch

from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.errors import EngineError, OutOfMemoryError, is_out_of_memory, said
from kiv_engine.events import Failed, MemoryPlaces, MemoryUse
from kiv_engine.free_space import available_ram_bytes, existing_folder
from kiv_engine.layer import token_bytes
from kiv_engine.loader import LoadedModel
from kiv_engine.memory import forget_frames, free_vram_bytes, give_back
from kiv_engine.topology import GrowingLayer
from kiv_engine.weights import weight_bytes

RAM_SHARE: Final = 0.9
"""Of the free RAM, a document may take this share."""
VRAM_SHARE: Final = 0.95
"""Of the free VRAM so much: the allocator leaves gaps."""
ASKING_TOKENS: Final = 4_096
"""Room for so many is left to questions and answers, where a document is read only as far as it fits."""


class Footprint:
    """Counts the bytes of one cache over its model, and what is free for more."""

    def __init__(self, loaded: LoadedModel, cache: KIVCache, config: KIVConfig) -> None:
        self._loaded, self._cache, self._config = loaded, cache, config

    def parts(self) -> MemoryUse:
        """Bytes per part, weights included."""
        return MemoryUse(weights=weight_bytes(self._loaded.model), **self._cache.bytes_by_part())

    def places(self) -> MemoryPlaces:
        """Where the parts lie, without the weights, which all contexts share."""
        parts, on_gpu = MemoryUse(**self._cache.bytes_by_part()), self._loaded.device.type == "cuda"
        return MemoryPlaces.of(parts, mapped=self._cache.mapped_bytes(), on_gpu=on_gpu)

    @property
    def token_bytes(self) -> int:
        """Bytes per token in all memories: the store's rows, int8 ones with their scales, and the index's codes."""
        return max(1, sum(self.token_bytes_with(self._config)))

    def token_bytes_with(self, config: KIVConfig) -> tuple[int, int]:
        """Bytes per token of the store's rows, and of the index's codes, in a context of this model."""
        model, growing = self._loaded.model, self._cache.topology.growing
        return token_bytes(growing, config, model.dtype.itemsize, self._loaded.device.type)

    def tokens_that_fit(self, config: KIVConfig | None = None) -> int:
        """How many more tokens fit, 0 or more: K and V into the free RAM or a store folder's disk, and the codes of the
        index into the memory of their layers' devices. `config` asks for another context than this one.
        """
        config = config or self._config
        rows, codes = self.token_bytes_with(config)
        folder = config.store_folder
        on_gpu = self._loaded.device.type == "cuda"
        per_token = (rows if folder is None else 0) + (0 if on_gpu else codes)
        fits = [int(available_ram_bytes() * RAM_SHARE) // max(1, per_token)]
        if folder is not None:
            fits.append(shutil.disk_usage(existing_folder(folder)).free // max(1, rows))
        if on_gpu:
            fits += self._tokens_on_gpus(config)
        return min(fits)

    def _tokens_on_gpus(self, config: KIVConfig) -> list[int]:
        """How many more tokens each GPU has room for, by the codes of the layers on it."""
        by_device: dict[torch.device, list[GrowingLayer]] = {}
        for layer in self._cache.topology.growing:
            by_device.setdefault(self._loaded.layer_device(layer.index), []).append(layer)
        itemsize = self._loaded.model.dtype.itemsize
        return [
            int(free_vram_bytes(device) * VRAM_SHARE) // max(1, token_bytes(layers, config, itemsize, device.type)[1])
            for device, layers in by_device.items()
        ]

    def held_on(self, device: torch.device) -> int:
        """Bytes of weights, hot windows and index on one of the model's devices."""
        parts = self._cache.bytes_by_part(device)
        return weight_bytes(self._loaded.model, device) + parts["hot"] + parts["index"]

    def most_tokens(self, num_tokens: int, unread_tokens: int) -> int:
        """How long the context can become that has so many tokens, and so many more that it is to read."""
        return num_tokens + min(unread_tokens, self._tokens_with_room()) + self.tokens_that_fit()

    def _tokens_with_room(self) -> int:
        """More tokens for which memory is set aside: files have their room on the disk from the beginning."""
        stores = [layer.store for layer in self._cache.growing_layers if layer.is_initialized]
        if self._config.store_folder is None or not stores:
            return 0
        return min(store.keys.capacity - store.num_tokens for store in stores)

    def too_large(self, num_tokens: int, wanted_tokens: int, unread_tokens: int) -> OutOfMemoryError:
        """What is raised where so many tokens more are predicted not to fit, of those that are not read."""
        length, most = num_tokens + wanted_tokens, self.most_tokens(num_tokens, unread_tokens)
        if wanted_tokens == unread_tokens:
            begins = said("The document has {0:,} tokens, which", wanted_tokens)
            need, fits = wanted_tokens, most - num_tokens
        else:  # told with what is read already, as it was asked for
            begins, need, fits = said("The first {0:,} tokens", length), length, most
        where = "RAM" if self._config.store_folder is None else said("disk")
        return OutOfMemoryError(
            said(
                "{0} need {1:.1f} GB of {2}; about {3:,} tokens fit.",
                begins,
                need * self.token_bytes / 1e9,
                where,
                fits,
            ),
            length,
            is_predicted=True,
            fit_tokens=max(0, most - ASKING_TOKENS),
        )

    def failed(self, error: BaseException, num_tokens: int, wanted_tokens: int) -> Failed:
        """The terminal event for whatever was raised; where memory ran out, with figures."""
        is_told = isinstance(error, OutOfMemoryError) and error.tokens
        if is_told or not is_out_of_memory(error):
            return failed(error)
        forget_frames(error)
        give_back()
        memory = self.parts()
        place, free = "RAM", available_ram_bytes()
        if self._loaded.device.type == "cuda" and isinstance(error, torch.OutOfMemoryError):
            place, free = "VRAM", min(map(free_vram_bytes, self._loaded.devices))
        message = said(
            "Memory ran out with {0:,} of {1:,} tokens read: the weights take {2:.1f} GB, the context {3:.1f} GB, and "
            "{4:.1f} GB of {5} are free.",
            num_tokens,
            wanted_tokens,
            memory.weights / 1e9,
            (memory.total - memory.weights) / 1e9,
            free / 1e9,
            place,
        )
        return Failed(message, OutOfMemoryError(message, wanted_tokens))


def failed(error: BaseException) -> Failed:
    """The terminal event for whatever was raised."""
    if isinstance(error, EngineError):
        return Failed(error.words, error)
    return Failed(f"{type(error).__name__}: {error}".splitlines()[0], error)
