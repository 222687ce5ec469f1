"""What the user wants becomes requests; what the engine reports becomes the state of the models."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.answers import Answers, said_before
from app.controllers.model_loading import ModelLoading
from app.controllers.notices import Notice, NoticeKind, Offer, notice_of_failure
from app.controllers.readings import Readings
from app.controllers.request_queue import Engine, RequestQueue
from app.models.chat import Chat, Exchange, ExchangeState, first_words
from app.models.chat_list import ChatList
from app.models.engine_status import EngineStatus
from app.models.preferences import Preferences
from app.reports import ChatClosed, ContextMeasured, Report, ShelfMeasured, is_terminal
from app.requests import (
    ArchiveSource,
    Ask,
    CloseChat,
    ContextOptions,
    LoadModel,
    Read,
    Request,
    Source,
    TextSource,
    UnloadModel,
)
from app.section_words import section_place
from app.settings import ChatOptions, StoreKind, with_store
from kiv_engine.config import Quantize
from kiv_engine.errors import DamagedContextError
from kiv_engine.events import Failed, SmallerPlan

MAX_FILES: Final = 100
"""More files at once are a slip of the hand."""


class SessionController(QObject):
    """Decides what becomes of a wish and of a report; each part of it decides on its own subject.

    Signals:
        noticed: a Notice to show.
    """

    noticed = Signal(object)

    def __init__(
        self,
        engine: Engine,
        status: EngineStatus,
        chats: ChatList,
        preferences: Preferences,
        store_folder: Path,
        parent: QObject | None = None,
    ) -> None:
        """`store_folder` is for the files of old keys and values, where the settings name no other."""
        super().__init__(parent)
        self._preferences = preferences
        self._store_folder = store_folder
        self._status = status
        self._chats = chats
        self._queue = RequestQueue(engine, status, self._take_next, self._begin)
        self._answers = Answers(chats, status)
        self._readings = Readings(self._queue, chats, status, self)
        self._readings.noticed.connect(self.noticed)
        self._models = ModelLoading(self._queue, status, preferences, self)
        self._models.noticed.connect(self.noticed)

    # -- what the user wants -------------------------------------------------------------------------------------

    @Slot()
    def load_model(self) -> None:
        """Load the model of the settings, or load it again after a failure."""
        self._models.load()

    @Slot()
    def unload_model(self) -> None:
        """Give the model's memory back; the next question or document loads it again. Chats stay."""
        self._models.unload()

    @Slot(str, str)
    def use_model(self, name: str, quantize: Quantize, anyway: bool = False) -> None:
        """Load another model, and keep to it if that succeeds. Chats stay; what they read is read again by it."""
        self._models.use(name, quantize, anyway)

    @Slot(object)
    def open_files(self, paths: Sequence[Path]) -> None:
        """Read files into the chat that is shown."""
        if len(paths) > MAX_FILES:
            line = self.tr("These are {0:,} files; open at most {1} at once, or the folder that they are in.")
            self._notice(line.format(len(paths), MAX_FILES))
        elif files := self._readings.new_files(self._chats.current, paths):
            self.read(files)

    @Slot(str)
    def read_pasted(self, text: str) -> None:
        """Read a text from the clipboard."""
        if text.strip():
            self.read([TextSource(self.tr("Pasted: “{0}”").format(first_words(text)), text)])
        else:
            self._notice(self.tr("The pasted text is empty."))

    @Slot(int)
    def read_archive(self, tokens: int) -> None:
        """Read the sample archive."""
        self.read([ArchiveSource(tokens)])

    def read(self, sources: Sequence[Source], anyway: bool = False) -> None:
        """Read documents into the chat that is shown, or into a new one if that has been asked something."""
        chat = self._chats.current
        if not chat.takes_documents:
            chat = self._chats.add()
            self._notice(self.tr("Opened in a new chat: documents come before the first question."), NoticeKind.INFO)
        self._readings.add(chat, sources, anyway)

    @Slot()
    def read_again(self) -> None:
        """Bring the documents of the chat that is shown back into memory."""
        if self._is_loaded(self._chats.current):
            self._readings.bring_back(self._chats.current)

    @Slot(object, bool)
    def set_options(self, options: ChatOptions, for_all: bool) -> None:
        """Set how the chat that is shown is answered. Another system prompt stands before all that was read."""
        chat = self._chats.current
        begins_anew = options.system != chat.options.system and not chat.is_empty
        chat.set_options(options)
        if for_all:
            self._preferences.set(replace(self._preferences.settings, chat=options.for_new_chats))
        if begins_anew:
            self._readings.close(chat)

    @Slot(str)
    def set_store(self, kind: StoreKind) -> None:
        """Keep the documents of the chat that is shown in another way: they are read again for that."""
        chat = self._chats.current
        if kind == chat.store or not self._is_loaded(chat):
            return
        chat.set_options(replace(chat.options, store=kind, first_tokens=0))  # there may be room for all of it
        if chat.documents:
            self._readings.close(chat)
            self.read_again()

    @Slot()
    def continue_reading(self) -> None:
        """Go on where reading was stopped. What was asked meanwhile stays, and later answers know of it.

        Behind a beginning that was wanted by itself the rest is tried, whether or not it fits.
        """
        chat = self._chats.current
        if chat.can_continue:
            anyway = chat.reading.is_beginning_only
            if anyway:
                chat.set_options(replace(chat.options, first_tokens=0))
            self._readings.resume(chat, anyway)

    @Slot(str)
    def ask(self, question: str) -> None:
        """Ask in the chat that is shown; the question waits for the model and for what is read before it."""
        if not question.strip():
            return
        chat = self._chats.current
        if not self._is_loaded(chat):
            chat.give_back(question.strip())
            return
        if not chat.root.children:
            chat.set_title(question)
        self._enqueue(chat, chat.add_exchange(question.strip()))

    @Slot(int)
    def regenerate(self, exchange: int) -> None:
        """Answer a question of the chat that is shown again, as another branch."""
        self.ask_instead(exchange, self._chats.current.all_exchanges[exchange].question)

    @Slot(int, int)
    def regenerate_with(self, exchange: int, retrieved_tokens: int) -> None:
        """Answer a question of the chat that is shown again, with so many old tokens for each word."""
        chat = self._chats.current
        old = chat.all_exchanges[exchange]
        branch = chat.add_branch(old, old.question)
        branch.retrieved_tokens = retrieved_tokens
        self._enqueue(chat, branch)

    @Slot(int)
    def go_by_section(self, exchange: int) -> None:
        """Answer a question of the chat that is shown again, section by section."""
        chat = self._chats.current
        old = chat.all_exchanges[exchange]
        branch = chat.add_branch(old, old.question)
        branch.by_section = True
        self._enqueue(chat, branch)

    @Slot(int, str)
    def ask_instead(self, exchange: int, question: str) -> None:
        """Ask something else in place of a question of the chat that is shown, as another branch."""
        chat = self._chats.current
        if question.strip():
            self._enqueue(chat, chat.add_branch(chat.all_exchanges[exchange], question.strip()))

    def _is_loaded(self, chat: Chat) -> bool:
        """Whether it is known what was said in a chat before; otherwise that would be overwritten. Tells if not."""
        if not chat.is_loaded:
            self._notice(self.tr("This chat is not loaded yet. If it cannot be loaded, open a new one."))
        return chat.is_loaded

    def _enqueue(self, chat: Chat, exchange: Exchange) -> None:
        request = Ask(chat.number, exchange.id, exchange.question, retrieved_tokens=exchange.retrieved_tokens)
        if exchange.by_section:
            request = replace(request, by_section=True, heading=section_place())
        self._queue.append(request)
        self._queue.advance()

    @Slot()
    def stop(self) -> None:
        """End what runs; what waits behind it goes on."""
        self._models.stop()
        self._queue.stop()

    @Slot()
    def stop_loading(self) -> None:
        """End the loading of a model, unless that is the built-in one and nothing would come after it."""
        self._models.stop()

    @Slot()
    def new_chat(self) -> None:
        """Show a chat in which there is nothing, not even a draft, if there is one, or add one."""
        chats = map(self._chats.at, range(self._chats.rowCount()))
        if chat := next((chat for chat in chats if chat.is_empty and not chat.draft.strip()), None):
            self._chats.show(chat)
        else:
            self._chats.add()

    def forget_context(self, chat: Chat) -> None:
        """Drop what a chat waits for, and give its memory back."""
        self._queue.take_back(lambda request: getattr(request, "chat", None) == chat.number)
        if self._status.busy_chat == chat.number:
            self._queue.stop()
        for exchange in chat.all_exchanges.values():
            if not exchange.is_over:
                exchange.state, exchange.message = ExchangeState.FAILED, self.tr("the chat was deleted")
        self._readings.close(chat)

    # -- one request after another -------------------------------------------------------------------------------

    def _take_next(self) -> Request | None:
        """What is next, or what it needs before: a model, or what the documents of its chat say."""
        if not self._models.make_way():
            return None
        first = self._queue.waiting[0]
        chat = self._chats.numbered(first.chat) if isinstance(first, Ask) else None
        if chat is not None and (read := self._readings.again(chat)):
            self._queue.put_first(read)
        return self._ready(self._queue.pop())

    def _ready(self, request: Request) -> Request:
        """A request goes with options, and a question with what was said before it, which are known only now."""
        chat = self._chats.numbered(getattr(request, "chat", None))
        if chat is None or not isinstance(request, Read | Ask):
            return request
        settings = self._preferences.settings
        config = with_store(settings.engine, chat.options.store, self._store_folder)
        kinds: tuple[StoreKind, ...] = get_args(StoreKind)
        stores = tuple((kind, with_store(settings.engine, kind, self._store_folder)) for kind in kinds)
        options = ContextOptions(config, chat.options.system, settings.kept_gb, stores)
        if isinstance(request, Read):
            chat.engine_config = config
            return replace(request, options=options, first_tokens=chat.options.first_tokens)
        history = said_before(chat.all_exchanges[request.exchange])
        return replace(request, history=history, sampling=chat.options.sampling, options=options)

    def _begin(self, request: Request) -> None:
        match request:
            case LoadModel() | UnloadModel():
                self._readings.close_all()
                self._models.begin(request)
            case Read():
                self._readings.begin(request)
            case Ask():
                self._answers.begin(request)

    @Slot(object)
    def on_report(self, report: Report) -> None:
        """Take a report of the engine; those of a request that is over are dropped."""
        request = self._queue.request_of(report)
        if request is None:
            return
        if not is_terminal(report.event):
            self._take(request, report.event)
            return
        self._queue.end()
        try:
            self._take(request, report.event)
        finally:  # whatever is wrong with one request, the next one begins
            self._models.rest()
            self._queue.advance()

    def _take(self, request: Request, event: object) -> None:
        match event:
            case Failed():
                self._fail(request, event)
            case ContextMeasured():
                self._status.set_measured(event)
                self._models.tell_spilling(event.spilled_bytes)
            case ShelfMeasured():
                self._status.set_shelf(event)
            case _:
                self._pass_on(request, event)

    def _pass_on(self, request: Request, event: object) -> None:
        match request, event:
            case ((LoadModel() | UnloadModel()), _):
                self._models.take(request, event)
            case Read(), _:
                self._readings.take(request, event)
            case Ask(), _:
                self._answers.take(request, event)
            case CloseChat(number), ChatClosed():
                self._status.forget(number)
                if chat := self._chats.numbered(number):
                    self._readings.mark_closed(chat)  # what was being read in the meantime has said otherwise

    # -- failing -------------------------------------------------------------------------------------------------

    def _fail(self, request: Request, event: Failed) -> None:
        match request:
            case LoadModel():
                self._models.fail(request, event)
                return
            case Read():
                self._readings.fail(request, event)
            case Ask(number):
                if isinstance(event.error, DamagedContextError) and (chat := self._chats.numbered(number)):
                    self._readings.close(chat)  # the next question has the documents read again
                self._answers.fail(request, event.message)
        reload = None if self._status.model is None else self._models.preferred
        self.noticed.emit(notice_of_failure(request, event, reload))

    # -- going on after a failure --------------------------------------------------------------------------------

    def accept(self, offer: Offer) -> None:
        """Go on with a smaller plan, or as it was. The chat stays; what it had read is read again."""
        request, plan = offer.request, offer.plan
        match request:
            case UnloadModel():
                self.unload_model()
            case LoadModel(model, kind, anyway):
                self.use_model(model, (plan and plan.quantize) or kind, anyway)
            case Read() | Ask():
                self._go_on(request, plan)

    def _go_on(self, request: Read | Ask, plan: SmallerPlan | None) -> None:
        chat = self._chats.numbered(request.chat)
        if chat is None:
            return
        self._chats.show(chat)
        if plan is not None:
            chat.set_options(replace(chat.options, store=""))  # what was chosen on its card needs too much
            self._make_smaller(plan)
            self._readings.close(chat)
        if isinstance(request, Ask):
            self.ask_instead(request.exchange, request.question)
        else:
            chat.set_options(replace(chat.options, first_tokens=request.first_tokens))
            self._read_after_failure(chat, request)

    def _make_smaller(self, plan: SmallerPlan) -> None:
        settings = self._preferences.settings
        self._preferences.set(replace(settings, engine=settings.engine.smaller(plan)))
        if plan.quantize and self._status.model is not None:
            self.use_model(self._status.model.name, plan.quantize)

    def _read_after_failure(self, chat: Chat, request: Read) -> None:
        """Documents that were dropped are opened once more; those that are kept are read again or gone on with."""
        kept = [document.source for document in chat.documents]
        if new := [source for source in request.sources if source not in kept]:
            self.read(new, request.anyway)
        elif not self._readings.bring_back(chat, request.anyway):
            self._readings.go_on(chat, request.anyway)

    # -- telling -------------------------------------------------------------------------------------------------

    def _notice(self, text: str, kind: NoticeKind = NoticeKind.ERROR) -> None:
        self.noticed.emit(Notice(kind, text))
