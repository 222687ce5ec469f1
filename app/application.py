"""Builds all parts, connects them, and takes them apart in the right order."""

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import QApplication

from app.controllers.history_controller import HistoryController
from app.controllers.models_controller import ModelsController
from app.controllers.notices import Notice, NoticeKind, Offer
from app.controllers.session_controller import SessionController
from app.engine_bridge import EngineBridge, Session
from app.failure_words import slip
from app.folders import Folders
from app.garbage import GarbageCollector
from app.history import History
from app.machine import Machine
from app.models.chat import Chat
from app.models.chat_list import ChatList
from app.models.engine_status import EngineState, EngineStatus
from app.models.memory_log import MemoryLog
from app.models.model_list import ModelList
from app.models.preferences import Preferences
from app.models_session import ModelsSession
from app.settings import FONT_POINTS
from app.views.announcer import Announcer
from app.views.chat_dialog import ChatDialog
from app.views.first_run import FirstRunDialog
from app.views.main_window import Look, MainWindow
from app.views.models_dialog import ModelsDialog
from app.views.settings_dialog import SHORTCUTS_PART, SettingsDialog
from app.views.theme import THEMES, Theme

logger = logging.getLogger(__name__)

QUIT_S: Final = 1.5
"""So long all threads together have to end; what has not ended then ends with the process."""


