"""`kiv screenshots FOLDER`: every state of the app in both themes and two sizes, with the real engine."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PySide6.QtCore import QEvent, QMimeData, QObject, QPoint, QPointF, QSize, Qt, QTimer, QUrl, Slot
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QWidget

from app.application import Application
from app.demo import QUESTION
from app.models.chat import ExchangeState, ReadingState
from app.models.engine_status import EngineState
from app.views.theme import THEMES
from kiv_engine.terminal import BadInputError

SIZES: Final = (QSize(1280, 800), QSize(1920, 1080))
LOOK_MS: Final = 20
SETTLE_LOOKS: Final = 12
"""Looks after a state is reached, for what is drawn with a delay."""

Step = tuple[str, Callable[[], None], Callable[[], bool]]
"""The name of a picture, what leads there, and whether it is there."""


class Photographer(QObject):
    """Leads the app from state to state, and takes each picture in all themes and sizes."""

    def __init__(self, qt: QApplication, application: Application, folder: Path, tokens: int) -> None:
        super().__init__(application)
        self._qt, self._application, self._folder, self._tokens = qt, application, folder, tokens
        self._steps = self._make_steps()
        self._looks = 0
        self._begun = False
        self._clock = QTimer(self, interval=LOOK_MS)
        self._clock.timeout.connect(self._on_look)

    def start(self) -> None:
        """Begin; the app leaves when the last picture is taken. Raises BadInputError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInputError(f"The folder {self._folder} cannot be made: {error.strerror}.") from error
        self._application.start()
        self._clock.start()

    # -- the states ----------------------------------------------------------------------------------------------

    def _make_steps(self) -> list[Step]:
        application = self._application
        window, controller, status = application.window, application.controller, application.status

        def chat_state(*states: ReadingState) -> Callable[[], bool]:
            return lambda: application.chats.current.reading.state in states

        def newest_is(*states: ExchangeState) -> Callable[[], bool]:
            return lambda: application.chats.current.exchanges[-1].state in states

        def shows_answer() -> bool:
            return window.conversation.transcript.exchanges[-1].answer.isVisible()

        def idle() -> bool:
            return status.state is EngineState.IDLE

        def half_read() -> bool:
            return application.chats.current.reading.tokens_read > 0

        return [
            ("01-loading", nothing, lambda: status.state is EngineState.LOADING),
            ("02-welcome", nothing, idle),
            ("03-drop", self._begin_drag, always),
            ("04-reading", self._read, half_read),
            ("05-stopped", controller.stop, chat_state(ReadingState.STOPPED)),
            ("06-read", controller.continue_reading, lambda: chat_state(ReadingState.READ)() and idle()),
            ("07-writing", lambda: controller.ask(QUESTION), shows_answer),
            ("08-answered", nothing, lambda: newest_is(ExchangeState.DONE)() and idle()),
            ("09-passage", lambda: application.chats.current.select(0, 0), always),
            ("10-word", self._point_at_word, always),
            ("11-memory", window.chart_action.trigger, always),
            ("12-editing", self._edit_question, always),
            ("13-branches", self._ask_again, lambda: len(self._siblings()) == 2 and idle()),
            ("14-find", self._find, always),
            (
                "15-bad-file",
                lambda: controller.open_files([self._folder / "no such file.txt"]),
                window.banner.isVisible,
            ),
            ("16-deleted", self._delete, lambda: window.banner.undo.isVisible()),
            ("17-settings", self._open_settings, application.settings_dialog.isVisible),
            ("18-this-chat", self._open_chat_options, application.chat_dialog.isVisible),
        ]

    def _begin_drag(self) -> None:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(__file__)])
        copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
        event = QDragEnterEvent(QPoint(9, 9), copy, data, left, Qt.KeyboardModifier.NoModifier)
        self._application.window.dragEnterEvent(event)

    def _read(self) -> None:
        self._application.window.dragLeaveEvent(QDragLeaveEvent())
        self._application.controller.read_archive(self._tokens)

    def _point_at_word(self) -> None:
        view = self._application.window.conversation.transcript.exchanges[0].answer
        cursor = view.document().find(view.toPlainText().split()[-1].rstrip("."))
        place = QPointF(view.cursorRect(cursor).center()) - QPointF(6, 0)
        none = Qt.MouseButton.NoButton
        move = QMouseEvent(QEvent.Type.MouseMove, place, place, none, none, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(view.viewport(), move)

    def _edit_question(self) -> None:
        self._application.chats.current.point(range(0))
        self._application.window.chart_action.trigger()
        self._application.window.conversation.transcript.exchanges[0].edit.click()

    def _ask_again(self) -> None:
        view = self._application.window.conversation.transcript.exchanges[0]
        view.close_editor()
        view.again.click()

    def _siblings(self) -> list[object]:
        return list(self._application.chats.current.root.children)

    def _find(self) -> None:
        self._application.window.find_action.trigger()
        bar = self._application.window.document.find_bar
        bar.edit.setText("Golden Crumb")
        bar.find_next()

    def _delete(self) -> None:
        self._application.window.document.find_bar.hide()
        self._application.window.sidebar.chat_deleted.emit(self._application.chats.at(0))

    def _open_settings(self) -> None:
        self._application.window.banner.hide()
        self._application.settings_dialog.open_part(1)

    def _open_chat_options(self) -> None:
        self._application.settings_dialog.hide()
        self._application.chat_dialog.open_with(self._application.chats.current.options)

    # -- taking pictures -----------------------------------------------------------------------------------------

    @Slot()
    def _on_look(self) -> None:
        if self._application.status.state is EngineState.ERROR:
            print(f"kiv: {self._application.window.banner.text.text()}", file=sys.stderr)
            self._leave(1)
            return
        if not self._steps:
            self._leave(0)
            return
        name, begin, is_there = self._steps[0]
        if not self._begun:
            begin()
            self._begun = True
        if self._looks == 0 and not is_there():
            return
        self._looks += 1
        passing = name in ("01-loading", "04-reading", "07-writing")  # states that do not wait for a picture
        if passing or self._looks >= SETTLE_LOOKS:
            self._take(name)
            self._steps.pop(0)
            self._looks, self._begun = 0, False

    def _take(self, name: str) -> None:
        for theme, colors in THEMES.items():
            self._application.theme.choose(colors)
            for size in SIZES:
                self._application.window.resize(size)
                QApplication.sendPostedEvents()
                picture = self._shown().grab()
                path = self._folder / f"{name}-{theme}-{size.width()}.png"
                if not picture.save(str(path)):
                    print(f"kiv: {path} cannot be written.", file=sys.stderr)
                    self._leave(1)
                    return
        print(name, flush=True)

    def _shown(self) -> QWidget:
        dialogs = (self._application.settings_dialog, self._application.chat_dialog)
        return next((dialog for dialog in dialogs if dialog.isVisible()), self._application.window)

    def _leave(self, code: int) -> None:
        self._clock.stop()
        self._application.close()
        self._qt.exit(code)


def nothing() -> None:
    """The state comes by itself."""


def always() -> bool:
    """The state is there at once."""
    return True
