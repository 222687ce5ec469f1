"""The engine as the app uses it: one model, a context per chat; requests in, events out. Runs on the engine's thread.

The only file of the app that imports the engine, and with it torch: inside functions, so that a window can be shown
first. Knows nothing of Qt or of threads.
"""

import gc
import importlib
import sys
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import takewhile
from operator import eq
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.code_colours import colour_code
from app.document_text import DocumentText
from app.evidence import HEAT_BINS, NO_BASELINE, Baseline, HitCollector, TokenHits
from app.machine import find_gpu
from app.quote_check import Place, check_claims
from app.reports import (
    AnswerChecked,
    ChatClosed,
    ContextMeasured,
    DocumentOpened,
    DocumentPlace,
    DocumentsPlaced,
    DocumentsRejected,
    EvidenceGrown,
    GoingBack,
    ModelLoaded,
    ModelUnloaded,
    NotHereError,
    ReadingTimed,
    ShelfMeasured,
    StoreOffer,
    StoresOffered,
)
from app.requests import (
    ArchiveSource,
    Ask,
    CloseChat,
    ContextOptions,
    FileSource,
    LoadModel,
    Read,
    Request,
    Said,
    Source,
    TextSource,
    UnloadModel,
)
from app.section_answers import ask_by_section, without_headings
from app.settings import AnswerSettings
from kiv_engine import errors
from kiv_engine.config import KIVConfig
from kiv_engine.errors import DamagedContextError, DocumentError, EngineError, OutOfMemoryError
from kiv_engine.events import (
    AnswerFinished,
    Failed,
    ParseProgress,
    ReadFinished,
    ReadProgress,
    TextDelta,
    TokenizeProgress,
)
from kiv_engine.stopping import ShouldStop, never

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from kiv_engine.context import Context
    from kiv_engine.document import Document
    from kiv_engine.documents.text_builder import ParsedText
    from kiv_engine.engine import Engine
    from kiv_engine.hits import HitsDrained
    from kiv_engine.shelf import Shelf

MEASURE_INTERVAL_S: Final = 0.25
TELL_INTERVAL_S: Final = 0.1
TEXT_INTERVAL_S: Final = 1 / 30
PROBES: Final = ("What?", "Please go on.", "Hello.")
"""Questions about nothing: what their answers look at is no evidence."""
PROBE_TOKENS: Final = 3
HEAVY_MODULES: Final = ("numpy", "torch", "transformers", "kiv_engine.engine")


class StoppedError(Exception):
    """The request was stopped where there is nothing to keep."""


