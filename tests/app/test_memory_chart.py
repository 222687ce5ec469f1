"""The memory chart: what is drawn are the samples, and only while somebody looks."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pynvml
import pytest
import torch
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.engine_session import _gpu_id
from app.machine import Gpu, VramReading, find_gpu, read_ram
from app.models.memory_log import PARTS, MemorySample
from tests.app.conftest import AppDriver


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
    edges = np.array([edge.getData()[1] for edge in chart.edges])
    assert edges.shape == (len(PARTS) + 1, len(log.samples))
    assert np.diff(edges[:, -1]).tolist() == list(newest.parts)
    assert chart.length.getData()[1][-1] == newest.context_tokens == len(book.read_text()) // 4
    assert chart.length.getData()[0][-1] == 0
    assert f"{newest.context_tokens:,} tokens" in chart.summary.text()
    toggle(driver)
    assert not chart.isVisible()
    driver.window.meters.measure()
    assert len(chart.length.getData()[1]) == len(log.samples) - 1
    toggle(driver)
    assert len(chart.length.getData()[1]) == len(log.samples)


def test_the_parts_are_drawn_at_once(driver: AppDriver) -> None:
    log = driver.window._log
    start = log.samples[-1].time_s if log.samples else 0.0
    parts = (30_000_000, 10_000_000, 5_000_000, 200_000_000, 200_000_000, 600_000_000)
    for step in range(9):
        log.add(MemorySample(start + step / 100, parts, 1_000, 0.0))
    toggle(driver)
    assert driver.window.chart is not None
    tops = [fill.path().boundingRect().bottom() for fill in driver.window.chart.fills]
    expected = np.cumsum([sample.parts for sample in log.samples], axis=1).max(axis=0)  # the meters may add some
    assert tops == pytest.approx(expected.tolist())


def test_the_parts_are_what_the_process_has(driver: AppDriver, book: Path) -> None:
    driver.controller.open_files([book])
    driver.until_read()
    driver.window.meters.measure()
    sample = driver.window._log.samples[-1]
    assert sum(sample.parts) == pytest.approx(read_ram().process, rel=0.1)
    memory = driver.status.measured[driver.chat.number].memory
    assert sample.parts[:-1] == (memory.weights, memory.hot, memory.index, memory.cold_keys, memory.cold_values)


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
    assert meters.rate.value.text() == "59 tok/s"
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
    assert find_gpu(_gpu_id(device)) == Gpu("GPU-1b2c")
    assert find_gpu(_gpu_id(torch.device("cpu"))) == Gpu(0)


def test_a_minimised_window_with_the_chart_is_closed_without_a_warning(driver: AppDriver, book: Path) -> None:
    toggle(driver)
    driver.window.showMinimized()
    driver.window.hide()
    driver.window.showNormal()
    driver.controller.open_files([book])
    driver.until_read()
    assert driver.window.chart is not None
    driver.until(lambda: bool(driver.window.chart and driver.window.chart.summary.text()))


def test_the_chart_follows_the_theme(driver: AppDriver) -> None:
    from app.views.theme import DARK

    toggle(driver)
    driver.application.theme.choose(DARK)
    assert driver.window.chart is not None
    assert driver.window.chart.fills[0].brush().color().name() == DARK.weights


def test_there_are_ticks_for_whole_figures_and_round_times_only(driver: AppDriver) -> None:
    toggle(driver)
    chart = driver.window.chart
    assert chart is not None
    for axis, most in ((chart.length_axis, 1.1), (chart.rate.getAxis("left"), 1.15)):
        ticks = [tick for _spacing, ticks in axis.tickValues(0, most, 80) for tick in ticks]
        assert ticks == [0, 1]
    times = [tick for _spacing, ticks in chart.rate.getAxis("bottom").tickValues(-300, 0, 900) for tick in ticks]
    assert times == [-300, -240, -180, -120, -60, 0]
    assert chart.length_view.zValue() > max(fill.zValue() for fill in chart.fills), "the line is not covered"


def test_vram_that_spills_into_ram_is_told_once(driver: AppDriver, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gpu, "read_vram", lambda _: VramReading(11_900_000_000, 12_000_000_000))
    driver.session.spilled_bytes = 2_100_000_000
    driver.controller.open_files([book])
    driver.until_read()
    assert driver.status.model is not None
    driver.status.set_model(replace(driver.status.model, gpu=Gpu(0)))
    driver.status.spilled_bytes = 2_100_000_000
    driver.window.meters.measure()
    assert driver.window.meters.vram.value.text() == "11.9 GB of 12.0 GB, 2.10 GB in RAM"
    assert driver.window.banner.text.text().startswith("The GPU's memory is full: 2.10 GB lie in RAM")
    driver.window.banner.hide()
    driver.controller.ask("Who?")
    driver.until_answered()
    assert driver.window.banner.isHidden()
