"""The shelf: a folder of saved contexts that looks after itself. The least recently used goes first."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import platformdirs

from kiv_engine.config import KIVConfig
from kiv_engine.context_folder import MANIFEST, fingerprint
from kiv_engine.document import Document
from kiv_engine.errors import SavedContextError
from kiv_engine.loader import LoadedModel
from kiv_engine.saved_context import SavedContext

QUOTA_BYTES: Final = 32 << 30
NAME_CHARACTERS: Final = 24


def default_shelf() -> Path:
    """Where the user's saved contexts are."""
    return Path(platformdirs.user_data_path("kiv", appauthor=False)) / "contexts"


class Shelf:
    """Saved contexts by what they hold: the same documents, read by the same model in the same way, are one.

    Attributes:
        folder: made when something is put there.
        quota: bytes that `trim` leaves.
    """

    def __init__(self, folder: Path, quota: int = QUOTA_BYTES) -> None:
        self.folder = folder
        self.quota = quota

    def place_of(
        self, loaded: LoadedModel, config: KIVConfig, system: str | None, documents: Sequence[Document]
    ) -> Path:
        """The folder for these documents, whether it is there or not."""
        facts = [fingerprint(loaded), asdict(config), system]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        for document in documents:
            for part in (document.name, document.text):
                data = part.encode("utf-8", "surrogatepass")
                digest.update(f"{len(data)} ".encode() + data)
            digest.update(document.places.to_bytes())
        return self.folder / digest.hexdigest()[:NAME_CHARACTERS]

    def use(self, folder: Path) -> SavedContext | None:
        """What is in one of the shelf's folders, which now counts as used; None if nothing sound is there.

        What is damaged is removed: it can be read again.
        """
        if not SavedContext.exists(folder):
            return None
        try:
            saved = SavedContext.open(folder)
            os.utime(folder / MANIFEST)
        except SavedContextError:
            self.discard(folder)
            return None
        except OSError:
            return None
        return saved

    @staticmethod
    def discard(folder: Path) -> None:
        """Remove what turned out to be damaged, so that it is read again; what another program writes stays."""
        with suppress(SavedContextError):
            SavedContext.remove(folder)

    def beginning_of(
        self, loaded: LoadedModel, config: KIVConfig, system: str | None, documents: Sequence[Document]
    ) -> SavedContext | None:
        """The longest complete context of the same kind whose documents these begin with: what they were before."""
        marks = fingerprint(loaded)
        for saved in sorted(self.saved(), key=lambda saved: saved.num_tokens, reverse=True):
            same = saved.complete and saved.system == system and saved.config == replace(config, store="ram")
            with suppress(SavedContextError):
                if same and saved.manifest["fingerprint"] == marks and saved.begins(documents):
                    return saved
        return None

    def saved(self) -> list[SavedContext]:
        """Everything sound on the shelf, the most recently used first."""
        found = []
        for folder in SavedContext.folders_in(self.folder) if self.folder.is_dir() else ():
            with suppress(SavedContextError):  # what is damaged is found by `use`, which makes room for it anew
                found.append(SavedContext.open(folder))
        return sorted(found, key=lambda saved: (saved.folder / MANIFEST).stat().st_mtime, reverse=True)

    def trim(self) -> list[Path]:
        """Remove the least recently used beyond the quota, but never the newest; the folders that went."""
        total, gone = 0, []
        for number, saved in enumerate(self.saved()):
            total += saved.nbytes
            if number and total > self.quota:
                with suppress(SavedContextError):
                    SavedContext.remove(saved.folder)
                    gone.append(saved.folder)
        return gone
