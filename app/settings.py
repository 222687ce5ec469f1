"""What the user can set, and the file that it is kept in: JSON that a person can read and repair."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, get_args

from kiv_engine.config import (
    KIVConfig,
    PrefillMode,
    Quantize,
    SamplingConfig,
    StoreDtype,
    require_choice,
    require_whole,
)
from kiv_engine.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VERSION: Final = 1
FONT_POINTS: Final = (8, 24)
KEPT_GB: Final = 32
MOST_KEPT_GB: Final = 100_000
DEMO: Final = "demo"
"""The built-in model."""

StoreKind: TypeAlias = Literal["ram", "int8", "disk"]
"""Where old keys and values lie: in RAM, there with 8 bits, or in files."""

ThemeName: TypeAlias = Literal["system", "light", "dark", "contrast"]

PRESETS: Final[dict[str, SamplingConfig]] = {
    "Precise": SamplingConfig(),
    "Balanced": SamplingConfig(temperature=0.6, top_p=0.95, repetition_penalty=1.05),
    "Creative": SamplingConfig(temperature=1.0, min_p=0.05),
}
"""Ways to draw the next token, by name. The first is the default: a question about a document has one answer."""

_Value = TypeVar("_Value", bound="DataclassInstance")


@dataclass(frozen=True)
class ChatOptions:
    """How a chat is answered. `system` is the system prompt; it stands before the documents.

    `store` is where its documents lie; "" is as the settings say. Only their `first_tokens` are read; 0 is all.
    """

    system: str = ""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    store: StoreKind | Literal[""] = ""
    first_tokens: int = 0

    def __post_init__(self) -> None:
        require_whole("first_tokens", self.first_tokens, 0, 2**31 - 1)
        require_choice("store", self.store, ("", *get_args(StoreKind)))

    @property
    def for_new_chats(self) -> "ChatOptions":
        """Without what concerns the documents of one chat."""
        return replace(self, store="", first_tokens=0)

    @property
    def preset(self) -> str | None:
        """The name of the sampling preset, None for other values. Length and seed are nobody's preset."""
        plain = {**asdict(self.sampling), "max_new_tokens": 0, "seed": None}
        same = (name for name, preset in PRESETS.items() if {**asdict(preset), "max_new_tokens": 0} == plain)
        return next(same, None)


@dataclass(frozen=True)
class AnswerSettings:
    """What an answer was made with.

    Attributes:
        model: its id or folder; `quantize` how its weights are kept.
        hot_tokens: the newest ones, which every word saw in full; `retrieved_tokens` of the older ones were fetched.
        store_dtype: of old keys and values.
        prefill: how the documents were read; where they were not, what was set.
    """

    model: str
    hot_tokens: int
    retrieved_tokens: int
    store_dtype: StoreDtype
    prefill: str
    quantize: Quantize = "none"
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        if not is_text(self.model):
            raise ConfigError(f"model is {self.model!r}; it must be a text")
        for name in ("hot_tokens", "retrieved_tokens"):
            require_whole(name, getattr(self, name), 0, 2**31 - 1)
        require_choice("store_dtype", self.store_dtype, get_args(StoreDtype))
        require_choice("prefill", self.prefill, get_args(PrefillMode))
        require_choice("quantize", self.quantize, get_args(Quantize))


