"""The index: compact codes of the cold keys, searched with every query.

Each key is centred, rotated and reduced to the signs of its coordinates plus one length factor (RaBitQ,
arXiv:2405.12497). Before the random rotation the keys are scaled by the fourth root of their inverse covariance, which
balances the code's error between strong and weak directions. A query is scored against the codes without being
quantised itself; the best tokens become candidates, which are then ranked exactly (see `cache.py`).

Letters: H KV heads, G query heads per KV head, D head_dim, N cold tokens, C candidates.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F

from kiv_engine.memory import TAKES_MEMORY_LAZILY, ReusedMemory, allocate
from kiv_engine.scan_kernel import ScanJob, ScanKernel, lookup_tables, scan_heads, scan_kernel

CODE_BLOCK_TOKENS: Final = 32
"""Tokens per code block; cold tokens come in whole blocks."""

FIT_TOKENS: Final = 4_096
"""The first so many cold keys fix centre and scaling, once; until then every cold token is a candidate."""

ENCODED_TOKENS: Final = 65_536
"""Tokens encoded at once."""

TILE_BYTES: Final = 32 << 20
"""Where no kernel scans, codes are unpacked in tiles whose levels take at most so much."""

KEPT_SCORE_BYTES: Final = 64 << 20
"""Ranking by codes goes over the scores twice; those of the first tiles are kept, up to so much, others made again."""

LEAST_JOB_TOKENS: Final = 65_536
"""A head's tokens are not split among threads into pieces smaller than this."""

FIRST_CAPACITY_TOKENS: Final = 65_536
"""Room for so many tokens is made first."""

LAZY_GROWTH: Final = 8
"""By this factor the room grows where RAM is only taken as it is written."""

MAX_PASSES: Final = 4
"""Scans of one search at most; more than one only where scores are far from normal."""

NORMAL: Final = NormalDist()

# Lloyd-Max levels of a 2-bit quantiser for a normal variable, and the border between them.
INNER_LEVEL: Final = 0.4528
OUTER_LEVEL: Final = 1.5104
BORDER: Final = 0.9816
SINGLE_LEVEL: Final = 0.7979
"""The level of a 1-bit quantiser on the same scale."""


@lru_cache(maxsize=8)
def random_rotation(dim: int) -> torch.Tensor:
    """A fixed orthonormal matrix (dim, dim), the same on every machine of one torch version."""
    generator = torch.Generator().manual_seed(dim)
    rotation: torch.Tensor = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))[0]
    return rotation.float()


@dataclass(frozen=True)
class CodeSpace:
    """The linear map from keys to code coordinates, per head.

    Attributes:
        centre: (H, D) mean of the first keys.
        key_map: (H, D, C): coordinates = (key - centre) @ key_map; C is `coded_dims`.
        query_map: (H, D, C): so that (query @ query_map) . coordinates = query . (key - centre).
        factor_step: (H, 1) length factor that one unit of the stored byte stands for.
        deviation_map: (H, D, C): query @ deviation_map is as long as the standard deviation of the query's code scores
            over the first keys.
    """

    centre: torch.Tensor
    key_map: torch.Tensor
    query_map: torch.Tensor
    factor_step: torch.Tensor
    deviation_map: torch.Tensor

    @cached_property
    def factor_steps(self) -> list[float]:
        """`factor_step` as numbers."""
        return self.factor_step.flatten().tolist()

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def fit(cls, keys: torch.Tensor) -> "CodeSpace":
        """From the first keys (H, n, D), float32."""
        dim = keys.shape[-1]
        centre = keys.mean(1)
        centred = keys - centre[:, None]
        covariance = (centred.mT @ centred).double() / keys.shape[1]
        values, vectors = torch.linalg.eigh(covariance)
        floor = values.amax(-1, keepdim=True).clamp(min=1e-30) * 1e-4
        scale = values.clamp(min=floor).pow(-0.25)
        rotation = random_rotation(coded_dims(dim))[:dim].to(keys.device)
        key_map = ((vectors * scale[:, None]) @ vectors.mT).float() @ rotation
        query_map = ((vectors / scale[:, None]) @ vectors.mT).float() @ rotation
        coordinates = centred @ key_map
        factors = length_factor(coordinates)
        decoded = (coordinates.sign() * factors[..., None]).contiguous()
        decoded -= decoded.mean(1, keepdim=True)
        spread = (decoded.mT @ decoded).double() / keys.shape[1]
        values, vectors = torch.linalg.eigh(spread)
        root = (vectors * values.clamp(min=0).sqrt()[:, None]).float()
        factor_step = factors.mean(1, keepdim=True).clamp(min=1e-30) / 80.0
        return cls(centre, key_map, query_map, factor_step, query_map @ root)