class EngineSession:
    """One loaded model and the contexts of the chats. What is read is kept on the shelf in `saved`, if there is one."""

    def __init__(self, saved: Path | None = None) -> None:
        self.tell: Callable[[object], None] = lambda _event: None
        self._saved = saved
        self._engine: Engine | None = None
        self._contexts: dict[int, Context] = {}
        self._opened_from: dict[int, Path] = {}
        self._baselines: dict[int, Baseline] = {}
        self._model = LoadModel()
        self._read_by: dict[int, str] = {}
        self._measured_at = 0.0
        self._told_at = 0.0

    def handle(self, request: Request, should_stop: ShouldStop) -> Iterator[object]:
        """Do what is asked; yields events, the terminal one last."""
        match request:
            case LoadModel():
                loaded = self._load(request, should_stop)
                yield from self._measure_shelf()
                yield loaded
            case Read():
                yield from self._read(request, should_stop)
            case Ask(by_section=True):
                yield from self._ask_by_section(request, should_stop)
            case Ask():
                context = self._context(request)
                with context.retrieving(request.retrieved_tokens or context.cache.policy.config.retrieved_tokens):
                    yield from self._ask(request, should_stop)
            case CloseChat(chat):
                yield self._close_chat(chat)
            case UnloadModel():
                self._unload()
                yield ModelUnloaded()

    def close(self) -> None:
        """Give the memory of all contexts back, and all objects to the garbage collector."""
        self._close_chats()
        gc.unfreeze()

    def _close_chats(self) -> None:
        for chat in list(self._contexts):
            self._close_chat(chat)

    # -- the model -----------------------------------------------------------------------------------------------

    def _load(self, request: LoadModel, should_stop: ShouldStop) -> ModelLoaded | Failed:
        for module in HEAVY_MODULES:  # one by one: quitting does not wait for all of them
            import_for_good(module)
            if should_stop():
                raise errors.StoppedError("Loading was stopped.")
        # Elsewhere, for torch's import keeps this call's variables for ever: in torch.fx is a cycle with its callers.
        return self._load_model(request, should_stop)

    def _load_model(self, request: LoadModel, should_stop: ShouldStop) -> ModelLoaded | Failed:
        from kiv_engine.engine import Engine
        from kiv_engine.model_folder import is_here

        if not is_here(request.model):  # loading it would fetch it, which nobody asked for
            raise NotHereError(request.model)
        leave_a_core()
        self._unload()  # gone before the next one comes: the two need not fit together
        self._model = request
        try:
            self._engine = Engine.load(
                request.model,
                quantize=request.quantize,
                on_progress=self._tell_sometimes,
                should_stop=should_stop,
                anyway=request.anyway,
            )
        except errors.OutOfMemoryError as error:
            from kiv_engine.loader import LoadOptions
            from kiv_engine.remedy import for_loading

            return Failed(str(error), error, for_loading(LoadOptions(request.model, request.quantize), error))
        context = self._engine.new_context()
        parameters = self._engine.loaded.model.num_parameters()
        topology, loaded = context.cache.topology, self._engine.loaded.model
        rows = topology.row_bytes(loaded.dtype.itemsize)
        int8_rows, _codes = context.footprint.token_bytes_with(KIVConfig(store_dtype="int8"))
        fit, trained = context.footprint.tokens_that_fit(), topology.trained_tokens
        gpu = find_gpu(*_gpu_ids(self._engine.loaded.devices))
        gc.freeze()  # as with what is imported
        weights = self._engine.memory_places()
        return ModelLoaded(request.model, parameters, fit, rows, int8_rows, trained, weights, gpu, request.quantize)

    def _unload(self) -> None:
        if self._engine is None:
            return
        from kiv_engine.memory import give_back

        self._close_chats()
        weights = [weakref.ref(weight) for weight in self._engine.loaded.model.parameters()]
        self._engine = None
        give_back()
        if any(weight() is not None for weight in weights):  # in a cycle, as some quantizers and hooks make them
            gc.unfreeze()
            give_back()

    def _tell_sometimes(self, event: object) -> None:
        """A model has hundreds of tensors, and the window need not hear of each."""
        if time.monotonic() - self._told_at >= TELL_INTERVAL_S:
            self._told_at = time.monotonic()
            self.tell(event)

    def _tell_going_back(self, event: GoingBack) -> None:
        """Its beginning and its end are told in any case: the window shows one thing before, and another behind."""
        if event.tokens_read in (0, event.tokens_total):
            self.tell(event)
        else:
            self._tell_sometimes(event)

    def _loaded(self) -> "Engine":
        if self._engine is None:
            raise RuntimeError("The model is not loaded.")
        return self._engine

    def _context(self, request: Read | Ask) -> "Context":
        if request.chat not in self._contexts:
            options = request.options
            context = self._loaded().new_context(options.config, system=options.system or None)
            self._contexts[request.chat] = context
        return self._contexts[request.chat]

    def _close_chat(self, chat: int) -> ChatClosed:
        self._baselines.pop(chat, None)
        self._read_by.pop(chat, None)
        self._opened_from.pop(chat, None)
        context = self._contexts.pop(chat, None)
        if context is not None:
            context.close()
        return ChatClosed()

    # -- reading -------------------------------------------------------------------------------------------------

    def _read(self, request: Read, should_stop: ShouldStop) -> Iterator[object]:
        documents: list[Document] = []
        try:
            yield from self._open(request.sources, should_stop, documents)
            if request.sources and not documents:
                return  # the last event was the terminal one
            context, documents = self._saved_context(request, documents, should_stop)
        except StoppedError:
            yield self._as_before(request)
            return
        if not request.sources and context.turns:  # they come behind the documents: the next question says them again
            context.rewind(context.chat_start)
        yield from self._read_into(context, documents, request, should_stop)

    def _as_before(self, request: Read) -> ReadFinished:
        """Reading ended before it began: what the chat had read before is still there."""
        context = self._contexts.get(request.chat)
        read, unread = (context.num_tokens, context.unread_tokens) if context else (0, 0)
        return ReadFinished(read, read + unread, 0.0, stopped=True, prefill_mode="", prefill_reason="")

    def _read_into(
        self, context: "Context", documents: "list[Document]", request: Read, should_stop: ShouldStop
    ) -> Iterator[object]:
        """What is to be known of the documents comes before their first token is read."""
        self._baselines.pop(request.chat, None)  # more text lays the bins out anew, and has more that every token hits
        placed = not request.sources
        up_to = request.first_tokens or None
        for event in context.read(*documents, should_stop=should_stop, anyway=request.anyway, up_to=up_to):
            if not placed and isinstance(event, ReadProgress | ReadFinished):
                placed = True
                yield documents_placed(context, opened=not documents and isinstance(event, ReadFinished))
                yield store_offers(context, context.document_tokens, request.options)
            elif isinstance(event, Failed) and isinstance(event.error, OutOfMemoryError) and event.error.tokens:
                yield store_offers(context, event.error.tokens, request.options)
            if isinstance(event, ReadProgress) and event.tokens_per_s:
                yield from self._measure_sometimes(request.chat, context)
            elif not isinstance(event, TokenizeProgress):
                yield self._measure(request.chat, context)
            if isinstance(event, ReadFinished) and not event.stopped:
                self._read_by[request.chat] = event.prefill_mode
                yield from self._end_reading(request, context, should_stop)
            yield self._with_smaller(context, event)
            if isinstance(event, ReadProgress) and not event.tokens_per_s:
                yield from self._time_reading(context, up_to)

    def _end_reading(self, request: Read, context: "Context", should_stop: ShouldStop) -> Iterator[ShelfMeasured]:
        """All that is to be is read: note what that took, and what of it is kept."""
        self._loaded().record(context)
        self._baseline(request.chat, context, should_stop)
        self._trim_shelf(request.options)
        yield from self._measure_shelf()

    def _baseline(self, chat: int, context: "Context", should_stop: ShouldStop) -> Baseline:
        """Measured once for what is read: at its end, or before the first question where reading was stopped."""
        if chat not in self._baselines and context.chat_start:
            measured = measure_baseline(context, should_stop)
            if measured is not None:
                self._baselines[chat] = measured
        return self._baselines.get(chat, NO_BASELINE)

    def _time_reading(self, context: "Context", up_to: int | None) -> Iterator[ReadingTimed]:
        """Before the first token is read: about how long it will take, where that can be told."""
        if (seconds := self._loaded().seconds_to_read(context, up_to)) is not None:
            yield ReadingTimed(seconds)

    def _saved_context(
        self, request: Read, documents: "list[Document]", should_stop: ShouldStop
    ) -> "tuple[Context, list[Document]]":
        """The chat's context, and what it still has to read: nothing if the shelf has the same, read before.

        Raises StoppedError.
        """
        context = self._context(request)
        if self._saved is None or not request.options.kept_gb or not documents or context.documents or context.turns:
            return context, documents
        from kiv_engine.shelf import Shelf

        raise_if(should_stop)
        shelf, options = Shelf(self._saved), request.options
        place = shelf.place_of(self._loaded().loaded, options.config, options.system or None, documents)
        try:
            opened = self._open_kept(shelf, place, request) or self._go_on_from(
                shelf, place, request, documents, should_stop
            )
            if opened is None:
                context.save(place)
                return context, documents
        except EngineError:  # a disk that cannot be written, a folder that another window writes: read without it
            return context, documents
        context.close()
        self._contexts[request.chat] = opened
        return opened, []

    def _open_kept(self, shelf: "Shelf", place: Path, request: Read) -> "Context | None":
        """What the shelf has in a place. What is damaged goes, to be read again."""
        if shelf.use(place) is None:
            return None
        try:
            opened = self._loaded().open_context(place, store=request.options.config.store)
        except DamagedContextError:
            shelf.discard(place)
            return None
        self._opened_from[request.chat] = place
        return opened

    def _go_on_from(
        self, shelf: "Shelf", place: Path, request: Read, documents: "list[Document]", should_stop: ShouldStop
    ) -> "Context | None":
        """What the shelf has of the documents as they were before they grew, to be kept in a place of its own."""
        engine, options = self._loaded(), request.options
        before = shelf.beginning_of(engine.loaded, options.config, options.system or None, documents)
        if before is None:
            return None
        raise_if(should_stop)
        try:
            return engine.grow_context(before.folder, documents, place, store=options.config.store)
        except DamagedContextError:
            shelf.discard(before.folder)
            return None

    def _trim_shelf(self, options: ContextOptions) -> None:
        if self._saved is not None and options.kept_gb:
            from kiv_engine.shelf import Shelf

            Shelf(self._saved, options.kept_gb * 10**9).trim()

    def _measure_shelf(self) -> Iterator[ShelfMeasured]:
        if self._saved is not None:
            from kiv_engine.shelf import Shelf

            kept = Shelf(self._saved).saved()
            yield ShelfMeasured(len(kept), sum(saved.nbytes for saved in kept))

    def _open(
        self, sources: Sequence[Source], should_stop: ShouldStop, documents: "list[Document]"
    ) -> Iterator[object]:
        """Append what can be opened to `documents`; ends with a terminal event if that is nothing."""
        errors: list[tuple[str, DocumentError]] = []
        for source in sources:
            try:
                document, notes = yield from self._document(source, should_stop)
            except DocumentError as error:
                errors.append((source.name, error))
                continue
            documents.append(document)
            yield DocumentOpened(DocumentText.cut(document.name, document.text, document.places), notes)
        if documents and errors:
            yield DocumentsRejected(tuple(name for name, _error in errors), errors[0][1].words)
        elif errors:
            yield Failed(str(errors[0][1]), errors[0][1])

    def _document(
        self, source: Source, should_stop: ShouldStop
    ) -> "Generator[ParseProgress, None, tuple[Document, tuple[str, ...]]]":
        """Yield how far a file is parsed, and return the document and what is to be known of it."""
        from kiv_engine.document import Document

        match source:
            case FileSource(path):
                parsed = yield from parse_file(path, should_stop)
                return Document.from_parsed(source.name, parsed), parsed.notes
            case TextSource(name, text):
                return Document(name, text.replace("\r\n", "\n")), ()
            case ArchiveSource(tokens):
                return Document(source.name, self._archive_text(tokens, should_stop)), ()

    def _archive_text(self, tokens: int, should_stop: ShouldStop) -> str:
        from kiv_engine.archive import write_archive

        engine = self._loaded()

        def count_unless_stopped(pieces: list[str]) -> list[int]:
            raise_if(should_stop)
            return engine.count_tokens(pieces)

        return write_archive(tokens, count_unless_stopped).text

    # -- answering -----------------------------------------------------------------------------------------------

    def _ask(self, request: Ask, should_stop: ShouldStop) -> Iterator[object]:
        from kiv_engine.hits import HitsDrained

        chat, context = request.chat, self._context(request)
        yield self._answer_settings(request, context)
        try:
            reused = go_to(context, request.history, should_stop, self._tell_going_back)
        except errors.StoppedError:
            yield self._measure(chat, context)
            yield stopped_before_the_question(context)
            return
        batch = TextBatch()
        baseline = self._baseline(chat, context, should_stop)
        collector = HitCollector(bin_of_token(context), baseline)
        for event in context.ask(request.question, request.sampling, should_stop):
            if isinstance(event, TextDelta):
                yield from batch.add(event)
                yield from self._measure_sometimes(chat, context)
                continue
            yield from batch.rest()
            if isinstance(event, HitsDrained):
                add_hits(collector, event)
                yield EvidenceGrown(collector.take(), tuple(batch.ends), collector.heat(), baseline)
                continue
            if isinstance(event, AnswerFinished):
                stopped = event.finish_reason == "cancelled"  # what was written until then is checked, too
                yield check_answer(context, event, never if stopped else should_stop)
                yield self._measure(chat, context)
                event = replace(event, reused_tokens=reused)
            elif isinstance(event, Failed) and isinstance(event.error, DamagedContextError):
                self._discard(chat)
            yield self._with_smaller(context, event)

    def _answer_settings(self, request: Ask, context: "Context") -> AnswerSettings:
        """What the answer will be made with."""
        config, model = context.cache.policy.config, self._model
        retrieved = request.retrieved_tokens or config.retrieved_tokens
        read_by = self._read_by.get(request.chat, config.prefill)
        dtype, sampling = config.store_dtype, request.sampling
        return AnswerSettings(model.model, config.hot_tokens, retrieved, dtype, read_by, model.quantize, sampling)

    def _discard(self, chat: int) -> None:
        """What a chat's context was opened from is damaged: take it off the shelf, so that it is read again."""
        if (folder := self._opened_from.pop(chat, None)) is not None:
            from kiv_engine.shelf import Shelf

            Shelf.discard(folder)

    def _ask_by_section(self, request: Ask, should_stop: ShouldStop) -> Iterator[object]:
        context, batch = self._context(request), TextBatch()
        yield self._answer_settings(request, context)
        for event in ask_by_section(self._loaded(), context, request, should_stop):
            if isinstance(event, TextDelta):
                yield from batch.add(event)
                continue
            yield from batch.rest()
            if isinstance(event, AnswerFinished):
                yield check_answer(context, replace(event, text=without_headings(event.text, request.heading)), never)
            yield event

    def _with_smaller(self, context: "Context", event: object) -> object:
        """A failure with what would fit, where memory ran out; other events as they are."""
        if not isinstance(event, Failed):
            return event
        return replace(event, smaller=self._loaded().smaller_plan(context, event.error))

    # -- measuring -----------------------------------------------------------------------------------------------

    def _measure_sometimes(self, chat: int, context: "Context") -> Iterator[ContextMeasured]:
        if time.monotonic() - self._measured_at >= MEASURE_INTERVAL_S:
            yield self._measure(chat, context)

    def _measure(self, chat: int, context: "Context") -> ContextMeasured:
        from kiv_engine.hardware import read_reserved_bytes, read_spilled_bytes

        self._measured_at = time.monotonic()
        vram = read_reserved_bytes(), read_spilled_bytes()
        return ContextMeasured(chat, context.num_tokens, context.unread_tokens, context.footprint.places(), *vram)


