"""The models to choose from, what fits this PC, and what is being downloaded."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from PySide6.QtCore import QObject, Signal

from app.reports import ModelListed, ModelTimed
from app.settings import DEMO
from kiv_engine.events import Advantage, Downloaded, DownloadProgress

DEMO_MODEL: Final = ModelListed(DEMO, 0.0, "Apache-2.0", False, 0, 0, (), "none", is_here=True)


@dataclass(frozen=True)
class ModelRow:
    """One model.

    Attributes:
        progress: of its download, None before and after.
        is_waiting: a download is wanted and has not begun.
        message: why its download ended early, or "".
        timed: about how fast it would be; None until that is measured.
        advantage: why it is one to take here; None if it is not.
    """

    listed: ModelListed
    progress: DownloadProgress | None = None
    is_waiting: bool = False
    message: str = ""
    timed: ModelTimed | None = None
    advantage: Advantage | None = None

    @property
    def is_downloading(self) -> bool:
        return self.is_waiting or self.progress is not None


@dataclass(frozen=True)
class Connection:
    """A model that was fetched over the network; `bytes_here` of it are on this PC, older ones included.

    Where it is None, nothing but the model's config was fetched.
    """

    time: datetime
    name: str
    bytes_here: int | None
    is_over: bool = False


class ModelList(QObject):
    """Rows by name, in the order of the catalogue but for those to take here.

    Attributes:
        facts: names of parts of this PC, and what is said of them.
        recommended: names of the models to take here, the best first.
        is_listing: the models are being planned.
        is_timing: it is being measured how fast they would be.
        connections: everything that was fetched since the app started.

    Signals:
        changed: rows were added, or facts, recommendations, is_listing or is_timing changed.
        row_changed: the name of a row that changed.
        connections_changed: something is being fetched.
    """

    changed = Signal()
    row_changed = Signal(str)
    connections_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.facts: tuple[tuple[str, str], ...] = ()
        self.recommended: tuple[str, ...] = ()
        self.is_listing = False
        self.is_timing = False
        self.connections: list[Connection] = []
        self._rows: dict[str, ModelRow] = {DEMO: ModelRow(DEMO_MODEL)}

    @property
    def rows(self) -> list[ModelRow]:
        """The built-in model, those to take here, and the others."""
        return sorted(self._rows.values(), key=lambda row: self._rank(row.listed.name))

    def _rank(self, name: str) -> int:
        if name == DEMO:
            return -1
        return self.recommended.index(name) if name in self.recommended else len(self.recommended)

    def row(self, name: str) -> ModelRow | None:
        """A row, if there is one of that name."""
        return self._rows.get(name)

    def set_facts(self, facts: tuple[tuple[str, str], ...]) -> None:
        """Tell what this PC has."""
        self.facts = facts
        self.changed.emit()

    def set_listing(self, is_listing: bool, recommended: tuple[tuple[str, Advantage], ...] | None = None) -> None:
        """Tell whether models are being planned; at the end, which to take, and why: None if that came to nothing."""
        self.is_listing = is_listing
        if recommended is not None:
            self.recommended = tuple(name for name, _advantage in recommended)
            reasons = dict(recommended)
            self._rows = {name: replace(row, advantage=reasons.get(name)) for name, row in self._rows.items()}
        self.changed.emit()

    def set_timing(self, is_timing: bool) -> None:
        """Tell whether models are being timed."""
        self.is_timing = is_timing
        self.changed.emit()

    def set_timed(self, timed: ModelTimed) -> None:
        """Learn how fast a model would be."""
        self._change(timed.name, timed=timed)

    def take(self, listed: ModelListed) -> None:
        """Add a model, or learn what fits now."""
        old = self._rows.get(listed.name)
        self._rows[listed.name] = ModelRow(listed) if old is None else replace(old, listed=listed)
        if old is None:
            self.changed.emit()
        else:
            self.row_changed.emit(listed.name)

    def note_config(self, name: str) -> None:
        """The config of a model was fetched."""
        self.connections.append(Connection(datetime.now(), name, None, is_over=True))
        self.connections_changed.emit()

    def set_waiting(self, name: str) -> None:
        """A download is wanted."""
        self._change(name, is_waiting=True, message="")

    def set_progress(self, name: str, progress: DownloadProgress) -> None:
        """A download goes on."""
        self._change(name, is_waiting=False, progress=progress)
        self._note(name, progress.bytes_done)

    def set_downloaded(self, name: str, event: Downloaded) -> None:
        """A download is over, or was stopped."""
        row = self._rows[name]
        self._change(name, is_waiting=False, progress=None, listed=replace(row.listed, is_here=not event.stopped))
        self._note(name, event.bytes_done, is_over=True)

    def set_failed(self, name: str, message: str) -> None:
        """A download failed, or was taken back."""
        self._change(name, is_waiting=False, progress=None, message=message)
        self._note(name, None, is_over=True)

    def _change(self, name: str, **changes: object) -> None:
        self._rows[name] = replace(self._rows[name], **changes)  # type: ignore[arg-type]
        self.row_changed.emit(name)

    def _note(self, name: str, bytes_done: int | None, *, is_over: bool = False) -> None:
        """Write down what was fetched. The newest line of a name is its download under way."""
        last = self.connections[-1] if self.connections else None
        if last is not None and last.name == name and not last.is_over:
            count = last.bytes_here if bytes_done is None else bytes_done
            self.connections[-1] = replace(last, bytes_here=count, is_over=is_over)
        elif bytes_done is not None:
            self.connections.append(Connection(datetime.now(), name, bytes_done, is_over))
        self.connections_changed.emit()
