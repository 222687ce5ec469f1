"""Where a model is: the built-in one, a folder, or what was downloaded; and what a folder lacks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from kiv_engine.download import (
    find_downloaded,
    foreign_weights,
    has_tokenizer,
    missing_weights,
    weight_files,
    weights_problem,
)
from kiv_engine.errors import ModelNotFoundError, said
from kiv_engine.events import DownloadProgress, LoadProgress

DEMO_FOLDER: Final = Path(__file__).parents[1] / "resources" / "models" / "kiv-demo"
"""The embedded model. `resources` lies beside `kiv_engine`, in a source tree as in an installed wheel."""

_WEIGHT_FILES: Final = ("model.safetensors", "model.safetensors.index.json")

OnProgress: TypeAlias = Callable[[DownloadProgress | LoadProgress], None]


@dataclass(frozen=True)
class Source:
    """A model's folder, and what the user called it, which is what messages say; `is_downloaded` where that is an id on
    the hub."""

    name: str
    folder: Path
    is_downloaded: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def remedy(self) -> str:
        """What to do where it cannot be loaded, and that may be for a file that is damaged or lacking."""
        if self.is_downloaded:
            return said("if a file is damaged, get it again with: kiv models get {0}", self.name)
        return said("if a file is damaged, get it again from where it came.")


def local_folder(model: str) -> Path | None:
    """The folder that a model's name stands for, or None if it is a hub id."""
    if model == "demo":
        if not DEMO_FOLDER.is_dir():
            raise ModelNotFoundError(
                said("The embedded model is missing from {0}; install KIV Desktop again.", DEMO_FOLDER)
            )
        return DEMO_FOLDER
    if not model.strip():
        raise ModelNotFoundError(said('No model is named; give "demo", a folder or a name on the HuggingFace hub.'))
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_file() and path.suffix == ".gguf":
        raise _no_safetensors(model, {path.name})
    if path.is_file():
        raise ModelNotFoundError(said("{0} is a file; give the folder with config.json and the safetensors.", model))
    if model.startswith((".", "~", "/")) or "\\" in model or model.count("/") > 1:
        raise ModelNotFoundError(said("There is no folder {0!r}.", model))
    return None


def require_config(folder: Path) -> None:
    """Raise ModelNotFoundError unless a folder holds a config."""
    names = {path.name for path in folder.iterdir()}
    if "config.json" in names:
        return
    if problem := foreign_weights(str(folder), names):
        raise ModelNotFoundError(problem)
    raise ModelNotFoundError(said("{0} is not a model folder: it has no config.json.", folder))


def require_complete(folder: Path) -> None:
    """Raise ModelNotFoundError unless a folder holds all of its safetensors, and a tokenizer."""
    names = {path.name for path in folder.iterdir()}
    if names.isdisjoint(_WEIGHT_FILES):
        raise _no_safetensors(str(folder), names)
    if missing := missing_weights(folder):
        raise ModelNotFoundError(
            said(
                "{0} is not complete: it lacks {1} of its weight files, such as {2}; download it again, "
                "or copy what is missing.",
                folder,
                len(missing),
                missing[0],
            )
        )
    for name in weight_files(folder):
        if problem := weights_problem(folder / name):
            raise ModelNotFoundError(said("{0} {1}", folder / name, problem))
    if not has_tokenizer(folder):
        raise no_tokenizer(str(folder))


def loading_problem(model: str) -> str:
    """Why `load` would refuse a folder with a config, in a sentence; "" where it would not, and for a hub id."""
    folder = local_folder(model)
    try:
        if folder is not None:
            require_complete(folder)
    except ModelNotFoundError as error:
        return str(error)
    return ""


def _no_safetensors(folder: str, names: set[str]) -> ModelNotFoundError:
    """What to get instead of what is there."""
    problem = foreign_weights(folder, names)
    return ModelNotFoundError(problem or said("{0} has no weights: there is no model.safetensors.", folder))


def no_tokenizer(source: str) -> ModelNotFoundError:
    """What to put beside the weights."""
    return ModelNotFoundError(
        said("{0} has no tokenizer; put the model's tokenizer.json beside its config.json.", source)
    )


def is_here(model: str) -> bool:
    """Whether `load` would need no download: the built-in model, a folder, or what is complete in the cache."""
    return model == "demo" or Path(model).expanduser().is_dir() or find_downloaded(model) is not None
