"""The index: compact codes of the cold keys, searched with every query.

Each key is centred, rotated and reduced to the signs of its coordinates plus one length factor (RaBitQ,
arXiv:2405.12497). Before the random rotation the keys are scaled by the fourth root of their inverse covariance, which
balances the code's error between strong and weak directions. A query is scored against the codes without being
quantised itself; the best tokens become candidates, which are then ranked exactly (see `cache.py`).

Letters: H KV heads, G query heads per KV head, D head_dim, N cold tokens, C candidates.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch
import torch.nn.functional as F

from kiv_engine.scan_kernel import ScanJob, ScanKernel, scan_heads, scan_kernel

CODE_BLOCK_TOKENS: Final = 32
"""Tokens per code block; cold tokens come in whole blocks."""

FIT_TOKENS: Final = 4_096
"""The first so many cold keys fix centre and scaling, once; until then every cold token is a candidate."""

SAMPLE_TOKENS: Final = 4_096
"""At most so many decoded keys are kept to estimate the score that the best tokens exceed."""

SCAN_CHUNK_TOKENS: Final = 65_536
"""Tokens scored or encoded at once where that takes memory."""

JOB_TOKENS: Final = 262_144
"""Tokens of one head that one thread scans before it looks for other work."""

MAX_PASSES: Final = 4
"""Scans of one search at most; more than one only where the sample misled."""

GROUP_RANGE: Final = 247
"""Of the 255 that a group of 16 table rows may reach, what is left after rounding each."""

# Lloyd-Max levels of a 2-bit quantiser for a normal variable, and the border between them.
INNER_LEVEL: Final = 0.4528
OUTER_LEVEL: Final = 1.5104
BORDER: Final = 0.9816


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
        key_map: (H, D, D): coordinates = (key - centre) @ key_map.
        query_map: (H, D, D): so that (query @ query_map) . coordinates = query . (key - centre).
        factor_step: (H, 1) length factor that one unit of the stored byte stands for.
    """

    centre: torch.Tensor
    key_map: torch.Tensor
    query_map: torch.Tensor
    factor_step: torch.Tensor

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
        rotation = random_rotation(dim).to(keys.device)
        key_map = ((vectors * scale[:, None]) @ vectors.mT).float() @ rotation
        query_map = ((vectors / scale[:, None]) @ vectors.mT).float() @ rotation
        factors = length_factor(centred @ key_map)
        return cls(centre, key_map, query_map, factors.mean(1, keepdim=True).clamp(min=1e-30) / 80.0)


def length_factor(coordinates: torch.Tensor) -> torch.Tensor:
    """Scale (...,) that makes sign codes unbiased along the key itself: |x|^2 / |x|_1."""
    return coordinates.square().sum(-1) / coordinates.abs().sum(-1).clamp(min=1e-30)


