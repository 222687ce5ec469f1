"""The list of chats, on the left."""

from typing import Any, Final, cast

from PySide6.QtCore import QModelIndex, QPoint, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QColor, QFont, QFontMetrics, QIcon, QKeySequence, QPainter, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QMenu,
    QPushButton,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.models.chat_list import ChatList, FoundChats, Index
from app.views.icons import ICON_PIXELS, pixmap
from app.views.theme import CAPTION, GAP, Theme

SEARCH_MS: Final = 150


class ChatDelegate(QStyledItemDelegate):
    """Shows below a chat's name what it is about, and a pin beside chats that are pinned."""

    def __init__(self, theme: Theme, found: FoundChats, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme, self._found = theme, found

    def initStyleOption(self, option: QStyleOptionViewItem, index: Any) -> None:
        super().initStyleOption(option, index)
        chat, shown = self._found.chat_at(index), cast(Any, option)
        if self._found.about(chat):
            shown.displayAlignment = Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft
        if chat.pinned:
            shown.features |= QStyleOptionViewItem.ViewItemFeature.HasDecoration
            shown.icon = QIcon(pixmap("pin", self._theme.colors.muted, ICON_PIXELS, self._theme.scale))
            shown.decorationPosition = QStyleOptionViewItem.Position.Right

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: Index) -> QWidget:
        editor = super().createEditor(parent, option, index)
        editor.setAccessibleName(self.tr("Name of the chat"))
        editor.setAcceptDrops(False)  # the window takes what is dropped
        return editor

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """All are as high: they have room for both lines."""
        size = super().sizeHint(option, index)
        return QSize(size.width(), size.height() + QFontMetrics(self._caption_font(option)).lineSpacing())

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, index)
        if not (about := self._found.about(chat := self._found.chat_at(index))):
            return
        pin = ICON_PIXELS + GAP if chat.pinned else 0
        left = GAP + 1 + QApplication.style().pixelMetric(QStyle.PixelMetric.PM_FocusFrameHMargin)  # as the name has
        room = cast(Any, option).rect.adjusted(left, GAP, -GAP - pin, -GAP)
        painter.save()
        painter.setFont(self._caption_font(option))
        painter.setPen(QColor(self._theme.colors.muted))
        line = painter.fontMetrics().elidedText(about, Qt.TextElideMode.ElideMiddle, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft, line)
        painter.restore()

    def _caption_font(self, option: QStyleOptionViewItem) -> QFont:
        font = QFont(cast(Any, option).font)
        font.setPointSizeF(CAPTION * self._theme.points)
        return font


class Sidebar(QWidget):
    """All chats; a click shows one, a word in the search field leaves those in which it stands.

    Signals:
        new_chat_wanted: the button was pressed.
        chat_deleted: the Chat to delete.
        search_wanted: words to search for, "" for all chats.
    """

    new_chat_wanted = Signal()
    chat_deleted = Signal(object)
    search_wanted = Signal(str)

    def __init__(self, theme: Theme, chats: ChatList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("sidebar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme = theme
        self._chats = chats
        self.found = FoundChats(chats, self)
        self.new_chat = QPushButton(self.tr("New chat"))
        self.new_chat.setObjectName("newchat")
        self.new_chat.setAccessibleName(self.tr("New chat"))
        self.new_chat.setToolTip(self.tr("New chat (Ctrl+N)"))
        self.new_chat.clicked.connect(self.new_chat_wanted)
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Search chats"))
        self.search.setAccessibleName(self.tr("Search chats"))
        self.search.setToolTip(self.tr("Search titles, names of documents, questions and answers (Ctrl+K)"))
        self.search.setClearButtonEnabled(True)
        self.search.setAcceptDrops(False)  # the window takes what is dropped
        for button in self.search.findChildren(QToolButton):
            button.setAccessibleName(self.tr("Clear the search"))
        self.nothing = QLabel(self.tr("No chat with these words"))
        self.nothing.setObjectName("caption")
        self.nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._search_timer = QTimer(self, singleShot=True, interval=SEARCH_MS)
        self._search_timer.timeout.connect(self._on_search)
        self.search.textChanged.connect(self._search_timer.start)
        self.list = self._make_list()
        self._arrange()
        chats.current_changed.connect(self._on_current_changed)
        chats.found_changed.connect(self._on_current_changed)
        theme.changed.connect(self._on_theme_changed)
        self._on_theme_changed()
        self._on_current_changed()

    def _make_list(self) -> QListView:
        view = QListView()
        view.setModel(self.found)
        view.setItemDelegate(ChatDelegate(self._theme, self.found, view))
        view.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        view.setAccessibleName(self.tr("Chats"))
        view.setUniformItemSizes(True)
        view.setTextElideMode(Qt.TextElideMode.ElideRight)
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        view.customContextMenuRequested.connect(self._on_menu)
        view.selectionModel().currentChanged.connect(self._on_moved)
        view.clicked.connect(self._on_selected)
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
        layout.setSpacing(GAP)
        layout.addLayout(head)
        layout.addSpacing(GAP)
        layout.addWidget(self.new_chat)
        layout.addWidget(self.search)
        layout.addWidget(self.nothing)
        layout.addWidget(self.list, 1)

    @Slot()
    def _on_theme_changed(self) -> None:
        self.new_chat.setIcon(QIcon(pixmap("plus", self._theme.colors.text, ICON_PIXELS, self._theme.scale)))

    @Slot()
    def _on_search(self) -> None:
        self.search_wanted.emit(self.search.text())

    @Slot()
    def _on_current_changed(self) -> None:
        self.nothing.setVisible(self.found.rowCount() == 0)
        index = self.found.index_of(self._chats.current)
        if index.isValid():
            self.list.setCurrentIndex(index)
        else:
            self.list.selectionModel().clear()

    @Slot(QModelIndex, QModelIndex)
    def _on_moved(self, index: QModelIndex, _before: QModelIndex) -> None:
        """By the keyboard; where rows come and go, the list moves by itself, which means nothing."""
        if self.list.hasFocus():
            self._on_selected(index)

    @Slot(QModelIndex)
    def _on_selected(self, index: QModelIndex) -> None:
        if index.isValid() and self.found.chat_at(index) is not self._chats.current:
            self._chats.show(self.found.chat_at(index))

    @Slot(QPoint)
    def _on_menu(self, point: QPoint) -> None:
        index = self.list.indexAt(point)
        if index.isValid():
            menu = QMenu(self)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            pinned = self.found.chat_at(index).pinned
            menu.addAction(self.tr("Rename")).triggered.connect(self.rename)
            menu.addAction(self.tr("Unpin") if pinned else self.tr("Pin")).triggered.connect(self.toggle_pin)
            menu.addSeparator()
            menu.addAction(self.tr("Delete")).triggered.connect(self._on_delete)
            menu.popup(self.list.viewport().mapToGlobal(point))

    @Slot()
    def rename(self) -> None:
        """Edit the title of the chat that is shown, in its place."""
        if (index := self.list.currentIndex()).isValid():
            self.list.edit(index)

    @Slot()
    def toggle_pin(self) -> None:
        """Pin the chat that is shown, or take the pin away."""
        self._chats.current.set_pinned(not self._chats.current.pinned)

    @Slot()
    def _on_delete(self) -> None:
        if (index := self.list.currentIndex()).isValid():
            self.chat_deleted.emit(self.found.chat_at(index))
