"""Evidence against a plain sum over dictionaries."""

import random
from collections import Counter

import numpy as np
import pytest

from app.evidence import FEW_BINS, HEAT_BINS, LAYER_BINS, Baseline, Evidence, FewHits, HitCollector, TokenHits, as_heat


def hits(seed: int, num_positions: int, count: int) -> list[tuple[int, float]]:
    rng = random.Random(seed)
    return [(rng.randrange(num_positions + 50), rng.random()) for _ in range(count)]


@pytest.fixture
def bins() -> np.ndarray:
    """Bins of 5,000 positions; the first and some in the middle are no evidence."""
    bins = (np.arange(5_000) * HEAT_BINS // 5_000).astype(np.int16)
    bins[:16] = bins[2_000:2_010] = -1
    return bins


def test_masses_are_those_of_the_hits(bins: np.ndarray) -> None:
    collector = HitCollector(bins)
    expected: list[Counter[int]] = []
    for position in range(80):
        expected.append(Counter())
        for layer in (3, 7):
            found = hits(1_000 * position + layer, len(bins), 200)
            tokens, mass = (np.array(part) for part in zip(*found, strict=True))
            collector.add(layer, position, tokens, mass.astype(np.float32))
            for token, weight in found:
                if token < len(bins) and bins[token] >= 0:
                    expected[-1][int(bins[token])] += weight / 2
    taken = collector.take()
    assert collector.take() == ()
    for token, sums in zip(taken, expected, strict=True):
        assert token.bins.tolist() == sorted(sums)
        assert token.mass == pytest.approx([sums[place] for place in sorted(sums)], rel=1e-5)
        assert [part.layer for part in token.layers] == [3, 7]
        assert all(len(part.bins) <= LAYER_BINS and (np.diff(part.mass) <= 0).all() for part in token.layers)
    evidence = Evidence()
    evidence.grow(taken, (), collector.heat())
    assert evidence.layers == [3, 7]
    assert (evidence.rows(3) + evidence.rows(7) <= 2 * evidence.rows() + 1e-6).all()
    assert evidence.heat == pytest.approx(evidence.heat_of(range(80)))
    assert max(evidence.heat) == 1


def test_what_questions_about_nothing_hit_is_taken_away(bins: np.ndarray) -> None:
    def collected(collector: HitCollector, *found: dict[int, float]) -> tuple[TokenHits, ...]:
        for position, masses in enumerate(found):
            tokens, mass = np.array(list(masses)), np.array(list(masses.values()), np.float32)
            for layer, factor in ((0, 0.5), (1, 1.5)):
                collector.add(layer, position, tokens, factor * mass)
        return collector.take()

    probes = collected(HitCollector(bins), {900: 0.4, 77: 0.3}, {900: 0.2}, {900: 0.3, 4_000: 0.1})
    baseline = Baseline.of(probes)
    heading, passage = int(bins[900]), int(bins[3_000])
    assert baseline.mass[heading] == pytest.approx(0.3)
    assert np.flatnonzero(baseline.mass).tolist() == [heading]
    assert baseline.of_layer(1)[heading] == pytest.approx(0.45)
    assert not baseline.of_layer(5).any()
    collector = HitCollector(bins, baseline)
    evidence = Evidence(baseline=baseline)
    evidence.grow(collected(collector, {900: 0.4, 3_000: 0.2}, {900: 0.1, 3_000: 0.2}), (), collector.heat())
    assert evidence.rows(above=True)[:, heading].tolist() == pytest.approx([0.1, 0])
    assert evidence.rows(1, above=True)[:, heading].tolist() == pytest.approx([0.15, 0])
    assert evidence.rows()[:, heading].tolist() == pytest.approx([0.4, 0.1])
    assert [evidence.heat[heading], evidence.heat[passage]] == pytest.approx([0.25, 1])
    assert evidence.heat == pytest.approx(evidence.heat_of(range(2)))


def test_a_word_has_the_tokens_that_wrote_it() -> None:
    evidence = Evidence()
    text, ends = "Anna Thornwick", (4, 9, 9, 14)  # the third token is half a character
    collector = HitCollector(np.zeros(1, np.int16))
    for position in range(5):
        collector.add(0, position, np.array([0]), np.ones(1, np.float32))
    evidence.grow(collector.take(), ends, ())
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            tokens = evidence.tokens_of(start, end)
            begins = (0, *ends)
            assert [place for place in tokens if ends[place] > begins[place]] == [
                place for place in range(4) if max(begins[place], start) < min(ends[place], end)
            ], (start, end)
    assert list(evidence.tokens_of(3, 3)) == []


def test_nothing_hit_is_no_heat() -> None:
    assert max(as_heat(np.zeros(HEAT_BINS, np.float32))) == 0
    assert max(HitCollector(np.zeros(4, np.int16)).heat()) == 0


def test_of_an_older_answer_the_bins_that_matter_most_are_kept() -> None:
    rng, baseline = np.random.default_rng(0), np.zeros(HEAT_BINS, np.float32)
    baseline[:400] = 1
    rows = rng.random((200, HEAT_BINS), np.float32) * (rng.random((200, HEAT_BINS)) < 0.3)
    rows[:, :400] *= 1.5
    evidence = Evidence(
        tokens=[TokenHits.of(row, (), baseline) for row in rows],
        ends=tuple(range(3, 603, 3)),
        baseline=Baseline(baseline, {0: baseline}),
    )
    before, above = evidence.rows(), evidence.rows(above=True)
    evidence.shrink()
    assert isinstance(evidence.tokens, FewHits)
    assert evidence.tokens.nbytes <= 200 * (4 * FEW_BINS + 4) + 4, "a longest answer takes half a megabyte"
    assert len(evidence.tokens) == 200
    assert evidence.layers == []
    for row, shrunk, stands_out, kept in zip(before, evidence.rows(), above, evidence.rows(above=True), strict=True):
        assert 0 < np.count_nonzero(shrunk) <= FEW_BINS
        assert shrunk[shrunk > 0] == pytest.approx(row[shrunk > 0], rel=1e-3)
        for whole, some in ((row, shrunk), (stands_out, kept)):
            heaviest = np.argsort(whole)[-FEW_BINS // 2 :]
            assert some[heaviest] == pytest.approx(whole[heaviest], abs=2e-3)
    assert list(evidence.tokens_of(3, 6)) == [1]
    assert max(evidence.heat_of(range(1, 2))) == 1
    assert len(evidence.tokens[:5]) == 5
    with pytest.raises(IndexError):
        evidence.tokens[200]
