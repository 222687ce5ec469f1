"""The strip below: what the memory is used for, and how fast things go."""

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QEvent, QSize, Qt, QTimer, Slot
from PySide6.QtGui import QHideEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.figures import as_bytes, as_rate
from app.models.chat_list import ChatList
from app.models.engine_status import EngineStatus
from app.models.memory_log import KNOWN, PARTS, MemoryLog, MemorySample, of_process
from app.views.icons import IconButton
from app.views.memory_parts import Bar, Dot, part_meanings, part_names
from app.views.theme import GAP, Theme, with_letters

IDLE_MS: Final = 1_000
BUSY_MS: Final = 250
WIDE_FROM: Final = 1_264
PARTS_FROM: Final = 1_200
CHIP_FROM: Final = 800
PC_FROM: Final = 680
RATE_FROM: Final = 520
"""From these widths on there is room for the parts of the memory with wide gaps, for them with narrower ones, for the
GPU or CPU, the PC's RAM, and the speed.
"""


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

    def set_value(self, text: str, shares: Sequence[tuple[str, float]] = (), *, detail: str = "") -> None:
        """Show a figure; `detail` says more of it to who asks."""
        self.value.setText(text)
        # It keeps the room of the longest figure, so that those beside it stand still.
        self.value.setMinimumWidth(max(self.value.minimumWidth(), self.value.sizeHint().width()))
        self.setAccessibleName(f"{self._caption}: {text}")
        self.setToolTip(detail)
        self.setAccessibleDescription(detail)
        if self.bar:
            self.bar.set_shares(shares)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self.value.setMinimumWidth(0)


