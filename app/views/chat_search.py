"""Where words stand in the questions and answers of a chat."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.document_text import fold
from app.models.chat import Exchange
from app.views.answer_text import places_in, shown_text

LOOK_S: Final = 0.004
"""So long it is looked for words, before the window gets its turn."""


@dataclass(frozen=True, order=True)
class FoundPlace:
    """The place with a number, from 0, of those in the question, or the answer, of an exchange."""

    exchange: int
    in_answer: bool
    number: int


class ChatSearch(QObject):
    """Finds all places of words, in a long chat bit by bit.

    Attributes:
        places: in the order in which they are read; of all exchanges once they are counted.

    Signals:
        counted: all places are found.
    """

    counted = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.places: list[FoundPlace] = []
        self._words = ""
        self._to_come: deque[Exchange] = deque()
        self._texts: dict[str, str] = {}
        self._look = QTimer(self, interval=0)
        self._look.timeout.connect(self._on_look)

    @property
    def is_complete(self) -> bool:
        return not self._to_come

    def start(self, words: str, exchanges: Iterable[Exchange]) -> None:
        """Look for words, which are not empty."""
        self.places, self._words, self._to_come = [], fold(words), deque(exchanges)
        self._look.start()
        self._on_look()

    def stop(self) -> None:
        """Look for nothing any more, and forget the texts."""
        self._look.stop()
        self._to_come.clear()
        self.places, self._texts = [], {}

    @Slot()
    def _on_look(self) -> None:
        end = time.perf_counter() + LOOK_S
        while self._to_come:
            exchange = self._to_come.popleft()
            for in_answer, text in ((False, fold(exchange.question)), (True, self._shown(exchange.answer))):
                count = len(places_in(text, self._words))
                self.places += (FoundPlace(exchange.id, in_answer, number) for number in range(count))
            if time.perf_counter() >= end:
                break
        if not self._to_come:
            self._look.stop()
            self.counted.emit()

    def _shown(self, answer: str) -> str:
        """An answer for searching: as it is shown, without asterisks and the like. That takes a moment, and is kept."""
        if answer not in self._texts:
            self._texts[answer] = fold(shown_text(answer))
        return self._texts[answer]
