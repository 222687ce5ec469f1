"""The fit planner: what a model needs on this PC, from its config alone, and how many tokens then fit.

The model is built without memory (on PyTorch's meta device), so that its weights are counted and not estimated. What a
cache keeps is computed by those who keep it. Nothing here downloads or loads weights.

Letters: H KV heads, G query heads per KV head, T tokens of a chunk, N keys that a block of queries sees, D head_dim.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from kiv_engine.banded import block_tokens
from kiv_engine.config import QUANTIZE_KINDS, QUANTIZED, SEARCH_BLOCK_TOKENS, KIVConfig, Quantize, StoreDtype
from kiv_engine.device_map import Piece, decoder_layers, is_text, split
from kiv_engine.footprint import RAM_SHARE, VRAM_SHARE
from kiv_engine.hardware import Hardware
from kiv_engine.index import (
    CODE_BLOCK_TOKENS,
    FIT_TOKENS,
    SCAN_CHUNK_TOKENS,
    CodeIndex,
    SearchEffort,
    code_bytes,
    map_bytes,
)
from kiv_engine.layer import KIVLayer, token_bytes
from kiv_engine.loader import empty_model, linear_for_timing, load_dtype, quantized_linears
from kiv_engine.policy import Policy
from kiv_engine.prefill import ScoreRule
from kiv_engine.reading import READ_CHUNK_TOKENS
from kiv_engine.topology import GrowingLayer, Topology, inspect
from kiv_engine.window import window_bytes

Device = Literal["cpu", "cuda"]

RUNTIME_BYTES: Final = {"cpu": 400_000_000, "cuda": 600_000_000}
"""Python, PyTorch and the tokenizer in RAM, measured; a CUDA context with cuBLAS in VRAM, as commonly reported."""

CUDA_HOST_BYTES: Final = 2_000_000_000
"""RAM of a process that uses CUDA, weights on their way included; as commonly reported."""

STORE_DTYPES: Final[tuple[StoreDtype, ...]] = ("model", "int8")

DESKTOP_SHARE: Final = 0.1
"""Of the RAM of a PC that is not at hand, system and other programs are taken to use this share."""

DESKTOP_VRAM_BYTES: Final = 500_000_000
"""And of its GPU's memory so much, for the screen."""

MILLION: Final = 1_000_000

ENOUGH_TOKENS: Final = {"cpu": 16_384, "cuda": 131_072}
"""So many tokens of room are worth more than finer weights; on the CPU quantized ones answer many times slower."""

DELTA_RULE_TOKENS: Final = 64
"""Linear layers (the gated delta rule) hold decays and scores of so many tokens among themselves."""

NORM_BYTES: Final = 6
"""Of each hidden value in 16 bit a norm holds about so many bytes in float32, measured."""

LAYER_OVERHEAD_S: Final = 0.0004
"""Norms, rotary positions and Python of one decoder layer in a decode step, on the CPU this was measured on."""


@dataclass(frozen=True)
class Setting:
    """How a model is to run: weights, device and cache."""

    quantize: Quantize = "none"
    device: Device = "cpu"
    config: KIVConfig = field(default_factory=KIVConfig)

    @property
    def index_bits(self) -> int:
        """Of the index's codes: see KIVConfig."""
        return self.config.index_bits_on(self.device)


@dataclass(frozen=True)
class Needs:
    """Bytes that a model needs, by part; where its device has a memory of its own, all but K/V and runtime are there.

    Attributes:
        parameters: numbers in the weights, tied ones once.
        weights: as stored, with the scales of quantized ones.
        hot: hot windows, sinks, and the layers that forget.
        index: of the index, what does not grow.
        activations: the most that reading a chunk takes for a moment.
        runtime: Python and PyTorch in RAM, or the CUDA context in VRAM.
        token_keys_values: K and V of one cold token in the store.
        token_index: codes of one cold token.
    """

    parameters: int
    weights: int
    hot: int
    index: int
    activations: int
    runtime: int
    token_keys_values: int
    token_index: int

    @property
    def fixed(self) -> int:
        """What is needed before the first token."""
        return self.weights + self.hot + self.index + self.activations + self.runtime

    @property
    def token(self) -> int:
        """What every further token needs."""
        return self.token_keys_values + self.token_index


