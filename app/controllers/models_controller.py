"""What the user wants of models becomes requests to their own thread, and what is reported becomes rows."""

from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.request_queue import Engine
from app.folders import FolderPart
from app.models.engine_status import EngineStatus
from app.models.model_list import ModelList
from app.reports import (
    ConfigFetched,
    FolderMeasured,
    ModelListed,
    ModelsListed,
    ModelTimed,
    PcDescribed,
    Report,
    TokenKept,
    TokenRemoved,
    is_terminal,
)
from app.requests import (
    ChooseModelsFolder,
    DescribeModel,
    DownloadModel,
    KeepToken,
    ListModels,
    MeasureFolders,
    RemoveToken,
    Request,
    TimeModels,
)
from kiv_engine.errors import AccessError
from kiv_engine.events import Downloaded, DownloadProgress, Failed


class ModelsController(QObject):
    """Lists, describes and downloads models; loading one is the session controller's.

    Signals:
        failed: a sentence about what could not be done, if no row tells it.
        found: the name of the row of a model that was looked for.
        access_refused: the id of a model that needs a token, or access that its owner grants.
        token_kept: the keyring has the token; what was refused is tried again.
        token_removed: the keyring has none.
        folder_measured: a FolderMeasured.
    """

    failed = Signal(str)
    found = Signal(str)
    access_refused = Signal(str)
    token_kept = Signal()
    token_removed = Signal()
    folder_measured = Signal(object)

    def __init__(self, engine: Engine, models: ModelList, status: EngineStatus, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._engine, self._models, self._status = engine, models, status
        self._requests: dict[int, Request] = {}
        self._times_next = False
        self._refused: DownloadModel | DescribeModel | None = None

    @Slot()
    def list_models(self) -> None:
        """Plan all models, unless that is under way or waits behind a download."""
        if not self._requests:
            self._models.set_listing(True)
            self._submit(ListModels(self._in_use))

    @property
    def _in_use(self) -> int:
        """Bytes of RAM that the loaded model would give back."""
        return self._status.model.weights.ram.weights if self._status.model else 0

    def measure_folders(self, places: tuple[tuple[FolderPart, Path, tuple[Path, ...]], ...]) -> None:
        """Count what the app's folders take, unless that is under way."""
        if not any(isinstance(request, MeasureFolders) for request in self._requests.values()):
            self._submit(MeasureFolders(places))

    @Slot(str)
    def choose_folder(self, folder: str) -> None:
        """Send downloads to another folder from now on."""
        self._models.set_listing(True)
        self._submit(ChooseModelsFolder(folder, self._in_use))

    @Slot(str)
    def keep_token(self, token: str) -> None:
        """Put a token into the system's keyring, then try again what was refused."""
        self._submit(KeepToken(token))

    @Slot()
    def remove_token(self) -> None:
        """Take the token out of the system's keyring."""
        self._submit(RemoveToken())

    def _try_again(self) -> None:
        refused, self._refused = self._refused, None
        self.token_kept.emit()
        match refused:
            case DownloadModel(name):
                self.download(name)
            case DescribeModel(name):
                self.find(name)

    def _note_refusal(self, request: Request, error: BaseException) -> None:
        if isinstance(error, AccessError) and isinstance(request, DownloadModel | DescribeModel):
            self._refused = request
            self.access_refused.emit(error.model_id)

    @Slot()
    def list_and_time(self) -> None:
        """Plan all models, then measure how fast those to take would be, unless that is known."""
        self._times_next = True
        self.list_models()

    @Slot()
    def stop_timing(self) -> None:
        """Measure no more, when nobody looks: it takes all cores, which are wanted for reading now."""
        self._times_next = False
        for number, request in self._requests.items():
            if isinstance(request, TimeModels):
                self._engine.stop(number)

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
            self._submit(DescribeModel(str(path.absolute()) if path.is_dir() else name, self._in_use))

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
            case KeepToken(), TokenKept():
                self._try_again()
            case MeasureFolders(), FolderMeasured():
                self.folder_measured.emit(event)
            case MeasureFolders(), _:
                pass
            case RemoveToken(), TokenRemoved():
                self.token_removed.emit()
            case KeepToken() | RemoveToken(), Failed(message):
                self.failed.emit(message)
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
                    self._time(self._models.recommended)
            case Failed(message, error):
                self._models.set_listing(False)
                self.failed.emit(message)
                self._note_refusal(request, error)

    def _take_download(self, name: str, event: object) -> None:
        match event:
            case DownloadProgress():
                self._models.set_progress(name, event)
            case Downloaded():
                self._models.set_downloaded(name, event)
            case ConfigFetched():
                self._models.note_config(name)
            case Failed(message, error):
                self._models.set_failed(name, message)
                self._note_refusal(DownloadModel(name), error)
