"""Which sentences the words of a question vote for, as layer 5 of the built-in model finds them.

`demo_circuits` builds these scores into the model. Here they are computed for sentences that no model has read, so that
the search is learned with the votes that it will get.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from demo_layout import CODE, Flag
from demo_tokens import FADING, back, quotation_marks
from tokenizers import Tokenizer
from torch import Tensor

VOTE_SCORE: Final = 45.0
VOTE_CONTEXT: Final = 2.0
VOTE_BEFORE: Final = 5.0
"""Scores of a token that is the same as a question's, of the n-gram before both, and once more of the token before: a
word's beginning tells more of its end than the words before it, which a document has in another order."""
NO_VOTE: Final = 0.7
"""Of the score of the same token: where <|im_start|> takes the votes of a token that is nowhere."""
PART_SCORE: Final = 30.0
NO_PART: Final = 0.55
"""Score of the token before that of a part of a word, and the share of it where <|im_start|> takes its place."""
ASKED_SHARE: Final = 0.88
"""By how much less votes and missing words count than learned: then, a question's first word was among them."""
FIRST_TOKENS: Final = 3
"""How a question begins does not count as missing."""
STRICTER: Final = 1.7
"""By how much more missing words count than learned."""
HEAVY_LOG: Final = 0.6
HEAVY_LESS: Final = 0.67
"""By how much less a part of a word does, with each 1 that the log weight of its vote is above the first: a part that
is there is sometimes taken for missing, and of a heavy one, such as a digit, that alone would be enough."""
NGRAM: Final = 8
BARRED: Final = -1e3
"""Score of closing quotes, which get no votes."""
ROWS: Final = 256
"""Question tokens at once: there is a likeness to each of a document's tokens."""
LEAST_LIKENESS: Final = 0.4
"""Of codes. Other tokens get no votes: the score of the sink is far above theirs."""


@dataclass(frozen=True)
class Votes:
    """What the tokens of a batch of questions vote for.

    Attributes:
        token, owner: the tokens of all questions (tokens,), and the question of each.
        shares: how much of a token's vote each sentence gets (tokens, sentences); less than 1 in all if it is nowhere.
        missing: how far the token stands nowhere (tokens,); of parts of words with heavy votes less.
    """

    token: Tensor
    owner: Tensor
    shares: Tensor
    missing: Tensor


class Voting:
    """Computes votes; knows the tokens' codes, and which of them are parts of words or get no votes."""

    def __init__(self, tokenizer: Tokenizer, codes: Tensor, table: Tensor) -> None:
        """codes: (vocab, 64). table: the embedding (vocab, hidden), whose flags tell what begins a word."""
        self.codes = codes
        self._part = (table[:, Flag.START] + table[:, Flag.SPECIAL]) == 0
        self._barred = torch.zeros(len(codes), dtype=torch.bool)
        self._barred[quotation_marks(tokenizer)[1]] = True

    def is_part(self, token: int) -> bool:
        """Whether it goes on with a word."""
        return bool(self._part[token])

    def votes(
        self, questions: Sequence[Sequence[int]], sentences: Sequence[Sequence[int]], log_weights: Tensor
    ) -> Votes:
        """The votes of questions in a document of these sentences, in this order.

        log_weights: of each token's votes (vocab,), by which parts of words count less as missing.
        """
        tokens, sentence, _ = _flat(sentences)
        keys = self._ngrams(tokens, torch.arange(len(tokens)), nearest=2)
        behind, barred = self.codes[tokens.roll(1)], BARRED * self._barred[tokens]
        asked, owner, place = _flat(questions)
        code = self.codes[asked]
        before = (self.codes[asked.roll(1)] * (place > 0)[:, None]) @ back(2).T
        sought = self._ngrams(asked, place) @ back(1).T * VOTE_CONTEXT + before * VOTE_BEFORE
        part = self._part[asked] & (place >= FIRST_TOKENS)
        shares, missing = [], []
        for start in range(0, len(asked), ROWS):
            rows = slice(start, start + ROWS)
            likeness = code[rows] @ behind.T
            row, place_there = (likeness > LEAST_LIKENESS).nonzero(as_tuple=True)
            same = likeness[row, place_there] * VOTE_SCORE + barred[place_there]
            there = keys[place_there]
            scores = same + (sought[rows][row] * there).sum(1)
            weights, nowhere = _attend(scores, row, NO_VOTE * VOTE_SCORE, len(likeness))
            cells = row * len(sentences) + sentence[place_there]
            votes = torch.zeros(len(likeness) * len(sentences)).index_add(0, cells, weights)
            shares.append(votes.view(len(likeness), -1))
            parts = same + (before[rows][row] * there).sum(1) * (PART_SCORE / FADING**4)
            _, no_part = _attend(parts, row, VOTE_SCORE + NO_PART * PART_SCORE, len(likeness))
            less = 1 - HEAVY_LESS * (log_weights[asked[rows]] - HEAVY_LOG).clamp(min=0)
            missing.append(torch.where(part[rows], no_part * less, nowhere))
        return Votes(asked, owner, torch.cat(shares), torch.cat(missing) * (place >= FIRST_TOKENS))

    def _ngrams(self, tokens: Tensor, place: Tensor, nearest: int = 1) -> Tensor:
        """The n-gram (tokens, 64) before each token, from the nearest that counts; place: how many are before it."""
        total = torch.zeros(len(tokens), CODE)
        for ago in range(nearest, NGRAM + 1):
            total += (self.codes[tokens.roll(ago)] * (place >= ago)[:, None]) @ back(ago).T
        return total


def _flat(lists: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """All tokens one after the other, the list of each, and its place there."""
    tokens = torch.tensor([token for some in lists for token in some])
    lengths = torch.tensor([len(some) for some in lists])
    owner = torch.arange(len(lists)).repeat_interleave(lengths)
    place = torch.arange(len(tokens)) - (lengths.cumsum(0) - lengths)[owner]
    return tokens, owner, place


def _attend(scores: Tensor, row: Tensor, sink: float, rows: int) -> tuple[Tensor, Tensor]:
    """Attention weights of scores, each of a query in `row`, and those of the sink beside them (rows,)."""
    most = torch.full((rows,), sink).scatter_reduce(0, row, scores, "amax")
    weights, rest = (scores - most[row]).exp(), (sink - most).exp()
    total = rest.index_add(0, row, weights)
    return weights / total[row], rest / total
