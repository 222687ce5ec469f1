"""KIVCache: a drop-in transformers cache whose growing layers keep recent tokens exact and find the old ones by search.

A growing layer splits its tokens by position, as a function of its length alone: the first `sink_tokens`, then the cold
tokens (in the store, found through the index), then the hot window. Every query attends to sinks, hits and hot window
in one exact softmax.

Letters: H KV heads, G query heads per KV head, T queries, R retrieved tokens, D head_dim.
"""

import copy
import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

from kiv_engine.attention import Attachment, tag
from kiv_engine.config import SEARCH_BLOCK_TOKENS, KIVConfig
from kiv_engine.errors import BatchSizeError, ConfigError, CropError, UnsupportedModelError
from kiv_engine.hits import LOCAL_HITS, HitRecorder, Recording, RingPlaces
from kiv_engine.index import CODE_BLOCK_TOKENS, FIT_TOKENS, CodeIndex, SearchEffort
from kiv_engine.positions import PinnedRotary, Rotary, needs_compact, read_rotary
from kiv_engine.prefill import PartialAttention, ScoreRule, SoftmaxPart, attend_at_once, causal_mask, weigh
from kiv_engine.store import ColdStore, RowTable, SlabFolder
from kiv_engine.topology import GrowingLayer, Topology, inspect

AUTO_EXACT_TOKENS: Final = 18_432
"""Up to this context length "auto" reads exactly, which is still quick: 16K tokens and room for a conversation."""

SPARSE_BLOCK_TOKENS: Final = 512
"""In sparse prefill so many neighbouring queries share one search."""

SPARSE_CANDIDATES: Final = 4
"""The search for a block is for its mean query, which is vague: it ranks this many times fewer candidates."""

EXACT_BLOCK_TOKENS: Final = 4_096
"""In exact prefill the cold keys are streamed in pieces of this many."""

# These drop a cache when a generation crosses the length at which their rotary factors switch; ours cannot switch.
SWITCHING_MODELS: Final = frozenset({"phi3", "phimoe", "phi4_multimodal"})


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
        recorder: collects hit sets, or None.
        folder: of the mapped store, or None.
    """

    config: KIVConfig
    hot_tokens: int
    trained_tokens: int
    rotary: Rotary | None
    folder: SlabFolder | None
    planned_tokens: int = 0
    reading: bool = False
    recorder: HitRecorder | None = None

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


class HotWindow:
    """Sinks, and a ring of the most recent tokens, in one buffer per K and V: (H, sinks + ring, D).

    Attributes:
        num_sinks, num_hot: tokens held in each part.
        bias: (sinks + ring,) 0 where a slot holds a token that is attended, -inf elsewhere.
    """

    def __init__(self, sinks: int, ring: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        self.num_sinks = 0
        self.num_hot = 0
        self._sinks = sinks
        self._ring = ring
        self._start = 0
        self.keys = keys.new_zeros((keys.shape[0], sinks + ring, keys.shape[-1]))
        self.values = values.new_zeros((values.shape[0], sinks + ring, values.shape[-1]))
        self.bias = torch.full((sinks + ring,), -math.inf, device=keys.device)

    @property
    def nbytes(self) -> int:
        tensors = (self.keys, self.values, self.bias)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def used(self) -> slice:
        """Slots that hold anything: a prefix until the ring has turned once."""
        turned = self._start > 0 or self.num_hot == self._ring
        return slice(0, self._sinks + self._ring if turned else self.num_sinks + self.num_hot)

    def _slots(self, first: int, count: int) -> Iterator[tuple[slice, slice]]:
        """Ring places of hot tokens first..first+count as (slots in the buffer, offsets), in at most two runs."""
        begin = (self._start + first) % self._ring
        run = min(count, self._ring - begin)
        if run:
            yield slice(self._sinks + begin, self._sinks + begin + run), slice(0, run)
        if count > run:
            yield slice(self._sinks, self._sinks + count - run), slice(run, count)

    def fill_sinks(self, keys: torch.Tensor, values: torch.Tensor) -> int:
        """Take the first tokens (H, n, D) that still belong to the sinks; how many were taken."""
        count = min(self._sinks - self.num_sinks, keys.shape[1])
        slots = slice(self.num_sinks, self.num_sinks + count)
        self.keys[:, slots], self.values[:, slots] = keys[:, :count], values[:, :count]
        self.bias[slots] = 0
        self.num_sinks += count
        return count

    def append(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Add tokens (H, n, D) to the ring, which must have room."""
        for slots, part in self._slots(self.num_hot, keys.shape[1]):
            self.keys[:, slots], self.values[:, slots] = keys[:, part], values[:, part]
            self.bias[slots] = 0
        self.num_hot += keys.shape[1]

    def read(self, first: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """K and V of hot tokens first..first+count, oldest first."""
        runs = [slots for slots, _ in self._slots(first, count)]
        if not runs:
            return self.keys[:, :0], self.values[:, :0]
        if len(runs) == 1:
            return self.keys[:, runs[0]], self.values[:, runs[0]]
        return (
            torch.cat([self.keys[:, slots] for slots in runs], 1),
            torch.cat([self.values[:, slots] for slots in runs], 1),
        )

    def drop_oldest(self, count: int) -> None:
        """Forget the oldest `count` hot tokens."""
        for slots, _ in self._slots(0, count):
            self.bias[slots] = -math.inf
        self._start = (self._start + count) % self._ring
        self.num_hot -= count

    def restart(self, num_sinks: int) -> None:
        """Forget the hot tokens, and all but the first `num_sinks` sinks."""
        self.num_sinks = min(self.num_sinks, num_sinks)
        self.num_hot = self._start = 0
        self.bias[self.num_sinks :] = -math.inf

    def places(self, num_tokens: int) -> RingPlaces:
        """What the slots hold in a context of `num_tokens`."""
        return RingPlaces(self._sinks, self._ring, self._start, num_tokens - self.num_hot)


@dataclass(frozen=True)
class Span:
    """K and V of one forward of several tokens, with the hot window before it: (H, n, D) from position `start`.

    Layers that share K/V attend after the owner has moved on; the span is what they attend to.
    """

    start: int
    keys: torch.Tensor
    values: torch.Tensor

    @property
    def end(self) -> int:
        return self.start + self.keys.shape[1]


@dataclass(frozen=True)
class Hits:
    """Cold tokens that one query attends to: ids (H, R) in the store, scores (H, G, R), values (H, R, D)."""

    ids: torch.Tensor
    scores: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True)
