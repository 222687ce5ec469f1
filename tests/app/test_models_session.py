"""The models' own thread for real: the catalogue planned for this PC, a folder described, a download from loopback."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.models_session import ModelsSession, as_report
from app.reports import (
    ConfigFetched,
    ModelListed,
    ModelsListed,
    ModelTimed,
    PcDescribed,
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
    RemoveToken,
    Request,
    TimeModels,
)
from kiv_engine import catalogue, doctor, fit, hardware, model_places, model_shape, speed
from kiv_engine.errors import ModelNotFoundError, UnsupportedModelError
from kiv_engine.events import Downloaded, DownloadProgress
from kiv_engine.hardware import Cuda
from kiv_engine.model_config import config_of_shape
from kiv_engine.model_folder import DEMO_FOLDER
from kiv_engine.speed import Pace
from tests.engine.test_doctor import GPU, PC
from tests.engine.test_download import ID, Hub, content, hub
from tests.engine.test_hub_token import MemoryKeyring, ring

__all__ = ["content", "hub", "ring"]  # fixtures


def answer(session: ModelsSession, request: Request, *, stop: bool = False) -> list[object]:
    """All events; the last one, and no other, is terminal."""
    events = list(session.handle(request, lambda: stop))
    assert [is_terminal(event) for event in events] == [False] * (len(events) - 1) + [True]
    return events


def test_the_catalogue_is_planned_for_this_pc(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [entry for entry in catalogue.read_catalogue() if "0.5B" in entry.id or "14B" in entry.id]
    monkeypatch.setattr(catalogue, "read_catalogue", lambda: tuple(wanted))
    session = ModelsSession()
    facts, small, large, listed = answer(session, ListModels())
    assert isinstance(facts, PcDescribed)
    assert {"Processor", "RAM", "Disk", "CUDA"} <= {name for name, _said in facts.facts}
    assert isinstance(small, ModelListed)
    assert isinstance(large, ModelListed)
    assert (small.trained_tokens, large.trained_tokens) == (32_768, 1_010_000)
    assert [fit.quantize for fit in small.fits] == ["none", "bf16", "8bit", "4bit"]
    assert large.download_bytes > 20 * small.download_bytes
    assert isinstance(listed, ModelsListed)
    _facts, freed, *_rest = answer(session, ListModels(in_use_bytes=10**11))
    assert isinstance(freed, ModelListed)
    assert freed.fits[0].tokens_in_ram > small.fits[0].tokens_in_ram, "what the model in use holds will be free"
    assert len(answer(session, ListModels(), stop=True)) == 2


def test_what_the_loaded_model_has_of_each_gpu_is_free_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cards of 12 GB: of the first it has 9 GB; of the second 6 GB, 1 GB of which has spilled into RAM."""
    card = replace(GPU, total_bytes=12 * 10**9)
    gpus = (replace(card, free_bytes=2 * 10**9), replace(card, free_bytes=7 * 10**9))
    pc = replace(PC, gpus=gpus, num_model_gpus=2)
    held = {0: 9 * 10**9, 1: 6 * 10**9}
    monkeypatch.setattr(hardware, "reserved_by_gpu", lambda: held)
    monkeypatch.setattr(hardware, "inspect_hardware", lambda _folder: pc)
    wanted = [entry for entry in catalogue.read_catalogue() if "2.5-7B-Instruct" in entry.id]
    monkeypatch.setattr(catalogue, "read_catalogue", lambda: tuple(wanted))
    planned: list[fit.Room] = []
    listed_of = doctor.ListedModel.of
    monkeypatch.setattr(doctor.ListedModel, "of", lambda *given: planned.append(given[-1]) or listed_of(*given))
    facts, *_rest = answer(ModelsSession(), ListModels(in_use_bytes=10**9))
    assert (planned[0].vram, planned[0].more_vram) == (11 * 10**9, (12 * 10**9,))
    assert planned[0].ram == PC.ram.available_bytes, "its weights are not there"
    assert isinstance(facts, PcDescribed)
    assert "2.0 GB free" in str(facts.facts), "which it is not yet"


def test_a_plan_that_spreads_layers_over_gpus_says_over_how_many() -> None:
    entry = catalogue.find_entry("Qwen/Qwen2.5-7B-Instruct")
    assert entry is not None
    shape = model_shape.ModelShape(config_of_shape(entry.shape))
    room = fit.Room(64 * 10**9, 10**12, vram=12 * 10**9)
    for more, gpus in (((), 1), ((12 * 10**9,), 2), ((12 * 10**9, 12 * 10**9), 3)):
        report = as_report(doctor.ListedModel.of(entry, shape, replace(room, more_vram=more)))
        assert report.fits[0].num_gpus == gpus


def test_the_models_to_take_are_those_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [entry for entry in catalogue.read_catalogue() if "E2B" in entry.id or "7B-Instruct-1M" in entry.id]
    monkeypatch.setattr(catalogue, "read_catalogue", lambda: tuple(wanted))
    monkeypatch.setattr(fit, "room_of", lambda _hardware: fit.Room(28 * 10**9, 10**12, vram=11_500_000_000))
    *_told, listed = answer(ModelsSession(), ListModels())
    assert listed == ModelsListed(
        (
            ("google/gemma-4-E2B-it", "for_million"),
            ("Qwen/Qwen2.5-7B-Instruct-1M", "largest"),
        )
    )