@dataclass(frozen=True)
class Room:
    """Bytes that are free; `vram` is None where the CPU runs the model, `more_vram` that of further GPUs."""

    ram: int
    disk: int
    vram: int | None = None
    more_vram: tuple[int, ...] = ()

    @property
    def all_vram(self) -> tuple[int, ...]:
        """Of each GPU."""
        return () if self.vram is None else (self.vram, *self.more_vram)


@dataclass(frozen=True)
class Plan:
    """How many tokens fit.

    Attributes:
        tokens_in_ram: with the store in RAM.
        tokens_on_disk: with the store in files.
        missing: bytes that are short before the first token, of RAM or of VRAM; 0 where the model fits.
        gpu_layers: how many layers go on each GPU; empty where all are on one, or on the CPU.
    """

    needs: Needs
    room: Room
    tokens_in_ram: int
    tokens_on_disk: int
    missing: int
    gpu_layers: tuple[int, ...] = ()

    @property
    def num_gpus(self) -> int:
        """Over so many GPUs layers are spread; 1 where they are not."""
        return max(1, sum(count > 0 for count in self.gpu_layers))


@dataclass(frozen=True)
class ReadRates:
    """How fast this PC reads, measured now; seconds.

    Attributes:
        read_weight: one weight of a matrix product for one token of a chunk.
        call_weight: one weight for one chunk, whatever its length (4 and 8 bit ones are decoded once a chunk).
    """

    read_weight: float
    call_weight: float


@dataclass(frozen=True)
class Rates(ReadRates):
    """How fast this PC is, measured now; seconds.

    Attributes:
        decode_weight: one weight of a matrix product for a single token.
        attend: one layer's search and attention in a growing layer's K/V for a single token, 16,384 tokens cold.
        scan_byte: one further byte of codes in a layer's search.
    """

    decode_weight: float
    attend: float
    scan_byte: float


@dataclass(frozen=True)
class Pace:
    """What the rates mean for one model: seconds to read a million tokens, and answer tokens per second behind them."""

    million_s: float
    tokens_per_s: float


# -- what a model needs ----------------------------------------------------------------------------------------------


