"""The folder in which a context is kept while it is read: begun, brought up to date, complete, or given up."""

from pathlib import Path
from typing import Final

from kiv_engine.cache import KIVCache
from kiv_engine.config import KIVConfig
from kiv_engine.errors import CapacityError, ConfigError, SavedContextError, said
from kiv_engine.loader import LoadedModel
from kiv_engine.saved_context import SavedContext
from kiv_engine.saving import ContextWriter, Progress

CHECKPOINT_S: Final = 20.0


class Checkpoints:
    """Writes one after the other, as long as there is a folder for them."""

    def __init__(self, loaded: LoadedModel, cache: KIVCache, config: KIVConfig, system: str | None) -> None:
        self._loaded, self._cache, self._config, self._system = loaded, cache, config, system
        self._writer: ContextWriter | None = None
        self._not_saved = ""

    @property
    def is_saving(self) -> bool:
        """Whether there is a folder that is not complete."""
        return self._writer is not None

    @property
    def is_due(self) -> bool:
        """Whether the newest checkpoint is old by now."""
        return self._writer is not None and self._writer.seconds_since > CHECKPOINT_S

    def begin(self, folder: Path, saved: SavedContext | None = None) -> None:
        """Write to a folder; `saved` is what is there already. Raises SavedContextError or CapacityError."""
        if self._writer is not None:
            raise ConfigError(said("This context is already being saved to {0}.", self._writer.folder))
        self._writer = ContextWriter(folder, self._loaded, self._config, self._system, saved)

    def write(self, progress: Progress, *, wait: bool = True) -> None:
        """Bring the folder up to date, waiting for the disk or not; close it once everything is read."""
        assert self._writer is not None
        self._cache.check_saved()
        self._writer.checkpoint(self._cache, progress, wait=wait)
        if progress.complete:
            self.close()

    def try_to_write(self, progress: Progress, *, wait: bool = True) -> None:
        """A checkpoint that cannot be written ends saving, not reading; `take_problem` tells."""
        try:
            self.write(progress, wait=wait)
        except (SavedContextError, CapacityError) as error:
            self._not_saved = error.words
            self.close()

    def take_problem(self) -> str:
        """Why saving was given up, once; "" where it was not."""
        problem, self._not_saved = self._not_saved, ""
        return problem

    def settle(self) -> None:
        """Wait for what is on its way to the disk."""
        if self._writer is not None:
            self._writer.settle()

    def close(self) -> None:
        """Leave the folder as the newest checkpoint has it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
