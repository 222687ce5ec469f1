"""The scan of the codes against obvious numpy code."""

import copy
import ctypes
import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from kiv_engine import scan_kernel as scans
from kiv_engine.scan_kernel import (
    BLOCK_TOKENS,
    ScanJob,
    ScanKernel,
    ScanShape,
    lookup_tables,
    row_dims,
    scan_heads,
    scan_kernel,
)

SHAPES = [(8, 4), (64, 8), (16, 1), (16, 7), (4, 3), (8, 16), (10, 5), (23, 2), (32, 9)]
WIDTHS = scans.host_shuffles()
BITS = WIDTHS[0].bits if WIDTHS else 4

pytestmark = pytest.mark.skipif(not WIDTHS, reason="this machine has no byte shuffle")


@dataclass(frozen=True)
class Case:
    """Random codes and tables; about one token in a hundred passes for each head."""

    codes: torch.Tensor
    factors: torch.Tensor
    lut: torch.Tensor
    bias: torch.Tensor
    threshold: torch.Tensor
    num_tokens: int

    @classmethod
    def random(cls, code_bytes: int, num_heads: int, num_tokens: int, seed: int = 0, bits: int = BITS) -> "Case":
        rng = np.random.default_rng(seed)
        blocks = -(-num_tokens // BLOCK_TOKENS)
        codes = rng.integers(0, 256, (blocks, code_bytes, BLOCK_TOKENS), dtype=np.uint8)
        factors = rng.integers(0, 256, (blocks, BLOCK_TOKENS), dtype=np.uint8)
        lut = tables(rng.standard_normal((num_heads, code_bytes * 8)), bits)
        bias = lut.max(-1).sum(-1, dtype=np.int16) // 2
        values = values_of(codes, factors, lut, bias)
        threshold = np.quantile(values, 0.99, -1) if num_tokens else np.zeros(num_heads)
        arrays = codes, factors, lut, bias, threshold.astype(np.int16)
        return cls(*map(torch.from_numpy, arrays), num_tokens)

    @property
    def kernel(self) -> ScanKernel:
        found = scan_kernel(self.codes.shape[1], self.lut.shape[0])
        assert found is not None
        return found

    @property
    def expected(self) -> list[int]:
        arrays = (tensor.numpy() for tensor in (self.codes, self.factors, self.lut, self.bias))
        passing = (values_of(*arrays) > self.threshold.numpy()[:, None]).any(0)
        return np.flatnonzero(passing[: self.num_tokens]).tolist()

    def job(self, capacity: int | None = None, kernel: ScanKernel | None = None, base: int = 0) -> ScanJob:
        ids = torch.full((self.num_tokens if capacity is None else capacity,), -1, dtype=torch.int32)
        bitmap = torch.full((self.codes.shape[0],), -1, dtype=torch.int32)
        tensors = self.codes, self.factors, self.lut, self.bias, self.threshold
        return ScanJob(kernel or self.kernel, *tensors, self.num_tokens, ids, bitmap, base)


def tables(query: np.ndarray, bits: int) -> np.ndarray:
    """Tables (heads, rows, 2^bits) of queries (heads, dim): partial sums of +-q from zero up, at most 255 a group."""
    heads, dim = query.shape
    rows = row_dims(dim // 8, bits)
    sums = np.zeros((heads, len(rows), 1 << bits))
    for row, dims in enumerate(rows):
        for bit, one in enumerate(dims):
            sums[:, row] += np.outer(query[:, one], (np.arange(1 << bits) >> bit & 1) * 2.0 - 1)
    sums -= sums.min(-1, keepdims=True)
    greatest = max(sums[:, group].max(-1).sum(-1).max() for group in groups_of(rows))
    return np.floor(sums * (255 / greatest)).astype(np.uint8)


def groups_of(rows: list[tuple[int, ...]]) -> list[list[int]]:
    """The rows of each group of 64 dimensions."""
    groups = sorted({dims[0] // 64 for dims in rows})
    return [[row for row, dims in enumerate(rows) if dims[0] // 64 == group] for group in groups]


def values_of(codes: np.ndarray, factors: np.ndarray, lut: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """v (heads, tokens), as the module's docstring defines it."""
    code_bytes = codes.shape[1]
    value_shift = 1 + ((code_bytes + 7) // 8 - 1).bit_length()
    sums = np.zeros((len(lut), codes.shape[0], BLOCK_TOKENS), np.int64)
    for row, dims in enumerate(row_dims(code_bytes, lut.shape[-1].bit_length() - 1)):
        entries = sum((codes[:, dim // 8] >> dim % 8 & 1).astype(np.int64) << bit for bit, dim in enumerate(dims))
        sums += lut[:, row][:, entries]
    values = (sums - bias[:, None, None].astype(np.int64)) * factors >> value_shift
    return values.reshape(len(lut), -1)


def call(job: ScanJob) -> list[int]:
    kernel, *arguments = job
    count = kernel(*arguments)
    return job.out_ids[:count].tolist()


@pytest.mark.parametrize(("code_bytes", "num_heads"), SHAPES)
@pytest.mark.parametrize("shuffle", WIDTHS, ids=lambda shuffle: f"{shuffle.width}_lanes")
def test_the_scan_finds_what_obvious_code_finds(code_bytes: int, num_heads: int, shuffle: scans.Shuffle) -> None:
    case = Case.random(code_bytes, num_heads, 5_000, bits=shuffle.bits)
    kernel = ScanKernel(ScanShape(code_bytes, num_heads), shuffle)
    assert len(case.expected) >= 40
    assert call(case.job(kernel=kernel)) == case.expected


@pytest.mark.parametrize("num_tokens", [0, 1, 31, 32, 33, 63, 64, 65, 1000])
@pytest.mark.parametrize(("code_bytes", "num_heads"), [(8, 4), (16, 8), (12, 2)])
def test_tokens_past_the_end_never_pass(num_tokens: int, code_bytes: int, num_heads: int) -> None:
    case = Case.random(code_bytes, num_heads, num_tokens)
    case.threshold.fill_(-32768)
    assert case.expected == list(range(num_tokens))
    assert call(case.job()) == case.expected


def test_the_greatest_and_the_least_sums_do_not_wrap() -> None:
    """A code that selects all maxima, one that selects all minima, with tables that use the whole range."""
    for code_bytes in (8, 16, 24, 64):
        case = Case.random(code_bytes, 1, 64)
        case.lut[:] = 0
        for group in groups_of(row_dims(code_bytes, BITS)):
            case.lut[:, group, -1] = 255 // len(group)
            case.lut[:, group[0], -1] += 255 % len(group)
        case.bias[:] = 128 * code_bytes // 8
        case.factors.fill_(255)
        case.codes[0], case.codes[1] = 255, 0
        least = int(values_of(case.codes.numpy(), case.factors.numpy(), case.lut.numpy(), case.bias.numpy()).min())
        assert least < -8000
        case.threshold.fill_(least)
        assert call(case.job()) == list(range(32))
        case.threshold.fill_(least - 1)
        assert call(case.job()) == list(range(64))


@pytest.mark.parametrize("code_bytes", [1, 2, 8, 10, 23, 64])
@pytest.mark.parametrize("bits", [4, 6])
def test_each_dimension_is_in_one_row_and_a_group_keeps_its_rows_together(code_bytes: int, bits: int) -> None:
    rows = row_dims(code_bytes, bits)
    assert sorted(dim for dims in rows for dim in dims) == list(range(8 * code_bytes))
    assert all(0 < len(dims) <= bits for dims in rows)
    full = len(row_dims(8, bits))
    assert [row // full for row in range(len(rows))] == [dims[0] // 64 for dims in rows]
    assert all(len({dim // 64 for dim in dims}) == 1 for dims in rows)


@pytest.mark.parametrize("dim", [8, 64, 80, 512])
@pytest.mark.parametrize("bits", [4, 6])
def test_lookup_tables_hold_the_partial_sums_of_a_query(dim: int, bits: int) -> None:
    queries = torch.randn(2, 3, dim, generator=torch.Generator().manual_seed(dim))
    lut, bias, scale = lookup_tables(queries, bits)
    rows = row_dims(dim // 8, bits)
    assert lut.shape == (2, 3, len(rows), 1 << bits)
    for row, dims in enumerate(rows):
        coordinates = queries[..., dims] * scale[..., None]
        signs = torch.tensor([[1 if place >> i & 1 else -1 for i in range(len(dims))] for place in range(1 << bits)])
        sums = coordinates @ signs.float().T + coordinates.abs().sum(-1, keepdim=True)
        assert (sums - lut[:, :, row]).abs().max() <= 0.501
    assert ((queries.abs().sum(-1) * scale) - bias).abs().max() <= 0.501
    widest = torch.stack([lut[:, :, group].amax(-1).int().sum(-1) for group in groups_of(rows)]).amax(0)
    assert widest.max() <= 255
    assert widest.min() >= 240


def test_ids_start_from_the_base() -> None:
    case = Case.random(8, 4, 500)
    assert call(case.job(base=70_000)) == [70_000 + token for token in case.expected]


@pytest.mark.parametrize("capacity", [0, 1, 5])
def test_a_full_output_is_counted_past_but_not_written_past(capacity: int) -> None:
    case = Case.random(8, 4, 2_000)
    job = case.job()
    short = job._replace(out_ids=job.out_ids[:capacity])
    assert scan_heads([short]) == [len(case.expected)]
    assert job.out_ids[:capacity].tolist() == case.expected[:capacity]
    assert (job.out_ids[capacity:] == -1).all()


def test_jobs_on_two_threads_find_the_same() -> None:
    cases = [Case.random(8, 4, 3_000 + 7 * seed, seed) for seed in range(9)]
    jobs = [case.job() for case in cases]
    for _ in range(20):
        counts = scan_heads(jobs)
        found = [job.out_ids[:count].tolist() for job, count in zip(jobs, counts, strict=True)]
        assert found == [case.expected for case in cases]
    assert scan_heads([]) == []


def test_halves_of_the_blocks_are_jobs_of_their_own() -> None:
    case = Case.random(16, 7, 1_000)
    job, middle = case.job(), 16
    first = job._replace(codes=job.codes[:middle], factors=job.factors[:middle], num_tokens=middle * BLOCK_TOKENS)
    rest = job._replace(
        codes=job.codes[middle:],
        factors=job.factors[middle:],
        num_tokens=1_000 - middle * BLOCK_TOKENS,
        out_ids=torch.empty(1_000, dtype=torch.int32),
        bitmap=job.bitmap[middle:],
        base=middle * BLOCK_TOKENS,
    )
    counts = scan_heads([first, rest])
    assert first.out_ids[: counts[0]].tolist() + rest.out_ids[: counts[1]].tolist() == case.expected


def test_no_job_begins_where_one_cannot_be_done() -> None:
    good = Case.random(8, 4, 1_000).job()
    with pytest.raises(ValueError, match="contiguous"):
        scan_heads([good, good._replace(codes=good.codes[:1])])
    assert (good.out_ids == -1).all()


@pytest.mark.parametrize("team", [True, False], ids=["openmp", "own-threads"])
def test_two_threads_work_at_the_same_time(monkeypatch: pytest.MonkeyPatch, team: bool) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    if not team:
        monkeypatch.setattr(scans, "openmp_team", lambda: None)
    monkeypatch.setattr(scans._WORKERS, "num_cores", 2)
    both = threading.Barrier(2)
    names: list[str] = []

    def meet(_batch: int) -> int:
        both.wait(10)
        names.append(threading.current_thread().name)
        return 1

    job = Case.random(8, 4, 64).job()
    kernel = copy.copy(job.kernel)
    kernel.work = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(meet)
    kernel.address = ctypes.cast(kernel.work, ctypes.c_void_p).value
    scan_heads([job._replace(kernel=kernel)] * 2)
    assert len(set(names)) == 2
    assert team or sum(name.startswith("kiv-scan-") for name in names) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("codes", torch.zeros(2, 8, 32, dtype=torch.int8)),
        ("factors", torch.zeros(31, dtype=torch.uint8)),
        ("lut", torch.zeros(4, 16, 128, dtype=torch.uint8)[..., ::2]),
        ("bias", torch.zeros(4, dtype=torch.int32)),
        ("threshold", torch.zeros(3, dtype=torch.int16)),
        ("bitmap", torch.zeros(0, dtype=torch.int32)),
        ("out_ids", torch.zeros(64)),
    ],
)
def test_memory_that_does_not_fit_is_refused(name: str, value: torch.Tensor) -> None:
    job = Case.random(8, 4, 64).job()._replace(**{name: value})
    with pytest.raises(ValueError, match="contiguous"):
        call(job)


def test_a_kernel_is_compiled_once_for_all_threads() -> None:
    found: list[ScanKernel | None] = []
    threads = [threading.Thread(target=lambda: found.append(scan_kernel(7, 3))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_there_is_no_kernel_without_a_byte_shuffle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scan_kernel(65, 4) is None
    assert scan_kernel(8, 17) is None
    monkeypatch.setattr(scans, "host_shuffle", lambda: None)
    assert scan_kernel(8, 4) is None
