"""How fast this PC would read and answer with a model: a matrix and a layer are timed, the rest is arithmetic.

Of a model whose layers are spread over several GPUs each GPU is timed for itself. One works while the others wait, for
a layer needs what the one before it has made: their times add up, and so do those of what is copied between them.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from typing import Final

import torch

from kiv_engine.fit import MILLION
from kiv_engine.hardware import further_gpus
from kiv_engine.index import FIT_TOKENS, CodeIndex, SearchEffort, code_bytes
from kiv_engine.layer import KIVLayer
from kiv_engine.model_config import load_dtype
from kiv_engine.model_shape import ModelShape, Setting
from kiv_engine.policy import Policy
from kiv_engine.prefill import ScoreRule
from kiv_engine.reading import READ_CHUNK_TOKENS
from kiv_engine.topology import Topology
from kiv_engine.weights import linear_for_timing

TIMED_SHAPE: Final = (4_096, 4_096)
TIMED_TOKENS: Final = (32, 256)
COLD_TOKENS: Final = 16_384
SCANNED_TOKENS: Final = 262_144

LAYER_OVERHEAD_S: Final = 0.0004
"""Norms, rotary positions and Python of one decoder layer in a decode step, on the CPU this was measured on."""

PASSED_ON: Final = 3
"""Tensors that each layer away from the first GPU is given a copy of: both parts of the rotary positions, and the
numbers of the tokens. Masks and the like, which some models have, are not counted."""


@dataclass(frozen=True)
class ReadRates:
    """How fast a device reads, measured now; seconds.

    Attributes:
        read_weight: one weight of a matrix product for one token of a chunk.
        call_weight: one weight for one chunk, whatever its length (4 and 8 bit ones are decoded once a chunk).
        copy_call: a copy of one token's hidden state from the first GPU; 0 on the first.
        copy_byte: each byte of a longer copy.
    """

    read_weight: float
    call_weight: float
    copy_call: float = field(default=0.0, kw_only=True)
    copy_byte: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True)
class Rates(ReadRates):
    """How fast a device is, measured now; seconds.

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


@dataclass(frozen=True)
class Share:
    """What one device computes of a model for one token, and what is copied to it for that.

    Attributes:
        read_weights, weights: those of matrix products, in reading and in answering.
        read_products: multiplications of attention in reading.
        layers: decoder layers.
        searches: of them, those that search and attend in K/V that grow.
        codes: bytes of the index that these scan for each cold token.
        copies: tensors that are brought in one forward; on the last GPU also the one that goes back.
        copied: bytes of them for each token.
    """

    read_weights: float
    weights: float
    read_products: float
    layers: int
    searches: int
    codes: int
    copies: int
    copied: int


def shares(shape: ModelShape, setting: Setting, gpu_layers: Sequence[int] = ()) -> list[Share]:
    """The parts of a model with so many layers on each GPU; one part where there is only one device.

    The first has what is in no layer.
    """
    counts = gpu_layers or (shape.topology.num_layers,)
    reading, answering = (shape.weights_by_layer(reading=reading) for reading in (True, False))
    found = []
    for number, end in enumerate(accumulate(counts)):
        layers = range(end - counts[number], end)
        keys: list[int | None] = [*layers] if number else [None, *layers]
        growing = [layer for layer in shape.topology.growing if layer.index in layers]
        bits = setting.index_bits
        is_last = number == len(counts) - 1
        found.append(
            Share(
                read_weights=sum(reading.get(key, 0) for key in keys),
                weights=sum(answering.get(key, 0) for key in keys),
                read_products=shape.attention_products(setting.config, layers),
                layers=len(layers),
                searches=sum(layer.attending for layer in growing),
                codes=sum(layer.attending * code_bytes(layer.num_kv_heads, layer.head_dim, bits) for layer in growing),
                copies=1 + is_last + PASSED_ON * len(layers) if number else 0,
                copied=_copied_bytes(shape, setting, 1 + is_last, len(layers)) if number else 0,
            )
        )
    return found


def _copied_bytes(shape: ModelShape, setting: Setting, hidden_states: int, layers: int) -> int:
    """Of one token: its hidden states, and for each layer its rotary positions and its number."""
    head_dim = max((layer.head_dim for layer in shape.topology.growing), default=0)
    numbers = hidden_states * int(shape.text.hidden_size) + layers * 2 * head_dim
    return numbers * _dtype(shape, setting).itemsize + layers * torch.int64.itemsize


def _dtype(shape: ModelShape, setting: Setting) -> torch.dtype:
    return load_dtype(shape.config, setting.device, setting.quantize)


# -- measuring -------------------------------------------------------------------------------------------------------


def measure_pace(shape: ModelShape, setting: Setting, gpu_layers: Sequence[int] = ()) -> Pace:
    """Time this PC with a model that has so many layers on each GPU, as a plan says; on one device where it says none.

    Takes some seconds a device.
    """
    devices = [torch.device("cuda", index) for index in (0, *further_gpus(0))] if gpu_layers else []
    used = [each for each in zip(devices, gpu_layers, strict=True) if each[1] or each[0] == devices[0]]
    rates = [measure_rates(shape, setting, *pair) for pair in _with_first(setting, [device for device, _ in used])]
    return pace(shape, setting, rates, [count for _, count in used])


