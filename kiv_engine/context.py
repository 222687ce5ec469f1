"""A context: documents and chat turns in one cache. Reads, answers, goes back; yields events and prints nothing."""

import shutil
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import psutil
import torch

from kiv_engine.cache import AUTO_EXACT_TOKENS, CacheSnapshot, KIVCache
from kiv_engine.chat import ChatFormat, TextStream
from kiv_engine.config import SEARCH_BLOCK_TOKENS, KIVConfig, SamplingConfig
from kiv_engine.document import Document, tokenize
from kiv_engine.errors import CapacityError, ConfigError, EngineError
from kiv_engine.events import (
    AnswerEvent,
    AnswerFinished,
    Failed,
    FinishReason,
    MemoryUse,
    Passage,
    ReadEvent,
    ReadFinished,
    ReadProgress,
    TextDelta,
)
from kiv_engine.hits import LayerHits
from kiv_engine.loader import LoadedModel, weight_bytes
from kiv_engine.passages import PlacedDocument, rank_passages, token_mass
from kiv_engine.sampling import Sampler

READ_CHUNK_TOKENS: Final = 2_048
SNAPSHOT_TOKENS: Final = 16_384
PROGRESS_INTERVAL_S: Final = 0.1
NUM_PASSAGES: Final = 5
RAM_SHARE: Final = 0.9
"""Of the free RAM, a document may take this share."""

ShouldStop = Callable[[], bool]


def never() -> bool:
    """The stop callback of a caller who does not stop."""
    return False


@dataclass(frozen=True)
class Turn:
    """One question and its answer. `start` is the context's length before the question."""

    start: int
    question: str
    answer: str
    hits: tuple[LayerHits, ...] = field(repr=False)


@dataclass
class Prompt:
    """Tokens waiting to be fed, and how many of the context were already there."""

    ids: list[int]
    reused_tokens: int


@dataclass
class Answer:
    """An answer while it is written. It counts as cancelled until something else ends it."""

    begin: float
    ids: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    reason: FinishReason = "cancelled"
    first_token_s: float = 0.0
    last_token_s: float = 0.0

    def add(self, token: int) -> None:
        """Take the next token."""
        self.ids.append(token)
        self.last_token_s = time.perf_counter() - self.begin
        if len(self.ids) == 1:
            self.first_token_s = self.last_token_s

    def emit(self, piece: str) -> Iterator[TextDelta]:
        """Take the next text, if there is any."""
        if piece:
            self.text.append(piece)
            yield TextDelta(piece, len(self.ids))

    def end(self, reason: FinishReason) -> None:
        """Say why it ended."""
        self.reason = reason
        if not self.ids:
            self.first_token_s = time.perf_counter() - self.begin

    def tokens_per_s(self) -> float:
        """Decoding rate after the first token; 0 where it cannot be told."""
        seconds = self.last_token_s - self.first_token_s
        return (len(self.ids) - 1) / seconds if seconds > 0 else 0.0


