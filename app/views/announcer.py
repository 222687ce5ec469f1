"""Tells screen readers what others see: that reading or an answer is over."""

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent
from PySide6.QtWidgets import QWidget

from app.models.engine_status import EngineState, EngineStatus


class Announcer(QObject):
    """Follows the engine's state, and speaks when something that took a while is over."""

    def __init__(self, status: EngineStatus, window: QWidget) -> None:
        super().__init__(window)
        self._status, self._window = status, window
        self._doing = EngineState.ABSENT
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

    def _text(self, done: EngineState) -> str:
        match done:
            case EngineState.READING:
                return self.tr("Reading is over")
            case EngineState.GENERATING:
                return self.tr("The answer is finished")
            case EngineState.LOADING if self._status.state is EngineState.IDLE:
                return self.tr("The model is ready")
            case _:
                return ""
