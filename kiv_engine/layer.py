"""KIVLayer: one growing layer's tokens, and attention over them.

The first `sink_tokens`, then the cold tokens (in the store, found through the index), then the hot window: a split by
position, as a function of the length alone. Every query attends to sinks, hits and hot window in one exact softmax.

Letters: H KV heads, G query heads per KV head, T queries, R retrieved tokens, D head_dim.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers.cache_utils import CacheLayerMixin

from kiv_engine.attention import AllFilledError, tag
from kiv_engine.blocks import MappedRows
from kiv_engine.config import SEARCH_BLOCK_TOKENS, KIVConfig
from kiv_engine.errors import BatchSizeError, said
from kiv_engine.events import MemoryUse
from kiv_engine.hits import Recording
from kiv_engine.index import CODE_BLOCK_TOKENS, FIT_TOKENS, CodeIndex, SearchEffort, code_bytes
from kiv_engine.policy import Policy
from kiv_engine.prefill import PartialAttention, ScoreRule, SoftmaxPart, attend_at_once, causal_mask, weigh
from kiv_engine.staging import staging
from kiv_engine.store import ColdStore, RowTable, row_bytes
from kiv_engine.topology import GrowingLayer
from kiv_engine.window import HotWindow

SPARSE_CANDIDATES: Final = 4
"""The search for a block is for its mean query, which is vague: it ranks this many times fewer candidates."""

DENSE_SHARE: Final = 0.5
ONE_HEAD_DENSE_SHARE: Final = 0.25
"""Where a KV head would get this share of all cold tokens as candidates, all are ranked instead: keys in a row are read
faster than half of them here and there, and nothing needs to be searched. The keys of a layer's only KV head lie in one
row, and are read twice as fast again."""

RANKED_SCORES: Final = 8_388_608
"""Queries of a short forward are attended to together while their scores of all cold tokens are at most so many."""

PIECE_BYTES: Final = 1_048_576
"""Keys of candidates are fetched and scored in pieces of about so many bytes."""

EXACT_BLOCK_TOKENS: Final = 4_096
"""In exact prefill the cold keys are streamed in pieces of this many."""


def token_bytes(layers: Iterable[GrowingLayer], config: KIVConfig, element_bytes: int, device: str) -> tuple[int, int]:
    """Bytes of one cold token in these layers: its K and V in the store, and its codes in the index."""
    shapes = [(layer.num_kv_heads, layer.head_dim) for layer in layers]
    rows = sum(2 * row_bytes(*shape, element_bytes, int8=config.store_dtype == "int8") for shape in shapes)
    return rows, sum(code_bytes(*shape, config.index_bits_on(device)) for shape in shapes)


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
    """Cold tokens that one query attends to: ids (H, R) in the store, scores (H, G, R), values and keys (H, R, D).

    The keys are as the query meets them; None where it was not for them that the scores are known.
    """

    ids: torch.Tensor
    scores: torch.Tensor
    values: torch.Tensor
    keys: torch.Tensor | None = None


@dataclass(frozen=True)
class Attended:
    """What one query attended to: parts of its softmax, and the factors that make them probabilities."""

    hits: Hits | None
    local: SoftmaxPart
    factor: torch.Tensor
    cold: SoftmaxPart | None = None
    cold_factor: torch.Tensor | None = None

    def cold_parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids (H, R) of the cold tokens, their weights (H, G, R), and the factors (H, G); empty if there are none."""
        if self.hits is None or self.cold is None or self.cold_factor is None:
            empty = torch.empty((0, 0), device=self.factor.device)
            return empty.long(), empty.view(0, 0, 0), empty
        heads, group, _, rows = self.cold.weights.shape
        weights = self.cold.weights.view(heads, group, rows)
        return self.hits.ids, weights, self.cold_factor.view(heads, group)


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

    def mapped_bytes(self) -> MemoryUse:
        """Of them, those that lie in files."""
        if self._store is None:
            return MemoryUse()
        return MemoryUse(cold_keys=self.store.keys.mapped_nbytes, cold_values=self.store.values.mapped_nbytes)

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
        bits = self._policy.config.index_bits_on(keys.device.type)
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
                said(
                    "KIVCache holds one sequence, but the batch has {0}; call it once per sequence.",
                    key_states.shape[0],
                )
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
        """Attend from the newest T tokens, queries (H, G, T, D) -> (H, G, T, D). Raises AllFilledError."""
        self._unattended = False
        if layer_idx == self._policy.last_layer:
            raise AllFilledError
        if self._span is None:
            return self._attend_newest(layer_idx, queries, rule)
        output = self._attend_span(queries, rule)
        if self.geometry.attending == 1:  # with many layers, all their spans together would be large
            self._span = None
        return output

    def _attend_span(self, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """The newest T tokens, T > 1."""
        assert self._span is not None
        count = queries.shape[2]
        first = self._span.end - count
        if self._policy.cold_tokens(self._span.end) <= self._policy.config.retrieved_tokens:
            return self._attend_blocks("exact", first, queries, rule)
        mode = self._policy.prefill_mode(self._span.end)
        if mode == "exact":
            return self._attend_blocks(mode, first, queries, rule)
        searched = 0 if self._policy.reading else min(SEARCH_BLOCK_TOKENS, count)
        parts = [self._attend_blocks(mode, first, queries[:, :, : count - searched], rule)] if searched < count else []
        start = count - searched
        while start < count:
            self._policy.raise_if_stopped()
            run = min(count - start, self._together(first + start, queries))
            block = queries[:, :, start : start + run]
            parts.append(
                self._attend_token(first + start, block, rule)
                if run == 1
                else self._attend_ranking_all(first + start, block, rule)
            )
            start += run
        return torch.cat(parts, 2)

    def _together(self, position: int, queries: torch.Tensor) -> int:
        """How many queries from `position` on are attended to at once: those with the same cold tokens, all ranked."""
        config, limit = self._policy.config, self._policy.cold_tokens(position + 1)
        exactly = self._ranks_all(limit) and self._ranks_finally and self._reads_in_a_row
        if limit <= config.retrieved_tokens or not exactly:
            return 1
        most = RANKED_SCORES // (queries.shape[0] * queries.shape[1] * limit)
        same = next(n for n in range(1, CODE_BLOCK_TOKENS + 1) if self._policy.cold_tokens(position + n + 1) != limit)
        return max(1, min(most, same))

    def _attend_newest(self, layer_idx: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """One query, the newest token; its hot window lies in the ring."""
        assert queries.shape[2] == 1, "a layer attends once in a forward of several tokens"
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

    def _attend_token(self, position: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """One query inside the span, exactly as if it had been decoded on its own."""
        keys, values = self._local(position, position + 1)
        scores = rule.scores(queries, keys)
        return self._attend_searching(queries, rule, scores, values, position + 1)[0]

    def _attend_ranking_all(self, first: int, queries: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """Queries (H, G, T, D) of the span with the same cold tokens, each as if it had been decoded on its own."""
        heads, _, count, _ = queries.shape
        limit = self._policy.cold_tokens(first + 1)
        keys, values = self._local(first, first + count)
        hidden = ~causal_mask(count, keys.shape[1], keys.device)
        local = SoftmaxPart.of(rule.scores(queries, keys).masked_fill_(hidden, -math.inf))
        scores = rule.scores(queries, self._brought(self.store.keys.read(0, limit)))
        part = SoftmaxPart.of(scores)
        share = (part.weights * part.factor(torch.logaddexp(part.lse, rule.total(local.lse)))).sum(1)
        chosen = share.topk(self._policy.config.retrieved_tokens, -1).indices
        cold = SoftmaxPart.of(scores.gather(-1, chosen[:, None].expand(-1, scores.shape[1], -1, -1)))
        fetched = self._fetch(self.store.values, chosen.flatten(1)).view(heads, count, chosen.shape[-1], -1)
        total = rule.total(torch.logaddexp(local.lse, cold.lse))
        far = (cold.weights.transpose(1, 2).to(fetched.dtype) @ fetched).float().transpose(1, 2)
        return weigh(local.weights, values) * local.factor(total) + far * cold.factor(total)

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
        heads, group, _, local_slots = attended.local.weights.shape
        rows, weights, factor = attended.cold_parts()
        return Recording(
            layer=layer_idx,
            position=num_tokens - 1,
            cold_rows=rows,
            cold_weights=weights,
            cold_factor=factor,
            local_weights=attended.local.weights.view(heads * group, local_slots),
            local_factor=attended.factor.view(heads * group),
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
            self._policy.raise_if_stopped()
            block = queries[:, :, offset : offset + size]
            start = first + offset
            keys, values = self._local(start, start + block.shape[2])
            limit = self._policy.cold_tokens(start + 1)
            if mode == "sparse" and limit > 0:
                parts.append(self._attend_sparse(block, rule, (keys, values), start))
            elif mode == "exact" and limit > 0:
                parts.append(self._attend_exact(block, rule, (keys, values), limit))
            else:
                parts.append(attend_at_once(rule, block, keys, values))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    def _attend_exact(
        self, queries: torch.Tensor, rule: ScoreRule, local: tuple[torch.Tensor, torch.Tensor], limit: int
    ) -> torch.Tensor:
        """All cold tokens below `limit`, streamed, and the local ones."""
        mask = causal_mask(queries.shape[2], local[0].shape[1], queries.device)
        partial = PartialAttention.over(rule, queries, *local, mask)
        for keys, values in self.store.blocks(0, limit, EXACT_BLOCK_TOKENS):
            part = PartialAttention.over(rule, queries, self._brought(keys), self._brought(values), None)
            partial = partial.merge(part)
        return partial.finish(rule)

    def _attend_sparse(
        self, queries: torch.Tensor, rule: ScoreRule, local: tuple[torch.Tensor, torch.Tensor], start: int
    ) -> torch.Tensor:
        """The best cold tokens for the block as a whole, and the local ones. The block searches with its mean query."""
        keys, values = local
        lengths = queries.float().norm(dim=-1, keepdim=True).clamp(min=1e-12)
        mean = (queries.float() / lengths).mean(2) * lengths.mean(2)
        floor = mean.new_full(mean.shape[:2], -math.inf)
        hits = self._find(mean.to(queries.dtype), rule, floor, start + 1, vague=True)
        if hits is not None:  # They lie before all others, so that the causal mask lets every query see them.
            far = self._keys_of(hits.ids, start + 1) if hits.keys is None else hits.keys
            keys = torch.cat((far, keys), 1)
            values = torch.cat((hits.values, values), 1)
        return attend_at_once(rule, queries, keys, values)

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
            return self._take_all(limit, queries, rule, num_tokens)
        if self.index.bits == 2 and self.index.ready:
            searched = self._search_query(queries, num_tokens)
            chosen = self.index.strongest(searched, limit, config.retrieved_tokens, rule.in_nats, local_lse)
            return self._take(chosen.sort(-1).values, queries, rule, num_tokens)
        ids, scores, final = self._candidates(queries, rule, limit, num_tokens, vague)
        part = SoftmaxPart.of(scores)
        factor = part.factor(torch.logaddexp(part.lse, local_lse))
        share = (factor.mT @ part.weights)[:, 0]
        best = share.topk(min(config.retrieved_tokens, share.shape[-1]), -1).indices
        chosen = best if ids is None else ids.gather(-1, best).clamp_(min=0)  # padding has no mass
        if not final:
            return self._take(chosen.sort(-1).values, queries, rule, num_tokens)
        kept = scores.gather(-1, best[:, None].expand(-1, scores.shape[1], -1))
        return Hits(chosen, kept, self._fetch(self.store.values, chosen))

    def _ranks_all(self, limit: int) -> bool:
        """Whether so few cold tokens are all ranked by their keys."""
        few = limit < FIT_TOKENS or limit <= self._policy.config.candidate_tokens
        return few and self.index.bits == 1

    @property
    def _ranks_finally(self) -> bool:
        """Whether the scores of the ranking are those of the attention."""
        return self._policy.rotary is None or not self.geometry.rotary

    @property
    def _reads_in_a_row(self) -> bool:
        """Whether all cold keys can be scored where they lie, without a copy of them."""
        return self.device.type == "cpu" and self._policy.config.store_dtype != "int8"

    @property
    def _dense_share(self) -> float:
        if not self._reads_in_a_row:
            return math.inf
        return DENSE_SHARE if self.geometry.num_kv_heads > 1 else ONE_HEAD_DENSE_SHARE

    def _candidates(
        self, queries: torch.Tensor, rule: ScoreRule, limit: int, num_tokens: int, vague: bool
    ) -> tuple[torch.Tensor | None, torch.Tensor, bool]:
        """Ids (H, C) that may be chosen, padded with -1, or None for all; their scores (H, G, C), -inf for padding.

        The third says whether the scores are those of the attention, or only good enough to rank by.
        """
        config = self._policy.config
        searched = self._search_query(queries, num_tokens)
        final = self._ranks_finally
        if self.index.bits == 2:  # without codes yet
            keys = self.index.first_keys[:, :limit]
            return None, rule.scores(searched.float()[:, :, None], keys)[:, :, 0], False
        if self._ranks_all(limit):
            return None, self._score_all(searched, rule, limit), final
        effort = SearchEffort(
            config.retrieved_tokens,
            rule.scaling,
            fewest=min(-(-2 * config.retrieved_tokens // queries.shape[1]), config.candidate_tokens),
            most=max(1, config.candidate_tokens // (SPARSE_CANDIDATES if vague else 1)),
            dense_share=self._dense_share if final else math.inf,
        )
        ids = self.index.search(searched, limit, effort)
        if ids is None:
            return None, self._score_all(searched, rule, limit), final
        return ids, self._score_candidates(searched, rule, ids), final

    def _take(self, ids: torch.Tensor, queries: torch.Tensor, rule: ScoreRule, num_tokens: int) -> Hits:
        """Attend to exactly these cold tokens, ids (H, R) ascending."""
        on_cpu = ids.to("cpu")  # once: each copy waits for all that the device has to do
        keys = self._met_by(num_tokens, self._fetch(self.store.keys, on_cpu), ids)
        scores = rule.scores(queries[:, :, None], keys)[:, :, 0]
        return Hits(ids, scores, self._fetch(self.store.values, on_cpu), keys)

    def _take_all(self, limit: int, queries: torch.Tensor, rule: ScoreRule, num_tokens: int) -> Hits:
        """Attend to every cold token below `limit`. On the CPU their rows are used where they lie in the store."""
        ids = torch.arange(limit, device=self.device).expand(queries.shape[0], -1)
        self._rows_fetched += 2 * ids.numel()
        keys = self._met_by(num_tokens, self._brought(self.store.keys.read(0, limit)), ids)
        scores = rule.scores(queries[:, :, None], keys)[:, :, 0]
        return Hits(ids, scores, self._brought(self.store.values.read(0, limit)), keys)

    def _brought(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of the store on the model's device, which copies them when it comes to it."""
        return rows.to(self.device, non_blocking=True)

    def _fetch(self, table: RowTable, ids: torch.Tensor) -> torch.Tensor:
        """Rows (H, n, D) of cold tokens on the model's device."""
        self._rows_fetched += ids.numel()
        return staging(self.device).fetch(table, ids)

    def _keys_of(self, ids: torch.Tensor, num_tokens: int) -> torch.Tensor:
        """Keys of cold tokens as a query at num_tokens - 1 meets them."""
        return self._met_by(num_tokens, self._fetch(self.store.keys, ids), ids)

    def _met_by(self, num_tokens: int, keys: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Keys (H, n, D) of cold tokens `ids` for a query at num_tokens - 1: in compact mode before the hot window."""
        if not self._policy.is_compact(num_tokens) or not self.geometry.rotary:
            return keys
        assert self._policy.rotary is not None
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
        position = queries.new_full((), num_tokens - 1, dtype=torch.long)  # made there, not brought there
        return self._policy.rotary.move(queries, position, torch.zeros_like(position))

    def _score_all(self, queries: torch.Tensor, rule: ScoreRule, limit: int) -> torch.Tensor:
        """Scores (H, G, limit) against every cold key."""
        keys = self._brought(self.store.keys.read(0, limit))
        return rule.scores(queries[:, :, None], self._position_free(keys, 0).to(keys.dtype))[:, :, 0]

    def _score_candidates(self, queries: torch.Tensor, rule: ScoreRule, ids: torch.Tensor) -> torch.Tensor:
        """Scores (H, G, C) against the keys of candidates; -inf where an id is -1.

        The keys come piece by piece, on the CPU each into the same memory: they are still in the processor's cache when
        they are multiplied, and no step asks the system for new pages.
        """
        table = self.store.keys
        present = ids.clamp(min=0)
        on_cpu = present.to("cpu")  # once: each copy waits for all that the device has to do
        size = max(1, PIECE_BYTES // (ids.shape[0] * table.dim * table.dtype.itemsize))
        parts = []
        for piece, there in zip(on_cpu.split(size, 1), present.split(size, 1), strict=True):
            keys = staging(self.device).glance(table, piece)
            if self._policy.rotary is not None and self.geometry.rotary:
                sources = there + self._policy.config.sink_tokens
                keys = self._policy.rotary.move(keys, sources, torch.zeros_like(sources))
            parts.append(rule.scores(queries[:, :, None], keys)[:, :, 0])
        scores = torch.cat(parts, -1)
        return scores.masked_fill_((ids < 0)[:, None], -math.inf)

    # -- saving --------------------------------------------------------------------------------------------------

    def load(
        self, hot_keys: torch.Tensor, hot_values: torch.Tensor, cold_tokens: int, maps: dict[str, torch.Tensor]
    ) -> None:
        """Begin with saved tokens: sinks and hot window (H, n, D) on the device, and the index's maps.

        The rows of `cold_tokens` and their codes are brought to `store` and `index` by the caller.
        """
        with torch.inference_mode(False):
            self.lazy_initialization(hot_keys[None, :, :0], hot_values[None, :, :0])
            taken = self.hot.fill_sinks(hot_keys, hot_values)
            self.hot.append(hot_keys[:, taken:], hot_values[:, taken:])
            self.index.load(cold_tokens, maps)

    @property
    def saved_files(self) -> tuple[MappedRows, ...]:
        """The files that rows are mapped from."""
        return () if self._store is None else (*self._store.keys.saved_files, *self._store.values.saved_files)

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
        self._truncate_index(cold)
        self._span = None  # what needs memory is done: from here on nothing can fail half way
        hot.restart(min(num_tokens, policy.config.sink_tokens))
        hot.append(keys, values)
        self.store.truncate(cold)

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
            raise BatchSizeError(said("KIVCache holds one sequence; beam search needs a batch."))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """One sequence cannot be repeated."""
        if repeats != 1:
            raise BatchSizeError(said("KIVCache holds one sequence; it cannot be repeated along the batch."))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """One sequence leaves nothing to select."""
        if indices.numel() != 1:
            raise BatchSizeError(said("KIVCache holds one sequence; there is no batch to select from."))
