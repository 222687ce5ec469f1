"""The memory chart: RAM over time, stacked by part, with the context's length and the speed on the same axis."""

from typing import Any, Final

import numpy as np
import pyqtgraph
from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QColor, QHideEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.figures import as_bytes, as_rate
from app.models.memory_log import PARTS, MemoryLog
from app.views.theme import GAP, Theme

HEIGHT: Final = 216
SPAN_S: Final = 300.0
LEAST_SPAN_S: Final = 30.0
AXIS_WIDTH: Final = 60


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
        """There is nothing between 0 and 1."""
        return [level for level in super().tickSpacing(low, high, size) if level[0] >= 1] or [(1, 0)]

    def tickStrings(self, values: list[float], _scale: float, _spacing: float) -> list[str]:
        return [self._write(int(value)) if value > 0 else "" for value in values]


class MemoryChart(QWidget):
    """Two plots below each other. Draws only while it is shown."""

    def __init__(self, theme: Theme, log: MemoryLog, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("chart")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._log = theme, log
        self.setFixedHeight(HEIGHT)
        self.setAccessibleName(self.tr("Memory over the last five minutes"))
        self.plots = pyqtgraph.GraphicsLayoutWidget()
        for part in (self.plots, self.plots.viewport()):
            part.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the line above it tells its figures
        self.plots.setAccessibleName(self.tr("Chart of the memory"))
        self.plots.ci.layout.setContentsMargins(0, 0, 0, 0)
        self.plots.ci.layout.setVerticalSpacing(GAP)
        self.summary = QLabel()
        self.summary.setObjectName("caption")
        self._make_memory()
        self._make_rate()
        self._arrange()
        theme.changed.connect(self._on_theme_changed)
        self._on_theme_changed()

    def _arrange(self) -> None:
        title = QLabel(self.tr("Memory"))
        title.setObjectName("title")
        head = QHBoxLayout()
        head.addWidget(title)
        head.addSpacing(GAP)
        head.addWidget(self.summary, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * GAP, GAP, GAP, GAP // 2)
        column.setSpacing(GAP // 2)
        column.addLayout(head)
        column.addWidget(self.plots, 1)

    def _make_memory(self) -> None:
        axes = {"bottom": TimeAxis(), "left": FigureAxis("left", as_bytes)}
        self.memory = self.plots.addPlot(0, 0, axisItems=axes)
        self.memory.getAxis("bottom").setStyle(showValues=False)
        # Without this, what is far outside the range that is shown before the first drawing is cut off.
        self.edges = [pyqtgraph.PlotDataItem(dynamicRangeLimit=None) for _ in range(len(PARTS) + 1)]
        self.fills = [
            pyqtgraph.FillBetweenItem(low, high) for low, high in zip(self.edges, self.edges[1:], strict=False)
        ]
        for item in (*self.edges, *self.fills):
            self.memory.addItem(item)
        self.length_axis = FigureAxis("right", lambda count: f"{count:,}")
        self.memory.layout.addItem(self.length_axis, 2, 3)
        self.length_view = pyqtgraph.ViewBox()
        self.memory.scene().addItem(self.length_view)
        self.length_axis.linkToView(self.length_view)
        self.length_view.setMouseEnabled(False, False)
        self.length_view.setZValue(1)  # the line is drawn over the parts
        self.length = pyqtgraph.PlotDataItem(dynamicRangeLimit=None)
        self.length_view.addItem(self.length)
        self.memory.vb.sigResized.connect(self._fit_length)

    def _make_rate(self) -> None:
        axes = {"bottom": TimeAxis(), "left": FigureAxis("left", lambda count: f"{count:,}")}
        self.rate = self.plots.addPlot(1, 0, axisItems=axes)
        self.rate.setMaximumHeight(72)
        self.rate_line = self.rate.plot()
        right = FigureAxis("right", lambda _count: "")
        right.setStyle(tickLength=0)
        self.rate.layout.addItem(right, 2, 3)
        self._rate_right = right
        for plot in (self.memory, self.rate):
            plot.setMouseEnabled(False, False)
            plot.setMenuEnabled(False)
            plot.hideButtons()

    @Slot()
    def _fit_length(self) -> None:
        self.length_view.setGeometry(self.memory.vb.sceneBoundingRect())

    @Slot()
    def _on_theme_changed(self) -> None:
        colors = self._theme.colors
        self.plots.setBackground(QColor(colors.sidebar))
        for axis in (self.length_axis, self._rate_right, *(plot.getAxis(side) for plot in (self.memory, self.rate)
                                                           for side in ("left", "bottom"))):  # fmt: skip
            axis.setPen(QColor(colors.border))
            axis.setTextPen(QColor(colors.muted))
        for part, fill in zip(PARTS, self.fills, strict=True):
            fill.setBrush(QColor(getattr(colors, part)))
        for edge in self.edges:
            edge.setPen(None)
        self.length.setPen(pyqtgraph.mkPen(QColor(colors.text), width=2))
        self.rate_line.setPen(pyqtgraph.mkPen(QColor(colors.accent), width=2))

    @Slot()
    def draw(self) -> None:
        """Show the newest samples."""
        samples = [sample for sample in self._log.samples if sample.time_s >= self._log.samples[-1].time_s - SPAN_S]
        if not samples:
            return
        newest = samples[-1]
        times = np.array([sample.time_s for sample in samples]) - newest.time_s
        for view in (self.memory, self.rate, self.length_view):
            view.setXRange(min(-LEAST_SPAN_S, times[0]), 0, padding=0)
        heights = np.cumsum([(0, *sample.parts) for sample in samples], axis=1)
        for edge, height in zip(self.edges, heights.T, strict=True):
            edge.setData(times, height)
        lengths, rates = ([getattr(each, name) for each in samples] for name in ("context_tokens", "tokens_per_s"))
        self.length.setData(times, np.array(lengths))
        self.rate_line.setData(times, np.array(rates))
        self.memory.setYRange(0, 1.1 * heights.max(), padding=0)
        self.length_view.setYRange(0, 1.1 * max(1, *lengths), padding=0)
        self.rate.setYRange(0, 1.15 * max(1.0, *rates), padding=0)
        self._show_summary()

    def _show_summary(self) -> None:
        newest = self._log.samples[-1]
        total = as_bytes(sum(newest.parts))
        line = self.tr("{0} of RAM · line: {1:,} tokens in the context · below: {2}")
        rate = as_rate(newest.tokens_per_s) if newest.tokens_per_s else self.tr("tokens per second")
        self.summary.setText(line.format(total, newest.context_tokens, rate))
        self.setAccessibleDescription(self.summary.text())

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
