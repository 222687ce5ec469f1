"""What the user wants of models becomes requests to their own thread, and what is reported becomes rows."""

from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.session_controller import Engine
from app.models.engine_status import EngineStatus
from app.models.model_list import ModelList
from app.reports import ConfigFetched, ModelListed, ModelsListed, ModelTimed, PcDescribed, Report, is_terminal
from app.requests import DescribeModel, DownloadModel, ListModels, Request, TimeModels
from kiv_engine.events import Downloaded, DownloadProgress, Failed


class ModelsController(QObject):
    """Lists, describes and downloads models; loading one is the session controller's.

    Signals:
        failed: a sentence about what could not be done, if no row tells it.
        found: the name of the row of a model that was looked for.
    """

    failed = Signal(str)
    found = Signal(str)

    def __init__(self, engine: Engine, models: ModelList, status: EngineStatus, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._engine, self._models, self._status = engine, models, status
        self._requests: dict[int, Request] = {}
        self._times_next = False

    @Slot()
    def list_models(self) -> None:
        """Plan all models, unless that is under way or waits behind a download."""
        if not self._requests:
            in_use = max((each.memory.weights for each in self._status.measured.values()), default=0)
            self._models.set_listing(True)
            self._submit(ListModels(in_use))

    @Slot()
    def list_and_time(self) -> None:
        """Plan all models, then measure how fast those to take would be, unless that is known."""
        self._times_next = True
        self.list_models()

    def _time(self, names: tuple[str, ...]) -> None:
        self._times_next = False
        rows = [row for name in names if (row := self._models.row(name)) is not None]
        if untimed := tuple(row.listed.name for row in rows if row.timed is None):
            self._models.set_timing(True)
            self._submit(TimeModels(untimed))

    @Slot(str)
    def find(self, text: str) -> None:
        """Plan the model that a person names: an id on the hub, or a folder."""
        name = text.strip()
        if name:
            path = Path(name).expanduser()
            self._models.set_listing(True)
            self._submit(DescribeModel(str(path.absolute()) if path.is_dir() else name))

    @Slot(str)
    def download(self, name: str) -> None:
        """Fetch a model; downloads follow each other."""
        row = self._models.row(name)
        if row is not None and not row.is_downloading:
            self._models.set_waiting(name)
            self._submit(DownloadModel(name))

    @Slot(str)
    def stop(self, name: str) -> None:
        """End a download; what is here stays."""
        for number, request in self._requests.items():
            if request == DownloadModel(name):
                self._engine.stop(number)

    @Slot(object)
    def on_report(self, report: Report) -> None:
        """Take a report of the models' thread."""
        request = self._requests.get(report.request_id)
        if request is None:
            return
        if is_terminal(report.event):
            del self._requests[report.request_id]
        self._take(request, report.event)

    def _submit(self, request: Request) -> None:
        self._requests[self._engine.submit(request)] = request

    def _take(self, request: Request, event: object) -> None:
        match request, event:
            case DownloadModel(name), _:
                self._take_download(name, event)
            case TimeModels(), ModelTimed():
                self._models.set_timed(event)
            case TimeModels(), _:
                self._models.set_timing(False)
            case _:
                self._take_plan(request, event)

    def _take_plan(self, request: Request, event: object) -> None:
        match event:
            case PcDescribed(facts):
                self._models.set_facts(facts)
            case ModelListed(name):
                self._models.take(event)
                if isinstance(request, DescribeModel):
                    self.found.emit(name)
            case ConfigFetched(name):
                self._models.note_config(name)
            case ModelsListed(recommended):
                self._models.set_listing(False, recommended)
                if self._times_next and isinstance(request, ListModels):
                    self._time(recommended)
            case Failed(message):
                self._models.set_listing(False)
                self.failed.emit(message)

    def _take_download(self, name: str, event: object) -> None:
        match event:
            case DownloadProgress():
                self._models.set_progress(name, event)
            case Downloaded():
                self._models.set_downloaded(name, event)
            case Failed(message):
                self._models.set_failed(name, message)
