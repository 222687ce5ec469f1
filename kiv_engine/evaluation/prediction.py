"""What a decode step should take on a GPU that is not at hand: arithmetic on bytes, labelled as prediction.

A step reads the 4-bit weights and the codes of all cold keys from the GPU's memory, and fetches the K and V rows that
it attends to over PCIe. Each is divided by the share of the nominal bandwidth that such reads usually reach; nothing
overlaps, and launching kernels takes `LAUNCH_MS` for the whole step, as in a captured graph. The engine does not meet
all of that, see `ASSUMPTIONS`. Where the bytes are more than the GPU's memory there is no rate.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch

from kiv_engine import model_shape
from kiv_engine.config import KIVConfig
from kiv_engine.errors import ConfigError
from kiv_engine.evaluation.shapes import MODEL_SHAPES, ModelShape
from kiv_engine.index import ranking_bytes
from kiv_engine.layer import token_bytes
from kiv_engine.weights import quantized_linears

MEMORY_SHARE: Final = 0.85
PCIE_SHARE: Final = 0.5
"""Rows of some hundred bytes do not fill the bus."""

LAUNCH_MS: Final = 0.5
ELEMENT_BYTES: Final = 2

ASSUMPTIONS: Final = (
    f"Assumed: memory gives {MEMORY_SHARE} of its nominal bandwidth and PCIe {PCIE_SHARE}; the weights are in 4 bit. "
    "Assumed, and not so in this engine yet: each byte of the codes is read once, where the search on a GPU unpacks "
    "them to 16 bit, tile by tile and about eight times the bytes, and multiplies those; and a step is launched as one "
    f"captured graph ({LAUNCH_MS} ms), where each kernel is launched by itself. Until both are built a step takes "
    "longer. There is no rate where weights, codes, hot window and what the search takes for a moment do not fit the "
    "GPU's memory."
)


@dataclass(frozen=True)
class Gpu:
    """Nominal bandwidths in GB/s, and the size of the memory in GB, infinite where it is not known."""

    name: str
    memory_gb_per_s: float
    pcie_gb_per_s: float
    memory_gb: float = math.inf


KNOWN: Final = {
    "RTX 4070": Gpu("RTX 4070", 504, 32, 12),
    "RTX 3060": Gpu("RTX 3060", 360, 32, 12),
    "RTX 4090": Gpu("RTX 4090", 1_008, 32, 24),
}


def gpu_of(text: str) -> Gpu:
    """A known name, or "MEMORY,PCIE" in GB/s, or "MEMORY,PCIE,SIZE" with the memory's GB. Raises ConfigError."""
    if text in KNOWN:
        return KNOWN[text]
    try:
        memory, pcie, size = (float(part) for part in (text if text.count(",") == 2 else f"{text},inf").split(","))
    except ValueError:
        memory = pcie = size = 0.0
    if not (0 < memory < 1e5 and 0 < pcie < 1e5 and size > 0):
        raise ConfigError(
            f"predict is {text!r}; give {', '.join(KNOWN)}, or bandwidths of memory and PCIe in GB/s like 504,32, "
            "with the memory's GB like 504,32,12."
        )
    sized = "" if size == math.inf else f"{size:g} GB of "
    return Gpu(f"{sized}{memory:g} GB/s memory, {pcie:g} GB/s PCIe", memory, pcie, size)


@cache
def step_weight_bytes(shape: ModelShape) -> float:
    """Bytes of the weights that one token meets, 4-bit ones with their scales; the output layer stays in full."""
    planned = model_shape.ModelShape(shape.config)
    saved = sum(
        linear.weight.numel() * ELEMENT_BYTES - model_shape.quantized_bytes(linear.weight, "4bit")
        for linear in quantized_linears(planned.model, "4bit")
    )
    return planned.weights_used(reading=False) * ELEMENT_BYTES - saved


@cache
def loaded_weight_bytes(shape: ModelShape) -> int:
    """Bytes of all weights, as they are loaded."""
    return model_shape.ModelShape(shape.config).weight_bytes("4bit", ELEMENT_BYTES)


def predict_step(gpu: Gpu, shape: ModelShape, num_tokens: int) -> dict[str, Any]:
    """Milliseconds of one decode step by part, and the bytes behind them; no step where these do not fit the GPU."""
    config = KIVConfig()
    cold = max(0, num_tokens - config.hot_tokens - config.sink_tokens)
    weights = step_weight_bytes(shape)
    layers_per_owner = len(shape.attending) / shape.growing
    codes = cold * token_bytes(shape.layers, config, ELEMENT_BYTES, "cuda")[1] * layers_per_owner
    local = 2 * shape.keys_bytes(min(num_tokens, config.hot_tokens), ELEMENT_BYTES) * layers_per_owner
    rows = 2 * len(shape.attending) * shape.kv_heads * min(cold, config.retrieved_tokens)
    fetched = rows * shape.row_bytes(ELEMENT_BYTES)
    memory, pcie = gpu.memory_gb_per_s * 1e6 * MEMORY_SHARE, gpu.pcie_gb_per_s * 1e6 * PCIE_SHARE
    step = (weights + codes + local) / memory + fetched / pcie + LAUNCH_MS
    ranking = ranking_bytes(shape.query_heads, shape.kv_heads, shape.head_dim, torch.device("cuda"))
    needed = loaded_weight_bytes(shape) + (codes + local) / layers_per_owner + ranking
    needed += model_shape.RUNTIME_BYTES["cuda"]
    fits = needed <= gpu.memory_gb * 1e9
    return {
        "weights_ms": weights / memory,
        "codes_ms": codes / memory,
        "local_ms": local / memory,
        "fetch_ms": fetched / pcie,
        "launch_ms": LAUNCH_MS,
        "step_ms": step if fits else None,
        "tokens_per_s": 1e3 / step if fits else None,
        "needed_bytes": needed,
        "fetched_bytes": fetched,
        "codes_bytes": codes / layers_per_owner,
    }


def predict(gpu: Gpu, lengths: tuple[int, ...]) -> dict[str, Any]:
    """Every model's step at every length."""
    return {
        "gpu": gpu.name,
        "note": "prediction: arithmetic, not measured",
        "models": {
            shape.name: {str(length): predict_step(gpu, shape, length) for length in lengths} for shape in MODEL_SHAPES
        },
    }
