"""Models to choose from: what this PC has, what fits it, downloads. Runs on a thread of its own, beside the engine's.

A download takes minutes or hours, and chats go on meanwhile. Imports the engine inside functions; knows nothing of Qt.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.folder_sizes import bytes_of
from app.folders import FolderPart
from app.reports import (
    ConfigFetched,
    FolderMeasured,
    FoldersMeasured,
    ModelListed,
    ModelsListed,
    ModelTimed,
    PcDescribed,
    TokenKept,
    TokenRemoved,
    WeightsFit,
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
from kiv_engine.errors import UnsupportedModelError

if TYPE_CHECKING:
    from kiv_engine.catalogue import CatalogueEntry
    from kiv_engine.doctor import ListedModel
    from kiv_engine.hardware import Hardware
    from kiv_engine.model_shape import ModelShape, Setting


class ModelsSession:
    """Answers ListModels, TimeModels, DescribeModel, DownloadModel, and what is quickly done beside them."""

    def __init__(self) -> None:
        self.tell: Callable[[object], None] = lambda _event: None
        self._shapes: dict[str, ModelShape] = {}  # making them takes most of the time
        self._plans: dict[str, tuple[Setting, Sequence[int]]] = {}  # with which a model suits this PC best; its GPUs

    def handle(self, request: Request, should_stop: Callable[[], bool]) -> Iterator[object]:
        """Do what is asked; yields events, the terminal one last."""
        match request:
            case ListModels(in_use):
                yield from self._list(in_use, should_stop)
            case TimeModels(names):
                yield from self._time(names, should_stop)
            case DescribeModel(name, in_use):
                yield from self._describe(name, in_use)
            case KeepToken(token):
                yield from keep_token(token)
            case RemoveToken():
                yield from remove_token()
            case ChooseModelsFolder(folder, in_use):
                choose_folder(folder)
                yield from self._list(in_use, should_stop)
            case DownloadModel(name):
                yield from download(name, should_stop)
            case MeasureFolders(places):
                yield from measure_folders(places, should_stop)

    def close(self) -> None:
        """Nothing is held."""

    def _list(self, in_use: int, should_stop: Callable[[], bool]) -> Iterator[object]:
        from kiv_engine import doctor, fit, model_shape
        from kiv_engine.catalogue import read_catalogue
        from kiv_engine.hardware import inspect_hardware
        from kiv_engine.model_config import config_of_shape

        hardware = inspect_hardware(doctor.models_folder())
        yield PcDescribed(tuple(doctor.facts(hardware)))
        room = fit.room_of(once_unloaded(hardware, in_use))
        listed = []
        for entry in read_catalogue():
            if should_stop():
                break
            if entry.id not in self._shapes:
                self._shapes[entry.id] = model_shape.ModelShape(config_of_shape(entry.shape))
            listed.append(doctor.ListedModel.of(entry, self._shapes[entry.id], room))
            report = as_report(listed[-1])
            setting = model_shape.Setting(report.best, "cpu" if room.vram is None else "cuda")
            self._plans[entry.id] = setting, listed[-1].plans[setting.quantize].gpu_layers
            yield report
        yield ModelsListed(tuple((each.listed.entry.id, each.advantage) for each in doctor.recommended(listed)))

    def _time(self, names: tuple[str, ...], should_stop: Callable[[], bool]) -> Iterator[object]:
        """A measurement cannot be interrupted; between two of them it is asked whether to stop."""
        from kiv_engine import speed

        for name in names:
            if should_stop():
                break
            if name in self._plans:
                pace = speed.measure_pace(self._shapes[name], *self._plans[name])
                yield ModelTimed(name, pace.million_s, pace.tokens_per_s)
        yield ModelsListed()

    def _describe(self, name: str, in_use: int) -> Iterator[object]:
        from kiv_engine import doctor, fit, model_shape
        from kiv_engine.catalogue import find_entry
        from kiv_engine.hardware import inspect_hardware
        from kiv_engine.model_config import read_config
        from kiv_engine.model_folder import is_here

        entry = find_entry(name)
        is_elsewhere = entry is None and not is_here(name)
        try:
            shape = model_shape.ModelShape(read_config(name))
        except UnsupportedModelError:
            if is_elsewhere:  # its config says so
                yield ConfigFetched(name)
            raise
        if is_elsewhere:
            yield ConfigFetched(name)
        entry = entry or unknown_entry(name, shape)
        room = fit.room_of(once_unloaded(inspect_hardware(doctor.models_folder()), in_use))
        yield as_report(doctor.ListedModel.of(entry, shape, room))
        yield ModelsListed()


def once_unloaded(hardware: "Hardware", in_use: int) -> "Hardware":
    """The PC once the loaded model is gone, with all that it has of GPUs, or else with so many bytes more of RAM."""
    from kiv_engine.hardware import reserved_by_gpu

    if not hardware.model_gpus:
        return replace(hardware, ram=replace(hardware.ram, available_bytes=hardware.ram.available_bytes + in_use))
    held = reserved_by_gpu()
    gpus = (  # what has spilled into RAM is held, too, but is no room on the GPU
        replace(gpu, free_bytes=min(gpu.total_bytes, gpu.free_bytes + held.get(number, 0)))
        for number, gpu in enumerate(hardware.gpus)
    )
    return replace(hardware, gpus=tuple(gpus))


def unknown_entry(name: str, shape: "ModelShape") -> "CatalogueEntry":
    """What is known of a model that the catalogue does not have: its shape."""
    from kiv_engine.catalogue import CatalogueEntry

    return CatalogueEntry(name, "", "", False, shape.parameters / 1e9, "", "", (), {})


def as_report(listed: "ListedModel") -> ModelListed:
    """A plan as the app shows it."""
    from kiv_engine.model_folder import is_here
    from kiv_engine.records import read_records

    entry, name = listed.entry, listed.entry.id
    fits = (
        WeightsFit(kind, plan.tokens_in_ram, plan.tokens_on_disk, plan.missing, plan.num_gpus)
        for kind, plan in listed.plans.items()
    )
    best = listed.for_long_text or listed.best
    records = read_records()
    measured = ((kind, records[name, kind].sentence) for kind in listed.plans if (name, kind) in records)
    return ModelListed(
        name, entry.published_billions, entry.licence, entry.gated, listed.download_bytes, listed.trained_tokens,
        tuple(fits), best, is_here(name), tuple(measured),
    )  # fmt: skip


def keep_token(token: str) -> Iterator[object]:
    """Put it into the keyring."""
    from kiv_engine import hub_token

    hub_token.keep_token(token)
    yield TokenKept()


def remove_token() -> Iterator[object]:
    """Take it out of the keyring, if it has one."""
    from kiv_engine import hub_token

    hub_token.remove_token()
    yield TokenRemoved()


def measure_folders(
    places: Sequence[tuple[FolderPart, Path, tuple[Path, ...]]], should_stop: Callable[[], bool]
) -> Iterator[object]:
    """Name all folders, those of models last, then count them."""
    from kiv_engine import model_places

    whole = list(places)
    whole += (("models", folder, (folder,)) for folder in model_places.model_folders())
    for part, folder, _counted in whole:
        yield FolderMeasured(part, folder)
    for part, folder, counted in whole:
        count = sum(bytes_of(each, should_stop) for each in counted)
        if not should_stop():
            yield FolderMeasured(part, folder, count)
    yield FoldersMeasured()


def choose_folder(folder: str) -> None:
    """Send downloads there."""
    from kiv_engine import model_places

    model_places.choose_downloads_folder(folder)


def download(name: str, should_stop: Callable[[], bool]) -> Iterator[object]:
    """Fetch what is missing; stopped, a later download goes on from there."""
    from kiv_engine.download import Download
    from kiv_engine.model_config import look_up_usable

    try:
        model = look_up_usable(name)
    except UnsupportedModelError:
        yield ConfigFetched(name)
        raise
    yield from Download(model).run(should_stop)