class ModelShape:
    """A model as its config describes it: topology, and modules without memory.

    Raises UnsupportedModelError for models that KIV cannot serve.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        self.topology: Topology = inspect(config)
        self.config = config
        self.text: Any = config.get_text_config(decoder=True)
        self.model: PreTrainedModel = empty_model(config)

    def needs(self, setting: Setting) -> Needs:
        """All parts of the memory."""
        element_bytes = self._element_bytes(setting)
        keys_values, codes = token_bytes(self.topology.growing, setting.config, element_bytes, setting.device)
        return Needs(
            parameters=self.parameters,
            weights=self.weight_bytes(setting.quantize, element_bytes),
            hot=self._hot_bytes(setting.config, element_bytes),
            index=sum(map_bytes(layer.num_kv_heads, layer.head_dim) for layer in self.topology.growing),
            activations=self._activation_bytes(setting, element_bytes),
            runtime=RUNTIME_BYTES[setting.device],
            token_keys_values=keys_values,
            token_index=codes,
        )

    def _element_bytes(self, setting: Setting) -> int:
        """Of a number in weights that are not quantized, in K, V and activations."""
        return load_dtype(self.config, setting.device, setting.quantize).itemsize

    @property
    def parameters(self) -> int:
        """Numbers in the weights, tied ones once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def weight_bytes(self, quantize: Quantize, element_bytes: int) -> int:
        """Bytes of the weights as the loader would store them."""
        return self._weight_bytes_of(self.model, quantize, element_bytes)

    def _weight_bytes_of(self, module: nn.Module, quantize: Quantize, element_bytes: int) -> int:
        """Those of a part of the model."""
        total = sum(tensor.numel() for tensor in module.parameters()) * element_bytes
        total += sum(tensor.nbytes for tensor in module.buffers())
        parts = set(module.modules())
        for linear in quantized_linears(self.model, quantize):
            if linear in parts:
                total += quantized_bytes(linear.weight, quantize) - linear.weight.numel() * element_bytes
        return total

    def _hot_bytes(self, config: KIVConfig, element_bytes: int) -> int:
        return sum(self._hot_bytes_of(index, config, element_bytes) for index in range(self.topology.num_layers))

    def _hot_bytes_of(self, index: int, config: KIVConfig, element_bytes: int) -> int:
        """Hot window, or what a layer that forgets keeps, of one layer."""
        slots = config.sink_tokens + config.hot_tokens + CODE_BLOCK_TOKENS
        windows = (
            window_bytes(layer.num_kv_heads, layer.head_dim, slots, element_bytes)
            for layer in self.topology.growing
            if layer.index == index
        )
        forgetting = [layer for layer in self.topology.forgetting if layer.index == index]
        return sum(windows) + sum(layer.num_values * element_bytes + layer.num_float32 * 4 for layer in forgetting)

    # -- several GPUs --------------------------------------------------------------------------------------------

    def pieces(self, setting: Setting) -> list[Piece]:
        """The layers as they can be spread over GPUs, in order; none where they cannot be.

        Layers that use the K/V of another are on the GPU of that one: K/V that is brought to another GPU is a copy,
        which no longer knows the cache that it came from.
        """
        layers = decoder_layers(self.model)
        if layers is None:
            return []
        each = [self._piece(index, layer, setting) for index, layer in enumerate(layers)]
        first = self.topology.first_shared
        joined = each[first:]
        together = Piece(len(joined), sum(one.fixed for one in joined), sum(one.token for one in joined))
        return [*each[:first], together] if joined else each

    def _piece(self, index: int, layer: nn.Module, setting: Setting) -> Piece:
        element_bytes = self._element_bytes(setting)
        growing = [one for one in self.topology.growing if one.index == index]
        fixed = self._weight_bytes_of(layer, setting.quantize, element_bytes)
        fixed += self._hot_bytes_of(index, setting.config, element_bytes)
        fixed += sum(map_bytes(one.num_kv_heads, one.head_dim) for one in growing)
        return Piece(1, fixed, token_bytes(growing, setting.config, element_bytes, setting.device)[1])

    # -- activations ---------------------------------------------------------------------------------------------

    def _activation_bytes(self, setting: Setting, element_bytes: int) -> int:
        """The peak of reading one chunk: what lasts through all layers, and the largest of what comes and goes.

        The factors count tensors that live at once in the code of transformers and of KIVLayer; a test holds them
        against measured peaks.
        """
        chunk = READ_CHUNK_TOKENS
        parts = [*self._growing_parts(setting, element_bytes), *self._forgetting_parts(element_bytes)]
        parts.append(3 * chunk * self._mlp_width() * element_bytes)
        streams = int(getattr(self.text, "altup_num_inputs", 1) or 1)
        # Gemma 3n predicts and corrects several hidden states; its 12 were measured with two to four of them.
        hidden = 4 * streams + (12 if streams > 1 else 0)
        per_layer = int(getattr(self.text, "hidden_size_per_layer_input", 0) or 0) * self.topology.num_layers
        lasting = chunk * element_bytes * (hidden * int(self.text.hidden_size) + 2 * per_layer)
        masks = list(self._mask_bytes(element_bytes))
        if element_bytes < 4:  # norms are computed in float32
            lasting += NORM_BYTES * chunk * int(self.text.hidden_size)
        lasting += sum(masks)
        kept = self._causal_bias_bytes(setting.config, element_bytes)
        # Of a mask from its conditions, before the layers.
        making = 2 * max(masks, default=0) + sum(masks) + chunk * element_bytes * int(self.text.hidden_size)
        if setting.quantize == "4bit":  # a weight is decoded while it is used
            lasting += (
                max((each.weight.numel() for each in quantized_linears(self.model, "4bit")), default=0) * element_bytes
            )
        return kept + max(lasting + self._band_bias_bytes(element_bytes) + max(parts), making)

    @property
    def _fused(self) -> bool:
        """Whether layers outside of KIV use a kernel that never holds the scores."""
        return str(self.model.config._attn_implementation) != "eager"

    def _mask_bytes(self, element_bytes: int) -> Iterator[int]:
        """The masks that transformers keeps for a forward; a fused kernel needs none of all tokens."""
        size = 1 if self._fused else element_bytes
        if self.topology.growing and not self._fused:
            yield READ_CHUNK_TOKENS**2 * size
        for window in {layer.window for layer in self.topology.forgetting if layer.window}:
            yield READ_CHUNK_TOKENS * (READ_CHUNK_TOKENS + window) * size

    def _causal_bias_bytes(self, config: KIVConfig, element_bytes: int) -> int:
        """What growing layers add to scores for a mask, as it is kept from chunk to chunk."""
        if not self.topology.growing or self._holds_scores:
            return 0
        return SEARCH_BLOCK_TOKENS * attended_keys(config) * element_bytes

    def _band_bias_bytes(self, element_bytes: int) -> int:
        """What sliding layers add to the scores of all blocks, as it is kept from layer to layer."""
        windows = {layer.window for layer in self.topology.forgetting if layer.kind == "sliding_attention"}
        bands = sum(READ_CHUNK_TOKENS * (block_tokens(window) + window) for window in windows)
        return bands * element_bytes if self._fused else 0

    @property
    def _holds_scores(self) -> bool:
        """Whether growing layers compute what no fused kernel does."""
        return self._softcapped or self._has_sinks

    def _growing_parts(self, setting: Setting, element_bytes: int) -> Iterator[int]:
        """Of each kind of growing layer: queries and K/V of the chunk, then keys and values, or scores, of a block."""
        config, chunk = setting.config, READ_CHUNK_TOKENS
        keys = attended_keys(config)
        for layer in set(map(shape_of, self.topology.growing)):
            query_heads, kv_heads, dim = layer
            attended = 3 * chunk * query_heads * dim + (4 * chunk + 2 * config.hot_tokens) * kv_heads * dim
            block = (4 * keys * kv_heads + SEARCH_BLOCK_TOKENS * query_heads) * dim * element_bytes
            if self._holds_scores:
                block = query_heads * SEARCH_BLOCK_TOKENS * keys * (element_bytes + 4 * 4)
            decoded = 3 * kv_heads * SCAN_CHUNK_TOKENS * dim * 4 if setting.index_bits == 2 else 0
            yield attended * element_bytes + max(block, decoded)

    def _forgetting_parts(self, element_bytes: int) -> Iterator[int]:
        """Of each layer that forgets: queries, K/V and outputs, and what its kernel needs beside them."""
        chunk = READ_CHUNK_TOKENS
        for layer in self.topology.forgetting:
            own = chunk * layer.num_query_heads * layer.head_dim * element_bytes
            scores = chunk * (chunk + layer.window) * element_bytes
            if layer.window and not self._fused:
                yield 4 * own + layer.num_query_heads * self._eager_scores(element_bytes) * scores // element_bytes
            elif layer.kind == "chunked_attention":  # the kernel makes numbers of the whole mask
                yield 5 * own + scores
            elif layer.window:
                yield 5 * own
            elif layer.kind == "linear_attention":
                heads = int(getattr(self.text, "linear_num_value_heads", 0) or 0)
                yield 5 * heads * chunk * DELTA_RULE_TOKENS * 4

    def _eager_scores(self, element_bytes: int) -> int:
        """Bytes of all that lives at once of one score of an eager kernel."""
        if self._has_sinks:
            return 3 * element_bytes
        return 2 * 4 if element_bytes == 4 else element_bytes + 2 * 4  # a softmax in float32, of a float32 copy

    @property
    def _softcapped(self) -> bool:
        return bool(getattr(self.text, "attn_logit_softcapping", None))

    @property
    def _has_sinks(self) -> bool:
        return any(name.endswith("sinks") for name, _ in self.model.named_parameters())

    def _mlp_width(self) -> int:
        """Numbers per token in the widest feed-forward layer that reading runs; of experts, the chosen ones."""
        widths = getattr(self.text, "intermediate_size", 0) or 0
        width = max(widths) if isinstance(widths, list | tuple) else int(widths)
        expert = int(getattr(self.text, "moe_intermediate_size", 0) or 0)
        chosen = int(getattr(self.text, "num_experts_per_tok", 0) or 0)
        return max(width, expert * chosen)

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def weights_used(self, *, reading: bool) -> float:
        """Weights of matrix products that one token meets; reading skips the output and the layers that share K/V."""
        skipped = range(self.topology.num_layers - self.topology.num_sharing, self.topology.num_layers)
        shared = tuple(f".layers.{index}." for index in skipped) if reading else ()
        head = self.model.get_output_embeddings()
        total = 0.0
        for name, module in self.model.named_modules():
            if any(part in f"{name}." for part in shared) or not is_text(name) or (reading and module is head):
                continue
            total += sum(self._share_used(name, each) for each in module.parameters(recurse=False) if each.ndim > 1)
            if isinstance(module, nn.Embedding):
                total -= module.weight.numel()
        return total

    def _share_used(self, name: str, parameter: torch.Tensor) -> float:
        """Of experts, which are stacked in one parameter, as many as a token is sent to."""
        experts = getattr(self.text, "num_experts", None) or getattr(self.text, "num_local_experts", None)
        chosen = getattr(self.text, "num_experts_per_tok", None) or getattr(self.text, "top_k_experts", None)
        used = parameter.numel()
        return used * chosen / experts if experts and chosen and parameter.ndim == 3 and "expert" in name else used

    def attention_products(self, config: KIVConfig) -> float:
        """Multiplications of attention for one token that is read sparsely."""
        keys = attended_keys(config)
        growing = sum(2 * layer.num_query_heads * layer.head_dim * keys for layer in self.topology.growing)
        sliding = sum(
            2 * layer.num_query_heads * layer.head_dim * (layer.window + block)
            for layer in self.topology.forgetting
            for block in (block_tokens(layer.window) if self._fused else READ_CHUNK_TOKENS,)
        )
        return growing + sliding


