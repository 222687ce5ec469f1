"""The window: three panes and the meters. Arrangement, and what is dropped on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QMimeData, QSize, Qt, Signal, Slot
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QIcon,
    QKeySequence,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QHBoxLayout,
    QMainWindow,
    QMenu,
    QPushButton,
    QSplitter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.models.chat_list import ChatList
from app.models.engine_status import EngineStatus
from app.models.memory_log import MemoryLog
from app.resources import FOLDER
from app.settings import ThemeName
from app.views.banner import Banner
from app.views.composer import Composer
from app.views.context_line import ContextLine
from app.views.conversation_view import ConversationView
from app.views.document_pane import DocumentPane
from app.views.drop_overlay import DropOverlay
from app.views.exchange_stack import TEXT_WIDTH
from app.views.file_choice import FileChoice
from app.views.icons import IconButton
from app.views.meters import Meters
from app.views.model_name import model_name
from app.views.room import open_with_room
from app.views.sidebar import Sidebar
from app.views.theme import GAP, Theme
from app.views.title import Header, Title

if TYPE_CHECKING:
    from app.views.memory_chart import MemoryChart

SIZE = QSize(1280, 856)
"""Where the screen has it: an answer of some lines stands whole, from its document's card to its last passage."""
WIDTHS = [216, 604, 460]
LEAST_SIZE = QSize(440, 360)
SIDEBAR_FROM, DOCUMENT_FROM = 960, 720
"""From these widths on there is room for the chats and for the document."""


@dataclass(frozen=True)
class Look:
    """What the user wants changed: colours, or letters so many points larger, or of the usual size."""

    theme: ThemeName | None = None
    larger: int = 0
    usual: bool = False