class Meters(QWidget):
    """Figures of this app, the PC and the context that is shown. Sleeps while it is hidden.

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
        self.parts = {part: Meter(theme, part_names()[part], dot=part) for part in KNOWN}
        self.system = Meter(theme, self.tr("RAM of this PC"), bar=True)
        self.vram = Meter(theme, self.tr("VRAM"), bar=True)
        self.cpu = Meter(theme, self.tr("CPU of this PC"))
        self.context = Meter(theme, self.tr("In context"))
        self.rate = Meter(theme, self.tr("Speed"))
        self._arrange()
        self._clock = QTimer(self, interval=IDLE_MS)
        self._clock.timeout.connect(self.measure)
        status.changed.connect(self._on_status_changed)
        chats.current_changed.connect(self._show_context)
        self.measure()

    def _arrange(self) -> None:
        self._row = row = QHBoxLayout(self)
        row.setContentsMargins(2 * GAP, GAP, 2 * GAP, GAP)
        self.ram.setMinimumWidth(136)
        self.system.setMinimumWidth(136)
        for meter in (self.vram, self.cpu, self.context, self.rate):
            meter.setMinimumWidth(96)
        for meter in self.parts.values():
            meter.setMinimumWidth(56)
        for meter in (self.ram, *self.parts.values()):
            row.addWidget(meter)
        row.addStretch(1)
        for meter in (self.system, self.vram, self.cpu, self.context, self.rate):
            row.addWidget(meter)
        row.addWidget(self.chart)

    @Slot()
    def measure(self) -> None:
        """Read the PC's figures and show everything."""
        sample = self._log.measure(self._chats.current.number)
        self._show_ram(sample)
        self._show_vram(sample)
        self._show_cpu(sample)
        self._show_parts()
        self._show_context()

    def _show_ram(self, sample: MemorySample) -> None:
        process, whole = of_process(sample.ram), sample.reading.ram
        sizes = dict(zip(PARTS, sample.ram, strict=True))
        lines = [f"{part_names()[part]}: {as_bytes(sizes[part])}" for part in PARTS[:-1] if sizes[part]]
        about = self.tr("{0} are: {1}").format(part_names()["program"], part_meanings()["program"])
        content = "\n".join([self.tr("What this app takes of the RAM"), *lines, about])
        self.ram.set_value(as_bytes(whole.process), shares_of(sample.ram[:-1], process), detail=content)
        used = self.tr("{0} of {1}").format(as_bytes(whole.used), as_bytes(whole.total))
        shares = (("muted", process / whole.total), ("other", sample.ram[-1] / whole.total))
        among = self.tr("Taken by all programs: this app {0}, others {1}")
        self.system.set_value(used, shares, detail=among.format(as_bytes(process), as_bytes(sample.ram[-1])))

    def _show_vram(self, sample: MemorySample) -> None:
        whole = sample.reading.vram
        if whole is None or sample.vram is None:
            self.vram.set_value("–")
            return
        text = self.tr("{0} of {1}").format(as_bytes(whole.used), as_bytes(whole.total))
        if spilled := self._status.spilled_bytes:
            text = self.tr("{0}, {1} in RAM").format(text, as_bytes(spilled))
        about = self.tr("The memory of the graphics card (GPU)")
        self.vram.set_value(text, shares_of(sample.vram, whole.total), detail=about)

    def _show_cpu(self, sample: MemorySample) -> None:
        """Where there is a GPU its memory is shown instead."""
        percent = self.tr("{0:.0f} %").format(sample.reading.cpu_percent)
        has_none = self._log.is_gpu_known and not self._log.has_gpu
        self.cpu.set_value(percent, detail=self.tr("There is no NVIDIA GPU") if has_none else "")

    def _show_parts(self) -> None:
        memory = self._status.memory
        places = (
            (memory.ram, self.tr("{0} in RAM")),
            (memory.vram, self.tr("{0} in VRAM")),
            (memory.disk, self.tr("{0} in files on the disk")),
        )
        for part, meter in self.parts.items():
            sizes = [(getattr(use, part), line) for use, line in places]
            total = sum(size for size, _line in sizes)
            places_of_it = ", ".join(line.format(as_bytes(size)) for size, line in sizes if size)
            detail = ": ".join(filter(None, (part_meanings()[part], places_of_it)))
            meter.set_value(as_bytes(total) if total else "–", detail=detail)

    @Slot()
    def _show_context(self) -> None:
        measured = self._status.measured.get(self._chats.current.number)
        tokens = self.tr("{0:,} tokens").format(measured.num_tokens) if measured else "–"
        about = self.tr("What the model has before it: documents, questions and answers. 100 tokens are about 75 words")
        self.context.set_value(tokens, detail=about)
        rate, pace = self._status.tokens_per_s, self.tr("Of reading, or of writing an answer")
        self.rate.set_value("–" if rate is None else as_rate(rate), detail=pace)

    @Slot()
    def _on_status_changed(self) -> None:
        self._clock.setInterval(BUSY_MS if self._status.is_busy else IDLE_MS)
        if self.isVisible() and not self._status.is_busy:
            self.measure()
            self._give_way(self.width())

    def _give_way(self, width: int) -> None:
        """What a narrow window has no room for is left out; the chart tells it, too."""
        metrics = self.fontMetrics()
        widths = (WIDE_FROM, PARTS_FROM, CHIP_FROM, PC_FROM, RATE_FROM)
        wide, parts, chip, pc, rate = (with_letters(each, metrics) for each in widths)
        self._row.setSpacing((2 if parts <= width < wide else 3) * GAP)
        for meter in self.parts.values():
            meter.setVisible(width >= parts)
        self.system.setVisible(width >= pc)
        self.rate.setVisible(width >= rate)
        self.vram.setVisible(width >= chip and self._log.has_gpu)
        self.cpu.setVisible(width >= chip and not self._log.has_gpu)

    # -- Qt ------------------------------------------------------------------------------------------------------

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._give_way(event.size().width())

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._give_way(self.width())

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._clock.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._clock.stop()


def shares_of(parts: Sequence[int], whole: int) -> tuple[tuple[str, float], ...]:
    """The first of PARTS, each with its share of a whole."""
    return tuple((part, size / max(1, whole)) for part, size in zip(PARTS, parts, strict=False))
