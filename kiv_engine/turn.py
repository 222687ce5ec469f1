"""A question and its answer, by where they lie in the context."""

from array import array
from dataclasses import dataclass, field, replace

from kiv_engine.chat import ChatFormat
from kiv_engine.config import SEARCH_BLOCK_TOKENS
from kiv_engine.hits import LayerHits


@dataclass(frozen=True)
class Turn:
    """One question and its answer.

    Attributes:
        start, answer_start, end: the context's length before the question, before the answer's first token, and after
            the turn.
        unfed: tokens that the turn still lacks in the cache, to be fed before the next question: the answer's last one,
            or the rest of a question that was broken off.
        hits: what each generated token used, in order; only the newest turn has them.
    """

    start: int
    answer_start: int
    end: int
    question: str
    answer: str
    unfed: tuple[int, ...]
    hits: tuple[LayerHits, ...] = field(repr=False)

    def block_end(self, position: int) -> int:
        """Where the forward that begins at a position in it ended when it was fed first: questions go in blocks."""
        last = min(self.answer_start - 1, self.end)
        return max(position + 1, min(position + SEARCH_BLOCK_TOKENS, last))

    def shortened(self, end: int, ids: "array[int]", chat: ChatFormat) -> "Turn":
        """As if it had been stopped at `end`, in its answer or still in its question; `ids` are the whole context's."""
        following = (*ids[end : self.end], *self.unfed)
        return replace(
            self,
            end=end,
            answer=chat.text(ids[self.answer_start : end]),
            unfed=following[: max(0, self.answer_start - end)],
            hits=tuple(hits for hits in self.hits if hits.position < end),
        )