def test_the_models_to_take_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [entry for entry in catalogue.read_catalogue() if "0.5B" in entry.id]
    monkeypatch.setattr(catalogue, "read_catalogue", lambda: tuple(wanted))
    monkeypatch.setattr(speed, "measure_rates", lambda *_: speed.Rates(1e-12, 1e-10, 1e-11, 1e-4, 1e-12))
    session = ModelsSession()
    answer(session, ListModels())
    names = (wanted[0].id, "some-one/unknown")
    timed, _end = answer(session, TimeModels(names))
    assert isinstance(timed, ModelTimed)
    assert timed.name == wanted[0].id
    assert timed.million_s > 60
    assert 1 < timed.tokens_per_s < 1_000
    assert answer(session, TimeModels(names), stop=True) == [ModelsListed()]


def test_a_model_on_several_gpus_is_timed_as_it_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [entry for entry in catalogue.read_catalogue() if "2.5-7B-Instruct" in entry.id]
    timed: list[tuple[int, ...]] = []
    room = fit.Room(64 * 10**9, 10**12, 8 * 10**9, (18 * 10**9,))
    monkeypatch.setattr(catalogue, "read_catalogue", lambda: tuple(wanted))
    monkeypatch.setattr(fit, "room_of", lambda _hardware: room)
    monkeypatch.setattr(speed, "measure_pace", lambda _shape, _setting, layers: timed.append(layers) or Pace(9e3, 7.5))
    session = ModelsSession()
    listed = [event for event in answer(session, ListModels()) if isinstance(event, ModelListed)]
    name = wanted[0].id
    assert answer(session, TimeModels((name,)))[0] == ModelTimed(name, 9e3, 7.5)
    best = next(each for each in listed if each.name == name).fits[0]
    assert (best.num_gpus, len(timed[0]), sum(timed[0])) == (2, 2, 28)


def test_a_folder_is_described_without_a_connection() -> None:
    listed, end = answer(ModelsSession(), DescribeModel(str(DEMO_FOLDER)))
    assert isinstance(listed, ModelListed)
    assert (listed.name, listed.is_here, listed.licence) == (str(DEMO_FOLDER), True, "")
    assert 0.007 < listed.billions < 0.009
    assert end == ModelsListed()


def test_a_model_that_is_named_may_have_the_ram_of_the_loaded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "inspect_hardware", lambda _folder: replace(PC, cuda=Cuda(False, "")))
    room = []
    for in_use in (0, 10**9):
        listed, _end = answer(ModelsSession(), DescribeModel(str(DEMO_FOLDER), in_use))
        assert isinstance(listed, ModelListed)
        room.append(listed.fits[0].tokens_in_ram)
    assert room[1] > room[0]


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        list(ModelsSession().handle(DescribeModel(str(tmp_path)), lambda: False))


def test_another_model_is_described_from_its_config_and_downloaded(hub: Hub) -> None:
    session = ModelsSession()
    fetched, listed, _end = answer(session, DescribeModel(ID))
    assert fetched == ConfigFetched(ID)
    assert isinstance(listed, ModelListed)
    assert not listed.is_here
    *progress, last = answer(session, DownloadModel(ID))
    assert all(isinstance(event, DownloadProgress) for event in progress)
    assert isinstance(last, Downloaded)
    assert Path(last.folder) == hub.folder
    listed, _end = answer(session, DescribeModel(ID))
    assert isinstance(listed, ModelListed)
    assert listed.is_here


def test_what_would_not_load_is_refused_before_its_weights_are_fetched(hub: Hub) -> None:
    hub.repo.files["config.json"] = b'{"model_type": "madeup", "auto_map": {"AutoConfig": "evil.Evil"}}'
    for request in (DownloadModel(ID), DescribeModel(ID)):
        events = ModelsSession().handle(request, lambda: False)
        assert next(events) == ConfigFetched(ID), "it belongs to what was fetched"
        with pytest.raises(UnsupportedModelError, match="needs remote code"):
            next(events)
    assert hub.repo.gets("model.safetensors") == []


def test_a_token_is_kept_and_models_are_sent_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: MemoryKeyring
) -> None:
    monkeypatch.delenv("KIV_MODELS")
    monkeypatch.setattr(model_places, "_file", lambda: tmp_path / "folders.json")
    monkeypatch.setattr(catalogue, "read_catalogue", tuple)
    session = ModelsSession()
    assert answer(session, KeepToken("hf_typed")) == [TokenKept()]
    assert list(ring.kept.values()) == ["hf_typed"]
    for _ in range(2):  # none to remove is no error
        assert answer(session, RemoveToken()) == [TokenRemoved()]
        assert not ring.kept
    facts, *_, last = answer(session, ChooseModelsFolder(str(tmp_path / "models")))
    assert isinstance(facts, PcDescribed)
    assert str(tmp_path / "models") in dict(facts.facts)["Disk"]
    assert isinstance(last, ModelsListed)
    assert model_places.downloads_folder() == tmp_path / "models"