def raise_if(should_stop: ShouldStop) -> None:
    """Raise StoppedError if it is time to."""
    if should_stop():
        raise StoppedError


def parse_file(path: Path, should_stop: ShouldStop) -> "Generator[ParseProgress, None, ParsedText]":
    """A file or a folder as text. Raises DocumentError, or StoppedError at once; the parsing process is gone then."""
    from kiv_engine.documents.opening import open_document

    steps = open_document(path)
    while True:
        try:
            progress = next(steps)
        except StopIteration as stop:
            parsed: ParsedText = stop.value
            return parsed
        if should_stop():
            steps.close()
            raise StoppedError
        yield progress


class TextBatch:
    """Joins the pieces of an answer, so that the window gets 30 a second and not one per token.

    Attributes:
        ends: how many characters the answer had after each token.
    """

    def __init__(self) -> None:
        self.ends: list[int] = []
        self._pieces: list[str] = []
        self._num_tokens = 0
        self._sent_at = 0.0

    def add(self, delta: TextDelta) -> Iterator[TextDelta]:
        """Take a piece; all that waited, if it is time."""
        before = self.ends[-1] if self.ends else 0
        self.ends += [before] * (delta.num_tokens - len(self.ends))  # those before it were half a character
        self.ends[-1] = before + len(delta.text)
        self._pieces.append(delta.text)
        self._num_tokens = delta.num_tokens
        if time.monotonic() - self._sent_at >= TEXT_INTERVAL_S:
            yield from self.rest()

    def rest(self) -> Iterator[TextDelta]:
        """What still waits."""
        if self._pieces:
            self._sent_at = time.monotonic()
            yield TextDelta("".join(self._pieces), self._num_tokens)
            self._pieces = []