class Attended:
    """What one query attended to: parts of its softmax, and the factors that make them probabilities."""

    hits: Hits | None
    local: SoftmaxPart
    factor: torch.Tensor
    cold: SoftmaxPart | None = None
    cold_factor: torch.Tensor | None = None

    def local_mass(self) -> torch.Tensor:
        """Probabilities (N,) of sinks and hot window, averaged over all heads."""
        weights = self.local.weights
        heads = weights.shape[0] * weights.shape[1]
        return (self.factor.view(1, heads) @ weights.view(heads, -1))[0] / heads

    def cold_mass(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids (H, R) of the cold tokens and their probabilities, averaged over the group."""
        if self.hits is None or self.cold is None or self.cold_factor is None:
            empty = torch.empty((0, 0), device=self.factor.device)
            return empty.long(), empty
        heads, group, _, rows = self.cold.weights.shape
        mass = self.cold_factor.view(heads, 1, group) @ self.cold.weights.view(heads, group, rows)
        return self.hits.ids, mass[:, 0] / group


class KIVLayer(CacheLayerMixin):
    """Everything of one growing layer: hot window, cold store and index."""

    is_sliding = False
    is_croppable = True
    is_compileable = False

    def __init__(self, geometry: GrowingLayer, policy: Policy) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.geometry = geometry
        self._policy = policy
        self._hot: HotWindow | None = None
        self._store: ColdStore | None = None
        self._index: CodeIndex | None = None
        self._span: Span | None = None
        self._rows_fetched = 0
        self._unattended = False

    # -- state ---------------------------------------------------------------------------------------------------

    @property
    def num_tokens(self) -> int:
        if self._hot is None or self._store is None:
            return 0
        return self._hot.num_sinks + self._store.num_tokens + self._hot.num_hot

    @property
    def is_unattended(self) -> bool:
        """Whether tokens were taken since the last attention; a model that attends some other way misses the rest."""
        return self._unattended

    @property
    def rows_fetched(self) -> int:
        """K and V rows brought from the store for attention since the layer was made."""
        return self._rows_fetched

    @property
    def store(self) -> ColdStore:
        assert self._store is not None
        return self._store

    @property
    def index(self) -> CodeIndex:
        assert self._index is not None
        return self._index

    @property
    def hot(self) -> HotWindow:
        assert self._hot is not None
        return self._hot

    def bytes_by_part(self) -> dict[str, int]:
        """Bytes of hot window (with sinks), index, cold keys and cold values."""
        if self._hot is None:
            return {"hot": 0, "index": 0, "cold_keys": 0, "cold_values": 0}
        return {
            "hot": self.hot.nbytes,
            "index": self.index.nbytes,
            "cold_keys": self.store.keys.nbytes,
            "cold_values": self.store.values.nbytes,
        }

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make the buffers for K and V of this shape: (1, H, n, D)."""
        config, policy = self._policy.config, self._policy
        self.dtype, self.device = key_states.dtype, key_states.device
        keys, values = key_states[0], value_states[0]
        self._hot = HotWindow(config.sink_tokens, policy.hot_tokens + CODE_BLOCK_TOKENS, keys, values)
        self._store = ColdStore(self._row_table("keys", keys), self._row_table("values", values))
        self._index = self._new_index(keys)
        self.is_initialized = True
        if policy.planned_tokens:
            self.reserve(policy.planned_tokens)

    def _row_table(self, kind: str, rows: torch.Tensor) -> RowTable:
        return RowTable(
            rows.shape[0],
            rows.shape[-1],
            rows.dtype,
            int8=self._policy.config.store_dtype == "int8",
            pin=rows.is_cuda and self._policy.folder is None,
            folder=self._policy.folder,
            name=f"layer{self.geometry.index}.{kind}",
        )

    def _new_index(self, keys: torch.Tensor) -> CodeIndex:
        bits = self._policy.config.index_bits or (2 if keys.is_cuda else 1)
        return CodeIndex(keys.shape[0], keys.shape[-1], bits, keys.device)

    def reserve(self, num_tokens: int) -> None:
        """Make room for a context of `num_tokens`."""
        if self.is_initialized:
            cold = self._policy.cold_tokens(num_tokens)
            self.store.reserve(cold)
            self.index.reserve(cold)

    # -- growing -------------------------------------------------------------------------------------------------

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take K and V of new tokens, (1, H, T, D), and return them; the keys carry this layer to the attention."""
        if key_states.shape[0] != 1:
            raise BatchSizeError(
                f"KIVCache holds one sequence, but the batch has {key_states.shape[0]}; call it once per sequence."
            )
        if not self.is_initialized:
            # What is kept must stay writable whether or not a later call runs in inference mode.
            with torch.inference_mode(False):
                self.lazy_initialization(key_states, value_states)
        self._grow(key_states[0].detach(), value_states[0].detach())
        self._unattended = True
        return tag(key_states, self), tag(value_states, self)

    def end_forward(self) -> None:
        """No layer of this forward attends any more: let go of what was only kept for it."""
        self._span = None

    def _grow(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        hot = self.hot
        final = self.num_tokens + keys.shape[1]
        single = keys.shape[1] == 1
        taken = hot.fill_sinks(keys, values)
        start = hot.num_sinks + self.store.num_tokens
        if single:
            self._span = None
            hot.append(keys[:, taken:], values[:, taken:])
            self._evict(self._policy.cold_tokens(final) - self.store.num_tokens)
            return
        old_keys, old_values = hot.read(0, hot.num_hot)
        span_keys = torch.cat((old_keys, keys[:, taken:]), 1)
        span_values = torch.cat((old_values, values[:, taken:]), 1)
        self._span = Span(start, span_keys, span_values)
        evicted = self._policy.cold_tokens(final) - self.store.num_tokens
        self._append_cold(span_keys[:, :evicted], span_values[:, :evicted])
        hot.restart(hot.num_sinks)
        hot.append(span_keys[:, evicted:], span_values[:, evicted:])

    def _evict(self, count: int) -> None:
        """Move the oldest `count` hot tokens to the cold store."""
        if count > 0:
            keys, values = self.hot.read(0, count)
            self._append_cold(keys.clone(), values)  # the index may keep what it is given, and the ring turns on
            self.hot.drop_oldest(count)

    def _append_cold(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        if keys.shape[1] == 0:
            return
        first = self.store.num_tokens
        self.store.reserve(first + keys.shape[1])  # what can fail fails here, before anything is written
        self.store.append(keys, values)
        self.index.append(self._position_free(keys, first))

    def _position_free(self, keys: torch.Tensor, first: int) -> torch.Tensor:
        """Keys as the index sees them: in compact mode without their rotation. `first` counts cold tokens."""
        if self._policy.rotary is None or not self.geometry.rotary:
            return keys
        sources = self._policy.config.sink_tokens + first + torch.arange(keys.shape[1], device=keys.device)
        return self._policy.rotary.move(keys.float(), sources, torch.zeros_like(sources))

    # -- attending -----------------------------------------------------------------------------------------------

    def attend(self, layer_idx: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """Attend from the newest T tokens, queries (H, G, T, D) -> (H, G, T, D)."""
        self._unattended = False
        if self._span is None:
            return self._attend_newest(layer_idx, queries, rule)
        count = queries.shape[2]
        first = self._span.end - count
        if self._policy.cold_tokens(self._span.end) <= self._policy.config.retrieved_tokens:
            return self._attend_blocks("exact", first, queries, rule)
        mode = self._policy.prefill_mode(self._span.end)
        if mode == "exact":
            return self._attend_blocks(mode, first, queries, rule)
        searched = 0 if self._policy.reading else min(SEARCH_BLOCK_TOKENS, count)
        parts = [self._attend_blocks(mode, first, queries[:, :, : count - searched], rule)] if searched < count else []
        parts += [
            self._attend_token(layer_idx, first + t, queries[:, :, t : t + 1], rule)
            for t in range(count - searched, count)
        ]
        return torch.cat(parts, 2)

    def _attend_newest(self, layer_idx: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """One query, the newest token; its hot window lies in the ring."""
        hot, used = self.hot, self.hot.used
        keys, values = hot.keys[:, used], hot.values[:, used]
        num_tokens = self.num_tokens
        if self._policy.is_compact(num_tokens) and hot.num_sinks:
            keys = self._with_moved_sinks(keys, num_tokens)
        scores = rule.scores(queries, keys)
        if used.stop == hot.keys.shape[1]:
            scores += hot.bias
        output, attended = self._attend_searching(queries, rule, scores, values, num_tokens)
        if self._policy.recorder is not None and not self._policy.reading:
            self._policy.recorder.record(self._recording(layer_idx, num_tokens, attended))
        return output

    def _attend_token(self, layer_idx: int, position: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """One query inside the span, exactly as if it had been decoded on its own."""
        keys, values = self._local(position, position + 1)
        scores = rule.scores(queries, keys)
        return self._attend_searching(queries, rule, scores, values, position + 1)[0]

    def _attend_searching(
        self, queries: torch.Tensor, rule: ScoreRule, scores: torch.Tensor, values: torch.Tensor, num_tokens: int
    ) -> tuple[torch.Tensor, "Attended"]:
        """Local scores (H, G, 1, N) joined with the best cold tokens in one softmax -> output, and what was used."""
        local = SoftmaxPart.of(scores)
        hits = self._find(queries[:, :, 0], rule, rule.total(local.lse)[..., 0], num_tokens)
        if hits is None:
            factor = local.factor(rule.total(local.lse))
            return weigh(local.weights, values) * factor, Attended(None, local, factor)
        cold = SoftmaxPart.of(hits.scores[:, :, None])
        total = rule.total(torch.logaddexp(local.lse, cold.lse))
        factor, cold_factor = local.factor(total), cold.factor(total)
        output = weigh(local.weights, values) * factor + weigh(cold.weights, hits.values) * cold_factor
        return output, Attended(hits, local, factor, cold, cold_factor)

    def _recording(self, layer_idx: int, num_tokens: int, attended: "Attended") -> Recording:
        local = attended.local_mass()
        heaviest = local.topk(min(LOCAL_HITS, local.shape[0]), sorted=False)
        rows, mass = attended.cold_mass()
        return Recording(
            layer=layer_idx,
            position=num_tokens - 1,
            cold_rows=rows,
            cold_mass=mass,
            local_slots=heaviest.indices,
            local_mass=heaviest.values,
            local_total=local.sum(),
            places=self.hot.places(num_tokens),
        )

    def _local(self, first: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Sinks, and the hot window of a query at `first` up to position `end`, from the span."""
        assert self._span is not None
        hot = self.hot
        sinks = min(hot.num_sinks, end)
        begin = self._policy.config.sink_tokens + self._policy.cold_tokens(first + 1)
        part = slice(max(0, begin - self._span.start), max(0, end - self._span.start))
        sink_keys = hot.keys[:, :sinks]
        if self._policy.is_compact(end) and sinks:
            sink_keys = self._move_sinks(sink_keys, begin)
        keys = torch.cat((sink_keys, self._span.keys[:, part]), 1)
        return keys, torch.cat((hot.values[:, :sinks], self._span.values[:, part]), 1)

    def _attend_blocks(self, mode: str, first: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """Queries of the span from position `first` on, block by block, in a prefill mode."""
        size = self._policy.block_tokens(mode, first + queries.shape[2])
        parts = []
        for offset in range(0, queries.shape[2], size):
            block = queries[:, :, offset : offset + size]
            start = first + offset
            keys, values = self._local(start, start + block.shape[2])
            mask = causal_mask(block.shape[2], keys.shape[1], keys.device)
            limit = self._policy.cold_tokens(start + 1)
            if mode == "sparse" and limit > 0:
                parts.append(self._attend_sparse(block, rule, (keys, values, mask), start))
            elif mode == "exact" and limit > 0:
                parts.append(self._attend_exact(block, rule, (keys, values, mask), limit))
            else:
                parts.append(attend_at_once(rule, block, keys, values, mask))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    def _attend_exact(
        self, queries: torch.Tensor, rule: ScoreRule, local: tuple[torch.Tensor, torch.Tensor, torch.Tensor], limit: int
    ) -> torch.Tensor:
        """All cold tokens below `limit`, streamed, and the local ones."""
        partial = PartialAttention.over(rule, queries, *local)
        for keys, values in self.store.blocks(0, limit, EXACT_BLOCK_TOKENS):
            part = PartialAttention.over(rule, queries, keys.to(self.device), values.to(self.device), None)
            partial = partial.merge(part)
        return partial.finish(rule)

    def _attend_sparse(
        self, queries: torch.Tensor, rule: ScoreRule, local: tuple[torch.Tensor, torch.Tensor, torch.Tensor], start: int
    ) -> torch.Tensor:
        """The best cold tokens for the block as a whole, and the local ones. The block searches with its mean query."""
        keys, values, mask = local
        lengths = queries.float().norm(dim=-1, keepdim=True).clamp(min=1e-12)
        mean = (queries.float() / lengths).mean(2) * lengths.mean(2)
        floor = mean.new_full(mean.shape[:2], -math.inf)
        hits = self._find(mean.to(queries.dtype), rule, floor, start + 1, vague=True)
        if hits is None:
            return attend_at_once(rule, queries, keys, values, mask)
        hit_keys = self._keys_of(hits.ids, start + 1)
        seen = mask.new_ones((mask.shape[0], hits.ids.shape[1]))
        return attend_at_once(
            rule,
            queries,
            torch.cat((hit_keys, keys), 1),
            torch.cat((hits.values, values), 1),
            torch.cat((seen, mask), 1),
        )

    # -- searching -----------------------------------------------------------------------------------------------

    def _find(
        self, queries: torch.Tensor, rule: ScoreRule, local_lse: torch.Tensor, num_tokens: int, *, vague: bool = False
    ) -> Hits | None:
        """The cold tokens with the largest softmax mass for queries (H, G, D) of the token at num_tokens - 1.

        local_lse (H, G) is the log-sum-exp of what is attended anyway; with it the query heads of a group compare by
        the share of their own softmax, not by raw scores.
        """
        limit = self._policy.cold_tokens(num_tokens)
        if limit == 0:
            return None
        config = self._policy.config
        if limit <= config.retrieved_tokens:
            return self._take(torch.arange(limit).expand(queries.shape[0], -1), queries, rule, num_tokens)
        ids, scores, final = self._candidates(queries, rule, limit, num_tokens, vague)
        part = SoftmaxPart.of(scores)
        factor = part.factor(torch.logaddexp(part.lse, local_lse))
        share = (factor.mT @ part.weights)[:, 0]
        best = share.topk(min(config.retrieved_tokens, share.shape[-1]), -1).indices
        chosen = best if ids is None else ids.gather(-1, best.to(ids.device)).clamp_(min=0)  # padding has no mass
        if not final:
            return self._take(chosen.to("cpu").sort(-1).values, queries, rule, num_tokens)
        kept = scores.gather(-1, best[:, None].expand(-1, scores.shape[1], -1))
        return Hits(chosen, kept, self._fetch(self.store.values, chosen))

    def _candidates(
        self, queries: torch.Tensor, rule: ScoreRule, limit: int, num_tokens: int, vague: bool
    ) -> tuple[torch.Tensor | None, torch.Tensor, bool]:
        """Ids (H, C) that may be chosen, padded with -1, or None for all; their scores (H, G, C), -inf for padding.

        The third says whether the scores are those of the attention, or only good enough to rank by.
        """
        config = self._policy.config
        searched = self._search_query(queries, num_tokens)
        final = self._policy.rotary is None or not self.geometry.rotary
        if self.index.bits == 2:
            return None, self._score_by_index(searched, rule, limit), False
        if limit < FIT_TOKENS or limit <= config.candidate_tokens:
            return None, self._score_all(searched, rule, limit), final
        effort = SearchEffort(
            config.retrieved_tokens,
            rule.scaling,
            fewest=min(-(-2 * config.retrieved_tokens // queries.shape[1]), config.candidate_tokens),
            most=max(1, config.candidate_tokens // (SPARSE_CANDIDATES if vague else 1)),
        )
        ids = self.index.search(searched, limit, effort)
        return ids, self._score_candidates(searched, rule, ids), final

    def _take(self, ids: torch.Tensor, queries: torch.Tensor, rule: ScoreRule, num_tokens: int) -> Hits:
        """Attend to exactly these cold tokens, ids (H, R) ascending."""
        keys = self._keys_of(ids, num_tokens)
        scores = rule.scores(queries[:, :, None], keys)[:, :, 0]
        return Hits(ids.to(self.device), scores, self._fetch(self.store.values, ids))

    def _fetch(self, table: RowTable, ids: torch.Tensor) -> torch.Tensor:
        """Rows (H, n, D) of cold tokens on the model's device."""
        self._rows_fetched += ids.numel()
        return table.gather(ids.to("cpu")).to(self.device, non_blocking=True)

    def _keys_of(self, ids: torch.Tensor, num_tokens: int) -> torch.Tensor:
        """Keys of cold tokens as a query at num_tokens - 1 meets them: moved before the hot window in compact mode."""
        keys = self._fetch(self.store.keys, ids)
        if not self._policy.is_compact(num_tokens) or not self.geometry.rotary:
            return keys
        assert self._policy.rotary is not None
        ids = ids.to(self.device)
        first_hot = self._policy.config.sink_tokens + self._policy.cold_tokens(num_tokens)
        targets = first_hot - ids.shape[1] + torch.arange(ids.shape[1], device=ids.device)
        return self._policy.rotary.move(keys, ids + self._policy.config.sink_tokens, targets)

    def _move_sinks(self, keys: torch.Tensor, first_hot: int) -> torch.Tensor:
        """Sink keys (H, n, D), moved to just before the retrieved ones."""
        if not self.geometry.rotary:
            return keys
        assert self._policy.rotary is not None
        sources = torch.arange(keys.shape[1], device=keys.device)
        cold = min(self._policy.config.retrieved_tokens, first_hot - self._policy.config.sink_tokens)
        return self._policy.rotary.move(keys, sources, sources + first_hot - cold - keys.shape[1])

    def _with_moved_sinks(self, keys: torch.Tensor, num_tokens: int) -> torch.Tensor:
        sinks = self.hot.num_sinks
        first_hot = self._policy.config.sink_tokens + self._policy.cold_tokens(num_tokens)
        return torch.cat((self._move_sinks(keys[:, :sinks], first_hot), keys[:, sinks:]), 1)

    def _search_query(self, queries: torch.Tensor, num_tokens: int) -> torch.Tensor:
        """Queries as the index sees them: in compact mode as if their hits lay in the middle of the retrieved ones."""
        if self._policy.rotary is None or not self.geometry.rotary:
            return queries
        position = torch.tensor(num_tokens - 1, device=queries.device)
        return self._policy.rotary.move(queries, position, torch.zeros_like(position))

    def _score_by_index(self, queries: torch.Tensor, rule: ScoreRule, limit: int) -> torch.Tensor:
        """Scores (H, G, limit) from what the index holds on the model's device, without a look at the store."""
        if self.index.ready:
            return rule.cap(self.index.scores_of(queries, limit) * rule.scaling)
        return rule.scores(queries.float()[:, :, None], self.index.first_keys[:, :limit])[:, :, 0]

    def _score_all(self, queries: torch.Tensor, rule: ScoreRule, limit: int) -> torch.Tensor:
        """Scores (H, G, limit) against every cold key."""
        keys = self.store.keys.read(0, limit).to(self.device)
        return rule.scores(queries[:, :, None], self._position_free(keys, 0).to(keys.dtype))[:, :, 0]

    def _score_candidates(self, queries: torch.Tensor, rule: ScoreRule, ids: torch.Tensor) -> torch.Tensor:
        """Scores (H, G, C) against the keys of candidates; -inf where an id is -1."""
        present = ids.clamp(min=0)
        keys = self.store.keys.gather(present.to("cpu")).to(self.device)
        if self._policy.rotary is not None and self.geometry.rotary:
            sources = present.to(self.device) + self._policy.config.sink_tokens
            keys = self._policy.rotary.move(keys, sources, torch.zeros_like(sources))
        scores = rule.scores(queries[:, :, None], keys)[:, :, 0]
        return scores.masked_fill_((ids < 0)[:, None].to(scores.device), -math.inf)

    # -- going back ----------------------------------------------------------------------------------------------

    def crop_to(self, num_tokens: int) -> None:
        """Go back to a length. Hot tokens come back from the store; nothing cold is copied."""
        if num_tokens >= self.num_tokens or self._hot is None:
            return
        hot, policy = self.hot, self._policy
        cold = policy.cold_tokens(num_tokens)
        kept = max(0, num_tokens - policy.config.sink_tokens - self.store.num_tokens)
        keys, values = hot.read(0, min(kept, hot.num_hot))
        end = min(self.store.num_tokens, max(0, num_tokens - policy.config.sink_tokens))
        keys = torch.cat((self.store.keys.read(cold, end).to(keys.device), keys), 1)
        values = torch.cat((self.store.values.read(cold, end).to(values.device), values), 1)
        self._span = None
        hot.restart(min(num_tokens, policy.config.sink_tokens))
        hot.append(keys, values)
        self.store.truncate(cold)
        self._truncate_index(cold)

    def _truncate_index(self, cold: int) -> None:
        if not self.index.ready or cold >= FIT_TOKENS:
            self.index.truncate(cold)
            return
        self._index = self._new_index(self.hot.keys)
        if cold:
            self.index.append(self._position_free(self.store.keys.read(0, cold).to(self.device), 0))

    def crop(self, tokens_to_remove: int) -> None:
        """Remove tokens from the end; like transformers' layers, takes a negative count."""
        self.crop_to(self.num_tokens - abs(tokens_to_remove))

    def reset(self) -> None:
        """Forget everything."""
        self._hot = self._store = self._index = self._span = None
        self.is_initialized = False

    # -- what transformers asks ----------------------------------------------------------------------------------

    def get_seq_length(self) -> int:
        """Tokens held, hot and cold."""
        return self.num_tokens

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """The mask only covers the new tokens: what lies before is this layer's own business."""
        return query_length, self.num_tokens

    def get_max_length(self) -> int:
        """No maximum."""
        return -1

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """One sequence has one order."""
        if beam_idx.numel() != 1:
            raise BatchSizeError("KIVCache holds one sequence; beam search needs a batch.")

    def batch_repeat_interleave(self, repeats: int) -> None:
        """One sequence cannot be repeated."""
        if repeats != 1:
            raise BatchSizeError("KIVCache holds one sequence; it cannot be repeated along the batch.")

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """One sequence leaves nothing to select."""
        if indices.numel() != 1:
            raise BatchSizeError("KIVCache holds one sequence; there is no batch to select from.")


@dataclass(frozen=True)
class CacheSnapshot:
    """The state of the layers that forget (sliding window, linear attention) at one length."""

    num_tokens: int
    layers: dict[int, dict[str, Any]] = field(repr=False)

    @property
    def nbytes(self) -> int:
        return sum(_tensor_bytes(state) for state in self.layers.values())


class KIVCache(Cache):
    """A cache for `model.generate(**inputs, past_key_values=cache)`; one sequence, any length.

    Growing layers are KIVLayers; all others are what transformers' DynamicCache uses. Raises UnsupportedModelError for
    models it cannot serve and ConfigError for choices that contradict the model.
    """

    def __init__(self, model: PreTrainedModel, config: KIVConfig | None = None) -> None:
        config = config or KIVConfig()
        self.topology: Topology = inspect(model.config)
        decoder = _decoder(model)
        self.policy = _policy(config, self.topology, decoder)
        layers = DynamicCache(config=model.config).layers
        for geometry in self.topology.growing:
            _require_plain(layers[geometry.index], self.topology.model_type)
            layers[geometry.index] = KIVLayer(geometry, self.policy)
        super().__init__(layers=layers)
        self._rotary_module = getattr(decoder, "rotary_emb", None)
        self._pinned: PinnedRotary | None = None
        attachment = Attachment.of(decoder)
        attachment.acquire()
        self._detach = weakref.finalize(self, attachment.release)

    def __bool__(self) -> bool:
        # Phi-3's generate asks `if past_key_values and ...` before it drops a cache at the switch of its factors.
        return self.topology.model_type not in SWITCHING_MODELS

    @property
    def growing_layers(self) -> list[KIVLayer]:
        return [layer for layer in self.layers if isinstance(layer, KIVLayer)]

    @property
    def forgetting_layers(self) -> dict[int, Any]:
        """Layers that keep only recent state, by index."""
        kept = {}
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, KIVLayer) and (
                hasattr(layer, "cumulative_length") or hasattr(layer, "conv_states")
            ):
                kept[index] = layer
        return kept

    @property
    def num_tokens(self) -> int:
        """Tokens in the context."""
        growing = self.growing_layers
        return growing[0].num_tokens if growing else int(self.get_seq_length())

    def close(self) -> None:
        """Give the memory back and detach from the model; the cache is empty afterwards."""
        self.reset()
        if self.policy.folder is not None:
            self.policy.folder.close()
        self._detach()

    def plan(self, num_tokens: int) -> None:
        """Announce the final length: rotary factors are chosen for it and the store is laid out in one piece."""
        self.policy.planned_tokens = num_tokens
        for layer in self.growing_layers:
            layer.reserve(num_tokens)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While a document is read: forwards follow `prefill` to their end, without the search of their last tokens."""
        self.policy.reading = True
        try:
            yield
        finally:
            self.policy.reading = False

    @contextmanager
    def recording(self) -> Iterator[HitRecorder]:
        """Record the hit sets of every decoded token."""
        self.policy.recorder = recorder = HitRecorder()
        try:
            yield recorder
        finally:
            self.policy.recorder = None

    def before_forward(self, batch_size: int, num_tokens: int) -> None:
        """Refuse batches; hold length-dependent rotary factors at those of the final length. The attachment calls."""
        if batch_size != 1:
            raise BatchSizeError(
                f"KIVCache holds one sequence, but the batch has {batch_size}; call it once per sequence."
            )
        if not PinnedRotary.applies_to(self._rotary_module):
            return
        if self._pinned is None:
            self._pinned = PinnedRotary(self._rotary_module, max(self.policy.planned_tokens, num_tokens))
        self._pinned.hold()

    def after_forward(self, *, completed: bool) -> None:
        """Give the rotary module back to others; make sure that what the layers took was attended to."""
        if self._pinned is not None:
            self._pinned.release()
        for layer in self.growing_layers:
            layer.end_forward()
        if completed and any(layer.is_unattended for layer in self.growing_layers):
            raise UnsupportedModelError(
                f"{self.topology.model_type} does not hand cached keys to transformers' attention interface unchanged."
            )

    def bytes_by_part(self) -> dict[str, int]:
        """Bytes of hot (with the layers that forget), index, cold_keys and cold_values over all layers."""
        total = {"hot": 0, "index": 0, "cold_keys": 0, "cold_values": 0}
        for layer in self.growing_layers:
            for part, size in layer.bytes_by_part().items():
                total[part] += size
        total["hot"] += sum(_tensor_bytes(vars(layer)) for layer in self.forgetting_layers.values())
        return total

    def reset(self) -> None:
        """Forget everything."""
        self._pinned = None
        with torch.inference_mode():  # linear layers zero their states in place, which may be inference tensors
            super().reset()  # type: ignore[no-untyped-call]

    def crop(self, tokens_to_remove: int) -> None:
        """Remove the last tokens; like transformers', takes a count <= 0.

        Layers that forget can only be cropped while they have forgotten nothing; else CropError, and nothing changes.
        """
        if tokens_to_remove > 0:
            raise ValueError("crop takes a negative count: the number of tokens to remove from the end.")
        if tokens_to_remove == 0:
            return
        length = self.num_tokens
        target = max(0, length + tokens_to_remove)
        if target == 0:
            self.reset()
            return
        if any(_has_forgotten(layer) for layer in self.forgetting_layers.values()):
            raise CropError(
                f"This model's sliding or linear layers have forgotten what lies before token {length:,}; possible "
                f"lengths are 0 (reset) and {length:,}, or one that a Context kept a snapshot of.",
                (0, length),
            )
        super().crop(tokens_to_remove)

    def snapshot(self) -> CacheSnapshot:
        """The state of the layers that forget, to come back to this length later."""
        layers = {index: _copy_state(vars(layer)) for index, layer in self.forgetting_layers.items()}
        return CacheSnapshot(self.num_tokens, layers)

    def restore(self, snapshot: CacheSnapshot) -> None:
        """Go back to a snapshot's length; growing layers are cropped, exactly. Raises CropError if it lies ahead."""
        if snapshot.num_tokens > self.num_tokens:
            raise CropError(
                f"The snapshot was taken at {snapshot.num_tokens:,} tokens, but the cache holds {self.num_tokens:,}.",
                (0, self.num_tokens),
            )
        for layer in self.growing_layers:
            layer.crop_to(snapshot.num_tokens)
        for index, state in snapshot.layers.items():
            vars(self.layers[index]).update(_copy_state(state))


def _decoder(model: PreTrainedModel) -> PreTrainedModel:
    """The module that runs the layers and whose config names the attention."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    if isinstance(decoder, PreTrainedModel):
        return decoder
    base = model.base_model
    return base if isinstance(base, PreTrainedModel) else model


def _policy(config: KIVConfig, topology: Topology, decoder: PreTrainedModel) -> Policy:
    rotary = _compact_rotary(config, topology, decoder)
    hot = config.hot_tokens
    if rotary is not None:
        hot = min(hot, _compact_hot_tokens(config, topology))
    folder = None if config.store_folder is None else SlabFolder(config.store_folder)
    return Policy(config, hot, topology.trained_tokens, rotary, folder)


def _compact_rotary(config: KIVConfig, topology: Topology, decoder: PreTrainedModel) -> Rotary | None:
    """The rotary facts if positions are to be compact, else None."""
    if config.positions == "true" or not any(layer.rotary for layer in topology.growing):
        return None
    try:
        rotary = read_rotary(decoder)
    except UnsupportedModelError:
        if config.positions == "compact":
            raise
        return None
    if PinnedRotary.applies_to(getattr(decoder, "rotary_emb", None)):
        if config.positions == "compact":
            raise ConfigError("positions='compact' does not work with length-dependent rotary factors; use 'true'.")
        return None
    if config.positions == "auto" and not needs_compact(topology, rotary):
        return None
    if config.prefill == "exact" and config.positions == "compact":
        raise ConfigError(
            "positions='compact' moves retrieved tokens but prefill='exact' has none; use prefill 'sparse' or 'window'."
        )
    return rotary


def compact_block_tokens(trained_tokens: int) -> int:
    """Room in the trained length for a block of queries beyond the hot window."""
    return min(SPARSE_BLOCK_TOKENS, max(CODE_BLOCK_TOKENS, trained_tokens // 8))


def _compact_hot_tokens(config: KIVConfig, topology: Topology) -> int:
    """The longest hot window with which sinks, hits, window and a block of queries stay within the trained length."""
    block = compact_block_tokens(topology.trained_tokens)
    room = topology.trained_tokens - config.sink_tokens - config.retrieved_tokens - CODE_BLOCK_TOKENS - block
    if room < CODE_BLOCK_TOKENS:
        raise ConfigError(
            f"sink_tokens + retrieved_tokens is {config.sink_tokens + config.retrieved_tokens}, which leaves no hot "
            f"window within the trained {topology.trained_tokens} tokens; lower retrieved_tokens."
        )
    return room


def _require_plain(layer: Any, model_type: str) -> None:
    if type(layer) is not DynamicLayer:
        raise UnsupportedModelError(f"{model_type}: its {type(layer).__name__} mixes attention with other state.")


def _has_forgotten(layer: Any) -> bool:
    if hasattr(layer, "cumulative_length"):
        return bool(layer.cumulative_length >= layer.sliding_window)
    return any(layer.has_previous_state.values())


def _copy_state(state: dict[str, Any]) -> dict[str, Any]:
    """A layer's attributes with its tensors copied, compactly."""
    return {name: _copy_value(value) for name, value in state.items()}


def _copy_value(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone(memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        return {key: _copy_value(item) for key, item in value.items()}
    return copy.copy(value)


def _tensor_bytes(state: dict[str, Any]) -> int:
    """Bytes of the tensors among a layer's attributes."""
    total = 0
    for value in state.values():
        if isinstance(value, torch.Tensor):
            total += value.numel() * value.element_size()
        elif isinstance(value, dict):
            total += _tensor_bytes(value)
    return total