class MainWindow(QMainWindow):
    """Everything on screen.

    Signals:
        files_chosen: a list of Paths, dropped or chosen.
        text_dropped: a text was dropped.
        look_wanted: a Look.
        export_wanted, import_wanted: a Path to write the chat to, or to take one from.
        closed: the user closed the window.
    """

    files_chosen = Signal(object)
    text_dropped = Signal(str)
    look_wanted = Signal(object)
    export_wanted = Signal(object)
    import_wanted = Signal(object)
    closed = Signal()

    def __init__(self, theme: Theme, status: EngineStatus, chats: ChatList, log: MemoryLog) -> None:
        super().__init__()
        self._log = log
        self.chart: MemoryChart | None = None
        self._theme, self._status, self._chats = theme, status, chats
        self.setWindowTitle("KIV Desktop")
        self.setWindowIcon(QIcon(str(FOLDER / "icons" / "kiv.svg")))
        self.setAcceptDrops(True)
        self._hidden_panes: set[QWidget] = set()
        self._no_text = ""
        self.setMinimumSize(LEAST_SIZE)
        open_with_room(self, SIZE)
        self.sidebar = Sidebar(theme, chats)
        self._choice = FileChoice(self)
        self.banner = Banner(theme)
        self.conversation = ConversationView(theme, status, chats)
        self.composer = Composer(theme, status, chats)
        self.document = DocumentPane(theme, chats)
        self.meters = Meters(theme, status, chats, log)
        self.title = Title()
        self.title.setObjectName("title")
        self.tokens = ContextLine()
        self.tokens.setObjectName("muted")
        self._arrange()
        self._add_actions()
        self.overlay = DropOverlay(theme, self)
        figures = status.figures_changed, status.loading_changed
        for signal in (chats.current_changed, chats.dataChanged, *figures, status.changed):
            signal.connect(self._on_facts_changed)
        self.conversation.open_wanted.connect(self.choose_files)
        self.composer.open_wanted.connect(self.choose_files)
        self.document.find_bar.left.connect(self._on_find_left)
        self.conversation.find_bar.left.connect(self.focus_composer)
        self.document.text.completed.connect(self._on_text_came)
        self._on_facts_changed()
        self.composer.edit.setFocus()

    # -- arrangement ---------------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        self.panes = QSplitter()
        self.panes.setHandleWidth(1)
        self.panes.addWidget(self.sidebar)
        self.panes.addWidget(self._centre())
        self.panes.addWidget(self.document)
        for place, stretch in enumerate((0, 3, 2)):
            self.panes.setStretchFactor(place, stretch)
            self.panes.setCollapsible(place, False)
        for place, name in ((1, self.tr("Width of the chats")), (2, self.tr("Width of the document"))):
            self.panes.handle(place).setAccessibleName(name)
        self.sidebar.setMinimumWidth(160)
        self.document.setMinimumWidth(240)
        self.panes.setSizes(WIDTHS)
        whole = QWidget()
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.panes, 1)
        column.addWidget(self.meters)
        self._whole = column
        self.setCentralWidget(whole)

    def _centre(self) -> QWidget:
        centre = QWidget()
        centre.setMinimumWidth(400)
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, GAP)
        column.setSpacing(0)
        column.addWidget(self._header())
        for widget in (self.banner, self.composer):
            row = QHBoxLayout()
            row.setContentsMargins(3 * GAP, 0, 3 * GAP, 0)
            row.addWidget(widget)
            widget.setMaximumWidth(TEXT_WIDTH)
            column.addLayout(row)
        column.insertWidget(2, self.conversation, 1)
        return centre

    def _header(self) -> QWidget:
        header = Header("header")
        self.menu_button = IconButton(self._theme, "menu", self.tr("Menu"))
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.model_button = QPushButton()
        self.model_button.setObjectName("picker")
        self.model_button.setToolTip(self.tr("Models for this PC (Ctrl+L)"))
        self.options_button = IconButton(self._theme, "tune", self.tr("Instruction and answers of this chat"))
        self.sidebar_button = IconButton(self._theme, "sidebar", self.tr("Show or hide the chats (Ctrl+B)"))
        self.document_button = IconButton(self._theme, "panel", self.tr("Show or hide the document (Ctrl+E)"))
        row = QHBoxLayout(header)
        row.setContentsMargins(GAP, 0, GAP, 0)
        row.setSpacing(GAP // 2)
        row.addWidget(self.sidebar_button)
        row.addWidget(self.menu_button)
        row.addSpacing(GAP // 2)
        names = QVBoxLayout()
        names.setSpacing(0)
        names.addStretch()
        names.addWidget(self.title)
        names.addWidget(self.tokens)
        names.addStretch()
        row.addLayout(names, 1)
        row.addSpacing(GAP // 2)
        row.addWidget(self.model_button)
        row.addSpacing(GAP // 2)
        row.addWidget(self.options_button)
        row.addWidget(self.document_button)
        return header

    # -- actions -------------------------------------------------------------------------------------------------

    def _add_actions(self) -> None:
        menu = QMenu(self)
        self.new_action = self._action(menu, self.tr("New chat"), QKeySequence.StandardKey.New)
        self.open_action = self._action(menu, self.tr("Open documents …"), QKeySequence.StandardKey.Open)
        folder = self._action(menu, self.tr("Open a folder …"), "Ctrl+Shift+O")
        self.find_action = self._action(
            menu, self.tr("Find in the conversation or the document"), QKeySequence.StandardKey.Find
        )
        self.search_action = self._action(menu, self.tr("Search the chats"), "Ctrl+K")
        self.search_action.triggered.connect(self._on_search)
        self.stop_action = self._action(menu, self.tr("Stop reading or writing"), Qt.Key.Key_Escape)
        menu.addSeparator()
        sidebar = self._action(menu, self.tr("Show or hide the chats"), "Ctrl+B")
        document = self._action(menu, self.tr("Show or hide the document"), "Ctrl+E")
        self.chart_action = self._action(menu, self.tr("Show or hide the memory chart"), "Ctrl+M")
        menu.addMenu(self._theme_menu())
        for text, keys, look in (
            (self.tr("Larger letters"), "Ctrl++", Look(larger=1)),
            (self.tr("Smaller letters"), "Ctrl+-", Look(larger=-1)),
            (self.tr("Usual letters"), "Ctrl+0", Look(usual=True)),
        ):
            action = self._action(menu, text, keys)
            action.setData(look)
            action.triggered.connect(self._on_look)
        menu.addSeparator()
        self.export_action = self._action(menu, self.tr("Export this chat …"), QKeySequence.StandardKey.Save)
        self.import_action = self._action(menu, self.tr("Import a chat …"), "Ctrl+I")
        menu.addSeparator()
        self.models_action = self._action(menu, self.tr("Models …"), "Ctrl+L")
        self.welcome_action = self._action(menu, self.tr("Welcome page …"), "Ctrl+Shift+W")
        self.chat_options_action = self._action(menu, self.tr("This chat …"), "Ctrl+Shift+P")
        self.settings_action = self._action(menu, self.tr("Settings …"), "Ctrl+,")
        self.shortcuts_action = self._action(menu, self.tr("Shortcuts"), Qt.Key.Key_F1)
        self.copy_action = self._action(menu, self.tr("Copy the last answer"), "Ctrl+Shift+C")
        self.again_action = self._action(menu, self.tr("Answer the last question again"), "Ctrl+R")
        menu.addSeparator()
        leave = self._action(menu, self.tr("Quit"), "Ctrl+Q")
        leave.setShortcutContext(Qt.ShortcutContext.ApplicationShortcut)  # also where the first page has the focus
        self.menu_button.setMenu(menu)
        self.new_action.triggered.connect(self.composer.edit.setFocus)
        self.open_action.triggered.connect(self.choose_files)
        folder.triggered.connect(self.choose_folder)
        self.export_action.triggered.connect(self.choose_export)
        self.import_action.triggered.connect(self.choose_import)
        self.find_action.triggered.connect(self._on_find)
        self.sidebar_button.clicked.connect(sidebar.trigger)
        self.document_button.clicked.connect(document.trigger)
        self.chart_action.triggered.connect(self._on_toggle_chart)
        self.meters.chart.clicked.connect(self.chart_action.trigger)
        self.model_button.clicked.connect(self.models_action.trigger)
        self.conversation.models_wanted.connect(self.models_action.trigger)
        self.options_button.clicked.connect(self.chat_options_action.trigger)
        self.copy_action.triggered.connect(self.conversation.copy_last)
        self.again_action.triggered.connect(self.conversation.answer_last_again)
        sidebar.triggered.connect(self._on_toggle_sidebar)
        document.triggered.connect(self._on_toggle_document)
        leave.triggered.connect(self.close)
        self.sidebar.new_chat_wanted.connect(self.new_action.trigger)

    def _action(self, menu: QMenu, text: str, keys: QKeySequence.StandardKey | Qt.Key | str) -> QAction:
        action = QAction(text, self)
        action.setShortcut(QKeySequence(keys))
        self.addAction(action)
        menu.addAction(action)
        return action

    @property
    def shortcuts(self) -> list[tuple[str, str]]:
        """All keys and what they do: of the question's field, of answers, of the list of chats, then of the menu."""
        typing = [
            (self.tr("Enter or Ctrl+Enter"), self.tr("Send")),
            ("Shift+Enter", self.tr("A new line in the question")),
            (self.tr("Arrow keys, Enter"), self.tr("Words of an answer, and their passage")),
            ("F2", self.tr("Rename the chat, in the list")),
            (self.tr("Delete"), self.tr("Delete the chat, in the list")),
            (self.tr("Menu key"), self.tr("Rename, pin or delete the chat, in the list")),
        ]
        native = QKeySequence.SequenceFormat.NativeText
        return typing + [
            (action.shortcut().toString(native), action.text().removesuffix(" …")) for action in self.actions()
        ]

    def _theme_menu(self) -> QMenu:
        menu = QMenu(self.tr("Colours"), self)
        self._theme_group = QActionGroup(menu)
        names: list[tuple[str, ThemeName]] = [
            (self.tr("As the system"), "system"), (self.tr("Light"), "light"), (self.tr("Dark"), "dark"),
            (self.tr("High contrast"), "contrast"),
        ]  # fmt: skip
        for text, name in names:
            action = menu.addAction(text)
            action.setCheckable(True)
            action.setData(Look(theme=name))
            self._theme_group.addAction(action)
        self._theme_group.triggered.connect(self._on_theme_chosen)
        return menu

    def show_theme(self, name: ThemeName) -> None:
        """Tick the colours that are in force."""
        for action in self._theme_group.actions():
            action.setChecked(action.data().theme == name)

    @Slot(QAction)
    def _on_theme_chosen(self, action: QAction) -> None:
        self.look_wanted.emit(action.data())

    @Slot()
    def _on_look(self) -> None:
        self.look_wanted.emit(self.sender().data())  # type: ignore[attr-defined]

    @Slot()
    def _on_toggle_sidebar(self) -> None:
        self.sidebar.setVisible(not self.sidebar.isVisible())

    @Slot()
    def _on_toggle_document(self) -> None:
        self.document.setVisible(not self.document.isVisible())

    @Slot()
    def _on_toggle_chart(self) -> None:
        """The chart's library is loaded when it is first wanted: it takes as long as the whole window."""
        if self.chart is None:
            from app.views.memory_chart import MemoryChart

            self.chart = MemoryChart(self._theme, self._log)
            self._whole.insertWidget(1, self.chart)
            self.chart.show()
        else:
            self.chart.setVisible(not self.chart.isVisible())

    @Slot()
    def _on_search(self) -> None:
        self.sidebar.show()
        self.sidebar.search.setFocus()
        self.sidebar.search.selectAll()

    @Slot()
    def _on_find(self) -> None:
        """In what has the keyboard: in the conversation, also while one writes, or else in the document."""
        focus = self.focusWidget()
        is_there = any(each.isAncestorOf(focus) for each in (self.conversation, self.composer))
        if is_there and self._chats.current.exchanges:
            self.conversation.open_find()
            return
        self._no_text = self._why_no_text()
        if self._no_text:
            self.banner.show_line(self._no_text, is_error=False)
        else:
            self.document.show()
            self.document.find_bar.open()

    def _why_no_text(self) -> str:
        chat = self._chats.current
        if chat.opened_documents:
            return ""
        if chat.documents:
            return self.tr("The text can be searched once the document is open.")
        return self.tr("There is no document to search in: open one (Ctrl+O).")

    @Slot()
    def _on_text_came(self) -> None:
        """There is something to search now."""
        if self._no_text:
            self.banner.end_line(self._no_text)
            self._no_text = ""

    @Slot()
    def _on_find_left(self) -> None:
        text = self.document.text
        (text if text.isVisible() else self.composer.edit).setFocus()

    @Slot()
    def focus_composer(self) -> None:
        """Give the keyboard back to the next question."""
        self.composer.edit.setFocus()

    @Slot()
    def choose_files(self) -> None:
        """Ask for files."""
        if paths := self._choice.documents():
            self.files_chosen.emit(paths)

    @Slot()
    def choose_folder(self) -> None:
        """Ask for a folder, whose files become one document."""
        if path := self._choice.folder():
            self.files_chosen.emit([path])

    @Slot()
    def choose_export(self) -> None:
        """Ask where to write the chat that is shown; the kind is told by the name."""
        if path := self._choice.export(self._chats.current.name):
            self.export_wanted.emit(path)

    @Slot()
    def choose_import(self) -> None:
        """Ask for a chat that was exported as JSON."""
        if path := self._choice.exported():
            self.import_wanted.emit(path)

    # -- facts in the header -------------------------------------------------------------------------------------

    @Slot()
    def _on_facts_changed(self) -> None:
        chat = self._chats.current
        self.title.setText(chat.name or self.tr("New chat"))
        self.model_button.setText(model_name(self._status))
        self.model_button.setAccessibleName(self.tr("Models; in use: {0}").format(self.model_button.text()))
        self.tokens.show_context(chat, self._status.measured.get(chat.number))

    # -- Qt ------------------------------------------------------------------------------------------------------

    def event(self, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Show, QEvent.Type.DevicePixelRatioChange):
            self._theme.set_scale(self.devicePixelRatioF())
        return super().event(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if local_files(event.mimeData()) or event.mimeData().hasText():
            event.acceptProposedAction()
            self.overlay.open(self._chats.current)

    def dragLeaveEvent(self, _event: QDragLeaveEvent) -> None:
        self.overlay.hide()

    def dropEvent(self, event: QDropEvent) -> None:
        self.overlay.hide()
        event.acceptProposedAction()
        if paths := local_files(event.mimeData()):
            self.files_chosen.emit(paths)
        elif text := event.mimeData().text():
            self.text_dropped.emit(text)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.overlay.setGeometry(self.rect().adjusted(GAP, GAP, -GAP, -GAP))
        self._give_way(event.oldSize().width(), event.size().width())

    def _give_way(self, before: int, now: int) -> None:
        """A window that gets narrow hides its panes, and one that gets wide again shows what it hid."""
        for pane, least in ((self.sidebar, SIDEBAR_FROM), (self.document, DOCUMENT_FROM)):
            if now < least and (before >= least or before < 0) and not pane.isHidden():
                pane.hide()
                self._hidden_panes.add(pane)
            elif now >= least and pane in self._hidden_panes:
                pane.show()
                self._hidden_panes.discard(pane)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.hide()  # at once; the engine's thread may need a moment
        self.closed.emit()
        super().closeEvent(event)


def local_files(data: QMimeData) -> list[Path]:
    """The files of this PC among what is dragged."""
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
