"""The memory chart: RAM and VRAM over time, stacked by part, the context's length and the speed on the same axis."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyqtgraph
from PySide6.QtCore import QSize, Qt, Slot
from PySide6.QtGui import QColor, QHideEvent, QPainter, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.figures import as_bytes, as_rate
from app.models.memory_log import PARTS, MemoryLog, MemorySample, of_process
from app.views.flow import FlowLayout
from app.views.memory_parts import PartName
from app.views.theme import CAPTION, GAP, Theme

HEIGHT: Final = 176
HEIGHT_WITH_VRAM: Final = 256
LEAST_HEIGHT: Final = 96
RATE_HEIGHT: Final = 68
HEADROOM: Final = 1.25
"""Of each plot's range, for its caption."""
LEAST_SHARE: Final = 2
"""One part in so many of a stack's height, at least, is this app's; what other programs have beyond that is cut off."""
SPAN_S: Final = 300.0
LEAST_SPAN_S: Final = 30.0
AXIS_WIDTH: Final = 72
TICK_PIXELS: Final = 20
GROUND_OPACITY: Final = 0.6
"""Of what is behind a caption: a line can still be seen, and letters read at 6:1 or more in all themes."""


class TimeAxis(pyqtgraph.AxisItem):  # type: ignore[misc]
    """Minutes and seconds before now."""

    def __init__(self) -> None:
        super().__init__("bottom")
        self.setStyle(hideOverlappingLabels=False)

    def tickSpacing(self, low: float, high: float, _size: float) -> list[tuple[float, float]]:
        return [(60 if high - low > 120 else 15, 0)]

    def tickStrings(self, values: list[float], _scale: float, _spacing: float) -> list[str]:
        return ["now" if value >= 0 else f"-{int(-value) // 60}:{int(-value) % 60:02d}" for value in values]