def attended_keys(config: KIVConfig) -> int:
    """Keys that a block of queries meets in sparse reading: sinks, hot window, hits, and the block itself."""
    return config.sink_tokens + config.hot_tokens + config.retrieved_tokens + SEARCH_BLOCK_TOKENS


def shape_of(layer: GrowingLayer) -> tuple[int, int, int]:
    """Query heads, KV heads, head_dim."""
    return layer.num_query_heads, layer.num_kv_heads, layer.head_dim


def quantized_bytes(weight: torch.Tensor, quantize: Quantize) -> int:
    """Bytes of one weight as bitsandbytes stores it.

    8 bit: a float32 per row. 4 bit: for each 64 weights one byte of scale, for each 256 scales a float32; tables.
    """
    count = weight.numel()
    if quantize == "8bit":
        return count + 4 * weight.shape[0]
    blocks = math.ceil(count / 64)
    return math.ceil(count / 2) + blocks + 4 * math.ceil(blocks / 256) + 4 * (16 + 256 + 1)


# -- what fits -------------------------------------------------------------------------------------------------------


def plan_of(shape: ModelShape, setting: Setting, room: Room) -> Plan:
    """How many cold tokens fit; on several GPUs together where one does not hold a million and all hold more."""
    needs = shape.needs(setting)
    alone = plan(needs, room)
    if not room.more_vram or alone.tokens_in_ram >= MILLION:
        return alone
    spread = plan_spread(needs, room, shape.pieces(setting))
    return max(alone, spread, key=lambda each: (each.tokens_in_ram, -each.missing))


