"""An answer while it is written: its tokens, its text, what ends it; and the hits that come with it."""

import time
from collections.abc import Generator, Iterator
from typing import Final

from kiv_engine.chat import ChatFormat
from kiv_engine.config import SamplingConfig
from kiv_engine.events import FinishReason, TextDelta
from kiv_engine.hits import HitRecorder, HitsDrained, LayerHits

HITS_INTERVAL_S: Final = 0.125


class Answer:
    """Takes the tokens that are drawn. It counts as cancelled until something else ends it.

    Attributes:
        start: position of the first token.
        ids: its tokens, without one of the model's that ends answers.
        reason: what ended it.
        cut: a stop string did; tokens may say more than the text.
        first_token_s: seconds from the question to the first token, or to an end without one.
    """

    def __init__(self, chat: ChatFormat, sampling: SamplingConfig, begin: float, start: int) -> None:
        """`begin` is the clock time of the question."""
        self.start = start
        self.ids: list[int] = []
        self.reason: FinishReason = "cancelled"
        self.cut = False
        self.first_token_s = 0.0
        self._last_token_s = 0.0
        self._pieces: list[str] = []
        self._begin = begin
        self._chat, self._sampling = chat, sampling
        self._stream = chat.stream(sampling.stop)

    @property
    def text(self) -> str:
        """What the tokens say, up to a stop string."""
        return "".join(self._pieces)

    @property
    def is_over(self) -> bool:
        """Whether no more tokens are wanted."""
        return self.reason != "cancelled"

    def take(self, token: int) -> Iterator[TextDelta]:
        """Take the next token; the text that is sure by now, if any."""
        if token in self._chat.stop_token_ids:
            self._end("stop")
            return
        self._add(token)
        yield from self._emit(self._stream.push(token))
        if self._stream.stopped:
            self.cut = True
            self._end(self._reason_of_cut())
        elif len(self.ids) >= self._sampling.max_new_tokens:
            self._end("length")

    def finish(self) -> Iterator[TextDelta]:
        """The rest of the text, once there are no more tokens."""
        yield from self._emit(self._stream.finish())

    def _add(self, token: int) -> None:
        self.ids.append(token)
        self._last_token_s = time.perf_counter() - self._begin
        if len(self.ids) == 1:
            self.first_token_s = self._last_token_s

    def _emit(self, piece: str) -> Iterator[TextDelta]:
        if piece:
            self._pieces.append(piece)
            yield TextDelta(piece, len(self.ids))

    def _end(self, reason: FinishReason) -> None:
        self.reason = reason
        if not self.ids:
            self.first_token_s = time.perf_counter() - self._begin

    def _reason_of_cut(self) -> FinishReason:
        """Which string ended the answer: one of the user's, or the text with which the chat format ends answers."""
        rest = self._chat.text(self.ids)[len(self.text) :]
        mine = min((len(text) for text in self._sampling.stop if rest.startswith(text)), default=None)
        own = min((len(text) for text in self._chat.stop_strings if rest.startswith(text)), default=None)
        return "stop_string" if mine is not None and (own is None or mine <= own) else "stop"

    def without_stop_string(self) -> tuple[int, str]:
        """How many of its tokens say only the text, and the rest of that, which one shares with the stop string."""
        kept, text = len(self.ids), self.text
        while not text.startswith(self._chat.text(self.ids[:kept])):
            kept -= 1
        return kept, text[len(self._chat.text(self.ids[:kept])) :]

    def tokens_per_s(self) -> float:
        """Decoding rate after the first token; 0 where it cannot be told."""
        seconds = self._last_token_s - self.first_token_s
        return (len(self.ids) - 1) / seconds if seconds > 0 else 0.0


def drained(
    deltas: Iterator[TextDelta], recorder: HitRecorder
) -> Generator[TextDelta | HitsDrained, None, tuple[LayerHits, ...]]:
    """Pass an answer's pieces on with its hits in between, a few times a second and at the end; all hits."""
    hits: list[LayerHits] = []
    last_drain = time.perf_counter()
    for delta in deltas:
        yield delta
        if time.perf_counter() - last_drain >= HITS_INTERVAL_S:
            hits += (some := recorder.drain())
            yield HitsDrained(tuple(some))
            last_drain = time.perf_counter()
    hits += (rest := recorder.drain())
    yield HitsDrained(tuple(rest))
    return tuple(hits)