def pack_bits(bits: torch.Tensor) -> torch.Tensor:
    """Bits (H, n, D) -> bytes (H, n / 32, D / 8, 32); bit i of byte j is dimension 8 j + i of one token."""
    heads, count, dim = bits.shape
    weights = 1 << torch.arange(8, device=bits.device, dtype=torch.uint8)
    octets = bits.view(heads, count, dim // 8, 8).to(torch.uint8) * weights
    return octets.sum(-1, dtype=torch.uint8).view(heads, -1, CODE_BLOCK_TOKENS, dim // 8).mT.contiguous()


def unpack_bits(codes: torch.Tensor) -> torch.Tensor:
    """The inverse of pack_bits, as bool (H, n, D)."""
    heads, blocks, octets, size = codes.shape
    shifts = torch.arange(8, device=codes.device, dtype=torch.uint8)
    bits = (codes.mT[..., None] >> shifts) & 1
    return bits.reshape(heads, blocks * size, octets * 8).bool()


@dataclass
class CodeSegment:
    """Preallocated codes of a run of tokens: (H, blocks, D / 8, 32) each plane, factors (H, blocks, 32)."""

    start: int
    signs: torch.Tensor
    outer: torch.Tensor | None
    factors: torch.Tensor

    @property
    def end(self) -> int:
        return self.start + self.signs.shape[1] * CODE_BLOCK_TOKENS

    @property
    def block_bytes(self) -> int:
        """Bytes of one block of 32 tokens over all heads."""
        planes = (self.signs, self.factors) if self.outer is None else (self.signs, self.outer, self.factors)
        return sum(plane[:, 0].numel() for plane in planes)


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
        self._head_dim = head_dim
        self._device = device
        self._space: CodeSpace | None = None
        self._segments: list[CodeSegment] = []
        self._first_keys: list[torch.Tensor] = []
        self._sample = KeySample(num_heads, head_dim, device)

    @property
    def nbytes(self) -> int:
        """Bytes of the codes in use, the sample and the maps."""
        blocks = self.num_tokens // CODE_BLOCK_TOKENS
        codes = blocks * self._segments[0].block_bytes if self._segments else 0
        maps = 0 if self._space is None else 4 * (self._space.key_map.numel() * 2 + self._space.centre.numel())
        first = sum(keys.numel() * keys.element_size() for keys in self._first_keys)
        return codes + maps + first + self._sample.nbytes

    @property
    def ready(self) -> bool:
        """Whether there are codes to search; before that every cold token is a candidate."""
        return self._space is not None

    def reserve(self, num_tokens: int) -> None:
        """Make room for `num_tokens` tokens in all."""
        capacity = self._segments[-1].end if self._segments else 0
        if num_tokens <= capacity:
            return
        size = max(num_tokens - capacity, min(max(capacity, 1 << 16), 1 << 20))
        shape = (self._num_heads, -(-size // CODE_BLOCK_TOKENS), self._head_dim // 8, CODE_BLOCK_TOKENS)
        with torch.inference_mode(False):  # segments outlive the call that needed them
            planes = [torch.empty(shape, dtype=torch.uint8, device=self._device) for _ in range(self.bits)]
            factors = torch.empty((*shape[:2], CODE_BLOCK_TOKENS), dtype=torch.uint8, device=self._device)
        self._segments.append(CodeSegment(capacity, planes[0], planes[1] if self.bits == 2 else None, factors))

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
            self._first_keys = []
            self._space = CodeSpace.fit(keys[:, :FIT_TOKENS])
            self.num_tokens = 0
            self._encode(keys)

    def _encode(self, keys: torch.Tensor) -> None:
        for first in range(0, keys.shape[1], SCAN_CHUNK_TOKENS):
            self._encode_chunk(keys[:, first : first + SCAN_CHUNK_TOKENS])

    def _encode_chunk(self, keys: torch.Tensor) -> None:
        assert self._space is not None
        space, start = self._space, self.num_tokens
        coordinates = (keys - space.centre[:, None]) @ space.key_map
        signs = coordinates >= 0
        outer = self._outer_bits(coordinates)
        factors = (self._factor(coordinates, signs, outer) / space.factor_step).round_().clamp_(1, 255).to(torch.uint8)
        self.reserve(start + keys.shape[1])
        for segment in self._segments:
            first, last = max(start, segment.start), min(start + keys.shape[1], segment.end)
            if first >= last:
                continue
            source = slice(first - start, last - start)
            target = slice((first - segment.start) // CODE_BLOCK_TOKENS, (last - segment.start) // CODE_BLOCK_TOKENS)
            segment.signs[:, target] = pack_bits(signs[:, source])
            if segment.outer is not None and outer is not None:
                segment.outer[:, target] = pack_bits(outer[:, source])
            segment.factors[:, target] = factors[:, source].view(self._num_heads, -1, CODE_BLOCK_TOKENS)
        self.num_tokens += keys.shape[1]
        decoded = self._levels(signs, outer) * (factors.float() * space.factor_step)[..., None]
        self._sample.append(decoded, start)

    def _outer_bits(self, coordinates: torch.Tensor) -> torch.Tensor | None:
        if self.bits == 1:
            return None
        deviation = coordinates.square().mean(-1, keepdim=True).sqrt()
        return coordinates.abs() > BORDER * deviation

    @staticmethod
    def _levels(signs: torch.Tensor, outer: torch.Tensor | None) -> torch.Tensor:
        """Code levels (H, n, D): +-1, or +-the Lloyd-Max levels."""
        ones = signs.float() * 2 - 1
        return ones if outer is None else ones * torch.where(outer, OUTER_LEVEL, INNER_LEVEL)

    def _factor(self, coordinates: torch.Tensor, signs: torch.Tensor, outer: torch.Tensor | None) -> torch.Tensor:
        along = (coordinates * self._levels(signs, outer)).sum(-1).clamp(min=1e-30)
        return coordinates.square().sum(-1) / along

    def decode(self, start: int, end: int) -> torch.Tensor:
        """Approximate coordinates (H, n, D) of tokens start..end, both multiples of 32."""
        assert self._space is not None
        parts = []
        for segment in self._segments:
            first, last = max(start, segment.start), min(end, segment.end)
            if first >= last:
                continue
            blocks = slice((first - segment.start) // CODE_BLOCK_TOKENS, (last - segment.start) // CODE_BLOCK_TOKENS)
            outer = None if segment.outer is None else unpack_bits(segment.outer[:, blocks])
            levels = self._levels(unpack_bits(segment.signs[:, blocks]), outer)
            factors = segment.factors[:, blocks].reshape(self._num_heads, -1).float() * self._space.factor_step
            parts.append(levels * factors[..., None])
        return torch.cat(parts, 1)

    def truncate(self, num_tokens: int) -> None:
        """Forget the tokens from `num_tokens` (a multiple of 32) on."""
        if num_tokens >= self.num_tokens:
            return
        self.num_tokens = num_tokens
        if self._space is None:
            self._first_keys = [torch.cat(self._first_keys, 1)[:, :num_tokens]] if self._first_keys else []
            return
        assert num_tokens >= FIT_TOKENS, "a shorter index is built anew from the keys"
        stride = stride_for(num_tokens)
        if stride == self._sample.stride:
            self._sample.truncate(num_tokens)
            return
        self._sample.restart(self._decode_tokens(torch.arange(0, num_tokens, stride)), stride)

    def _decode_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """Approximate coordinates (H, n, D) of single tokens, ascending."""
        blocks = ids // CODE_BLOCK_TOKENS
        parts = [
            self.decode(int(block) * CODE_BLOCK_TOKENS, (int(block) + 1) * CODE_BLOCK_TOKENS)[
                :, ids[blocks == block] % CODE_BLOCK_TOKENS
            ]
            for block in blocks.unique()
        ]
        return torch.cat(parts, 1)

    def search(self, query: torch.Tensor, limit: int, count: int) -> torch.Tensor:
        """The tokens below `limit` that score best by the codes, for each KV head.

        query: (H, G, D) -> ids (H, C) int64, padded with -1; about `count` per head, shared among its G query heads.
        """
        assert self._space is not None
        rotated = query.float() @ self._space.query_map
        per_query_head = max(1, count // query.shape[1])
        kernel = None if query.is_cuda or self.bits == 2 else scan_kernel(self._head_dim // 8, query.shape[1])
        if kernel is not None:
            return self._scan(kernel, rotated, limit, per_query_head)
        best = self.scores(rotated, limit).topk(min(per_query_head, limit), -1, sorted=False).indices
        return mask_repeats(best.flatten(1))

    def _scan(self, kernel: ScanKernel, rotated: torch.Tensor, limit: int, per_query_head: int) -> torch.Tensor:
        """Candidates by one pass of the scan kernel over everything that exceeds a threshold taken from the sample.

        Where far too much or too little exceeds it, the sample was misleading and the threshold moves.
        """
        assert self._space is not None
        sample = self._sample.scores(rotated, limit)
        tables = LookupTables.of(rotated, kernel.shape.value_shift)
        most, fewest = 4 * per_query_head * rotated.shape[1], per_query_head // 4
        size = sample.shape[-1]
        rank = min(size, 1 + size * per_query_head // limit)
        for _ in range(MAX_PASSES):
            thresholds = sample.topk(rank, -1).values[..., -1]
            found = self._scan_once(kernel, tables, tables.limits(thresholds, self._space.factor_step), limit, most)
            sizes = [ids.shape[0] for ids in found]
            if max(sizes) > most and rank > 1:
                rank = (rank + 1) // 2
            elif min(sizes) < fewest and rank < size:
                rank = min(size, 4 * rank)
            else:
                break
        return pad_ids(found)

    def _scan_once(
        self, kernel: ScanKernel, tables: "LookupTables", limits: torch.Tensor, limit: int, capacity: int
    ) -> list[torch.Tensor]:
        """For each head the ids that exceed its limits, ascending; a list longer than `capacity` is incomplete."""
        jobs, heads = [], []
        for segment in self._segments:
            for first in range(segment.start, min(segment.end, limit), JOB_TOKENS):
                count = min(first + JOB_TOKENS, segment.end, limit) - first
                blocks = slice((first - segment.start) // CODE_BLOCK_TOKENS, None)
                for head in range(self._num_heads):
                    jobs.append(
                        ScanJob(
                            kernel,
                            segment.signs[head, blocks],
                            segment.factors[head, blocks],
                            tables.entries[head],
                            tables.bias[head],
                            limits[head],
                            count,
                            torch.empty(min(count, capacity + 1), dtype=torch.int32),
                            torch.empty(count // CODE_BLOCK_TOKENS + 1, dtype=torch.int32),
                            first,
                        )
                    )
                    heads.append(head)
        parts: list[list[torch.Tensor]] = [[] for _ in range(self._num_heads)]
        for head, job, count in zip(heads, jobs, scan_heads(jobs), strict=True):
            parts[head].append(job.out_ids[:count])
        return [torch.cat(part) for part in parts]

    def scores_of(self, query: torch.Tensor, limit: int) -> torch.Tensor:
        """Approximate query . key, (H, G, limit) float32, for queries (H, G, D)."""
        assert self._space is not None
        offset = (query.float() * self._space.centre[:, None]).sum(-1, keepdim=True)
        return self.scores(query.float() @ self._space.query_map, limit) + offset

    def scores(self, rotated: torch.Tensor, limit: int) -> torch.Tensor:
        """Code scores (H, G, limit) of rotated queries (H, G, D), by plain matrix products."""
        chunks = (
            rotated @ self.decode(first, min(first + SCAN_CHUNK_TOKENS, limit)).mT
            for first in range(0, limit, SCAN_CHUNK_TOKENS)
        )
        return torch.cat(list(chunks), -1)


def mask_repeats(ids: torch.Tensor) -> torch.Tensor:
    """Ids (H, n) in ascending order, each once; the places of repeats hold -1."""
    ordered = ids.sort(-1).values
    repeats = ordered[:, 1:] == ordered[:, :-1]
    ordered[:, 1:][repeats] = -1
    return ordered


@dataclass(frozen=True)
class LookupTables:
    """A query as the scan kernel wants it (see `scan_kernel.py`): partial sums of its coordinates, as bytes.

    Attributes:
        entries: (H, G, D / 4, 16) uint8; bias: (H, G) int16; scale: (H, G) entry units per unit of score.
        value_shift: the kernel's v = (c * factor) >> value_shift.
    """

    entries: torch.Tensor
    bias: torch.Tensor
    scale: torch.Tensor
    value_shift: int

    @classmethod
    def of(cls, rotated: torch.Tensor, value_shift: int) -> "LookupTables":
        """From rotated queries (H, G, D)."""
        nibbles = rotated.unflatten(-1, (-1, 4))
        partial = nibbles @ sign_patterns().T  # (H, G, D / 4, 16)
        reach = nibbles.abs().sum(-1)  # the largest partial sum of each nibble
        groups = F.pad(reach, (0, -reach.shape[-1] % 16)).unflatten(-1, (-1, 16)).sum(-1)
        scale = (GROUP_RANGE / 2) / groups.amax(-1).clamp(min=1e-30)
        entries = ((partial + reach[..., None]) * scale[..., None, None]).round_().to(torch.uint8)
        bias = (reach.sum(-1) * scale).round_().to(torch.int16)
        return cls(entries, bias, scale, value_shift)

    def limits(self, thresholds: torch.Tensor, factor_step: torch.Tensor) -> torch.Tensor:
        """The kernel's thresholds (H, G) int16 for code scores (H, G)."""
        units = thresholds * self.scale / factor_step / (1 << self.value_shift)
        return units.floor_().clamp_(-32_768, 32_767).to(torch.int16)


@lru_cache(maxsize=1)
def sign_patterns() -> torch.Tensor:
    """(16, 4): the signs that each nibble stands for, bit i for dimension i."""
    return ((torch.arange(16)[:, None] >> torch.arange(4)) & 1).float() * 2 - 1


def pad_ids(found: list[torch.Tensor]) -> torch.Tensor:
    """Lists of ids as one (H, C) int64 tensor, padded with -1."""
    longest = max(ids.shape[0] for ids in found)
    padded = torch.full((len(found), longest), -1, dtype=torch.int64)
    for row, ids in zip(padded, found, strict=True):
        row[: ids.shape[0]] = ids
    return padded


class KeySample:
    """Every s-th decoded key; s is the smallest power of two that keeps at most SAMPLE_TOKENS of them."""

    def __init__(self, num_heads: int, dim: int, device: torch.device) -> None:
        self._keys = torch.empty((num_heads, SAMPLE_TOKENS, dim), device=device)
        self._count = 0
        self.stride = 1

    @property
    def nbytes(self) -> int:
        return self._keys.numel() * self._keys.element_size()

    def append(self, keys: torch.Tensor, start: int) -> None:
        """Offer decoded keys (H, n, D) whose first is token `start`."""
        while sampled(start + keys.shape[1], self.stride) > SAMPLE_TOKENS:
            kept = self._keys[:, : self._count : 2].clone()
            self._count, self.stride = kept.shape[1], self.stride * 2
            self._keys[:, : self._count] = kept
        picked = keys[:, -start % self.stride :: self.stride]
        self._keys[:, self._count : self._count + picked.shape[1]] = picked
        self._count += picked.shape[1]

    def restart(self, keys: torch.Tensor, stride: int) -> None:
        """Hold exactly these keys (H, m, D), tokens 0, stride, 2 stride, ..."""
        self._count, self.stride = keys.shape[1], stride
        self._keys[:, : self._count] = keys

    def truncate(self, num_tokens: int) -> None:
        """Forget tokens from `num_tokens` on."""
        self._count = sampled(num_tokens, self.stride)

    def scores(self, rotated: torch.Tensor, limit: int) -> torch.Tensor:
        """Scores (H, G, m) of the sampled tokens below `limit`."""
        return rotated @ self._keys[:, : sampled(limit, self.stride)].mT


def sampled(num_tokens: int, stride: int) -> int:
    """How many multiples of `stride` lie below `num_tokens`."""
    return -(-num_tokens // stride)


def stride_for(num_tokens: int) -> int:
    """The sample's stride at a length: a function of the length alone, so that going back leaves no trace."""
    stride = 1
    while sampled(num_tokens, stride) > SAMPLE_TOKENS:
        stride *= 2
    return stride