def import_for_good(module: str) -> None:
    """Import a module, and have the garbage collector pass by what is there then, and collect nothing until then.

    Torch and transformers are half a million objects, and hardly one in fifty is garbage. While the collector goes
    through them no other thread has Python's lock, and the window stands still for some tenths of a second.
    """
    if module in sys.modules:
        return
    thresholds = gc.get_threshold()
    gc.set_threshold(0)
    try:
        importlib.import_module(module)
        gc.freeze()
    finally:
        gc.set_threshold(*thresholds)


@cache
def leave_a_core() -> None:
    """Torch takes all cores but one, which is the window's: once in a process, however many models are loaded."""
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() - 1))


def _gpu_ids(devices: "Sequence[torch.device]") -> list[str]:
    """The driver's ids of the GPUs that a model runs on, none on the CPU."""
    import torch

    gpus = (device for device in devices if device.type == "cuda")
    return [f"GPU-{torch.cuda.get_device_properties(gpu).uuid}" for gpu in gpus]


def documents_placed(context: "Context", *, opened: bool) -> DocumentsPlaced:
    """Where the documents lie, and what they need; `opened` if they had been read before."""
    places = tuple(DocumentPlace(document.start, len(document.tokens)) for document in context.documents)
    ram_bytes = context.document_tokens * context.footprint.token_bytes
    return DocumentsPlaced(places, ram_bytes, context.most_tokens, opened)


