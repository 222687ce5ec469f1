"""The page of all models: what this PC has, what fits it, and getting, choosing and changing them."""

from typing import Final

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.models.engine_status import EngineState, EngineStatus, Loading
from app.models.model_list import ModelList
from app.views.fit_bar import BarLegend
from app.views.form import heading
from app.views.model_row import ModelRowView, fact_lines, facts_in_full
from app.views.room import open_with_room
from app.views.theme import GAP, Theme
from app.views.token_line import TokenLine
from kiv_engine.catalogue import model_name

SIZE: Final = QSize(820, 680)


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
        self.forget.setText(self.tr("Forget access token"))
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
        facts = fact_lines(told)
        if self._models.is_listing:
            facts.append(self.tr("Looking at what fits this PC …"))
        self.facts.setText("\n".join(facts))
        self.facts.setToolTip(facts_in_full(told))
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
        self.name_entered.emit(model_name(self.name.text()))

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
