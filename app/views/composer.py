"""Where questions are typed, and long texts pasted."""

from typing import Final

from PySide6.QtCore import QEvent, QMimeData, Qt, Signal, Slot
from PySide6.QtGui import QFocusEvent, QKeyEvent, QResizeEvent, QTextCursor
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from app.models.chat import Chat
from app.models.chat_list import ChatList
from app.models.engine_status import EngineState, EngineStatus
from app.views.icons import IconButton
from app.views.paragraphs import align_by_script
from app.views.theme import GAP, Theme

PASTE_CHARACTERS: Final = 2_000
"""A longer text that is pasted is a document."""
MAX_LINES: Final = 8
MARGIN: Final = 2
SEND_PIXELS: Final = 36


class QuestionEdit(QPlainTextEdit):
    """Grows with its text. Enter sends, Shift+Enter begins a line.

    Signals:
        entered: the user wants to send.
        left: Esc was pressed, where that is wanted.
        long_text_pasted: a text too long for a question.
        focus_changed: whether it has the keyboard.
    """

    entered = Signal()
    left = Signal()
    long_text_pasted = Signal(str)
    focus_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None, *, takes_escape: bool = False) -> None:
        super().__init__(parent)
        self._takes_escape = takes_escape
        self.setAcceptDrops(False)  # the window takes what is dropped
        self.setTabChangesFocus(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.document().setDocumentMargin(0)
        self.setViewportMargins(0, MARGIN, 0, MARGIN)  # above as below: beside buttons, the words stand in the middle
        align_by_script(self.document())
        self.textChanged.connect(self._fit)
        self._fit()

    @Slot()
    def _fit(self) -> None:
        lines = round(self.document().size().height())  # QPlainTextEdit's layout counts lines
        policy = Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(policy.ScrollBarAsNeeded if lines > MAX_LINES else policy.ScrollBarAlwaysOff)
        self.setFixedHeight(max(1, min(lines, MAX_LINES)) * self.fontMetrics().lineSpacing() + 2 * MARGIN)

    # -- Qt ------------------------------------------------------------------------------------------------------

    def event(self, event: QEvent) -> bool:
        if self._takes_escape and event.type() == QEvent.Type.ShortcutOverride and is_escape(event):
            event.accept()  # it is not the window's then
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self._takes_escape and is_escape(event):
            self.left.emit()
            return
        is_enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if is_enter and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.entered.emit()
        else:
            super().keyPressEvent(event)

    def insertFromMimeData(self, source: QMimeData) -> None:
        if len(source.text()) > PASTE_CHARACTERS:
            self.long_text_pasted.emit(source.text())
        else:
            super().insertFromMimeData(source)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._fit()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.focus_changed.emit(True)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.focus_changed.emit(False)


def is_escape(event: QEvent) -> bool:
    """Whether a key event is about Esc."""
    return isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape


class Composer(QWidget):
    """The question, the button that sends it or stops what runs, and one line about the engine's state.

    Each chat has a question of its own while it is typed.

    Signals:
        asked: a question.
        stop_wanted: end what runs.
        open_wanted: choose a document.
        text_pasted: a long text, to be read as a document.
    """

    asked = Signal(str)
    stop_wanted = Signal()
    open_wanted = Signal()
    text_pasted = Signal(str)

    def __init__(self, theme: Theme, status: EngineStatus, chats: ChatList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._status, self._chats = status, chats
        self._chat: Chat | None = None
        self._theme = theme
        self.edit = QuestionEdit()
        self.edit.setPlaceholderText(self.tr("Ask about the document"))
        self.edit.setAccessibleName(self.tr("Question"))
        self.open = IconButton(theme, "open", self.tr("Open a document (Ctrl+O)"))
        self.send = IconButton(theme, "send", self.tr("Send (Enter)"), role="on_accent")
        self.send.setObjectName("send")
        self.send.setFixedSize(SEND_PIXELS, SEND_PIXELS)
        self.hint = QLabel()
        self.hint.setObjectName("caption")
        self.hint.setWordWrap(True)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._arrange()
        self._connect()
        self._on_current_changed()

    def _arrange(self) -> None:
        self._frame = QFrame()
        self._frame.setObjectName("composer")
        row = QHBoxLayout(self._frame)
        row.setContentsMargins(GAP, GAP, GAP, GAP)
        row.setSpacing(GAP)
        row.addWidget(self.open, 0, Qt.AlignmentFlag.AlignBottom)
        row.addWidget(self.edit, 1, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self.send, 0, Qt.AlignmentFlag.AlignBottom)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, GAP, 0, 0)
        column.setSpacing(GAP // 2)
        column.addWidget(self._frame)
        column.addWidget(self.hint)

    def _connect(self) -> None:
        self.edit.entered.connect(self._on_entered)
        self.edit.long_text_pasted.connect(self.text_pasted)
        self.edit.focus_changed.connect(self._on_focus_changed)
        self.edit.textChanged.connect(self._on_typed)
        self.open.clicked.connect(self.open_wanted)
        self.send.clicked.connect(self._on_clicked)
        self._status.changed.connect(self._on_status_changed)
        self._chats.current_changed.connect(self._on_current_changed)

    @Slot()
    def _on_current_changed(self) -> None:
        if self._chat is not None:
            self._chat.draft_changed.disconnect(self._show_draft)
        self._chat = self._chats.current
        self._chat.draft_changed.connect(self._show_draft)
        self._show_draft()
        self._on_status_changed()

    @Slot()
    def _show_draft(self) -> None:
        assert self._chat is not None
        if (draft := self._chat.draft) != self.edit.toPlainText():
            self.edit.setPlainText(draft)
            self.edit.moveCursor(QTextCursor.MoveOperation.End)

    @Slot()
    def _on_typed(self) -> None:
        self._chats.current.set_draft(self.edit.toPlainText())
        self._show_button()

    @property
    def _stops(self) -> bool:
        """With nothing typed, the button stops what runs."""
        return self._status.is_busy and not self.edit.toPlainText().strip()

    @Slot()
    def _on_entered(self) -> None:
        if text := self.edit.toPlainText().strip():
            self.edit.clear()
            self.asked.emit(text)

    @Slot()
    def _on_clicked(self) -> None:
        if self._stops:
            self.stop_wanted.emit()
        else:
            self._on_entered()

    @Slot(bool)
    def _on_focus_changed(self, active: bool) -> None:
        show_active(self._frame, active)

    @Slot()
    def _on_status_changed(self) -> None:
        self._show_button()
        self.hint.setText(self._hint())

    def _show_button(self) -> None:
        if self._stops:
            self.send.set_icon("stop", self.tr("Stop (Esc)"))
        else:
            self.send.set_icon("send", self.tr("Send (Enter)"))
        stopping = self._status.state is EngineState.STOPPING
        self.send.setEnabled(bool(self.edit.toPlainText().strip()) or (self._stops and not stopping))

    @property
    def _is_busy_elsewhere(self) -> bool:
        return self._status.busy_chat not in (None, self._chats.current.number)

    def _hint(self) -> str:
        match self._status.state:
            case EngineState.ABSENT:
                return self.tr("No model is loaded; a question loads it first")
            case EngineState.LOADING:
                return self.tr("The model is loading; you can type already, your question is sent when it is ready")
            case EngineState.READING | EngineState.GENERATING if self._is_busy_elsewhere:
                return self.tr("Busy in another chat; a question waits for it. Esc stops it")
            case EngineState.READING:
                return self.tr("Reading; a question is answered once everything is read. Esc stops")
            case EngineState.GENERATING:
                return self.tr("Writing the answer. Esc stops")
            case EngineState.STOPPING:
                return self.tr("Stopping …")
            case EngineState.ERROR:
                return self.tr("There is no model; see the message above")
            case EngineState.IDLE:
                return self._model_line()

    def _model_line(self) -> str:
        model = self._status.model
        if model is None or model.name != "demo":
            return model.name if model else ""
        return self.tr("Built-in demo model: it quotes, and is often wrong")


def show_active(frame: QFrame, active: bool) -> None:
    """Show at its edge whether the field in a frame has the keyboard."""
    frame.setProperty("active", active)
    frame.style().unpolish(frame)
    frame.style().polish(frame)
