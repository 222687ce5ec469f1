"""Which model the engine has, which comes next, and which comes instead of one that cannot be loaded."""

from dataclasses import replace
from typing import Final

from PySide6.QtCore import QObject, Signal

from app.controllers.notices import Notice, NoticeKind, Offer, offers_after
from app.controllers.request_queue import RequestQueue
from app.failure_words import free_ram
from app.figures import as_bytes
from app.models.engine_status import EngineState, EngineStatus, Loading
from app.models.preferences import Preferences
from app.reports import ModelLoaded, ModelUnloaded, NotHereError
from app.requests import Ask, LoadModel, Read, UnloadModel
from app.settings import DEMO
from kiv_engine.config import Quantize
from kiv_engine.errors import OutOfMemoryError, StoppedError
from kiv_engine.events import Failed, LoadProgress

NOTICED_SPILL: Final = 200_000_000


class ModelLoading(QObject):
    """Has models loaded and unloaded. The chats' contexts, which go with a model, are not its own.

    Signals:
        noticed: a Notice to show.
    """

    noticed = Signal(object)

    def __init__(
        self, queue: RequestQueue, status: EngineStatus, preferences: Preferences, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._queue, self._status, self._preferences = queue, status, preferences
        self._chosen: LoadModel | None = None
        self._spilling_told = False
        self._was_unloaded = False

    @property
    def preferred(self) -> LoadModel:
        """The model of the settings."""
        settings = self._preferences.settings
        return LoadModel(settings.model, settings.quantize, settings.load_anyway)

    # -- what is wanted ------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Load the model of the settings, unless one is being loaded or is about to be."""
        if not any(isinstance(each, LoadModel) for each in (self._queue.running, *self._queue.waiting)):
            self._queue.put_first(self.preferred)
            self._queue.advance()

    def unload(self) -> None:
        """Give the model's memory back, now; `make_way` loads it again."""
        self._do_now(UnloadModel())

    def use(self, name: str, quantize: Quantize, anyway: bool) -> None:
        """Load another model, now, and keep to it if that succeeds."""
        self._chosen = LoadModel(name, quantize, anyway)
        self._do_now(self._chosen)

    def _do_now(self, request: LoadModel | UnloadModel) -> None:
        self._queue.take_back(lambda each: isinstance(each, LoadModel | UnloadModel))
        self._queue.put_first(request)
        self.stop()
        self._queue.stop()
        self._queue.advance()

    def stop(self) -> None:
        """End the loading of a model, unless that is the built-in one and nothing would come after it."""
        running = self._queue.running
        if isinstance(running, LoadModel) and (running.model != DEMO or self._loads_another):
            self._queue.interrupt()

    @property
    def _loads_another(self) -> bool:
        return any(isinstance(request, LoadModel) for request in self._queue.waiting)

    # -- one request after another -------------------------------------------------------------------------------

    def make_way(self) -> bool:
        """Whether what is next can begin; a model that was unloaded comes before it, once something waits for one."""
        waiting = self._queue.waiting
        if self._status.model is not None or isinstance(waiting[0], LoadModel | UnloadModel):
            return True
        is_wanted = self._was_unloaded and any(isinstance(each, Read | Ask) for each in waiting)
        if is_wanted:
            self._queue.put_first(self.preferred)
        return is_wanted

    def begin(self, request: LoadModel | UnloadModel) -> None:
        """The engine gives up the model that it has, for another or for none."""
        self._was_unloaded = isinstance(request, UnloadModel)
        self._status.set_model(None)
        if isinstance(request, LoadModel):
            self._status.set_loading(Loading(request.model))
        self._status.set_state(EngineState.ABSENT if self._was_unloaded else EngineState.LOADING)

    def take(self, request: LoadModel | UnloadModel, event: object) -> None:
        """Take what is reported of it."""
        match request, event:
            case LoadModel(model), LoadProgress(done, total):
                self._status.set_loading(Loading(model, done, total))
            case LoadModel(), ModelLoaded():
                self._loaded(request, event)
            case _, ModelUnloaded():
                line = self.tr("The model is unloaded. {0} A question or a document loads it again.")
                offer = Offer(self.tr("Load the model"), self.preferred)
                self.noticed.emit(Notice(NoticeKind.INFO, line.format(free_ram()), (offer,)))

    def _loaded(self, request: LoadModel, event: ModelLoaded) -> None:
        self._status.set_loading(None)
        self._status.set_model(event)
        self._spilling_told = False
        if request == self._chosen:
            settings = replace(self._preferences.settings, model=event.name, quantize=event.quantize)
            self._preferences.set(replace(settings, load_anyway=request.anyway))

    def rest(self) -> None:
        """Nothing runs; on the way from one model to the next that is not worth telling."""
        loads_next = isinstance(next(iter(self._queue.waiting), None), LoadModel)
        if self._status.model is not None or not loads_next:
            without = EngineState.ABSENT if self._was_unloaded else EngineState.ERROR
            self._status.set_state(EngineState.IDLE if self._status.model else without)

    def tell_spilling(self, size: int) -> None:
        """Say once for each model that VRAM is full and the driver goes on in RAM, with so many bytes."""
        if size < NOTICED_SPILL or self._spilling_told:
            return
        self._spilling_told = True
        line = self.tr(
            "The GPU's memory is full: {0} lie in RAM, which makes everything many times slower. Close what else uses "
            "the GPU, or take weights in 8 or 4 bit on the page of models (Ctrl+L)."
        )
        self._notice(line.format(as_bytes(size)))

    def fail(self, request: LoadModel, event: Failed) -> None:
        """Go back to the model that was in use; without that to the built-in one; without that, there is none."""
        self._status.set_loading(None)
        self._status.set_model(None)
        is_stopped = isinstance(event.error, StoppedError)
        if self._loads_another and is_stopped:
            return
        if request.model == DEMO:
            line = self.tr("The model could not be loaded. {0}").format(event.message)
            more = self.tr("Close other programs.") if isinstance(event.error, OutOfMemoryError) else ""
            self._notice(f"{line} {more}".rstrip())
            return
        instead = self.preferred if request != self.preferred else LoadModel()
        name = self.tr("the built-in model") if instead.model == DEMO else instead.model
        if is_stopped:
            line = self.tr("Loading {0} was stopped. Going on with {1}.").format(request.model, name)
            self._notice(line, NoticeKind.INFO)
        else:
            reason = event.message.rstrip(".") + "."
            if isinstance(event.error, NotHereError):
                reason = self.tr("it is not on this PC; get it on the page of models (Ctrl+L).")
            line = self.tr("{0} could not be loaded: {1} Going on with {2}.")
            text = line.format(request.model, reason, name)
            self.noticed.emit(Notice(NoticeKind.ERROR, text, offers_after(request, event)))
        self._queue.put_first(instead)

    def _notice(self, text: str, kind: NoticeKind = NoticeKind.ERROR) -> None:
        self.noticed.emit(Notice(kind, text))
