"""All chats, the one that is shown, and the order in which they are listed."""

import itertools
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Signal,
    Slot,
)
from PySide6.QtGui import Qt

from app.models.chat import Chat, shortened
from app.models.preferences import Preferences

Index = QModelIndex | QPersistentModelIndex
NO_PARENT = QModelIndex()


class ChatList(QAbstractListModel):
    """The chats of this window. Never empty once the first chat is there.

    Signals:
        current_changed: another chat is shown.
        found_changed: other chats were found in a search.
    """

    current_changed = Signal()
    found_changed = Signal()

    def __init__(self, preferences: Preferences, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._preferences = preferences
        self._numbers = itertools.count(1)
        self._chats: list[Chat] = []
        self.found: frozenset[str] | None = None
        self.current = self.add()

    def add(self) -> Chat:
        """A new chat; it is shown."""
        chat = Chat(0, self)
        chat.options = self._preferences.settings.chat
        self.insert(chat)
        self.show(chat)
        return chat

    def insert(self, chat: Chat) -> None:
        """Take a chat in that is new or was deleted by mistake."""
        self.insert_all([chat])

    def insert_all(self, chats: Sequence[Chat]) -> None:
        """Take chats in on top of the others."""
        if not chats:
            return
        for chat in chats:
            chat.number = chat.number or next(self._numbers)
            chat.titled.connect(self._on_titled, Qt.ConnectionType.UniqueConnection)
            chat.path_changed.connect(self._on_titled, Qt.ConnectionType.UniqueConnection)
            chat.documents_changed.connect(self._on_titled, Qt.ConnectionType.UniqueConnection)
            chat.draft_changed.connect(self._on_titled, Qt.ConnectionType.UniqueConnection)
        self.beginInsertRows(NO_PARENT, 0, len(chats) - 1)
        self._chats[:0] = chats
        self.endInsertRows()

    def show(self, chat: Chat) -> None:
        """Make a chat the one that is shown."""
        self.current = chat
        self.current_changed.emit()
        for number, each in enumerate(self._chats):
            if each.draft:  # it is told of all but the one that is shown
                self.dataChanged.emit(self.index(number), self.index(number))

    def remove(self, chat: Chat) -> None:
        """Take a chat out; the newest other one is shown, or a new one."""
        row = self.row(chat)
        self.beginRemoveRows(NO_PARENT, row, row)
        self._chats.remove(chat)
        self.endRemoveRows()
        if chat is self.current:
            if self._chats:
                self.show(max(self._chats, key=lambda other: other.changed))
            else:
                self.add()

    def keyed(self, key: str) -> Chat | None:
        """The chat with a key, if it is there."""
        return next((chat for chat in self._chats if chat.key == key), None)

    def set_found(self, keys: frozenset[str] | None) -> None:
        """Tell which chats were searched for; None for all."""
        self.found = keys
        self.found_changed.emit()

    def row(self, chat: Chat) -> int:
        """Where a chat stands in the list."""
        return self._chats.index(chat)

    def at(self, row: int) -> Chat:
        """The chat in a row."""
        return self._chats[row]

    def numbered(self, number: int | None) -> Chat | None:
        """The chat with a number, if it is still there."""
        return next((chat for chat in self._chats if chat.number == number), None)

    def about(self, chat: Chat) -> str:
        """What is to be known beside a chat's name, in a line: what waits in it to be sent, or else its documents."""
        draft = "" if chat is self.current else shortened(chat.draft)
        return self.tr("Draft: {0}").format(draft) if draft else chat.about

    @Slot()
    def _on_titled(self) -> None:
        row = self.index(self.row(self.sender()))  # type: ignore[arg-type]
        self.dataChanged.emit(row, row)

    # -- QAbstractListModel --------------------------------------------------------------------------------------

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self._chats)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        chat = self._chats[index.row()]
        name = chat.name or self.tr("New chat")
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return name
            case Qt.ItemDataRole.ToolTipRole:
                return plain_tip([name, *(document.name for document in chat.documents if chat.about)])
            case Qt.ItemDataRole.AccessibleTextRole:
                return ", ".join(filter(None, (name, self.about(chat))))
            case Qt.ItemDataRole.EditRole:
                return chat.name
            case _:
                return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        return super().flags(index) | Qt.ItemFlag.ItemIsEditable

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != Qt.ItemDataRole.EditRole or not str(value).strip():
            return False
        self._chats[index.row()].rename(str(value))
        return True


def plain_tip(lines: Sequence[str]) -> str:
    """Lines for a tooltip as they are: Qt would take some that have a tag in them for HTML."""
    text = "\n".join(lines)
    return Qt.convertFromPlainText(text) if Qt.mightBeRichText(text) else text


class FoundChats(QSortFilterProxyModel):
    """The chats that were searched for: those that are pinned first, then by when something was asked last."""

    def __init__(self, chats: ChatList, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._chats = chats
        self.setSourceModel(chats)
        self.setDynamicSortFilter(True)
        self.sort(0)
        chats.found_changed.connect(self._on_found_changed)

    def chat_at(self, index: Index) -> Chat:
        """The chat in a row."""
        return self._chats.at(self.mapToSource(index).row())

    def about(self, chat: Chat) -> str:
        """The line below its name."""
        return self._chats.about(chat)

    def index_of(self, chat: Chat) -> QModelIndex:
        """Where a chat stands; an invalid index if it was not found."""
        return self.mapFromSource(self._chats.index(self._chats.row(chat)))

    @Slot()
    def _on_found_changed(self) -> None:
        self.invalidate()

    # -- QSortFilterProxyModel -----------------------------------------------------------------------------------

    def filterAcceptsRow(self, row: int, _parent: Index) -> bool:
        return self._chats.found is None or self._chats.at(row).key in self._chats.found

    def lessThan(self, left: Index, right: Index) -> bool:
        one, other = self._chats.at(left.row()), self._chats.at(right.row())
        return (not one.pinned, -one.changed) < (not other.pinned, -other.changed)
