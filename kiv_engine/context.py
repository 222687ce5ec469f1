"""A context: documents and chat turns in one cache. Reads, answers, goes back; yields events and prints nothing."""

import time
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from kiv_engine.answer import Answer, drained
from kiv_engine.blocks import BackgroundCheck
from kiv_engine.cache import KIVCache
from kiv_engine.cached_tokens import CachedTokens
from kiv_engine.chat import ChatFormat
from kiv_engine.checkpoints import Checkpoints
from kiv_engine.config import SEARCH_BLOCK_TOKENS, KIVConfig, SamplingConfig
from kiv_engine.document import Document, tokenize
from kiv_engine.errors import ConfigError, StoppedError, said
from kiv_engine.events import AnswerEvent, AnswerFinished, Failed, Passage, ReadEvent, ReadProgress, TextDelta
from kiv_engine.footprint import Footprint
from kiv_engine.hits import HitsDrained, LayerHits
from kiv_engine.loader import LoadedModel
from kiv_engine.memory import forget_frames, trim_heap
from kiv_engine.passages import PlacedDocument, rank_passages, token_mass
from kiv_engine.reading import LaidDocuments, Reader, progress
from kiv_engine.sampling import Sampler
from kiv_engine.saved_context import SavedContext
from kiv_engine.stopping import ShouldStop, never
from kiv_engine.turn import Turn

NUM_PASSAGES: Final = 5


