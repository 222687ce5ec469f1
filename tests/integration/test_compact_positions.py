"""Needles far beyond the trained length: true rotary positions fail there, compact ones pass.

The model is a tiny Llama trained to recall facts within 512 tokens (tests/fixtures/rope-recall).
"""

from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from kiv_engine import KIVCache, KIVConfig
from kiv_engine.config import PositionMode
from tests.engine.recall_text import recall_document

pytestmark = pytest.mark.usefixtures("one_thread")

FIXTURE = Path(__file__).parent.parent / "fixtures" / "rope-recall"
CHUNK_TOKENS = 256
NUM_FACTS = 20


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(FIXTURE, dtype=torch.float32).eval()


def recalled(model: LlamaForCausalLM, num_tokens: int, positions: PositionMode, prefill: str = "window") -> float:
    """Share of the facts of one document whose value comes out whole."""
    document, questions = recall_document(num_tokens, NUM_FACTS, seed=0)
    config = KIVConfig(
        hot_tokens=128, sink_tokens=1, retrieved_tokens=64, candidate_tokens=512, prefill=prefill, positions=positions
    )  # type: ignore[arg-type]
    cache = KIVCache(model, config)
    right = 0
    with torch.inference_mode():
        with cache.reading():
            for first in range(0, num_tokens, CHUNK_TOKENS):
                model(torch.tensor([document[first : first + CHUNK_TOKENS]]), past_key_values=cache, logits_to_keep=1)
        for question, answer in questions:
            ids = list(question)
            for _ in answer:
                logits = model(torch.tensor([ids[cache.num_tokens - num_tokens :]]), past_key_values=cache).logits
                ids.append(int(logits[0, -1].argmax()))
            right += ids[len(question) :] == list(answer)
            cache.crop(num_tokens - cache.num_tokens)
    cache.close()
    return right / len(questions)


@pytest.mark.parametrize("num_tokens", [4_096, 16_384])
def test_compact_positions_recall_far_beyond_the_trained_length(model: LlamaForCausalLM, num_tokens: int) -> None:
    assert recalled(model, num_tokens, "compact") >= 0.9


@pytest.mark.parametrize("prefill", ["window", "sparse"])
def test_auto_picks_compact_for_this_model(model: LlamaForCausalLM, prefill: str) -> None:
    cache = KIVCache(model, KIVConfig(hot_tokens=128, sink_tokens=1, retrieved_tokens=64))
    assert cache.policy.rotary is not None
    cache.close()
    assert recalled(model, 8_192, "auto", prefill) >= 0.9


def test_true_positions_fail_beyond_the_trained_length(model: LlamaForCausalLM) -> None:
    assert recalled(model, 16_384, "true") <= 0.4


def test_within_the_trained_length_both_recall(model: LlamaForCausalLM) -> None:
    assert recalled(model, 480, "true") >= 0.9
    assert recalled(model, 480, "compact") >= 0.9
