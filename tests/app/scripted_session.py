"""A session without torch that does what its test says, and waits where the test wants to look."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from app.code_colours import colour_code
from app.document_text import DocumentText
from app.evidence import HEAT_BINS, Baseline, HitCollector
from app.machine import Gpu
from app.quote_check import check_claims
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
    ReadingTimed,
    SectionProgress,
    StoreOffer,
    StoresOffered,
)
from app.requests import ArchiveSource, Ask, CloseChat, FileSource, LoadModel, Read, Request, TextSource, UnloadModel
from app.settings import AnswerSettings
from kiv_engine.config import SamplingConfig
from kiv_engine.errors import DocumentError, StoppedError
from kiv_engine.events import (
    AnswerFinished,
    Failed,
    LoadProgress,
    MemoryPlaces,
    MemoryUse,
    Passage,
    ReadFinished,
    ReadProgress,
    TextDelta,
    TokenizeProgress,
)

WORDS = ("The captain ", "of the “Second Bishop” ", "is Anna Thornwick, since 1503.")
ANSWER = "".join(WORDS)
SENTENCE = "Captain Anna Thornwick took the Second Bishop out on the tide."
GATE_TIMEOUT_S = 20
LAYERS = (1, 3)
COMMON_BIN = 2_000
SECTIONS = 3


MADE = AnswerSettings("some/model", 2_048, 256, "int8", "sparse", "4bit", SamplingConfig(temperature=0.6, seed=7))


def wait_for_stop(should_stop: Callable[[], bool]) -> None:
    """Until a request is asked to stop: what a session gets from the bridge is the `is_set` of an event."""
    event = getattr(should_stop, "__self__", None)
    assert isinstance(event, threading.Event)
    assert event.wait(GATE_TIMEOUT_S), "nobody said stop"


class ScriptedSession:
    """Reads one token per four characters, in ten steps, and answers in three.

    Attributes:
        fails_on: requests of these types raise the error given.
        fail_once: the next request of a type ends with this event.
        held_at: names of the steps at which the engine's thread waits until `go` is called: "load", "tensors", "open",
            "begin", "read", "ask", "write".
        cannot_load: models that raise the error given.
        loaded: what was loaded.
        reached: steps that were come to, in order.
        read: what was read.
        asked: the questions, with what was said before them.
        words: the pieces of every answer.
        gpu: that runs the model, or None.
        spilled_bytes: of the GPU's memory, those that are told to lie in RAM.
        silent: numbers of the sections in which nothing is found.
        fails_in_section: asking this one raises the error.
        going_back: what is told of that before each answer.
        fit_tokens: how long a context this PC can hold.
    """

    def __init__(self) -> None:
        self.tell: Callable[[object], None] = lambda _event: None
        self.fails_on: dict[type, BaseException] = {}
        self.fail_once: dict[type, Failed] = {}
        self._held_at: set[str] = set()
        self.cannot_load: dict[str, BaseException] = {}
        self.loaded: list[LoadModel] = []
        self.reached: list[str] = []
        self.num_closed = 0
        self.asked: list[Ask] = []
        self.words = WORDS
        self.gpu: Gpu | None = None
        self.spilled_bytes = 0
        self.silent: set[int] = set()
        self.going_back: tuple[GoingBack, ...] = ()
        self.fails_in_section: dict[int, BaseException] = {}
        self.fit_tokens = 4_200_000
        self.read: list[Read] = []
        self._gate = threading.Event()
        self._texts: dict[int, list[DocumentText]] = {}
        self._read: dict[int, int] = {}
        self._length: dict[int, int] = {}

    @property
    def held_at(self) -> set[str]:
        return self._held_at

    @held_at.setter
    def held_at(self, steps: set[str]) -> None:
        self._gate.clear()
        self._held_at = steps

    def go(self) -> None:
        """Hold nothing any more."""
        self._held_at = set()
        self._gate.set()

    def _step(self, name: str, should_stop: Callable[[], bool]) -> None:
        self.reached.append(name)
        for _wait in range(100 * GATE_TIMEOUT_S):
            if name not in self._held_at or should_stop():
                return
            self._gate.wait(0.01)
        raise TimeoutError(f"held at {name!r}, and nobody said go")

    def handle(self, request: Request, should_stop: Callable[[], bool]) -> Iterator[object]:
        if error := self.fails_on.get(type(request)):
            raise error
        failed = self.fail_once.pop(type(request), None)
        yield from self._do(request, should_stop) if failed is None else (failed,)

    def _do(self, request: Request, should_stop: Callable[[], bool]) -> Iterator[object]:
        match request:
            case LoadModel():
                yield self._load(request, should_stop)
            case Read(chat, sources):
                self.read.append(request)
                if sources:
                    self._step("open", should_stop)
                    if should_stop():
                        read, total = self._read.get(chat, 0), self._total(chat)
                        yield ReadFinished(read, total, 0.0, stopped=True, prefill_mode="", prefill_reason="")
                        return
                yield from self._open(chat, sources)
                if self._texts.get(chat):
                    yield from self._go_on(chat, bool(sources), request.first_tokens, should_stop)
            case Ask(chat):
                self.asked.append(request)
                by_section = request.by_section
                yield from self._ask_by_section(request, should_stop) if by_section else self._ask(chat, should_stop)
            case CloseChat(chat):
                self.num_closed += 1
                for facts in (self._texts, self._read, self._length):
                    facts.pop(chat, None)
                yield ChatClosed()
            case UnloadModel():
                self._texts, self._read, self._length = {}, {}, {}
                yield ModelUnloaded()

    def _load(self, request: LoadModel, should_stop: Callable[[], bool]) -> ModelLoaded:
        self._step("load", should_stop)
        for done in range(0, 40, 10):
            self.tell(LoadProgress(done, 40))
            if done == 20:
                self._step("tensors", should_stop)
            if should_stop():
                raise StoppedError("Loading was stopped.")
        if error := self.cannot_load.get(request.model):
            raise error
        self.loaded.append(request)
        weights = MemoryPlaces.of(MemoryUse(weights=6_800_000), on_gpu=self.gpu is not None)
        return ModelLoaded(
            request.model, 3_400_000, 4_200_000, 1_024, 272, 2_048, weights, gpu=self.gpu, quantize=request.quantize
        )

    def close(self) -> None:
        self.num_closed += 1

    def _open(self, chat: int, sources: tuple[object, ...]) -> Iterator[object]:
        rejected: list[tuple[str, str]] = []
        for source in sources:
            match source:
                case FileSource(path) if path.suffix == ".bin":
                    error = DocumentError(f"{path.name} is not text: byte 0 is zero.")
                    yield Failed(str(error), error)
                    return
                case FileSource(path) if not path.exists():
                    error = DocumentError(f"There is no file {path}: look whether it was moved or renamed.")
                    if len(sources) > 1:
                        rejected.append((source.name, str(error)))
                        continue
                    yield Failed(str(error), error)
                    return
                case FileSource(path):
                    text = DocumentText.cut(path.name, Path(path).read_text(encoding="utf-8"))
                case TextSource(name, words):
                    text = DocumentText.cut(name, words)
                case ArchiveSource(tokens):
                    text = DocumentText.cut(source.name, archive(tokens))
                case _:
                    raise AssertionError(source)
            self._texts.setdefault(chat, []).append(text)
            yield DocumentOpened(text)
        if rejected:
            yield DocumentsRejected(tuple(name for name, _why in rejected), rejected[0][1])

    def _total(self, chat: int) -> int:
        return sum(len(text.text) // 4 for text in self._texts.get(chat, []))

    def _place(self, chat: int, total: int) -> Iterator[object]:
        yield TokenizeProgress(2 * total, 4 * total)
        sizes = [len(text.text) // 4 for text in self._texts[chat]]
        starts = itertools.accumulate(sizes, initial=0)
        places = tuple(DocumentPlace(start, size) for start, size in zip(starts, sizes, strict=False))
        yield DocumentsPlaced(places, 1_088 * total, self.fit_tokens)
        kinds = (("ram", 1_088 * total, 0), ("int8", 600 * total, 0), ("disk", 64 * total, 1_024 * total))
        yield StoresOffered(tuple(StoreOffer(*kind, fits=True) for kind in kinds))

    def _go_on(self, chat: int, has_more: bool, first_tokens: int, should_stop: Callable[[], bool]) -> Iterator[object]:
        total, read = self._total(chat), self._read.get(chat, 0)
        end = min(total, first_tokens or total)
        if has_more:
            yield from self._place(chat, total)
        yield self._measured(chat, read, total - read)
        yield ReadProgress(read, total, 0.0, None)
        yield ReadingTimed((end - read) / 25)
        self._step("begin", should_stop)
        while read < end and not should_stop():
            read = min(end, read + max(1, total // 10))
            self._read[chat] = read
            yield self._measured(chat, read, total - read)
            yield ReadProgress(read, total, 2_125.0, (end - read) / 2_125)
            if read >= end // 2:
                self._step("read", should_stop)
        yield ReadFinished(read, total, total / 2_125, read < end, "sparse", "as asked")

    def _measured(self, chat: int, num_tokens: int, unread: int) -> ContextMeasured:
        self._length[chat] = num_tokens
        cold = num_tokens * 512
        memory = MemoryPlaces.of(MemoryUse(0, 2_100_000, cold // 8, cold, cold), on_gpu=self.gpu is not None)
        return ContextMeasured(chat, num_tokens, unread, memory, self.spilled_bytes, self.spilled_bytes)

    def _ask(self, chat: int, should_stop: Callable[[], bool]) -> Iterator[object]:
        yield MADE
        start = self._length.get(chat, 0)
        yield from self.going_back
        self._step("ask", should_stop)
        said, ends = "", []
        common = np.zeros(HEAT_BINS, np.float32)
        common[COMMON_BIN] = 0.5
        baseline = Baseline(common, dict.fromkeys(LAYERS, common))
        collector = HitCollector(np.arange(HEAT_BINS, dtype=np.int16), baseline)
        for number, word in enumerate(self.words, 1):
            if should_stop():
                break
            said += word
            yield TextDelta(word, 4 * number)
            for token in range(4 * number - 4, 4 * number):
                bins, mass = self._hits(chat, token)
                for layer in LAYERS:
                    collector.add(layer, start + token, bins, mass)
            ends += [len(said) - len(word)] * 3 + [len(said)]
            yield EvidenceGrown(collector.take(), tuple(ends), collector.heat(), baseline)
            self._step("write", should_stop)
        yield AnswerChecked(check_claims(said, [text.text for text in self._texts.get(chat, [])]), colour_code(said))
        yield self._measured(chat, start + 37, self._total(chat) - self._read.get(chat, 0))
        reason = "stop" if said == "".join(self.words) else "cancelled"
        tokens = 12 if said else 0
        yield AnswerFinished(said, reason, start + 25, start, tokens, 0.051, 91.9, self._passages(chat))

    def _ask_by_section(self, request: Ask, should_stop: Callable[[], bool]) -> Iterator[object]:
        said = ""
        for number in range(1, SECTIONS + 1):
            yield self._progress(number - 1)
            if error := self.fails_in_section.get(number):
                raise error
            if number not in self.silent:
                piece = f"#### {request.heading.format(number, SECTIONS)}\n\nGeese.\n\n"
                said += piece
                yield TextDelta(piece, number)
            self._step("section", should_stop)
            if should_stop():
                break
        yield self._progress(number)
        yield AnswerChecked(())
        reason = "cancelled" if number < SECTIONS else "stop"
        yield AnswerFinished(said.strip(), reason, 100, 0, number, 0.05, 50.0, ())

    def _progress(self, ended: int) -> SectionProgress:
        return SectionProgress(SECTIONS, ended, tuple(sorted(number for number in self.silent if number <= ended)))

    def _passages(self, chat: int) -> tuple[Passage, ...]:
        passages, weights, before = [], iter((0.41, 0.12, 0.05, 0.02, 0.004)), 0
        for text in self._texts.get(chat, []):
            start = text.text.find(SENTENCE)
            while start >= 0 and (weight := next(weights, None)) is not None:
                place = (before + start) // 4
                end = start + len(SENTENCE)
                passages.append(Passage(text.name, None, start, end, place, place + 15, weight, text.text[start:end]))
                start = text.text.find(SENTENCE, end)
            before += len(text.text) // 4 * 4
        return tuple(passages)

    def _hits(self, chat: int, token: int) -> tuple[np.ndarray, np.ndarray]:
        """Every token hits bin COMMON_BIN; only the second half of the answer hits the passages."""
        total = 4 * max(1, self._total(chat))
        passages = self._passages(chat) if token >= 6 else ()
        bins = [min(HEAT_BINS - 1, passage.start * HEAT_BINS // total) for passage in passages]
        return np.array([COMMON_BIN, *bins]), np.array([0.5, *[passage.weight for passage in passages]], np.float32)


def archive(tokens: int) -> str:
    """A text with the sentence in it several times, and characters that count twice in UTF-16."""
    lines = [
        f"Day {n}. The goose 🪿 of Salt Steps was counted at noon, and found to be the same goose.\n\n"
        for n in range(9)
    ]
    chapter = "".join(lines)
    sizes = max(1, 4 * tokens // (6 * len(chapter)))
    part = chapter * sizes
    return f"THE ARCHIVE\n\n{part}{SENTENCE} The tide was late.\n\n{part}" + f"And again: {SENTENCE}\n\n{part}" * 4
