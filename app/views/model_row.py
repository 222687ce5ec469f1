"""One model among others: what it is, what fits of it, and the one thing to do with it."""

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QCoreApplication, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QWidget,
)

from app.figures import as_bytes, as_duration, as_pace, as_rate, as_rough_duration, as_round_tokens
from app.models.engine_status import Loading
from app.models.model_list import ModelRow
from app.reports import ModelTimed, WeightsFit
from app.settings import DEMO
from app.views.fit_bar import FULL_BAR_TOKENS, FitBar
from app.views.settings_dialog import Choice
from app.views.theme import GAP, Theme
from kiv_engine.events import Advantage

BUTTON_WIDTH: Final = 132
WEIGHTS_WIDTH: Final = 96


class ModelRowView(QFrame):
    """One model: what it is, what fits, and the one thing to do with it.

    Signals:
        use_wanted: name and kind of weights.
        download_wanted, stop_wanted: its name.
        stop_loading_wanted: this model is not to be loaded.
    """

    stop_loading_wanted = Signal()
    use_wanted = Signal(str, str)
    download_wanted = Signal(str)
    stop_wanted = Signal(str)

    def __init__(self, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = name
        self._row: ModelRow | None = None
        self._loaded: tuple[str, str] | None = None
        self._is_loading = False
        self._loading: Loading | None = None
        self.setObjectName("card")
        self.title = QLabel()
        self.title.setObjectName("title")
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.chip = QLabel(self.tr("suits this PC"))
        self.chip.setObjectName("chip")
        self.about, self.fit = QLabel(), QLabel()
        for label in (self.about, self.fit):
            label.setObjectName("caption")
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.bar = FitBar(theme)
        self.weights = Choice([])
        self.weights.setFixedWidth(WEIGHTS_WIDTH)
        self.weights.setToolTip(
            self.tr(
                "How finely the model's numbers (its weights) are kept: fewer bits need less memory.\n"
                "With 8 and 4 bit answers get a little worse. 16 bit is bfloat16."
            )
        )
        self.weights.setAccessibleName(self.tr("Bits of the weights of {0}").format(name))
        self.weights.chosen.connect(self._show)
        self.button = QPushButton()
        self.button.setFixedWidth(BUTTON_WIDTH)
        self.button.setAutoDefault(False)
        self.button.clicked.connect(self._on_clicked)
        self._arrange()

    def _arrange(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(GAP)
        line.addWidget(self.title)
        line.addWidget(self.chip)
        line.addStretch(1)
        grid = QGridLayout(self)
        grid.setContentsMargins(2 * GAP, GAP + GAP // 2, 2 * GAP, GAP + GAP // 2)
        grid.setHorizontalSpacing(GAP)
        grid.setVerticalSpacing(GAP // 2)
        grid.addLayout(line, 0, 0)
        grid.addWidget(self.about, 1, 0)
        grid.addWidget(self.bar, 2, 0)
        grid.addWidget(self.fit, 3, 0)
        grid.addWidget(self.weights, 0, 1, 4, 1)
        grid.addWidget(self.button, 0, 2, 4, 1)
        grid.setColumnStretch(0, 1)
        grid.setColumnMinimumWidth(1, WEIGHTS_WIDTH)

    @property
    def quantize(self) -> str:
        """The kind of weights that is chosen."""
        return str(self.weights.currentData() or "none")

    def show_loading(self, loading: Loading | None) -> None:
        """Show how far this model is while it is loaded."""
        if loading != self._loading:
            self._loading = loading
            self._show()

    def show_row(
        self, row: ModelRow, loaded: tuple[str, str] | None, *, is_loading: bool, is_recommended: bool
    ) -> None:
        """Show a model; `loaded` is the name of the model in use and the bits of its weights."""
        first = self._row is None
        self._row, self._loaded, self._is_loading = row, loaded, is_loading
        self.chip.setVisible(is_recommended)
        if [self.weights.itemData(place) for place in range(self.weights.count())] != [
            each.quantize for each in row.listed.fits
        ]:
            names = {
                "none": self.tr("In full"),
                "bf16": self.tr("16 bit"),
                "fp16": self.tr("float16"),
                "8bit": self.tr("8 bit"),
                "4bit": self.tr("4 bit"),
            }
            self.weights.clear()
            for each in row.listed.fits:
                self.weights.addItem(names[each.quantize], each.quantize)
            first = True
        if first and row.listed.fits:
            in_use = loaded is not None and loaded[0] == self._name
            self.weights.show_value(loaded[1] if in_use and loaded else row.listed.best)
        self.weights.setVisible(len(row.listed.fits) > 1)
        self._show()

    @Slot()
    def _show(self) -> None:
        assert self._row is not None
        row = self._row
        listed = row.listed
        is_demo = listed.name == DEMO
        self.title.setText(self.tr("The built-in model") if is_demo else listed.name)
        self.about.setText(self._about(row))
        parameters = self.tr(
            "Parameters are the numbers that a model is made of: with more it knows more and is slower"
        )
        self.about.setToolTip(parameters if listed.billions else "")
        fit = next((each for each in listed.fits if each.quantize == self.quantize), None)
        self.bar.setVisible(not is_demo or self._loading is not None)
        self.fit.setObjectName("error" if row.message else "caption")
        self.fit.style().unpolish(self.fit)
        self.fit.style().polish(self.fit)
        if self._loading is not None:
            self.bar.set_shares(self._loading.share, 0)
        elif row.progress is not None:
            done, total = row.progress.bytes_done, row.progress.bytes_total
            self.bar.set_shares(done / max(1, total), 0)
        elif fit is not None:
            self.bar.set_shares(fit.tokens_in_ram / FULL_BAR_TOKENS, fit.tokens_on_disk / FULL_BAR_TOKENS)
        self.fit.setText(self._line(row, fit))
        self.fit.setToolTip(self._in_tokens(row.timed) if row.timed else "")
        self.fit.setVisible(bool(self.fit.text()))
        self._show_button()

    def _about(self, row: ModelRow) -> str:
        listed = row.listed
        if listed.name == DEMO:
            return self.tr("Tiny, here at once: it looks things up and quotes, in English, and is often wrong.")
        parts = [self._advantage(row.advantage)] if row.advantage else []
        parts += [self.tr("{0:.1f} billion parameters").format(listed.billions)] if listed.billions else []
        parts += [listed.licence] if listed.licence else []
        parts.append(self.tr("trained on texts of up to {0:,} tokens").format(listed.trained_tokens))
        parts += [self.tr("its owner grants access")] if listed.gated else []
        return " · ".join(parts)

    def _advantage(self, advantage: Advantage) -> str:
        words: dict[Advantage, str] = {
            "largest_for_million": self.tr("The largest, and for a million tokens"),
            "for_million": self.tr("For a million tokens"),
            "largest": self.tr("The largest that holds a whole book"),
            "also": self.tr("Also holds a whole book"),
            "untrained": self.tr("Holds a whole book, though it was trained for less"),
        }
        return words[advantage]

    def _line(self, row: ModelRow, fit: WeightsFit | None) -> str:
        if (loading := self._loading) is not None:
            return self.tr("Loading: {0:,} of {1:,} parts").format(loading.done, loading.total)
        if row.message:
            return row.message
        if row.is_waiting:
            return self.tr("Waiting to be downloaded")
        if (progress := row.progress) is not None:
            sizes = f"{as_bytes(progress.bytes_done)} / {as_bytes(progress.bytes_total)}"
            rate = self.tr("{0} a second").format(as_bytes(round(progress.bytes_per_s)))
            left = "" if progress.eta_s is None else self.tr("{0} left").format(as_duration(progress.eta_s))
            return " · ".join(filter(None, (sizes, rate, left)))
        if fit is None:
            return ""
        if fit.missing_bytes:
            return self.tr("Does not fit: {0} are missing").format(as_bytes(fit.missing_bytes))
        fits = self.tr("Up to {0} tokens in RAM, {1} with the disk").format(
            as_round_tokens(fit.tokens_in_ram), as_round_tokens(fit.tokens_on_disk)
        )
        if fit.num_gpus > 1:
            fits = self.tr("{0}, spread over {1} GPUs").format(fits, fit.num_gpus)
        lines = [fits]
        if row.timed and fit.quantize == row.listed.best:
            lines.append(self._pace(row.timed))
        if measured := dict(row.listed.measured).get(fit.quantize):
            lines.append(self.tr("When it was last used: {0}").format(measured))
        return "\n".join(lines)

    def _pace(self, timed: ModelTimed) -> str:
        """Estimates: what was measured is a few products of matrices."""
        line = self.tr("About {0} to read 250 pages; with 2,500 pages read, it writes {1}")
        return line.format(as_rough_duration(timed.million_s / 10), as_pace(timed.tokens_per_s))

    def _in_tokens(self, timed: ModelTimed) -> str:
        line = self.tr("Estimated: {0} to read a million tokens, and {1} behind them")
        return line.format(as_rough_duration(timed.million_s), as_rate(timed.tokens_per_s))

    def _show_button(self) -> None:
        assert self._row is not None
        is_used = self._loaded == (self._name, self.quantize)
        stops_loading = self._loading is not None and self._name != DEMO
        if self._row.is_downloading or stops_loading:
            text, kind = self.tr("Stop"), "small"
        elif not self._row.listed.is_here:
            text, kind = self.tr("Get {0}").format(as_bytes(self._row.listed.download_bytes)), "small"
        elif is_used:
            text, kind = self.tr("In use"), "small"
        else:
            text, kind = self.tr("Use"), "smallprimary"
        self.button.setText(text)
        self.button.setEnabled(self._row.is_downloading or stops_loading or not (is_used or self._is_loading))
        self.button.setAccessibleName(f"{text}: {self.title.text()}")
        if self.button.objectName() != kind:
            self.button.setObjectName(kind)
            self.button.style().unpolish(self.button)
            self.button.style().polish(self.button)

    @Slot()
    def _on_clicked(self) -> None:
        assert self._row is not None
        if self._loading is not None:
            self.stop_loading_wanted.emit()
        elif self._row.is_downloading:
            self.stop_wanted.emit(self._name)
        elif self._row.listed.is_here:
            self.use_wanted.emit(self._name, self.quantize)
        else:
            self.download_wanted.emit(self._name)


def fact_lines(facts: Sequence[tuple[str, str]]) -> list[str]:
    """The facts of this PC in everyday words; of the processor without its instructions."""
    card = QCoreApplication.translate("ModelRowView", "Graphics card")
    names = {"GPU": card, "CUDA": "" if "GPU" in dict(facts) else card}
    lines = []
    for name, said in facts:
        if name == "Processor":
            said = said.partition(";")[0]
        elif name == "CUDA":
            said = said.removeprefix("Usable. ").removeprefix("Not usable. ")
        lines.append(": ".join(filter(None, (names.get(name, name), said))))
    return lines


def facts_in_full(facts: Sequence[tuple[str, str]]) -> str:
    """As the doctor says them, for a tooltip."""
    return "\n".join(": ".join(filter(None, fact)) for fact in facts)