def measure_token(shape: ModelShape, setting: Setting, layers_on: dict[torch.device, int]) -> float:
    """Seconds to read one token, with so many layers on each GPU, the first one first; empty where all are on one.

    Takes about a second a device.
    """
    rates = [measure_reading(shape, setting, *pair) for pair in _with_first(setting, [*layers_on])]
    return token_seconds(shape, setting, rates, [*layers_on.values()])


def _with_first(setting: Setting, devices: Sequence[torch.device]) -> Iterator[tuple[torch.device, torch.device]]:
    """Each device and the first one; that of the setting where none are given."""
    devices = devices or [torch.device(setting.device)]
    return ((device, devices[0]) for device in devices)


def measure_rates(shape: ModelShape, setting: Setting, device: torch.device, first: torch.device) -> Rates:
    """Time a device: one weight matrix in the setting's quantization, one growing layer, and the scan of its codes.

    Takes some seconds. `first` is the GPU that tokens go to first.
    """
    dtype = _dtype(shape, setting)
    with torch.inference_mode():
        single, few, many = _matrix_seconds(setting, device, dtype, 1, *TIMED_TOKENS)
        scan = _scan_seconds(shape.topology, setting, device)
        attend = _attend_seconds(shape.topology, setting, device, dtype)
        call, byte = _copy_seconds(int(shape.text.hidden_size), dtype, first, device)
    read = _read_rates(few, many)
    return Rates(
        read.read_weight,
        read.call_weight,
        single / math.prod(TIMED_SHAPE),
        attend,
        scan,
        copy_call=call,
        copy_byte=byte,
    )


def measure_reading(shape: ModelShape, setting: Setting, device: torch.device, first: torch.device) -> ReadRates:
    """Of all that `measure_rates` times, what reading depends on. Takes about a second."""
    dtype = _dtype(shape, setting)
    with torch.inference_mode():
        read = _read_rates(*_matrix_seconds(setting, device, dtype, *TIMED_TOKENS))
        call, byte = _copy_seconds(int(shape.text.hidden_size), dtype, first, device)
    return replace(read, copy_call=call, copy_byte=byte)


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


def _copy_seconds(width: int, dtype: torch.dtype, first: torch.device, device: torch.device) -> tuple[float, float]:
    """A copy of one token's hidden state from the first GPU to another, and each byte of a chunk's copy."""
    if device == first:
        return 0.0, 0.0
    single, many = (
        _seconds(partial(torch.Tensor.to, device=device), torch.zeros((tokens, width), device=first, dtype=dtype))
        for tokens in (1, READ_CHUNK_TOKENS)
    )
    return single, max(many - single, 0) / ((READ_CHUNK_TOKENS - 1) * width * dtype.itemsize)


def _seconds(function: Callable[[torch.Tensor], object], argument: torch.Tensor, repeats: int = 3) -> float:
    """The shortest of some calls."""
    best = math.inf
    for _ in range(repeats):
        begin = time.perf_counter()
        function(argument)
        if argument.is_cuda:
            torch.cuda.synchronize(argument.device)
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
    search: Callable[..., object] = partial(index.search, effort=effort)
    if setting.index_bits == 2:
        nothing = torch.full(queries.shape[:2], -math.inf, device=device)
        in_nats = ScoreRule(dim**-0.5).in_nats
        search = partial(index.strongest, count=config.retrieved_tokens, in_nats=in_nats, local_lse=nothing)
    many, few = (
        _seconds(partial(search, limit=limit), queries, repeats=8) for limit in (SCANNED_TOKENS, SCANNED_TOKENS // 4)
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


# -- arithmetic ------------------------------------------------------------------------------------------------------


def token_seconds(
    shape: ModelShape, setting: Setting, rates: Sequence[ReadRates], gpu_layers: Sequence[int] = ()
) -> float:
    """Reading one token sparsely, with the rates of each device."""
    parts = zip(shares(shape, setting, gpu_layers), rates, strict=True)
    return sum(_read_seconds(share, rate) for share, rate in parts)


def _read_seconds(share: Share, rates: ReadRates) -> float:
    products = share.read_weights * (rates.read_weight + rates.call_weight / READ_CHUNK_TOKENS)
    # Attention's products are taken to be as fast as those with weights, as reading with the demo showed.
    products += share.read_products * rates.read_weight
    return products + share.copies * rates.copy_call / READ_CHUNK_TOKENS + share.copied * rates.copy_byte


def pace(shape: ModelShape, setting: Setting, rates: Sequence[Rates], gpu_layers: Sequence[int] = ()) -> Pace:
    """Reading a million tokens sparsely, and answering behind them, with the rates of each device."""
    parts = zip(shares(shape, setting, gpu_layers), rates, strict=True)
    step = sum(_step_seconds(share, rate) for share, rate in parts)
    return Pace(token_seconds(shape, setting, rates, gpu_layers) * MILLION, 1 / step)


def _step_seconds(share: Share, rates: Rates) -> float:
    """A device's part of answering with one token, behind a million."""
    computed = share.weights * rates.decode_weight + share.searches * rates.attend + share.layers * LAYER_OVERHEAD_S
    return computed + MILLION * share.codes * rates.scan_byte + share.copies * rates.copy_call
