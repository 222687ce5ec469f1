"""Where the app keeps its own files: settings and chats."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import platformdirs

NAME: Final = "kiv"

FolderPart: TypeAlias = Literal["chats", "contexts", "models", "settings"]
"""What lies in folders that a person may want to see."""


@dataclass(frozen=True)
class Folders:
    """Made when something is written there."""

    config: Path
    data: Path

    @classmethod
    def of_user(cls) -> "Folders":
        """The places that the system has for such files."""
        return cls(
            Path(platformdirs.user_config_path(NAME, appauthor=False)),
            Path(platformdirs.user_data_path(NAME, appauthor=False)),
        )

    @property
    def parts(self) -> tuple[tuple[FolderPart, Path, tuple[Path, ...]], ...]:
        """Each part with its folder, and what of that belongs to it."""
        chats = tuple(self.history.with_name(self.history.name + end) for end in ("", "-wal", "-shm"))
        return (
            ("chats", self.data, chats),
            ("contexts", self.contexts, (self.contexts, self.store)),
            ("settings", self.config, (self.settings,)),
        )

    @property
    def settings(self) -> Path:
        return self.config / "settings.json"

    @property
    def history(self) -> Path:
        return self.data / "chats.sqlite3"

    @property
    def store(self) -> Path:
        """Files of old keys and values of the contexts in use; on the disk of what is kept, which takes them over."""
        return self.data / "store"

    @property
    def contexts(self) -> Path:
        """What was read; the same place as kiv_engine.shelf.default_shelf."""
        return self.data / "contexts"
