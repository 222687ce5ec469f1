"""The centre: what was asked and answered, or how to begin."""

import time
from collections import deque
from typing import Final

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.figures import as_pages, as_round_tokens
from app.models.chat import Chat, Exchange
from app.models.chat_list import ChatList
from app.models.engine_status import EngineState, EngineStatus
from app.views.chat_search import FoundPlace
from app.views.conversation_find import ConversationFindBar
from app.views.document_card import DocumentCard
from app.views.exchange_stack import TEXT_WIDTH, ExchangeStack
from app.views.exchange_view import ExchangeView
from app.views.icons import IconLabel
from app.views.theme import GAP, Theme

SAMPLE_TOKENS: Final = 100_000
EXCHANGES_AT_ONCE: Final = 10
"""So many of the newest are shown, or around an older place that is gone to: each takes some milliseconds to make."""
HIGH_LINES: Final = 28
WIDE_LINES: Final = 32
"""From so many times a line's height on, there is room for all of the welcome, and for its buttons side by side."""
FIND_S: Final = 0.006
"""So long exchanges are shown or marked, before the window gets its turn."""
FOUND_LINES: Final = 4
"""So many lines are seen around a place that is gone to."""
ABOVE: Final = 2
"""What stands above the exchanges: the card, and the button for earlier ones."""


class Welcome(QScrollArea):
    """What an empty chat shows. In little room it is closer together, and in less it scrolls.

    Signals:
        open_wanted: choose a document.
        sample_wanted: read the sample archive of so many tokens.
        models_wanted: choose another model.
    """

    open_wanted = Signal()
    sample_wanted = Signal(int)
    models_wanted = Signal()

    def __init__(self, theme: Theme, status: EngineStatus, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._status = status
        self.models = QPushButton(self.tr("What else can this PC run?"))
        self.models.setObjectName("link")
        self.models.setAccessibleName(self.tr("Models for this PC"))
        self.models.clicked.connect(self.models_wanted)
        self.open = QPushButton(self.tr("Open a document …"))
        self.open.setObjectName("primary")
        self.open.setAccessibleName(self.tr("Open a document"))
        self.open.clicked.connect(self.open_wanted)
        self.sample = QPushButton(self.tr("Try the sample archive"))
        self.sample.setAccessibleName(self.tr("Try the sample archive"))
        self.sample.setToolTip(self.tr("A made-up town's papers, {0:,} tokens").format(SAMPLE_TOKENS))
        self.sample.clicked.connect(self._on_sample)
        self.room = self._line("caption")
        self._arrange(self._make_area(theme))
        status.changed.connect(self._on_status_changed)
        self._on_status_changed()

    def _make_area(self, theme: Theme) -> QFrame:
        headline = self._line("headline", self.tr("Drop a whole book here"))
        kinds = self.tr(
            "PDF, EPUB, DOCX, text, code, a folder, or paste a text below.\nIt is read from beginning to end."
        )
        self._icon = IconLabel(theme, "document", size=48)
        self._buttons = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._buttons.setSpacing(GAP)
        self._buttons.addStretch(1)
        self._buttons.addWidget(self.open)
        self._buttons.addWidget(self.sample)
        self._buttons.addStretch(1)
        area = QFrame()
        area.setObjectName("droparea")
        area.setMaximumWidth(TEXT_WIDTH)
        self._column = QVBoxLayout(area)
        centre = Qt.AlignmentFlag.AlignHCenter
        self._column.addWidget(self._icon, 0, centre)
        self._column.addWidget(headline)
        self._column.addWidget(self._line("muted", kinds))
        self._column.addLayout(self._buttons)
        self._column.addWidget(self.room)
        self._column.addWidget(self.models, 0, centre)
        return area

    def _arrange(self, area: QFrame) -> None:
        whole = QWidget()
        whole.setObjectName("conversation")
        row = QHBoxLayout()  # in a column, what may not grow would stand on the left
        row.addWidget(area, 1)
        rows = QVBoxLayout(whole)
        rows.setContentsMargins(3 * GAP, GAP, 3 * GAP, GAP)
        rows.addStretch(1)
        rows.addLayout(row)
        rows.addStretch(1)
        self.setWidget(whole)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    @staticmethod
    def _line(name: str, text: str = "") -> QLabel:
        label = QLabel(text)
        label.setObjectName(name)
        label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        label.setWordWrap(True)
        return label

    def _space(self, *, is_high: bool, is_wide: bool) -> None:
        """Leave out what is not needed where there is little room."""
        self._icon.setVisible(is_high)
        above = 6 * GAP if is_high else 2 * GAP
        self._column.setContentsMargins(2 * GAP, above, 2 * GAP, above)
        self._column.setSpacing(2 * GAP if is_high else GAP)
        direction = QBoxLayout.Direction
        self._buttons.setDirection(direction.LeftToRight if is_wide else direction.TopToBottom)

    @Slot()
    def _on_sample(self) -> None:
        self.sample_wanted.emit(SAMPLE_TOKENS)

    @Slot()
    def _on_status_changed(self) -> None:
        model, is_loading = self._status.model, self._status.state is EngineState.LOADING
        without = self.tr("The model is loading") if is_loading else self.tr("No model is loaded")
        room = self.tr("This model: up to about {0} tokens on this PC, or {1}")
        fit = model.fit_tokens if model else 0
        self.room.setText(room.format(as_round_tokens(fit), as_pages(fit)) if model else without)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        lines = self.fontMetrics().lineSpacing()
        self._space(is_high=self.height() >= HIGH_LINES * lines, is_wide=self.width() >= WIDE_LINES * lines)


class Later(QWidget):
    """Stands below the exchanges where these are not the newest ones.

    Signals:
        wanted: show some more.
        newest_wanted: show the newest.
    """

    wanted = Signal()
    newest_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.more, self.newest = QPushButton(), QPushButton(self.tr("To the newest"))
        self.more.setAccessibleName(self.tr("Show later questions"))
        self.newest.setAccessibleName(self.tr("To the newest questions"))
        self.more.clicked.connect(self.wanted)
        self.newest.clicked.connect(self.newest_wanted)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GAP)
        row.addStretch(1)
        for button in (self.more, self.newest):
            button.setObjectName("small")
            row.addWidget(button)
        row.addStretch(1)
        self.hide()

    def tell(self, count: int) -> None:
        """So many newer exchanges are not shown."""
        self.more.setText(self.tr("Show later questions ({0:,})").format(count))
        self.setVisible(count > 0)


