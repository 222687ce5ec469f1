"""The addresses of sentences in the built-in model: of what they are made, and how they are kept apart.

The fewer of two sentences' addresses are alike by chance, the less the votes for one count for the other.
"""

import string
from collections.abc import Sequence
from typing import Final

import torch
from demo_layer import OFFSET_PAIRS, frequency
from demo_layout import CODE, SPACE, WINDOW
from demo_tokens import Plan, back, orthogonal, token_id
from torch import Tensor

ADDRESS_FIRST: Final = 1.0
ADDRESS_TOKEN: Final = 0.6
ADDRESS_NEXT: Final = 0.8
ADDRESS_EIGHT: Final = 0.7
ADDRESS_FAR: Final = 0.5
"""Parts of an address: the token before the sentence's first one, that one, the n-grams of four and eight before it,
and the n-gram of two far before it, or that a number not far before it ends in."""
FAR: Final = 32
"""Further back than most sentences are long: in many documents, the same ones end and begin alike again and again."""
FAR_SCORE: Final = 4.0
NUMBER_SCORE: Final = 88.0
NEARER: Final = 0.5
"""Scores of each rotary pair where a token is so far, of the end of a number, and of each token nearer: in many lists,
entries differ in numbers only, so a number takes the place of what is far if it is at most 52 tokens away; of numbers
further away, few do."""
QUOTE_MARK: Final = '"'
OPENING_MARK: Final = f'{SPACE}"'
SHARED_MARKS: Final = (("Ċ", (2,)), ("Ġ", (3,)), (".", (2, 3, 4)), ("?", (3,)), ("!", (3,)), (QUOTE_MARK, (3,)))
"""Tokens that many sentences have before them, and how far back."""
ADDRESS_LENGTH: Final = 2.5
"""The squared length of an address, about."""
LEAST_SPREAD: Final = 0.25
"""Directions in which addresses spread less than this share of the mean count as if they had it."""
_BEFORE: Final = ((21, 1, ADDRESS_FIRST), (23, 4, ADDRESS_NEXT), (26, 8, ADDRESS_EIGHT))
"""A seed, a length and a size of each n-gram before the sentence."""


def address_of(plan: Plan, token: str | None, *before: str | None) -> Tensor:
    """The address (64,) of a sentence by the token that it begins with and those before it, latest first.

    Neither is in it what is far before it, or a number that takes its place; nor is it made even.
    """
    address = torch.zeros(CODE) if token is None else orthogonal(CODE, 22) @ plan.code(token) * ADDRESS_TOKEN
    for seed, length, size in _BEFORE:
        for ago, other in enumerate(before[:length], 1):
            if other is not None:
                address += orthogonal(CODE, seed) @ plan.wordy_before @ back(ago) @ plan.code(other) * size
    return address


def address_basis(plan: Plan) -> Tensor:
    """An orthonormal basis (n, 64) of all that addresses can be."""
    left, sizes, _ = torch.linalg.svd(plan.features.addresses)
    basis: Tensor = left[:, sizes > sizes[0] * 1e-3].T
    return basis


def room_for_marks(plan: Plan) -> Tensor:
    """An orthonormal basis (n, 64) of what no address has: room for a mark of the sentence."""
    basis = address_basis(plan)
    whole: Tensor = torch.linalg.qr(basis.T, mode="complete")[0]
    return whole[:, len(basis) :].T


def even_addresses(plan: Plan, sentences: Sequence[Sequence[int]]) -> Tensor:
    """A matrix (64, 64) that makes addresses as unlike as can be: what tells nothing goes, the rest spreads evenly.

    sentences: token ids of a text's sentences, in their order; from their addresses it is measured how those spread.
    """
    own = _own_addresses(plan)
    addresses = raw_addresses(plan, sentences) @ own.T
    spread, directions = torch.linalg.eigh(addresses.T @ addresses / len(addresses))
    scale = spread.clamp(min=LEAST_SPREAD * spread.mean().item()).rsqrt()
    even = directions @ torch.diag(scale) @ directions.T
    length = (addresses @ even).square().sum(1).mean()
    matrix: Tensor = own.T @ even @ own * (ADDRESS_LENGTH / length).sqrt()
    return matrix


def _own_addresses(plan: Plan) -> Tensor:
    """An orthonormal basis (n, 64) of all but what addresses have in common that tells nothing.

    Behind a blank line nearly all that stands before a sentence is marks, and in a novel it often begins with one.
    """
    marks = [(None, *(None,) * (ago - 1), token) for token, places in SHARED_MARKS for ago in places]
    shared = torch.stack([address_of(plan, OPENING_MARK), *(address_of(plan, *mark) for mark in marks)])
    basis: Tensor = torch.linalg.qr(shared.T, mode="complete")[0].T
    return basis[len(shared) :]


def raw_addresses(plan: Plan, sentences: Sequence[Sequence[int]]) -> Tensor:
    """The addresses (n, 64) of all sentences that have enough before them, not made even."""
    tokens = torch.tensor([token for sentence in sentences for token in sentence])
    codes = plan.codes[tokens]
    starts = torch.tensor([len(sentence) for sentence in sentences]).cumsum(0)[:-1]
    starts = starts[starts >= WINDOW + 2]

    def ngram(length: int, places: Tensor) -> Tensor:
        parts = [codes[places - ago] @ back(ago).T for ago in range(1, length + 1)]
        return torch.stack(parts).sum(0) @ plan.wordy_before.T

    addresses = codes[starts] @ orthogonal(CODE, 22).T * ADDRESS_TOKEN
    for seed, length, size in _BEFORE:
        addresses += ngram(length, starts) @ orthogonal(CODE, seed).T * size
    return addresses + ngram(2, far_places(plan, tokens, starts)) @ orthogonal(CODE, 28).T * ADDRESS_FAR


def far_places(plan: Plan, tokens: Tensor, starts: Tensor) -> Tensor:
    """The places (n,) far before sentences, or behind a number, before which the n-gram of their address stands.

    tokens: ids of a text; starts: where its sentences start (n,).
    """
    ago = torch.arange(WINDOW)
    pairs = torch.tensor([frequency(pair) for pair in OFFSET_PAIRS])
    scores = FAR_SCORE * torch.cos((ago[:, None] - FAR) * pairs).sum(1) - NEARER * ago
    digits = torch.tensor([token_id(plan.tokenizer, digit) for digit in string.digits])
    digit = torch.isin(tokens, digits).float()
    ends = digit.roll(1) - digit
    return starts - (scores + NUMBER_SCORE * ends[starts[:, None] - ago]).argmax(1)
