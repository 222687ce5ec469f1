"""The models: what this PC has, what fits it, and getting, choosing and changing them."""

from typing import Final

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.figures import as_bytes, as_duration, as_pace, as_rate, as_rough_duration, as_round_tokens
from app.models.engine_status import EngineState, EngineStatus, Loading
from app.models.model_list import ModelList, ModelRow
from app.reports import ModelListed, ModelTimed, WeightsFit
from app.settings import DEMO
from app.views.fit_bar import FULL_BAR_TOKENS, BarLegend, FitBar
from app.views.form import heading
from app.views.room import open_with_room
from app.views.settings_dialog import Choice
from app.views.theme import GAP, Theme
from app.views.token_line import TokenLine

SIZE: Final = QSize(820, 680)
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
        self.about.setText(self._about(listed))
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

    def _about(self, listed: ModelListed) -> str:
        if listed.name == DEMO:
            return self.tr("Tiny, here at once: it looks things up and quotes, in English, and is often wrong.")
        parts = [self.tr("{0:.1f} billion parameters").format(listed.billions)] if listed.billions else []
        parts += [listed.licence] if listed.licence else []
        parts.append(self.tr("trained on up to {0:,} tokens").format(listed.trained_tokens))
        parts += [self.tr("its owner grants access")] if listed.gated else []
        return " · ".join(parts)

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


