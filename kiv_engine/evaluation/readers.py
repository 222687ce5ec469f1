"""What reads a document once and answers questions about it: our cache in its modes, and the peers' caches.

Protocol B: the document is read before any question is known; question and answer then go through the cache as it is,
and the reader goes back to the end of the document after each. All answer greedily.
"""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch

from kiv_engine.chat import ChatFormat, TextStream
from kiv_engine.config import SEARCH_BLOCK_TOKENS, KIVConfig, PrefillMode, SamplingConfig
from kiv_engine.document import Document, tokenize
from kiv_engine.engine import Engine
from kiv_engine.errors import EngineError
from kiv_engine.evaluation.caches import PEERS, Named, Peer, close
from kiv_engine.events import AnswerFinished, Failed, ReadFinished, ReadProgress
from kiv_engine.reading import READ_CHUNK_TOKENS
from kiv_engine.sampling import Sampler
from kiv_engine.stopping import ShouldStop

EVERYTHING: Final = 2**31 - 1
"""As `retrieved_tokens`: the question and the answer attend exactly to all that was read."""


class ReadingStoppedError(EngineError):
    """Reading was stopped before the document's end."""


@dataclass(frozen=True)
class Answer:
    """An answer and how long it took.

    Attributes:
        first_token_s: from the question to the first token.
        token_s: of each further token, on average; None where there is none. What follows the last one does not count.
        passages: texts of the passages that stand below it; None of a cache that does not tell what it attended to.
    """

    text: str
    num_tokens: int
    first_token_s: float
    token_s: float | None
    passages: tuple[str, ...] | None = None


class Reader(Protocol):
    """Reads one document and answers questions about it."""

    def read(self, text: str, should_stop: ShouldStop) -> Iterator[int]:
        """Read it; yields tokens read so far. Raises ReadingStoppedError."""
        ...

    def ask(self, question: str, max_new_tokens: int, *, everything: bool = False) -> Answer:
        """Answer, and go back to the end of the document."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class KIVReader:
    """Our cache in one prefill mode."""

    def __init__(self, engine: Engine, config: KIVConfig) -> None:
        self._context = engine.new_context(config)

    def read(self, text: str, should_stop: ShouldStop) -> Iterator[int]:
        """Read it; yields tokens read so far."""
        for event in self._context.read(Document("document", text), should_stop=should_stop):
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, ReadFinished) and event.stopped:
                raise ReadingStoppedError("Reading was stopped.")
            if isinstance(event, ReadProgress | ReadFinished):
                yield event.tokens_read

    def ask(self, question: str, max_new_tokens: int, *, everything: bool = False) -> Answer:
        """Answer with the configuration's retrieved tokens, or with everything; then go back."""
        start = self._context.num_tokens
        with self._context.retrieving(EVERYTHING) if everything else nullcontext():
            sampling = SamplingConfig(max_new_tokens=max_new_tokens)
            last = list(self._context.ask(question, sampling, record=not everything))[-1]
        if isinstance(last, Failed):
            raise last.error
        assert isinstance(last, AnswerFinished)
        self._context.rewind(start)
        rate = last.decode_tokens_per_s
        passages = None if everything else tuple(passage.text for passage in last.passages)
        return Answer(last.text, last.answer_tokens, last.first_token_s, 1 / rate if rate else None, passages)

    def close(self) -> None:
        """Give the memory back."""
        self._context.close()


