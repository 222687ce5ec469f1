"""The card of a chat's documents: what they are, whether they fit, and how far they are read."""

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.figures import as_bytes, as_duration, as_rough_duration, as_round_tokens, as_unit
from app.models.chat import UNDER_WAY, Chat, ReadingState
from app.models.chat_list import plain_tip
from app.models.engine_status import EngineState, EngineStatus
from app.views.icons import IconLabel
from app.views.store_choice import StoreChoice
from app.views.theme import GAP, Theme
from app.views.title import Title


class DocumentCard(QFrame):
    """Names, exact tokens and RAM, progress with Stop and Continue.

    Signals:
        stop_wanted, continue_wanted, again_wanted: the buttons.
        store_wanted: where the documents shall lie, as in StoreKind.
    """

    stop_wanted = Signal()
    continue_wanted = Signal()
    again_wanted = Signal()
    store_wanted = Signal(str)

    def __init__(self, theme: Theme, status: EngineStatus, chat: Chat, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self._chat = chat
        self._status = status
        self._theme = theme
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setRange(0, 1_000)
        self.progress.setAccessibleName(self.tr("Reading progress"))
        self.state = QLabel()
        self.state.setObjectName("muted")
        self.facts = QLabel()
        self.beyond = QLabel()
        self.beyond.setObjectName("warning")
        self.notes = QLabel()
        self.notes.setObjectName("muted")
        for label in (self.state, self.facts, self.beyond, self.notes):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.stop = self._button(self.tr("Stop"), self.tr("Stop reading"))
        self.stop.clicked.connect(self.stop_wanted)
        self.resume = self._button("", "")
        self.resume.clicked.connect(self.continue_wanted)
        self.again = self._button(self.tr("Open now"), self.tr("Open the documents"))
        self.again.clicked.connect(self.again_wanted)
        self.stores = StoreChoice()
        self.stores.chosen.connect(self.store_wanted)
        self._names = QGridLayout()
        self._arrange()
        chat.documents_changed.connect(self._on_documents_changed)
        chat.reading_changed.connect(self._on_reading_changed)
        status.changed.connect(self._on_reading_changed)
        chat.path_changed.connect(self._on_reading_changed)
        chat.options_changed.connect(self._on_reading_changed)
        self._on_documents_changed()

    @staticmethod
    def _button(text: str, name: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName("small")
        button.setAccessibleName(name)
        return button

    def _arrange(self) -> None:
        self._names.setHorizontalSpacing(GAP)
        self._names.setVerticalSpacing(GAP // 2)
        self._names.setColumnStretch(1, 1)
        row = QHBoxLayout()
        row.setSpacing(GAP)
        row.addWidget(self.state, 1)
        row.addWidget(self.stop)
        row.addWidget(self.resume)
        row.addWidget(self.again)
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * GAP, 2 * GAP, 2 * GAP, 2 * GAP)
        column.setSpacing(GAP)
        column.addLayout(self._names)
        column.addWidget(self.facts)
        column.addWidget(self.beyond)
        column.addWidget(self.notes)
        column.addWidget(self.stores)
        column.addWidget(self.progress)
        column.addLayout(row)

    @Slot()
    def _on_documents_changed(self) -> None:
        while item := self._names.takeAt(0):
            if widget := item.widget():
                widget.deleteLater()
        for row, document in enumerate(self._chat.documents):
            name = Title(document.name)
            name.setObjectName("title")
            name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            name.setToolTip(plain_tip([document.name, *document.notes]))
            tokens = QLabel(self.tr("{0:,} tokens").format(document.place.tokens) if document.place else "")
            tokens.setObjectName("muted")
            self._names.addWidget(IconLabel(self._theme, "document"), row, 0)
            self._names.addWidget(name, row, 1)
            self._names.addWidget(tokens, row, 2, Qt.AlignmentFlag.AlignRight)
        self.setVisible(bool(self._chat.documents))
        self._on_reading_changed()

    @Slot()
    def _on_reading_changed(self) -> None:
        reading = self._chat.reading
        mine = self._status.busy_chat == self._chat.number
        self.state.setText(self._state_line())
        give_tone(self.state, "error" if reading.state is ReadingState.FAILED else "muted")
        self._show_facts()
        self.stores.show_offers(reading.offers, self._chat.store)
        is_reading = mine and self._status.state is EngineState.READING
        self.stop.setVisible(is_reading)
        self._show_resume()
        self.again.setVisible(reading.state is ReadingState.CLOSED)
        self.progress.setVisible(reading.state in UNDER_WAY or reading.state is ReadingState.STOPPED)
        if reading.state in (ReadingState.WAITING, ReadingState.OPENING):
            parsing = reading.parsing
            self.progress.setValue(1_000 * parsing.done // parsing.total if parsing and parsing.total else 0)
        elif reading.state is ReadingState.COUNTING:
            self.progress.setValue(round(1_000 * reading.share))
        else:
            self.progress.setValue(1_000 * reading.tokens_read // max(reading.tokens_to_read, 1))

    def _show_resume(self) -> None:
        """What Continue takes is known from what was read until the stop."""
        self.resume.setVisible(self._chat.can_continue)
        if self._chat.reading.is_beginning_only:
            self.resume.setText(self.tr("Read the rest") if self._fits else self.tr("Read the rest anyway"))
            self.resume.setAccessibleName(self.resume.text())
        elif rest_s := self._chat.reading.eta_s:
            self.resume.setText(self.tr("Continue · {0}").format(as_rough_duration(rest_s)))
            self.resume.setAccessibleName(self.tr("Continue reading: about {0}").format(as_rough_duration(rest_s)))
        else:
            self.resume.setText(self.tr("Continue"))
            self.resume.setAccessibleName(self.tr("Continue reading"))

    def _show_facts(self) -> None:
        """What the documents need, whether that is too much, and what is to be known of each, a line each."""
        notes = [f"{document.name}: {note}" for document in self._chat.documents for note in document.notes]
        lines = ((self.facts, self._needs_line()), (self.beyond, self._beyond_line()), (self.notes, "\n".join(notes)))
        for label, text in lines:
            label.setText(text)
            label.setVisible(bool(text))
        give_tone(self.facts, "muted" if self._fits else "warning")

    @property
    def _fits(self) -> bool:
        """Whether this PC can hold the documents, as far as that is known."""
        tokens = self._chat.reading.fit_tokens
        return tokens is None or self._chat.placed_tokens <= tokens

    def _needs_line(self) -> str:
        reading = self._chat.reading
        if reading.ram_bytes is None or reading.fit_tokens is None:
            return ""
        needs = self.tr("Needs {0}").format(as_bytes(reading.ram_bytes))
        fits = self.tr("fits this PC (up to about {0} tokens)")
        too_long = self.tr("does not fit this PC (up to about {0} tokens do)")
        told = (fits if self._fits else too_long).format(as_round_tokens(reading.fit_tokens))
        return f"{needs} · {told}"

    def _beyond_line(self) -> str:
        """A plain warning where the context is longer than what the model knows."""
        model = self._status.model
        if model is None or self._chat.placed_tokens <= model.trained_tokens:
            return ""
        line = self.tr("Longer than the {0:,} tokens that the model was trained on: it finds, but understands less")
        return line.format(model.trained_tokens)

    def _state_line(self) -> str:
        reading = self._chat.reading
        match reading.state:
            case ReadingState.WAITING:
                waits_for_model = self._status.model is None
                return self.tr("Waiting for the model") if waits_for_model else self.tr("Waiting for its turn")
            case ReadingState.OPENING:
                return self._opening_line()
            case ReadingState.COUNTING:
                return self.tr("Counting tokens: {0:.0f} %").format(100 * reading.share)
            case ReadingState.READING:
                return self._progress_line()
            case ReadingState.READ if reading.is_beginning_only:
                read = self.tr("The first {0:,} of {1:,} tokens are read. The rest is not: answers know nothing of it")
                return read.format(reading.tokens_read, reading.tokens_total)
            case ReadingState.STOPPED:
                read = self.tr("{0:,} of {1:,} tokens read. Ask now, or continue")
                return read.format(reading.tokens_read, reading.tokens_total)
            case ReadingState.READ:
                opened = self.tr("All {0:,} tokens opened; read before")
                done = opened if reading.opened else self.tr("All {0:,} tokens read in {1}")
                return done.format(reading.tokens_total, as_duration(reading.seconds))
            case ReadingState.CLOSED:
                return reading.message or self._closed_line()
            case ReadingState.FAILED | ReadingState.NONE:
                return reading.message

    def _closed_line(self) -> str:
        if first := self._chat.options.first_tokens:
            return self.tr("Not in memory; the first {0:,} tokens are opened with your next question").format(first)
        return self.tr("Not in memory; opened with your next question")

    def _opening_line(self) -> str:
        parsing = self._chat.reading.parsing
        if parsing is None:
            return self.tr("Opening")
        if not parsing.total:
            return self.tr("Opening {0}").format(parsing.document)
        opening = self.tr("Opening {0}: {1:,} of {2:,} {3}")
        return opening.format(parsing.document, parsing.done, parsing.total, as_unit(parsing.unit))

    def _progress_line(self) -> str:
        reading = self._chat.reading
        if not reading.tokens_total:
            return self.tr("Reading")
        wanted = reading.tokens_to_read
        whole = self.tr("{0:,} of {1:,} tokens")
        beginning = self.tr("{0:,} of the first {1:,} tokens; the rest, to {2:,}, is not read")
        done = (whole if wanted == reading.tokens_total else beginning).format(
            reading.tokens_read, wanted, reading.tokens_total
        )
        if reading.eta_s is None:  # nothing is read yet
            told = self.tr("about {0} to read").format(as_rough_duration(reading.read_s)) if reading.read_s else ""
            return f"{done} · {told}" if told else done
        rate = self.tr("{0:,.0f} tokens/s").format(reading.tokens_per_s)
        return f"{done} · {rate} · " + self.tr("{0} left").format(as_duration(max(1.0, reading.eta_s)))


def give_tone(label: QLabel, name: str) -> None:
    """Give a label the colour that the style sheet has for a name."""
    if name != label.objectName():
        label.setObjectName(name)
        label.style().polish(label)
