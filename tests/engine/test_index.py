"""The code index: its codes outlive growth, and a search does not depend on how its scan is split."""

import pytest
import torch

from kiv_engine import index as indexes
from kiv_engine.index import FIT_TOKENS, CodeIndex, SearchEffort, code_bytes

EFFORT = SearchEffort(retrieved=64, scaling=0.25, fewest=128, most=1_024)


def filled(num_tokens: int, bits: int = 1) -> CodeIndex:
    keys = torch.randn(2, num_tokens, 16, generator=torch.Generator().manual_seed(0))
    index = CodeIndex(2, 16, bits, torch.device("cpu"))
    for first in range(0, num_tokens, FIT_TOKENS):
        index.append(keys[:, first : first + FIT_TOKENS])
    return index


def searched(index: CodeIndex, query: torch.Tensor, limit: int) -> list[list[int]]:
    ids = index.search(query, limit, EFFORT)
    assert ids is not None
    rows: list[list[int]] = ids.tolist()
    return rows


@pytest.mark.parametrize("bits", [1, 2])
@pytest.mark.parametrize("dim", [8, 20, 24, 64, 80, 100, 128, 160, 192, 256])
def test_codes_of_any_width_are_like_the_keys_and_small(dim: int, bits: int) -> None:
    keys = torch.randn(1, FIT_TOKENS, dim, generator=torch.Generator().manual_seed(0))
    index = CodeIndex(1, dim, bits, torch.device("cpu"))
    index.append(keys)
    decoded = index.decode(0, FIT_TOKENS)
    space = index.maps()
    coordinates = (keys - space["centre"][:, None]) @ space["key_map"]
    assert torch.cosine_similarity(decoded, coordinates, dim=-1).mean() > (0.77 if bits == 1 else 0.8)
    if dim >= 64:
        assert code_bytes(1, dim, bits) < 2 * dim / 8


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("bits", [1, 2])
def test_codes_outlive_growth(monkeypatch: pytest.MonkeyPatch, bits: int, lazy: bool) -> None:
    monkeypatch.setattr(indexes, "TAKES_MEMORY_LAZILY", lazy)
    monkeypatch.setattr(indexes, "FIRST_CAPACITY_TOKENS", 64)
    monkeypatch.setattr(indexes, "LAZY_GROWTH", 2)
    grown = filled(5 * FIT_TOKENS, bits)
    monkeypatch.undo()
    at_once = filled(5 * FIT_TOKENS, bits)
    assert torch.equal(grown.decode(0, 5 * FIT_TOKENS), at_once.decode(0, 5 * FIT_TOKENS))
    assert grown.nbytes == at_once.nbytes


def test_a_search_finds_the_same_however_its_scan_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    index = filled(3 * FIT_TOKENS)
    query = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(1))
    limit = index.num_tokens - 32 * 5
    monkeypatch.setattr(indexes, "LEAST_JOB_TOKENS", 1_000)
    found = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append([[token for token in row if token >= 0] for row in searched(index, query, limit)])
    assert found[0] == found[1] == found[2]
    for row in found[0]:
        assert row == sorted(set(row))
        assert len(row) >= EFFORT.retrieved
        assert row[-1] < limit


def test_a_search_finds_what_scores_best() -> None:
    index = filled(2 * FIT_TOKENS)
    query = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(2))
    best = index.scores_of(query, index.num_tokens).topk(50, -1).indices
    for found, heads in zip(searched(index, query, index.num_tokens), best.tolist(), strict=True):
        for ids in heads:
            assert len(set(ids) - set(found)) <= 1  # at the limit, rounding may lose one


@pytest.mark.parametrize("bits", [1, 2])
def test_too_many_candidates_are_not_searched_for(bits: int) -> None:
    index = filled(2 * FIT_TOKENS, bits)
    query = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(2))
    assert index.search(query, index.num_tokens, EFFORT._replace(dense_share=0.01)) is None
    assert index.search(query, index.num_tokens, EFFORT._replace(dense_share=0.9)) is not None


def test_searches_scan_into_the_same_memory_and_return_copies() -> None:
    index = filled(2 * FIT_TOKENS)
    queries = torch.randn(2, 2, 3, 16, generator=torch.Generator().manual_seed(2))
    first = index.search(queries[0], index.num_tokens, EFFORT)
    assert first is not None
    kept, place = first.clone(), indexes._SCAN_MEMORY.ids.lend((1,), torch.int32).data_ptr()
    assert index.search(queries[1], index.num_tokens, EFFORT) is not None
    assert indexes._SCAN_MEMORY.ids.lend((1,), torch.int32).data_ptr() == place
    assert torch.equal(first, kept)


def test_a_query_of_zeros_still_finds_tokens() -> None:
    index = filled(2 * FIT_TOKENS)
    query = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(1))
    query[1] = 0
    ids = index.search(query, index.num_tokens, EFFORT)
    assert (ids >= 0).sum(1).min() >= EFFORT.retrieved