class Application(QObject):
    """The whole app around one engine session. Without folders nothing is kept.

    Attributes:
        closed_in_time: whether the engine's thread had ended when the app did.

    Signals:
        closing: the app takes nothing more.
    """

    closing = Signal()

    def __init__(
        self,
        qt: QApplication,
        session: Session,
        folders: Folders | None = None,
        models_session: Session | None = None,
        machine: Machine | None = None,
    ) -> None:
        super().__init__()
        self.closed_in_time = True
        self._is_closed = False
        self._offers: tuple[Offer, ...] = ()
        self._set_theme = ""
        self._folders = folders
        self._garbage = GarbageCollector(self)
        self.preferences = Preferences(folders.settings if folders else None, self)
        settings = self.preferences.settings
        self.theme = Theme(qt, THEMES.get(settings.theme), settings.font_points)
        self.status = EngineStatus(self)
        self.chats = ChatList(self.preferences, self)
        self.bridge = EngineBridge(session, self)
        self.models = ModelList(self)
        self.models_bridge = EngineBridge(models_session or ModelsSession(), self, thread="kiv-models")
        self.models_controller = ModelsController(self.models_bridge, self.models, self.status, self)
        self.history = History(folders.history if folders else None, self)
        self.keeper = HistoryController(self.history, self.chats, self)
        store = folders.store if folders else Path(tempfile.gettempdir(), "kiv-store")
        self.controller = SessionController(self.bridge, self.status, self.chats, self.preferences, store, self)
        log = MemoryLog(machine or Machine(), self.status, self)
        self.window = MainWindow(self.theme, self.status, self.chats, log)
        self.announcer = Announcer(self.status, self.chats, self.window)
        self._connect()

    @cached_property
    def settings_dialog(self) -> SettingsDialog:
        """Built when it is wanted first."""
        dialog = SettingsDialog(self.preferences, self.status, self.models, self.window.shortcuts, self.window)
        dialog.models_wanted.connect(self.window.models_action.trigger)
        dialog.folders_wanted.connect(self._on_folders_wanted)
        self.models_controller.folder_measured.connect(dialog.folders.show_folder)
        return dialog

    @cached_property
    def chat_dialog(self) -> ChatDialog:
        """Built when it is wanted first."""
        dialog = ChatDialog(self.window)
        dialog.options_chosen.connect(self.controller.set_options)
        return dialog

    @cached_property
    def models_dialog(self) -> ModelsDialog:
        """Built when it is wanted first."""
        dialog, controller = ModelsDialog(self.theme, self.models, self.status, self.window), self.models_controller
        dialog.opened.connect(controller.list_models)
        dialog.name_entered.connect(controller.find)
        dialog.download_wanted.connect(controller.download)
        dialog.stop_wanted.connect(controller.stop)
        dialog.use_wanted.connect(self.controller.use_model)
        dialog.stop_loading_wanted.connect(self.controller.stop_loading)
        controller.failed.connect(dialog.show_problem)
        controller.found.connect(dialog.show_found)
        dialog.place_chosen.connect(controller.choose_folder)
        dialog.token.entered.connect(controller.keep_token)
        controller.access_refused.connect(dialog.token.ask_for)
        controller.token_kept.connect(dialog.on_token_kept)
        dialog.token_unwanted.connect(controller.remove_token)
        controller.token_removed.connect(dialog.on_token_removed)
        return dialog

    @cached_property
    def first_run(self) -> FirstRunDialog:
        """Built when it is wanted first."""
        dialog, controller = FirstRunDialog(self.theme, self.models, self.status, self.window), self.models_controller
        dialog.opened.connect(controller.list_and_time)
        dialog.download_wanted.connect(controller.download)
        dialog.stop_wanted.connect(controller.stop)
        dialog.use_wanted.connect(self.controller.use_model)
        dialog.all_wanted.connect(self.window.models_action.trigger)
        dialog.seen.connect(self._on_welcomed)
        dialog.seen.connect(controller.stop_timing)
        return dialog

    def _connect(self) -> None:
        window, controller = self.window, self.controller
        self.bridge.reported.connect(controller.on_report)
        controller.noticed.connect(self._on_noticed)
        window.banner.offer_chosen.connect(self._on_offer_chosen)
        window.files_chosen.connect(controller.open_files)
        window.text_dropped.connect(controller.read_pasted)
        window.composer.text_pasted.connect(controller.read_pasted)
        window.composer.asked.connect(window.banner.end_news)  # before a new line comes
        window.composer.asked.connect(controller.ask)
        window.composer.stop_wanted.connect(controller.stop)
        window.stop_action.triggered.connect(controller.stop)
        window.new_action.triggered.connect(controller.new_chat)
        window.sidebar.chat_deleted.connect(self._on_chat_deleted)
        window.sidebar.search_wanted.connect(self.keeper.search)
        window.banner.undo_wanted.connect(self.keeper.undelete)
        for gone in (window.banner.undo_wanted, window.banner.offer_chosen, window.banner.dismiss.clicked):
            gone.connect(window.focus_composer)  # with the button
        self.history.reported.connect(self.keeper.on_report)
        self.keeper.failed.connect(self._on_problem)
        self.keeper.told.connect(self._on_told)
        window.export_wanted.connect(self.keeper.export)
        window.import_wanted.connect(self.keeper.import_chat)
        self.keeper.undo_over.connect(window.banner.end_undo)
        self.status.changed.connect(self._on_status_changed)
        window.banner.restart_wanted.connect(controller.load_model)
        window.conversation.sample_wanted.connect(controller.read_archive)
        window.conversation.stop_wanted.connect(controller.stop)
        window.conversation.continue_wanted.connect(controller.continue_reading)
        window.conversation.passage_chosen.connect(self._on_passage_chosen)
        window.conversation.again_wanted.connect(controller.regenerate)
        window.conversation.again_wanted.connect(window.focus_composer)
        window.conversation.more_wanted.connect(controller.regenerate_with)
        window.conversation.more_wanted.connect(window.focus_composer)  # the buttons go
        window.conversation.sections_wanted.connect(controller.go_by_section)
        window.conversation.sections_wanted.connect(window.focus_composer)
        window.conversation.edited.connect(window.focus_composer)
        window.conversation.edited.connect(controller.ask_instead)
        window.conversation.claim_chosen.connect(self._on_claim_chosen)
        window.conversation.store_wanted.connect(controller.set_store)
        window.conversation.read_again_wanted.connect(controller.read_again)
        window.conversation.read_again_wanted.connect(window.focus_composer)  # the button goes
        window.document.read_again_wanted.connect(controller.read_again)
        window.document.read_again_wanted.connect(window.focus_composer)
        self.models_bridge.reported.connect(self.models_controller.on_report)
        window.models_action.triggered.connect(self._on_models)
        window.welcome_action.triggered.connect(self._on_welcome)
        window.settings_action.triggered.connect(self._on_settings)
        window.shortcuts_action.triggered.connect(self._on_shortcuts)
        window.chat_options_action.triggered.connect(self._on_chat_options)
        window.look_wanted.connect(self._on_look_wanted)
        self.preferences.changed.connect(self._on_preferences_changed)
        self.preferences.save_failed.connect(self._on_problem)
        self._on_preferences_changed()
        window.closed.connect(self.close)

    def start(self, files: Sequence[Path] = ()) -> None:
        """Show the window; the engine is loaded once that is painted."""
        self._garbage.start()
        self.window.show()
        self.history.open()
        if self.preferences.problem:
            self._on_problem(self.preferences.problem)
        QTimer.singleShot(0, self.controller.load_model)
        if files:
            self.controller.open_files(list(files))

    def welcome(self) -> None:
        """Show the first page, if it never was; once the model is there, which is timed otherwise, too."""
        if not self.preferences.settings.welcomed:
            self.status.changed.connect(self._on_ready_to_welcome)
            self._on_ready_to_welcome()

    @Slot()
    def _on_ready_to_welcome(self) -> None:
        if self.status.state in (EngineState.IDLE, EngineState.ERROR):
            self.status.changed.disconnect(self._on_ready_to_welcome)
            self.first_run.open()

    @Slot()
    def _on_welcome(self) -> None:
        self.first_run.open()

    @Slot()
    def _on_welcomed(self) -> None:
        self.preferences.set(replace(self.preferences.settings, welcomed=True))

    @Slot()
    def close(self) -> None:
        """Ask all threads to end, and wait for all of them together. The window is closed already, or about to be."""
        if self._is_closed:
            return
        self._is_closed, end = True, time.monotonic() + QUIT_S
        self.closing.emit()
        self.keeper.close()
        self._garbage.close()
        parts = (self.history, self.models_bridge, self.bridge)
        for part in parts:
            part.close()
        self.closed_in_time = all(part.join(max(0.0, end - time.monotonic())) for part in parts)
        self._garbage.stop()

    def tell_uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """What the window's own code raised, as sys.excepthook gets it: one line, and the app goes on. Ctrl+C quits."""
        if issubclass(kind, KeyboardInterrupt):
            self.window.close()
            return
        logger.error("uncaught", exc_info=(kind, error, trace))
        self._on_problem(slip(error))

    @Slot(object)
    def _on_noticed(self, notice: Notice) -> None:
        self._offers = notice.offers
        texts = [offer.text for offer in notice.offers]
        self.window.banner.show_line(notice.text, is_error=notice.kind is NoticeKind.ERROR, offers=texts)

    @Slot(int)
    def _on_offer_chosen(self, place: int) -> None:
        self.controller.accept(self._offers[place])

    @Slot()
    def _on_status_changed(self) -> None:
        self.window.banner.offer_restart(self.status.state is EngineState.ERROR)

    @Slot(object)
    def on_files_handed_over(self, files: list[Path]) -> None:
        """A second start: come to the front, with its files."""
        self.window.setWindowState(self.window.windowState() & ~Qt.WindowState.WindowMinimized)
        self.window.show()
        self.window.raise_()
        self.window.activateWindow()
        self.controller.open_files(files)

    @Slot(object)
    def _on_chat_deleted(self, chat: Chat) -> None:
        self.controller.forget_context(chat)
        self.keeper.delete(chat)
        text = self.tr("“{0}” was deleted.").format(chat.name or self.tr("New chat"))
        self.window.banner.show_line(text, is_error=False, can_undo=True)

    @Slot(str)
    def _on_told(self, text: str) -> None:
        self.window.banner.show_line(text, is_error=False)

    @Slot(str)
    def _on_problem(self, text: str) -> None:
        self.window.banner.show_line(text, is_error=True)

    @Slot()
    def _on_preferences_changed(self) -> None:
        settings = self.preferences.settings
        if settings.theme != self._set_theme:  # or else the one that the command line named stays
            self._set_theme = settings.theme
            self.theme.choose(THEMES.get(settings.theme), contrast=settings.theme == "contrast")
        self.theme.set_points(settings.font_points)
        self.window.show_theme(settings.theme)

    @Slot()
    def _on_models(self) -> None:
        self.models_dialog.open()

    @Slot()
    def _on_settings(self) -> None:
        self.settings_dialog.open_part(0)

    @Slot()
    def _on_folders_wanted(self) -> None:
        self.models_controller.measure_folders(self._folders.parts if self._folders else ())

    @Slot()
    def _on_shortcuts(self) -> None:
        self.settings_dialog.open_part(SHORTCUTS_PART)

    @Slot()
    def _on_chat_options(self) -> None:
        self.chat_dialog.open_with(self.chats.current.options)

    @Slot(object)
    def _on_look_wanted(self, look: Look) -> None:
        settings = self.preferences.settings
        points = round(self.theme.points) + look.larger if look.larger else 0 if look.usual else settings.font_points
        clamped = points and min(FONT_POINTS[1], max(FONT_POINTS[0], points))
        self.preferences.set(replace(settings, theme=look.theme or settings.theme, font_points=clamped))

    @Slot(int, int)
    def _on_passage_chosen(self, exchange: int, passage: int) -> None:
        self.window.document.show()
        self.chats.current.select(exchange, passage)

    @Slot(int, int)
    def _on_claim_chosen(self, exchange: int, claim: int) -> None:
        self.window.document.show()
        self.chats.current.select(exchange, claim=claim)
