"""Tells screen readers what others see: that reading or an answer is over, was stopped, or failed."""

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent
from PySide6.QtWidgets import QWidget

from app.models.chat import UNDER_WAY, Chat, Exchange, ExchangeState, ReadingState
from app.models.chat_list import ChatList
from app.models.engine_status import EngineState, EngineStatus


class Announcer(QObject):
    """Follows the engine's state, and speaks when something that took a while is over."""

    def __init__(self, status: EngineStatus, chats: ChatList, window: QWidget) -> None:
        super().__init__(window)
        self._status, self._chats, self._window = status, chats, window
        self._doing = EngineState.ABSENT
        self._chat: Chat | None = None
        self._unanswered: list[Exchange] = []
        status.changed.connect(self._on_status_changed)

    @Slot()
    def _on_status_changed(self) -> None:
        state = self._status.state
        if state in (EngineState.IDLE, EngineState.ERROR):
            if text := self._text(self._doing):
                QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self._window, text))
            self._doing = state
        elif state is not EngineState.STOPPING:
            self._doing = state
            self._chat = self._chats.numbered(self._status.busy_chat)
            exchanges = self._chat.all_exchanges.values() if self._chat else ()
            self._unanswered = [exchange for exchange in exchanges if not exchange.is_over]

    def _text(self, done: EngineState) -> str:
        match done:
            case EngineState.READING if self._chat:
                return self._read_text(self._chat)
            case EngineState.GENERATING:
                answered = next((exchange for exchange in self._unanswered if exchange.is_over), None)
                return self._answer_text(answered) if answered else ""
            case EngineState.LOADING if self._status.state is EngineState.IDLE:
                return self.tr("The model is ready")
            case _:
                return ""

    def _read_text(self, chat: Chat) -> str:
        reading = chat.reading
        if reading.state is ReadingState.READ:
            return self.tr("The beginning is read") if reading.is_beginning_only else self.tr("Reading is over")
        if reading.state in UNDER_WAY:  # more documents wait
            return ""
        failed = self.tr("Reading failed: {0}").format(reading.message)
        return failed if reading.message else self.tr("Reading was stopped")

    def _answer_text(self, exchange: Exchange) -> str:
        if exchange.state is ExchangeState.FAILED:
            return self.tr("The answer failed: {0}").format(exchange.message)
        stopped = exchange.finished is not None and exchange.finished.finish_reason == "cancelled"
        return self.tr("The answer was stopped") if stopped else self.tr("The answer is finished")
