"""What the engine is doing, for every control that depends on it."""

from dataclasses import dataclass
from enum import Enum

from PySide6.QtCore import QObject, Signal

from app.reports import ContextMeasured, ModelLoaded, ShelfMeasured
from kiv_engine.events import MemoryPlaces


class EngineState(Enum):
    """What the engine is doing. Without a model: ABSENT before it is loaded and after it was unloaded, ERROR where
    loading it failed.
    """

    ABSENT = "absent"
    LOADING = "loading"
    IDLE = "idle"
    READING = "reading"
    GENERATING = "generating"
    STOPPING = "stopping"
    ERROR = "error"


BUSY = frozenset({EngineState.READING, EngineState.GENERATING, EngineState.STOPPING})


@dataclass(frozen=True)
class Loading:
    """How far a model is: tensors in memory, of how many; 0 of 0 until that is known."""

    name: str
    done: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        return self.done / max(1, self.total)


class EngineStatus(QObject):
    """State and figures of the engine.

    Attributes:
        model: what is loaded, or None.
        loading: what is being loaded, or None.
        busy_chat: the chat whose request runs, or None.
        tokens_per_s: of reading or writing, while it goes on; None otherwise.
        measured: the newest figures per chat.
        reserved_bytes: of the GPU's memory, those that PyTorch has.
        spilled_bytes: of them, those that lie in RAM instead.
        shelf: what is kept on disk of what was read; None until that is known, or where nothing is.

    Signals:
        changed: state, model or busy_chat changed.
        figures_changed: tokens_per_s or measured changed.
        loading_changed: loading changed.
    """

    changed = Signal()
    figures_changed = Signal()
    loading_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = EngineState.ABSENT
        self.model: ModelLoaded | None = None
        self.loading: Loading | None = None
        self.busy_chat: int | None = None
        self.tokens_per_s: float | None = None
        self.measured: dict[int, ContextMeasured] = {}
        self.reserved_bytes = self.spilled_bytes = 0
        self.shelf: ShelfMeasured | None = None

    @property
    def is_busy(self) -> bool:
        return self.state in BUSY

    @property
    def memory(self) -> MemoryPlaces:
        """Where the parts of the model and of all contexts lie."""
        weights = self.model.weights if self.model else MemoryPlaces()
        return sum((each.memory for each in self.measured.values()), weights)

    def set_state(self, state: EngineState, busy_chat: int | None = None) -> None:
        """Enter a state; `busy_chat` is the chat it is about."""
        self.state = state
        self.busy_chat = busy_chat
        if state not in BUSY:
            self.set_rate(None)
        self.changed.emit()

    def set_model(self, model: ModelLoaded | None) -> None:
        """Tell what is loaded."""
        self.model = model
        self.reserved_bytes = self.spilled_bytes = 0
        self.changed.emit()

    def set_loading(self, loading: Loading | None) -> None:
        """Tell how far loading is."""
        self.loading = loading
        self.loading_changed.emit()

    def set_rate(self, tokens_per_s: float | None) -> None:
        """Tell how fast reading or writing goes."""
        self.tokens_per_s = tokens_per_s
        self.figures_changed.emit()

    def set_measured(self, measured: ContextMeasured) -> None:
        """Take new figures of a context."""
        self.measured[measured.chat] = measured
        self.reserved_bytes, self.spilled_bytes = measured.reserved_bytes, measured.spilled_bytes
        self.figures_changed.emit()

    def set_shelf(self, shelf: ShelfMeasured) -> None:
        """Take new figures of what is kept."""
        self.shelf = shelf
        self.figures_changed.emit()

    def forget(self, chat: int) -> None:
        """Drop the figures of a chat that is gone."""
        self.measured.pop(chat, None)
        self.figures_changed.emit()
