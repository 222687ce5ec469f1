"""The scan: a SIMD kernel over 1-bit key codes, compiled at run time, that lists the tokens above a threshold.

A code is looked up, not multiplied: 4 sign bits select one of 16 partial sums of a query, which is one byte shuffle for
a whole vector of tokens (Quick ADC, arXiv:1704.07355). The partial sums are bytes and are added as bytes within one
group of 64 dimensions; between groups they are widened to 16 bits.

For token t and query head g:

    s = the sum of the head's entries that the nibbles of the code select
    c = s - bias[g]                    the caller's tables keep -128 P <= c < 128 P
    v = (c * factor[t]) >> (1 + log2 P)
    the token passes if v > threshold[g] for any g

where P is the number of groups, ceil(code_bytes / 8), rounded up to a power of two. Outside its range c wraps.

Layouts (all contiguous, on the CPU):

    codes      uint8 (blocks, code_bytes, 32): byte j of each of the 32 tokens of a block; bit i is dimension 8 j + i
    factors    uint8 (blocks, 32)
    lut        uint8 (heads, 2 code_bytes, 16): row 2 j for the low nibble of code byte j, row 2 j + 1 for the high one;
               the greatest entries of the 16 rows of a group (code bytes 8 k to 8 k + 7) sum to at most 255
    bias       int16 (heads,)
    threshold  int16 (heads,)
    bitmap     int32 (blocks,): bit t of word b is token 32 b + t

The kernel needs a byte shuffle: AVX2, SSSE3 or NEON. Without one `scan_kernel` returns None.
"""

import ctypes
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple, cast

import torch
from llvmlite import binding, ir

BLOCK_TOKENS: Final = 32

GROUP_BYTES: Final = 8
"""Code bytes whose entries are added as bytes."""

MAX_CODE_BYTES: Final = 64
MAX_HEADS: Final = 16

CACHE_LINE_BYTES: Final = 64
PREFETCH_BYTES: Final = 4_096
"""How far ahead codes are asked for: the hardware's own prefetching stops at every page of memory."""

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
POINTER = ir.PointerType()


class Shuffle(NamedTuple):
    """A byte shuffle: the intrinsic's name and how many tokens it looks up at once."""

    name: str
    width: int


AVX2: Final = Shuffle("llvm.x86.avx2.pshuf.b", 32)
SSSE3: Final = Shuffle("llvm.x86.ssse3.pshuf.b.128", 16)
NEON: Final = Shuffle("llvm.aarch64.neon.tbl1.v16i8", 16)


