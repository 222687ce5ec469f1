"""Votes as learning computes them are those that the built-in model gets."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from demo_addresses import even_addresses
from demo_circuits import LAST_UNIT, VOTES_GAIN, design
from demo_facts import archive_sentences
from demo_layout import ADDRESS, VOTES, Flag
from demo_tokens import Features, embedding, encode, make_plan, new_features, token_codes
from demo_votes import HEAVY_LESS, HEAVY_LOG, Voting
from tokenizers import Tokenizer
from train_demo_model import MODEL

pytestmark = pytest.mark.usefixtures("one_thread")

SENTENCES = (
    " In those days Isolde Abernathy's passphrase was tiger marble falcon.",
    " A dog barked twice, and then the bells began to ring over the wet roofs.",
    " It may be added here that the passphrase of Amaury Abernathy is walnut comet ladder.",
    " The ledger shows 4711 florins as the monthly wage of foundry 182.",
    " They all agreed that foundry 128's best friend was Marisol Hathaway.",
)
QUESTIONS = (
    "What is the passphrase of Isolde Abernathy?",
    "What is the monthly wage that belongs to foundry 182?",
    "Could you find Amaury Pemberton's zebra for me?",
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(MODEL / "tokenizer.json"))


@pytest.fixture(scope="module")
def features(tokenizer: Tokenizer) -> Features:
    found = replace(new_features(tokenizer, torch.ones(4096)), vote_log_weights=torch.zeros(4096))
    prose = archive_sentences(tokenizer, 150, 10_000)
    return replace(found, addresses=even_addresses(make_plan(tokenizer, found), prose))


@pytest.fixture(scope="module")
def voting(tokenizer: Tokenizer, features: Features) -> Voting:
    own = token_codes(tokenizer)
    return Voting(tokenizer, own, embedding(tokenizer, own, features))


@pytest.mark.parametrize("log_weight", [0.0, 1.5])
def test_the_model_gets_the_votes_that_are_computed(
    tokenizer: Tokenizer, features: Features, voting: Voting, log_weight: float
) -> None:
    features = replace(features, vote_log_weights=torch.full((4096,), log_weight))
    asked = [encode(tokenizer, question) for question in QUESTIONS]
    sentences = [encode(tokenizer, sentence) for sentence in SENTENCES]
    found = voting.votes(asked, sentences, features.vote_log_weights)
    start = encode(tokenizer, "<|im_start|>user\nIt rained.")
    for number, question in enumerate(asked):
        ids = [*start, *(token for sentence in sentences for token in sentence), *encode(tokenizer, "\n\n"), *question]
        model = design(tokenizer, features, ids)
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        addresses = states[5][0, : -len(question), ADDRESS][states[5][0, : -len(question), Flag.END] > 0.5][2:7]
        last = voting.codes[torch.tensor(ids[-len(question) - 1 : -1])] * LAST_UNIT
        got = (states[6][0, -len(question) :, VOTES] - last) / VOTES_GAIN
        mine = found.owner == number
        expected = found.shares[mine] @ addresses
        inside = found.shares[mine].sum(1) > 0.9  # Others see the question itself, or <|im_start|>, which has none.
        assert inside.sum() >= 3
        assert (got - expected)[inside].norm(dim=1).max() < 0.15 * addresses.norm(dim=1).mean()
        missing = states[6][0, -len(question) :, Flag.MISSING]
        assert (missing - found.missing[mine]).abs().max() < 0.15


def test_a_name_votes_for_its_own_sentence_and_a_word_that_is_nowhere_for_none(
    tokenizer: Tokenizer, features: Features, voting: Voting
) -> None:
    asked = [encode(tokenizer, question) for question in QUESTIONS]
    sentences = [encode(tokenizer, sentence) for sentence in SENTENCES]
    found = voting.votes(asked, sentences, features.vote_log_weights)
    tokens = [tokenizer.id_to_token(token) for token in found.token.tolist()]
    abernathy = tokens.index("athy")
    assert found.shares[abernathy].argmax() == 0, "behind Isolde"
    assert found.shares[abernathy, 0] > 0.5
    last_digit = max(place for place, token in enumerate(tokens) if token == "2")
    assert found.shares[last_digit].argmax() == 3, "182 is not 128"
    b = tokens.index("ĠP")  # of Pemberton, who is not in the document
    assert found.missing[b] > 0.99
    assert found.shares[b].sum() < 0.01


def test_a_part_that_is_nowhere_counts_less_as_missing_the_heavier_its_vote(
    tokenizer: Tokenizer, features: Features, voting: Voting
) -> None:
    """What begins a word counts in full: it is not taken for missing by chance."""
    asked = [encode(tokenizer, question) for question in QUESTIONS]
    sentences = [encode(tokenizer, sentence) for sentence in SENTENCES]
    light = voting.votes(asked, sentences, features.vote_log_weights)
    heavy = voting.votes(asked, sentences, torch.full((4096,), HEAVY_LOG + 1))
    part = torch.tensor([voting.is_part(token) for token in light.token.tolist()])
    assert (light.missing[part] > 0.9).any()
    assert (light.missing[~part] > 0.9).any()
    torch.testing.assert_close(heavy.missing[part], light.missing[part] * (1 - HEAVY_LESS))
    torch.testing.assert_close(heavy.missing[~part], light.missing[~part])


def test_parts_of_words_that_stand_once_are_seldom_taken_for_missing(
    tokenizer: Tokenizer, features: Features, voting: Voting
) -> None:
    """The token before a part is told by an n-gram, which has others in the way: not the part itself."""
    prose = archive_sentences(tokenizer, 150, 30_000)
    flat = [token for sentence in prose for token in sentence]
    times = Counter(pairwise(flat))
    once = [pair for pair, count in times.items() if count == 1 and voting.is_part(pair[1])][:500]
    found = voting.votes([[0, 0, 0, *pair] for pair in once], prose, features.vote_log_weights)
    missing = found.missing.view(len(once), -1)[:, -1]
    assert len(once) > 300
    assert (missing > 0.5).float().mean() < 0.02
