"""A question as it was asked, in a bubble."""

from html import escape
from typing import Final

from PySide6.QtCore import QEvent, QRect, Qt
from PySide6.QtWidgets import QLabel, QWidget

from app.document_text import fold
from app.views.answer_text import places_in
from app.views.theme import BUBBLE_PADDING, Colors

SHARE: Final = 0.85
"""Of the column's width, so much at most."""
ROUNDED: Final = 2
"""Pixels more than the words take: their width is rounded."""


class QuestionBubble(QLabel):
    """As wide as its text, up to most of the column."""

    def __init__(self, question: str, parent: QWidget | None = None) -> None:
        super().__init__(question, parent)
        self._question = question
        self.setObjectName("question")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setIndent(0)  # else Qt adds one as wide as an x to the style sheet's padding, on one side
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def fit(self, column_width: int) -> None:
        """Follow the width of the column."""
        flags = Qt.TextFlag.TextExpandTabs
        natural = self.fontMetrics().boundingRect(QRect(0, 0, 100_000, 100_000), flags, self._question).width()
        width = min(natural + 2 * BUBBLE_PADDING + ROUNDED, round(SHARE * column_width))
        self.setMinimumHeight(0)  # the height that it had would be the least that the next one can be
        self.setFixedWidth(width)
        self.setFixedHeight(self.heightForWidth(width))

    def mark(self, words: str, chosen: int | None, colors: Colors) -> None:
        """Mark all places of words, "" for none, and the one with a number more than the others."""
        places, size, done = places_in(fold(self._question), fold(words)), len(words), 0
        if not places:
            self.setTextFormat(Qt.TextFormat.PlainText)
            self.setText(self._question)
            return
        said = ""
        for number, place in enumerate(places):
            color = colors.mark_strong if number == chosen else colors.mark
            found = escape(self._question[place : place + size])
            said += f'{escape(self._question[done:place])}<span style="background: {color}">{found}</span>'
            done = place + size
        self.setTextFormat(Qt.TextFormat.RichText)
        html = '<p style="margin: 0; white-space: pre-wrap">' + said + escape(self._question[done:]) + "</p>"
        self.setText(html)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and (parent := self.parentWidget()):
            self.fit(parent.width())
