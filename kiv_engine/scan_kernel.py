"""The scan: a SIMD kernel over 1-bit key codes, compiled at run time, that lists the tokens above a threshold.

A code is looked up, not multiplied: 4 sign bits select one of 16 partial sums of a query, or 6 bits one of 64, which is
one byte shuffle for a whole vector of tokens (Quick ADC, arXiv:1704.07355). The partial sums are bytes and are added as
bytes within one group of 64 dimensions; between groups they are widened to 16 bits.

For token t and query head g:

    s = the sum of the head's entries that the bits of the code select, one of each row
    c = s - bias[g]                    the caller's tables keep -128 P <= c < 128 P
    v = (c * factor[t]) >> (1 + log2 P)
    the token passes if v > threshold[g] for any g

where P is the number of groups, ceil(code_bytes / 8), rounded up to a power of two. Outside its range c wraps.

Layouts (all contiguous, on the CPU):

    codes      uint8 (blocks, code_bytes, 32): byte j of each of the 32 tokens of a block; bit i is dimension 8 j + i
    factors    uint8 (blocks, 32)
    lut        uint8 (heads, rows, 2^B), see `row_dims`: entry e of a row is for the code whose bits at the row's
               dimensions are those of e; the greatest entries of a group's rows sum to at most 255
    bias       int16 (heads,)
    threshold  int16 (heads,)
    bitmap     int32 (blocks,): bit t of word b is token 32 b + t

The kernel needs a byte shuffle: AVX2, SSSE3 or NEON look up 4 bits at once (B above), AVX-512 with VBMI looks up 6.
Without one `scan_kernel` returns None.
"""

import ctypes
import functools
import os
import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar, cast

import torch
from llvmlite import binding, ir

T = TypeVar("T")

BLOCK_TOKENS: Final = 32

JOB_WORDS: Final = 12
BITMAP_WORD: Final = 5
"""Of a job's words, see WorkWriter, how many there are and which is the bitmap's address."""

GROUP_BYTES: Final = 8
"""Code bytes whose entries are added as bytes."""

MAX_CODE_BYTES: Final = 64
MAX_HEADS: Final = 16

CACHE_LINE_BYTES: Final = 64
PREFETCH_BYTES: Final = 16_384
"""How far ahead codes are asked for: the hardware's own prefetching stops at every page of memory."""

TABLE_RANGE: Final = 246
"""Of the 255 that the rows of a group, 16 at most, may reach, what is left after rounding each; even, for its half is
the bias of a single group, and rounding that must not hang on the last bit."""

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
FLOAT = ir.FloatType()
POINTER = ir.PointerType()


class Shuffle(NamedTuple):
    """A byte shuffle: the intrinsic's name, how many tokens it looks up at once, and by how many bits."""

    name: str
    width: int
    bits: int


VBMI: Final = Shuffle("llvm.x86.avx512.permvar.qi.512", 64, 6)
AVX2: Final = Shuffle("llvm.x86.avx2.pshuf.b", 32, 4)
SSSE3: Final = Shuffle("llvm.x86.ssse3.pshuf.b.128", 16, 4)
NEON: Final = Shuffle("llvm.aarch64.neon.tbl1.v16i8", 16, 4)


@functools.cache
def host_shuffle() -> Shuffle | None:
    """The widest byte shuffle of this machine."""
    return next(iter(host_shuffles()), None)


def host_shuffles() -> list[Shuffle]:
    """All byte shuffles of this machine, the widest first."""
    if binding.get_process_triple().startswith(("aarch64", "arm64")):
        return [NEON]
    features = binding.get_host_cpu_features()
    needed = {VBMI: ("avx512vbmi", "avx512bw"), AVX2: ("avx2",), SSSE3: ("ssse3",)}
    return [shuffle for shuffle, names in needed.items() if all(features.get(name) for name in names)]


def row_dims(code_bytes: int, bits: int) -> list[tuple[int, ...]]:
    """The dimensions of each row of the tables, at most `bits`.

    4 bits: the low and the high half of each code byte. 6 bits: the low six of each of up to three code bytes of a
    group, then what is left of them, two each, so that no bits need to be brought together but in every fourth row.
    """
    if bits == 4:
        return [tuple(range(first, first + 4)) for first in range(0, 8 * code_bytes, 4)]
    rows: list[tuple[int, ...]] = []
    for group in range(0, code_bytes, GROUP_BYTES):
        end = min(group + GROUP_BYTES, code_bytes)
        for first in range(group, end, 3):
            octets = range(first, min(first + 3, end))
            rows += [tuple(range(8 * octet, 8 * octet + 6)) for octet in octets]
            rows.append(tuple(dim for octet in octets for dim in (8 * octet + 6, 8 * octet + 7)))
    return rows


