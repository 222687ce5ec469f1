"""Where words stand next in the documents, how many times they stand there, and which of these is the one at hand."""

import time
from array import array
from bisect import bisect_left, bisect_right
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
    """Finds all places of words, in a long text bit by bit. They do not overlap.

    Signals:
        found: the DocumentText, and the first and the last but one of its characters, of the place that was sought; as
            soon as it is known, and not at all where there is none.
        counted: which place that is, from 1, and of how many; 0 of 0 where there is none.
    """

    found = Signal(object, int, int)
    counted = Signal(int, int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._words = ""
        self._texts: list[DocumentText] = []
        self._here = (0, 0)  # what is sought lies beyond it; once found, the place itself
        self._is_back = self._is_sought = False
        self._places: list[array[int]] = []
        self._offset = 0  # all before it, in the text of the last of `_places`, is looked through
        self._count = QTimer(self, interval=0)
        self._count.timeout.connect(self._on_count)

    def seek(self, words: str, texts: Sequence[DocumentText], here: tuple[int, int], *, back: bool = False) -> None:
        """Find the place of words, which are not empty, that begins next at `here` or behind it, or else ends next
        before it, and go around the end: `here` is the number of a document and a character of it. Then count all
        places. What was gone through before is not gone through again.
        """
        wanted = fold(words)
        self._here, self._is_back, self._is_sought = here, back, True
        if (wanted, list(texts)) != (self._words, self._texts):
            self._words, self._texts = wanted, list(texts)
            self._places, self._offset = [array("q")], 0
            self._count.start()
        self._on_count()

    def stop(self) -> None:
        """Nothing is told any more of what was asked last."""
        self._count.stop()
        self._is_sought = False
        self._words, self._texts, self._places = "", [], []

    @Slot()
    def _on_count(self) -> None:
        end = time.perf_counter() + COUNT_S
        while not self._is_complete:
            self._count_some()
            if time.perf_counter() >= end:
                break
        if self._is_sought and (place := self._sought()) is not None:
            self._here, self._is_sought = place, False
            document, start = place
            self.found.emit(self._texts[document], start, start + len(self._words))
        if self._is_complete:
            self._count.stop()
            count = sum(map(len, self._places))
            self.counted.emit(self._number() if count else 0, count)

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

    def _sought(self) -> tuple[int, int] | None:
        """The document and the character where the place begins that is sought; None while it is not known."""
        if (place := self._before() if self._is_back else self._behind()) is not None or not self._is_complete:
            return place
        documents = [number for number, places in enumerate(self._places) if places]
        if not documents:
            return None
        number = documents[-1 if self._is_back else 0]
        return number, self._places[number][-1 if self._is_back else 0]

    def _behind(self) -> tuple[int, int] | None:
        document, offset = self._here
        for number in range(document, len(self._places)):
            places = self._places[number]
            at = bisect_left(places, offset) if number == document else 0
            if at < len(places):
                return number, places[at]
        return None

    def _before(self) -> tuple[int, int] | None:
        document, offset = self._here
        if (len(self._places) - 1, self._offset) < self._here:  # nearer ones may come
            return None
        for number in range(document, -1, -1):
            places = self._places[number]
            at = bisect_right(places, offset - len(self._words)) if number == document else len(places)
            if at:
                return number, places[at - 1]
        return None

    def _number(self) -> int:
        document, offset = self._here
        return sum(map(len, self._places[:document])) + bisect_right(self._places[document], offset)
