"""The strip below: what the memory is used for, and how fast things go."""

import time
from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QRectF, QSize, Qt, QTimer, Slot
from PySide6.QtGui import QColor, QHideEvent, QPainter, QPaintEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from app.figures import as_bytes, as_rate
from app.machine import RamReading, read_ram
from app.models.chat_list import ChatList
from app.models.engine_status import EngineStatus
from app.models.memory_log import PARTS, MemoryLog, MemorySample
from app.views.icons import IconButton
from app.views.theme import GAP, Theme

IDLE_MS: Final = 1_000
BUSY_MS: Final = 250
PARTS_FROM: Final = 1_200
PC_FROM: Final = 680
"""From these widths on there is room for the parts of the memory, and for the PC's figures."""
KNOWN: Final = PARTS[:-1]
"""The parts that the engine tells; the rest is other."""


class Bar(QWidget):
    """A bar of coloured shares, painted by hand."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._shares: Sequence[tuple[str, float]] = ()
        self.setFixedHeight(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def set_shares(self, shares: Sequence[tuple[str, float]]) -> None:
        """Colour names of the theme, and the share of the whole that each takes."""
        if shares != self._shares:
            self._shares = shares
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(96, 6)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._theme.colors.hover))
        painter.drawRoundedRect(QRectF(self.rect()), 3, 3)
        left = 0.0
        for role, share in self._shares:
            width = share * self.width()
            painter.setBrush(QColor(getattr(self._theme.colors, role)))
            painter.drawRect(QRectF(left, 0, width, self.height()))
            left += width
        painter.end()


class Meter(QWidget):
    """A caption, a figure, and perhaps a bar."""

    def __init__(self, theme: Theme, caption: str, *, dot: str = "", bar: bool = False) -> None:
        super().__init__()
        self._caption = caption
        self.value = QLabel("–")
        self.bar = Bar(theme) if bar else None
        label = QLabel(caption)
        label.setObjectName("caption")
        head = QHBoxLayout()
        head.setSpacing(GAP // 2)
        if dot:
            head.addWidget(Dot(theme, dot))
        head.addWidget(label, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(self.value)
        if self.bar:
            column.addSpacing(2)
            column.addWidget(self.bar)
        column.addStretch(1)

    def set_value(self, text: str, shares: Sequence[tuple[str, float]] = ()) -> None:
        """Show a figure."""
        self.value.setText(text)
        self.setAccessibleName(f"{self._caption}: {text}")
        if self.bar:
            self.bar.set_shares(shares)


class Dot(QWidget):
    """The colour of a part, as in the bar."""

    def __init__(self, theme: Theme, role: str) -> None:
        super().__init__()
        self._theme, self._role = theme, role
        self.setFixedSize(8, 8)
        theme.changed.connect(self.update)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(getattr(self._theme.colors, self._role)))
        painter.drawEllipse(self.rect())
        painter.end()


class Meters(QWidget):
    """Figures of the process, the PC and the context that is shown. Sleeps while it is hidden.

    All are shown when the clock ticks: an answer's come with every piece of it, and each of them would have the whole
    strip laid out anew.
    """

    def __init__(
        self, theme: Theme, status: EngineStatus, chats: ChatList, log: MemoryLog, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._log = log
        self.chart = IconButton(theme, "chart", self.tr("Show or hide the memory chart (Ctrl+M)"))
        self.setObjectName("meters")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._status, self._chats = status, chats
        self.ram = Meter(theme, self.tr("This app"), bar=True)
        names = (self.tr("Weights"), self.tr("Hot"), self.tr("Index"), self.tr("Cold keys"), self.tr("Cold values"))
        self.parts = {part: Meter(theme, name, dot=part) for part, name in zip(KNOWN, names, strict=True)}
        self.system = Meter(theme, self.tr("RAM of this PC"), bar=True)
        self.vram = Meter(theme, self.tr("VRAM"))
        self.context = Meter(theme, self.tr("Context"))
        self.rate = Meter(theme, self.tr("Speed"))
        self._arrange()
        self._clock = QTimer(self, interval=IDLE_MS)
        self._clock.timeout.connect(self.measure)
        status.changed.connect(self._on_status_changed)
        chats.current_changed.connect(self._show_context)
        self.measure()

    def _arrange(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(2 * GAP, GAP, 2 * GAP, GAP)
        row.setSpacing(3 * GAP)
        self.ram.setMinimumWidth(136)
        self.system.setMinimumWidth(136)
        for meter in (self.vram, self.context, self.rate):
            meter.setMinimumWidth(96)
        for meter in self.parts.values():
            meter.setMinimumWidth(56)
        for meter in (self.ram, *self.parts.values()):
            row.addWidget(meter)
        row.addStretch(1)
        for meter in (self.system, self.vram, self.context, self.rate):
            row.addWidget(meter)
        row.addWidget(self.chart)

    @Slot()
    def measure(self) -> None:
        """Read the PC's figures and show everything."""
        ram = read_ram()
        used = self.tr("{0} of {1}").format(as_bytes(ram.used), as_bytes(ram.total))
        self.system.set_value(used, (("muted", ram.used / max(ram.total, 1)),))
        self._show_process(ram)
        self._log.add(self._sample(ram))
        self._show_vram()
        self._show_context()

    def _sample(self, ram: RamReading) -> MemorySample:
        """All contexts together; the weights are there once."""
        memories = [measured.memory for measured in self._status.measured.values()]
        weights = max((memory.weights for memory in memories), default=0)
        known = [weights, *(sum(getattr(memory, part) for memory in memories) for part in KNOWN[1:])]
        measured = self._status.measured.get(self._chats.current.number)
        length = measured.num_tokens if measured else 0
        other = max(0, ram.process - sum(known))
        return MemorySample(time.monotonic(), (*known, other), length, self._status.tokens_per_s or 0.0)

    def _show_vram(self) -> None:
        model = self._status.model
        if model is not None and model.gpu is not None:
            vram = model.gpu.read_vram()
            text = self.tr("{0} of {1}").format(as_bytes(vram.used), as_bytes(vram.total))
            if spilled := self._status.spilled_bytes:
                text = self.tr("{0}, {1} in RAM").format(text, as_bytes(spilled))
            self.vram.set_value(text)
        else:
            self.vram.set_value("–" if model is None else self.tr("no NVIDIA GPU"))

    def _show_process(self, ram: RamReading) -> None:
        measured = self._status.measured.get(self._chats.current.number)
        known = [(part, getattr(measured.memory, part)) for part in KNOWN] if measured else []
        rest = max(0, ram.process - sum(size for _part, size in known))
        shares = [(part, size / ram.process) for part, size in (*known, ("other", rest))]
        self.ram.set_value(as_bytes(ram.process), tuple(shares))

    @Slot()
    def _show_context(self) -> None:
        measured = self._status.measured.get(self._chats.current.number)
        for part, meter in self.parts.items():
            meter.set_value(as_bytes(getattr(measured.memory, part)) if measured else "–")
        self.context.set_value(self.tr("{0:,} tokens").format(measured.num_tokens) if measured else "–")
        rate = self._status.tokens_per_s
        self.rate.set_value("–" if rate is None else as_rate(rate))

    @Slot()
    def _on_status_changed(self) -> None:
        self._clock.setInterval(BUSY_MS if self._status.is_busy else IDLE_MS)
        if not self._status.is_busy:
            self.measure()

    def _give_way(self, width: int) -> None:
        """What a narrow window has no room for is left out; the chart tells it, too."""
        for meter in self.parts.values():
            meter.setVisible(width >= PARTS_FROM)
        for meter in (self.system, self.vram):
            meter.setVisible(width >= PC_FROM)

    # -- Qt ------------------------------------------------------------------------------------------------------

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._give_way(event.size().width())

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._clock.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._clock.stop()
