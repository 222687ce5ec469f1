"""All chats, newest first, and the one that is shown."""

import itertools
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal, Slot

from app.models.chat import Chat
from app.models.preferences import Preferences

Index = QModelIndex | QPersistentModelIndex
NO_PARENT = QModelIndex()


class ChatList(QAbstractListModel):
    """The chats of this window. Never empty once the first chat is there.

    Signals:
        current_changed: another chat is shown.
    """

    current_changed = Signal()

    def __init__(self, preferences: Preferences, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._preferences = preferences
        self._numbers = itertools.count(1)
        self._chats: list[Chat] = []
        self.current = self.add()

    def add(self) -> Chat:
        """A new chat, on top of the list; it is shown."""
        chat = Chat(next(self._numbers), self)
        chat.options = self._preferences.settings.chat
        chat.titled.connect(self._on_titled)
        self.beginInsertRows(NO_PARENT, 0, 0)
        self._chats.insert(0, chat)
        self.endInsertRows()
        self.show(chat)
        return chat

    def show(self, chat: Chat) -> None:
        """Make a chat the one that is shown."""
        self.current = chat
        self.current_changed.emit()

    def remove(self, chat: Chat) -> None:
        """Drop a chat; the next one is shown, or a new one."""
        row = self.row(chat)
        self.beginRemoveRows(NO_PARENT, row, row)
        self._chats.remove(chat)
        self.endRemoveRows()
        if chat is self.current:
            if self._chats:
                self.show(self._chats[min(row, len(self._chats) - 1)])
            else:
                self.add()
        chat.deleteLater()

    def row(self, chat: Chat) -> int:
        """Where a chat stands in the list."""
        return self._chats.index(chat)

    def at(self, row: int) -> Chat:
        """The chat in a row."""
        return self._chats[row]

    def numbered(self, number: int | None) -> Chat | None:
        """The chat with a number, if it is still there."""
        return next((chat for chat in self._chats if chat.number == number), None)

    @Slot()
    def _on_titled(self) -> None:
        row = self.index(self.row(self.sender()))  # type: ignore[arg-type]
        self.dataChanged.emit(row, row)

    # -- QAbstractListModel --------------------------------------------------------------------------------------

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self._chats)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        chat = self._chats[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            return chat.title or self.tr("New chat")
        return None
