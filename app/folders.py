"""Where the app keeps its own files: settings and chats."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

NAME: Final = "kiv"


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
