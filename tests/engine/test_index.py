"""The code index: its codes outlive growth, and a search does not depend on how its scan is split."""

import pytest
import torch

from kiv_engine import index as indexes
from kiv_engine.index import (
    FIT_TOKENS,
    INNER_LEVEL,
    OUTER_LEVEL,
    SINGLE_LEVEL,
    CodeIndex,
    SearchEffort,
    code_bytes,
    ranking_bytes,
    tile_tokens,
)
from kiv_engine.prefill import ScoreRule
from tests.engine.peaks import peak_bytes

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


def unpacked(plane: torch.Tensor) -> torch.Tensor:
    """Bits (n, C) of a head's plane (blocks, C / 8, 32)."""
    octets = plane.mT.reshape(-1, plane.shape[1])
    return torch.stack([octets >> place & 1 for place in range(8)], -1).flatten(1).bool()


def decoded(index: CodeIndex, limit: int) -> torch.Tensor:
    """Approximate code coordinates (H, n, C) of the first tokens, by the definition of the codes."""
    codes, steps = index.codes(0, limit), index.maps()["factor_step"]
    heads = []
    for head in range(len(steps)):
        levels = unpacked(codes[f"signs.{head}"]).float() * 2 - 1
        if index.bits == 2:
            outer = unpacked(codes[f"outer.{head}"])
            levels[:, : outer.shape[1]] *= torch.where(outer, OUTER_LEVEL, INNER_LEVEL)
            levels[:, outer.shape[1] :] *= SINGLE_LEVEL
        heads.append(levels * (codes[f"factors.{head}"].flatten().float() * steps[head])[:, None])
    return torch.stack(heads)


def obvious_scores(index: CodeIndex, queries: torch.Tensor, limit: int) -> torch.Tensor:
    space = index.maps()
    offset = (queries * space["centre"][:, None]).sum(-1, keepdim=True)
    return (queries @ space["query_map"]) @ decoded(index, limit).mT + offset


@pytest.mark.parametrize("bits", [1, 2])
@pytest.mark.parametrize("dim", [8, 20, 24, 64, 80, 100, 128, 160, 192, 256])
def test_codes_of_any_width_are_like_the_keys_and_small(dim: int, bits: int) -> None:
    keys = torch.randn(1, FIT_TOKENS, dim, generator=torch.Generator().manual_seed(0))
    index = CodeIndex(1, dim, bits, torch.device("cpu"))
    index.append(keys)
    space = index.maps()
    coordinates = (keys - space["centre"][:, None]) @ space["key_map"]
    assert torch.cosine_similarity(decoded(index, FIT_TOKENS), coordinates, dim=-1).mean() > (
        0.77 if bits == 1 else 0.8
    )
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
    assert torch.equal(decoded(grown, 5 * FIT_TOKENS), decoded(at_once, 5 * FIT_TOKENS))
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


# -- ranking by the codes alone ----------------------------------------------------------------------------------------

RULE = ScoreRule(scaling=0.5, softcap=20.0)
LIMIT = 3 * FIT_TOKENS - 32 * 5
ROUNDING = {torch.float32: 1e-6, torch.float16: 1e-3}
"""Of a score, as a share of the longest of its kind."""


@pytest.fixture(params=ROUNDING, ids=str)
def rounding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Levels as they are unpacked on the CPU, and as on a GPU."""
    monkeypatch.setattr(indexes, "level_dtype", lambda _device: request.param)
    return ROUNDING[request.param]


def asked(seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries (2, 3, 16) of very different lengths, and what is attended beside the tokens."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([[1e-3, 1.0, 4.0], [30.0, 1e4, 2.0]])[..., None]
    return torch.randn(2, 3, 16, generator=generator) * lengths, torch.randn(2, 3, generator=generator)


def ranked(index: CodeIndex, queries: torch.Tensor, local_lse: torch.Tensor, limit: int = LIMIT) -> torch.Tensor:
    return index.strongest(queries, limit, 64, RULE.in_nats, local_lse)


def shares(scores: torch.Tensor, local_lse: torch.Tensor) -> torch.Tensor:
    return (scores - torch.logaddexp(scores.logsumexp(-1), local_lse)[..., None]).exp().sum(1)


@pytest.mark.parametrize("bits", [1, 2])
def test_scores_are_those_of_the_codes(rounding: float, bits: int) -> None:
    index, (queries, _) = filled(3 * FIT_TOKENS, bits), asked()
    expected = obvious_scores(index, queries, LIMIT)
    off = (index.scores_of(queries, LIMIT) - expected).abs()
    assert (off <= rounding * expected.abs().amax(-1, keepdim=True)).all()


def test_what_is_ranked_by_codes_has_the_largest_shares(rounding: float) -> None:
    """A token that is left out has no larger share than one that is taken, but for what rounding does to scores."""
    index, (queries, local_lse) = filled(3 * FIT_TOKENS, bits=2), asked()
    scores = RULE.in_nats(obvious_scores(index, queries, LIMIT))
    expected, chosen = shares(scores, local_lse), ranked(index, queries, local_lse)
    assert all(len(set(row)) == 64 for row in chosen.tolist())
    least = expected.gather(1, chosen).amin(1)
    best_left_out = expected.scatter(1, chosen, -1).amax(1)
    in_nats = 2 * rounding * scores.abs().amax((1, 2)) + 1e-5
    assert (best_left_out <= least * in_nats.exp()).all()
    if rounding < 1e-5:
        assert torch.equal(chosen.sort(-1).values, expected.topk(64, -1).indices.sort(-1).values)


def test_what_is_chosen_does_not_depend_on_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    index, (queries, local_lse) = filled(3 * FIT_TOKENS, bits=2), asked()
    expected = ranked(index, queries, local_lse).sort(-1).values
    for tile_bytes, kept_bytes in ((1, 0), (100_000, 0), (100_000, 50_000), (1 << 20, 1 << 20)):
        monkeypatch.setattr(indexes, "TILE_BYTES", tile_bytes)
        monkeypatch.setattr(indexes, "KEPT_SCORE_BYTES", kept_bytes)
        assert torch.equal(ranked(index, queries, local_lse).sort(-1).values, expected)


@pytest.mark.filterwarnings("ignore:.*unknown size was allocated")
def test_ranking_takes_what_is_planned_however_long_the_context(
    rounding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "TILE_BYTES", 100_000)
    monkeypatch.setattr(indexes, "KEPT_SCORE_BYTES", 50_000)
    index, (queries, local_lse) = filled(16 * FIT_TOKENS, bits=2), asked()
    ranked(index, queries, local_lse)  # the table of levels is made once
    tile = tile_tokens(2, 16, indexes.level_dtype(torch.device("cpu")))
    planned = ranking_bytes(6, 2, 16, torch.device("cpu"))
    for limit in (4 * tile, 16 * FIT_TOKENS):
        assert peak_bytes(lambda limit=limit: ranked(index, queries, local_lse, limit)) == pytest.approx(
            planned, rel=0.1
        )
