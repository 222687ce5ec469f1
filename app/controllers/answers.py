"""What the engine reports of a question becomes its answer."""

import time
from collections import deque
from dataclasses import replace
from typing import Final

from app.models.chat import Chat, Exchange, ExchangeState
from app.models.chat_list import ChatList
from app.models.engine_status import EngineState, EngineStatus
from app.reports import AnswerChecked, EvidenceGrown, GoingBack, SectionProgress
from app.requests import Ask, Said
from app.section_words import with_sections
from app.settings import AnswerSettings
from kiv_engine.events import AnswerFinished, TextDelta

RATE_WINDOW_S: Final = 2.0
EVIDENCE_TOKENS: Final = 4_096
"""All hits are kept word by word for the newest answers of so many tokens, all chats together: some 5 KB each in the
built-in model, and of older ones the few that matter most, some 140 bytes."""


class Answers:
    """Lets the answers of all chats grow; a chat that was deleted has none."""

    def __init__(self, chats: ChatList, status: EngineStatus) -> None:
        self._chats, self._status = chats, status
        self._rate = WritingRate()
        self._with_tokens: deque[Exchange] = deque()

    def begin(self, request: Ask) -> None:
        """The engine has the question now; its answer is looked at."""
        self._rate = WritingRate()
        self._status.set_state(EngineState.GENERATING, request.chat)
        self._change(request, state=ExchangeState.THINKING)
        if chat := self._chats.numbered(request.chat):
            chat.select(request.exchange)

    def take(self, request: Ask, event: object) -> None:
        """Take what is reported of it."""
        if isinstance(event, TextDelta):
            self._status.set_rate(self._rate.after(event.num_tokens))
            self._change(request, more=event.text, state=ExchangeState.WRITING)
        elif chat := self._chats.numbered(request.chat):
            self._take(chat, chat.all_exchanges[request.exchange], event)

    def fail(self, request: Ask, message: str) -> None:
        """Keep what was answered before it failed, with the reason."""
        if chat := self._chats.numbered(request.chat):
            exchange = chat.all_exchanges[request.exchange]
            exchange.message, exchange.answer = message, with_sections(exchange.answer, exchange.sections)
        self._change(request, state=ExchangeState.FAILED)

    def _change(self, request: Ask, *, more: str = "", state: ExchangeState) -> None:
        """Let an answer grow, or enter another state."""
        if chat := self._chats.numbered(request.chat):
            exchange = chat.all_exchanges[request.exchange]
            exchange.answer += more
            exchange.state = state
            chat.exchange_changed.emit(exchange.id)

    def _take(self, chat: Chat, exchange: Exchange, event: object) -> None:
        match event:
            case EvidenceGrown():
                exchange.evidence.baseline = event.baseline
                exchange.evidence.grow(event.tokens, event.ends, event.heat)
                chat.evidence_changed.emit(exchange.id)
            case SectionProgress():
                exchange.sections = event
                chat.exchange_changed.emit(exchange.id)
            case GoingBack():
                exchange.going_back = event
                chat.exchange_changed.emit(exchange.id)
            case AnswerSettings():
                exchange.settings = event
            case AnswerChecked(claims, code):
                exchange.claims, exchange.code = claims, code
            case AnswerFinished():
                finished = replace(event, text=with_sections(event.text, exchange.sections))
                exchange.answer, exchange.finished, exchange.state = finished.text, finished, ExchangeState.DONE
                self._shrink_older(exchange)
                chat.exchange_changed.emit(exchange.id)
                if chat.selected_exchange == exchange.id:
                    chat.selection_changed.emit()

    def _shrink_older(self, newest: Exchange) -> None:
        """Beyond so many tokens, the oldest answers keep only what matters most."""
        self._with_tokens.append(newest)
        while (
            sum(len(each.evidence.tokens) for each in self._with_tokens) > EVIDENCE_TOKENS
            and len(self._with_tokens) > 1
        ):
            self._with_tokens.popleft().evidence.shrink()


def said_before(exchange: Exchange) -> tuple[Said, ...]:
    """What was asked and answered on the way to an exchange; what failed has not been said."""
    said: list[Said] = []
    above = exchange.parent
    while above is not None:
        if above.state is ExchangeState.DONE:
            said.append(Said(above.question, above.answer))
        above = above.parent
    return tuple(reversed(said))


class WritingRate:
    """Tokens per second of an answer, over the last two seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def after(self, num_tokens: int) -> float | None:
        """The rate after this many tokens; None until it can be told."""
        now = time.monotonic()
        self._points.append((now, num_tokens))
        while now - self._points[0][0] > RATE_WINDOW_S and len(self._points) > 2:
            self._points.popleft()
        seconds = now - self._points[0][0]
        return (num_tokens - self._points[0][1]) / seconds if seconds > 0 else None