@dataclass(frozen=True)
class ScanShape:
    """What one compiled scan is for."""

    code_bytes: int
    num_heads: int

    @property
    def num_groups(self) -> int:
        return -(-self.code_bytes // GROUP_BYTES)

    @property
    def spread_bits(self) -> int:
        """log2 P."""
        return (self.num_groups - 1).bit_length()

    @property
    def value_shift(self) -> int:
        """v = (c * factor) >> value_shift."""
        return 1 + self.spread_bits


def write_loop(b: ir.IRBuilder, end: ir.Value, step: int, body: Callable[[ir.Value], None]) -> None:
    """`for i in range(0, end, step): body(i)`, where end > 0."""
    before, inside, after = b.block, b.append_basic_block(), b.append_basic_block()
    b.branch(inside)
    b.position_at_end(inside)
    index = b.phi(I64)
    index.add_incoming(I64(0), before)
    body(index)
    following = b.add(index, I64(step))
    index.add_incoming(following, b.block)
    b.cbranch(b.icmp_unsigned("<", following, end), inside, after)
    b.position_at_end(after)


def best_tiling(num_heads: int, shuffle: Shuffle) -> tuple[int, int]:
    """Heads per pass and units per turn: two units of up to four heads, or one of up to eight, fit the registers."""
    most_heads = 8 if shuffle.width == BLOCK_TOKENS else 4
    passes = -(-num_heads // most_heads)
    heads_per_pass = -(-num_heads // passes)
    return heads_per_pass, 1 if heads_per_pass > 4 else 2


class ScanWriter:
    """Writes `scan`, for one shape, as LLVM IR.

    A unit is one vector of tokens: two blocks, a block, or half a block. The units of a turn share each load of a table
    row, and the heads of a pass share the indices that the codes are made into.
    """

    def __init__(self, module: ir.Module, shape: ScanShape, shuffle: Shuffle) -> None:
        self.shape, self.shuffle = shape, shuffle
        self.heads_per_pass, self.num_units = best_tiling(shape.num_heads, shuffle)
        self.bytes, self.words = ir.VectorType(I8, shuffle.width), ir.VectorType(I16, shuffle.width // 2)
        self.row_bytes = 1 << shuffle.bits
        self.head_bytes = len(row_dims(shape.code_bytes, shuffle.bits)) * self.row_bytes
        self.module = module
        signature = ir.FunctionType(ir.VoidType(), [POINTER] * 6 + [I64])
        self.function = ir.Function(self.module, signature, "scan")
        self.codes, self.factors, self.lut, self.bias, self.threshold, self.out, self.num_tokens = self.function.args
        lookup = ir.FunctionType(self.bytes, [self.bytes, self.bytes])
        self.lookup = ir.Function(self.module, lookup, shuffle.name)
        signature = ir.FunctionType(self.words, [self.words, self.words])
        self.subtract = ir.Function(self.module, signature, f"llvm.ssub.sat.v{self.words.count}i16")
        prefetch = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
        self.prefetch = ir.Function(self.module, prefetch, "llvm.prefetch.p0")
        self.b = ir.IRBuilder(self.function.append_basic_block())

    def write(self) -> ir.Function:
        b, heads = self.b, range(self.shape.num_heads)
        self.thresholds = [self.kept(self.splat_word(self.load_word(self.threshold, head))) for head in heads]
        self.starts = [self.kept(self.start(head)) for head in heads]
        self.sums = [self.kept(self.word(0)) for _ in range(2 * self.num_units * self.heads_per_pass)]
        num_blocks = b.lshr(b.add(self.num_tokens, I64(BLOCK_TOKENS - 1)), I64(5))
        with b.if_then(b.icmp_unsigned("!=", num_blocks, I64(0))):
            self.last_block = b.sub(num_blocks, I64(1))
            blocks_per_turn = self.num_units * self.shuffle.width // BLOCK_TOKENS
            write_loop(b, num_blocks, blocks_per_turn, self.write_turn)
            self.clear_past_the_end()
        b.ret_void()
        return self.function

    # Small words for builder calls.

    def repeated(self, value: int, vector: ir.VectorType) -> ir.Constant:
        return ir.Constant(vector, [value] * vector.count)

    def word(self, value: int) -> ir.Constant:
        return self.repeated(value, self.words)

    def at(self, pointer: ir.Value, offset: ir.Value | int, element: ir.Type = I8) -> ir.Value:
        index = I64(offset) if isinstance(offset, int) else offset
        return self.b.gep(pointer, [index], source_etype=element)

    def load_word(self, pointer: ir.Value, index: int) -> ir.Value:
        return self.b.load(self.at(pointer, index, I16), typ=I16, align=2)

    def load_bytes(self, places: Sequence[ir.Value]) -> ir.Value:
        """A vector of the bytes at one place, or of those at two."""
        part = ir.VectorType(I8, self.shuffle.width // len(places))
        parts = [self.b.load(place, typ=part, align=1) for place in places]
        if len(parts) == 1:
            return parts[0]
        lanes = ir.Constant(ir.VectorType(I32, self.shuffle.width), list(range(self.shuffle.width)))
        return self.b.shuffle_vector(*parts, lanes)

    def load_row(self, pointer: ir.Value) -> ir.Value:
        """A table row; one of 16 bytes in both halves of a 32-byte vector."""
        if self.row_bytes >= self.shuffle.width:
            return self.b.load(pointer, typ=self.bytes, align=1)
        half = ir.VectorType(I64, 2)
        row = self.b.load(pointer, typ=half, align=1)
        octets = self.shuffle.width // 8
        lanes = ir.Constant(ir.VectorType(I32, octets), [i % 2 for i in range(octets)])
        return self.b.bitcast(self.b.shuffle_vector(row, ir.Constant(half, ir.Undefined), lanes), self.bytes)

    def splat(self, value: ir.Value, vector: ir.VectorType) -> ir.Value:
        first = self.b.insert_element(ir.Constant(vector, ir.Undefined), value, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
        return self.b.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)

    def splat_word(self, value: ir.Value) -> ir.Value:
        return self.splat(value, self.words)

    def kept(self, value: ir.Value) -> ir.Value:
        """A place on the stack that holds the value."""
        place = self.b.alloca(value.type)
        self.b.store(value, place)
        return place

    # The scan.

    def start(self, head: int) -> ir.Value:
        """What a head's sums start from, so that they end centred: for one group the first row, less the bias."""
        bias = self.load_word(self.bias, head)
        if self.shape.num_groups > 1:
            return self.splat_word(self.b.neg(bias))
        row = self.load_row(self.at(self.lut, head * self.head_bytes))
        return self.b.sub(row, self.splat(self.b.trunc(bias, I8), self.bytes))

    def write_turn(self, index: ir.Value) -> None:
        """All heads for the tokens of `num_units` units."""
        b, heads = self.b, self.shape.num_heads
        self.prefetch_later(index)
        self.turn = [self.unit_parts(index, unit) for unit in range(self.num_units)]
        self.even_factors, self.odd_factors = zip(*[self.load_factors(unit) for unit in self.turn], strict=True)
        passed = [(self.word(0), self.word(0))] * self.num_units
        for first in range(0, heads, self.heads_per_pass):
            batch = range(first, min(first + self.heads_per_pass, heads))
            for (unit, head), (even, odd) in self.centred_sums(batch).items():
                limit = b.load(self.thresholds[head], typ=self.words)
                even = self.exceeds(even, self.even_factors[unit], limit)
                odd = self.exceeds(odd, self.odd_factors[unit], limit)
                passed[unit] = b.or_(passed[unit][0], even), b.or_(passed[unit][1], odd)
        for parts, (even, odd) in zip(self.turn, passed, strict=True):
            self.store_mask([self.at(self.at(self.out, block, I32), lane // 8) for block, lane in parts], even, odd)

    def prefetch_later(self, index: ir.Value) -> None:
        """Ask for the codes and factors of a later turn; past the end of the memory this does nothing."""
        block_bytes = self.shape.code_bytes * BLOCK_TOKENS
        turn_bytes = block_bytes * self.num_units * self.shuffle.width // BLOCK_TOKENS
        later = self.b.add(index, I64(-(-PREFETCH_BYTES // block_bytes)))
        codes = self.at(self.codes, self.b.mul(later, I64(block_bytes)))
        factors = self.at(self.factors, self.b.mul(later, I64(BLOCK_TOKENS)))
        turn_tokens = self.num_units * self.shuffle.width
        places = [self.at(codes, offset) for offset in range(0, turn_bytes, CACHE_LINE_BYTES)]
        places += [self.at(factors, offset) for offset in range(0, turn_tokens, CACHE_LINE_BYTES)]
        for place in places:
            self.b.call(self.prefetch, [place, I32(0), I32(3), I32(1)])

    def unit_parts(self, index: ir.Value, unit: int) -> list[tuple[ir.Value, int]]:
        """The blocks of a unit, and its first lane in each; past the end the last block is done again."""
        first = unit * self.shuffle.width
        return [
            (self.block_at(index, lane // BLOCK_TOKENS), lane % BLOCK_TOKENS)
            for lane in range(first, first + self.shuffle.width, BLOCK_TOKENS)
        ]

    def block_at(self, index: ir.Value, offset: int) -> ir.Value:
        if offset == 0:
            return index
        block = self.b.add(index, I64(offset))
        inside = self.b.icmp_unsigned("<", block, self.last_block)
        return self.b.select(inside, block, self.last_block)

    def load_factors(self, unit: list[tuple[ir.Value, int]]) -> tuple[ir.Value, ir.Value]:
        """The factors << 7 of the even and of the odd tokens of a unit."""
        b = self.b
        places = [self.at(self.at(self.factors, b.shl(block, I64(5))), lane) for block, lane in unit]
        pairs = b.bitcast(self.load_bytes(places), self.words)
        even = b.shl(b.and_(pairs, self.word(255)), self.word(7))
        return even, b.and_(b.lshr(pairs, self.word(1)), self.word(255 << 7))

    def centred_sums(self, heads: range) -> dict[tuple[int, int], tuple[ir.Value, ir.Value]]:
        """c << (8 - log2 P) of even and odd tokens, for each (unit, head)."""
        if self.shape.num_groups == 1:
            sums = self.group_sums(heads, I64(0), self.shape.code_bytes)
            return {key: self.split_bytes(value) for key, value in sums.items()}
        places = self.start_wide(heads)
        full, rest = divmod(self.shape.code_bytes, GROUP_BYTES)
        write_loop(self.b, I64(full), 1, lambda group: self.add_group(heads, group, GROUP_BYTES, places))
        if rest:
            self.add_group(heads, I64(full), rest, places)
        return {key: self.split_words(*pair) for key, pair in places.items()}

    def start_wide(self, heads: range) -> dict[tuple[int, int], tuple[ir.Value, ir.Value]]:
        """The places of the two 16-bit sums of each (unit, head), see `add_wide`, set to minus the bias."""
        places = {}
        for i, (unit, head) in enumerate((unit, head) for unit in range(self.num_units) for head in heads):
            both, odd = places[unit, head] = self.sums[2 * i], self.sums[2 * i + 1]
            start = self.b.load(self.starts[head], typ=self.words)
            self.b.store(self.b.mul(start, self.word(257)), both)
            self.b.store(start, odd)
        return places

    def add_group(
        self,
        heads: range,
        group: ir.Value,
        code_bytes: int,
        places: dict[tuple[int, int], tuple[ir.Value, ir.Value]],
    ) -> None:
        for key, value in self.group_sums(heads, group, code_bytes).items():
            self.add_wide(value, *places[key])

    def add_wide(self, sums: ir.Value, both: ir.Value, odd: ir.Value) -> None:
        """Add byte sums to `both`, which holds even + 256 odd (mod 2^16), and to `odd`."""
        b = self.b
        pairs = b.bitcast(sums, self.words)
        b.store(b.add(b.load(both, typ=self.words), pairs), both)
        b.store(b.add(b.load(odd, typ=self.words), b.lshr(pairs, self.word(8))), odd)

    def split_bytes(self, sums: ir.Value) -> tuple[ir.Value, ir.Value]:
        pairs = self.b.bitcast(sums, self.words)
        return self.b.shl(pairs, self.word(8)), self.b.and_(pairs, self.word(0xFF00))

    def split_words(self, both: ir.Value, odd: ir.Value) -> tuple[ir.Value, ir.Value]:
        b, shift = self.b, self.word(8 - self.shape.spread_bits)
        odds = b.load(odd, typ=self.words)
        evens = b.sub(b.load(both, typ=self.words), b.shl(odds, self.word(8)))
        return b.shl(evens, shift), b.shl(odds, shift)

    def group_sums(self, heads: range, group: ir.Value, code_bytes: int) -> dict[tuple[int, int], ir.Value]:
        """Byte sums over one group of code bytes, for each (unit, head)."""
        b = self.b
        offset = b.mul(group, I64(GROUP_BYTES * BLOCK_TOKENS))
        codes = [[self.at(self.code_place(*part), offset) for part in unit] for unit in self.turn]
        tables = self.at(self.lut, b.mul(group, I64(len(row_dims(GROUP_BYTES, self.shuffle.bits)) * self.row_bytes)))
        sums: dict[tuple[int, int], ir.Value] = {}
        for row, dims in enumerate(row_dims(code_bytes, self.shuffle.bits)):
            indices = [self.indices(places, dims) for places in codes]
            for head in heads:
                table = self.table(tables, head, row)
                for unit, index in enumerate(indices):
                    entries = b.call(self.lookup, [table, index])
                    sums[unit, head] = b.add(sums[unit, head], entries) if row else entries
        return sums

    def table(self, tables: ir.Value, head: int, row: int) -> ir.Value:
        """One row of a head's tables; of a single group, the first row holds the bias too."""
        if row == 0 and self.shape.num_groups == 1:
            return self.b.load(self.starts[head], typ=self.bytes)
        return self.load_row(self.at(tables, head * self.head_bytes + row * self.row_bytes))

    def code_place(self, block: ir.Value, lane: int) -> ir.Value:
        return self.at(self.codes, self.b.add(self.b.mul(block, I64(self.shape.code_bytes * 32)), I64(lane)))

    def indices(self, places: list[ir.Value], dims: tuple[int, ...]) -> ir.Value:
        """Where a unit's tokens look up in the row of these dimensions. Higher bits than the shuffle's do not count."""
        octets = [
            self.load_bytes([self.at(place, octet * BLOCK_TOKENS) for place in places])
            for octet in sorted({dim // 8 for dim in dims})
        ]
        if self.shuffle.bits == 4:
            return self.nibbles(octets[0], dims[0] % 8)
        return octets[0] if dims[0] % 8 == 0 else self.top_bits(octets)

    def nibbles(self, octets: ir.Value, first_bit: int) -> ir.Value:
        """4 bits of each byte; the byte shuffles give zero where the highest bit of an index is set."""
        b = self.b
        low = self.repeated(15, self.bytes)
        if first_bit == 0:
            return b.and_(octets, low)
        pairs = b.lshr(b.bitcast(octets, self.words), self.word(4))
        return b.and_(b.bitcast(pairs, self.bytes), low)

    def top_bits(self, octets: list[ir.Value]) -> ir.Value:
        """The two highest bits of up to three bytes. Where there are fewer, the row is the same for any other bits."""
        b = self.b
        words = [b.lshr(b.bitcast(each, self.words), self.word(6 - 2 * i)) for i, each in enumerate(octets)]
        index = words[0]
        for word, mask in zip(words[1:], (0x0C0C, 0x3030), strict=False):
            index = b.or_(b.and_(word, self.word(mask)), b.and_(index, self.word(~mask & 0xFFFF)))
        return b.bitcast(index, self.bytes)

    def exceeds(self, centred: ir.Value, factors: ir.Value, limit: ir.Value) -> ir.Value:
        """Less than 0 where the high half of the product exceeds the limit.

        A comparison would do, but AVX-512 has its results in mask registers, and few units that work on those.
        """
        b, wide = self.b, ir.VectorType(I32, self.words.count)
        product = b.mul(b.sext(centred, wide), b.sext(factors, wide))
        high = b.trunc(b.lshr(product, self.repeated(16, wide)), self.words)
        return b.call(self.subtract, [limit, high])

    def store_mask(self, places: list[ir.Value], even: ir.Value, odd: ir.Value) -> None:
        """Store one bit per token of a unit, for each of its parts."""
        b = self.b
        merged = b.or_(b.lshr(even, self.word(8)), b.and_(odd, self.word(0xFF00)))
        signs = b.icmp_signed("<", b.bitcast(merged, self.bytes), self.repeated(0, self.bytes))
        part = ir.IntType(self.shuffle.width // len(places))
        mask = b.bitcast(signs, ir.VectorType(part, len(places)))
        for i, place in enumerate(places):
            b.store(b.extract_element(mask, I32(i)), place, align=1)

    def clear_past_the_end(self) -> None:
        """Clear the bits of the last block from num_tokens on."""
        b = self.b
        unused = b.and_(b.sub(I64(0), self.num_tokens), I64(BLOCK_TOKENS - 1))
        place = self.at(self.out, self.last_block, I32)
        kept = b.lshr(I32(-1), b.trunc(unused, I32))
        b.store(b.and_(b.load(place, typ=I32, align=4), kept), place, align=4)


class ListWriter:
    """Writes `list`: the ids of a bitmap's set bits, ascending; counts all, stores as many as there is room for."""

    def __init__(self, module: ir.Module) -> None:
        self.module = module
        self.function = ir.Function(module, ir.FunctionType(I64, [POINTER, I64, I64, POINTER, I64]), "list")
        self.bitmap, self.num_blocks, self.base, self.ids, self.capacity = self.function.args
        self.first_bit = ir.Function(self.module, ir.FunctionType(I32, [I32, I1]), "llvm.cttz.i32")
        self.b = ir.IRBuilder(self.function.append_basic_block())

    def write(self) -> ir.Function:
        b = self.b
        self.count, self.bits = b.alloca(I64), b.alloca(I32)
        b.store(I64(0), self.count)
        with b.if_then(b.icmp_unsigned("!=", self.num_blocks, I64(0))):
            write_loop(b, self.num_blocks, 1, self.list_block)
        b.ret(b.load(self.count, typ=I64))
        return self.function

    def list_block(self, block: ir.Value) -> None:
        b = self.b
        word = b.load(b.gep(self.bitmap, [block], source_etype=I32), typ=I32, align=4)
        with b.if_then(b.icmp_unsigned("!=", word, I32(0)), likely=False):
            b.store(word, self.bits)
            first_id = b.trunc(b.add(self.base, b.shl(block, I64(5))), I32)
            set_bits = b.zext(b.call(self.module.declare_intrinsic("llvm.ctpop", [I32]), [word]), I64)
            write_loop(b, set_bits, 1, lambda _: self.list_bit(first_id))

    def list_bit(self, first_id: ir.Value) -> None:
        """List the lowest bit of `bits`, and clear it."""
        b = self.b
        bits, count = b.load(self.bits, typ=I32), b.load(self.count, typ=I64)
        with b.if_then(b.icmp_unsigned("<", count, self.capacity)):
            token = b.add(first_id, b.call(self.first_bit, [bits, I1(1)]))
            b.store(token, b.gep(self.ids, [count], source_etype=I32), align=4)
        b.store(b.add(count, I64(1)), self.count)
        b.store(b.and_(bits, b.sub(bits, I32(1))), self.bits)


class WorkWriter:
    """Writes `work`: takes jobs from a batch until none is left, scans and lists them; returns how many it took.

    A batch is an array of int64: the index of the job to take next, the number of jobs, then JOB_WORDS for each: the
    arguments of `scan`, the other arguments of `list`, and a place for the count.
    """

    def __init__(self, module: ir.Module) -> None:
        self.function = ir.Function(module, ir.FunctionType(I64, [POINTER]), "work")
        self.b = ir.IRBuilder(self.function.append_basic_block())

    def write(self, scan: ir.Function, list_bits: ir.Function) -> ir.Function:
        b, batch = self.b, self.function.args[0]
        taken = b.alloca(I64)
        b.store(I64(0), taken)
        jobs = b.load(self.word(batch, I64(1)), typ=I64)
        next_job, inside, after = (b.append_basic_block() for _ in range(3))
        b.branch(next_job)
        b.position_at_end(next_job)
        job = b.atomic_rmw("add", batch, I64(1), "monotonic")
        b.cbranch(b.icmp_unsigned("<", job, jobs), inside, after)
        b.position_at_end(inside)
        self.write_job(self.word(batch, b.add(I64(2), b.mul(job, I64(JOB_WORDS)))), scan, list_bits)
        b.store(b.add(b.load(taken, typ=I64), I64(1)), taken)
        b.branch(next_job)
        b.position_at_end(after)
        b.ret(b.load(taken, typ=I64))
        return self.function

    def write_job(self, job: ir.Value, scan: ir.Function, list_bits: ir.Function) -> None:
        b = self.b
        kinds = [*scan.function_type.args, *list_bits.function_type.args[1:]]
        words = [b.load(self.word(job, I64(i)), typ=kind) for i, kind in enumerate(kinds)]
        scanned = len(scan.args)
        b.call(scan, words[:scanned])
        count = b.call(list_bits, [words[BITMAP_WORD], *words[scanned:]])
        b.store(count, self.word(job, I64(len(kinds))))

    def word(self, pointer: ir.Value, index: ir.Value) -> ir.Value:
        return self.b.gep(pointer, [index], source_etype=I64)


class TablesWriter:
    """Writes `tables`: what the scan looks up for queries (heads, dim), float32.

    `order` (rows, bits), int64, has the dimensions of each row, and `dim` where a row has fewer than `bits`.

    On arrays this small the calls of NumPy or torch would take as long as a tenth of a million-token scan.
    """

    def __init__(self, module: ir.Module, bits: int) -> None:
        self.bits, self.group_rows = bits, len(row_dims(GROUP_BYTES, bits))
        signature = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, POINTER, I64, POINTER, POINTER, POINTER])
        self.function = ir.Function(module, signature, "tables")
        self.queries, self.heads, self.dim, self.order, self.rows, *outputs = self.function.args
        self.lut, self.bias, self.scale = outputs
        self.fabs = ir.Function(module, ir.FunctionType(FLOAT, [FLOAT]), "llvm.fabs.f32")
        self.row = ir.VectorType(FLOAT, 1 << bits)
        self.b = ir.IRBuilder(self.function.append_basic_block())

    def write(self) -> ir.Function:
        b = self.b
        self.group, self.greatest, self.total = (b.alloca(FLOAT) for _ in range(3))
        write_loop(b, self.heads, 1, self.write_head)
        b.ret_void()
        return self.function

    def write_head(self, head: ir.Value) -> None:
        """The scale that fits the widest group of rows into TABLE_RANGE, all rows, and the bias."""
        b = self.b
        for place in (self.greatest, self.total):
            b.store(FLOAT(0), place)
        write_loop(b, self.rows, 1, lambda row: self.add_reach(self.coordinates(head, row), row))
        greatest = self.larger(b.load(self.greatest, typ=FLOAT), FLOAT(1e-30))
        scale = b.fdiv(FLOAT(TABLE_RANGE / 2), greatest)
        write_loop(b, self.rows, 1, lambda row: self.write_row(head, row, scale))
        bias = b.fadd(b.fmul(b.load(self.total, typ=FLOAT), scale), FLOAT(0.5))
        b.store(b.fptosi(bias, I16), b.gep(self.bias, [head], source_etype=I16))
        b.store(scale, b.gep(self.scale, [head], source_etype=FLOAT))

    def add_reach(self, coordinates: list[ir.Value], row: ir.Value) -> None:
        b = self.b
        reach = self.reach(coordinates)
        starts = b.icmp_unsigned("==", b.urem(row, I64(self.group_rows)), I64(0))
        group = b.fadd(b.select(starts, FLOAT(0), b.load(self.group, typ=FLOAT)), reach)
        b.store(group, self.group)
        b.store(self.larger(b.load(self.greatest, typ=FLOAT), group), self.greatest)
        b.store(b.fadd(b.load(self.total, typ=FLOAT), reach), self.total)

    def write_row(self, head: ir.Value, row: ir.Value, scale: ir.Value) -> None:
        """The sums of +-coordinates, from zero up: bit i of the place in the row is the sign of coordinate i."""
        b = self.b
        coordinates = [b.fmul(x, scale) for x in self.coordinates(head, row)]
        sums = self.splat(b.fadd(self.reach(coordinates), FLOAT(0.5)))
        for i, x in enumerate(coordinates):
            signs = ir.Constant(self.row, [1.0 if place >> i & 1 else -1.0 for place in range(1 << self.bits)])
            sums = b.fadd(sums, b.fmul(self.splat(x), signs))
        wide = b.fptosi(sums, ir.VectorType(I32, 1 << self.bits))
        entries = b.trunc(wide, ir.VectorType(I8, 1 << self.bits))
        place = b.shl(b.add(b.mul(head, self.rows), row), I64(self.bits))
        b.store(entries, b.gep(self.lut, [place], source_etype=I8), align=1)

    def coordinates(self, head: ir.Value, row: ir.Value) -> list[ir.Value]:
        """Of a row's dimensions; zero where it has fewer."""
        b = self.b
        first, query = b.mul(row, I64(self.bits)), b.mul(head, self.dim)
        found = []
        for i in range(self.bits):
            dim = b.load(b.gep(self.order, [b.add(first, I64(i))], source_etype=I64), typ=I64)
            real = b.icmp_unsigned("<", dim, self.dim)
            place = b.gep(self.queries, [b.add(query, b.select(real, dim, I64(0)))], source_etype=FLOAT)
            found.append(b.select(real, b.load(place, typ=FLOAT, align=4), FLOAT(0)))
        return found

    def reach(self, coordinates: list[ir.Value]) -> ir.Value:
        """The largest sum of +-coordinates."""
        return functools.reduce(self.b.fadd, [self.b.call(self.fabs, [x]) for x in coordinates])

    def larger(self, one: ir.Value, other: ir.Value) -> ir.Value:
        return self.b.select(self.b.fcmp_ordered(">", one, other), one, other)

    def splat(self, value: ir.Value) -> ir.Value:
        undefined = ir.Constant(self.row, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(I32, 1 << self.bits), [0] * (1 << self.bits))
        return self.b.shuffle_vector(self.b.insert_element(undefined, value, I32(0)), undefined, zeros)


@dataclass(frozen=True)
class MachineCode:
    """A compiled function; it lives as long as the engine does."""

    engine: binding.ExecutionEngine
    address: int

    @classmethod
    def of(cls, module: ir.Module, function: ir.Function) -> "MachineCode":
        """Compile the module for one of its functions."""
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        target = binding.Target.from_triple(binding.get_process_triple())
        features = binding.get_host_cpu_features().flatten()
        machine = target.create_target_machine(cpu=binding.get_host_cpu_name(), features=features, opt=2, jit=True)
        module.triple = binding.get_process_triple()
        engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
        engine.finalize_object()
        return cls(engine, engine.get_function_address(function.name))


class ScanKernel:
    """The compiled scan of one shape, see the module's docstring; any number of threads may use it at once.

    Attributes:
        work: takes the address of a batch, see WorkWriter; lets go of Python's lock. address: of its machine code.
        table_bytes: of one head's tables.
    """

    def __init__(self, shape: ScanShape, shuffle: Shuffle) -> None:
        self.shape, self.shuffle = shape, shuffle
        module = ir.Module("kernel")
        scan, list_bits = ScanWriter(module, shape, shuffle).write(), ListWriter(module).write()
        self._code = MachineCode.of(module, WorkWriter(module).write(scan, list_bits))
        self.address = self._code.address
        self.work = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self.address)
        self.table_bytes = len(row_dims(shape.code_bytes, shuffle.bits)) << shuffle.bits

    def __call__(self, *arguments: Any) -> int:
        """The count of one job, ScanJob(self, *arguments), done on this thread."""
        batch = Batch([ScanJob(self, *arguments)])
        self.work(batch.address)
        return batch.counts[0]

    def words(self, job: "ScanJob") -> tuple[int, ...]:
        """The job as `work` reads it. Raises ValueError where its memory does not fit."""
        assert job.num_tokens >= 0
        shape, blocks = self.shape, -(-job.num_tokens // BLOCK_TOKENS)
        return (
            address_of(job.codes, torch.uint8, blocks * BLOCK_TOKENS * shape.code_bytes),
            address_of(job.factors, torch.uint8, blocks * BLOCK_TOKENS),
            address_of(job.lut, torch.uint8, shape.num_heads * self.table_bytes),
            address_of(job.bias, torch.int16, shape.num_heads),
            address_of(job.threshold, torch.int16, shape.num_heads),
            address_of(job.bitmap, torch.int32, blocks),
            job.num_tokens,
            blocks,
            job.base,
            address_of(job.out_ids, torch.int32, 0),
            job.out_ids.numel(),
            0,
        )


def address_of(tensor: torch.Tensor, dtype: torch.dtype, at_least: int) -> int:
    """Where the tensor's data is, after a check that machine code may read that many elements there."""
    if tensor.dtype is not dtype or not tensor.is_cpu or not tensor.is_contiguous() or tensor.numel() < at_least:
        found = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}, strides {tensor.stride()}"
        raise ValueError(f"The scan needs {at_least} contiguous elements of {dtype} on the CPU, not {found}.")
    return tensor.data_ptr()


_COMPILING: Final = threading.RLock()


def compiled_once(compile_it: Callable[..., T]) -> Callable[..., T]:
    """Like functools.cache, but one thread compiles while others wait; what is compiled is there without a lock."""
    known: dict[tuple[object, ...], T] = {}

    @functools.wraps(compile_it)
    def find(*key: object) -> T:
        if key not in known:
            with _COMPILING:
                if key not in known:
                    known[key] = compile_it(*key)
        return known[key]

    return find


class Tables:
    """Computes lookup tables of rows for so many bits."""

    def __init__(self, bits: int) -> None:
        module = ir.Module("tables")
        self._bits = bits
        self._code = MachineCode.of(module, TablesWriter(module, bits).write())
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        signature = ctypes.CFUNCTYPE(None, pointer, number, number, pointer, number, pointer, pointer, pointer)
        self._tables = signature(self._code.address)

    def __call__(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of queries (..., heads, D): lut (..., heads, rows, 2^bits), bias (..., heads), and (..., heads) scales.

        A scale is the entry units per unit of query . signs, float32.
        """
        *heads, dim = queries.shape
        order = row_order(dim, self._bits)
        rows = len(order) // self._bits
        lut = torch.empty((*heads, rows, 1 << self._bits), dtype=torch.uint8)
        bias, scale = torch.empty(heads, dtype=torch.int16), torch.empty(heads)
        source = address_of(queries, torch.float32, 1)
        places = lut.data_ptr(), bias.data_ptr(), scale.data_ptr()
        self._tables(source, bias.numel(), dim, order.buffer_info()[0], rows, *places)
        return lut, bias, scale


@functools.cache
def row_order(dim: int, bits: int) -> "array[int]":
    """The dimensions of all rows one after another; `dim`, that is none, where a row has fewer than `bits`."""
    rows = row_dims(dim // 8, bits)
    return array("q", [one for dims in rows for one in (*dims, *[dim] * (bits - len(dims)))])


@compiled_once
def _tables(bits: int) -> Tables:
    return Tables(bits)


def lookup_tables(queries: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What kernels that look up so many bits at once read, see Tables, which are compiled at their first use."""
    return _tables(bits)(queries)


@compiled_once
def _scan_kernel(code_bytes: int, num_heads: int, shuffle: Shuffle) -> ScanKernel:
    return ScanKernel(ScanShape(code_bytes, num_heads), shuffle)


def scan_kernel(code_bytes: int, num_heads: int) -> ScanKernel | None:
    """The scan for codes of 8 code_bytes dimensions and so many query heads, compiled at its first use.

    None where it is not to be had: no byte shuffle, more than 512 dimensions, more than 16 heads.
    """
    shuffle = host_shuffle()
    if shuffle is None or not (0 < code_bytes <= MAX_CODE_BYTES and 0 < num_heads <= MAX_HEADS):
        return None
    return _scan_kernel(code_bytes, num_heads, shuffle)


class ScanJob(NamedTuple):
    """A kernel and one run of blocks to scan: the passing ids among the first `num_tokens` go to out_ids, ascending.

    Attributes:
        out_ids: int32, of any size; a count above it says that the ids beyond it were left out.
        bitmap: int32 scratch, at least one per block. Jobs that run at once need their own out_ids and bitmap.
        base: the id of the first token.
    """

    kernel: ScanKernel
    codes: torch.Tensor
    factors: torch.Tensor
    lut: torch.Tensor
    bias: torch.Tensor
    threshold: torch.Tensor
    num_tokens: int
    out_ids: torch.Tensor
    bitmap: torch.Tensor
    base: int = 0


class Batch:
    """Jobs of one kernel that several threads take from, until none is left. The threads need no Python for it."""

    def __init__(self, jobs: Sequence[ScanJob]) -> None:
        self._jobs = jobs  # keeps their memory
        self._words = array("q", [0, len(jobs)])
        for job in jobs:
            assert job.kernel is jobs[0].kernel
            self._words.extend(job.kernel.words(job))
        self._taken: SimpleQueue[int] = SimpleQueue()

    @property
    def address(self) -> int:
        return self._words.buffer_info()[0]

    @property
    def counts(self) -> list[int]:
        """Of each job, once it has ended."""
        return self._words[1 + JOB_WORDS :: JOB_WORDS].tolist()

    def work(self) -> None:
        """Take and run jobs until none waits."""
        self._taken.put(self._jobs[0].kernel.work(self.address))

    def wait(self) -> None:
        """Return once all jobs have ended."""
        ended = 0
        while ended < len(self._jobs):
            ended += self._taken.get()


class Workers:
    """Daemon threads "kiv-scan-N" that help with batches; started when first needed, kept until the process ends."""

    def __init__(self) -> None:
        self._batches: SimpleQueue[Batch] = SimpleQueue()
        self._starting = threading.Lock()
        self._started = 0
        self.num_cores = os.cpu_count() or 1

    def help_with(self, batch: Batch, count: int) -> None:
        """Wake `count` threads for the batch."""
        with self._starting:
            while self._started < count:
                self._started += 1
                threading.Thread(target=self._serve, name=f"kiv-scan-{self._started}", daemon=True).start()
        for _ in range(count):
            self._batches.put(batch)

    def _serve(self) -> None:
        while True:
            self._batches.get().work()


_WORKERS: Final = Workers()


@functools.cache
def openmp_team() -> Callable[..., None] | None:
    """GOMP_parallel of the OpenMP library that torch itself runs on, or None where torch uses another.

    Its threads spin for a while after each torch operation. Asked through their own library they take the scan's jobs
    at once; threads of ours would have to compete with them for the cores.
    """
    folder = Path(torch.__file__).parent
    for path in (*folder.glob("lib/libgomp*.so*"), *folder.with_name("torch.libs").glob("libgomp*.so*")):
        try:
            library = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
            parallel = library.GOMP_parallel
        except (OSError, AttributeError):
            continue
        parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return cast("Callable[..., None]", parallel)
    return None


def scan_heads(jobs: Sequence[ScanJob]) -> list[int]:
    """Run the jobs on as many threads as torch uses, this one among them; the count of each job.

    A job that no other thread has begun is done here, so that a late thread is never waited for.
    """
    if not jobs:
        return []
    batch = Batch(jobs)
    threads = min(torch.get_num_threads(), _WORKERS.num_cores, len(jobs))
    team = openmp_team() if threads > 1 else None
    if team is not None:
        team(jobs[0].kernel.address, batch.address, threads, 0)
        return batch.counts
    if threads > 1:
        _WORKERS.help_with(batch, threads - 1)
    batch.work()
    batch.wait()
    return batch.counts
