"""One question with its answer, the answer's figures, and the passages retrieved while it was written."""

from collections import deque
from collections.abc import Callable
from functools import cached_property, partial
from typing import Final

from PySide6.QtCore import QPoint, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QGuiApplication, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.answer_words import footer_line, reading_line, settings_words, unbroken_parts
from app.figures import as_place
from app.models.chat import Chat, Exchange, ExchangeState
from app.section_words import section_line
from app.views.answer_text import AnswerText, word_places
from app.views.branches import BranchSwitcher, QuestionEditor
from app.views.chat_search import FoundPlace
from app.views.claims_view import ClaimsView
from app.views.fold import Fold
from app.views.icons import IconButton
from app.views.more_places import BROAD, MorePlaces
from app.views.passage_row import PassageRow
from app.views.question_bubble import QuestionBubble
from app.views.theme import GAP, Theme
from kiv_engine.events import Passage

REFRESH_MS: Final = 50
MARKDOWN_CHARACTERS: Final = 4_000
"""While it grows, a longer answer is shown as plain text: parsing it again for every word would be felt."""
COPIED_MS: Final = 1_500
FAINT: Final = 0.05
"""Passages of less than this share of the best one's weight stand behind one line: most are there by chance, but not
all, so none is left out.
"""


class ExchangeView(QWidget):
    """Shows an exchange of a chat and follows its changes.

    Signals:
        passage_chosen: number of the exchange, number of the passage.
        claim_chosen: number of the exchange, number of the claim.
        again_wanted: id of the exchange: answer it again.
        more_wanted: id of the exchange, and how many places each word of another answer shall draw on.
        sections_wanted: id of the exchange: answer it again, section by section.
        edited: id of the exchange, and what to ask in its place.
        grown: it needs another height, and should have it before anything is painted.
    """

    grown = Signal()
    passage_chosen = Signal(int, int)
    claim_chosen = Signal(int, int)
    again_wanted = Signal(int)
    more_wanted = Signal(int, int)
    sections_wanted = Signal(int)
    edited = Signal(int, str)

    def __init__(self, theme: Theme, chat: Chat, exchange_id: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._chat = chat
        self.exchange_id = exchange_id
        self.question = QuestionBubble(self._exchange.question)
        self.waiting = QLabel()
        self.waiting.setObjectName("muted")
        self.waiting.setTextFormat(Qt.TextFormat.PlainText)
        self.waiting.setWordWrap(True)
        self.rows: list[PassageRow] = []
        self.fold: Fold | None = None
        self._found: tuple[str, FoundPlace | None] = ("", None)
        self._to_come: deque[Callable[[], None]] = deque()
        self._is_live = False
        self._next = QTimer(self, singleShot=True)
        self._next.timeout.connect(self._on_next)
        self._refresh = QTimer(self, singleShot=True, interval=REFRESH_MS)
        self._refresh.timeout.connect(self._show)
        self._copied = QTimer(self, singleShot=True, interval=COPIED_MS)
        self._copied.timeout.connect(self._on_copied_shown)
        self._arrange()
        chat.exchange_changed.connect(self._on_changed)
        chat.selection_changed.connect(self._on_selection_changed)
        theme.changed.connect(self._on_theme_changed)
        self._show()

    def _arrange(self) -> None:
        self._asked, self._figures, self._passages = QHBoxLayout(), QGridLayout(), QVBoxLayout()
        self._above, self._text, self._below = QVBoxLayout(), QVBoxLayout(), QVBoxLayout()
        self._asked.addStretch(1)
        self._asked.addWidget(self.question)
        self._figures.setSpacing(0)
        self._figures.setColumnStretch(0, 1)
        self._passages.setSpacing(0)
        self._passages.setContentsMargins(0, 0, 0, 0)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        column.addLayout(self._asked)
        column.addLayout(self._above)
        column.addSpacing(GAP)
        column.addWidget(self.waiting)
        column.addLayout(self._text)
        column.addLayout(self._figures)
        column.addLayout(self._below)
        column.addLayout(self._passages)

    # What is not shown yet, or never, is built when it is shown first: all of it at once would be felt.

    @cached_property
    def answer(self) -> AnswerText:
        """The answer's text."""
        answer = AnswerText(self._theme)
        answer.setAccessibleName(self.tr("Answer"))
        answer.setAccessibleDescription(self.tr("Enter goes to the passage at which the word at the caret looked"))
        answer.entered.connect(self._on_entered)
        answer.word_pointed.connect(self._on_word_pointed)
        answer.word_chosen.connect(self._on_word_chosen)
        answer.resize(self.width(), answer.height())  # its height follows from its width: the layout need not try twice
        self._text.addWidget(answer)
        self._mark_answer(answer)
        return answer

    @cached_property
    def footer(self) -> QLabel:
        """The answer's figures."""
        footer = QLabel()
        footer.setObjectName("caption")
        footer.setWordWrap(True)
        self._figures.addWidget(footer, 0, 0)
        return footer

    @cached_property
    def again(self) -> IconButton:
        """Answers again."""
        again = IconButton(self._theme, "again", self.tr("Answer again"), size=16)
        again.clicked.connect(self._on_again)
        self._figures.addWidget(again, 0, 1, Qt.AlignmentFlag.AlignTop)
        return again

    @cached_property
    def copy(self) -> IconButton:
        """Copies the answer."""
        copy = IconButton(self._theme, "copy", self.tr("Copy the answer"), size=16)
        copy.clicked.connect(self.copy_answer)
        self._figures.addWidget(copy, 0, 2, Qt.AlignmentFlag.AlignTop)
        return copy

    @cached_property
    def edit(self) -> IconButton:
        """Changes the question."""
        edit = IconButton(self._theme, "edit", self.tr("Edit and ask again"), size=16)
        edit.clicked.connect(self.open_editor)
        self._asked.insertWidget(1, edit)
        self.setTabOrder(self.question, edit)
        return edit

    @cached_property
    def editor(self) -> QuestionEditor:
        """To change the question."""
        editor = QuestionEditor(self._theme)
        editor.edited.connect(self._on_edited)
        editor.cancelled.connect(self.close_editor)
        editor.hide()
        self._above.insertWidget(0, editor)
        return editor

    @cached_property
    def branches(self) -> BranchSwitcher:
        """From one branch to another."""
        branches = BranchSwitcher(self._theme)
        branches.step_wanted.connect(self._on_branch_step)
        branches.hide()
        self._above.addWidget(branches, 0, Qt.AlignmentFlag.AlignRight)
        return branches

    @cached_property
    def more(self) -> MorePlaces:
        """The offer of more places."""
        more = MorePlaces()
        more.wanted.connect(self._on_more)
        more.sections_wanted.connect(self._on_sections)
        self._below.insertWidget(0, more)
        return more

    @cached_property
    def claims(self) -> ClaimsView:
        """Quotes and numbers, looked up."""
        claims = ClaimsView(self._theme)
        claims.claim_chosen.connect(self._on_claim)
        self._below.addWidget(claims)
        return claims

    def _is_built(self, part: str) -> bool:
        return part in self.__dict__

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """On what does nothing else with it: the captions and figures."""
        if self.has_answer:
            self._on_entered()
        super().mousePressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.question.fit(event.size().width())

    @property
    def _exchange(self) -> Exchange:
        return self._chat.all_exchanges[self.exchange_id]

    @property
    def has_answer(self) -> bool:
        return bool(self._exchange.answer)

    @Slot(int)
    def _on_changed(self, number: int) -> None:
        if number != self.exchange_id:
            return
        self._is_live = True
        if self._exchange.state is ExchangeState.WRITING:
            if not self._refresh.isActive():
                self._refresh.start()
        else:
            self._refresh.stop()
            self._show()

    @property
    def is_over(self) -> bool:
        return self._exchange.is_over

    @property
    def is_shown(self) -> bool:
        """Whether all of it is shown; an answer's end comes a slice at a time."""
        return not self._to_come

    @Slot()
    def _show(self) -> None:
        """Show what there is; an answer that ends now a slice at a time: all at once would be felt."""
        self._to_come.clear()
        if not self._exchange.is_over:
            self._change(self._show_state, self._show_text)
            return
        self._change(self._show_state)
        self._to_come.extend(
            (self._show_text, self._show_footer, self._show_buttons, self._show_claims, self._offer_more)
        )
        self._to_come.append(self._show_passages)
        if self._is_live:
            self._next.start()
            return
        while self._to_come:
            self._to_come.popleft()()

    def _change(self, *steps: Callable[[], None]) -> None:
        """Take some steps of showing, and let nothing be painted before all stands where it belongs.

        When a transcript at its end scrolls because of them, Qt then moves what is seen of the other exchanges. Where
        anything of it had changed before, it would paint all of them anew, for each line of an answer.
        """
        self.setUpdatesEnabled(False)
        for step in steps:
            step()
        if self.isVisible() and self.heightForWidth(self.width()) != self.height():
            self.grown.emit()
        self.setUpdatesEnabled(True)

    @Slot()
    def _on_next(self) -> None:
        if self._to_come:
            self._change(self._to_come.popleft())
        if self._to_come:
            self._next.start()

    def _show_state(self) -> None:
        name = "error" if self._exchange.state is ExchangeState.FAILED else "muted"
        if name != self.waiting.objectName():
            self.waiting.setObjectName(name)
            self.waiting.style().polish(self.waiting)
        self.waiting.setText(self._waiting_line())
        self.waiting.setVisible(bool(self.waiting.text()))

    def _show_text(self) -> None:
        exchange = self._exchange
        if not exchange.answer and not self._is_built("answer"):
            return
        self.answer.setVisible(bool(exchange.answer))
        if exchange.is_over or len(exchange.answer) <= MARKDOWN_CHARACTERS:
            self.answer.set_markdown(exchange.answer)
        else:
            self.answer.set_plain(exchange.answer)
        if exchange.is_over:
            self.answer.code.finish(exchange.code)

    def _show_footer(self) -> None:
        if finished := self._exchange.finished:
            self.footer.setText(unbroken_parts(footer_line(finished)))
            self.footer.show()
            settings = settings_words(self._exchange.settings) if self._exchange.settings else ()
            made = "\n".join([reading_line(finished), *settings])
            self.footer.setToolTip(made)
            self.footer.setAccessibleDescription(made)

    def _show_buttons(self) -> None:
        self.again.show()
        self.copy.setVisible(bool(self._exchange.answer))
        self.edit.setVisible(not (self._is_built("editor") and self.editor.isVisibleTo(self)))

    def _show_claims(self) -> None:
        """Without a document there is nowhere to look them up."""
        claims = self._exchange.claims if self._chat.documents else ()
        if claims or self._is_built("claims"):
            self.claims.set_claims(claims)

    def _waiting_line(self) -> str:
        exchange = self._exchange
        match exchange.state:
            case ExchangeState.WAITING:
                return self.tr("Waiting: sent when the model is ready and everything is read")
            case ExchangeState.THINKING | ExchangeState.WRITING if exchange.sections:
                return section_line(exchange.sections)
            case ExchangeState.THINKING:
                return self._thinking_line()
            case ExchangeState.FAILED:
                return self.tr("Failed: {0}").format(exchange.message)
            case ExchangeState.UNFINISHED:
                return self.tr("{0} Answer again for all of it.").format(exchange.message)
            case ExchangeState.DONE if not exchange.answer:
                return self.tr("The answer is empty.")
            case _:
                return ""

    def _thinking_line(self) -> str:
        """What is read before the first word."""
        back = self._exchange.going_back
        if back is None or back.tokens_read == back.tokens_total:
            return self.tr("Reading the question …")
        line = self.tr("Going back to what was said in this chat … {0:,} of {1:,} tokens")
        return line.format(back.tokens_read, back.tokens_total)

    def _show_passages(self) -> None:
        exchange = self._exchange
        if exchange.finished is None or not exchange.answer or self._passages.count():
            return
        passages = exchange.passages
        empty = self.tr("No passage of a document was retrieved while writing this answer")
        if exchange.by_section:
            empty = self.tr("Each section was read by itself, in full; nothing was compared or added up across them")
        caption = QLabel(self.tr("Passages retrieved while writing this answer") if passages else empty)
        caption.setObjectName("caption")
        caption.setWordWrap(not passages)  # the other captions are whole sentences
        self._passages.addSpacing(GAP)
        self._passages.addWidget(caption)
        caption.show()
        self._passages.addSpacing(GAP // 2)
        self._to_come.extend(partial(self._add_row, passage) for passage in passages[: self._num_strong])
        if len(passages) > self._num_strong:
            self._to_come.append(self._add_fold)
        self._to_come.append(self._on_selection_changed)

    @property
    def _num_strong(self) -> int:
        """How many passages are shown at once. The heaviest comes first."""
        passages = self._exchange.passages
        return sum(passage.weight >= FAINT * passages[0].weight for passage in passages)

    def _add_fold(self) -> None:
        faint = len(self._exchange.passages) - self._num_strong
        text = self.tr("1 fainter passage") if faint == 1 else self.tr("{0:,} fainter passages").format(faint)
        self.fold = Fold(self._theme, text, self)
        self.fold.setToolTip(self.tr("Each has less than {0:.0f} % of the first one's weight").format(100 * FAINT))
        self.fold.toggled.connect(self._on_fold)
        self._passages.addWidget(self.fold, 0, Qt.AlignmentFlag.AlignLeft)
        self.fold.show()

    @Slot(bool)
    def _on_fold(self, is_open: bool) -> None:
        """Show or hide the faint ones; they are made when they are wanted first."""
        self._change(partial(self._show_faint, is_open=is_open))

    def _show_faint(self, *, is_open: bool) -> None:
        for passage in self._exchange.passages[len(self.rows) :]:
            above = self.rows[-1] if len(self.rows) > self._num_strong else self.fold
            self._add_row(passage)
            assert above is not None
            self.setTabOrder(above, self.rows[-1])
        for row in self.rows[self._num_strong :]:
            row.setVisible(is_open)

    def _add_row(self, passage: Passage) -> None:
        heaviest = max(each.weight for each in self._exchange.passages)
        documents = self._chat.documents
        names = [documents[self._chat.document_of(passage)].name] if len(documents) > 1 else []
        section = passage.section
        if "/" in passage.section:  # a file in a folder: beside the text there is no room for its name
            names.append(passage.section)
            section = ""
        place = as_place(passage.page, section, passage.row, passage.line)
        position, bar = place or self._share_of(passage), passage.weight / heaviest
        row = PassageRow(self._theme, passage.weight, bar, position, passage.text, ", ".join(names), self)
        row.clicked.connect(self._on_passage)
        row.setProperty("place", len(self.rows))
        row.resize(self.width(), row.height())  # its height follows from its width: the layout need not try twice
        self.rows.append(row)
        self._passages.addWidget(row)
        row.show()

    def _share_of(self, passage: Passage) -> str:
        """How far into its document a passage begins, in tokens: a kept chat has no text yet."""
        documents, number = self._chat.documents, self._chat.document_of(passage)
        place = documents[number].place if documents else None
        if place is None:
            return ""
        share = (passage.token_start - place.start) / max(1, place.tokens)
        return self.tr("at {0:.1f} %").format(100 * min(max(share, 0.0), 1.0))

    @Slot()
    def _on_entered(self) -> None:
        """Look at this answer's evidence, where another one's is looked at."""
        if self._chat.selected_exchange != self.exchange_id:
            self._chat.select(self.exchange_id)

    @Slot(str, int)
    def _on_word_pointed(self, word: str, number: int) -> None:
        if self._chat.selected_exchange == self.exchange_id:
            self._chat.point(self._tokens_of(word, number))

    @Slot(str, int)
    def _on_word_chosen(self, word: str, number: int) -> None:
        passage = self._chat.passage_at(self._exchange, self._tokens_of(word, number))
        if passage is not None:
            self.passage_chosen.emit(self.exchange_id, passage)

    def _tokens_of(self, word: str, number: int) -> range:
        """Find the word in the answer as it was written: what is shown has no asterisks and the like."""
        places = word_places(word, self._exchange.answer)
        start = places[number] if number < len(places) else 0
        end = start + (len(word) if number < len(places) else 0)
        return self._exchange.evidence.tokens_of(start, end)

    @Slot()
    def _on_passage(self) -> None:
        self.passage_chosen.emit(self.exchange_id, self.sender().property("place"))

    @Slot()
    def _on_selection_changed(self) -> None:
        mine = self._chat.selected_exchange == self.exchange_id
        if mine and self.fold and (self._chat.selected_passage or 0) >= self._num_strong:
            self.fold.setChecked(True)
        for place, row in enumerate(self.rows):
            row.setChecked(mine and self._chat.selected_passage == place)
        if self._is_built("claims"):
            self.claims.set_chosen(self._chat.selected_claim if mine else None)

    # -- words that are looked for -------------------------------------------------------------------------------

    def mark(self, words: str, place: FoundPlace | None) -> None:
        """Mark all places of words, "" for none, and one more than the others."""
        self._found = (words, place)
        self.question.mark(words, place.number if place and not place.in_answer else None, self._theme.colors)
        if self._is_built("answer"):
            self._mark_answer(self.answer)

    def _mark_answer(self, answer: AnswerText) -> None:
        words, place = self._found
        answer.mark(words, place.number if place and place.in_answer else None)

    @Slot()
    def _on_theme_changed(self) -> None:
        if self._found[0]:
            self.mark(*self._found)

    def middle_of(self, place: FoundPlace) -> QPoint:
        """Where a place is that is marked. A question is short: its middle is near enough."""
        if place.in_answer and self._is_built("answer"):
            return self.answer.mapTo(self, self.answer.middle_of(place.number))
        return self.question.geometry().center()

    # -- branches ------------------------------------------------------------------------------------------------

    def show_branches(self) -> None:
        """Tell which branch this is, if there are several."""
        siblings = self._chat.siblings(self._exchange)
        if len(siblings) == 1 and not self._is_built("branches"):
            return
        self.branches.set_place(siblings.index(self._exchange), len(siblings))

    @Slot(int)
    def _on_branch_step(self, step: int) -> None:
        siblings = self._chat.siblings(self._exchange)
        self._chat.show_branch(siblings[(siblings.index(self._exchange) + step) % len(siblings)])

    @Slot()
    def _on_again(self) -> None:
        self.again_wanted.emit(self.exchange_id)

    def _offer_more(self) -> None:
        """Only where there is more of the document than what every word sees anyway."""
        exchange, usual = self._exchange, self._chat.engine_config
        answered, read = exchange.state is ExchangeState.DONE and exchange.answer, self._chat.reading
        if not self._is_built("more") and not BROAD.search(exchange.question):
            return
        if exchange.by_section:
            self.more.hide()
        elif answered and read.tokens_total > usual.hot_tokens + usual.retrieved_tokens:
            self.more.offer(exchange.question, exchange.retrieved_tokens or usual.retrieved_tokens)
            self.more.offer_sections(read.tokens_read or read.tokens_total)  # not opened yet, since the start
        else:
            self.more.hide()

    @Slot(int)
    def _on_more(self, retrieved_tokens: int) -> None:
        self.more_wanted.emit(self.exchange_id, retrieved_tokens)

    @Slot()
    def _on_sections(self) -> None:
        self.sections_wanted.emit(self.exchange_id)

    @Slot()
    def open_editor(self) -> None:
        """Let the question be changed."""
        self._show_editor(shown=True)
        self.editor.open(self._exchange.question)

    @Slot()
    def close_editor(self) -> None:
        """Leave the question as it is."""
        self._show_editor(shown=False)
        self.edit.setFocus()

    def _show_editor(self, *, shown: bool) -> None:
        self.editor.setVisible(shown)
        self.question.setVisible(not shown)
        self.edit.setVisible(not shown)

    @Slot(str)
    def _on_edited(self, question: str) -> None:
        self._show_editor(shown=False)
        self.edited.emit(self.exchange_id, question)

    @Slot(int)
    def _on_claim(self, claim: int) -> None:
        self.claim_chosen.emit(self.exchange_id, claim)

    @Slot()
    def copy_answer(self) -> None:
        """Put the answer on the clipboard."""
        QGuiApplication.clipboard().setText(self._exchange.answer)
        self.copy.set_icon("check", self.tr("Copied"))
        self._copied.start()

    @Slot()
    def _on_copied_shown(self) -> None:
        self.copy.set_icon("copy", self.tr("Copy the answer"))
