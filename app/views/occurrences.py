"""How many times words stand in the documents, and which of these is the one at hand."""

import time
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.document_text import DocumentText, fold

COUNT_S: Final = 0.004
"""So long places are looked for, before the window gets its turn."""
COUNT_CHARACTERS: Final = 250_000
"""So many characters are looked through between two looks at the clock; letters that come often are many places."""
COUNT_PLACES: Final = 500


class Occurrences(QObject):
    """Finds all places of words, in a long text bit by bit.

    Signals:
        counted: which place was asked for, from 1, and of how many.
    """

    counted = Signal(int, int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._words = ""
        self._texts: list[DocumentText] = []
        self._here = (0, 0)
        self._places: list[array[int]] = []
        self._offset = 0  # all before it, in the text of the last of `_places`, is looked through
        self._count = QTimer(self, interval=0)
        self._count.timeout.connect(self._on_count)

    def tell(self, words: str, texts: Sequence[DocumentText], here: tuple[int, int]) -> None:
        """Count the places of words, which are not empty, and which of them is `here`: in this document, at this
        character of it. What was counted before is not counted again.
        """
        wanted = fold(words)
        self._here = here
        if (wanted, list(texts)) != (self._words, self._texts):
            self._words, self._texts = wanted, list(texts)
            self._places, self._offset = [array("q")], 0
            self._count.start()
        self._on_count()

    def stop(self) -> None:
        """Nothing is told any more of what was asked last."""
        self._count.stop()
        self._words, self._texts, self._places = "", [], []

    @Slot()
    def _on_count(self) -> None:
        end = time.perf_counter() + COUNT_S
        while not self._is_complete:
            self._count_some()
            if time.perf_counter() >= end:
                break
        if self._is_complete:
            self._count.stop()
            self.counted.emit(self._number(), sum(map(len, self._places)))

    @property
    def _is_complete(self) -> bool:
        return len(self._places) > len(self._texts)

    def _count_some(self) -> None:
        text, places = self._texts[len(self._places) - 1].folded, self._places[-1]
        last = self._offset + COUNT_CHARACTERS  # places begin before it
        for _place in range(COUNT_PLACES):
            at = text.find(self._words, self._offset, last + len(self._words) - 1)
            if at < 0:
                self._offset = last
                break
            places.append(at)
            self._offset = at + len(self._words)
        if self._offset >= len(text):
            self._places.append(array("q"))
            self._offset = 0

    def _number(self) -> int:
        document, offset = self._here
        return sum(map(len, self._places[:document])) + bisect_right(self._places[document], offset)
