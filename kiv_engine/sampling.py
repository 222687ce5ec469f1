"""Logits to the next token, in the order of transformers: repetition penalty, temperature, top-k, top-p, min-p."""

import math
import secrets
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from kiv_engine.config import SamplingConfig
from kiv_engine.errors import EngineError, said

_Candidates: TypeAlias = tuple[Tensor, Tensor]
"""Scores and token ids of the tokens still in the draw, both (candidates,)."""


class Sampler:
    """Picks the tokens of one answer. It owns its random generator: nothing else's draws shift its own.

    Attributes:
        seed: what the generator was seeded with; the config's, or a fresh one. The same seed repeats the answer.
    """

    def __init__(self, config: SamplingConfig, device: torch.device | str) -> None:
        self.config = config
        self.seed = secrets.randbits(63) if config.seed is None else config.seed
        self._generator = torch.Generator(device).manual_seed(self.seed)

    def next_token(self, logits: Tensor, answer_ids: Sequence[int]) -> int:
        """The next token of an answer that holds `answer_ids` so far; `logits` are (vocab,), on the sampler's device.

        Raises:
            EngineError: no logit is the largest, because some are NaN or infinite.
        """
        scores = self._penalize(logits, answer_ids)
        if self.config.temperature == 0:
            largest, token = scores.max(-1)
            return _finite_choice(token, largest)
        candidates, ids = self._filter(scores.float() / self.config.temperature)
        return _finite_choice(ids[self._draw(candidates)], candidates.max(-1).values)

    def _penalize(self, logits: Tensor, answer_ids: Sequence[int]) -> Tensor:
        """Lower (vocab,) logits of the tokens in the answer, each once (CTRL, arXiv:1909.05858)."""
        penalty = self.config.repetition_penalty
        # The embedding may know more tokens than the head.
        seen = sorted({token for token in answer_ids if token < len(logits)})
        if penalty == 1 or not seen:
            return logits
        index = torch.tensor(seen, device=logits.device)
        scores = logits.float().clone()
        repeated = scores[index]
        scores[index] = torch.where(repeated < 0, repeated * penalty, repeated / penalty)
        return scores

    def _filter(self, scores: Tensor) -> _Candidates:
        """Candidates of (vocab,) scores that top-k, top-p and min-p leave."""
        ids = torch.arange(len(scores), device=scores.device)
        if 0 < self.config.top_k < len(scores):
            scores, ids = scores.topk(self.config.top_k)
        if self.config.top_p < 1:
            scores, ids = _keep_nucleus(scores, ids, self.config.top_p)
        if self.config.min_p > 0:
            scores = scores.masked_fill(scores < scores.max(-1).values + math.log(self.config.min_p), -torch.inf)
        return scores, ids

    def _draw(self, scores: Tensor) -> Tensor:
        """Index, (), of one of (candidates,), drawn by their softmax.

        By one random number rather than `torch.multinomial`, which on CUDA breaks the whole process if it finds a NaN.
        """
        cumulated = scores.softmax(-1).cumsum(-1, dtype=torch.float64)
        drawn = torch.rand(1, generator=self._generator, device=scores.device, dtype=torch.float64) * cumulated[-1]
        # On the right: a token of probability 0 adds nothing, so it is never the first beyond the number drawn.
        return torch.searchsorted(cumulated, drawn, right=True).clamp_max_(len(scores) - 1)[0]


def _keep_nucleus(scores: Tensor, ids: Tensor, top_p: float) -> _Candidates:
    """The likeliest tokens, until their probability reaches top_p; at least one (arXiv:1904.09751)."""
    scores, order = scores.sort(descending=True)
    probabilities = scores.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    return scores.masked_fill(before >= top_p, -torch.inf), ids[order]


def _finite_choice(token: Tensor, largest: Tensor) -> int:
    """The token as a number, if the largest score, (), is one; one wait for the device in all."""
    # NaN is the largest for torch, so the largest tells everything. float64 holds every token id exactly.
    choice, score = torch.stack((token.double(), largest.double())).tolist()
    if not math.isfinite(score):
        raise EngineError(
            said(
                "The model's output is not a number ({0:g}), so no token can be chosen; its weights may "
                "be damaged, or its dtype too small for them.",
                score,
            )
        )
    return int(choice)
