"""Which layers of a model grow with the context, and the geometry of their heads: pure data from a config."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from kiv_engine.errors import UnsupportedModelError, said

GROWING: Final = frozenset({"full_attention", "attention"})
ATTENDING: Final = GROWING | {"sliding_attention", "chunked_attention"}
WITHOUT_STATE: Final = frozenset({"moe", "mlp"})
FORGETTING: Final = frozenset({"sliding_attention", "chunked_attention", "linear_attention", "conv", "mamba"})

OWN_CACHE: Final = frozenset({"minimax"})

# Model types whose full-attention layers carry no rotary positions (their sliding layers do).
FULL_LAYERS_WITHOUT_ROTARY: Final = frozenset({"cohere2", "cohere2_moe", "exaone4"})


@dataclass(frozen=True)
class GrowingLayer:
    """One layer whose K/V grow by one row per token and KV head.

    Attributes:
        attending: layers that search and attend to its K/V: itself, and those that share them.
    """

    index: int
    num_query_heads: int
    num_kv_heads: int
    head_dim: int
    rotary: bool
    attending: int = 1


@dataclass(frozen=True)
class ForgettingLayer:
    """One layer that keeps only recent state.

    Attributes:
        num_values: how many numbers that is in a long context; 0 where the config does not tell.
        num_float32: how many more are kept in float32 whatever the model's dtype is: the state of a gated delta rule.
        num_query_heads, head_dim, window: of sliding and chunked attention; 0 elsewhere.
    """

    index: int
    kind: str
    num_values: int
    num_query_heads: int = 0
    head_dim: int = 0
    window: int = 0
    num_float32: int = 0


@dataclass(frozen=True)
class Topology:
    """What the cache must know of a model.

    Attributes:
        growing: the layers that own growing K/V; layers that share another's K/V are not among them.
        forgetting: the layers that own state which does not grow.
        num_layers: decoder layers in all.
        first_shared: the first layer whose K/V others use, too; `num_layers` where there is none.
        last_owner: the last layer that owns state, of whatever kind.
        trained_tokens: context length the model was trained for, 0 where the config does not say.
        forgets: some layers keep only recent state (sliding window, linear attention).
    """

    model_type: str
    growing: tuple[GrowingLayer, ...]
    forgetting: tuple[ForgettingLayer, ...]
    num_layers: int
    first_shared: int
    last_owner: int
    trained_tokens: int
    forgets: bool

    def row_bytes(self, element_bytes: int) -> int:
        """Bytes of K plus V per token over all growing layers."""
        return sum(2 * layer.num_kv_heads * layer.head_dim for layer in self.growing) * element_bytes


def inspect(config: Any) -> Topology:
    """Read the topology from a model's config. Raises UnsupportedModelError, naming the model and the reason."""
    text = config.get_text_config(decoder=True)
    model_type = str(text.model_type)
    _refuse(config, text, model_type)
    types = _layer_types(text)
    sharing = _sharing_modes(text, model_type) or [None] * len(types)
    unknown = set(types) - GROWING - FORGETTING - WITHOUT_STATE
    if unknown:
        raise UnsupportedModelError(
            said("{0} has {1} layers, which KIV cannot keep.", model_type, ", ".join(sorted(unknown)))
        )
    if not set(types) & ATTENDING:
        raise UnsupportedModelError(said("{0} has no attention layers; KIV keeps attention's K and V.", model_type))
    owned = [(index, kind) for index, kind in enumerate(types) if sharing[index] != "reuse"]
    # Layers that reuse K/V take those of the last owner of their own kind.
    last = {kind: index for index, kind in owned}
    attending = Counter(last.get(kind) if sharing[index] == "reuse" else index for index, kind in enumerate(types))
    return Topology(
        model_type=model_type,
        growing=tuple(
            _growing_layer(text, index, model_type, attending[index]) for index, kind in owned if kind in GROWING
        ),
        forgetting=tuple(_forgetting_layer(text, index, kind) for index, kind in owned if kind in FORGETTING),
        num_layers=len(types),
        first_shared=min(
            (last[kind] for index, kind in enumerate(types) if sharing[index] == "reuse"), default=len(types)
        ),
        last_owner=max(index for index, kind in owned if kind not in WITHOUT_STATE),
        trained_tokens=int(getattr(text, "max_position_embeddings", 0) or 0),
        forgets=any(kind in FORGETTING for kind in types),
    )


