"""What can be asked of the engine: frozen values, made on the GUI thread and used on the engine's."""

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from app.folders import FolderPart
from app.settings import DEMO, KEPT_GB, StoreKind
from kiv_engine.config import KIVConfig, Quantize, SamplingConfig


@dataclass(frozen=True)
class FileSource:
    """A file of any kind, or a folder.

    `stamp` tells whether a file has changed since it was named: time of the last change in ns, and bytes. None for a
    folder, which would have to be walked, and where it cannot be told.
    """

    path: Path
    stamp: tuple[int, int] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.path.name or str(self.path)


@dataclass(frozen=True)
class TextSource:
    """A text that was pasted, and the key under which it is kept."""

    name: str
    text: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)


@dataclass(frozen=True)
class ArchiveSource:
    """The sample archive, written on the spot."""

    tokens: int

    @property
    def name(self) -> str:
        return "The Archive of Pellingwater"


Source: TypeAlias = FileSource | TextSource | ArchiveSource


@dataclass(frozen=True)
class LoadModel:
    """Import the engine and load a model, `anyway` if it is predicted not to fit. Ends with ModelLoaded."""

    model: str = DEMO
    quantize: Quantize = "none"
    anyway: bool = False


@dataclass(frozen=True)
class ContextOptions:
    """How a chat's context is made, if it has none yet, and how many GB of what was read are kept; 0 keeps nothing.

    `stores` are the ways to keep it that can be offered instead.
    """

    config: KIVConfig = field(default_factory=KIVConfig)
    system: str = ""
    kept_gb: int = KEPT_GB
    stores: tuple[tuple[StoreKind, KIVConfig], ...] = ()


@dataclass(frozen=True)
class Read:
    """Read documents into a chat's context; without sources, go on where reading stopped. Ends with ReadFinished.

    `anyway`: also what is predicted not to fit. `first_tokens`: only so many, from the beginning; 0 is all.
    """

    chat: int
    sources: tuple[Source, ...] = ()
    options: ContextOptions = field(default_factory=ContextOptions)
    anyway: bool = False
    first_tokens: int = 0


@dataclass(frozen=True)
class Said:
    """A question and the answer that it got."""

    question: str
    answer: str


@dataclass(frozen=True)
class Ask:
    """Answer a question in a chat's context, after `history` and nothing else. Ends with AnswerFinished.

    `exchange` is the chat's number for it, and not the engine's concern. `retrieved_tokens` are fetched for each word;
    0 is as the options say. `by_section`: asked of each section of the documents in turn, with `heading` above each
    answer: which one it is of how many, in the user's language.
    """

    chat: int
    exchange: int
    question: str
    history: tuple[Said, ...] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    options: ContextOptions = field(default_factory=ContextOptions)
    retrieved_tokens: int = 0
    by_section: bool = False
    heading: str = "Section {0:,} of {1:,}"


@dataclass(frozen=True)
class CloseChat:
    """Give the memory of a chat's context back. Ends with ChatClosed."""

    chat: int


@dataclass(frozen=True)
class UnloadModel:
    """Give the memory of the model and of all contexts back. Ends with ModelUnloaded."""


@dataclass(frozen=True)
class ListModels:
    """Describe this PC and plan the models of the catalogue. Ends with ModelsListed.

    `in_use_bytes` of RAM are the loaded model's, and free for the one that replaces it; those of GPUs are looked up.
    """

    in_use_bytes: int = 0


@dataclass(frozen=True)
class TimeModels:
    """Measure how fast models would be that have been planned; some seconds for each. Ends with ModelsListed."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class DescribeModel:
    """Plan one model, by its id on the hub or its folder; of an unknown id only the config is downloaded.

    `in_use_bytes` as in ListModels. Ends with ModelsListed.
    """

    name: str
    in_use_bytes: int = 0


@dataclass(frozen=True)
class DownloadModel:
    """Download a model, or go on with it. Ends with Downloaded."""

    name: str


@dataclass(frozen=True)
class KeepToken:
    """Put a token for gated models into the system's keyring. Ends with TokenKept."""

    token: str = field(repr=False)


@dataclass(frozen=True)
class RemoveToken:
    """Take that token out of the keyring again. Ends with TokenRemoved."""


@dataclass(frozen=True)
class ChooseModelsFolder:
    """Downloads go to another folder from now on; "default" is HuggingFace's cache. Then as ListModels."""

    folder: str
    in_use_bytes: int = 0


@dataclass(frozen=True)
class MeasureFolders:
    """Count what the app's own folders take, and those of models: the part, its folder, and what of that is counted.
    Ends with FoldersMeasured.
    """

    places: tuple[tuple[FolderPart, Path, tuple[Path, ...]], ...] = ()


Request: TypeAlias = (
    LoadModel | UnloadModel | Read | Ask | CloseChat | ListModels | TimeModels | DescribeModel | DownloadModel
    | KeepToken | RemoveToken | ChooseModelsFolder | MeasureFolders
)  # fmt: skip