def plan_spread(needs: Needs, room: Room, pieces: list[Piece]) -> Plan:
    """How many cold tokens fit where layers are spread over all GPUs; each has a CUDA context and reads chunks."""
    beside = needs.activations + needs.runtime
    rooms = [int(free * VRAM_SHARE) - beside for free in room.all_vram]
    rooms[0] -= needs.fixed - beside - sum(piece.fixed for piece in pieces)
    found = split(pieces, rooms)
    left = int(room.ram * RAM_SHARE) - CUDA_HOST_BYTES
    if missing := max(-left, found.missing, 0):
        return Plan(needs, room, 0, 0, missing, found.layers)
    in_ram, on_disk = _count(left, needs.token_keys_values), _count(room.disk, needs.token_keys_values)
    return Plan(needs, room, min(in_ram, found.tokens), min(on_disk, found.tokens), 0, found.layers)


def plan(needs: Needs, room: Room) -> Plan:
    """How many cold tokens fit on the CPU or on the first GPU; sinks and hot window are among the needs already."""
    ram = int(room.ram * RAM_SHARE)
    if room.vram is None:
        left = ram - needs.fixed
        codes = left
    else:
        codes = int(room.vram * VRAM_SHARE) - needs.fixed
        left = ram - CUDA_HOST_BYTES
    missing = max(0, -left, -codes)
    if missing:
        return Plan(needs, room, 0, 0, missing)
    per_token = needs.token if room.vram is None else needs.token_keys_values
    in_ram = _count(left, per_token)
    if room.vram is not None:
        in_ram = min(in_ram, _count(codes, needs.token_index))
    on_disk = min(_count(room.disk, needs.token_keys_values), _count(codes, needs.token_index))
    return Plan(needs, room, in_ram, on_disk, 0)


def _count(room: int, per_token: int) -> int:
    """Tokens; no limit, which is a very large number, where nothing grows."""
    return room // per_token if per_token else 2**62


