"""The memory chart: what is drawn are the samples, and only while somebody looks."""

from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pynvml
import pytest
import torch
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from app.engine_session import _gpu_ids
from app.figures import as_bytes
from app.machine import Gpu, RamReading, VramReading, find_gpu, read_ram
from app.models.engine_status import EngineState
from app.models.memory_log import KNOWN, PARTS, of_process
from app.views.memory_parts import PartName, part_names
from app.views.meters import WIDE_FROM
from kiv_engine.events import MemoryPlaces, MemoryUse
from tests.app.conftest import AppDriver, driven, read_book
from tests.app.scripted_machine import GB, ScriptedMachine
from tests.app.scripted_session import ScriptedSession


@pytest.fixture
def machine() -> ScriptedMachine:
    return ScriptedMachine()


@pytest.fixture
def scripted_driver(
    qtbot: QtBot, qapp: QApplication, session: ScriptedSession, machine: ScriptedMachine
) -> Iterator[AppDriver]:
    """The app on a PC whose figures are the test's."""
    with driven(qtbot, qapp, session, machine=machine) as driver:
        yield driver


@pytest.fixture
def gpu_driver(session: ScriptedSession, scripted_driver: AppDriver) -> AppDriver:
    """With a GPU, on which the model runs."""
    session.gpu = Gpu(0)
    scripted_driver.controller.load_model()
    scripted_driver.until(lambda: bool(scripted_driver.status.model and scripted_driver.status.model.gpu))
    return scripted_driver


def toggle(driver: AppDriver) -> None:
    QTest.keyClick(driver.window, Qt.Key.Key_M, Qt.KeyboardModifier.ControlModifier)


def test_the_chart_draws_the_samples_and_sleeps_while_hidden(driver: AppDriver, book: Path) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    toggle(driver)
    chart, log = driver.window.chart, driver.window._log
    assert chart is not None
    assert chart.isVisible()
    driver.window.meters.measure()
    newest = log.samples[-1]
    heights = np.array([area.getData()[1] for area in chart.ram.areas])
    assert heights.shape == (len(PARTS), len(log.samples))
    assert np.diff(heights[:, -1], prepend=0).tolist() == list(newest.ram)
    assert chart.length.getData()[1][-1] == newest.context_tokens == len(book.read_text()) // 4
    assert chart.length.getData()[0][-1] == 0
    assert f"{newest.context_tokens:,} tokens" in chart.ram.caption.text
    assert chart.ram.caption.text in chart.accessibleDescription()
    toggle(driver)
    assert not chart.isVisible()
    driver.window.meters.measure()
    assert len(chart.length.getData()[1]) == len(log.samples) - 1
    toggle(driver)
    assert len(chart.length.getData()[1]) == len(log.samples)


def test_the_parts_are_painted_one_on_the_other(scripted_driver: AppDriver, machine: ScriptedMachine) -> None:
    driver, size = scripted_driver, 300 * 1_000_000
    machine.ram = RamReading(6 * size, 0, 7 * size, 32 * GB)
    driver.until_state(EngineState.IDLE)
    weights = MemoryPlaces(ram=MemoryUse(*[size] * len(KNOWN)))
    driver.status.set_model(replace(driver.status.model, weights=weights))
    samples = driver.window._log.samples
    sample = driver.window._log.measure(driver.chat.number)
    samples.clear()
    samples.extend(replace(sample, time_s=sample.time_s - age) for age in (40, 20, 0))
    toggle(driver)
    chart = driver.window.chart
    assert chart is not None
    QApplication.sendPostedEvents()
    picture = chart.plots.grab().toImage()
    view = chart.ram.plot.vb
    middles = [QPointF(-10, (number + 0.5) * size) for number in range(len(PARTS))]
    places = [chart.plots.mapFromScene(view.mapViewToScene(middle)) for middle in middles]
    found = [picture.pixelColor(place).name() for place in places]
    assert found == [getattr(driver.application.theme.colors, part) for part in PARTS]


def test_the_parts_are_what_the_process_has(driver: AppDriver, book: Path) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    driver.window.meters.measure()
    sample = driver.window._log.samples[-1]
    assert of_process(sample.ram) == pytest.approx(read_ram().process, rel=0.1)
    assert sample.ram[: len(KNOWN)] == astuple(driver.status.memory.ram)
    assert sample.vram is None


def test_figures_of_an_answer_are_shown_at_the_meters_own_pace(driver: AppDriver, book: Path) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    driver.session.held_at = {"write"}
    driver.controller.ask("Who?")
    driver.until_reached("write")
    meters = driver.window.meters
    meters.measure()
    texts = [meter.value.text() for meter in (meters.rate, meters.context)]
    for rate in range(50):
        driver.status.set_rate(10.0 + rate)  # thirty in a second: each would have the strip laid out anew
        assert [meter.value.text() for meter in (meters.rate, meters.context)] == texts
    meters.measure()
    assert meters.rate.value.text() == "59 tokens/s"
    driver.session.go()
    driver.until_answered()
    driver.until(lambda: meters.rate.value.text() == "–")
    assert meters.context.value.text() == f"{driver.status.measured[driver.chat.number].num_tokens:,} tokens"


