"""`kiv screenshots FOLDER`: every state of the app, or one, in both themes and two sizes, with the real engine.

What it cannot be made to do at will, or passes in less than a picture takes, is scripted, and named so.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PySide6.QtCore import QEvent, QMimeData, QObject, QPoint, QPointF, QSize, Qt, QTimer, QUrl, Slot
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QDialog, QWidget

from app.application import Application
from app.code_colours import colour_code
from app.controllers.notices import Notice, NoticeKind, notice_of_failure
from app.demo import QUESTION
from app.models.chat import Chat, ExchangeState, ReadingState
from app.models.engine_status import BUSY, EngineState
from app.requests import LoadModel, Read, TextSource
from app.views.link_dialog import LinkDialog
from app.views.theme import CONTRAST_DARK, CONTRAST_LIGHT, THEMES
from kiv_engine.errors import OutOfMemoryError
from kiv_engine.events import Failed, SmallerPlan
from kiv_engine.terminal import BadInputError

SIZES: Final = (QSize(1280, 800), QSize(1920, 1080))
LOOK_MS: Final = 20
SETTLE_LOOKS: Final = 12
"""Looks after a state is reached, for what is drawn with a delay."""

ERROR_STEP: Final = "31-error-scripted"
TURNS: Final = 8
NARROW: Final = QSize(760, 600)
CONTRAST: Final = {"contrast-light": CONTRAST_LIGHT, "contrast-dark": CONTRAST_DARK}
IN_CONTRAST: Final = ("02-welcome", "09-passage", "17-settings")
RIGHT_TO_LEFT: Final = (
    "פרק ראשון\n\nהאווז נספר בצהריים, וירד גשם על הנמל. The goose was counted at noon.\n\n"
    "الفصل الثاني\n\nعُدَّت الإوزة عند الظهر، وهطل المطر على الميناء.\n\n"
) * 40
CODE_ANSWER: Final = (
    "Count those that are there **at noon**; see [the guide](https://example.org/geese).\n\n"
    '```python\ndef count(geese: list[str]) -> int:\n    """Those at noon."""\n'
    "    return sum(goose.endswith('noon') for goose in geese)  # 41 of them\n```\n\n"
    "| Place | Geese |\n|---|---|\n| Salt Steps | 41 |\n| Mustard Street | 7 |\n"
)

Step = tuple[str, Callable[[], None], Callable[[], bool]]
"""The name of a picture, what leads there, and whether it is there."""


class Photographer(QObject):
    """Leads the app from state to state, and takes each picture in all themes and sizes."""

    def __init__(
        self, qt: QApplication, application: Application, folder: Path, tokens: int, only: str | None = None
    ) -> None:
        """`only` one state is taken, like "answered". Raises BadInputError for one that there is not."""
        super().__init__(application)
        self._qt, self._application, self._folder, self._tokens = qt, application, folder, tokens
        self._link: LinkDialog | None = None
        self._steps = self._make_steps()
        self._taken = self._choose(only)
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

    def _choose(self, only: str | None) -> list[str]:
        """Drop the steps that no picture needs; the names of the pictures that are taken."""
        names = [name for name, _begin, _is_there in self._steps]
        if only is None:
            return names
        states = [name.partition("-")[2] for name in names]
        if only not in states:
            raise BadInputError(f"There is no state {only!r}; there are {', '.join(states)}.")
        number = states.index(only)
        del self._steps[number + 1 :]
        return [names[number]]

    # -- the states ----------------------------------------------------------------------------------------------

    def _make_steps(self) -> list[Step]:
        application = self._application
        window, controller, status = application.window, application.controller, application.status

        def chat_state(*states: ReadingState) -> Callable[[], bool]:
            return lambda: application.chats.current.reading.state in states

        def newest_is(*states: ExchangeState) -> Callable[[], bool]:
            return lambda: application.chats.current.exchanges[-1].state in states

        def shows_answer() -> bool:
            written = len(application.chats.current.exchanges[-1].answer)
            is_shown = written > 20 and window.conversation.transcript.exchanges[-1].answer.isVisible()
            return is_shown and window.document.map.isVisible()

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
            ("19-models", self._open_models, self._models_are_listed),
            ("20-first-run", self._open_first_run, self._models_are_listed),
            ("21-link", self._open_link, lambda: self._link is not None),
            ("22-narrow", self._make_narrow, always),
            ("23-sections", self._ask_by_section, lambda: newest_is(ExchangeState.DONE)() and idle()),
            ("24-right-to-left", self._read_right_to_left, lambda: chat_state(ReadingState.READ)() and idle()),
            ("25-code", self._show_code, always),
            ("26-does-not-fit", self._show_too_long, always),
            ("27-out-of-memory-scripted", self._run_out_of_memory, window.banner.isVisible),
            ("28-stopping-scripted", self._be_stopping, always),
            ("29-unloaded", self._unload, window.banner.isVisible),
            ("30-low-welcome", self._make_low, always),
            (ERROR_STEP, self._have_no_model, window.banner.restart.isVisible),
        ]

    def _open_models(self) -> None:
        self._application.chat_dialog.hide()
        self._application.window.models_action.trigger()

    def _models_are_listed(self) -> bool:
        return bool(self._application.models.recommended) and not self._application.models.is_listing

    def _open_first_run(self) -> None:
        """What it looks like before the models are timed, which takes minutes."""
        self._application.models_dialog.hide()
        self._application.first_run.show()

    def _open_link(self) -> None:
        self._application.first_run.hide()
        self._link = LinkDialog(QUrl("https://example.org/geese?hour=noon"), self._application.window)
        self._link.show()

    def _make_narrow(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        self._application.window.banner.hide()

    def _ask_by_section(self) -> None:
        chat = self._application.chats.current
        self._application.controller.go_by_section(chat.exchanges[-1].id)

    def _read_right_to_left(self) -> None:
        self._application.controller.new_chat()
        self._application.controller.read([TextSource("כרך ראשון · المجلد الأول", RIGHT_TO_LEFT)])

    def _show_code(self) -> None:
        """Models of this size write no code: what is shown is a note, put there as a chat from disk would be."""
        self._application.controller.new_chat()
        chat = self._application.chats.current
        exchange = chat.add_exchange("How do I count the geese?")
        chat.set_title(exchange.question)
        exchange.answer, exchange.code = CODE_ANSWER, colour_code(CODE_ANSWER)
        exchange.state = ExchangeState.DONE
        chat.exchange_changed.emit(exchange.id)

    def _show_too_long(self) -> None:
        """As on a PC with less RAM, where it is read anyway."""
        chat = self._show_longest_chat()
        chat.reading.fit_tokens = chat.reading.tokens_total // 2
        chat.reading_changed.emit()
        self._application.window.conversation.transcript.verticalScrollBar().setValue(0)

    def _make_low(self) -> None:
        self._application.controller.new_chat()
        self._application.window.banner.hide()
        self._application.window.chart_action.trigger()

    def _run_out_of_memory(self) -> None:
        """As after a document was added that is predicted not to fit, nor all of it with any plan but the smallest."""
        self._show_longest_chat()
        message = "The document has 1,612,300 tokens, which need 16.5 GB of RAM; about 734,000 tokens fit."
        error = OutOfMemoryError(message, 1_612_300, is_predicted=True, fit_tokens=734_000)
        request = Read(self._application.chats.current.number, (TextSource("The letters, all volumes", ""),))
        smaller = SmallerPlan(store_dtype="int8", need_bytes=5_600_000_000, free_bytes=7_500_000_000)
        failed = Failed(message, error, smaller)
        self._application.controller.noticed.emit(notice_of_failure(request, failed, LoadModel()))

    def _be_stopping(self) -> None:
        """As long as the engine is within a step of an answer."""
        self._application.window.banner.hide()
        chat = self._show_longest_chat()
        chat.add_exchange(QUESTION).answer = "The document says: A penciled line gives the Golden Crumb"
        self._set_writing(chat, EngineState.STOPPING, ExchangeState.WRITING)

    def _unload(self) -> None:
        self._set_writing(self._application.chats.current, EngineState.IDLE, ExchangeState.DONE)
        self._application.controller.unload_model()

    def _set_writing(self, chat: Chat, engine: EngineState, state: ExchangeState) -> None:
        chat.exchanges[-1].state = state
        chat.exchange_changed.emit(chat.exchanges[-1].id)
        self._application.status.set_state(engine, chat.number if engine in BUSY else None)

    def _have_no_model(self) -> None:
        """As where the built-in model cannot be loaded either."""
        self._application.window.chart_action.trigger()
        self._application.status.set_model(None)
        self._application.status.set_state(EngineState.ERROR)
        message = "The embedded model is missing from resources/models/kiv-demo; install KIV Desktop again."
        line = f"The model could not be loaded. {message}"
        self._application.controller.noticed.emit(Notice(NoticeKind.ERROR, line))

    def _show_longest_chat(self) -> Chat:
        chats = self._application.chats
        chats.show(max(map(chats.at, range(chats.rowCount())), key=lambda chat: chat.reading.tokens_total))
        return chats.current

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
        bar = self._application.window.document.find_bar
        bar.open()
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
        if not self._steps:
            self._leave(0)
            return
        if self._application.status.state is EngineState.ERROR and self._steps[0][0] != ERROR_STEP:
            print(f"kiv: {self._application.window.banner.text.text()}", file=sys.stderr)
            self._leave(1)
            return
        name, begin, is_there = self._steps[0]
        if not self._begun:
            begin()
            self._begun = True
        if self._looks == 0 and not is_there():
            self._check_length(name)
            return
        self._looks += 1
        if self._looks >= self._looks_at(name):
            if name in self._taken:
                self._take(name)
            self._steps.pop(0)
            self._looks, self._begun = 0, False

    def _looks_at(self, name: str) -> int:
        """Some states do not wait for a picture, and some need none."""
        passing = name in ("01-loading", "04-reading", "07-writing")
        return 1 if passing or name not in self._taken else SETTLE_LOOKS

    def _check_length(self, name: str) -> None:
        """Reading that has ended cannot be stopped any more."""
        if name == "05-stopped" and self._application.chats.current.reading.state is ReadingState.READ:
            print(
                f"kiv: {self._tokens} tokens are read before a picture is taken; give more --tokens.", file=sys.stderr
            )
            self._leave(1)

    def _take(self, name: str) -> None:
        self._clock.stop()
        contrast = CONTRAST if name in IN_CONTRAST else {}
        for theme, colors in (THEMES | contrast).items():
            self._application.theme.choose(colors)
            for size in [NARROW] if name == "22-narrow" else SIZES:
                self._application.window.resize(size)
                for _turn in range(TURNS):  # what follows another theme a slice at a time
                    QApplication.processEvents()
                picture = self._shown().grab()
                path = self._folder / f"{name}-{theme}-{size.width()}.png"
                if not picture.save(str(path)):
                    print(f"kiv: {path} cannot be written.", file=sys.stderr)
                    self._leave(1)
                    return
        print(name, flush=True)
        self._clock.start()

    def _shown(self) -> QWidget:
        shown = (each for each in self._application.window.findChildren(QDialog) if each.isVisible())
        return next(shown, self._application.window)

    def _leave(self, code: int) -> None:
        self._clock.stop()
        self._application.close()
        self._qt.exit(code)


def nothing() -> None:
    """The state comes by itself."""


def always() -> bool:
    """The state is there at once."""
    return True