def room_of(hardware: Hardware) -> Room:
    """What is free on a PC, and where its models run."""
    vram = [gpu.free_bytes for gpu in hardware.model_gpus]
    return Room(hardware.ram.available_bytes, hardware.disk.free_bytes, vram[0] if vram else None, tuple(vram[1:]))


def room_elsewhere(room: Room, gpus_gb: Sequence[float] | None, ram_gb: float | None) -> Room:
    """The room on a PC with GPUs and RAM of so many GB (10^9 bytes), 0 for no GPU; what is None is as in `room`.

    The first GPU has the screen.
    """
    ram = room.ram if ram_gb is None else int(ram_gb * 1e9 * (1 - DESKTOP_SHARE))
    if gpus_gb is None:
        return replace(room, ram=ram)
    sizes = [int(size * 1e9) for size in gpus_gb if size]
    if not sizes:
        return replace(room, ram=ram, vram=None, more_vram=())
    return replace(room, ram=ram, vram=max(0, sizes[0] - DESKTOP_VRAM_BYTES), more_vram=tuple(sizes[1:]))


def weights_to_offer(config: PreTrainedConfig, device: Device) -> tuple[Quantize, ...]:
    """Ways to keep the weights, the finest first: bfloat16 only where weights in full are larger."""
    wide = load_dtype(config, device).itemsize > torch.bfloat16.itemsize
    return ("none", *(("bf16",) if wide else ()), *QUANTIZED)


def plan_all(
    shape: ModelShape, room: Room, config: KIVConfig | None = None, wanted: Quantize | None = None
) -> dict[Quantize, Plan]:
    """A plan for each way to keep the weights, the finest first, and for one that is asked for."""
    device: Device = "cpu" if room.vram is None else "cuda"
    config = config or KIVConfig()
    kinds = {*weights_to_offer(shape.config, device), wanted}
    return {kind: plan_of(shape, Setting(kind, device, config), room) for kind in QUANTIZE_KINDS if kind in kinds}


def plan_stores(shape: ModelShape, room: Room, wanted: Quantize | None = None) -> dict[str, dict[Quantize, Plan]]:
    """All plans with the default config, for each dtype of the store."""
    return {dtype: plan_all(shape, room, KIVConfig(store_dtype=dtype), wanted) for dtype in STORE_DTYPES}


def best_of(plans: dict[Quantize, Plan]) -> Quantize:
    """The finest weights that leave room for a long text; else those that leave most. The finest plan comes first."""
    device = "cpu" if plans["none"].room.vram is None else "cuda"
    enough = [kind for kind, plan in plans.items() if plan.tokens_in_ram >= ENOUGH_TOKENS[device]]
    return enough[0] if enough else max(plans, key=lambda kind: (plans[kind].tokens_in_ram, -plans[kind].missing))


# -- how fast --------------------------------------------------------------------------------------------------------

TIMED_SHAPE: Final = (4_096, 4_096)
TIMED_TOKENS: Final = (32, 256)
COLD_TOKENS: Final = 16_384
SCANNED_TOKENS: Final = 262_144


def measure_rates(shape: ModelShape, setting: Setting) -> Rates:
    """Time this PC: one weight matrix in the setting's quantization, one growing layer, and the scan of its codes.

    Takes some seconds.
    """
    device = torch.device(setting.device)
    dtype = load_dtype(shape.config, setting.device, setting.quantize)
    with torch.inference_mode():
        single, few, many = _matrix_seconds(setting, device, dtype, 1, *TIMED_TOKENS)
        scan = _scan_seconds(shape.topology, setting, device)
        attend = _attend_seconds(shape.topology, setting, device, dtype)
    read = _read_rates(few, many)
    return Rates(read.read_weight, read.call_weight, single / math.prod(TIMED_SHAPE), attend, scan)


def measure_reading(shape: ModelShape, setting: Setting) -> ReadRates:
    """Of all that `measure_rates` times, what reading depends on. Takes about a second."""
    device, dtype = torch.device(setting.device), load_dtype(shape.config, setting.device, setting.quantize)
    with torch.inference_mode():
        return _read_rates(*_matrix_seconds(setting, device, dtype, *TIMED_TOKENS))


def _read_rates(few: float, many: float) -> ReadRates:
    """From the seconds that the two counts of TIMED_TOKENS take."""
    read = max(many - few, 0) / (TIMED_TOKENS[1] - TIMED_TOKENS[0])
    call = max(few - read * TIMED_TOKENS[0], 0)
    return ReadRates(read / math.prod(TIMED_SHAPE), call / math.prod(TIMED_SHAPE))