def test_the_vram_is_that_of_the_gpu_which_runs_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", {device: SimpleNamespace(uuid="1b2c")}.__getitem__)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    assert find_gpu(*_gpu_ids([device])) == Gpu("GPU-1b2c")
    assert find_gpu(*_gpu_ids([torch.device("cpu")])) == Gpu(0)


def test_a_minimised_window_with_the_chart_is_closed_without_a_warning(driver: AppDriver, book: Path) -> None:
    toggle(driver)
    driver.window.showMinimized()
    driver.window.hide()
    driver.window.showNormal()
    driver.controller.open_files([book])
    driver.until_read()
    assert driver.window.chart is not None
    driver.until(lambda: bool(driver.window.chart and driver.window.chart.ram.caption.text))


def test_the_chart_follows_the_theme(driver: AppDriver) -> None:
    from app.views.theme import DARK

    toggle(driver)
    driver.application.theme.choose(DARK)
    assert driver.window.chart is not None
    assert driver.window.chart.ram.areas[0].opts["brush"].color().name() == DARK.weights


def test_no_figure_of_an_axis_is_cut_off_at_its_upper_end(driver: AppDriver) -> None:
    toggle(driver)
    axis = driver.window.chart.ram.plot.getAxis("left")
    for most, expected in ((6 * GB, [0, 2 * GB, 4 * GB]), (6.5 * GB, [0, 2 * GB, 4 * GB, 6 * GB])):
        assert [tick for _spacing, ticks in axis.tickValues(0, most, 80) for tick in ticks] == expected


@pytest.mark.parametrize(("most", "expected"), [(5_197, [4_000]), (130, [0, 100]), (0.9, [0])])
def test_a_low_axis_has_one_figure_at_least(driver: AppDriver, most: float, expected: list[int]) -> None:
    toggle(driver)
    axis = driver.window.chart.rate.getAxis("left")
    assert [tick for _spacing, ticks in axis.tickValues(0, most, 36) for tick in ticks] == expected


def test_figures_stand_still_while_one_beside_them_gets_shorter(scripted_driver: AppDriver) -> None:
    driver, meters = scripted_driver, scripted_driver.window.meters
    driver.until_state(EngineState.IDLE)
    driver.window.resize(1280, 800)

    def places() -> list[int]:
        for _layout in range(3):  # a figure's, its meter's, and the strip's
            QApplication.sendPostedEvents()
        return [meter.x() for meter in (meters.system, meters.cpu, meters.context)]

    meters.cpu.set_value("100 % of all its cores")
    before = places()
    meters.cpu.set_value("9 %")
    assert places() == before


def test_there_are_ticks_for_whole_figures_and_round_times_only(driver: AppDriver) -> None:
    toggle(driver)
    chart = driver.window.chart
    assert chart is not None
    for axis, most in ((chart.length_axis, 1.1), (chart.rate.getAxis("left"), 1.15)):
        ticks = [tick for _spacing, ticks in axis.tickValues(0, most, 80) for tick in ticks]
        assert ticks == [0, 1]
    times = [tick for _spacing, ticks in chart.rate.getAxis("bottom").tickValues(-300, 0, 900) for tick in ticks]
    assert times == [-300, -240, -180, -120, -60, 0]
    assert chart.length_view.zValue() > max(area.zValue() for area in chart.ram.areas), "the line is not covered"


def test_vram_that_spills_into_ram_is_told_once(gpu_driver: AppDriver, machine: ScriptedMachine, book: Path) -> None:
    driver = gpu_driver
    machine.vram = VramReading(11 * GB, 11_900_000_000, 12 * GB)
    driver.session.spilled_bytes = 2_100_000_000
    driver.controller.open_files([book])
    driver.until_read()
    driver.window.meters.measure()
    assert driver.window.meters.vram.value.text() == "11.9 GB of 12.0 GB, 2.10 GB in RAM"
    assert driver.window.banner.text.text().startswith("The GPU's memory is full: 2.10 GB lie in RAM")
    driver.window.banner.hide()
    driver.controller.ask("Who?")
    driver.until_answered()
    assert driver.window.banner.isHidden()


def test_with_a_gpu_its_memory_is_drawn_and_shown(gpu_driver: AppDriver, machine: ScriptedMachine, book: Path) -> None:
    driver, meters = gpu_driver, gpu_driver.window.meters
    driver.controller.open_files([book])
    driver.until_read()
    toggle(driver)
    meters.measure()
    chart, newest = driver.window.chart, driver.window._log.samples[-1]
    assert chart is not None
    assert chart.vram is not None
    heights = [area.getData()[1][-1] for area in chart.vram.areas]
    assert np.diff(heights, prepend=0).tolist() == list(newest.vram)
    assert newest.vram[0] == driver.status.model.weights.vram.weights > 0
    assert newest.ram[0] == 0, "the weights are not in RAM, too"
    assert heights[-1] == machine.vram.used
    assert "VRAM: this app 7.00 GB, other programs 1.00 GB" in chart.accessibleDescription()
    assert "no NVIDIA GPU" not in chart.accessibleDescription()
    assert meters.vram.isVisible()
    assert not meters.cpu.isVisible()
    shown = [label.text() for part in chart.findChildren(PartName) for label in part.findChildren(QLabel)]
    assert not {"Hot", "Index", "Cold keys", "Cold values"} & {*shown}, "which a person has not read of"
    assert "hot window" in meters.parts["hot"].toolTip()
    assert meters.parts["weights"].toolTip() == "The model itself (its weights): 6.8 MB in VRAM"
    machine.vram = None
    meters.measure()
    assert meters.vram.value.text() == "–", "a driver that no longer answers"