class FigureAxis(pyqtgraph.AxisItem):  # type: ignore[misc]
    """Figures as they are written elsewhere in the app."""

    def __init__(self, side: str, write: Any) -> None:
        super().__init__(side)
        self._write = write
        self.setWidth(AXIS_WIDTH)
        self.enableAutoSIPrefix(False)

    def tickSpacing(self, low: float, high: float, size: float) -> list[tuple[float, float]]:
        """Round figures, as many as there is room for; there is nothing between 0 and 1."""
        least = max(1.0, (high - low) * TICK_PIXELS / max(1.0, size))
        power = 10.0 ** math.floor(math.log10(least))
        return [(next(step * power for step in (1, 2, 5, 10) if step * power >= least), 0)]

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        """Without one so near the upper end that its figure would be cut off, but with one at least."""
        most = high - (high - low) * TICK_PIXELS / 4 / max(1.0, size)
        ticks = super().tickValues(low, high, size)
        shown = [(spacing, [value for value in values if value <= most]) for spacing, values in ticks]
        if most < 1 or any(value > 0 for _spacing, values in shown for value in values):
            return shown
        power = 10.0 ** math.floor(math.log10(most))
        return [(power, [most // power * power])]

    def tickStrings(self, values: list[float], _scale: float, _spacing: float) -> list[str]:
        return [self._write(int(value)) if value > 0 else "" for value in values]


class Plots(pyqtgraph.GraphicsLayoutWidget):  # type: ignore[misc]
    """As high as may be, and lower in a low window."""

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), self.maximumHeight())


class Caption(pyqtgraph.LabelItem):  # type: ignore[misc]
    """Words in the upper left corner of a plot, on a ground of their own: what others have may reach behind them."""

    def __init__(self, plot: pyqtgraph.PlotItem) -> None:
        super().__init__("", justify="left")
        self.setParentItem(plot.vb)
        self.anchor((0, 0), (0, 0), (GAP // 2, -GAP // 4))
        self.setZValue(2)
        self._ground = QColor()

    def set_colors(self, theme: Theme) -> None:
        """Follow a theme."""
        self._ground = QColor(theme.colors.sidebar)
        self._ground.setAlphaF(GROUND_OPACITY)
        self.setText(self.text, color=theme.colors.text, size=f"{CAPTION * theme.points:.1f}pt")

    def paint(self, painter: QPainter, *_rest: Any) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._ground)
        painter.drawRoundedRect(self.item.mapRectToParent(self.item.boundingRect()), GAP // 2, GAP // 2)


class Stack:
    """A plot of parts of the memory, one on the other.

    Each is an area down to 0 that the lower ones cover: to fill between two lines pyqtgraph takes many times as long.
    """

    def __init__(self, plot: pyqtgraph.PlotItem) -> None:
        self.plot = plot
        self.areas = [pyqtgraph.PlotCurveItem(pen=None, fillLevel=0) for _part in PARTS]
        for area in reversed(self.areas):
            plot.addItem(area)
        self.caption = Caption(plot)

    def set_colors(self, theme: Theme) -> None:
        """Follow a theme."""
        for part, area in zip(PARTS, self.areas, strict=True):
            area.setBrush(QColor(getattr(theme.colors, part)))
        self.caption.set_colors(theme)

    def draw(self, times: np.ndarray, samples: Sequence[tuple[int, ...]]) -> None:
        """Show parts over time."""
        heights = np.cumsum(samples, axis=1)
        for area, height in zip(self.areas, heights.T, strict=True):
            area.setData(times, height)
        own = max(map(of_process, samples))
        self.plot.setYRange(0, max(1, min(HEADROOM * float(heights.max()), LEAST_SHARE * own)), padding=0)


class MemoryChart(QWidget):
    """Plots below each other: RAM, VRAM if there is any, speed. Draws only while it is shown."""

    def __init__(self, theme: Theme, log: MemoryLog, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("chart")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._log = theme, log
        self.setAccessibleName(self.tr("Memory over the last five minutes"))
        self.plots = Plots()
        for part in (self.plots, self.plots.viewport()):
            part.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the description of the whole has its figures
        self.plots.setAccessibleName(self.tr("Chart of the memory"))
        self.plots.ci.layout.setContentsMargins(0, 0, 0, 0)
        self.plots.ci.layout.setVerticalSpacing(GAP)
        self.plots.setMinimumHeight(LEAST_HEIGHT)
        self.plots.setMaximumHeight(HEIGHT)
        self.summary = QLabel()
        self.summary.setObjectName("caption")
        self.summary.setContentsMargins(0, GAP // 4, 0, 0)
        self._blank_axes: list[pyqtgraph.AxisItem] = []
        self.ram = self._make_ram()
        self.vram: Stack | None = None
        self._make_rate()
        self._arrange()
        theme.changed.connect(self._on_theme_changed)
        self._on_theme_changed()

    def _arrange(self) -> None:
        title = QLabel(self.tr("Memory"))
        title.setObjectName("title")
        legend = FlowLayout()
        for part in PARTS:
            legend.addWidget(PartName(self._theme, part))
        legend.addWidget(self.summary)
        head = QHBoxLayout()
        head.setSpacing(2 * GAP)
        head.addWidget(title, 0, Qt.AlignmentFlag.AlignTop)
        head.addLayout(legend, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * GAP, GAP, GAP, GAP // 2)
        column.setSpacing(GAP // 2)
        column.addLayout(head)
        column.addWidget(self.plots, 1)

    def _make_plot(self, row: int, write: Any) -> pyqtgraph.PlotItem:
        """All have axes of one width on both sides, so that a moment is in one place."""
        axes = {"bottom": TimeAxis(), "left": FigureAxis("left", write)}
        plot = self.plots.addPlot(row, 0, axisItems=axes)
        plot.setMouseEnabled(False, False)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        return plot

    def _make_stack(self, row: int) -> Stack:
        plot = self._make_plot(row, as_bytes)
        plot.getAxis("bottom").setStyle(showValues=False)
        return Stack(plot)

    def _add_blank_axis(self, plot: pyqtgraph.PlotItem) -> None:
        axis = FigureAxis("right", lambda _count: "")
        axis.setStyle(tickLength=0)
        plot.layout.addItem(axis, 2, 3)
        self._blank_axes.append(axis)

    def _make_ram(self) -> Stack:
        """With the context's length over it."""
        stack = self._make_stack(0)
        plot = stack.plot
        self.length_axis = FigureAxis("right", lambda count: f"{count:,}")
        plot.layout.addItem(self.length_axis, 2, 3)
        self.length_view = pyqtgraph.ViewBox()
        plot.scene().addItem(self.length_view)
        self.length_axis.linkToView(self.length_view)
        self.length_view.setMouseEnabled(False, False)
        self.length_view.setZValue(1)  # the line is drawn over the parts
        self.length = pyqtgraph.PlotDataItem(dynamicRangeLimit=None)
        self.length_view.addItem(self.length)
        plot.vb.sigResized.connect(self._fit_length)
        return stack

    def _make_rate(self) -> None:
        self.rate = self._make_plot(2, lambda count: f"{count:,}")
        self.rate.setMaximumHeight(RATE_HEIGHT)
        self.rate_line = self.rate.plot()
        self.rate_caption = Caption(self.rate)
        self._add_blank_axis(self.rate)

    def _add_vram(self) -> Stack:
        """Where there is a GPU: between the two, once it is known."""
        stack = self._make_stack(1)
        self._add_blank_axis(stack.plot)
        self.plots.setMaximumHeight(HEIGHT_WITH_VRAM)
        return stack

    @Slot()
    def _fit_length(self) -> None:
        self.length_view.setGeometry(self.ram.plot.vb.sceneBoundingRect())

    @property
    def _stacks(self) -> list[Stack]:
        return [self.ram, self.vram] if self.vram else [self.ram]

    @Slot()
    def _on_theme_changed(self) -> None:
        colors = self._theme.colors
        self.plots.setBackground(QColor(colors.sidebar))
        plots = [self.rate, *(stack.plot for stack in self._stacks)]
        sides = (plot.getAxis(side) for plot in plots for side in ("left", "bottom"))
        for axis in (self.length_axis, *self._blank_axes, *sides):
            axis.setPen(QColor(colors.border))
            axis.setTextPen(QColor(colors.muted))
        for stack in self._stacks:
            stack.set_colors(self._theme)
        self.rate_caption.set_colors(self._theme)
        self.length.setPen(pyqtgraph.mkPen(QColor(colors.text), width=2))
        self.rate_line.setPen(pyqtgraph.mkPen(QColor(colors.accent), width=2))

    @Slot()
    def draw(self) -> None:
        """Show the newest samples."""
        samples = [sample for sample in self._log.samples if sample.time_s >= self._log.samples[-1].time_s - SPAN_S]
        if not samples:
            return
        if self.vram is None and samples[-1].vram:
            self.vram = self._add_vram()
            self._on_theme_changed()
        times = np.array([sample.time_s for sample in samples]) - samples[-1].time_s
        self.ram.draw(times, [sample.ram for sample in samples])
        if self.vram:
            self.vram.draw(times, [sample.vram or (0,) * len(PARTS) for sample in samples])
        self._draw_lines(times, [sample.context_tokens for sample in samples], [each.tokens_per_s for each in samples])
        for view in (*(stack.plot for stack in self._stacks), self.rate, self.length_view):
            view.setXRange(min(-LEAST_SPAN_S, times[0]), 0, padding=0)
        self._show_summary()

    def _draw_lines(self, times: np.ndarray, lengths: Sequence[int], rates: Sequence[float]) -> None:
        self.length.setData(times, np.array(lengths))
        self.rate_line.setData(times, np.array(rates))
        self.length_view.setYRange(0, HEADROOM * max(1, *lengths), padding=0)
        self.rate.setYRange(0, HEADROOM * max(1.0, *rates), padding=0)

    def _show_summary(self) -> None:
        newest = self._log.samples[-1]
        length = self.tr("line: {0:,} tokens in context").format(newest.context_tokens)
        self.ram.caption.setText(f"{self._line_of(self.tr('RAM'), newest.ram)} · {length}")
        if self.vram and newest.vram:
            self.vram.caption.setText(self._line_of(self.tr("VRAM"), newest.vram))
        rate = as_rate(newest.tokens_per_s) if newest.tokens_per_s else self.tr("tokens per second")
        self.rate_caption.setText(rate)
        self.summary.setText(" · ".join(self._facts(newest)))
        captions = (*(stack.caption for stack in self._stacks), self.rate_caption)
        self.setAccessibleDescription(" · ".join([*(caption.text for caption in captions), self.summary.text()]))

    def _facts(self, newest: MemorySample) -> list[str]:
        """What the plots do not show."""
        facts = [self.tr("CPU: {0:.0f} %").format(newest.reading.cpu_percent)]
        if self._log.is_gpu_known and not self._log.has_gpu:
            facts.append(self.tr("no NVIDIA GPU"))
        if newest.disk_bytes:
            facts.append(self.tr("{0} in files on the disk").format(as_bytes(newest.disk_bytes)))
        return facts

    def _line_of(self, place: str, parts: tuple[int, ...]) -> str:
        line = self.tr("{0}: this app {1}, other programs {2}")
        return line.format(place, as_bytes(of_process(parts)), as_bytes(parts[-1]))

    # -- Qt ------------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not event.spontaneous():  # those come with a window that is minimised: the meters rest then
            self._log.grown.connect(self.draw)
        if self._log.samples:
            self.draw()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        if not event.spontaneous():
            self._log.grown.disconnect(self.draw)