def _refuse(config: Any, text: Any, model_type: str) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(said("{0} is an encoder-decoder; KIV keeps decoder-only models.", model_type))
    if getattr(text, "index_topk", None):
        raise UnsupportedModelError(said("{0} brings its own sparse indexer, which KIV would bypass.", model_type))
    if getattr(text, "kv_lora_rank", None):
        raise UnsupportedModelError(
            said("{0} uses multi-head latent attention (MLA): there are no keys to index.", model_type)
        )
    if getattr(text, "is_causal", True) is False:
        raise UnsupportedModelError(said("{0} is configured as bidirectional; KIV keeps causal decoders.", model_type))
    if model_type in OWN_CACHE:
        raise UnsupportedModelError(said("{0} insists on a cache of its own.", model_type))
    if getattr(text, "use_bidirectional_attention", None) in (True, "all"):
        raise UnsupportedModelError(said("{0} attends in both directions; KIV keeps causal decoders.", model_type))
    if not getattr(text, "num_attention_heads", None):
        raise UnsupportedModelError(said("{0} has no attention heads; KIV keeps attention's K and V.", model_type))


def _layer_types(text: Any) -> list[str]:
    """Per-layer kind, as transformers' DynamicCache derives it from a config."""
    types = getattr(text, "layer_types", None)
    if types is not None:
        return [str(kind) for kind in types]
    if getattr(text, "sliding_window", None) is not None and getattr(text, "use_sliding_window", True):
        return ["sliding_attention"] * int(text.num_hidden_layers)
    if getattr(text, "attention_chunk_size", None) is not None:
        return ["chunked_attention"] * int(text.num_hidden_layers)
    return ["full_attention"] * int(text.num_hidden_layers)


def _sharing_modes(text: Any, model_type: str) -> list[str | None] | None:
    """Per layer "reuse" where it uses the K/V of another; None where a model type shares none.

    Raises UnsupportedModelError for a config by which layers would share what no layer owns.
    """
    try:
        modes: list[str | None] | None = getattr(text, "kv_sharing_modes", None)
    except ValueError as error:
        raise UnsupportedModelError(
            said("The config of {0} shares keys and values wrongly: {1}.", model_type, error)
        ) from error
    return modes


def _heads(text: Any, index: int) -> tuple[int, int, int]:
    """Query heads, KV heads and head_dim of one layer."""
    layer = text.per_layer_config[index] if hasattr(text, "per_layer_config") else text
    query_heads = int(layer.num_attention_heads)
    kv_heads = int(getattr(layer, "num_key_value_heads", None) or query_heads)
    return query_heads, kv_heads, int(getattr(layer, "head_dim", None) or text.hidden_size // query_heads)


def _growing_layer(text: Any, index: int, model_type: str, attending: int) -> GrowingLayer:
    no_rope = getattr(text, "no_rope_layers", None)  # 1 where rotary positions are used, 0 where not
    rotary = bool(no_rope[index]) if no_rope else model_type not in FULL_LAYERS_WITHOUT_ROTARY
    return GrowingLayer(index, *_heads(text, index), rotary, attending)


def _forgetting_layer(text: Any, index: int, kind: str) -> ForgettingLayer:
    if kind in ATTENDING:
        query_heads, kv_heads, head_dim = _heads(text, index)
        window = int((text.attention_chunk_size if kind == "chunked_attention" else text.sliding_window) or 0)
        return ForgettingLayer(index, kind, 2 * kv_heads * head_dim * max(0, window - 1), query_heads, head_dim, window)
    if kind == "conv" and getattr(text, "conv_L_cache", None):
        return ForgettingLayer(index, kind, int(text.hidden_size) * int(text.conv_L_cache))
    if kind == "linear_attention" and getattr(text, "linear_num_value_heads", None):  # gated delta rule
        keys = int(text.linear_num_key_heads) * int(text.linear_key_head_dim)
        values = int(text.linear_num_value_heads) * int(text.linear_value_head_dim)
        convolved = (2 * keys + values) * int(text.linear_conv_kernel_dim)
        return ForgettingLayer(index, kind, convolved, num_float32=values * int(text.linear_key_head_dim))
    return ForgettingLayer(index, kind, 0)