@functools.cache
def host_shuffle() -> Shuffle | None:
    """The widest byte shuffle of this machine."""
    if binding.get_process_triple().startswith(("aarch64", "arm64")):
        return NEON
    features = binding.get_host_cpu_features()
    return AVX2 if features.get("avx2") else SSSE3 if features.get("ssse3") else None


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
    """Writes the scan of one shape as LLVM IR.

    A unit is one vector of tokens: a block, or half a block. The units of a turn share each load of a table row, and
    the heads of a pass share each split of the codes into nibbles.
    """

    def __init__(self, shape: ScanShape, shuffle: Shuffle) -> None:
        self.shape, self.shuffle = shape, shuffle
        self.heads_per_pass, self.num_units = best_tiling(shape.num_heads, shuffle)
        self.bytes, self.words = ir.VectorType(I8, shuffle.width), ir.VectorType(I16, shuffle.width // 2)
        self.module = ir.Module("scan")
        signature = ir.FunctionType(ir.VoidType(), [POINTER] * 6 + [I64])
        self.function = ir.Function(self.module, signature, "scan")
        self.codes, self.factors, self.lut, self.bias, self.threshold, self.out, self.num_tokens = self.function.args
        lookup = ir.FunctionType(self.bytes, [self.bytes, self.bytes])
        self.lookup = ir.Function(self.module, lookup, shuffle.name)
        prefetch = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
        self.prefetch = ir.Function(self.module, prefetch, "llvm.prefetch.p0")
        self.b = ir.IRBuilder(self.function.append_basic_block())

    def write(self) -> ir.Module:
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
        return self.module

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

    def load_bytes(self, pointer: ir.Value) -> ir.Value:
        return self.b.load(pointer, typ=self.bytes, align=1)

    def load_row(self, pointer: ir.Value) -> ir.Value:
        """A table row, in both halves of a 32-byte vector."""
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
        row = self.load_row(self.at(self.lut, head * self.shape.code_bytes * 32))
        return self.b.sub(row, self.splat(self.b.trunc(bias, I8), self.bytes))

    def write_turn(self, index: ir.Value) -> None:
        """All heads for the tokens of `num_units` units."""
        b, heads = self.b, self.shape.num_heads
        self.prefetch_later(index)
        self.turn = [self.unit_position(index, unit) for unit in range(self.num_units)]
        self.even_factors, self.odd_factors = zip(*[self.load_factors(*unit) for unit in self.turn], strict=True)
        passed = [(self.word(0), self.word(0))] * self.num_units
        for first in range(0, heads, self.heads_per_pass):
            batch = range(first, min(first + self.heads_per_pass, heads))
            for (unit, head), (even, odd) in self.centred_sums(batch).items():
                limit = b.load(self.thresholds[head], typ=self.words)
                even = self.exceeds(even, self.even_factors[unit], limit)
                odd = self.exceeds(odd, self.odd_factors[unit], limit)
                passed[unit] = b.or_(passed[unit][0], even), b.or_(passed[unit][1], odd)
        for (block, lane), (even, odd) in zip(self.turn, passed, strict=True):
            self.store_mask(self.at(self.at(self.out, block, I32), lane // 8), even, odd)

    def prefetch_later(self, index: ir.Value) -> None:
        """Ask for the codes and factors of a later turn; past the end of the memory this does nothing."""
        block_bytes = self.shape.code_bytes * BLOCK_TOKENS
        turn_bytes = block_bytes * self.num_units * self.shuffle.width // BLOCK_TOKENS
        later = self.b.add(index, I64(-(-PREFETCH_BYTES // block_bytes)))
        codes = self.at(self.codes, self.b.mul(later, I64(block_bytes)))
        factors = self.at(self.factors, self.b.mul(later, I64(BLOCK_TOKENS)))
        for place in [self.at(codes, offset) for offset in range(0, turn_bytes, CACHE_LINE_BYTES)] + [factors]:
            self.b.call(self.prefetch, [place, I32(0), I32(3), I32(1)])

    def unit_position(self, index: ir.Value, unit: int) -> tuple[ir.Value, int]:
        """The block of a unit, and its first lane there; past the end the last block is done again."""
        offset, lane = divmod(unit * self.shuffle.width, BLOCK_TOKENS)
        if offset == 0:
            return index, lane
        block = self.b.add(index, I64(offset))
        inside = self.b.icmp_unsigned("<", block, self.last_block)
        return self.b.select(inside, block, self.last_block), lane

    def load_factors(self, block: ir.Value, lane: int) -> tuple[ir.Value, ir.Value]:
        """The factors << 7 of the even and of the odd tokens of a unit."""
        b = self.b
        place = self.at(self.at(self.factors, b.shl(block, I64(5))), lane)
        pairs = b.bitcast(self.load_bytes(place), self.words)
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
        offset = self.b.mul(group, I64(GROUP_BYTES * BLOCK_TOKENS))  # the same in the codes and in the tables
        codes = [self.at(self.at(self.codes, self.code_offset(*unit)), offset) for unit in self.turn]
        tables = self.at(self.lut, offset)
        sums: dict[tuple[int, int], ir.Value] = {}
        for row in range(2 * code_bytes):
            octets = [self.load_bytes(self.at(place, row // 2 * BLOCK_TOKENS)) for place in codes]
            nibbles = [self.nibbles(octet, row % 2) for octet in octets]
            for head in heads:
                table = self.table(tables, head, row)
                for unit, indices in enumerate(nibbles):
                    entries = self.b.call(self.lookup, [table, indices])
                    sums[unit, head] = self.b.add(sums[unit, head], entries) if row else entries
        return sums

    def table(self, tables: ir.Value, head: int, row: int) -> ir.Value:
        """One row of a head's tables; of a single group, the first row holds the bias too."""
        if row == 0 and self.shape.num_groups == 1:
            return self.b.load(self.starts[head], typ=self.bytes)
        return self.load_row(self.at(tables, (head * 2 * self.shape.code_bytes + row) * 16))

    def code_offset(self, block: ir.Value, lane: int) -> ir.Value:
        return self.b.add(self.b.mul(block, I64(self.shape.code_bytes * 32)), I64(lane))

    def nibbles(self, octets: ir.Value, half: int) -> ir.Value:
        b = self.b
        low = self.repeated(15, self.bytes)
        if half == 0:
            return b.and_(octets, low)
        pairs = b.lshr(b.bitcast(octets, self.words), self.word(4))
        return b.and_(b.bitcast(pairs, self.bytes), low)

    def exceeds(self, centred: ir.Value, factors: ir.Value, limit: ir.Value) -> ir.Value:
        """-1 where the high half of the product exceeds the limit, else 0."""
        b, wide = self.b, ir.VectorType(I32, self.words.count)
        product = b.mul(b.sext(centred, wide), b.sext(factors, wide))
        high = b.trunc(b.lshr(product, self.repeated(16, wide)), self.words)
        return b.sext(b.icmp_signed(">", high, limit), self.words)

    def store_mask(self, place: ir.Value, even: ir.Value, odd: ir.Value) -> None:
        """Store one bit per token of a unit."""
        b = self.b
        merged = b.or_(b.and_(even, self.word(0x00FF)), b.and_(odd, self.word(0xFF00)))
        signs = b.icmp_signed("<", b.bitcast(merged, self.bytes), self.repeated(0, self.bytes))
        bits = ir.IntType(self.shuffle.width)
        b.store(b.bitcast(signs, bits), place, align=1)

    def clear_past_the_end(self) -> None:
        """Clear the bits of the last block from num_tokens on."""
        b = self.b
        unused = b.and_(b.sub(I64(0), self.num_tokens), I64(BLOCK_TOKENS - 1))
        place = self.at(self.out, self.last_block, I32)
        kept = b.lshr(I32(-1), b.trunc(unused, I32))
        b.store(b.and_(b.load(place, typ=I32, align=4), kept), place, align=4)


class ListWriter:
    """Writes `list`: the ids of a bitmap's set bits, ascending; counts all, stores as many as there is room for."""

    def __init__(self) -> None:
        self.module = ir.Module("list")
        function = ir.Function(self.module, ir.FunctionType(I64, [POINTER, I64, I64, POINTER, I64]), "list")
        self.bitmap, self.num_blocks, self.base, self.ids, self.capacity = function.args
        self.first_bit = ir.Function(self.module, ir.FunctionType(I32, [I32, I1]), "llvm.cttz.i32")
        self.b = ir.IRBuilder(function.append_basic_block())

    def write(self) -> ir.Module:
        b = self.b
        self.count, self.bits = b.alloca(I64), b.alloca(I32)
        b.store(I64(0), self.count)
        with b.if_then(b.icmp_unsigned("!=", self.num_blocks, I64(0))):
            write_loop(b, self.num_blocks, 1, self.list_block)
        b.ret(b.load(self.count, typ=I64))
        return self.module

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


@dataclass(frozen=True)
class MachineCode:
    """Compiled functions; they live as long as the engine does."""

    engine: binding.ExecutionEngine
    address: int

    @classmethod
    def of(cls, module: ir.Module) -> "MachineCode":
        """Compile the function that has the module's name."""
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        target = binding.Target.from_triple(binding.get_process_triple())
        features = binding.get_host_cpu_features().flatten()
        machine = target.create_target_machine(cpu=binding.get_host_cpu_name(), features=features, opt=2, jit=True)
        module.triple = binding.get_process_triple()
        engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
        engine.finalize_object()
        return cls(engine, engine.get_function_address(module.name))


class Listing:
    """Lists the set bits of a bitmap."""

    def __init__(self) -> None:
        self._code = MachineCode.of(ListWriter().write())
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._list = ctypes.CFUNCTYPE(number, pointer, number, number, pointer, number)(self._code.address)

    def __call__(self, bitmap: torch.Tensor, num_blocks: int, out_ids: torch.Tensor, base: int = 0) -> int:
        """Write the token ids, from `base` on, of the first blocks' set bits to out_ids, int32; return their count.

        A count above out_ids.numel() says that the ids beyond it were left out.
        """
        bits, ids = address_of(bitmap, torch.int32, num_blocks), address_of(out_ids, torch.int32, 0)
        return int(self._list(bits, num_blocks, base, ids, out_ids.numel()))


class ScanKernel:
    """The compiled scan of one shape, see the module's docstring; any number of threads may call it at once."""

    def __init__(self, shape: ScanShape, shuffle: Shuffle) -> None:
        self.shape = shape
        self._code = MachineCode.of(ScanWriter(shape, shuffle).write())
        self._scan = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 6, ctypes.c_int64)(self._code.address)
        self._list = listing()

    def __call__(
        self,
        codes: torch.Tensor,
        factors: torch.Tensor,
        lut: torch.Tensor,
        bias: torch.Tensor,
        threshold: torch.Tensor,
        num_tokens: int,
        out_ids: torch.Tensor,
        bitmap: torch.Tensor,
        base: int = 0,
    ) -> int:
        """Write the ids of passing tokens among the first `num_tokens` to out_ids, ascending; return their count.

        out_ids: int32, of any size; a count above it says that the ids beyond it were left out.
        bitmap: int32 scratch, at least one per block. base: the id of the first token.
        """
        assert num_tokens >= 0
        shape, blocks = self.shape, -(-num_tokens // BLOCK_TOKENS)
        bits = address_of(bitmap, torch.int32, blocks)
        self._scan(
            address_of(codes, torch.uint8, blocks * BLOCK_TOKENS * shape.code_bytes),
            address_of(factors, torch.uint8, blocks * BLOCK_TOKENS),
            address_of(lut, torch.uint8, shape.num_heads * shape.code_bytes * 32),
            address_of(bias, torch.int16, shape.num_heads),
            address_of(threshold, torch.int16, shape.num_heads),
            bits,
            num_tokens,
        )
        return self._list(bitmap, blocks, out_ids, base)


def address_of(tensor: torch.Tensor, dtype: torch.dtype, at_least: int) -> int:
    """Where the tensor's data is, after a check that machine code may read that many elements there."""
    if tensor.dtype is not dtype or not tensor.is_cpu or not tensor.is_contiguous() or tensor.numel() < at_least:
        found = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}, strides {tensor.stride()}"
        raise ValueError(f"The scan needs {at_least} contiguous elements of {dtype} on the CPU, not {found}.")
    return tensor.data_ptr()


_COMPILING: Final = threading.RLock()


@functools.cache
def _listing() -> Listing:
    return Listing()


def listing() -> Listing:
    """The one listing, compiled at its first use."""
    with _COMPILING:
        return _listing()


@functools.cache
def _scan_kernel(shape: ScanShape, shuffle: Shuffle) -> ScanKernel:
    return ScanKernel(shape, shuffle)


def scan_kernel(code_bytes: int, num_heads: int) -> ScanKernel | None:
    """The scan for codes of 8 code_bytes dimensions and so many query heads, compiled at its first use.

    None where it is not to be had: no byte shuffle, more than 512 dimensions, more than 16 heads.
    """
    shuffle = host_shuffle()
    if shuffle is None or not (0 < code_bytes <= MAX_CODE_BYTES and 0 < num_heads <= MAX_HEADS):
        return None
    with _COMPILING:
        return _scan_kernel(ScanShape(code_bytes, num_heads), shuffle)


class ScanJob(NamedTuple):
    """A kernel and the arguments of one call. Jobs that run at once need their own out_ids and bitmap."""

    kernel: Callable[..., int]
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
    """Jobs that several threads take from, until none is left."""

    def __init__(self, jobs: Sequence[ScanJob]) -> None:
        self._waiting = deque(enumerate(jobs))
        self._counts = [0] * len(jobs)
        self._finished: SimpleQueue[BaseException | None] = SimpleQueue()

    def work(self) -> None:
        """Take and run jobs until none waits."""
        while True:
            try:
                index, (kernel, *arguments) = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._counts[index] = kernel(*arguments)
                self._finished.put(None)
            except BaseException as error:  # noqa: BLE001 (raised again by the thread that waits)
                self._finished.put(error)

    def wait(self) -> list[int]:
        """The counts of all jobs, once all have ended; raises what one of them raised."""
        for error in [self._finished.get() for _ in self._counts]:
            if error is not None:
                raise error
        return self._counts


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


TeamFunction = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


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
        parallel.argtypes = [TeamFunction, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return cast("Callable[..., None]", parallel)
    return None


def scan_heads(jobs: Sequence[ScanJob]) -> list[int]:
    """Run the jobs on as many threads as torch uses, this one among them; the count of each job.

    A job that no other thread has begun is done here, so that a late thread is never waited for.
    """
    threads = min(torch.get_num_threads(), _WORKERS.num_cores, len(jobs))
    batch = Batch(jobs)
    team = openmp_team() if threads > 1 else None
    if team is not None:
        team(TeamFunction(lambda _data: batch.work()), None, threads, 0)
    else:
        if threads > 1:
            _WORKERS.help_with(batch, threads - 1)
        batch.work()
    return batch.wait()
