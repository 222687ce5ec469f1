"""How far the documents of each chat are read: brought to the engine, followed there, closed, and brought back."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG

from PySide6.QtCore import QObject, Signal

from app.controllers.notices import Notice, NoticeKind, more_unread
from app.controllers.request_queue import RequestQueue
from app.failure_words import translated
from app.models.chat import UNDER_WAY, Chat, ChatDocument, ExchangeState, Reading, ReadingState
from app.models.chat_list import ChatList
from app.models.engine_status import EngineState, EngineStatus
from app.reports import DocumentOpened, DocumentsPlaced, DocumentsRejected, ReadingTimed, StoresOffered
from app.requests import Ask, CloseChat, FileSource, Read, Source
from kiv_engine.errors import OutOfMemoryError
from kiv_engine.events import Failed, ParseProgress, ReadFinished, ReadProgress, TokenizeProgress


class Readings(QObject):
    """The one that says how far the documents of a chat are.

    Signals:
        noticed: a Notice to show.
    """

    noticed = Signal(object)

    def __init__(
        self, queue: RequestQueue, chats: ChatList, status: EngineStatus, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._queue, self._chats, self._status = queue, chats, status

    # -- what is to be read --------------------------------------------------------------------------------------

    def new_files(self, chat: Chat, paths: Sequence[Path]) -> list[FileSource]:
        """The files that a chat does not have as they are now. The others are told, or brought back into memory.

        For a new chat all are new.
        """
        files = [stamped(path) for path in dict.fromkeys(path.absolute() for path in paths)]
        sources = (document.source for document in chat.documents if chat.takes_documents)
        stamps = {source.path: source.stamp for source in sources if isinstance(source, FileSource)}
        known = [file for file in files if file.stamp is not None and file.stamp == stamps.get(file.path)]
        if known and self.bring_back(chat):
            pass  # which is seen on the card
        elif len(known) == 1:
            line = self.tr("“{0}” is already in this chat, and has not changed.").format(known[0].name)
            self._notice(line, NoticeKind.INFO)
        elif known:
            line = self.tr("{0:,} of these files are already in this chat, and have not changed.").format(len(known))
            self._notice(line, NoticeKind.INFO)
        return [file for file in files if file not in known]

    def add(self, chat: Chat, sources: Sequence[Source], anyway: bool) -> None:
        """Have documents read behind those of a chat."""
        if again := self.again(chat):
            self._queue.append(again)
        chat.set_documents([*chat.documents, *(ChatDocument(source.name, source) for source in sources)])
        if chat.reading.state not in UNDER_WAY:
            self._set_reading(chat, Reading(ReadingState.WAITING))
        self._queue.append(Read(chat.number, tuple(sources), anyway=anyway))
        self._queue.advance()

    def bring_back(self, chat: Chat, anyway: bool = False) -> bool:
        """Have a chat's documents read again, if they are not in memory; whether they are not."""
        read = self.again(chat)
        if read is not None:
            self._queue.append(replace(read, anyway=anyway))
            self._queue.advance()
        return read is not None

    def again(self, chat: Chat) -> Read | None:
        """The request that brings a chat's documents back into memory, if they are not there."""
        sources = tuple(document.source for document in chat.documents if document.source is not None)
        if chat.reading.state is not ReadingState.CLOSED or not sources:
            return None
        chat.set_documents([replace(document, text=None, notes=()) for document in chat.documents])
        self._set_reading(chat, Reading(ReadingState.WAITING, again=True, offers=chat.reading.offers))
        return Read(chat.number, sources)

    def resume(self, chat: Chat, anyway: bool = False) -> None:
        """Go on where reading was stopped."""
        chat.reading.state = ReadingState.WAITING
        chat.reading_changed.emit()
        self.go_on(chat, anyway)

    def go_on(self, chat: Chat, anyway: bool = False) -> None:
        """Have read what the engine has of a chat's documents and has not read."""
        self._queue.append(Read(chat.number, anyway=anyway))
        self._queue.advance()

    # -- what is in memory ---------------------------------------------------------------------------------------

    def close(self, chat: Chat) -> None:
        """Give the memory of a chat back; its documents are brought back when they are needed."""
        if self._status.busy_chat == chat.number:
            self._queue.stop()
        self._queue.take_back(lambda each: isinstance(each, Read) and each.chat == chat.number)
        self._queue.put_first(CloseChat(chat.number))
        self.mark_closed(chat)
        self._queue.advance()

    def close_all(self) -> None:
        """A model takes the contexts of all chats with it."""
        for chat in map(self._chats.at, range(self._chats.rowCount())):
            if chat.reading.state in (ReadingState.READ, ReadingState.STOPPED):
                self.mark_closed(chat)
            self._status.forget(chat.number)

    def mark_closed(self, chat: Chat, message: str = "") -> None:
        """Say that a chat's documents are not in memory, and why, where that is no wish."""
        if chat.documents:
            state = ReadingState.WAITING if self._reads_more(chat) else ReadingState.CLOSED
            message, offers = message or chat.reading.message, chat.reading.offers
            self._set_reading(chat, Reading(state, message=message, again=True, offers=offers))

    # -- what the engine reports ---------------------------------------------------------------------------------

    def begin(self, request: Read) -> None:
        """The engine opens or reads now."""
        self._status.set_state(EngineState.READING, request.chat)
        if chat := self._chats.numbered(request.chat):
            chat.reading.state = ReadingState.OPENING if request.sources else ReadingState.READING
            chat.reading.first_tokens = request.first_tokens
            chat.reading_changed.emit()

    def take(self, request: Read, event: object) -> None:
        """Take what is reported of it."""
        if chat := self._chats.numbered(request.chat):
            self._take(chat, event)
            chat.reading_changed.emit()

    def _take(self, chat: Chat, event: object) -> None:
        reading = chat.reading
        match event:
            case ParseProgress():
                reading.state, reading.parsing = ReadingState.OPENING, event
            case DocumentOpened():
                self._opened(chat, event)
                reading.state, reading.parsing = ReadingState.COUNTING, None
            case DocumentsRejected(names, words):
                message = translated(words)
                self._reject(chat, names, message)
                self._notice(" ".join((message, *more_unread(len(names) - 1))))
            case TokenizeProgress(done, total):
                reading.state, reading.share = ReadingState.COUNTING, done / max(total, 1)
            case DocumentsPlaced():
                self._place(chat, event)
            case StoresOffered(offers):
                reading.offers = offers
            case ReadingTimed(seconds):
                reading.read_s = seconds
            case ReadProgress():
                self._progress(reading, event)
            case ReadFinished():
                self._finish(chat, event)

    @staticmethod
    def _opened(chat: Chat, event: DocumentOpened) -> None:
        """Give the first document of this name that has no text its text."""
        for document in chat.documents:
            if document.text is None and document.name == event.text.name:
                document.text, document.notes = event.text, event.notes
                break
        chat.documents_changed.emit()

    def _reject(self, chat: Chat, names: Sequence[str], message: str) -> None:
        """Drop the first document of each name that has no text. Without one that was there, the others are no use."""
        if chat.reading.again:
            chat.reading.message = message
            self._queue.stop()
            return
        kept = list(chat.documents)
        for name in names:
            if (without := next((each for each in kept if each.name == name and not each.text), None)) is not None:
                kept = [each for each in kept if each is not without]
        chat.set_documents(kept)

    @staticmethod
    def _place(chat: Chat, event: DocumentsPlaced) -> None:
        """Tell the opened documents where they lie; others may still wait behind them."""
        opened = [document for document in chat.documents if document.text is not None]
        for document, place in zip(opened, event.places, strict=False):
            document.place = place
        chat.reading.ram_bytes, chat.reading.fit_tokens = event.ram_bytes, event.fit_tokens
        chat.reading.opened = event.opened
        chat.documents_changed.emit()

    def _progress(self, reading: Reading, event: ReadProgress) -> None:
        reading.state = ReadingState.READING
        reading.tokens_read, reading.tokens_total = event.tokens_read, event.tokens_total
        reading.tokens_per_s, reading.eta_s = event.tokens_per_s, event.eta_s
        self._status.set_rate(event.tokens_per_s or None)

    def _finish(self, chat: Chat, event: ReadFinished) -> None:
        reading = chat.reading
        reading.tokens_read, reading.tokens_total = event.tokens_read, event.tokens_total
        reading.seconds += event.seconds
        if event.not_saved:
            self._notice(self.tr("What was read is not kept: {}").format(translated(event.not_saved)), NoticeKind.INFO)
        if reading.again and (event.stopped or reading.message):
            self._stay_closed(chat, reading.message)
            return
        if not reading.again:
            self._drop_unread(chat)
        reading.again = False
        is_there = not event.stopped or event.tokens_read >= reading.tokens_to_read
        reading.state = ReadingState.READ if is_there else ReadingState.STOPPED
        if not chat.documents:
            reading.state = ReadingState.NONE
        elif self._reads_more(chat):
            reading.state = ReadingState.WAITING

    def fail(self, request: Read, event: Failed) -> None:
        """Nothing was read, for the reason that is told: new documents go, those that were known stay."""
        chat = self._chats.numbered(request.chat)
        if chat is None:
            return
        if chat.reading.again or isinstance(event.error, OutOfMemoryError):  # which another way to keep them may help
            self._stay_closed(chat, event.message)
            return
        self._drop_unread(chat)
        chat.reading.state = ReadingState.FAILED if chat.documents else ReadingState.NONE
        chat.reading.message = event.message
        if self._reads_more(chat):
            chat.reading.state = ReadingState.WAITING
        self._return_questions(chat)
        chat.reading_changed.emit()

    def _stay_closed(self, chat: Chat, message: str) -> None:
        """Documents that were known before could not be brought back: they stay, and what was asked goes back.

        If the context is being closed anyway, they are brought back for what was asked.
        """
        if CloseChat(chat.number) in self._queue.waiting:
            self.mark_closed(chat, message)
            return
        chat.reading.message = message
        self.close(chat)
        self._return_questions(chat)

    def _drop_unread(self, chat: Chat) -> None:
        """Forget the documents that the engine did not take and that no waiting request will bring."""
        waiting = [
            source
            for request in self._queue.waiting
            if isinstance(request, Read) and request.chat == chat.number
            for source in request.sources
        ]
        kept = [document for document in chat.documents if document.place is not None]
        chat.set_documents([*kept, *(ChatDocument(source.name, source) for source in waiting)])

    def _reads_more(self, chat: Chat) -> bool:
        return any(isinstance(request, Read) and request.chat == chat.number for request in self._queue.waiting)

    def _return_questions(self, chat: Chat) -> None:
        """Questions about a document that could not be read are to be asked anew, unless more documents wait."""
        if self._reads_more(chat):
            return
        self._queue.take_back(lambda request: isinstance(request, Ask) and request.chat == chat.number)
        asked = [each for each in chat.all_exchanges.values() if each in chat.siblings(each)]  # others are back already
        for exchange in reversed([each for each in asked if each.state is ExchangeState.WAITING]):
            chat.remove_exchange(exchange)
            chat.give_back(exchange.question)

    def _notice(self, text: str, kind: NoticeKind = NoticeKind.ERROR) -> None:
        self.noticed.emit(Notice(kind, text))

    @staticmethod
    def _set_reading(chat: Chat, reading: Reading) -> None:
        chat.reading = reading
        chat.reading_changed.emit()


def stamped(path: Path) -> FileSource:
    """A file as it is now."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # whoever reads it tells
        return FileSource(path)
    return FileSource(path, (status.st_mtime_ns, status.st_size) if S_ISREG(status.st_mode) else None)
