"""Sampling: the same filters as transformers' logits processors, repeatable draws, no answer from broken logits."""

from collections.abc import Sequence

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from kiv_engine.config import SamplingConfig
from kiv_engine.errors import EngineError
from kiv_engine.sampling import Sampler

VOCAB = 24


def reference(config: SamplingConfig, logits: torch.Tensor, answer: Sequence[int]) -> torch.Tensor:
    """Probabilities, (vocab,), that transformers' processors give."""
    processors = LogitsProcessorList()
    if config.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
    processors.append(TemperatureLogitsWarper(config.temperature))
    if config.top_k:
        processors.append(TopKLogitsWarper(config.top_k))
    if config.top_p < 1:
        processors.append(TopPLogitsWarper(config.top_p))
    if config.min_p:
        processors.append(MinPLogitsWarper(config.min_p))
    return processors(torch.tensor([answer], dtype=torch.long), logits[None].float())[0].softmax(-1)


def frequencies(config: SamplingConfig, logits: torch.Tensor, answer: Sequence[int], draws: int) -> torch.Tensor:
    """How often each token is drawn, (vocab,), as a share of all draws."""
    sampler = Sampler(config, "cpu")
    drawn = torch.tensor([sampler.next_token(logits, answer) for _ in range(draws)])
    return torch.bincount(drawn, minlength=len(logits)) / draws


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.5},
        {"top_k": 5},
        {"top_k": 1_000},
        {"top_p": 0.7},
        {"top_p": 1e-6},
        {"min_p": 0.1},
        {"min_p": 1.0},
        {"repetition_penalty": 1.8},
        {"repetition_penalty": 0.6},
        {"temperature": 1.5, "top_k": 12, "top_p": 0.8, "min_p": 0.05, "repetition_penalty": 1.3},
    ],
    ids=str,
)
def test_draws_follow_the_processors_of_transformers(settings: dict[str, float]) -> None:
    config = SamplingConfig(**({"temperature": 1.0, "seed": 1} | settings))  # type: ignore[arg-type]
    logits = 2 * torch.randn(VOCAB)
    answer = [3, 7, 7, 11, 0]
    expected = reference(config, logits, answer)
    seen = frequencies(config, logits, answer, draws=1_500)
    assert torch.equal(seen > 0, (expected > 0) & (seen > 0)), "a token was drawn that the filters drop"
    assert (seen - expected).abs().max() < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_temperature_zero_takes_the_likeliest(dtype: torch.dtype) -> None:
    logits = torch.randn(VOCAB).to(dtype)
    assert Sampler(SamplingConfig(), "cpu").next_token(logits, []) == int(logits.argmax())


def test_temperature_zero_heeds_the_repetition_penalty() -> None:
    logits = torch.tensor([1.0, 3.0, 2.9, -1.0])
    sampler = Sampler(SamplingConfig(repetition_penalty=1.5), "cpu")
    assert [sampler.next_token(logits, answer) for answer in ([], [1], [1, 2])] == [1, 2, 1]


def test_tokens_that_the_head_lacks_are_not_penalized() -> None:
    sampler = Sampler(SamplingConfig(repetition_penalty=2.0), "cpu")
    assert sampler.next_token(torch.tensor([1.0, 2.0]), [7]) == 1


def test_logits_stay_as_they_are() -> None:
    logits = torch.randn(VOCAB)
    before = logits.clone()
    config = SamplingConfig(temperature=0.7, top_k=5, top_p=0.9, min_p=0.1, repetition_penalty=1.2)
    Sampler(config, "cpu").next_token(logits, [1, 2])
    assert torch.equal(logits, before)


def test_same_seed_repeats_the_answer() -> None:
    logits = torch.randn(40, VOCAB)

    def answer(seed: int | None) -> tuple[list[int], int]:
        sampler = Sampler(SamplingConfig(temperature=1.0, seed=seed), "cpu")
        return [sampler.next_token(row, []) for row in logits], sampler.seed

    first, seed = answer(None)
    torch.manual_seed(5)
    assert answer(seed) == (first, seed)
    assert answer(None)[1] != seed
    assert answer(None)[0] != first


def test_sampling_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    Sampler(SamplingConfig(temperature=1.0), "cpu").next_token(torch.randn(VOCAB, generator=torch.Generator()), [])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(temperature: float, broken: float) -> None:
    logits = torch.randn(VOCAB)
    logits[3] = broken
    with pytest.raises(EngineError, match="not a number"):
        Sampler(SamplingConfig(temperature=temperature), "cpu").next_token(logits, [])


@pytest.mark.parametrize("settings", [{"top_k": 4}, {"top_p": 0.5}, {"min_p": 0.2}], ids=str)
def test_filters_do_not_hide_broken_logits(settings: dict[str, float]) -> None:
    logits = torch.full((VOCAB,), float("nan"))
    with pytest.raises(EngineError, match="not a number"):
        Sampler(SamplingConfig(temperature=1.0, **settings), "cpu").next_token(logits, [])  # type: ignore[arg-type]


def test_masked_logits_are_never_drawn() -> None:
    logits = torch.full((VOCAB,), -torch.inf)
    logits[[2, 9]] = 0.0
    assert set(frequencies(SamplingConfig(temperature=1.0), logits, [], 100).nonzero().flatten().tolist()) == {2, 9}
