"""A chat: its documents, how far they are read, and what was asked and answered."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from PySide6.QtCore import QObject, Signal

from app.code_colours import ColouredCode
from app.document_text import DocumentText
from app.evidence import Evidence, bin_of
from app.quote_check import Claim, Place
from app.reports import DocumentPlace, GoingBack, SectionProgress, StoreOffer
from app.requests import Source, TextSource
from app.settings import AnswerSettings, ChatOptions, StoreKind, store_kind
from kiv_engine.config import KIVConfig
from kiv_engine.events import AnswerFinished, ParseProgress, Passage

TITLE_CHARACTERS: Final = 60
NAME_CHARACTERS: Final = 24
"""Of a pasted text, its first words are its name."""
BEGINNING_CHARACTERS: Final = 1_000


class ReadingState(Enum):
    """How far the documents of a chat are. READ: as far as they are to be. CLOSED: once, and not in memory now."""

    NONE = "none"
    WAITING = "waiting"
    OPENING = "opening"
    COUNTING = "counting"
    READING = "reading"
    STOPPED = "stopped"
    CLOSED = "closed"
    READ = "read"
    FAILED = "failed"


UNDER_WAY = frozenset({ReadingState.WAITING, ReadingState.OPENING, ReadingState.COUNTING, ReadingState.READING})


@dataclass
class Reading:
    """How far the documents are read.

    Attributes:
        parsing: how far a file is turned into text; None unless one is.
        share: of the characters turned into tokens, while counting.
        first_tokens: the engine is to read, or has read, only so many; 0 is all.
        ram_bytes, fit_tokens: what all documents need, and how long a context fits; None until they are counted.
        read_s: about how long reading takes, told before it begins; None until then.
        message: why reading failed.
        again: the documents were known before; whatever becomes of reading them, they stay.
        opened: what is in memory had been read before, and was only opened.
        offers: the ways in which the documents can be kept, once they are counted.
    """

    state: ReadingState = ReadingState.NONE
    parsing: ParseProgress | None = None
    share: float = 0.0
    first_tokens: int = 0
    tokens_read: int = 0
    tokens_total: int = 0
    tokens_per_s: float = 0.0
    eta_s: float | None = None
    seconds: float = 0.0
    ram_bytes: int | None = None
    fit_tokens: int | None = None
    read_s: float | None = None
    message: str = ""
    again: bool = False
    opened: bool = False
    offers: tuple[StoreOffer, ...] = ()

    @property
    def tokens_to_read(self) -> int:
        """How far the documents are to be read."""
        return min(self.tokens_total, self.first_tokens or self.tokens_total)

    @property
    def is_beginning_only(self) -> bool:
        """Whether the documents are read as far as they are to be, and that is not to their end."""
        return self.state is ReadingState.READ and self.tokens_read < self.tokens_total


@dataclass
class ChatDocument:
    """A document of a chat; text, notes and place come when it has been opened and counted.

    `source` is where it is from.
    """

    name: str
    source: Source | None = None
    text: DocumentText | None = None
    place: DocumentPlace | None = None
    notes: tuple[str, ...] = ()


class ExchangeState(Enum):
    """How far a question is on its way to an answer. UNFINISHED: the app was closed before its end."""

    WAITING = "waiting"
    THINKING = "thinking"
    WRITING = "writing"
    DONE = "done"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@dataclass(eq=False)
class Exchange:
    """A question and its answer: a node of the chat's tree.

    Attributes:
        id: number in the chat, in order of asking.
        parent: what was asked before it; None for the first question.
        children: what was asked after it, in order; more than one are branches.
        chosen: the one of them that is shown.
        finished: the engine's last word, with the figures and passages; None until then.
        claims: its quotes and numbers, checked.
        code: the words of its blocks of code, by kind.
        evidence: where in the documents the answer looked, also while it is written.
        message: why it failed, or why there is not all of it.
        retrieved_tokens: old tokens that were fetched for each word of it; 0 is as the settings say.
        going_back: how far the chat is brought to where it was asked; None unless that takes reading.
        settings: what its answer was made with; None before, and for one from an older version.
        by_section: it is asked of each section of the documents in turn.
        sections: how far that is, or became; None before, and for one from disk.
    """

    id: int
    question: str
    parent: "Exchange | None" = field(default=None, repr=False)
    children: list["Exchange"] = field(default_factory=list, repr=False)
    chosen: int = 0
    answer: str = ""
    state: ExchangeState = ExchangeState.WAITING
    finished: AnswerFinished | None = None
    evidence: Evidence = field(default_factory=Evidence, repr=False)
    claims: tuple[Claim, ...] = ()
    code: tuple[ColouredCode, ...] = ()
    message: str = ""
    retrieved_tokens: int = 0
    by_section: bool = False
    settings: AnswerSettings | None = None
    sections: SectionProgress | None = None
    going_back: GoingBack | None = None

    @property
    def is_over(self) -> bool:
        return self.state in (ExchangeState.DONE, ExchangeState.FAILED, ExchangeState.UNFINISHED)

    @property
    def passages(self) -> tuple[Passage, ...]:
        return self.finished.passages if self.finished else ()


class Chat(QObject):
    """One conversation over one context: a tree of exchanges, of which one path is shown.

    Attributes:
        number: of the chat in this run of the app; `key` is its name for ever.
        title: what the user calls it, or else its first question; "" before.
        draft: what is typed in it and not asked yet.
        changed: when something was asked last, in seconds since 1970.
        is_loaded: its exchanges are here; those of a chat from disk come when it is shown, along `saved_path`.
        is_whole: its options and documents could be read; otherwise those on the disk stay as they are.

        engine_config: how its context was made last.

    Signals:
        titled: the title changed, or whether the chat is pinned.
        documents_changed: the list of documents, or the text of one.
        draft_changed: what is typed.
        options_changed: system prompt or sampling.
        reading_changed: how far they are read.
        path_changed: other exchanges are shown.
        exchange_changed: id of the exchange.
        exchange_removed: id of one that was taken back.
        selection_changed: another answer's evidence is looked at, or another passage of it.
        evidence_changed: id of the exchange whose evidence grew.
        pointed_changed: another word of the selected answer is pointed at.
    """

    titled = Signal()
    documents_changed = Signal()
    draft_changed = Signal()
    options_changed = Signal()
    reading_changed = Signal()
    path_changed = Signal()
    exchange_changed = Signal(int)
    exchange_removed = Signal(int)
    selection_changed = Signal()
    evidence_changed = Signal(int)
    pointed_changed = Signal()

    def __init__(self, number: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.number = number
        self.key = uuid.uuid4().hex
        self.title = ""
        self.pinned = False
        self.draft = ""
        self.changed = time.time()
        self.is_loaded = True
        self.is_whole = True
        self.saved_path: tuple[int, ...] = ()
        self.options = ChatOptions()
        self.engine_config = KIVConfig()
        self.documents: list[ChatDocument] = []
        self.reading = Reading()
        self.root = Exchange(-1, "")
        self.all_exchanges: dict[int, Exchange] = {}
        self.selected_exchange: int | None = None
        self.selected_passage: int | None = None
        self.selected_claim: int | None = None
        self.pointed = range(0)

    @property
    def exchanges(self) -> list[Exchange]:
        """Those that are shown, from the first question on."""
        path, node = [], self.root
        while node.children:
            node = node.children[node.chosen]
            path.append(node)
        return path

    @property
    def name(self) -> str:
        """What it is called in lists: its title, or what its first document is called; "" for a new chat."""
        return self.title or (shortened(self.documents[0].name) if self.documents else "")

    @property
    def about(self) -> str:
        """What documents it is about, in a line; "" where its name says that."""
        if not self.documents or self.name == shortened(self.documents[0].name):
            return ""
        first, more = " ".join(self.documents[0].name.split()), len(self.documents) - 1
        return self.tr("{0} and {1:,} more").format(first, more) if more else first

    @property
    def store(self) -> StoreKind:
        """Where old keys and values of its documents lie."""
        return self.options.store or store_kind(self.engine_config)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it but perhaps a draft."""
        return not self.documents and not self.root.children and self.is_loaded

    @property
    def takes_documents(self) -> bool:
        """Documents come before the first question; whether there is one is known when the chat is loaded."""
        return self.is_loaded and not self.root.children

    @property
    def can_continue(self) -> bool:
        """Whether a part of the documents is unread, because reading was stopped, or only the beginning was wanted."""
        return self.is_loaded and (self.reading.state is ReadingState.STOPPED or self.reading.is_beginning_only)

    @property
    def placed_tokens(self) -> int:
        """Tokens to the end of the last document that is counted, with what stands before and between them."""
        return max((each.place.start + each.place.tokens for each in self.documents if each.place), default=0)

    @property
    def opened_documents(self) -> list[DocumentText]:
        return [document.text for document in self.documents if document.text is not None]

    def set_title(self, text: str) -> None:
        """Name the chat after a text, shortened; only the first one counts."""
        if not self.title:
            self.title = shortened(text)
            self.titled.emit()

    def rename(self, title: str) -> None:
        """Give the chat another name."""
        line = " ".join(title.split())
        if line and line != self.name:
            self.title = line
            self.titled.emit()

    def set_pinned(self, pinned: bool) -> None:
        """Keep the chat on top of the list, or not."""
        self.pinned = pinned
        self.titled.emit()

    def restore(self, exchanges: Sequence[Exchange], texts: Mapping[str, str]) -> None:
        """Take what was said before, and the texts that were pasted; show the path that was shown."""
        self.is_loaded = True
        self.all_exchanges = {exchange.id: exchange for exchange in exchanges}
        self.root.children = [exchange for exchange in exchanges if exchange.parent is None]
        for exchange in exchanges:
            if not exchange.is_over:
                exchange.state = ExchangeState.UNFINISHED
                exchange.message = self.tr("The app was closed before this answer was finished.")
        for exchange_id in self.saved_path:
            if shown := self.all_exchanges.get(exchange_id):
                (shown.parent or self.root).chosen = self.siblings(shown).index(shown)
        for document in self.documents:
            if isinstance(document.source, TextSource):
                document.source = replace(document.source, text=texts.get(document.source.key, ""))
        answered = [exchange.id for exchange in self.exchanges if exchange.state is ExchangeState.DONE]
        self.path_changed.emit()
        self.select(answered[-1] if answered else None)

    def set_draft(self, text: str) -> None:
        """Keep what is typed."""
        if text != self.draft:
            self.draft = text
            self.draft_changed.emit()

    def give_back(self, question: str) -> None:
        """Put a question that could not be asked above what is typed meanwhile."""
        self.set_draft(f"{question}\n{self.draft}" if self.draft.strip() else question)

    def set_options(self, options: ChatOptions) -> None:
        """Set the system prompt and how answers are drawn."""
        self.options = options
        self.options_changed.emit()

    def set_documents(self, documents: list[ChatDocument]) -> None:
        """Replace the list of documents."""
        self.documents = documents
        self.documents_changed.emit()

    def add_exchange(self, question: str, parent: Exchange | None = None) -> Exchange:
        """Add a question below a parent, or else at the end of the path; it is shown."""
        above = parent or (self.exchanges or [self.root])[-1]
        exchange = Exchange(max(self.all_exchanges, default=-1) + 1, question, None if above is self.root else above)
        self.all_exchanges[exchange.id] = exchange
        self.changed = time.time()
        above.children.append(exchange)
        above.chosen = len(above.children) - 1
        self._drop_hidden_selection()
        self.path_changed.emit()
        return exchange

    def add_branch(self, beside: Exchange, question: str) -> Exchange:
        """Ask something else, or the same again, in place of an exchange, which stays as another branch."""
        return self.add_exchange(question, beside.parent or self.root)

    def remove_exchange(self, exchange: Exchange) -> None:
        """Take a question back that nothing follows; its id is not used again. A chat named after it is so no more."""
        assert not exchange.children
        siblings = self.siblings(exchange)
        above = exchange.parent or self.root
        siblings.remove(exchange)
        if not self.root.children and self.title == shortened(exchange.question):
            self.title = ""
            self.titled.emit()
        above.chosen = max(0, min(above.chosen, len(siblings) - 1))
        self._drop_hidden_selection()
        self.exchange_removed.emit(exchange.id)
        self.path_changed.emit()

    def siblings(self, exchange: Exchange) -> list[Exchange]:
        """The branches that an exchange is one of."""
        return (exchange.parent or self.root).children

    def show_branch(self, exchange: Exchange) -> None:
        """Show an exchange in place of its siblings."""
        (exchange.parent or self.root).chosen = self.siblings(exchange).index(exchange)
        self._drop_hidden_selection()
        self.path_changed.emit()

    def _drop_hidden_selection(self) -> None:
        shown = {exchange.id for exchange in self.exchanges}
        if self.selected_exchange is not None and self.selected_exchange not in shown:
            answered = [exchange.id for exchange in self.exchanges if exchange.state is ExchangeState.DONE]
            self.select(answered[-1] if answered else None)

    def select(self, exchange: int | None, passage: int | None = None, claim: int | None = None) -> None:
        """Look at the evidence of an answer, or at one passage or claim of it."""
        self.selected_exchange, self.selected_passage, self.selected_claim = exchange, passage, claim
        self.pointed = range(0)
        self.selection_changed.emit()

    @property
    def selected_evidence(self) -> Evidence | None:
        """That of the answer that is looked at."""
        return None if self.selected_exchange is None else self.all_exchanges[self.selected_exchange].evidence

    @property
    def selected_place(self) -> Place | None:
        """Where the selected passage or claim stands in the documents."""
        if self.selected_exchange is None:
            return None
        exchange = self.all_exchanges[self.selected_exchange]
        if self.selected_claim is not None:
            return exchange.claims[self.selected_claim].place
        if self.selected_passage is not None:
            return self.place_of(exchange.passages[self.selected_passage])
        return None

    def point(self, tokens: range) -> None:
        """Point at tokens of the selected answer, to see what they hit; or at none."""
        if tokens != self.pointed:
            self.pointed = tokens
            self.pointed_changed.emit()

    def place_of(self, passage: Passage) -> Place:
        """Where a passage stands in the documents."""
        return Place(self.document_of(passage), passage.start, passage.end)

    def passage_at(self, exchange: Exchange, tokens: range) -> int | None:
        """The number of the passage of an answer at which some of its tokens looked most; None if at none of them."""
        lengths = [len(text.text) for text in self.opened_documents]
        if not tokens or len(lengths) < len(self.documents):
            return None
        heat, best, most = exchange.evidence.heat_of(tokens), None, 0.0
        for number, passage in enumerate(exchange.passages):
            before = sum(lengths[: self.document_of(passage)])
            first, last = (bin_of(before + place, sum(lengths)) for place in (passage.start, passage.end))
            if (hottest := max(heat[first : last + 1])) > most:
                best, most = number, hottest
        return best

    def document_of(self, passage: Passage) -> int:
        """The number of the document that a passage is from; two documents may have one name."""
        for number, document in enumerate(self.documents):
            place = document.place
            if place is not None and place.start <= passage.token_start < place.start + place.tokens:
                return number
        return 0


def first_words(text: str) -> str:
    """The words with which a text begins, in NAME_CHARACTERS at most, and "…" where there are more."""
    line = " ".join(text[:BEGINNING_CHARACTERS].split())
    if len(line) <= NAME_CHARACTERS:
        return line
    whole = line[: NAME_CHARACTERS - 1].rpartition(" ")[0]
    return f"{whole} …" if whole else f"{line[: NAME_CHARACTERS - 1]}…"


def shortened(text: str) -> str:
    """A text in one line of TITLE_CHARACTERS at most."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"