class Transcript(QScrollArea):
    """The documents' card and the exchanges of one chat. Stays at the end while the end grows.

    Signals:
        passage_chosen: number of the exchange, number of the passage.
        claim_chosen: number of the exchange, number of the claim.
        again_wanted: number of the exchange to answer again.
        more_wanted: number of the exchange to answer again, and how many places each word shall draw on.
        sections_wanted: number of the exchange to answer section by section.
        edited: number of the exchange, and what to ask in its place.
        stop_wanted, continue_wanted, read_again_wanted, store_wanted: the card's buttons.
    """

    passage_chosen = Signal(int, int)
    claim_chosen = Signal(int, int)
    again_wanted = Signal(int)
    more_wanted = Signal(int, int)
    sections_wanted = Signal(int)
    edited = Signal(int, str)
    stop_wanted = Signal()
    continue_wanted = Signal()
    read_again_wanted = Signal()
    store_wanted = Signal(str)

    def __init__(self, theme: Theme, status: EngineStatus, chat: Chat, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._chat = chat
        self._at_end = True
        self._wanted = EXCHANGES_AT_ONCE
        self._later = 0
        self._newest = -1
        self.exchanges: list[ExchangeView] = []
        self._stack = ExchangeStack(theme)
        self.earlier = QPushButton(self._stack)
        self.earlier.setObjectName("small")
        self.earlier.setAccessibleName(self.tr("Show earlier questions"))
        self.earlier.clicked.connect(self.show_earlier)
        self.later = Later(self._stack)
        self.later.wanted.connect(self.show_later)
        self.later.newest_wanted.connect(self.show_newest)
        self.card = DocumentCard(theme, status, chat, self._stack)
        self.card.stop_wanted.connect(self.stop_wanted)
        self.card.continue_wanted.connect(self.continue_wanted)
        self.card.again_wanted.connect(self.read_again_wanted)
        self.card.store_wanted.connect(self.store_wanted)
        self._trim = QTimer(self, singleShot=True)
        self._trim.timeout.connect(self._show_wanted)
        self._found: tuple[str, FoundPlace | None] = ("", None)
        self._to_mark: deque[ExchangeView] = deque()
        self._is_to_go = False
        self._to_fill = 0
        self._find = QTimer(self, interval=0)
        self._find.timeout.connect(self._on_find)
        self._arrange()
        self._show_wanted()
        chat.path_changed.connect(self._on_path_changed)
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        self.verticalScrollBar().rangeChanged.connect(self._on_range_changed)

    def _arrange(self) -> None:
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName(self.tr("Conversation"))
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._stack.insert(0, self.card)
        self._stack.insert(1, self.earlier)
        self._stack.insert(ABOVE, self.later)
        self.setWidget(self._stack)

    @Slot()
    def _on_path_changed(self) -> None:
        """Show the path as it is now. The oldest exchange, if it is one too many, goes a moment later: all others move
        then and are painted, which would be felt together with what is built for a new question.
        """
        newest, was_newest = max(self._chat.all_exchanges, default=-1), self._newest
        self._newest = newest
        if self._later and newest > was_newest:  # something was asked
            self._later, self._wanted = 0, EXCHANGES_AT_ONCE
        self._later = max(0, min(self._later, len(self._chat.exchanges) - 1))
        path = self._chat.exchanges
        first, _last = self._range(path)
        oldest = [view.exchange_id for view in self.exchanges[:1]]
        self._show_wanted(one_more=oldest == [exchange.id for exchange in path[max(0, first - 1) : first]])
        self._trim.start()

    def _range(self, path: list[Exchange]) -> tuple[int, int]:
        """Of the path's exchanges, those from a number up to another are shown."""
        last = len(path) - self._later
        return max(0, last - self._wanted), last

    @Slot()
    def _show_wanted(self, *, one_more: bool = False) -> None:
        """Show the exchanges that are wanted; those that are shown already stay, up to the first other one."""
        whole = self._chat.exchanges
        first, last = self._range(whole)
        first = max(0, first - one_more)
        path = [exchange.id for exchange in whole[first:last]]
        shown = [view.exchange_id for view in self.exchanges]
        gone = shown.index(path[0]) if path and path[0] in shown else len(shown)
        self._remove(0, gone)
        pairs = enumerate(zip(path, shown[gone:], strict=False))
        same = next((place for place, (one, other) in pairs if one != other), min(len(path), len(self.exchanges)))
        self._remove(same, len(self.exchanges))
        for exchange_id in path[same:]:
            self._add(exchange_id)
        for view in self.exchanges:
            view.show_branches()
        self.earlier.setText(self.tr("Show earlier questions ({0:,})").format(first))
        self.earlier.setVisible(first > 0)
        self.later.tell(self._later)

    def _remove(self, first: int, last: int) -> None:
        for view in self.exchanges[first:last]:
            self._stack.remove(view)
        del self.exchanges[first:last]

    @Slot()
    def show_earlier(self) -> None:
        """Show some more of the older exchanges, above what is shown, which stays where it is."""
        self._show_before(EXCHANGES_AT_ONCE)

    def _show_before(self, count: int) -> None:
        self._show_wanted()
        bar, path = self.verticalScrollBar(), self._chat.exchanges
        from_end = bar.maximum() - bar.value()
        before, _last = self._range(path)
        self._wanted += count
        hidden, _last = self._range(path)
        for place, exchange in enumerate(path[hidden:before]):
            self._add(exchange.id, place)
        self._show_wanted()
        self._at_end = False
        self._settle()
        bar.setValue(bar.maximum() - from_end)

    @Slot()
    def show_later(self) -> None:
        """Show some more of the newer exchanges, below what is shown."""
        self._show_after(EXCHANGES_AT_ONCE)

    def _show_after(self, count: int) -> None:
        count = min(count, self._later)
        value = self.verticalScrollBar().value()
        self._later, self._wanted = self._later - count, self._wanted + count
        self._show_wanted()
        self._at_end = False
        self._settle()
        self.verticalScrollBar().setValue(value)

    @Slot()
    def show_newest(self) -> None:
        """Leave an older place that was gone to."""
        if self._later:
            self._later, self._wanted = 0, EXCHANGES_AT_ONCE
            self._show_wanted()
            self._settle()
            self.verticalScrollBar().setValue(self.verticalScrollBar().maximum())

    def _settle(self) -> None:
        """Place what is new: an answer knows its height when it has its width."""
        self._stack.arrange()
        self._stack.arrange()

    def _add(self, exchange_id: int, place: int | None = None) -> None:
        view = ExchangeView(self._theme, self._chat, exchange_id, self._stack)
        view.grown.connect(self._stack.arrange)
        view.passage_chosen.connect(self.passage_chosen)
        view.claim_chosen.connect(self.claim_chosen)
        view.again_wanted.connect(self.again_wanted)
        view.more_wanted.connect(self.more_wanted)
        view.sections_wanted.connect(self.sections_wanted)
        view.edited.connect(self.edited)
        place = len(self.exchanges) if place is None else place
        self.exchanges.insert(place, view)
        self._stack.insert(ABOVE + place, view)
        if self._found[0]:
            self._to_mark.append(view)
            self._find.start()
        view.show()
        self._at_end = True

    # -- words that are looked for -------------------------------------------------------------------------------

    @property
    def first_seen(self) -> int:
        """The id of the first exchange of which something is on screen; 0 where there is none."""
        top = self.verticalScrollBar().value()
        return next((view.exchange_id for view in self.exchanges if view.geometry().bottom() > top), 0)

    def show_found(self, words: str, place: FoundPlace | None, *, go: bool) -> None:
        """Mark all places of words, "" for none, and one more than the others; `go` there, whatever must be shown for
        that. All of it bit by bit: each exchange takes some milliseconds.
        """
        if (words, place) != self._found:
            self._found = (words, place)
            self._to_mark = deque(self.exchanges)
        self._is_to_go = go
        self._find.start()

    @Slot()
    def _on_find(self) -> None:
        """Show and mark what is gone to, then what stands around it, then mark the others, for some milliseconds."""
        end = time.perf_counter() + FIND_S
        while self._is_to_go or self._to_fill or self._to_mark:
            if self._is_to_go:
                self._go()
            elif self._to_fill:
                self._to_fill -= 1
                (self._show_after if self._to_fill % 2 else self._show_before)(1)
            else:
                self._mark(self._to_mark.popleft())
            if time.perf_counter() >= end:
                return
        self._find.stop()

    def _mark(self, view: ExchangeView) -> None:
        words, place = self._found
        if view in self.exchanges:
            view.mark(words, place if place and place.exchange == view.exchange_id else None)

    def _go(self) -> None:
        """Go to the place that was found. What is not shown yet is shown in place of all others: a long chat has too
        many on the way.
        """
        self._is_to_go = False
        path, place = [exchange.id for exchange in self._chat.exchanges], self._found[1]
        if place is None or place.exchange not in path:
            return
        if place.exchange not in [view.exchange_id for view in self.exchanges]:
            self._later, self._wanted = len(path) - path.index(place.exchange) - 1, 1
            self._to_fill = EXCHANGES_AT_ONCE - 1
            self._show_wanted()
            self._at_end = False
        view = next(view for view in self.exchanges if view.exchange_id == place.exchange)
        self._mark(view)
        self._settle()
        at, room = view.mapTo(self._stack, view.middle_of(place)), FOUND_LINES * self.fontMetrics().lineSpacing()
        self.ensureVisible(at.x(), at.y(), 0, min(room, self.viewport().height() // 3))

    @Slot(int)
    def _on_scrolled(self, value: int) -> None:
        self._at_end = value >= self.verticalScrollBar().maximum() - GAP

    @Slot(int, int)
    def _on_range_changed(self, _low: int, high: int) -> None:
        if self._at_end:
            self.verticalScrollBar().setValue(high)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._stack.set_room(self.width(), self.viewport().size())


class ConversationView(QWidget):
    """The transcript of the chat that is shown, or the welcome while it is empty.

    Signals:
        as those of Welcome and Transcript.
    """

    open_wanted = Signal()
    models_wanted = Signal()
    sample_wanted = Signal(int)
    passage_chosen = Signal(int, int)
    claim_chosen = Signal(int, int)
    again_wanted = Signal(int)
    more_wanted = Signal(int, int)
    sections_wanted = Signal(int)
    edited = Signal(int, str)
    stop_wanted = Signal()
    continue_wanted = Signal()
    read_again_wanted = Signal()
    store_wanted = Signal(str)

    def __init__(self, theme: Theme, status: EngineStatus, chats: ChatList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self._status, self._chats = theme, status, chats
        self.welcome = Welcome(theme, status, self)
        self.welcome.open_wanted.connect(self.open_wanted)
        self.welcome.sample_wanted.connect(self.sample_wanted)
        self.welcome.models_wanted.connect(self.models_wanted)
        self._transcripts: dict[int, Transcript] = {}
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self.find_bar = ConversationFindBar(theme, chats)
        self.find_bar.found_changed.connect(self._on_found_changed)
        self._layout.addWidget(self.find_bar)
        self._layout.addWidget(self.welcome, 1)
        self.setMinimumHeight(1)  # it scrolls; what is below it does not
        chats.current_changed.connect(self._on_current_changed)
        chats.rowsRemoved.connect(self._on_current_changed)
        self._on_current_changed()

    @property
    def transcript(self) -> Transcript:
        """That of the chat that is shown."""
        return self._transcripts[self._chats.current.number]

    def open_find(self) -> None:
        """Search in what was asked and answered, from what is on screen on."""
        self.find_bar.open_at(self.transcript.first_seen)

    @Slot(str, object, bool)
    def _on_found_changed(self, words: str, place: FoundPlace | None, go: bool) -> None:
        for number, transcript in self._transcripts.items():
            is_shown = number == self._chats.current.number
            transcript.show_found(words if is_shown else "", place if is_shown else None, go=go and is_shown)

    @Slot()
    def _on_current_changed(self) -> None:
        chat = self._chats.current
        for number in [number for number in self._transcripts if self._chats.numbered(number) is None]:
            gone = self._transcripts.pop(number)
            gone.hide()
            gone.deleteLater()
        if chat.number not in self._transcripts:
            self._transcripts[chat.number] = self._make_transcript(chat)
        self._show_current()
        self.find_bar.follow()

    def _make_transcript(self, chat: Chat) -> Transcript:
        transcript = Transcript(self._theme, self._status, chat, self)
        transcript.passage_chosen.connect(self.passage_chosen)
        transcript.claim_chosen.connect(self.claim_chosen)
        transcript.again_wanted.connect(self.again_wanted)
        transcript.more_wanted.connect(self.more_wanted)
        transcript.sections_wanted.connect(self.sections_wanted)
        transcript.edited.connect(self.edited)
        transcript.stop_wanted.connect(self.stop_wanted)
        transcript.continue_wanted.connect(self.continue_wanted)
        transcript.read_again_wanted.connect(self.read_again_wanted)
        transcript.store_wanted.connect(self.store_wanted)
        chat.documents_changed.connect(self._show_current)
        chat.path_changed.connect(self._show_current)
        self._layout.addWidget(transcript, 1)
        return transcript

    @Slot()
    def _show_current(self) -> None:
        """The welcome while the chat is empty, else its transcript."""
        chat = self._chats.current
        self.welcome.setVisible(chat.is_empty)
        for number, transcript in self._transcripts.items():
            transcript.setVisible(number == chat.number and not chat.is_empty)

    @Slot()
    def copy_last(self) -> None:
        """Put the newest answer on the clipboard."""
        self.transcript.show_newest()
        if answered := [view for view in self.transcript.exchanges if view.has_answer]:
            answered[-1].copy_answer()

    @Slot()
    def answer_last_again(self) -> None:
        """Answer the newest question again, if it has been answered."""
        self.transcript.show_newest()
        if self.transcript.exchanges and self.transcript.exchanges[-1].is_over:
            self.transcript.exchanges[-1].again.click()
