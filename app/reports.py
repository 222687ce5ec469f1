"""What the engine's thread reports: its own events, and what the app wants to know besides. Frozen values.

Every request is answered by any number of reports and then exactly one whose event is terminal.
"""

from dataclasses import dataclass
from pathlib import Path

from app.code_colours import ColouredCode
from app.document_text import DocumentText
from app.evidence import Baseline, Heat, TokenHits
from app.folders import FolderPart
from app.machine import Gpu
from app.quote_check import Claim
from app.settings import StoreKind
from kiv_engine.config import Quantize
from kiv_engine.errors import ModelNotFoundError
from kiv_engine.events import Advantage, AnswerFinished, Downloaded, Failed, MemoryPlaces, ReadFinished


@dataclass(frozen=True)
class Report:
    """An event, and the request that it belongs to."""

    request_id: int
    event: object


@dataclass(frozen=True)
class ModelLoaded:
    """Terminal. `fit_tokens` is how long a context this PC can hold with this model, `row_bytes` the keys and values of
    one token in the model's precision, `int8_row_bytes` those in 8 bit with their scales, `trained_tokens` the longest
    context it was trained on, `weights` where its weights lie.
    """

    name: str
    parameters: int
    fit_tokens: int
    row_bytes: int
    int8_row_bytes: int
    trained_tokens: int
    weights: MemoryPlaces
    gpu: Gpu | None = None
    quantize: Quantize = "none"


class NotHereError(ModelNotFoundError):
    """The model has to be downloaded before it can be loaded; the text is its name."""


@dataclass(frozen=True)
class ModelUnloaded:
    """Terminal. There is no model and no context any more."""


@dataclass(frozen=True)
class PcDescribed:
    """What this PC has: names and what is said of them, like ("RAM", "16.0 GB free of 25.3 GB")."""

    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class WeightsFit:
    """What fits with weights of one kind.

    Attributes:
        missing_bytes: so many are short before the first token, 0 where the model fits.
        num_gpus: over so many its layers are spread; 1 where they are not, and on the CPU.
    """

    quantize: Quantize
    tokens_in_ram: int
    tokens_on_disk: int
    missing_bytes: int
    num_gpus: int = 1


@dataclass(frozen=True)
class ModelListed:
    """A model and what of it fits this PC.

    Attributes:
        billions: of parameters; 0 where nobody has counted them.
        licence: its name, or "" where it is not known.
        gated: its owner grants access one by one.
        fits: by kind of weights, the finest first.
        best: the kind to take here.
        is_here: nothing has to be downloaded.
        measured: what it took when it was last used, beside what was planned, by kind of weights.
    """

    name: str
    billions: float
    licence: str
    gated: bool
    download_bytes: int
    trained_tokens: int
    fits: tuple[WeightsFit, ...]
    best: Quantize
    is_here: bool
    measured: tuple[tuple[Quantize, str], ...] = ()


@dataclass(frozen=True)
class ModelTimed:
    """About how fast a model would be here with its best weights: seconds to read a million tokens, and answer tokens
    per second behind them.
    """

    name: str
    million_s: float
    tokens_per_s: float


@dataclass(frozen=True)
class ConfigFetched:
    """The config of a model came from the hub."""

    name: str


@dataclass(frozen=True)
class ModelsListed:
    """Terminal. The models to take on this PC, the best first: name, and why."""

    recommended: tuple[tuple[str, Advantage], ...] = ()


@dataclass(frozen=True)
class TokenKept:
    """Terminal. The system's keyring has the token."""


@dataclass(frozen=True)
class TokenRemoved:
    """Terminal. The system's keyring has no token of KIV."""


@dataclass(frozen=True)
class FolderMeasured:
    """What a folder of the app takes; None while that is counted."""

    part: FolderPart
    folder: Path
    bytes: int | None = None


@dataclass(frozen=True)
class FoldersMeasured:
    """Terminal."""


@dataclass(frozen=True)
class ChatClosed:
    """Terminal."""


@dataclass(frozen=True, eq=False)
class DocumentOpened:
    """A document's text is there; its tokens are not counted yet. `notes` are sentences about it for a person."""

    text: DocumentText
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DocumentsRejected:
    """Some of several documents cannot be read; the others go on. `message` says of the first why, for a person."""

    names: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class DocumentPlace:
    """Where a document lies in the context, in tokens."""

    start: int
    tokens: int


@dataclass(frozen=True)
class DocumentsPlaced:
    """All tokens are counted; the first of them is read after this. `ram_bytes` is what they need, read or not.

    This PC can hold a context of `fit_tokens`, these included. `opened`: all had been read before, and that was only
    opened.
    """

    places: tuple[DocumentPlace, ...]
    ram_bytes: int
    fit_tokens: int
    opened: bool = False


@dataclass(frozen=True)
class ReadingTimed:
    """About how long reading what is unread takes. Comes before its first token is read."""

    seconds: float


@dataclass(frozen=True)
class StoreOffer:
    """A way to keep the documents' keys and values: its bytes in RAM (or a GPU's memory) and on the disk."""

    kind: StoreKind
    ram_bytes: int
    disk_bytes: int
    fits: bool


@dataclass(frozen=True)
class StoresOffered:
    """How the documents that were counted can be kept."""

    offers: tuple[StoreOffer, ...]


@dataclass(frozen=True)
class ShelfMeasured:
    """What is kept on disk of what was read."""

    contexts: int
    bytes: int


@dataclass(frozen=True)
class ContextMeasured:
    """The context's length and memory (without the model's weights), a few times a second.

    PyTorch has `reserved_bytes` of VRAM, used or not, of which `spilled_bytes` lie in RAM, where all is slower.
    """

    chat: int
    num_tokens: int
    unread_tokens: int
    memory: MemoryPlaces
    reserved_bytes: int = 0
    spilled_bytes: int = 0


@dataclass(frozen=True, eq=False)
class EvidenceGrown:
    """Where the answer under way looked: the tokens since the last such report; the rest as in Evidence."""

    tokens: tuple[TokenHits, ...]
    ends: tuple[int, ...]
    heat: Heat
    baseline: Baseline


@dataclass(frozen=True)
class GoingBack:
    """Tokens of what was said before in the chat that are read, of how many. Comes before the question is read."""

    tokens_read: int
    tokens_total: int


@dataclass(frozen=True)
class SectionProgress:
    """How far a question is that is asked section by section. Comes before each section and before the terminal event.

    Attributes:
        total: how many sections there are.
        ended: the first so many were read and answered.
        silent: numbers of those in which nothing was found; the answer has no text of them.
        again: the number of a section, and of those that say the same word for word, of which it has no text either.
    """

    total: int
    ended: int
    silent: tuple[int, ...] = ()
    again: tuple[tuple[int, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class AnswerChecked:
    """Which quotes and numbers of the answer stand in the documents, and the words of its code. Comes before
    AnswerFinished.
    """

    claims: tuple[Claim, ...]
    code: tuple[ColouredCode, ...] = ()


def is_terminal(event: object) -> bool:
    """Whether a request ends with this event."""
    ends = ModelLoaded | ReadFinished | AnswerFinished | ChatClosed | ModelsListed | Downloaded | Failed
    return isinstance(event, ends | ModelUnloaded | TokenKept | TokenRemoved | FoldersMeasured)
