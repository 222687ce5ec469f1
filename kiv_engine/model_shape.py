"""What a model needs, from its config alone: weights, hot window, index, the peak of reading a chunk, and each token.

The model is built without memory (on PyTorch's meta device), so that its weights are counted and not estimated. What a
cache keeps is computed by those who keep it. Nothing here downloads or loads weights.

Letters: H KV heads, G query heads per KV head, T tokens of a chunk, N keys that a block of queries sees, D head_dim.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from kiv_engine.banded import block_tokens
from kiv_engine.config import SEARCH_BLOCK_TOKENS, KIVConfig, Quantize
from kiv_engine.device_map import Piece, decoder_layers, is_text
from kiv_engine.index import CODE_BLOCK_TOKENS, map_bytes, ranking_bytes
from kiv_engine.layer import EXACT_BLOCK_TOKENS, token_bytes
from kiv_engine.model_config import empty_model, load_dtype
from kiv_engine.reading import READ_CHUNK_TOKENS
from kiv_engine.topology import GrowingLayer, Topology, inspect
from kiv_engine.weights import quantized_linears
from kiv_engine.window import window_bytes

Device = Literal["cpu", "cuda"]

RUNTIME_BYTES: Final = {"cpu": 400_000_000, "cuda": 600_000_000}
"""Python, PyTorch and the tokenizer in RAM, measured; a CUDA context with cuBLAS in VRAM, as commonly reported."""

DELTA_RULE_TOKENS: Final = 64
"""Linear layers (the gated delta rule) hold decays and scores of so many tokens among themselves."""

NORM_BYTES: Final = 6
"""Of each hidden value in 16 bit a norm holds about so many bytes in float32, measured."""

OUTPUTS: Final = {"o_proj", "out_proj", "dense", "c_proj"}
"""Names that families give to what attention ends with."""

BEFORE_ATTENTION: Final = {"laurel", "prediction_coefs", "modality_router"}
"""Parts of a Gemma 3n layer beside its attention that come before it."""


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
            if config.prefill == "exact":
                block = max(block, self._exact_block(layer, setting, element_bytes))
            if self._holds_scores:
                held = max(keys, EXACT_BLOCK_TOKENS) if config.prefill == "exact" else keys
                block = query_heads * SEARCH_BLOCK_TOKENS * held * (element_bytes + 4 * 4)
            ranking = ranking_bytes(*layer, torch.device(setting.device)) if setting.index_bits == 2 else 0
            yield attended * element_bytes + max(block, ranking)

    def _exact_block(self, layer: tuple[int, int, int], setting: Setting, element_bytes: int) -> int:
        """Of a block that is read exactly: CPU kernels want the mask once for each query head of a KV head; elsewhere
        the scores of a piece of the cold tokens are held, in float32, with their weights.
        """
        query_heads, kv_heads, dim = layer
        local = setting.config.sink_tokens + setting.config.hot_tokens + SEARCH_BLOCK_TOKENS
        if setting.device == "cpu":
            group = query_heads // kv_heads
            masks = SEARCH_BLOCK_TOKENS * local * (group + 1 if group > 1 else 1) * element_bytes
            return masks + 2 * local * kv_heads * dim * element_bytes
        return query_heads * SEARCH_BLOCK_TOKENS * max(local, EXACT_BLOCK_TOKENS) * (element_bytes + 2 * 4)

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
        """Weights of matrix products that one token meets; reading ends with the last keys and values."""
        return sum(self.weights_by_layer(reading=reading).values())

    def weights_by_layer(self, *, reading: bool) -> dict[int | None, float]:
        """Those of each decoder layer, by its number, and with None for it those that are in no layer."""
        layers = decoder_layers(self.model)
        places = {part: (index, path) for index, each in enumerate(layers or ()) for path, part in each.named_modules()}
        head = self.model.get_output_embeddings()
        used: dict[int | None, float] = {}
        for name, module in self.model.named_modules():
            number, path = places.get(module, (None, name))
            if not is_text(name) or (reading and (module is head or self._is_left_out(number, path))):
                continue
            count = sum(self._share_used(name, each) for each in module.parameters(recurse=False) if each.ndim > 1)
            if isinstance(module, nn.Embedding):
                count -= module.weight.numel()
            used[number] = used.get(number, 0) + count
        return used

    @property
    def _ends_early(self) -> bool:
        """Whether reading ends once the last layer has its keys and values: it does where these grow."""
        return any(layer.index == self.topology.last_owner for layer in self.topology.growing)

    def _is_left_out(self, layer: int | None, path: str) -> bool:
        """Whether reading ends before it comes to a module, whose path begins at its layer."""
        if not self._ends_early:
            return False
        if layer is None:
            return "unembed" in path
        last = self.topology.last_owner
        return layer > last or (layer == last and not _is_before_attention(path))

    def _share_used(self, name: str, parameter: torch.Tensor) -> float:
        """Of experts, which are stacked in one parameter, as many as a token is sent to."""
        experts = getattr(self.text, "num_experts", None) or getattr(self.text, "num_local_experts", None)
        chosen = getattr(self.text, "num_experts_per_tok", None) or getattr(self.text, "top_k_experts", None)
        used = parameter.numel()
        return used * chosen / experts if experts and chosen and parameter.ndim == 3 and "expert" in name else used

    def attention_products(self, config: KIVConfig, layers: range | None = None) -> float:
        """Multiplications of attention for one token that is read sparsely; None for all layers."""
        keys, counted = attended_keys(config), range(self.topology.num_layers) if layers is None else layers
        skipped = self.topology.last_owner if self._ends_early else None
        growing = sum(
            2 * layer.num_query_heads * layer.head_dim * keys
            for layer in self.topology.growing
            if layer.index in counted and layer.index != skipped
        )
        sliding = sum(
            2 * layer.num_query_heads * layer.head_dim * (layer.window + block)
            for layer in self.topology.forgetting
            for block in (block_tokens(layer.window) if self._fused else READ_CHUNK_TOKENS,)
            if layer.index in counted
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


def _is_before_attention(path: str) -> bool:
    """Whether a module of a decoder layer works before attention itself: its queries, keys and values are needed."""
    *above, name = path.split(".")
    if BEFORE_ATTENTION.intersection([*above, name]):
        return True
    return any("attn" in part or "attention" in part for part in above) and name not in OUTPUTS
