"""The first page: what this PC can do, the models that suit it best, or the built-in one. Shown once by itself."""

from typing import Final

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtWidgets import QDialog, QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from app.models.engine_status import EngineState, EngineStatus
from app.models.model_list import ModelList
from app.settings import DEMO
from app.views.fit_bar import BarLegend
from app.views.form import heading
from app.views.model_row import ModelRowView, fact_lines, facts_in_full
from app.views.room import open_with_room
from app.views.theme import GAP, Theme

SIZE: Final = QSize(820, 720)
SHOWN: Final = 3


class FirstRunDialog(QDialog):
    """Does not stand in the way: the window behind it can be used.

    Signals:
        opened: the page is shown; what fits is to be told, and how fast it would be.
        use_wanted: name and kind of weights.
        download_wanted, stop_wanted: a name.
        all_wanted: the page of all models.
        seen: the page was closed.
    """

    opened = Signal()
    use_wanted = Signal(str, str)
    download_wanted = Signal(str)
    stop_wanted = Signal(str)
    all_wanted = Signal()
    seen = Signal()

    def __init__(self, theme: Theme, models: ModelList, status: EngineStatus, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self._models, self._status = theme, models, status
        self.views: dict[str, ModelRowView] = {}
        self.setWindowTitle(self.tr("Welcome"))
        open_with_room(self, SIZE)
        self.facts = self._line("caption")
        self.state = self._line("muted")
        self.legend = BarLegend()
        self.all = QPushButton(self.tr("All models …"))
        self.all.setAccessibleName(self.tr("All models"))
        self.all.setAutoDefault(False)
        self.all.clicked.connect(self._on_all)
        self.stay = QPushButton()
        self.stay.setObjectName("primary")
        self.stay.setDefault(True)
        self.stay.clicked.connect(self.accept)
        self.finished.connect(self.seen)
        self._arrange()
        models.changed.connect(self._show)
        models.row_changed.connect(self._on_row_changed)
        status.changed.connect(self._show)
        self._show()

    @staticmethod
    def _line(name: str, text: str = "") -> QLabel:
        label = QLabel(text)
        label.setObjectName(name)
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setWordWrap(True)
        return label

    def _arrange(self) -> None:
        promise = self.tr("A model on this PC reads a whole book, case file or code base, and answers from all of it.")
        rows = QWidget()
        self._rows = QVBoxLayout(rows)
        self._rows.setSpacing(GAP)
        self._rows.addWidget(self.state)
        self._rows.addStretch(1)
        area = self._area = QScrollArea()
        area.verticalScrollBar().rangeChanged.connect(self._on_range_changed)
        self._on_range_changed(0, 0)
        area.setWidget(rows)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        top = QVBoxLayout()
        top.setContentsMargins(3 * GAP, 3 * GAP, 3 * GAP, GAP)
        top.setSpacing(GAP)
        top.addWidget(heading(self.tr("Welcome to KIV Desktop")))
        top.addWidget(self._line("muted", promise + " " + self.tr("Nothing that you open leaves this PC.")))
        top.addSpacing(GAP)
        top.addWidget(self._line("title", self.tr("This PC")))
        top.addWidget(self.facts)
        top.addSpacing(GAP)
        top.addWidget(self._line("title", self.tr("Models that suit it best")))
        top.addWidget(self.legend)
        buttons = QHBoxLayout()
        buttons.setContentsMargins(3 * GAP, GAP, 3 * GAP, 2 * GAP)
        buttons.setSpacing(GAP)
        buttons.addWidget(self.all)
        buttons.addStretch(1)
        buttons.addWidget(self.stay)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addLayout(top)
        whole.addWidget(area, 1)
        whole.addLayout(buttons)

    @Slot(int, int)
    def _on_range_changed(self, _least: int, most: int) -> None:
        """Rows end where all else ends, with the bar beside them or without it."""
        bar = self._area.verticalScrollBar().sizeHint().width() if most else 0
        self._rows.setContentsMargins(3 * GAP, GAP, 3 * GAP - bar, GAP)

    def open(self) -> None:
        """Show the page."""
        self.show()
        self.raise_()
        self.stay.setFocus()
        self.opened.emit()

    # -- showing -------------------------------------------------------------------------------------------------

    @Slot()
    def _show(self) -> None:
        self.facts.setText("\n".join(fact_lines(self._models.facts)) or self.tr("Looking …"))
        self.facts.setToolTip(facts_in_full(self._models.facts))
        names = self._models.recommended[:SHOWN]
        for place, name in enumerate(names):
            self._on_row_changed(name)
            if self._rows.indexOf(self.views[name]) != place:
                self._rows.insertWidget(place, self.views[name])
        for name, view in self.views.items():
            view.setVisible(name in names)
        self.legend.setVisible(bool(names))
        self.state.setText(self._state_line())
        self.state.setVisible(bool(self.state.text()))
        model = self._status.model
        stays = model is None or model.name == DEMO
        self.stay.setText(self.tr("Stay with the built-in model") if stays else self.tr("Begin"))
        self.stay.setAccessibleName(self.stay.text())

    def _state_line(self) -> str:
        built_in = self.tr("The built-in model is tiny: it looks things up and quotes, and is often wrong.")
        if self._models.is_listing and not self._models.recommended:
            return self.tr("Looking at what fits this PC …")
        if not self._models.recommended:
            return self.tr("No other model of the list holds a long text in this PC's RAM.") + " " + built_in
        timing = self.tr("Measuring how fast they would be; this takes a minute or two.")
        return f"{timing}\n{built_in}" if self._models.is_timing else built_in

    @Slot(str)
    def _on_row_changed(self, name: str) -> None:
        row = self._models.row(name)
        if row is None or name not in self._models.recommended[:SHOWN]:
            return
        if name not in self.views:
            self._add(name)
        model = self._status.model
        loaded = None if model is None else (model.name, model.quantize)
        is_loading = self._status.state is EngineState.LOADING
        self.views[name].show_row(row, loaded, is_loading=is_loading, is_recommended=False)

    def _add(self, name: str) -> None:
        view = self.views[name] = ModelRowView(self._theme, name)
        view.use_wanted.connect(self.use_wanted)
        view.download_wanted.connect(self.download_wanted)
        view.stop_wanted.connect(self.stop_wanted)
        self._rows.insertWidget(self._rows.count() - 2, view)

    # -- what the user does --------------------------------------------------------------------------------------

    @Slot()
    def _on_all(self) -> None:
        self.accept()
        self.all_wanted.emit()
