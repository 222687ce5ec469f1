"""What all layers of one cache decide alike, as functions of the context's length."""

from dataclasses import dataclass
from typing import Final

from kiv_engine.config import SEARCH_BLOCK_TOKENS, KIVConfig
from kiv_engine.errors import StoppedError, said
from kiv_engine.hits import HitRecorder
from kiv_engine.index import CODE_BLOCK_TOKENS
from kiv_engine.positions import Rotary
from kiv_engine.stopping import ShouldStop, never
from kiv_engine.store import SlabFolder

AUTO_EXACT_TOKENS: Final = 18_432
"""Up to this context length "auto" reads exactly, which is still quick: 16K tokens and room for a conversation."""

SPARSE_BLOCK_TOKENS: Final = 512
"""In sparse prefill so many neighbouring queries share one search."""


@dataclass
class Policy:
    """What all layers of one cache share.

    Attributes:
        config: the user's choices.
        hot_tokens: the hot window in force: the config's, or less where compact positions need it shorter.
        trained_tokens: the model's trained length.
        rotary: how keys are moved in compact mode; None where positions are true.
        planned_tokens: announced final length, 0 if none.
        reading: a document is being read: forwards follow `prefill` to their end and nothing is recorded.
        last_layer: the layer whose attention ends a forward, for all layers have their K and V by then; None if the
            forward's output is wanted.
        recorder: collects hit sets, or None.
        folder: of the mapped store, or None.
        should_stop: whether to break the forward at hand off; `never` where that could not be taken back.
    """

    config: KIVConfig
    hot_tokens: int
    trained_tokens: int
    rotary: Rotary | None
    folder: SlabFolder | None
    planned_tokens: int = 0
    reading: bool = False
    last_layer: int | None = None
    recorder: HitRecorder | None = None
    should_stop: ShouldStop = never

    def raise_if_stopped(self) -> None:
        """Raise StoppedError if the forward at hand is to be broken off."""
        if self.should_stop():
            raise StoppedError(said("This was stopped."))

    def cold_tokens(self, num_tokens: int) -> int:
        """How many tokens are cold at a length: whole code blocks beyond sinks and hot window."""
        beyond = num_tokens - self.config.sink_tokens - self.hot_tokens
        return max(0, beyond // CODE_BLOCK_TOKENS * CODE_BLOCK_TOKENS)

    def is_compact(self, num_tokens: int) -> bool:
        """Whether retrieved keys are moved at this length."""
        return self.rotary is not None and num_tokens > self.trained_tokens

    def block_tokens(self, mode: str, num_tokens: int) -> int:
        """Queries that are attended to together; in compact mode few, since the last sees the window of the first."""
        size = SPARSE_BLOCK_TOKENS if mode == "sparse" else SEARCH_BLOCK_TOKENS
        return min(size, compact_block_tokens(self.trained_tokens)) if self.is_compact(num_tokens) else size

    def prefill_mode(self, num_tokens: int) -> str:
        """The mode of a forward that brings the context to `num_tokens`."""
        mode = self.config.prefill
        if mode != "auto":
            return mode
        final = max(num_tokens, self.planned_tokens)
        return "exact" if final <= AUTO_EXACT_TOKENS and not self.is_compact(final) else "sparse"

    def prefill_reason(self, num_tokens: int) -> str:
        """Why it is that mode, for a person."""
        if self.config.prefill != "auto":
            return "as asked"
        mode = self.prefill_mode(num_tokens)
        if mode == "exact":
            return f"{num_tokens:,} tokens are at most {AUTO_EXACT_TOKENS:,}, where all pairs are still quick"
        if self.is_compact(num_tokens):
            return f"{num_tokens:,} tokens are beyond the trained length, where positions are compact"
        pairs = num_tokens * num_tokens / 2
        return f"exact would score {pairs:.1e} query-key pairs per head, {mode} about {num_tokens * 4096:.1e}"

    def reads_linearly(self, num_tokens: int) -> bool:
        """Whether twice the text takes twice the time: long texts do not if they are read exactly."""
        return num_tokens <= AUTO_EXACT_TOKENS or self.prefill_mode(num_tokens) != "exact"


def compact_block_tokens(trained_tokens: int) -> int:
    """Room in the trained length for a block of queries beyond the hot window."""
    return min(SPARSE_BLOCK_TOKENS, max(CODE_BLOCK_TOKENS, trained_tokens // 8))