@dataclass(frozen=True)
class Settings:
    """All settings. `font_points` 0 is the system's size; `engine` and `chat` are for new chats.

    `kept_gb` is how many GB of what was read are kept on disk; 0 keeps nothing.
    `welcomed`: the first page has been shown.
    `model` is the built-in one ("demo"), an id on the HuggingFace hub or a folder; `quantize` how its weights are kept;
    `load_anyway`: it was predicted not to fit, and did when it was tried.
    """

    theme: ThemeName = "system"
    font_points: int = 0
    model: str = DEMO
    quantize: Quantize = "none"
    load_anyway: bool = False
    kept_gb: int = KEPT_GB
    welcomed: bool = False
    engine: KIVConfig = field(default_factory=KIVConfig)
    chat: ChatOptions = field(default_factory=ChatOptions)

    def __post_init__(self) -> None:
        require_choice("theme", self.theme, get_args(ThemeName))
        require_choice("quantize", self.quantize, get_args(Quantize))
        if not is_text(self.model):
            raise ConfigError(f"model is {self.model!r}; allowed are {DEMO!r}, an id on the hub, or a folder")
        for name in ("welcomed", "load_anyway"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; allowed are true and false")
        require_whole("kept_gb", self.kept_gb, 0, MOST_KEPT_GB)
        if self.font_points != 0:
            require_whole("font_points", self.font_points, *FONT_POINTS)


def with_store(config: KIVConfig, kind: StoreKind | Literal[""], folder: Path) -> KIVConfig:
    """A config whose old keys and values lie as chosen; in files of its own folder, or else of this one."""
    match kind:
        case "ram":
            return replace(config, store="ram", store_dtype="auto")
        case "int8":
            return replace(config, store="ram", store_dtype="int8")
        case "disk":
            return replace(config, store=config.store_folder or folder)
        case _:
            return config


def store_kind(config: KIVConfig) -> StoreKind:
    """Where old keys and values lie with a config."""
    if config.store_folder is not None:
        return "disk"
    return "int8" if config.store_dtype == "int8" else "ram"


def is_text(value: object) -> bool:
    """Whether a value, which a file may have brought, is a text with something in it."""
    return isinstance(value, str) and bool(value.strip())


@dataclass(frozen=True)
class Fault:
    """What was wrong with the file: it cannot be read, or what it says is `damaged`.

    Attributes:
        reason: what the system or a value in the file says.
        kept_as: the name under which a damaged file is kept; "" if it could not be moved.
    """

    reason: str
    damaged: bool
    kept_as: str = ""


@dataclass(frozen=True)
class Loaded:
    """The settings in force."""

    settings: Settings
    fault: Fault | None = None


def load_settings(path: Path) -> Loaded:
    """Read the file. One that is damaged is kept aside, and the defaults are used."""
    try:
        return Loaded(_settings(json.loads(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return Loaded(Settings())
    except OSError as error:
        return Loaded(Settings(), Fault(error.strerror or str(error), damaged=False))
    except (ValueError, TypeError, ConfigError, RecursionError) as error:
        return Loaded(Settings(), Fault(str(error).rstrip("."), damaged=True, kept_as=_kept(path)))


def save_settings(path: Path, settings: Settings) -> None:
    """Write the file in one step: whatever happens, the old or the new one is there. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"version": VERSION, **as_json(settings)}, indent=2) + "\n", encoding="utf-8")
    os.replace(fresh, path)


def as_json(value: Settings | ChatOptions | AnswerSettings) -> dict[str, Any]:
    """Everything as numbers, texts and lists."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(value), default=str))
    return plain


def chat_options(data: Any) -> ChatOptions:
    """The options that `as_json` wrote. Raises ConfigError or TypeError."""
    sampling = data.get("sampling", {}) if isinstance(data, dict) else {}
    return from_json(ChatOptions, data, sampling=_sampling(sampling))


def answer_settings(data: Any) -> AnswerSettings:
    """The settings that `as_json` wrote. Raises ConfigError, TypeError or AttributeError."""
    return from_json(AnswerSettings, data, sampling=_sampling(data.get("sampling", {})))


def _settings(data: Any) -> Settings:
    if not isinstance(data, dict):
        raise ConfigError("it does not hold settings")
    engine = from_json(KIVConfig, data.get("engine", {}))
    return from_json(Settings, data, engine=engine, chat=chat_options(data.get("chat", {})))


def _sampling(data: Any) -> SamplingConfig:
    stop = tuple(data["stop"]) if "stop" in data else ()
    for text in stop:
        _require_text("stop", text)
    return from_json(SamplingConfig, data, stop=stop)


def from_json(kind: type[_Value], data: Any, **made: Any) -> _Value:
    """A value from what a file says; names that are not known are those of a newer version.

    Raises ConfigError or TypeError.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{kind.__name__} is {data!r}")
    known = {each.name for each in fields(kind)}
    for each in fields(kind):
        if isinstance(each.default, str):
            _require_text(each.name, data.get(each.name, ""))
    return kind(**{name: value for name, value in data.items() if name in known} | made)


def _require_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {value!r}; it must be a text")


def keep_aside(path: Path) -> Path:
    """Move a damaged file, and what a database has beside it, to a name that is free. Raises OSError."""
    number = next(n for n in count(1) if not path.with_name(f"{path.name}.damaged-{n}").exists())
    kept = path.with_name(f"{path.name}.damaged-{number}")
    for beside in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + beside).rename(kept.with_name(kept.name + beside))
    return kept


def _kept(path: Path) -> str:
    try:
        return keep_aside(path).name
    except OSError:
        return ""
