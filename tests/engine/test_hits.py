"""Hit sets: drained once, on the CPU, and without slots that hold nothing."""

import torch

from kiv_engine.hits import HitRecorder, LayerHits


def hits(position: int = 9) -> LayerHits:
    return LayerHits(
        layer=3,
        position=position,
        cold_tokens=torch.tensor([[4, 5], [5, 6]]),
        cold_mass=torch.tensor([[0.2, 0.2], [0.1, 0.3]]),
        local_tokens=torch.tensor([0, 9, 40]),
        local_mass=torch.tensor([0.4, 0.2, 0.0]),
        local_total=torch.tensor(0.6),
    )


def test_draining_empties_the_recorder() -> None:
    recorder = HitRecorder()
    recorder.record(hits(7))
    recorder.record(hits(8))
    assert [record.position for record in recorder.drain()] == [7, 8]
    assert recorder.drain() == []


def test_masses_over_all_heads_sum_to_one() -> None:
    tokens, masses = hits().token_mass()
    assert float(masses.sum()) == 1.0
    assert masses[tokens == 5].sum() == torch.tensor((0.2 + 0.1) / 2)


def test_slots_beyond_the_newest_token_are_dropped() -> None:
    recorder = HitRecorder()
    recorder.record(hits(9))
    (record,) = recorder.drain()
    assert record.local_tokens.tolist() == [0, 9]
    assert record.local_mass.shape == (2,)


def test_without_cold_tokens_only_the_local_ones_count() -> None:
    empty = torch.empty((0, 0))
    record = LayerHits(0, 1, empty.long(), empty, torch.tensor([0, 1]), torch.tensor([0.5, 0.5]), torch.tensor(1.0))
    assert record.token_mass()[0].tolist() == [0, 1]
