"""Hit sets: drained once, on the CPU, with positions in place of slots, and without slots that hold nothing."""

import pytest
import torch

from kiv_engine.hits import STEPS_AT_ONCE, HitRecorder, LayerHits, Recording, RingPlaces

PLACES = RingPlaces(sinks=1, ring=4, start=2, oldest=6)
"""Slot 0 is the sink; slots 3, 4, 1, 2 hold the tokens 6, 7, 8, 9."""


def recording(position: int = 9, layer: int = 3) -> Recording:
    """Two KV heads, each of one query head."""
    return Recording(
        layer=layer,
        position=position,
        cold_rows=torch.tensor([[3, 4], [4, 5]]),
        cold_weights=torch.tensor([[[0.4, 0.4]], [[0.1, 0.3]]]),
        cold_factor=torch.tensor([[0.5], [1.0]]),
        local_weights=torch.tensor([[0.8, 0.0, 0.4, 0.0, 0.0], [0.4, 0.0, 0.2, 0.0, 0.0]]),
        local_factor=torch.tensor([0.5, 1.0]),
        places=PLACES,
    )


def hits(position: int = 9) -> LayerHits:
    recorder = HitRecorder()
    recorder.record(recording(position))
    return recorder.drain()[0]


def test_draining_empties_the_recorder() -> None:
    recorder = HitRecorder()
    recorder.record(recording(7))
    recorder.record(recording(8))
    assert [record.position for record in recorder.drain()] == [7, 8]
    assert recorder.drain() == []


def test_masses_over_all_heads_sum_to_one() -> None:
    tokens, masses = hits().token_mass()
    assert float(masses.sum()) == 1.0
    assert masses[tokens == 5].sum() == torch.tensor((0.2 + 0.1) / 2)


def test_slots_and_rows_become_positions() -> None:
    record = hits()
    assert sorted(record.local_tokens.tolist()) == [0, 6, 7, 8, 9]
    assert record.cold_tokens.tolist() == [[4, 5], [5, 6]]
    assert PLACES.position_of(torch.arange(5)).tolist() == [0, 8, 9, 6, 7]


def test_slots_beyond_the_newest_token_are_dropped() -> None:
    record = hits(8)
    assert sorted(record.local_tokens.tolist()) == [0, 6, 7, 8]


def test_weights_are_averaged_over_heads() -> None:
    record = hits()
    masses = dict(zip(record.local_tokens.tolist(), record.local_mass.tolist(), strict=True))
    assert masses == pytest.approx({0: 0.4, 9: 0.2, 6: 0.0, 7: 0.0, 8: 0.0})
    torch.testing.assert_close(record.local_total, torch.tensor(0.6))
    torch.testing.assert_close(record.cold_mass, torch.tensor([[0.2, 0.2], [0.1, 0.3]]))


def test_steps_averaged_together_are_as_those_one_by_one() -> None:
    recorder = HitRecorder()
    expected = []
    for position in range(10, 10 + STEPS_AT_ONCE + 3):
        for layer in (3, 5):
            recorder.record(recording(position, layer))
            alone = HitRecorder()
            alone.record(recording(position, layer))
            expected += alone.drain()
    drained = recorder.drain()
    assert [(record.position, record.layer) for record in drained] == [(each.position, each.layer) for each in expected]
    for record, each in zip(drained, expected, strict=True):
        torch.testing.assert_close(record.token_mass(), each.token_mass())


def test_without_cold_tokens_only_the_local_ones_count() -> None:
    empty = torch.empty((0, 0))
    record = LayerHits(0, 1, empty.long(), empty, torch.tensor([0, 1]), torch.tensor([0.5, 0.5]), torch.tensor(1.0))
    assert record.token_mass()[0].tolist() == [0, 1]
