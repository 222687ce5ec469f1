"""An offer below answers that need many places of the document, or all of it: summaries, lists and counts."""

import re
from typing import Final

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from app.views.flow import FlowLayout
from app.views.theme import GAP
from kiv_engine.config import SECTION_TOKENS

OFFERED: Final = (512, 1_024)
"""Old tokens for each word, beside the 256 that are usual."""
WORDS: Final = {
    "English": r"summar\w*|overview|outline|gist|conclude|main (?:points?|ideas?|themes?|topics?)|themes|count|"
    r"how (?:many|often)|number of|in total|list|(?:all|every|each) \w+|entire|whole|most (?:common|frequent|often)",
    "German": r"zusammenfass\w*|fass(?:e|t|en)?\b.*\bzusammen|überblick|übersicht|hauptthemen|hauptpunkte|themen|"
    r"wie ?viele?|wie oft|anzahl|zähle?n?|insgesamt|liste\w*|auflist\w*|alle[ns]? \w+|jede[mnrs]? \w+|gesamte[mnrs]?|"
    r"ganze[mnrs]?|häufigsten?",
    "French": r"résum\w+|synthèse|aperçu|grandes lignes|thèmes|idées principales|combien|nombre d\w*|au total|"
    r"compte[rz]? (?:les|combien)|énumère\w*|tou(?:s|te|tes) l\w+|tout l\w+|chaque \w+|entière?s?|plus fréquente?s?",
    "Spanish": r"resume (?:el|la|los|las|lo|este|esta)|resumen|resumir|resúm\w+|sinopsis|temas|ideas principales|"
    r"cuánt[oa]s|cuenta (?:los|las|cuánt\w+)|número de|en total|lista\w*|enumera\w*|tod[oa]s? l\w+|cada \w+|enter[oa]|"
    r"más frecuentes?",
    "Italian": r"riassu\w+|sintesi|panoramica|temi|idee principali|quant[ie]|conta(?:re)? (?:i|le|gli|quant\w+)|"
    r"numero di|in totale|elenc\w+|tutt[aeio] (?:i|il|gli|le|la|lo)|ogni \w+|inter[oa]|più frequenti?",
    "Portuguese": r"resum(?:a|ir|o)|sinopse|visão geral|temas|ideias principais|quant[oa]s|conte (?:os|as|quant\w+)|"
    r"número de|no total|liste|enumere|tod[oa]s? [oa]s?|cada \w+|inteir[oa]|mais frequentes?",
}
"""What is said where many places matter at once. Words of one language that mean something else in another one cost no
more than an offer that nobody needs."""
BROAD: Final = re.compile("|".join(rf"\b(?:{words})\b" for words in WORDS.values()), re.IGNORECASE)


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
        row = FlowLayout()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        column.addWidget(self.line)
        column.addLayout(row)
        self.buttons: list[QPushButton] = []
        for count in OFFERED:
            button = QPushButton(self.tr("With {0:,} places").format(count))
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