class Context:
    """One sequence of documents, questions and answers over one model.

    Not thread-safe: one request at a time. Every request is a generator that ends with exactly one terminal event.

    Attributes:
        cache: the KIVCache that holds K and V.
        footprint: what it takes in memory.
        turns: finished turns.
    """

    def __init__(self, loaded: LoadedModel, config: KIVConfig, system: str | None = None) -> None:
        self._format = ChatFormat(loaded.tokenizer, loaded.generation_config, system=system)
        self.cache = KIVCache(loaded.model, config)
        self.footprint = Footprint(loaded, self.cache, config)
        self.turns: list[Turn] = []
        self._loaded = loaded
        self._tokens = CachedTokens(loaded, self.cache)
        self._config = config
        self._laid = LaidDocuments(self._format)
        self._unfed: list[int] = []
        self._checkpoints = Checkpoints(loaded, self.cache, config, system)
        self._reader = Reader(loaded.tokenizer, self._tokens, self._laid, self.footprint, self._checkpoints)
        self._check: BackgroundCheck | None = None

    @classmethod
    def opened(
        cls,
        loaded: LoadedModel,
        saved: SavedContext,
        retrieved_tokens: int | None = None,
        *,
        copy: bool = False,
        store: str | Path = "ram",
    ) -> "Context":
        """A context that goes on from a saved one; `copy` to read much more, into a `store`. Raises SavedContextError.

        What is read to its end is mapped from where it is saved, whatever the store.
        """
        saved.require_same_model(loaded)
        copy = copy or not saved.complete
        config = replace(saved.config, store=store) if copy else saved.config
        if retrieved_tokens is not None:
            config = replace(config, retrieved_tokens=retrieved_tokens)
        context = cls(loaded, config, saved.system)
        try:
            context._open(saved, copy=copy)
        except BaseException:
            context.close()
            raise
        return context

    def _open(self, saved: SavedContext, *, copy: bool) -> None:
        if not saved.complete:  # first of all, so that no other program writes what is read here
            self._checkpoints.begin(saved.folder, saved)
        tokens = array("i", saved.tokens().tolist())
        self._laid.placed = saved.documents()
        self._tokens.ids, self._laid.unread = tokens[: saved.num_tokens], tokens[saved.num_tokens :]
        self.cache.policy.planned_tokens = saved.planned_tokens if copy else 0
        self._tokens.snapshots = saved.restore(self.cache, self._loaded.layer_device, copy=copy)
        self.cache.policy.planned_tokens = saved.planned_tokens
        if files := self.cache.saved_files:
            self._check = BackgroundCheck(files)

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def config(self) -> KIVConfig:
        """As it was made."""
        return self._config

    @property
    def documents(self) -> list[PlacedDocument]:
        """What was given to `read`, in order, with its place."""
        return self._laid.placed

    @property
    def num_tokens(self) -> int:
        """Tokens in the cache."""
        return len(self._tokens)

    @property
    def chat_start(self) -> int:
        """Where the first question begins, or would: behind what is read of the documents."""
        return self.turns[0].start if self.turns else self.num_tokens

    @property
    def unread_tokens(self) -> int:
        """Document tokens that reading has not reached."""
        return len(self._laid.unread)

    @property
    def document_tokens(self) -> int:
        """Tokens of all documents, read or not."""
        return self._laid.num_tokens

    @property
    def most_tokens(self) -> int:
        """How long this context can become, with what is read and what is not."""
        return self.footprint.most_tokens(self.num_tokens, self.unread_tokens)

    @property
    def read_tokens_per_s(self) -> float:
        """Of the newest reading that was long enough to tell; 0 before."""
        return self._reader.tokens_per_s

    @property
    def reads_linearly(self) -> bool:
        """Whether twice the text takes twice the time."""
        return self.cache.policy.reads_linearly(self.num_tokens + self.unread_tokens)

    # -- saving --------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Keep the documents in a folder: what is read now, and what `read` adds, with a checkpoint every 20 s.

        The folder is complete once everything is read; `Engine.open_context` then opens it. Raises SavedContextError or
        CapacityError where it cannot be written, ConfigError behind the first question.
        """
        if self.turns:
            raise ConfigError(said("Only documents are saved; save before the first question."))
        self._checkpoints.begin(Path(folder))
        if self.documents:
            self._checkpoints.write(self._reader.to_save())

    # -- reading -------------------------------------------------------------------------------------------------

    def exchange(self, *documents: Document) -> None:
        """Make these the context's documents. What they have in common with the present ones, from the beginning on,
        stays read; `read()` goes on behind it. Raises ConfigError behind the first question.
        """
        if self.turns:
            raise ConfigError(said("Documents come before the first question; open a new context."))
        laid = LaidDocuments(self._format)
        for document in documents:
            laid.lay(tokenize(document, self._loaded.tokenizer, laid.begins_line), 0)
        self.rewind(shared_length(self._tokens.ids, laid.unread))
        self._laid.placed, self._laid.unread = laid.placed, laid.unread[self.num_tokens :]

    def read(
        self,
        *documents: Document,
        should_stop: ShouldStop = never,
        anyway: bool = False,
        up_to: int | None = None,
    ) -> Iterator[ReadEvent]:
        """Read documents into the context; without documents, go on where reading stopped or failed.

        What is larger than what is free fails before the first token, unless it is to be tried `anyway`. With `up_to`
        only a beginning is read, until the context has so many tokens; the rest can be read later, and what is read
        already stays.

        Once all tokens are counted, and before the first is read, the first ReadProgress comes.

        A failure before the first token (no room, no tokens) leaves the context as it was.
        """
        last: ReadEvent
        try:
            self._mend()
            if self.turns and (documents or self._laid.unread):
                raise ConfigError(
                    said(
                        "Documents come before the first question; open a new context, or go back to before that "
                        "question."
                    )
                )
            last = yield from self._reader.read(documents, should_stop, anyway, up_to)
        except BaseException as error:
            last = self._undo_reading(error)
            if not isinstance(error, Exception):
                raise
        yield last

    def _undo_reading(self, error: BaseException) -> Failed:
        """Bring all layers to one length; the terminal event for what was raised."""
        forget_frames(error)  # what the forward held may be what going back needs
        try:
            self._mend()
        except Exception as second:  # noqa: BLE001 - the first error is the one to tell; the next reading tries again
            forget_frames(second)
        return self.footprint.failed(error, self.num_tokens, self.num_tokens + self.unread_tokens)

    def _mend(self) -> None:
        """Where a forward was broken off, go back to before it."""
        if self._tokens.is_torn:
            self._go_back(self.num_tokens, feed=False)

    # -- answering -----------------------------------------------------------------------------------------------

    def ask(
        self,
        question: str,
        sampling: SamplingConfig | None = None,
        should_stop: ShouldStop = never,
        *,
        record: bool = True,
    ) -> Iterator[AnswerEvent | HitsDrained]:
        """Answer a question from everything in the context; without `record` there are no hits and no passages.

        On failure, or if the caller drops the generator before its terminal event, the context is as it was before.
        """
        try:
            self._mend()
        except Exception as error:  # noqa: BLE001 - told, and tried again the next time
            yield self.footprint.failed(error, self.num_tokens, self.num_tokens + self.unread_tokens)
            return
        start, unfed = self.num_tokens, list(self._unfed)
        last: AnswerFinished | Failed
        try:
            last = yield from self._ask(question, sampling or SamplingConfig(), should_stop, record)
        except BaseException as error:
            last = self._undo(start, unfed, error)
            if not isinstance(error, Exception):
                raise
        yield last

    def _undo(self, start: int, unfed: list[int], error: BaseException) -> Failed:
        """Bring everything back to before the question; the terminal event for what was raised."""
        event = self.footprint.failed(error, self.num_tokens, self.num_tokens + len(self._unfed))
        try:
            if self._tokens.is_torn or self.num_tokens != start:
                self._rewind(start)
        except Exception as second:  # noqa: BLE001 - the first error is the one to tell
            return Failed(said("{0} The context could not be restored ({1}).", event.message, second), error)
        self._unfed = unfed
        return event

    def _ask(
        self, question: str, sampling: SamplingConfig, should_stop: ShouldStop, record: bool
    ) -> Generator[ReadProgress | TextDelta | HitsDrained, None, AnswerFinished]:
        begin = time.perf_counter()
        if not question.strip():
            raise ConfigError(said("The question is empty."))
        start = self.num_tokens
        self._unfed = self._prompt(question)
        answer = Answer(self._format, sampling, begin, start + len(self._unfed))
        while len(self._unfed) > 1 and not should_stop():
            try:
                self._feed_prompt(should_stop)
            except StoppedError:
                self._mend()
                break
            yield progress(self.num_tokens, start, answer.start, answer.start, time.perf_counter() - begin)
        deltas = self._decode(sampling, should_stop, answer)
        hits: tuple[LayerHits, ...] = ()
        if record:
            with self.cache.recording() as recorder:
                hits = yield from drained(deltas, recorder)
        else:
            yield from deltas
        self.cache.check_saved()
        passages = self._passages(hits)
        self._add_turn(Turn(start, answer.start, self.num_tokens, question, answer.text, tuple(self._unfed), hits))
        if answer.cut:
            self._leave_out_stop_string(answer)
        self._tokens.take_snapshot()
        trim_heap()
        return AnswerFinished(
            text=answer.text,
            finish_reason=answer.reason,
            prompt_tokens=answer.start,
            reused_tokens=start,
            answer_tokens=len(answer.ids),
            first_token_s=answer.first_token_s,
            decode_tokens_per_s=answer.tokens_per_s(),
            passages=passages,
        )

    def tokens_to_replay(self, said: Sequence[tuple[str, str]]) -> int:
        """How many tokens `replay` feeds for questions and their answers, one after the other; 0 for none."""
        if not said:
            return 0
        prompts = [self._prompt(said[0][0]), *(self._format.follow_up(question) for question, _answer in said[1:])]
        answers = [self._format.plain(answer) for _question, answer in said]
        return sum(map(len, prompts + answers)) - 1  # the last one waits for what follows

    def replay(
        self,
        question: str,
        answer: str,
        should_stop: ShouldStop = never,
        on_tokens: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Take a turn as it was answered before, in another context or on another branch.

        Both are fed in blocks, as questions are, and nothing is drawn; `on_tokens` hears after each how many tokens
        the context has. On failure the context is as it was before. Raises StoppedError, which counts as one.
        """
        start, unfed = self.num_tokens, list(self._unfed)
        try:
            prompt = self._prompt(question)
            self._unfed = prompt + self._format.plain(answer)
            while len(self._unfed) > 1:
                if should_stop():
                    raise StoppedError(said("Going back to what was said before was stopped."))
                self._feed_prompt(should_stop)
                on_tokens(self.num_tokens)
        except BaseException as error:
            self._undo(start, unfed, error)
            raise
        answer_start = start + len(prompt)
        self._add_turn(Turn(start, answer_start, self.num_tokens, question, answer, tuple(self._unfed), ()))
        self._tokens.take_snapshot()

    def _prompt(self, question: str) -> list[int]:
        """The tokens that make the question follow what is in the context."""
        if self.turns:
            return self._unfed + self._format.follow_up(question)
        prefix = self._format.document_prefix()
        after_document = bool(self.documents) and self.num_tokens > len(prefix)
        return prefix[self.num_tokens :] + self._format.question_suffix(question, after_document)

    def _feed_prompt(self, should_stop: ShouldStop) -> None:
        """Feed a block of the prompt, but for its last token; such a block searches for every token.

        Raises StoppedError, which leaves the layers torn.
        """
        block = self._unfed[:-1][:SEARCH_BLOCK_TOKENS]
        with self.cache.filling():
            self._tokens.feed(block, should_stop)
        del self._unfed[: len(block)]

    def _decode(self, sampling: SamplingConfig, should_stop: ShouldStop, answer: Answer) -> Iterator[TextDelta]:
        """Draw tokens one by one into `answer`; what was drawn but not fed waits in `_unfed`."""
        sampler = Sampler(sampling, self._loaded.device)
        while not answer.is_over and not should_stop():
            if self._check is not None:
                self._check.require_sound()
            token = sampler.next_token(self._tokens.feed(self._unfed), answer.ids)
            self._unfed = [] if token in self._format.stop_token_ids else [token]
            yield from answer.take(token)
        yield from answer.finish()

    def _leave_out_stop_string(self, answer: Answer) -> None:
        """Keep only the text of the last turn; what a token shares with the stop string is encoded anew."""
        kept, rest = answer.without_stop_string()
        if answer.start + kept < self.num_tokens:
            self._rewind(answer.start + kept)
        self._unfed = self._format.plain(rest)
        self.turns[-1] = replace(self.turns[-1], answer=answer.text, unfed=tuple(self._unfed))

    def _passages(self, hits: Sequence[LayerHits]) -> tuple[Passage, ...]:
        mass = token_mass(hits, self.num_tokens)
        mass[self._laid.end :] = 0  # behind a document that was not read to its end lies the question
        return rank_passages(mass, self.documents, self._config.sink_tokens, NUM_PASSAGES)

    @contextmanager
    def retrieving(self, tokens: int) -> Iterator[None]:
        """Let every query fetch so many cold tokens, per layer and KV head, inside the `with`. Raises ConfigError."""
        policy = self.cache.policy
        config = policy.config
        policy.config = replace(config, retrieved_tokens=tokens)
        try:
            yield
        finally:
            policy.config = config

    # -- going back ----------------------------------------------------------------------------------------------

    def rewind(self, num_tokens: int) -> None:
        """Go back to an earlier length of the context, as if it had never gone further.

        Document tokens behind it are unread again; a turn that it cuts counts as stopped there. Growing layers are
        cropped; where layers forget, the nearest snapshot is restored and what lies between is read again.
        """
        if not 0 <= num_tokens <= self.num_tokens:
            raise ConfigError(
                said("Length {0:,} is outside the context's 0 to {1:,} tokens.", num_tokens, self.num_tokens)
            )
        if num_tokens < self.num_tokens or (self.turns and self.turns[-1].start == num_tokens):  # one with no token yet
            self._rewind(num_tokens)
            self._tokens.take_snapshot()

    def _rewind(self, num_tokens: int) -> None:
        ids = self._tokens.ids
        try:
            self._go_back(num_tokens)
        finally:
            self._cut_turns(ids)

    def _go_back(self, num_tokens: int, *, feed: bool = True) -> None:
        """Bring the cache to a length; without `feed`, to the nearest one at or below it that needs no forward."""
        self._checkpoints.settle()
        ids, document_end = self._tokens.ids, self._laid.end
        self._tokens.go_back(num_tokens)
        self._laid.unread = ids[self.num_tokens : document_end] + self._laid.unread
        if not feed:
            return
        while self.num_tokens < min(num_tokens, document_end):
            self._reader.feed(min(num_tokens, document_end))
        while self.num_tokens < num_tokens:
            with self.cache.filling():
                self._tokens.feed(ids[self.num_tokens : min(num_tokens, self._block_end(self.num_tokens))])

    def _block_end(self, position: int) -> int:
        """Where the forward that begins at a position ended when it was fed first: questions go in blocks."""
        turn = next((turn for turn in self.turns if turn.start <= position < turn.end), None)
        return turn.block_end(position) if turn else position + 1

    def _cut_turns(self, ids: "array[int]") -> None:
        """Forget the turns behind the present length. `ids` is what the context held before it went back."""
        self.turns = [turn for turn in self.turns if turn.start < self.num_tokens]
        if self.turns and self.num_tokens < self.turns[-1].end:
            self.turns[-1] = self.turns[-1].shortened(self.num_tokens, ids, self._format)
        self._unfed = list(self.turns[-1].unfed) if self.turns else []

    def _add_turn(self, turn: Turn) -> None:
        if self.turns:
            self.turns[-1] = replace(self.turns[-1], hits=())
        self.turns.append(turn)

    def close(self) -> None:
        """Give the memory back."""
        self._checkpoints.close()
        if self._check is not None:
            self._check.close()
            self._check = None
        with torch.inference_mode():
            self.cache.close()


def shared_length(first: "array[int]", second: "array[int]") -> int:
    """How many tokens two sequences have in common from the beginning on."""
    length = min(len(first), len(second))
    differ = torch.tensor(first[:length]).ne(torch.tensor(second[:length])).nonzero()
    return int(differ[0]) if len(differ) else length