class CacheReader:
    """Any other cache of transformers, driven by plain forwards in the same chunks."""

    def __init__(self, engine: Engine, cache: Any) -> None:
        loaded = engine.loaded
        self._loaded = loaded
        self._format = ChatFormat(loaded.tokenizer, loaded.generation_config)
        self._cache = cache
        self._state: list[dict[str, Any]] = []

    def read(self, text: str, should_stop: ShouldStop) -> Iterator[int]:
        """Read it; yields tokens read so far."""
        ids = self._format.document_prefix()
        ids += tokenize(Document("document", text), self._loaded.tokenizer, self._format.begins_line).ids.tolist()
        for first in range(0, len(ids), READ_CHUNK_TOKENS):
            if should_stop():
                raise ReadingStoppedError("Reading was stopped.")
            self._forward(ids[first : first + READ_CHUNK_TOKENS])
            yield min(first + READ_CHUNK_TOKENS, len(ids))
        self._state = [copy_state(vars(layer)) for layer in self._cache.layers]

    def ask(self, question: str, max_new_tokens: int, *, everything: bool = False) -> Answer:
        """Answer, then go back; there is nothing to retrieve, so `everything` changes nothing."""
        begin = time.perf_counter()
        ids = self._format.question_suffix(question, after_document=True)
        for first in range(0, len(ids) - 1, SEARCH_BLOCK_TOKENS):
            self._forward(ids[first : min(len(ids) - 1, first + SEARCH_BLOCK_TOKENS)])
        answer = self._decode(ids[-1], max_new_tokens, begin)
        for layer, state in zip(self._cache.layers, self._state, strict=True):
            vars(layer).clear()
            vars(layer).update(copy_state(state))
        return answer

    def _decode(self, last: int, max_new_tokens: int, begin: float) -> Answer:
        sampler = Sampler(SamplingConfig(), self._loaded.device)
        stream = TextStream(self._loaded.tokenizer, stop=self._format.stop_strings)
        ids: list[int] = []
        pieces = []
        first_token_s = last_token_s = 0.0
        while len(ids) < max_new_tokens and not stream.stopped:
            last = sampler.next_token(self._forward([last]), ids)
            now = time.perf_counter() - begin
            first_token_s = first_token_s or now
            if last in self._format.stop_token_ids:
                break
            last_token_s = now
            ids.append(last)
            pieces.append(stream.push(last))
        pieces.append(stream.finish())
        token_s = (last_token_s - first_token_s) / (len(ids) - 1) if len(ids) > 1 else None
        return Answer("".join(pieces), len(ids), first_token_s, token_s)

    def _forward(self, ids: list[int]) -> torch.Tensor:
        inputs = torch.tensor([ids], device=self._loaded.device)
        with torch.inference_mode():
            output = self._loaded.model(input_ids=inputs, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        logits: torch.Tensor = output.logits[0, -1]
        return logits

    def close(self) -> None:
        """Give the memory back."""
        close(self._cache)
        self._cache = None
        self._state = []


def copy_state(state: dict[str, Any]) -> dict[str, Any]:
    """A layer's attributes, to come back to; what linear layers change in place is copied, K and V they replace."""
    return {name: copy.deepcopy(value) if name.endswith("_states") else value for name, value in state.items()}


# -- who takes part ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entrant(Named[Engine, Reader]):
    """One of the caches compared, as what makes a reader with it.

    Attributes:
        ours: asked a second time with everything retrieved.
        quadratic: reads in time that grows with the square of the length.
        usual: takes part where nobody is named.
    """

    ours: bool = False
    quadratic: bool = False
    usual: bool = True


def _ours(mode: PrefillMode) -> Entrant:
    make: Callable[[Engine], Reader] = lambda engine: KIVReader(engine, KIVConfig(prefill=mode))  # noqa: E731
    return Entrant(mode, f"KIV {mode}", make, ours=True, quadratic=mode == "exact")


def _theirs(peer: Peer) -> Entrant:
    return Entrant(
        peer.name,
        peer.label,
        lambda engine: CacheReader(engine, peer.make(engine.loaded.model)),
        lambda engine: peer.missing(engine.loaded.model),
        quadratic=peer.keeps_all,
    )


TWO_BITS: Final = Entrant(
    "codes2",
    "KIV sparse, 2-bit codes that rank alone",
    lambda engine: KIVReader(engine, KIVConfig(prefill="sparse", index_bits=2)),
    ours=True,
    usual=False,
)
ENTRANTS: Final = (_ours("sparse"), _ours("window"), _ours("exact"), *map(_theirs, PEERS), TWO_BITS)
BY_NAME: Final = {entrant.name: entrant for entrant in ENTRANTS}
