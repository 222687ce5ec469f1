"""Addresses of sentences: made even, other ones are less alike, and marks leave nothing in them."""

import pytest
import torch
from demo_addresses import ADDRESS_LENGTH, OPENING_MARK, address_of, even_addresses, raw_addresses
from demo_facts import archive_sentences
from demo_layout import ADDRESS, WINDOW
from demo_tokens import Features, Plan, make_plan, new_features
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from train_demo_model import MODEL, ROOT
from transformers import AutoModelForCausalLM

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(MODEL / "tokenizer.json"))


@pytest.fixture(scope="module")
def plan(tokenizer: Tokenizer) -> Plan:
    return make_plan(tokenizer, new_features(tokenizer, torch.ones(4096)))


@pytest.fixture(scope="module")
def even(tokenizer: Tokenizer, plan: Plan) -> Tensor:
    return even_addresses(plan, archive_sentences(tokenizer, 150, 40_000))


def likeness(addresses: Tensor) -> float:
    """The standard deviation of the cosines between them."""
    cosines = torch.corrcoef(addresses)
    return cosines[~torch.eye(len(cosines), dtype=torch.bool)].std().item()


def test_sentences_of_another_text_are_less_alike(tokenizer: Tokenizer, plan: Plan, even: Tensor) -> None:
    raw = raw_addresses(plan, archive_sentences(tokenizer, 151, 40_000))
    made_even = raw @ even.T
    assert likeness(made_even) < 0.95 * likeness(raw)
    assert made_even.square().sum(1).mean().item() == pytest.approx(ADDRESS_LENGTH, rel=0.1)


def test_marks_before_a_sentence_leave_nothing(plan: Plan, even: Tensor) -> None:
    for marks in ((OPENING_MARK,), (None, None, None, "."), (None, None, "Ċ")):
        assert (even @ address_of(plan, *marks)).norm() < 1e-3


def test_an_address_is_what_the_tokens_before_a_sentence_make_it(plan: Plan) -> None:
    ids = [
        plan.tokenizer.encode(text).ids
        for text in (" It rained all day and all of the night." * 25, " The mill stood still.")
    ]
    first, *before = (plan.tokenizer.id_to_token(token) for token in (ids[1][0], *reversed(ids[0][-8:])))
    whole, far_less = raw_addresses(plan, ids)[0], address_of(plan, first, *before)
    assert torch.cosine_similarity(whole, far_less, 0) > 0.9, "but for what stands far before it"


def test_addresses_are_measured_as_the_model_makes_them(tokenizer: Tokenizer) -> None:
    """By the median: of a few sentences the model sees less."""
    sentences = archive_sentences(tokenizer, 150, 3_000)
    ids = torch.tensor([[token for sentence in sentences for token in sentence]])
    starts = torch.tensor([len(sentence) for sentence in sentences]).cumsum(0)[:-1]
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    with torch.inference_mode():
        made = model(ids, output_hidden_states=True).hidden_states[4][0, starts[starts >= WINDOW + 2], ADDRESS]
    features = Features(**load_file(ROOT / "tools" / "demo_learned" / "learned.safetensors"))
    measured = raw_addresses(make_plan(tokenizer, features), sentences) @ features.addresses.T
    assert torch.cosine_similarity(made, measured, 1).median() > 0.99
