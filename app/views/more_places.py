"""An offer below answers that need many places of the document, or all of it: summaries, lists and counts."""

import re
from typing import Final

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from app.views.theme import GAP
from kiv_engine.config import SECTION_TOKENS

OFFERED: Final = (512, 1_024)
"""Old tokens for each word, beside the 256 that are usual."""
BROAD: Final = re.compile(
    r"\b(summar\w*|overview|outline|gist|conclude|main (?:points?|ideas?|themes?|topics?)|themes|how (?:many|often)|"
    r"count|number of|in total|list|(?:all|every|each) \w+|entire|whole|most (?:common|frequent|often))\b",
    re.IGNORECASE,
)
"""Questions about many places at once, in English."""


class MorePlaces(QWidget):
    """Says what limits the answer, and offers to answer again with more places.

    Signals:
        wanted: how many old tokens for each word.
        sections_wanted: answer again, section by section.
    """

    wanted = Signal(int)
    sections_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = QLabel()
        self.line.setObjectName("caption")
        self.line.setWordWrap(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GAP)
        row.addWidget(self.line, 1)
        self.buttons: list[QPushButton] = []
        for count in OFFERED:
            button = QPushButton(self.tr("With {0:,}").format(count))
            button.setObjectName("small")
            button.setAccessibleName(self.tr("Answer again with {0:,} places for each word").format(count))
            button.setProperty("count", count)
            button.clicked.connect(self._on_clicked)
            self.buttons.append(button)
            row.addWidget(button)
        self.sections = QPushButton(self.tr("By section"))
        self.sections.setObjectName("small")
        self.sections.clicked.connect(self.sections_wanted)
        self.sections.hide()
        row.addWidget(self.sections)
        self.hide()

    def offer_sections(self, tokens: int) -> None:
        """Offer to ask the question of each section of what was read, which is so many tokens long."""
        count = -(-tokens // SECTION_TOKENS)
        name = self.tr("Answer again section by section: about {0:,} sections").format(count)
        self.sections.setAccessibleName(name)
        self.sections.setToolTip(
            name
            + "\n"
            + self.tr(
                "Each is read once more, by itself and in full, and gets an answer of its own. Nothing is left out,\n"
                "but nothing is compared or added up across sections. It can be stopped at any time."
            )
        )
        self.sections.setVisible(count > 1)

    def offer(self, question: str, retrieved_tokens: int) -> bool:
        """Show the offer if the question is one that more places would help; whether it is shown."""
        more = [button for button in self.buttons if button.property("count") > retrieved_tokens]
        for button in self.buttons:
            button.setVisible(button in more)
        self.line.setText(
            self.tr(
                "For each word, every part of the model looks up at most {0:,} places of the document: a summary, list "
                "or count may be incomplete. More places help, and take longer; going by section leaves nothing out."
            ).format(retrieved_tokens)
        )
        shown = BROAD.search(question) is not None
        self.setVisible(shown)
        return shown

    @Slot()
    def _on_clicked(self) -> None:
        self.wanted.emit(self.sender().property("count"))