class Context:
    """One sequence of documents, questions and answers over one model.

    Not thread-safe: one request at a time. Every request is a generator that ends with exactly one terminal event.

    Attributes:
        cache: the KIVCache that holds K and V.
        documents: what was given to `read`, in order, with its place.
        turns: finished turns.
    """

    def __init__(self, loaded: LoadedModel, config: KIVConfig, system: str | None = None) -> None:
        self.cache = KIVCache(loaded.model, config)
        self.documents: list[PlacedDocument] = []
        self.turns: list[Turn] = []
        self._loaded = loaded
        self._config = config
        self._format = ChatFormat(loaded.tokenizer, loaded.generation_config, system=system)
        self._ids = array("i")
        self._unread = array("i")
        self._unfed: list[int] = []
        self._snapshots: list[CacheSnapshot] = []

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def num_tokens(self) -> int:
        """Tokens in the cache."""
        return len(self._ids)

    @property
    def unread_tokens(self) -> int:
        """Document tokens that reading has not reached."""
        return len(self._unread)

    @property
    def document_tokens(self) -> int:
        """Tokens of all documents, read or not."""
        return sum(len(document.tokens.ids) for document in self.documents)

    def memory(self) -> MemoryUse:
        """Bytes per part, weights included."""
        return MemoryUse(weights=weight_bytes(self._loaded.model), **self.cache.bytes_by_part())

    def tokens_that_fit(self) -> int:
        """How many more tokens the free RAM can hold, 0 or more; with a store folder the disk counts instead."""
        folder = self._config.store_folder
        if folder is None:
            free = int(psutil.virtual_memory().available * RAM_SHARE)
        else:
            existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
            free = shutil.disk_usage(existing).free
        return max(0, free // self._token_bytes())

    def _token_bytes(self) -> int:
        """Bytes of RAM or disk per token: the store's rows and an eighth of the keys for the index."""
        element = 1 if self._config.store_dtype == "int8" else torch.finfo(self._loaded.model.dtype).bits // 8
        rows = self.cache.topology.row_bytes(element)
        return max(1, rows + rows // 16)

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, *documents: Document, should_stop: ShouldStop = never) -> Iterator[ReadEvent]:
        """Read documents into the context; without documents, go on where reading stopped."""
        try:
            yield from self._read(documents, should_stop)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever is raised becomes the one terminal event
            yield failed(error)

    def _read(self, documents: Sequence[Document], should_stop: ShouldStop) -> Iterator[ReadEvent]:
        if self.turns and documents:
            raise ConfigError("Documents come before the first question; open a new context for other documents.")
        begin = time.perf_counter()
        for document in documents:
            self._place(document)
        total = self.num_tokens + self.unread_tokens
        if self.unread_tokens > self.tokens_that_fit():
            raise CapacityError(self._too_large())
        self.cache.plan(total + 4 * SEARCH_BLOCK_TOKENS)
        first = self.num_tokens
        last_report = 0.0
        while self._unread and not should_stop():
            chunk = self._unread[:READ_CHUNK_TOKENS]
            self._feed_document(chunk)
            del self._unread[: len(chunk)]
            now = time.perf_counter()
            if now - last_report >= PROGRESS_INTERVAL_S or not self._unread:
                last_report = now
                yield self._progress(self.num_tokens - first, total, now - begin)
        if not self._unread:
            self._take_snapshot()
        mode, reason = self._mode_and_reason(total)
        yield ReadFinished(
            self.num_tokens,
            total,
            time.perf_counter() - begin,
            bool(self._unread),
            prefill_mode=mode,
            prefill_reason=reason,
        )

    def _place(self, document: Document) -> None:
        """Tokenize a document and queue it behind what is already there; seconds at most, so it is not broken off."""
        tokens = tokenize(document, self._loaded.tokenizer)
        assert tokens is not None
        if not self._ids and not self._unread:
            self._unread.extend(self._format.document_prefix())
        elif self.documents:
            self._unread.extend(self._format.plain("\n\n"))
        self.documents.append(PlacedDocument(tokens, self.num_tokens + len(self._unread)))
        self._unread.extend(tokens.ids.tolist())

    def _too_large(self) -> str:
        need = self.unread_tokens * self._token_bytes()
        where = "RAM" if self._config.store_folder is None else "disk"
        return (
            f"The document has {self.unread_tokens:,} tokens, which need {need / 1e9:.1f} GB of {where}; about "
            f"{self.tokens_that_fit():,} tokens fit. Use a shorter document, int8 or another store."
        )

    def _feed_document(self, chunk: "array[int]") -> None:
        with self.cache.reading():
            self._forward(chunk)
        if self.num_tokens // SNAPSHOT_TOKENS > (self.num_tokens - len(chunk)) // SNAPSHOT_TOKENS:
            self._take_snapshot()

    def _progress(self, done: int, total: int, seconds: float) -> ReadProgress:
        rate = done / seconds if seconds > 0 else 0.0
        return ReadProgress(self.num_tokens, total, rate, self.unread_tokens / rate if rate > 0 else None)

    def _mode_and_reason(self, total: int) -> tuple[str, str]:
        mode = self.cache.policy.prefill_mode(total)
        if self._config.prefill != "auto":
            return mode, "as asked"
        pairs = total * total / 2
        exact = f"exact would score {pairs:.1e} query-key pairs per head, {mode} about {total * 4096:.1e}"
        if mode == "exact":
            return mode, f"{total:,} tokens are at most {AUTO_EXACT_TOKENS:,}, where all pairs are still quick"
        if self.cache.policy.is_compact(total):
            return mode, f"{total:,} tokens are beyond the trained length, where positions are compact"
        return mode, exact

    # -- answering -----------------------------------------------------------------------------------------------

    def ask(
        self, question: str, sampling: SamplingConfig | None = None, should_stop: ShouldStop = never
    ) -> Iterator[AnswerEvent]:
        """Answer a question from everything in the context; on failure the context is as it was before."""
        start = self.num_tokens
        unfed = list(self._unfed)
        try:
            yield from self._ask(question, sampling or SamplingConfig(), should_stop)
        except Exception as error:  # noqa: BLE001 - the boundary, as in `read`
            event = failed(error)
            try:
                self.rewind(start)
                self._unfed = unfed
            except Exception as second:  # noqa: BLE001 - the first error is the one to tell
                event = Failed(f"{event.message} The context could not be restored ({second}).", error)
            yield event

    def _ask(self, question: str, sampling: SamplingConfig, should_stop: ShouldStop) -> Iterator[AnswerEvent]:
        begin = time.perf_counter()
        if not question.strip():
            raise ConfigError("The question is empty.")
        start = self.num_tokens
        prompt = self._prompt(question)
        for _ in self._feed_prompt(prompt.ids[:-1], should_stop):
            yield self._progress(self.num_tokens - start, start + len(prompt.ids), time.perf_counter() - begin)
        answer = Answer(begin)
        with self.cache.recording() as recorder:
            yield from self._decode(prompt.ids[-1], sampling, should_stop, answer)
            hits = tuple(recorder.drain())
        self.turns.append(Turn(start, question, "".join(answer.text), hits))
        self._take_snapshot()
        yield AnswerFinished(
            text="".join(answer.text),
            finish_reason=answer.reason,
            prompt_tokens=start + len(prompt.ids),
            reused_tokens=prompt.reused_tokens,
            answer_tokens=len(answer.ids),
            first_token_s=answer.first_token_s,
            decode_tokens_per_s=answer.tokens_per_s(),
            passages=self._passages(hits),
        )

    def _decode(
        self, next_id: int, sampling: SamplingConfig, should_stop: ShouldStop, answer: "Answer"
    ) -> Iterator[TextDelta]:
        """Draw tokens one by one into `answer`; what was drawn but not fed waits in `_unfed`."""
        sampler = Sampler(sampling, self._loaded.device)
        stream = TextStream(self._loaded.tokenizer, stop=(*sampling.stop, *self._format.stop_strings))
        self._unfed = [next_id]
        while not should_stop():
            token = sampler.next_token(self._forward(self._unfed), answer.ids)
            self._unfed = []
            if token in self._format.stop_token_ids:
                answer.end("stop")
                break
            answer.add(token)
            self._unfed = [token]
            yield from answer.emit(stream.push(token))
            if stream.stopped:
                answer.end("stop_string" if sampling.stop else "stop")
                break
            if len(answer.ids) >= sampling.max_new_tokens:
                answer.end("length")
                break
        yield from answer.emit(stream.finish())

    def _prompt(self, question: str) -> Prompt:
        """The tokens that make the question follow what is in the context."""
        if self.turns:
            ids = self._unfed + self._format.follow_up(question)
        elif self.documents:
            ids = self._format.question_suffix(question, after_document=True)
        else:
            ids = self._format.document_prefix() + self._format.question_suffix(question, after_document=False)
        return Prompt(ids, self.num_tokens)

    def _feed_prompt(self, ids: Sequence[int], should_stop: ShouldStop) -> Iterator[None]:
        """Feed a prompt in blocks that search for every token; yields after each block."""
        for first in range(0, len(ids), SEARCH_BLOCK_TOKENS):
            if should_stop():
                return
            self._forward(ids[first : first + SEARCH_BLOCK_TOKENS])
            yield None

    def _passages(self, hits: Sequence[LayerHits]) -> tuple[Passage, ...]:
        mass = token_mass(hits, self.num_tokens)
        return rank_passages(mass, self.documents, self._config.sink_tokens, NUM_PASSAGES)

    # -- going back ----------------------------------------------------------------------------------------------

    def rewind(self, num_tokens: int) -> None:
        """Go back to an earlier length of the context, as if it had never gone further.

        Growing layers are cropped; where layers forget, the nearest snapshot is restored and the rest read again.
        """
        if not 0 <= num_tokens <= self.num_tokens:
            raise ConfigError(f"Length {num_tokens:,} is outside the context's 0 to {self.num_tokens:,} tokens.")
        if num_tokens == self.num_tokens:
            return
        ids = self._ids[:num_tokens]
        self._snapshots = [snapshot for snapshot in self._snapshots if snapshot.num_tokens <= num_tokens]
        self.turns = [turn for turn in self.turns if turn.start < num_tokens]
        self._unfed = []
        base = self._restore(num_tokens)
        self._ids = ids[:base]
        rest = ids[base:]
        while rest:
            size = READ_CHUNK_TOKENS - self.num_tokens % READ_CHUNK_TOKENS
            self._feed_again(rest[:size])
            rest = rest[size:]

    def _restore(self, num_tokens: int) -> int:
        """Bring the cache to the nearest length at or below; that length."""
        if not self.cache.forgetting_layers:
            self.cache.crop(num_tokens - self.cache.num_tokens)
            return num_tokens
        if not self._snapshots:
            self.cache.reset()
            return 0
        self.cache.restore(self._snapshots[-1])
        return self._snapshots[-1].num_tokens

    def _feed_again(self, chunk: "array[int]") -> None:
        in_document = any(document.start <= self.num_tokens < document.end for document in self.documents)
        if in_document:
            self._feed_document(chunk)
            return
        for first in range(0, len(chunk), SEARCH_BLOCK_TOKENS):
            self._forward(chunk[first : first + SEARCH_BLOCK_TOKENS])

    def _take_snapshot(self) -> None:
        if self.cache.forgetting_layers and self.num_tokens:
            self._snapshots = [kept for kept in self._snapshots if kept.num_tokens < self.num_tokens]
            self._snapshots.append(self.cache.snapshot())

    # -- the model -----------------------------------------------------------------------------------------------

    def _forward(self, ids: "Sequence[int] | array[int]") -> torch.Tensor:
        """Feed tokens; logits (vocab,) of the last one."""
        inputs = torch.tensor(ids, dtype=torch.long, device=self._loaded.device)[None]
        with torch.inference_mode():
            output = self._loaded.model(input_ids=inputs, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self._ids.extend(ids)
        logits: torch.Tensor = output.logits[0, -1]
        return logits

    def close(self) -> None:
        """Give the memory back."""
        self.cache.close()


def failed(error: BaseException) -> Failed:
    """The terminal event for whatever was raised."""
    if isinstance(error, EngineError):
        return Failed(str(error), error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Failed("Out of memory; use a shorter document, store_dtype int8 or a store folder.", error)
    return Failed(f"{type(error).__name__}: {error}".splitlines()[0], error)
