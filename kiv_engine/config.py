"""What can be set, in tokens and bytes; frozen and validated."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from kiv_engine.errors import ConfigError, said
from kiv_engine.events import SmallerPlan

PrefillMode: TypeAlias = Literal["auto", "exact", "sparse", "window"]
PositionMode: TypeAlias = Literal["auto", "true", "compact"]
StoreDtype: TypeAlias = Literal["auto", "model", "int8"]
Quantize: TypeAlias = Literal["none", "bf16", "fp16", "8bit", "4bit"]
"""Weights, the finest first: as the device takes them, in bfloat16 or float16, or quantized by bitsandbytes."""

QUANTIZE_KINDS: Final[tuple[Quantize, ...]] = get_args(Quantize)
QUANTIZED: Final[tuple[Quantize, ...]] = ("8bit", "4bit")
"""What bitsandbytes makes."""

SEARCH_BLOCK_TOKENS: Final = 512
"""Forwards of at most this many tokens search for every token; so do the last ones of a longer forward."""
SECTION_TOKENS: Final = 4_096
"""A document that is gone through section by section is cut into parts of at most so many tokens."""


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(said("{0} is {1!r}; allowed are {2}.", name, value, ", ".join(choices)))


def require_range(name: str, value: object, low: float, high: float) -> None:
    """Raise ConfigError unless `value` is a number from `low` to `high`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]
        raise ConfigError(said("{0} is {1!r}; allowed is {2:,} to {3:,}.", name, value, low, high))


def require_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise ConfigError unless `value` is a whole number from `low` to `high`."""
    require_range(name, value, low, high)
    if not isinstance(value, int):
        raise ConfigError(said("{0} is {1!r}; allowed are whole numbers, {2:,} to {3:,}.", name, value, low, high))


@dataclass(frozen=True)
class KIVConfig:
    """How a KIVCache keeps and finds tokens.

    Attributes:
        hot_tokens: most recent tokens whose K/V stay exact on the model's device.
        sink_tokens: first tokens, attended by every query (StreamingLLM, arXiv:2309.17453).
        retrieved_tokens: cold tokens fetched per query, layer and KV head.
        candidate_tokens: at most so many cold tokens per query head pass from the index to the exact ranking; more of
            them buy recall with time. Heads with flat scores get fewer by themselves.
        prefill: how a forward of more than 512 tokens sees cold tokens: "exact" all of them, "sparse" the best by the
            index, "window" none; "auto" is exact while that is cheap, then sparse.
        positions: "true" rotary positions, or "compact" ones that never leave the trained length; "auto" per model.
        store_dtype: cold K/V as the model's dtype ("model", "auto") or as int8 with a scale per row.
        store: "ram", or a folder for memory-mapped files.
        index_bits: code bits per key dimension, 1, or 2 for most dimensions; None picks 1 where the cold keys lie in
            the memory of the model's device (they rank the candidates themselves) and 2 where they do not (the codes
            rank alone).
    """

    hot_tokens: int = 2_048
    sink_tokens: int = 16
    retrieved_tokens: int = 256
    candidate_tokens: int = 16_384
    prefill: PrefillMode = "auto"
    positions: PositionMode = "auto"
    store_dtype: StoreDtype = "auto"
    store: str | Path = "ram"
    index_bits: Literal[1, 2] | None = None

    def __post_init__(self) -> None:
        require_whole("hot_tokens", self.hot_tokens, 16, 1_048_576)
        require_whole("sink_tokens", self.sink_tokens, 0, 4_096)
        require_whole("retrieved_tokens", self.retrieved_tokens, 1, 2**31 - 1)
        require_whole("candidate_tokens", self.candidate_tokens, 1, 2**31 - 1)
        require_choice("prefill", self.prefill, get_args(PrefillMode))
        require_choice("positions", self.positions, get_args(PositionMode))
        require_choice("store_dtype", self.store_dtype, get_args(StoreDtype))
        if self.index_bits not in (None, 1, 2):
            raise ConfigError(said("index_bits is {0!r}; allowed are 1 and 2.", self.index_bits))
        if not str(self.store):
            raise ConfigError(said("store is empty; give 'ram' or a folder."))

    @property
    def store_folder(self) -> Path | None:
        """The folder of the mapped files, or None for RAM."""
        return None if self.store == "ram" else Path(self.store)

    def smaller(self, plan: SmallerPlan) -> "KIVConfig":
        """The same with what a smaller plan changes."""
        return replace(
            self,
            store_dtype=plan.store_dtype or self.store_dtype,
            store=plan.store or self.store,
            hot_tokens=plan.hot_tokens or self.hot_tokens,
            prefill=plan.prefill or self.prefill,
        )

    def index_bits_on(self, device: str) -> int:
        """Those that the index has where the model runs on "cpu" or "cuda"."""
        return self.index_bits or (2 if device == "cuda" else 1)


@dataclass(frozen=True)
class SamplingConfig:
    """How the next token is drawn. `temperature` 0 takes the likeliest token.

    Attributes:
        top_k: keep the k likeliest tokens; 0 keeps all.
        top_p: keep the smallest set of tokens whose probability reaches p (nucleus sampling, arXiv:1904.09751).
        min_p: drop tokens less likely than min_p times the likeliest (arXiv:2407.01082).
        repetition_penalty: divides positive and multiplies negative logits of tokens in the answer so far
            (CTRL, arXiv:1909.05858); 1 is off.
        seed: of the random draw; None draws a fresh one.
        stop: strings that end the answer; they are not part of it.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 512
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_range("temperature", self.temperature, 0, 10)
        require_whole("top_k", self.top_k, 0, 2**31 - 1)
        require_range("top_p", self.top_p, 1e-6, 1)
        require_range("min_p", self.min_p, 0, 1)
        require_range("repetition_penalty", self.repetition_penalty, 0.1, 10)
        require_whole("max_new_tokens", self.max_new_tokens, 1, 2**31 - 1)
        if self.seed is not None:
            require_whole("seed", self.seed, 0, 2**63 - 1)
        if any(not text for text in self.stop):
            raise ConfigError(said("stop contains an empty string; leave it out."))
