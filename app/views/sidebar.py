"""The list of chats, on the left."""

from PySide6.QtCore import QModelIndex, QPoint, Qt, Signal, Slot
from PySide6.QtGui import QIcon, QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLabel, QListView, QMenu, QPushButton, QVBoxLayout, QWidget

from app.models.chat_list import ChatList
from app.views.icons import pixmap
from app.views.theme import GAP, Theme


class Sidebar(QWidget):
    """All chats; a click shows one.

    Signals:
        new_chat_wanted: the button was pressed.
        chat_deleted: the Chat to delete.
    """

    new_chat_wanted = Signal()
    chat_deleted = Signal(object)

    def __init__(self, theme: Theme, chats: ChatList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("sidebar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme = theme
        self._chats = chats
        self.new_chat = QPushButton(self.tr("New chat"))
        self.new_chat.setObjectName("newchat")
        self.new_chat.setAccessibleName(self.tr("New chat"))
        self.new_chat.setToolTip(self.tr("New chat (Ctrl+N)"))
        self.new_chat.clicked.connect(self.new_chat_wanted)
        self.list = self._make_list()
        self._arrange()
        chats.current_changed.connect(self._on_current_changed)
        theme.changed.connect(self._on_theme_changed)
        self._on_theme_changed()
        self._on_current_changed()

    def _make_list(self) -> QListView:
        view = QListView()
        view.setModel(self._chats)
        view.setAccessibleName(self.tr("Chats"))
        view.setUniformItemSizes(True)
        view.setTextElideMode(Qt.TextElideMode.ElideRight)
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        view.customContextMenuRequested.connect(self._on_menu)
        view.selectionModel().currentChanged.connect(self._on_selected)
        delete = QShortcut(QKeySequence.StandardKey.Delete, view)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self._on_delete)
        return view

    def _arrange(self) -> None:
        name = QLabel("KIV Desktop")
        name.setObjectName("title")
        head = QHBoxLayout()
        head.setContentsMargins(GAP, 0, 0, 0)
        head.addWidget(name)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(GAP, 2 * GAP, GAP, GAP)
        layout.setSpacing(2 * GAP)
        layout.addLayout(head)
        layout.addWidget(self.new_chat)
        layout.addWidget(self.list, 1)

    @Slot()
    def _on_theme_changed(self) -> None:
        self.new_chat.setIcon(QIcon(pixmap("plus", self._theme.colors.text)))

    @Slot()
    def _on_current_changed(self) -> None:
        self.list.setCurrentIndex(self._chats.index(self._chats.row(self._chats.current)))

    @Slot(QModelIndex, QModelIndex)
    def _on_selected(self, index: QModelIndex, _before: QModelIndex) -> None:
        if index.isValid() and self._chats.at(index.row()) is not self._chats.current:
            self._chats.show(self._chats.at(index.row()))

    @Slot(QPoint)
    def _on_menu(self, point: QPoint) -> None:
        if self.list.indexAt(point).isValid():
            menu = QMenu(self)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.addAction(self.tr("Delete chat")).triggered.connect(self._on_delete)
            menu.popup(self.list.viewport().mapToGlobal(point))

    @Slot()
    def _on_delete(self) -> None:
        if (index := self.list.currentIndex()).isValid():
            self.chat_deleted.emit(self._chats.at(index.row()))