def coded_dims(head_dim: int) -> int:
    """Dimensions of the codes: those of the keys, in whole bytes."""
    return -(-head_dim // 8) * 8


def outer_dims(head_dim: int) -> int:
    """Dimensions with a second bit, in whole bytes: few enough that codes, factors and maps stay below 1/8 of the keys
    in bf16.
    """
    return max(8, (head_dim - max(16, head_dim // 8)) // 8 * 8)


def code_bytes(num_heads: int, head_dim: int, bits: int) -> int:
    """Bytes of the codes of one token: signs, second bits where there are any, and a length factor, for each head."""
    return num_heads * (coded_dims(head_dim) // 8 + (outer_dims(head_dim) // 8 if bits == 2 else 0) + 1)


def map_bytes(num_heads: int, head_dim: int) -> int:
    """Bytes of a CodeSpace."""
    return 4 * num_heads * (head_dim + 3 * head_dim * coded_dims(head_dim) + 1)


def length_factor(coordinates: torch.Tensor) -> torch.Tensor:
    """Scale (...,) that makes sign codes unbiased along the key itself: |x|^2 / |x|_1."""
    return coordinates.square().sum(-1) / coordinates.abs().sum(-1).clamp(min=1e-30)


def pack_bits(bits: torch.Tensor) -> torch.Tensor:
    """Bits (H, n, D) -> bytes (H, n / 32, D / 8, 32); bit i of byte j is dimension 8 j + i of one token."""
    heads, count, dim = bits.shape
    weights = 1 << torch.arange(8, device=bits.device, dtype=torch.uint8)
    octets = bits.view(heads, count, dim // 8, 8).to(torch.uint8) * weights
    return octets.sum(-1, dtype=torch.uint8).view(heads, -1, CODE_BLOCK_TOKENS, dim // 8).mT.contiguous()


def level_dtype(device: torch.device) -> torch.dtype:
    """Of unpacked levels. GPUs multiply 16 bit fastest; with levels in units of the inner one, and queries in units of
    their largest coordinate, it rounds far less than the codes did.
    """
    return torch.float16 if device.type == "cuda" else torch.float32


@lru_cache(maxsize=4)
def level_table(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Levels (65536, 8) of eight coordinates, in units of the inner one. Of a row's number the low byte are the sign
    bits, the high byte the second bits.
    """
    with torch.inference_mode(False):
        rows = torch.arange(65_536, device=device)[:, None]
        places = torch.arange(8, device=device)
        signs, outer = rows >> places & 1, rows >> 8 >> places & 1
        return ((2 * signs - 1) * torch.where(outer.bool(), OUTER_LEVEL / INNER_LEVEL, 1.0)).to(dtype)


def tile_tokens(num_heads: int, head_dim: int, dtype: torch.dtype) -> int:
    """Tokens of one tile, in whole blocks."""
    levels = num_heads * coded_dims(head_dim) * dtype.itemsize * CODE_BLOCK_TOKENS
    return max(1, TILE_BYTES // levels) * CODE_BLOCK_TOKENS


def ranking_bytes(num_query_heads: int, num_heads: int, head_dim: int, device: torch.device) -> int:
    """The most that `CodeIndex.strongest` takes for a moment, however long the context."""
    dtype = level_dtype(device)
    tile = tile_tokens(num_heads, head_dim, dtype)
    levels = tile * num_heads * coded_dims(head_dim) * dtype.itemsize
    octets = tile * num_heads * coded_dims(head_dim) // 8 * 4
    return KEPT_SCORE_BYTES + max(levels + octets, levels + tile * num_query_heads * (4 + dtype.itemsize))


@dataclass(frozen=True)
class CodePlanes:
    """Memory for codes: (H, blocks, D / 8, 32) each plane, factors (H, blocks, 32)."""

    signs: torch.Tensor
    outer: torch.Tensor | None
    factors: torch.Tensor

    @property
    def named(self) -> dict[str, torch.Tensor]:
        planes = {"signs": self.signs, "factors": self.factors, "outer": self.outer}
        return {name: plane for name, plane in planes.items() if plane is not None}

    @property
    def all(self) -> tuple[torch.Tensor, ...]:
        return tuple(self.named.values())

    @cached_property
    def by_head(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Signs and factors of each head. Taken apart once, for indexing tensors one by one takes long."""
        return list(zip(self.signs.unbind(), self.factors.unbind(), strict=True))

    @property
    def capacity(self) -> int:
        """In tokens."""
        return self.signs.shape[1] * CODE_BLOCK_TOKENS


class _ScanMemory(threading.local):
    """What a thread's scans write into; what they return is a copy."""

    def __init__(self) -> None:
        self.ids, self.bitmaps = ReusedMemory(), ReusedMemory()


_SCAN_MEMORY: Final = _ScanMemory()


class CodeIndex:
    """Codes of the cold keys of one layer; append, search, truncate.

    Attributes:
        num_tokens: cold tokens that have been appended.
        bits: code bits per dimension, 1 or 2.
    """

    def __init__(self, num_heads: int, head_dim: int, bits: int, device: torch.device) -> None:
        self.num_tokens = 0
        self.bits = bits
        self._num_heads = num_heads
        self._head_dim, self._coded_dims = head_dim, coded_dims(head_dim)
        self._device = device
        self._space: CodeSpace | None = None
        self._planes: CodePlanes | None = None
        self._first_keys: list[torch.Tensor] = []

    @property
    def nbytes(self) -> int:
        """Bytes of the codes in use and the maps."""
        if self._space is None:
            return sum(keys.nbytes for keys in self._first_keys)
        shape = self._num_heads, self._head_dim
        return self.num_tokens * code_bytes(*shape, self.bits) + map_bytes(*shape)

    @property
    def first_keys(self) -> torch.Tensor:
        """The keys (H, n, D) that wait for the codes to begin, as they were appended."""
        return torch.cat(self._first_keys, 1)

    @property
    def ready(self) -> bool:
        """Whether there are codes to search; before that every cold token is a candidate."""
        return self._space is not None

    def reserve(self, num_tokens: int) -> None:
        """Make room for `num_tokens` tokens in all. The codes stay in one piece, so that a scan is one job per head."""
        old = self._planes
        capacity = 0 if old is None else old.capacity
        if num_tokens <= capacity:
            return
        grown = max(num_tokens, capacity + min(capacity, 1 << 20), FIRST_CAPACITY_TOKENS)
        if TAKES_MEMORY_LAZILY and self._device.type == "cpu":
            try:
                self._planes = self._new_planes(max(grown, capacity * LAZY_GROWTH))
            except (RuntimeError, OSError):  # a system that counts what is only reserved
                self._planes = self._new_planes(grown)
        else:
            self._planes = self._new_planes(grown)
        if old is not None:
            used = slice(0, self.num_tokens // CODE_BLOCK_TOKENS)
            for plane, before in zip(self._planes.all, old.all, strict=True):
                plane[:, used] = before[:, used]

    def _new_planes(self, num_tokens: int) -> CodePlanes:
        blocks = -(-num_tokens // CODE_BLOCK_TOKENS)
        signs = self._allocate((self._num_heads, blocks, self._coded_dims // 8, CODE_BLOCK_TOKENS))
        outer = (self._num_heads, blocks, outer_dims(self._head_dim) // 8, CODE_BLOCK_TOKENS)
        factors = self._allocate((self._num_heads, blocks, CODE_BLOCK_TOKENS))
        return CodePlanes(signs, self._allocate(outer) if self.bits == 2 else None, factors)

    def _allocate(self, shape: tuple[int, ...]) -> torch.Tensor:
        if self._device.type == "cpu":
            return allocate(shape, torch.uint8)
        with torch.inference_mode(False):
            return torch.empty(shape, dtype=torch.uint8, device=self._device)

    def append(self, keys: torch.Tensor) -> None:
        """Add keys (H, n, D), n a multiple of 32."""
        keys = keys.to(self._device, torch.float32)
        if self._space is not None:
            self._encode(keys)
            return
        self._first_keys.append(keys)
        self.num_tokens += keys.shape[1]
        if self.num_tokens >= FIT_TOKENS:
            keys = torch.cat(self._first_keys, 1)
            self._space = CodeSpace.fit(keys[:, :FIT_TOKENS])
            self._first_keys, self.num_tokens = [], 0  # only now, for memory may have run out
            self._encode(keys)

    def _encode(self, keys: torch.Tensor) -> None:
        for first in range(0, keys.shape[1], ENCODED_TOKENS):
            self._encode_chunk(keys[:, first : first + ENCODED_TOKENS])

    def _encode_chunk(self, keys: torch.Tensor) -> None:
        assert self._space is not None
        space, start = self._space, self.num_tokens
        coordinates = (keys - space.centre[:, None]) @ space.key_map
        signs = coordinates >= 0
        outer = self._outer_bits(coordinates)
        factors = (self._factor(coordinates, signs, outer) / space.factor_step).round_().clamp_(1, 255).to(torch.uint8)
        self.reserve(start + keys.shape[1])
        assert self._planes is not None
        blocks = slice(start // CODE_BLOCK_TOKENS, (start + keys.shape[1]) // CODE_BLOCK_TOKENS)
        self._planes.signs[:, blocks] = pack_bits(signs)
        if self._planes.outer is not None and outer is not None:
            self._planes.outer[:, blocks] = pack_bits(outer)
        self._planes.factors[:, blocks] = factors.view(self._num_heads, -1, CODE_BLOCK_TOKENS)
        self.num_tokens += keys.shape[1]

    def _outer_bits(self, coordinates: torch.Tensor) -> torch.Tensor | None:
        if self.bits == 1:
            return None
        deviation = coordinates.square().mean(-1, keepdim=True).sqrt()
        return (coordinates.abs() > BORDER * deviation)[..., : outer_dims(self._head_dim)]

    @staticmethod
    def _levels(signs: torch.Tensor, outer: torch.Tensor | None) -> torch.Tensor:
        """Code levels (H, n, D): +-1, or +-the Lloyd-Max levels where there is a second bit."""
        levels = signs.float() * 2 - 1
        if outer is not None:
            levels[..., : outer.shape[-1]] *= torch.where(outer, OUTER_LEVEL, INNER_LEVEL)
            levels[..., outer.shape[-1] :] *= SINGLE_LEVEL
        return levels

    def _factor(self, coordinates: torch.Tensor, signs: torch.Tensor, outer: torch.Tensor | None) -> torch.Tensor:
        along = (coordinates * self._levels(signs, outer)).sum(-1).clamp(min=1e-30)
        return coordinates.square().sum(-1) / along

    # -- saving ------------------------------------------------------------------------------------------------------

    def maps(self) -> dict[str, torch.Tensor]:
        """What the codes are made with; or, before there are codes, the keys that wait."""
        if self._space is not None:
            return self._space.tensors
        return {"first_keys": self.first_keys} if self._first_keys else {}

    def codes(self, start: int, end: int) -> dict[str, torch.Tensor]:
        """Codes of tokens start..end, both multiples of 32, by plane and head: "signs.0" and so on."""
        blocks = slice(start // CODE_BLOCK_TOKENS, end // CODE_BLOCK_TOKENS)
        named = {} if self._planes is None else self._planes.named
        return {f"{name}.{head}": plane[head, blocks] for name, plane in named.items() for head in range(len(plane))}

    def load(self, num_tokens: int, maps: dict[str, torch.Tensor]) -> None:
        """Begin with what `maps` gave of an index of `num_tokens`; the codes are then written into `codes`."""
        assert self.num_tokens == 0
        if "first_keys" in maps:
            self._first_keys = [maps["first_keys"].to(self._device)]
        elif maps:
            self._space = CodeSpace(**{name: part.to(self._device) for name, part in maps.items()})
            self.reserve(num_tokens)
        self.num_tokens = num_tokens

    def truncate(self, num_tokens: int) -> None:
        """Forget the tokens from `num_tokens` (a multiple of 32) on. Needs no memory: it may be that this ran out."""
        if num_tokens >= self.num_tokens:
            return
        assert self._space is None or num_tokens >= FIT_TOKENS, "a shorter index is built anew from the keys"
        self.num_tokens = num_tokens
        first_keys, self._first_keys = self._first_keys, []
        for keys in first_keys:
            if num_tokens > 0:
                self._first_keys.append(keys[:, :num_tokens])
            num_tokens -= keys.shape[1]

    def search(self, query: torch.Tensor, limit: int, effort: "SearchEffort") -> torch.Tensor | None:
        """The tokens below `limit` that score best by the codes, for each KV head; None where they would be too many.

        query: (H, G, D) -> ids (H, C) int64, ascending, with -1 in unused places.
        """
        assert self._space is not None
        # A copy is aligned in memory, and only aligned factors give a product that is the same to the last bit each
        # time; the scan's tables round it, so that the last bit can decide about a candidate.
        aligned = query.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        rotated = aligned @ self._space.query_map
        scans = self.bits == 1 and query.device.type == "cpu"
        kernel = scan_kernel(self._coded_dims // 8, query.shape[1]) if scans else None
        if kernel is not None:
            return self._scan(kernel, rotated, aligned @ self._space.deviation_map, limit, effort)
        if effort.is_dense(query.shape[1] * effort.most, limit):
            return None
        best = self.scores_of(query, limit).topk(min(effort.most, limit), -1, sorted=False).indices
        return mask_repeats(best.flatten(1))

    def _scan(
        self, kernel: ScanKernel, rotated: torch.Tensor, spread: torch.Tensor, limit: int, effort: "SearchEffort"
    ) -> torch.Tensor | None:
        """Candidates by one pass of the scan kernel over everything that exceeds a threshold.

        The threshold takes the scores for normally distributed. Where far too much or too little exceeds it, they are
        not, and it moves. It depends on nothing but the query and the tokens below `limit`.

        rotated, spread: (H, G, D) queries times `query_map` and `deviation_map`.
        """
        assert self._space is not None
        lut, bias, scale = lookup_tables(rotated, kernel.shuffle.bits)
        # Plain numbers from here on: of a few query heads they take less time than arrays.
        group = rotated.shape[1]
        steps = [step * (1 << kernel.shape.value_shift) for step in self._space.factor_steps for _ in range(group)]
        units = [one / step for one, step in zip(scale.flatten().tolist(), steps, strict=True)]
        deviation = torch.linalg.vector_norm(spread, dim=-1).flatten().tolist()
        counts = effort.counts(deviation, limit)
        wanted = max(sum(counts[first : first + group]) for first in range(0, len(counts), group))
        if effort.is_dense(wanted, limit):
            return None
        most, fewest = int(4 * wanted) + 64, min(limit, max(effort.retrieved, int(wanted) // 2))
        for _ in range(MAX_PASSES):
            scores = [normal_quantile(count / limit) * one for count, one in zip(counts, deviation, strict=True)]
            limits = [in_words(score * unit) for score, unit in zip(scores, units, strict=True)]
            query = lut, bias, torch.tensor(limits, dtype=torch.int16).view(bias.shape)
            ids, found = self._scan_once(kernel, query, limit, most)
            if max(found) > most:
                counts = [count / 3 for count in counts]
            elif min(found) < fewest:
                counts = [min(count * 2, limit) for count in counts]
            else:
                break
        return ids if min(found) else any_where_none(ids, found, min(effort.retrieved, limit))

    def _scan_once(
        self, kernel: ScanKernel, query: tuple[torch.Tensor, ...], limit: int, capacity: int
    ) -> tuple[torch.Tensor, list[int]]:
        """Ids (H, C) int64 that exceed the limits, -1 in unused places, and how many each head has.

        A head with more than `capacity` is incomplete. query: lut, bias and limits, (H, G, ...) each.
        """
        assert self._planes is not None
        even = -(-limit * self._num_heads // torch.get_num_threads())
        size = -(-max(LEAST_JOB_TOKENS, min(even, limit)) // CODE_BLOCK_TOKENS) * CODE_BLOCK_TOKENS
        starts = range(0, limit, size)
        num_jobs = self._num_heads * len(starts)
        ids = _SCAN_MEMORY.ids.lend((num_jobs, min(size, capacity + 1)), torch.int32)
        bitmaps = _SCAN_MEMORY.bitmaps.lend((num_jobs, size // CODE_BLOCK_TOKENS), torch.int32)
        # Unbound at once, for indexing tensors one by one takes longer.
        buffers = zip(ids.unbind(), bitmaps.unbind(), strict=True)
        tables = zip(*(tensor.unbind() for tensor in query), strict=True)
        jobs = []
        for (signs, factors), (lut, bias, limits) in zip(self._planes.by_head, tables, strict=True):
            for first in starts:
                blocks = slice(first // CODE_BLOCK_TOKENS, None)
                places = (signs[blocks], factors[blocks]) if first else (signs, factors)
                jobs.append(
                    ScanJob(kernel, *places, lut, bias, limits, min(size, limit - first), *next(buffers), first)
                )
        counts = scan_heads(jobs)
        longest = min(max(counts), ids.shape[1])
        kept = ids[:, :longest].long()
        for row, count in zip(kept.unbind(), counts, strict=True):
            row[count:] = -1
        return kept.view(self._num_heads, -1), [
            sum(counts[first : first + len(starts)]) for first in range(0, num_jobs, len(starts))
        ]

    def scores_of(self, queries: torch.Tensor, limit: int) -> torch.Tensor:
        """Approximate query . key, (H, G, limit) float32, for queries (H, G, D)."""
        asked = self._asked(queries)
        scores = torch.empty((*queries.shape[:2], limit), device=self._device)
        for tile in self._tiles(limit):
            scores[..., tile] = self._score_tile(asked, tile)
        return scores

    def strongest(
        self,
        queries: torch.Tensor,
        limit: int,
        count: int,
        in_nats: Callable[[torch.Tensor], torch.Tensor],
        local_lse: torch.Tensor,
    ) -> torch.Tensor:
        """Ids (H, count) of the tokens below `limit` with the largest shares of the softmax, by the codes alone.

        What it takes does not grow with `limit`.

        in_nats: makes query . key a score of the model's softmax; may write into what it is given.
        local_lse: (H, G) log-sum-exp of what is attended beside these tokens.
        """
        asked, tiles = self._asked(queries), self._tiles(limit)
        num_kept = KEPT_SCORE_BYTES // (4 * queries.shape[0] * queries.shape[1] * (tiles[0].stop - tiles[0].start))
        kept: list[torch.Tensor] = []
        lse = local_lse.float()
        for tile in tiles:
            scores = in_nats(self._score_tile(asked, tile))
            lse = torch.logaddexp(lse, scores.logsumexp(-1))
            if len(kept) < num_kept:
                kept.append(scores)
        best = _Best(count)
        for place, tile in enumerate(tiles):
            scores = kept[place] if place < num_kept else in_nats(self._score_tile(asked, tile))
            best.add(scores.sub_(lse[..., None]).exp_().sum(1), tile.start)
        return best.ids

    def _tiles(self, limit: int) -> list[slice]:
        size = tile_tokens(self._num_heads, self._head_dim, level_dtype(self._device))
        return [slice(first, min(first + size, limit)) for first in range(0, limit, size)]

    def _asked(self, queries: torch.Tensor) -> "_Asked":
        """Queries (H, G, D) as tiles are multiplied with them."""
        assert self._space is not None
        queries = queries.float()
        rotated = queries @ self._space.query_map
        if self.bits == 2:  # the levels come in units of the inner one
            rotated[..., : outer_dims(self._head_dim)] *= INNER_LEVEL
            rotated[..., outer_dims(self._head_dim) :] *= SINGLE_LEVEL
        unit = rotated.abs().amax(-1, keepdim=True).clamp_(min=1e-30)
        offset = (queries * self._space.centre[:, None]).sum(-1, keepdim=True)
        return _Asked((rotated / unit).to(level_dtype(self._device)), unit, offset)

    def _score_tile(self, asked: "_Asked", tile: slice) -> torch.Tensor:
        """Approximate query . key, (H, G, n) float32, of the tokens of a tile."""
        assert self._space is not None
        assert self._planes is not None
        blocks = slice(tile.start // CODE_BLOCK_TOKENS, tile.stop // CODE_BLOCK_TOKENS)
        scores = (asked.coordinates @ self._levels_of(blocks).mT).float()
        factors = self._planes.factors[:, blocks].flatten(1) * self._space.factor_step
        return scores.mul_(asked.unit).mul_(factors[:, None]).add_(asked.offset)

    def _levels_of(self, blocks: slice) -> torch.Tensor:
        """Levels (H, n, C) of the tokens of some blocks, in units of the inner one."""
        assert self._planes is not None
        rows = self._planes.signs[:, blocks].mT.to(torch.int32, memory_format=torch.contiguous_format)
        if self._planes.outer is not None:
            outer = self._planes.outer[:, blocks].mT
            rows[..., : outer.shape[-1]].add_(outer, alpha=256)
        levels = F.embedding(rows, level_table(level_dtype(self._device), self._device))
        return levels.view(self._num_heads, -1, self._coded_dims)


class _Asked(NamedTuple):
    """Queries in code coordinates (H, G, C), in units (H, G, 1) that keep them in range, and offsets (H, G, 1)."""

    coordinates: torch.Tensor
    unit: torch.Tensor
    offset: torch.Tensor


class _Best:
    """The `count` largest shares of each KV head, tile by tile."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._shares: torch.Tensor | None = None
        self.ids = torch.empty(0, dtype=torch.long)

    def add(self, shares: torch.Tensor, first: int) -> None:
        """Of the tokens from `first` on, (H, n)."""
        found = shares.topk(min(self._count, shares.shape[-1]), -1)
        if self._shares is None:
            self._shares, self.ids = found.values, found.indices + first
            return
        both, ids = torch.cat((self._shares, found.values), -1), torch.cat((self.ids, found.indices + first), -1)
        best = both.topk(min(self._count, both.shape[-1]), -1)
        self._shares, self.ids = best.values, ids.gather(-1, best.indices)


def mask_repeats(ids: torch.Tensor) -> torch.Tensor:
    """Ids (H, n) in ascending order, each once; the places of repeats hold -1."""
    ordered = ids.sort(-1).values
    repeats = ordered[:, 1:] == ordered[:, :-1]
    ordered[:, 1:][repeats] = -1
    return ordered


class SearchEffort(NamedTuple):
    """How many candidates a query head gets.

    A head whose scores are spread wide puts most of its mass on few tokens, which the codes must not miss: it gets
    `most`. In a head with flat scores the best tokens hold little mass, whichever they are: it gets `fewest`.

    Attributes:
        retrieved: tokens that are finally kept.
        scaling: nats per unit of score.
        fewest, most: candidates per query head.
        dense_share: from this share of all tokens on there is no search: to rank all of them is quicker, and exact.
    """

    retrieved: int
    scaling: float
    fewest: int
    most: int
    dense_share: float = math.inf

    def is_dense(self, candidates: float, limit: int) -> bool:
        """Whether so many candidates of a KV head are too many of the `limit` tokens."""
        return candidates >= self.dense_share * limit

    def counts(self, deviation: list[float], limit: int) -> list[float]:
        """Candidates of query heads whose code scores have these standard deviations.

        If scores were normal with a deviation of s nats, the best share f of the tokens would hold the mass
        Phi(s - z(f)), z being the normal quantile.
        """
        best = normal_quantile(self.retrieved / limit)
        masses = [NORMAL.cdf(one * abs(self.scaling) - best) for one in deviation]
        return [min(limit, self.fewest + mass * (self.most - self.fewest)) for mass in masses]


def any_where_none(ids: torch.Tensor, found: list[int], count: int) -> torch.Tensor:
    """Ids (H, C) with the first `count` tokens for heads without any: to a query of zeros all tokens are equal."""
    wide = torch.nn.functional.pad(ids, (0, max(0, count - ids.shape[1])), value=-1)
    for row, some in zip(wide.unbind(), found, strict=True):
        if not some:
            row[:count] = torch.arange(count)
    return wide


def normal_quantile(share: float) -> float:
    """The normal quantile with this share above it, or half of all."""
    return NORMAL.inv_cdf(1 - min(0.5, share))


def in_words(score: float) -> int:
    """The kernel's threshold for a score in its units."""
    return math.floor(max(-32_768, min(32_767, score)))