def test_every_meter_says_what_it_contains(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    meters = driver.window.meters
    meters.measure()
    for meter in (meters.ram, meters.system, meters.context, meters.rate, *meters.parts.values()):
        assert meter.toolTip()
        assert meter.toolTip() == meter.accessibleDescription()
    sample, told = driver.window._log.samples[-1], meters.ram.toolTip().splitlines()
    assert told[0] == "What this app takes of the RAM"
    assert told[-2] == f"App and libraries: {as_bytes(sample.ram[PARTS.index('program')])}"
    assert told[-1] == (
        "App and libraries are: PyTorch and what it computes with, the window, texts of documents and chats"
    )
    for part, name in part_names().items():
        assert any(line.startswith(f"{name}: ") for line in told) == (part != "other"), name
    line = f"Taken by all programs: this app {as_bytes(of_process(sample.ram))}, others {as_bytes(sample.ram[-1])}"
    assert meters.system.toolTip() == line


def test_while_another_model_is_loaded_the_gpu_is_still_there(gpu_driver: AppDriver) -> None:
    driver = gpu_driver
    driver.window.meters.measure()
    driver.status.set_model(None)
    driver.window.meters.measure()
    assert driver.window._log.samples[-1].vram is not None


def test_without_a_gpu_the_cpu_is_shown_and_it_is_said(scripted_driver: AppDriver) -> None:
    driver, meters = scripted_driver, scripted_driver.window.meters
    assert not meters.cpu.toolTip(), "before the engine has looked"
    driver.until_state(EngineState.IDLE)
    toggle(driver)
    meters.measure()
    assert meters.cpu.isVisible()
    assert not meters.vram.isVisible()
    assert (meters.cpu.value.text(), meters.cpu.toolTip()) == ("43 %", "There is no NVIDIA GPU")
    chart = driver.window.chart
    assert chart is not None
    assert chart.vram is None
    assert "CPU: 43 % · no NVIDIA GPU" in chart.accessibleDescription()


def test_much_memory_of_others_leaves_the_app_half_of_the_height(
    scripted_driver: AppDriver, machine: ScriptedMachine
) -> None:
    machine.ram = RamReading(1 * GB, 0, 60 * GB, 64 * GB)
    toggle(scripted_driver)
    scripted_driver.window._log.samples.clear()
    scripted_driver.window.meters.measure()
    chart = scripted_driver.window.chart
    assert chart is not None
    assert chart.ram.plot.viewRange()[1] == pytest.approx([0, 2 * GB])
    assert "this app 1.00 GB, other programs 59.0 GB" in chart.ram.caption.text


def test_the_meters_measure_faster_while_the_engine_works_and_rest_while_hidden(driver: AppDriver) -> None:
    meters, clock = driver.window.meters, driver.window.meters._clock
    driver.until_state(EngineState.IDLE)
    assert (clock.interval(), clock.isActive()) == (1_000, True)
    for state in (EngineState.READING, EngineState.GENERATING, EngineState.STOPPING):
        driver.status.set_state(state, driver.chat.number)
        assert (clock.interval(), clock.isActive()) == (250, True)
    driver.status.set_state(EngineState.IDLE)
    assert clock.interval() == 1_000
    driver.window.hide()
    assert not clock.isActive()
    known = len(driver.window._log.samples)
    driver.status.set_state(EngineState.READING, driver.chat.number)
    driver.status.set_state(EngineState.IDLE)
    assert (clock.isActive(), len(driver.window._log.samples)) == (False, known)
    driver.window.show()
    assert clock.isActive()
    clock.timeout.emit()
    assert len(driver.window._log.samples) == known + 1
    assert meters.isVisible()


@pytest.mark.parametrize("width", [1_200, WIDE_FROM - 1, WIDE_FROM])
def test_nothing_in_the_strip_is_cut_off_where_the_parts_are_shown(scripted_driver: AppDriver, width: int) -> None:
    driver, meters = scripted_driver, scripted_driver.window.meters
    driver.until_state(EngineState.IDLE)
    driver.window.resize(width, 800)
    for part in meters.parts.values():
        assert part.isVisible()
        part.set_value("99.9 MB")
    meters.system.set_value("12.8 GB of 25.3 GB")
    meters.cpu.set_value("100 %")
    meters.context.set_value("1,000,065 tokens")
    meters.rate.set_value("1,477 tokens/s")
    for _layout in range(3):
        QApplication.sendPostedEvents()
    for label in meters.findChildren(QLabel):
        assert not label.isVisible() or label.width() >= label.sizeHint().width(), label.text()
