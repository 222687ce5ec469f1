"""The settings: how the app looks, and how the engine keeps and finds tokens, with what each choice costs."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from PySide6.QtCore import QEvent, QSize, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from app.figures import as_bytes
from app.models.engine_status import EngineStatus
from app.models.model_list import Connection, ModelList
from app.models.preferences import Preferences
from app.resources import resource_text
from app.views.answer_look import open_tables
from app.views.folders_page import FoldersPage
from app.views.form import CONTROL_WIDTH, Form, heading
from app.views.model_name import model_name
from app.views.room import open_with_room
from app.views.theme import GAP, with_letters
from kiv_engine.config import KIVConfig

SIZE: Final = QSize(720, 640)
HOT_TOKENS: Final = (512, 1_024, 2_048, 4_096, 8_192)
RETRIEVED_TOKENS: Final = (128, 256, 512, 1_024)
KEPT_CHOICES: Final = (8, 16, 32, 64, 128)
CANDIDATE_TOKENS: Final = (4_096, 8_192, 16_384, 32_768)
FOLDERS_PART: Final = 2
SHORTCUTS_PART: Final = 3
PARTS_WIDTH: Final = 184


class Choice(QComboBox):
    """A few values by name. A value from the settings file that is none of them is offered, too.

    Signals:
        chosen: the user chose another value.
    """

    chosen = Signal()

    def __init__(self, choices: Sequence[tuple[str, object]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        for name, value in choices:
            self.addItem(name, value)
        self.activated.connect(self.chosen)

    def show_value(self, value: object) -> None:
        """Select a value."""
        place = next((place for place in range(self.count()) if self.itemData(place) == value), -1)
        if place < 0:
            self.addItem(f"{value:,}" if isinstance(value, int) else str(value), value)
            place = self.count() - 1
        self.setCurrentIndex(place)


class SettingsDialog(QDialog):
    """Every change is in force and kept at once; a damaged choice is impossible.

    `shortcuts` are told as they are: keys, and what they do.

    Signals:
        models_wanted: show the page of models instead.
        folders_wanted: the page of folders is shown; they are to be counted.
    """

    models_wanted = Signal()
    folders_wanted = Signal()

    def __init__(
        self,
        preferences: Preferences,
        status: EngineStatus,
        models: ModelList,
        shortcuts: Sequence[tuple[str, str]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._preferences, self._status, self._models = preferences, status, models
        self.setWindowTitle(self.tr("Settings"))
        open_with_room(self, SIZE)
        self.parts = QListWidget()
        self.parts.setObjectName("parts")
        self.parts.setAccessibleName(self.tr("Parts of the settings"))
        self.parts.setFixedWidth(with_letters(PARTS_WIDTH, self.fontMetrics()))
        self.parts.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.pages = QStackedWidget()
        self._make_controls()
        for name, page in (
            (self.tr("Appearance"), self._appearance()),
            (self.tr("Memory and search"), self._engine()),
            (self.tr("Folders"), self._folders()),
            (self.tr("Shortcuts"), self._shortcuts(shortcuts)),
            (self.tr("Network"), self._network()),
            (self.tr("About"), self._about()),
        ):
            item = QListWidgetItem(name, self.parts)
            item.setSizeHint(QSize(0, 4 * GAP + GAP // 2))
            self.pages.addWidget(page)
        self.parts.currentRowChanged.connect(self._on_part)
        self.parts.setCurrentRow(0)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.parts)
        row.addWidget(self.pages, 1)
        preferences.changed.connect(self._show)
        status.changed.connect(self._show)
        status.loading_changed.connect(self._show_model)
        self._show()

    # -- what can be set -----------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        tr = self.tr
        themes = [(tr("As the system"), "system"), (tr("Light"), "light"), (tr("Dark"), "dark")]
        self.theme = Choice([*themes, (tr("High contrast"), "contrast")])
        sizes = [(tr("As the system"), 0), *((tr("{0} points").format(size), size) for size in range(9, 19))]
        self.font_points = Choice(sizes)
        self.hot = Choice([(f"{count:,}", count) for count in HOT_TOKENS])
        self.retrieved = Choice([(f"{count:,}", count) for count in RETRIEVED_TOKENS])
        self.candidates = Choice([(f"{count:,}", count) for count in CANDIDATE_TOKENS])
        self.dtype = Choice([(tr("In full"), "auto"), (tr("8 bit"), "int8")])
        modes = [(tr("All before it (exact)"), "exact"), (tr("Best parts (sparse)"), "sparse")]
        modes += [(tr("Nearest (window)"), "window")]
        self.prefill = Choice([(tr("Automatic"), "auto"), *modes])
        self.positions = Choice(
            [(tr("Automatic"), "auto"), (tr("As they are (true)"), "true"), (tr("Moved up (compact)"), "compact")]
        )
        kept = [(tr("Up to {0} GB").format(size), size) for size in KEPT_CHOICES]
        self.kept = Choice([(tr("Nothing"), 0), *kept])
        self.kept.chosen.connect(self._on_kept_chosen)
        self.model = QPushButton()
        self.model.setObjectName("field")
        self.model.clicked.connect(self._on_model)
        self.store = QPushButton()
        self.store.setObjectName("field")
        self.store.clicked.connect(self._on_store)
        for choice in self._engine_choices().values():
            choice.chosen.connect(self._on_engine_chosen)
        self.theme.chosen.connect(self._on_look_chosen)
        self.font_points.chosen.connect(self._on_look_chosen)

    def _engine_choices(self) -> dict[str, Choice]:
        return {
            "hot_tokens": self.hot,
            "retrieved_tokens": self.retrieved,
            "candidate_tokens": self.candidates,
            "store_dtype": self.dtype,
            "prefill": self.prefill,
            "positions": self.positions,
        }

    def _appearance(self) -> QWidget:
        form = Form()
        form.add(self.tr("Colours"), self.theme, self.tr("High contrast is light or dark as the system is."))
        form.add(self.tr("Size of letters"), self.font_points, self.tr("Also with Ctrl++, Ctrl+- and Ctrl+0."))
        form.end()
        return page(self.tr("Appearance"), form)

    def _engine(self) -> QWidget:
        tr, form = self.tr, Form()
        form.add(
            tr("Model"), self.model,
            tr("Which ones fit this PC, and how fast they are (Ctrl+L). Another one reads documents again."),
        )  # fmt: skip
        self.hot_line = form.add(tr("Newest text that is seen in full"), self.hot, " ")
        self.retrieved_line = form.add(tr("Older text looked up for each word"), self.retrieved, " ")
        form.add(
            tr("How widely older text is searched"), self.candidates,
            tr("Places compared in full (candidates). More find what is rare; every word takes a little longer."),
        )  # fmt: skip
        self.dtype_line = form.add(tr("How finely older text is kept"), self.dtype, " ")
        form.add(
            tr("Where older text is kept"), self.store,
            tr("A folder on a fast disk holds more than the RAM does; answers take longer."),
        )  # fmt: skip
        self.kept_line = form.add(tr("What was read is kept on disk"), self.kept, " ")
        form.add(
            tr("How documents are read"), self.prefill,
            tr("What each word is read with. Exact: all before it; twice the text takes four times as long. Sparse: "
               "the parts that matter most to it. Window: only the nearest; the fastest, and finds least."),
        )  # fmt: skip
        form.add(
            tr("Places of older text (positions)"), self.positions,
            tr("Compact: what is looked up stands nearer, within the length that the model was trained for. No cost."),
        )  # fmt: skip
        form.end()
        return page(
            tr("Memory and search"),
            form,
            tr("For documents that are read from now on. Counted in tokens: four are about three words."),
        )

    def _folders(self) -> QWidget:
        self.folders = FoldersPage()
        line = self.tr("Where the app keeps what it keeps, and what that takes on the disk. All of it is on this PC.")
        return page(self.tr("Folders"), self.folders, line)

    @Slot(int)
    def _on_part(self, part: int) -> None:
        self.pages.setCurrentIndex(part)
        if part == FOLDERS_PART and self.isVisible():
            self.folders_wanted.emit()

    def _shortcuts(self, shortcuts: Sequence[tuple[str, str]]) -> QWidget:
        form = Form()
        for keys, what in shortcuts:
            label = QLabel(keys)
            label.setObjectName("muted")
            label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            form.add(what, label)
        form.end()
        return page(self.tr("Shortcuts"), form)

    def _network(self) -> QWidget:
        self.network = QLabel()
        self.network.setWordWrap(True)
        self.network.setTextFormat(Qt.TextFormat.PlainText)
        self.network.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._models.connections_changed.connect(self._show_network)
        self._show_network()
        return page(self.tr("Network activity"), self.network)

    @Slot()
    def _show_network(self) -> None:
        """All of it: nothing but downloads opens a connection, and those are the user's."""
        lines = [self._connection_line(each) for each in self._models.connections]
        promise = self.tr(
            "Only a model that you get is fetched, or the config of one that you name. Everything that you open stays "
            "on this PC; the app asks for no update and reports nothing."
        )
        self.network.setText("\n".join(lines or [self.tr("None since the app was started.")]) + f"\n\n{promise}")

    def _connection_line(self, connection: Connection) -> str:
        what = self.tr("its config")
        if connection.bytes_here is not None:
            what = self.tr("{0} are here").format(as_bytes(connection.bytes_here))
        line = self.tr("{0:%H:%M}  {1}, from the HuggingFace hub: {2}").format(connection.time, connection.name, what)
        return line if connection.is_over else line + self.tr(", under way")

    def _about(self) -> QWidget:
        libraries = QTextBrowser()
        libraries.setObjectName("answer")
        libraries.setAccessibleName(self.tr("Third-party software and its licences"))
        libraries.setOpenLinks(False)
        libraries.document().setDocumentMargin(0)
        libraries.setMarkdown(resource_text("THIRD_PARTY.md").partition("\n\n")[2])  # without its title
        open_tables(libraries.document())
        try:
            number = version("kiv-desktop")
        except PackageNotFoundError:  # run from its source, not installed
            number = self.tr("(not installed)")
        line = self.tr("KIV Desktop {0}, under the Apache License 2.0.").format(number)
        return page(self.tr("About"), libraries, line)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self.parts.setFixedWidth(with_letters(PARTS_WIDTH, self.fontMetrics()))

    # -- showing and taking --------------------------------------------------------------------------------------

    @Slot()
    def _show(self) -> None:
        settings = self._preferences.settings
        self.theme.show_value(settings.theme)
        self.font_points.show_value(settings.font_points)
        for name, choice in self._engine_choices().items():
            choice.show_value(getattr(settings.engine, name))
        self.kept.show_value(settings.kept_gb)
        folder = settings.engine.store_folder
        self.store.setText(self.tr("In RAM …") if folder is None else folder.name)
        self.store.setToolTip(self.tr("Choose a folder") if folder is None else self.tr("Back to RAM"))
        self._show_model()
        self._show_costs(settings.engine)

    @Slot()
    def _show_model(self) -> None:
        name = model_name(self._status)
        room = CONTROL_WIDTH - 6 * GAP
        short = self.model.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, room)
        self.model.setText(f"{short} …")
        self.model.setToolTip(name)
        self.model.setAccessibleName(self.tr("Models; in use: {0}").format(name))

    @Slot()
    def _on_model(self) -> None:
        self.hide()
        self.models_wanted.emit()

    def _show_costs(self, config: KIVConfig) -> None:
        """The lines with figures; without a model there are none."""
        model = self._status.model
        row = model.row_bytes if model else 0

        def cost(count: int) -> str:
            return f": {as_bytes(count)}" if row else ""

        self.hot_line.setText(
            self.tr("Every word of an answer sees all of it (the hot tokens){0}.").format(cost(row * config.hot_tokens))
        )
        fetched = cost(row * config.retrieved_tokens)
        self.retrieved_line.setText(
            self.tr("More helps where many places matter, as for summaries; copied for every word{0}.").format(fetched)
        )
        line = self.tr("It opens again in seconds; the least recently used goes first.")
        if shelf := self._status.shelf:
            now = self.tr("Now: 1 text, {1}.") if shelf.contexts == 1 else self.tr("Now: {0:,} texts, {1}.")
            line += " " + now.format(shelf.contexts, as_bytes(shelf.bytes))
        self.kept_line.setText(line)
        kept = model.int8_row_bytes if model and config.store_dtype == "int8" else row
        million = cost(1_000_000 * kept)
        self.dtype_line.setText(
            self.tr("8 bit needs less room, and is a little less exact. A million tokens{0}.").format(million)
        )

    @Slot()
    def _on_look_chosen(self) -> None:
        look = {"theme": self.theme.currentData(), "font_points": self.font_points.currentData()}
        self._preferences.set(replace(self._preferences.settings, **look))

    @Slot()
    def _on_engine_chosen(self) -> None:
        chosen = {name: choice.currentData() for name, choice in self._engine_choices().items()}
        settings = self._preferences.settings
        self._preferences.set(replace(settings, engine=replace(settings.engine, **chosen)))

    @Slot()
    def _on_kept_chosen(self) -> None:
        self._preferences.set(replace(self._preferences.settings, kept_gb=self.kept.currentData()))

    @Slot()
    def _on_store(self) -> None:
        settings = self._preferences.settings
        store = "ram"
        if settings.engine.store_folder is None:
            store = QFileDialog.getExistingDirectory(self, self.tr("A folder for older text")) or "ram"
        self._preferences.set(replace(settings, engine=replace(settings.engine, store=store)))

    def open_part(self, part: int) -> None:
        """Show the dialog with one of its parts."""
        self.parts.setCurrentRow(part)
        self._show()
        self.show()
        self.raise_()
        self.parts.setFocus()
        self._on_part(part)


def page(title: str, content: QWidget, line: str = "") -> QWidget:
    """A part of the dialog: title, perhaps a line, and what scrolls below."""
    whole, inner = QScrollArea(), QWidget()
    column = QVBoxLayout(inner)
    column.setContentsMargins(3 * GAP, 3 * GAP, 3 * GAP, 3 * GAP)
    column.setSpacing(2 * GAP)
    column.addWidget(heading(title))
    if line:
        caption = QLabel(line)
        caption.setObjectName("muted")
        caption.setWordWrap(True)
        column.addWidget(caption)
    column.addWidget(content, 1)
    whole.setWidget(inner)
    whole.setWidgetResizable(True)
    whole.setFrameShape(QScrollArea.Shape.NoFrame)
    whole.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return whole