def _matrix_seconds(setting: Setting, device: torch.device, dtype: torch.dtype, *counts: int) -> list[float]:
    """One weight matrix, and each of these counts of tokens."""
    linear = linear_for_timing(*TIMED_SHAPE, setting.quantize, device, dtype)
    inputs = (torch.randn((tokens, TIMED_SHAPE[0]), device=device, dtype=dtype) for tokens in counts)
    return [_seconds(linear, each) for each in inputs]


def _seconds(function: Callable[[torch.Tensor], object], argument: torch.Tensor, repeats: int = 3) -> float:
    """The shortest of some calls."""
    best = math.inf
    for _ in range(repeats):
        begin = time.perf_counter()
        function(argument)
        if argument.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return best


def _scan_seconds(topology: Topology, setting: Setting, device: torch.device) -> float:
    """One further byte of codes, by how much longer a search among many random ones takes than among a quarter."""
    if not topology.growing:
        return 0.0
    geometry, config = topology.growing[0], setting.config
    heads, dim = geometry.num_kv_heads, geometry.head_dim
    generator = torch.Generator().manual_seed(0)
    first, index = (CodeIndex(heads, dim, setting.index_bits, device) for _ in range(2))
    first.append(torch.randn((heads, FIT_TOKENS, dim), generator=generator).to(device))
    index.load(SCANNED_TOKENS, first.maps())
    for codes in index.codes(0, SCANNED_TOKENS).values():
        codes.random_(1, 256)
    queries = torch.randn((heads, geometry.num_query_heads // heads, dim), generator=generator).to(device)
    effort = SearchEffort(config.retrieved_tokens, dim**-0.5, config.retrieved_tokens, config.candidate_tokens)
    many, few = (
        _seconds(partial(index.search, limit=limit, effort=effort), queries, repeats=8)
        for limit in (SCANNED_TOKENS, SCANNED_TOKENS // 4)
    )
    return max(many - few, 0) / (SCANNED_TOKENS * 3 // 4 * code_bytes(heads, dim, setting.index_bits))


def _attend_seconds(topology: Topology, setting: Setting, device: torch.device, dtype: torch.dtype) -> float:
    """One step of the first growing layer, filled with random keys."""
    if not topology.growing:
        return 0.0
    geometry, config = topology.growing[0], setting.config
    layer = KIVLayer(geometry, Policy(config, config.hot_tokens, topology.trained_tokens, None, None))
    count = config.hot_tokens + config.sink_tokens + COLD_TOKENS
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        rows = torch.randn((1, geometry.num_kv_heads, count // 2, geometry.head_dim), generator=generator)
        layer.update(rows.to(device, dtype), rows.to(device, dtype))
        layer.end_forward()
    group = geometry.num_query_heads // geometry.num_kv_heads
    queries = torch.randn((geometry.num_kv_heads, group, 1, geometry.head_dim), generator=generator).to(device, dtype)
    layer.update(rows[:, :, :1].to(device, dtype), rows[:, :, :1].to(device, dtype))
    rule = ScoreRule(geometry.head_dim**-0.5)
    return _seconds(lambda each: layer.attend(geometry.index, each, rule), queries, repeats=8)


def token_seconds(shape: ModelShape, setting: Setting, rates: ReadRates) -> float:
    """Reading one token sparsely."""
    products = shape.weights_used(reading=True) * (rates.read_weight + rates.call_weight / READ_CHUNK_TOKENS)
    # Attention's products are taken to be as fast as those with weights, as reading with the demo showed.
    return products + shape.attention_products(setting.config) * rates.read_weight


def pace(shape: ModelShape, setting: Setting, rates: Rates) -> Pace:
    """Reading a million tokens sparsely, and answering behind them."""
    decoding = shape.weights_used(reading=False)
    layers = shape.topology.growing
    codes = sum(
        layer.attending * code_bytes(layer.num_kv_heads, layer.head_dim, setting.index_bits) for layer in layers
    )
    step = decoding * rates.decode_weight + sum(layer.attending for layer in layers) * rates.attend
    step += shape.topology.num_layers * LAYER_OVERHEAD_S + MILLION * codes * rates.scan_byte
    return Pace(token_seconds(shape, setting, rates) * MILLION, 1 / step)
