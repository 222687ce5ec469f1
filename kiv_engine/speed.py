"""How fast this PC would read and answer with a model: a matrix and a layer are timed, the rest is arithmetic."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch

from kiv_engine.fit import MILLION
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
