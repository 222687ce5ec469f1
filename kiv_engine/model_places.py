"""Where models lie: the cache of HuggingFace's own tools, or folders that the user chose instead, which are remembered.

All of them have the layout of that cache. KIV_MODELS names one folder for this time; empty, it means the cache alone.
"""

import json
import os
from pathlib import Path
from typing import Final

import platformdirs

from kiv_engine.errors import ConfigError, said
from kiv_engine.files import write_whole

ENVIRONMENT: Final = "KIV_MODELS"
DEFAULT: Final = "default"
"""The word for HuggingFace's cache."""


def downloads_folder() -> Path:
    """Where the next download goes."""
    return model_folders()[0]


def model_folders() -> list[Path]:
    """All folders that may hold models, each once: that of the next download first, HuggingFace's cache always."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    chosen = os.environ.get(ENVIRONMENT)
    names = _remembered() if chosen is None else [chosen]
    return list(dict.fromkeys([*(Path(name) if name else cache for name in names), cache]))


def choose_downloads_folder(name: str) -> Path:
    """Remember where downloads go from now on; `default` is HuggingFace's cache. Models stay where they are.

    Raises ConfigError where nothing can be written.
    """
    chosen = "" if name == DEFAULT else str(_writable(Path(name).expanduser().absolute()))
    names = [chosen, *(each for each in _remembered() if each != chosen)]
    file = _file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(names).encode())
    except OSError as error:
        raise ConfigError(said("{0} cannot be written: {1}.", file, error.strerror)) from error
    return downloads_folder()


def _writable(folder: Path) -> Path:
    """The folder, made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".kiv-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            said("Models cannot be kept in {0}: {1}; choose another folder.", folder, error.strerror)
        ) from error
    return folder


def _remembered() -> list[str]:
    """Folders that were chosen, the newest first; "" for HuggingFace's cache. A damaged file remembers nothing."""
    try:
        names = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _file() -> Path:
    return platformdirs.user_config_path("kiv", appauthor=False) / "model-folders.json"
