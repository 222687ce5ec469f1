"""Documents become tokens in the cache: laid one behind the other, and read chunk by chunk."""

import time
from array import array
from collections.abc import Generator, Sequence
from typing import Final

import torch
from transformers import PreTrainedTokenizerBase

from kiv_engine.cached_tokens import CachedTokens
from kiv_engine.chat import ChatFormat
from kiv_engine.checkpoints import Checkpoints
from kiv_engine.config import SEARCH_BLOCK_TOKENS
from kiv_engine.document import Document, TokenizedDocument, tokenize_stepwise
from kiv_engine.errors import StoppedError
from kiv_engine.events import ReadFinished, ReadProgress, TokenizeProgress
from kiv_engine.footprint import Footprint
from kiv_engine.memory import trim_heap
from kiv_engine.passages import PlacedDocument
from kiv_engine.saving import Progress
from kiv_engine.stopping import ShouldStop, never

READ_CHUNK_TOKENS: Final = 2_048
SNAPSHOT_TOKENS: Final = 16_384
TRIM_TOKENS: Final = 131_072
"""After so many tokens read, what reading freed goes back to the system, which takes some ten milliseconds."""
PROGRESS_INTERVAL_S: Final = 0.1


class LaidDocuments:
    """Documents one behind the other, with what stands before and between them.

    Attributes:
        placed: the documents, in order, with their places.
        unread: their tokens that reading has not reached.
    """

    def __init__(self, chat: ChatFormat) -> None:
        self.placed: list[PlacedDocument] = []
        self.unread = array("i")
        self._chat = chat

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents, read or not."""
        return sum(len(document.tokens.ids) for document in self.placed)

    @property
    def end(self) -> int:
        """Where the documents end in the context, as far as they are read."""
        return self.placed[-1].end - len(self.unread) if self.placed else 0

    @property
    def begins_line(self) -> bool:
        """Whether the next document stands behind a line break."""
        return bool(self.placed) or self._chat.begins_line

    def lay(self, tokens: TokenizedDocument, num_read: int) -> None:
        """Lay a document behind the others, of which so many tokens are read."""
        if not num_read and not self.unread:
            self.unread.extend(self._chat.document_prefix())
        elif self.placed:
            self.unread.extend(self._chat.plain("\n\n"))
        self.placed.append(PlacedDocument(tokens, num_read + len(self.unread)))
        self.unread.extend(tokens.ids.tolist())

    def take_back(self, num_documents: int, num_unread: int) -> None:
        """Leave so many documents and tokens, as before others were laid behind them."""
        del self.placed[num_documents:], self.unread[num_unread:]


class Reader:
    """Reads what is laid.

    Attributes:
        tokens_per_s: of the newest reading that was long enough to tell; 0 before.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        tokens: CachedTokens,
        laid: LaidDocuments,
        footprint: Footprint,
        checkpoints: Checkpoints,
    ) -> None:
        self.tokens_per_s = 0.0
        self._tokenizer = tokenizer
        self._tokens, self._cache = tokens, tokens.cache
        self._laid = laid
        self._footprint, self._checkpoints = footprint, checkpoints

    @property
    def total(self) -> int:
        """Tokens in the cache once all is read."""
        return len(self._tokens) + len(self._laid.unread)

    def read(
        self, documents: Sequence[Document], should_stop: ShouldStop, anyway: bool, up_to: int | None
    ) -> Generator[TokenizeProgress | ReadProgress, None, ReadFinished]:
        """Lay documents behind what is laid and read on. What is raised may leave the cache torn."""
        begin = time.perf_counter()
        queued = yield from self._queue(documents, should_stop, anyway, up_to)
        laid, total, first, end = self._laid, self.total, len(self._tokens), self._end(up_to)
        if queued and first < end:
            yield ReadProgress(first, total, 0.0, None)  # a large model takes minutes until it can tell of a chunk
        last_trim = first
        last_report = reading_since = time.perf_counter()
        while queued and len(self._tokens) < end and not should_stop():
            if not self._feed_unless_stopped(end, should_stop):
                break
            is_at_end = len(self._tokens) >= end
            if len(self._tokens) - last_trim >= TRIM_TOKENS or is_at_end:
                trim_heap()
                last_trim = len(self._tokens)
            if self._checkpoints.is_due:
                self._checkpoints.try_to_write(self.to_save(), wait=False)
            now = time.perf_counter()
            if now - last_report >= PROGRESS_INTERVAL_S or is_at_end:
                last_report = now
                yield progress(len(self._tokens), first, end, total, now - reading_since)
        self._note_rate(first, end, time.perf_counter() - reading_since)
        self._tokens.take_snapshot()
        self._cache.check_saved()
        if self._checkpoints.is_saving and laid.placed and queued:
            self._checkpoints.try_to_write(self.to_save())
        return ReadFinished(
            len(self._tokens),
            total,
            time.perf_counter() - begin,
            len(self._tokens) < end or not queued,
            prefill_mode=self._cache.policy.prefill_mode(end),
            prefill_reason=self._cache.policy.prefill_reason(end),
            not_saved=self._checkpoints.take_problem(),
        )

    def _end(self, up_to: int | None) -> int:
        """The length to read to: of all, or a beginning; what is read already is not taken back."""
        return self.total if up_to is None else min(self.total, max(up_to, len(self._tokens)))

    def _queue(
        self, documents: Sequence[Document], should_stop: ShouldStop, anyway: bool, up_to: int | None
    ) -> Generator[TokenizeProgress, None, bool]:
        """Lay documents and make room for them. Stopped (False) or failed, everything is left as it was."""
        num_documents, num_unread = len(self._laid.placed), len(self._laid.unread)
        planned = self._cache.policy.planned_tokens
        queued = False
        try:
            if (yield from self._lay_all(documents, should_stop)):
                num_read, unread, end = len(self._tokens), len(self._laid.unread), self._end(up_to)
                if not anyway and end > self._footprint.most_tokens(num_read, unread):
                    raise self._footprint.too_large(num_read, end - num_read, unread)
                self._cache.plan(end + 4 * SEARCH_BLOCK_TOKENS)
                queued = True
        finally:
            if not queued:
                self._laid.take_back(num_documents, num_unread)
                self._cache.plan(planned)
        return queued

    def _lay_all(
        self, documents: Sequence[Document], should_stop: ShouldStop
    ) -> Generator[TokenizeProgress, None, bool]:
        """Tokenize documents and lay them behind what is already there; False once stopped."""
        total = sum(len(document.text) for document in documents)
        before, last_report = 0, time.perf_counter()
        for document in documents:
            steps = tokenize_stepwise(document, self._tokenizer, self._laid.begins_line)
            while True:
                try:
                    done = next(steps)
                except StopIteration as stop:
                    self._laid.lay(stop.value, len(self._tokens))
                    break
                if done < len(document.text) and time.perf_counter() - last_report >= PROGRESS_INTERVAL_S:
                    last_report = time.perf_counter()
                    yield TokenizeProgress(before + done, total)
                    if should_stop():
                        return False
            before += len(document.text)
        return True

    def _feed_unless_stopped(self, limit: int, should_stop: ShouldStop) -> bool:
        """Read the next chunk; False where that was stopped, and what it did is taken back."""
        try:
            self.feed(limit, should_stop)
        except StoppedError:
            self._checkpoints.settle()
            self._tokens.go_back(len(self._tokens))
            return False
        return True

    def feed(self, limit: int, should_stop: ShouldStop = never) -> None:
        """Read the next chunk, at most to a length of `limit`. Chunks end at the same places wherever reading began.

        Raises StoppedError, which leaves the layers torn.
        """
        num_read, unread = len(self._tokens), self._laid.unread
        room = READ_CHUNK_TOKENS - num_read % READ_CHUNK_TOKENS
        chunk = unread[: min(room, limit - num_read)]
        with self._cache.reading(), self._cache.filling():
            self._tokens.feed(chunk, should_stop)
        del unread[: len(chunk)]
        if len(self._tokens) // SNAPSHOT_TOKENS > num_read // SNAPSHOT_TOKENS:
            self._tokens.take_snapshot()

    def to_save(self) -> Progress:
        """What a checkpoint holds."""
        return Progress(
            torch.tensor(self._tokens.ids + self._laid.unread, dtype=torch.int32),
            len(self._tokens),
            self._cache.policy.planned_tokens,
            self._laid.placed,
            self._tokens.snapshots_to_here(),
        )

    def _note_rate(self, first: int, end: int, seconds: float) -> None:
        """Less than a chunk tells more of the first step than of the rate."""
        num_tokens = len(self._tokens) - first
        if num_tokens >= READ_CHUNK_TOKENS and self._cache.policy.reads_linearly(end) and seconds > 0:
            self.tokens_per_s = num_tokens / seconds


def progress(num_tokens: int, first: int, end: int, total: int, seconds: float) -> ReadProgress:
    """How far reading is that began at a length of `first`, so many seconds ago, and stops at `end`."""
    rate = (num_tokens - first) / seconds if seconds > 0 else 0.0
    return ReadProgress(num_tokens, total, rate, (end - num_tokens) / rate if rate > 0 else None)
