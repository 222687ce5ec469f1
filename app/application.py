"""Builds all parts, connects them, and takes them apart in the right order."""

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtWidgets import QApplication

from app.controllers.session_controller import Notice, NoticeKind, SessionController
from app.engine_bridge import EngineBridge, Session
from app.models.chat_list import ChatList
from app.models.engine_status import EngineStatus
from app.views.main_window import MainWindow
from app.views.theme import Theme


class Application(QObject):
    """The whole app around one engine session.

    Attributes:
        closed_in_time: whether the engine's thread had ended when the app did.
    """

    def __init__(self, qt: QApplication, session: Session) -> None:
        super().__init__()
        self.closed_in_time = True
        self.theme = Theme(qt)
        self.status = EngineStatus(self)
        self.chats = ChatList(self)
        self.bridge = EngineBridge(session, self)
        self.controller = SessionController(self.bridge, self.status, self.chats, self)
        self.window = MainWindow(self.theme, self.status, self.chats)
        self._connect()

    def _connect(self) -> None:
        window, controller = self.window, self.controller
        self.bridge.reported.connect(controller.on_report)
        controller.noticed.connect(self._on_noticed)
        controller.question_returned.connect(window.composer.give_back)
        window.files_chosen.connect(controller.open_files)
        window.text_dropped.connect(controller.read_pasted)
        window.composer.text_pasted.connect(controller.read_pasted)
        window.composer.asked.connect(controller.ask)
        window.composer.stop_wanted.connect(controller.stop)
        window.stop_action.triggered.connect(controller.stop)
        window.new_action.triggered.connect(controller.new_chat)
        window.sidebar.chat_deleted.connect(controller.delete_chat)
        window.banner.restart_wanted.connect(controller.load_model)
        window.conversation.sample_wanted.connect(controller.read_archive)
        window.conversation.stop_wanted.connect(controller.stop)
        window.conversation.continue_wanted.connect(controller.continue_reading)
        window.conversation.passage_chosen.connect(self._on_passage_chosen)
        window.conversation.again_wanted.connect(controller.regenerate)
        window.conversation.edited.connect(controller.ask_instead)
        window.conversation.claim_chosen.connect(self._on_claim_chosen)
        window.closed.connect(self.close)

    def start(self, files: Sequence[Path] = ()) -> None:
        """Show the window; the engine is loaded once that is painted."""
        self.window.show()
        QTimer.singleShot(0, self.controller.load_model)
        if files:
            self.controller.open_files(list(files))

    @Slot()
    def close(self) -> None:
        """Stop the engine and wait for its thread. The window is closed already, or about to be."""
        self.closed_in_time = self.bridge.close()

    @Slot(object)
    def _on_noticed(self, notice: Notice) -> None:
        is_error = notice.kind is NoticeKind.ERROR
        self.window.banner.show_line(notice.text, is_error=is_error, can_restart=notice.can_restart)

    @Slot(int, int)
    def _on_passage_chosen(self, exchange: int, passage: int) -> None:
        self.window.document.show()
        self.chats.current.select(exchange, passage)

    @Slot(int, int)
    def _on_claim_chosen(self, exchange: int, claim: int) -> None:
        self.window.document.show()
        self.chats.current.select(exchange, claim=claim)