def store_offers(context: "Context", tokens: int, options: ContextOptions) -> StoresOffered:
    """What so many tokens of documents need in each way to keep them, and whether what is not read yet fits."""
    needed, offers = context.unread_tokens or tokens, []
    for kind, config in options.stores:
        rows, codes = (tokens * size for size in context.footprint.token_bytes_with(config))
        on_disk = config.store_folder is not None
        fits = needed <= context.footprint.tokens_that_fit(config)
        offers.append(StoreOffer(kind, codes if on_disk else rows + codes, rows if on_disk else 0, fits))
    return StoresOffered(tuple(offers))


def bin_of_token(context: "Context") -> "NDArray[np.int16]":
    """The bin of each position of a context, as HitCollector wants it: equal parts of all documents' characters."""
    import numpy as np

    bins = np.full(context.chat_start, -1, np.int16)
    total = max(1, sum(len(document.tokens.document.text) for document in context.documents))
    before = 0
    for document in context.documents:
        place = bins[document.start : document.end]  # shorter where reading was stopped
        starts = document.tokens.starts.numpy()[: len(place)].astype(np.int64) + before
        place[:] = np.minimum(starts * HEAT_BINS // total, HEAT_BINS - 1)
        before += len(document.tokens.document.text)
    bins[: context.cache.policy.config.sink_tokens] = -1
    return bins


def add_hits(collector: HitCollector, event: "HitsDrained") -> None:
    """Hand over what was drained."""
    for hits in event.hits:
        tokens, mass = hits.token_mass()
        collector.add(hits.layer, hits.position, tokens.numpy(), mass.float().numpy())


def go_to(
    context: "Context", history: Sequence[Said], should_stop: ShouldStop, tell: Callable[[GoingBack], None]
) -> int:
    """Bring the context to where `history` has been said; how many of its tokens were there already.

    Raises StoppedError; what was said before the turn at hand stays in the context.
    """
    turns = [Said(turn.question, turn.answer) for turn in context.turns]
    num_shared = sum(takewhile(bool, map(eq, turns, history)))
    if len(turns) > num_shared:
        context.rewind(context.turns[num_shared].start)
    reused, unsaid = context.num_tokens, history[num_shared:]
    total = context.tokens_to_replay([(said.question, said.answer) for said in unsaid])
    if unsaid:
        tell(GoingBack(0, total))
    for said in unsaid:
        context.replay(said.question, said.answer, should_stop, lambda now: tell(GoingBack(now - reused, total)))
    return reused


def stopped_before_the_question(context: "Context") -> AnswerFinished:
    """The answer to a question that was stopped while the chat was still brought to where it was asked."""
    tokens = context.num_tokens
    return AnswerFinished("", "cancelled", tokens, tokens, 0, 0.0, 0.0, ())


def check_answer(context: "Context", answer: AnswerFinished, should_stop: ShouldStop) -> AnswerChecked:
    """Look the answer's quotes and numbers up, in its passages first; tell the words of its code apart."""
    likely = [
        Place(number, passage.start, passage.end)
        for passage in answer.passages
        for number, document in enumerate(context.documents)
        if document.start <= passage.token_start < document.end
    ]
    texts = [document.tokens.document.text for document in context.documents]
    claims = check_claims(answer.text, texts, likely, should_stop) if texts else ()
    return AnswerChecked(claims, colour_code(answer.text))


def measure_baseline(context: "Context", should_stop: ShouldStop) -> Baseline | None:
    """What tokens hit that answer nothing in particular; None where it was stopped. The context is as it was before."""
    from kiv_engine.config import SamplingConfig
    from kiv_engine.hits import HitsDrained

    length, bins, tokens = context.num_tokens, bin_of_token(context), list[TokenHits]()
    for question in PROBES:
        collector = HitCollector(bins)
        for event in context.ask(question, SamplingConfig(max_new_tokens=PROBE_TOKENS), should_stop):
            if isinstance(event, HitsDrained):
                add_hits(collector, event)
                tokens += collector.take()
        context.rewind(length)
        if should_stop():
            return None
    return Baseline.of(tokens) if tokens else None