class ModelsDialog(QDialog):
    """All models.

    Signals:
        opened: the dialog is shown; what fits may have changed.
        name_entered: a person named a model, an id on the hub or a folder.
        use_wanted: name and kind of weights.
        download_wanted, stop_wanted: a name.
        stop_loading_wanted: the model that is being loaded is not to be.
        place_chosen: a folder for downloads from now on.
        token_unwanted: the keyring is to forget the hub's token.
    """

    stop_loading_wanted = Signal()
    place_chosen = Signal(str)
    token_unwanted = Signal()
    opened = Signal()
    name_entered = Signal(str)
    use_wanted = Signal(str, str)
    download_wanted = Signal(str)
    stop_wanted = Signal(str)

    def __init__(self, theme: Theme, models: ModelList, status: EngineStatus, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self._models, self._status = theme, models, status
        self._views: dict[str, ModelRowView] = {}
        self.setWindowTitle(self.tr("Models"))
        open_with_room(self, SIZE)
        self.facts = QLabel()
        self.facts.setObjectName("caption")
        self.facts.setTextFormat(Qt.TextFormat.PlainText)
        self.facts.setWordWrap(True)
        self.problem = QLabel()
        self.problem.setObjectName("error")
        self.problem.setTextFormat(Qt.TextFormat.PlainText)
        self.problem.setWordWrap(True)
        self.problem.hide()
        self.name = QLineEdit()
        self.name.setPlaceholderText(self.tr("Another model: its id on the HuggingFace hub, or a folder"))
        self.name.setAccessibleName(self.tr("Another model"))
        self.name.returnPressed.connect(self._on_entered)
        self.folder = QPushButton(self.tr("Folder …"))
        self.folder.setAccessibleName(self.tr("Choose a folder with a model"))
        self.folder.clicked.connect(self._on_folder)
        self.folder.setAutoDefault(False)
        self.place = QLabel()
        self.place.setObjectName("caption")
        self.place.setTextFormat(Qt.TextFormat.PlainText)
        self.place.setWordWrap(True)
        self.change_place = QPushButton(self.tr("Keep elsewhere …"))
        self.change_place.setObjectName("small")
        self.change_place.setAutoDefault(False)
        self.change_place.setAccessibleName(self.tr("Choose another folder for downloads"))
        self.change_place.clicked.connect(self._on_change_place)
        self.token = TokenLine()
        self.forget = QPushButton()
        self.forget.setObjectName("small")
        self.forget.setAutoDefault(False)
        self.forget.clicked.connect(self.token_unwanted)
        self._allow_forgetting()
        self._arrange()
        models.changed.connect(self._on_changed)
        models.row_changed.connect(self._on_row_changed)
        status.changed.connect(self._on_changed)
        status.loading_changed.connect(self._on_loading_changed)
        self._on_changed()

    def _arrange(self) -> None:
        rows = QWidget()
        self._column = QVBoxLayout(rows)
        self._column.setSpacing(GAP)
        self._column.addStretch(1)
        self.area = QScrollArea()
        self.area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        bar = self.area.verticalScrollBar().sizeHint().width()  # beside the rows, which end where all else ends
        self._column.setContentsMargins(3 * GAP, GAP, 3 * GAP - bar, 2 * GAP)
        self.area.setWidget(rows)
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setAccessibleName(self.tr("List of models"))
        top = QVBoxLayout()
        top.setContentsMargins(3 * GAP, 3 * GAP, 3 * GAP, GAP)
        top.setSpacing(GAP)
        top.addWidget(heading(self.tr("Models")))
        top.addWidget(self.facts)
        top.addWidget(BarLegend())
        bottom = QVBoxLayout()
        bottom.setContentsMargins(3 * GAP, GAP, 3 * GAP, 2 * GAP)
        bottom.setSpacing(GAP)
        line = QHBoxLayout()
        line.setSpacing(GAP)
        line.addWidget(self.name, 1)
        line.addWidget(self.folder)
        places = QHBoxLayout()
        places.setSpacing(GAP)
        places.addWidget(self.place, 1)
        places.addWidget(self.change_place)
        places.addWidget(self.forget)
        bottom.addWidget(self.problem)
        bottom.addWidget(self.token)
        bottom.addLayout(places)
        bottom.addLayout(line)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addLayout(top)
        whole.addWidget(self.area, 1)
        whole.addLayout(bottom)

    def open(self) -> None:
        """Show the dialog."""
        self.problem.hide()
        self.token.clear()
        self.show()
        self.raise_()
        self.opened.emit()

    @Slot(str)
    def show_problem(self, text: str) -> None:
        """Say what could not be done."""
        self.problem.setText(text)
        self.problem.show()

    @Slot()
    def on_token_kept(self) -> None:
        """What was refused is tried again."""
        self.token.clear()
        self.problem.hide()
        self._allow_forgetting()

    def _allow_forgetting(self) -> None:
        self.forget.setText(self.tr("Forget token"))
        self.forget.setAccessibleName(self.tr("Take the token of the HuggingFace hub out of the system's keyring"))
        self.forget.setEnabled(True)

    @Slot()
    def on_token_removed(self) -> None:
        """There is none; whether there was one is not known before the keyring is asked."""
        self.problem.hide()
        self.forget.setText(self.tr("No token kept"))
        self.forget.setAccessibleName(self.tr("The system's keyring has no token of the HuggingFace hub"))
        self.forget.setEnabled(False)

    @Slot(str)
    def show_found(self, name: str) -> None:
        """Bring the row of a model into view."""
        self.name.clear()
        self.problem.hide()
        if view := self._views.get(name):
            self._column.activate()
            self.area.ensureWidgetVisible(view)
            view.button.setFocus()

    # -- showing -------------------------------------------------------------------------------------------------

    @property
    def views(self) -> dict[str, ModelRowView]:
        """The rows by the names of their models."""
        return self._views

    @Slot()
    def _on_changed(self) -> None:
        told = [fact for fact in self._models.facts if fact[0] != "Disk"]
        facts = list(map(fact_line, told))
        if self._models.is_listing:
            facts.append(self.tr("Looking at what fits this PC …"))
        self.facts.setText("\n".join(facts))
        self.facts.setToolTip("\n".join(": ".join(filter(None, fact)) for fact in told))
        self.place.setText(self.tr("Disk: {0}").format(dict(self._models.facts).get("Disk", "–")))
        for place, row in enumerate(self._models.rows):
            self._on_row_changed(row.listed.name)
            view = self._views[row.listed.name]
            if self._column.indexOf(view) != place:
                self._column.insertWidget(place, view)

    @Slot(str)
    def _on_row_changed(self, name: str) -> None:
        row = self._models.row(name)
        assert row is not None
        view = self._views.get(name) or self._add(name)
        model = self._status.model
        loaded = None if model is None else (model.name, model.quantize)
        is_loading = self._status.state is EngineState.LOADING
        view.show_row(row, loaded, is_loading=is_loading, is_recommended=name in self._models.recommended)
        view.show_loading(self._loading_of(name))

    @Slot()
    def _on_loading_changed(self) -> None:
        for name, view in self._views.items():
            view.show_loading(self._loading_of(name))

    def _loading_of(self, name: str) -> Loading | None:
        loading = self._status.loading
        return loading if loading is not None and loading.name == name and loading.total else None

    def _add(self, name: str) -> ModelRowView:
        view = self._views[name] = ModelRowView(self._theme, name)
        view.use_wanted.connect(self.use_wanted)
        view.download_wanted.connect(self.download_wanted)
        view.stop_wanted.connect(self.stop_wanted)
        view.stop_loading_wanted.connect(self.stop_loading_wanted)
        self._column.insertWidget(self._column.count() - 1, view)
        return view

    # -- what the user does --------------------------------------------------------------------------------------

    @Slot()
    def _on_entered(self) -> None:
        self.problem.hide()
        self.name_entered.emit(self.name.text())

    @Slot()
    def _on_folder(self) -> None:
        if name := QFileDialog.getExistingDirectory(self, self.tr("A folder with a model")):
            self.problem.hide()
            self.name_entered.emit(name)

    @Slot()
    def _on_change_place(self) -> None:
        if name := QFileDialog.getExistingDirectory(self, self.tr("A folder for models")):
            self.problem.hide()
            self.place_chosen.emit(name)


def fact_line(fact: tuple[str, str]) -> str:
    """A fact of this PC; of the processor without its instructions."""
    name, said = fact
    if name == "Processor":
        said = said.partition(";")[0]
    return f"{name}: {said}" if name else said
