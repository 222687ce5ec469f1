"""What the engine yields while it works: frozen values, safe to hand to another thread.

A request (`Context.read`, `Context.ask`) yields any number of progress events and then exactly one terminal event:
`ReadFinished`, `AnswerFinished` or `Failed`.
"""

from dataclasses import astuple, dataclass
from typing import Literal, TypeAlias

FinishReason: TypeAlias = Literal["stop", "length", "stop_string", "cancelled"]
Advantage: TypeAlias = Literal["largest_for_million", "for_million", "largest", "also", "untrained"]
"""Why a model is one to take for whole books; "untrained": it holds one, though it was trained for less."""


@dataclass(frozen=True)
class Passage:
    """A stretch of a document that an answer drew on. Offsets are characters of the document's text.

    Attributes:
        document: name of the document.
        page, row, line: their numbers where the document has such things, else None.
        section: title of the chapter, sheet or file that it is in; empty where there is none.
        start, end: character range in the document's text.
        token_start, token_end: token range in the context.
        weight: share of the answer's retrieved softmax mass, 0 to 1.
        text: the characters from start to end.
    """

    document: str
    page: int | None
    start: int
    end: int
    token_start: int
    token_end: int
    weight: float
    text: str
    section: str = ""
    row: int | None = None
    line: int | None = None

    @property
    def place(self) -> str:
        """Like "page 12, The Whale", in English; empty where only the character is known."""
        numbers = {"page": self.page, "row": self.row, "line": self.line}
        parts = [f"{unit} {number:,}" for unit, number in numbers.items() if number is not None]
        return ", ".join([*parts, *filter(None, [self.section])])


@dataclass(frozen=True)
class ParseProgress:
    """How far a file is turned into text; `total` is 0 while that is unknown. `unit` is like "pages"."""

    document: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True)
class MemoryUse:
    """Bytes held by each part of the engine."""

    weights: int = 0
    hot: int = 0
    index: int = 0
    cold_keys: int = 0
    cold_values: int = 0

    @property
    def total(self) -> int:
        return sum(astuple(self))

    def __add__(self, other: "MemoryUse") -> "MemoryUse":
        return MemoryUse(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "MemoryUse") -> "MemoryUse":
        return MemoryUse(*(mine - its for mine, its in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class MemoryPlaces:
    """Where the parts lie: in RAM, in a GPU's memory, and in mapped files, of which the system holds in RAM what it
    has room for.
    """

    ram: MemoryUse = MemoryUse()
    vram: MemoryUse = MemoryUse()
    disk: MemoryUse = MemoryUse()

    @classmethod
    def of(cls, use: MemoryUse, *, mapped: MemoryUse = MemoryUse(), on_gpu: bool) -> "MemoryPlaces":
        """What a model on the GPU or the CPU has: its cold rows are in RAM wherever it is, but for those `mapped`."""
        cold = MemoryUse(cold_keys=use.cold_keys, cold_values=use.cold_values)
        fast, in_ram = use - cold, cold - mapped
        return cls(in_ram, fast, mapped) if on_gpu else cls(in_ram + fast, MemoryUse(), mapped)

    @property
    def total(self) -> MemoryUse:
        return self.ram + self.vram + self.disk

    def __add__(self, other: "MemoryPlaces") -> "MemoryPlaces":
        return MemoryPlaces(self.ram + other.ram, self.vram + other.vram, self.disk + other.disk)


@dataclass(frozen=True)
class DownloadProgress:
    """Bytes of a model that are on this computer, of how many; `eta_s` is None until it can be estimated."""

    file: str
    bytes_done: int
    bytes_total: int
    bytes_per_s: float
    eta_s: float | None


@dataclass(frozen=True)
class LoadProgress:
    """Tensors of a model that are in memory, of how many."""

    tensors_done: int
    tensors_total: int


@dataclass(frozen=True)
class Downloaded:
    """Terminal. The model is in `folder`, or, if `stopped`, a part of it, from which a later download goes on."""

    folder: str
    bytes_done: int
    bytes_total: int
    seconds: float
    stopped: bool


@dataclass(frozen=True)
class TokenizeProgress:
    """Characters of the documents turned into tokens so far, of how many; reading begins behind the last."""

    characters_done: int
    characters_total: int


@dataclass(frozen=True)
class ReadProgress:
    """Tokens of the documents read so far, of how many; the rate is 0 and `eta_s` None until they can be told.

    Where only a beginning is to be read, `eta_s` is to the end of that.
    """

    tokens_read: int
    tokens_total: int
    tokens_per_s: float
    eta_s: float | None


@dataclass(frozen=True)
class ReadFinished:
    """Terminal. `stopped` says that reading was interrupted before it came to the end, or to the length asked for.

    What was read stays usable, and reading can go on: fewer `tokens_read` than `tokens_total` are left unread.
    `not_saved` says why the context is no longer being saved, if it was to be.
    """

    tokens_read: int
    tokens_total: int
    seconds: float
    stopped: bool
    prefill_mode: str
    prefill_reason: str
    not_saved: str = ""


@dataclass(frozen=True)
class TextDelta:
    """The next piece of an answer: whole characters, never half of a UTF-8 sequence."""

    text: str
    num_tokens: int


@dataclass(frozen=True)
class AnswerFinished:
    """Terminal. The whole answer, why it ended, its figures, and the passages retrieved while writing it."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    reused_tokens: int
    answer_tokens: int
    first_token_s: float
    decode_tokens_per_s: float
    passages: tuple[Passage, ...]


@dataclass(frozen=True)
class SmallerPlan:
    """What to change so that it fits where memory ran out; what is empty or 0 stays as it was.

    Attributes:
        quantize: coarser weights.
        store_dtype, store, hot_tokens, prefill: as in KIVConfig.
        tokens: so long may the context be at most; 0 where all that is wanted fits.
        need_bytes, free_bytes: what it would need of RAM, or of VRAM where the model runs on a GPU, and what is there.
    """

    quantize: Literal["", "bf16", "8bit", "4bit"] = ""
    store_dtype: Literal["", "int8"] = ""
    store: str = ""
    hot_tokens: int = 0
    prefill: Literal["", "sparse"] = ""
    tokens: int = 0
    need_bytes: int = 0
    free_bytes: int = 0


@dataclass(frozen=True)
class Failed:
    """Terminal. `message` is one sentence for a person; `error` is what was raised.

    `smaller` is what would fit, where memory ran out and somebody has looked for it.
    """

    message: str
    error: BaseException
    smaller: SmallerPlan | None = None


DownloadEvent: TypeAlias = DownloadProgress | Downloaded
ReadEvent: TypeAlias = TokenizeProgress | ReadProgress | ReadFinished | Failed
AnswerEvent: TypeAlias = ReadProgress | TextDelta | AnswerFinished | Failed
