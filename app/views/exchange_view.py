"""One question with its answer, the answer's figures, and the passages retrieved while it was written."""

import re
from collections import deque
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Final

from PySide6.QtCore import QByteArray, QCoreApplication, QEvent, QRect, QSize, Qt, QTimer, QUrl, Signal, Slot
from PySide6.QtGui import (
    QFocusEvent,
    QGuiApplication,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTextCursor,
    QTextDocument,
)
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from app.answer_words import settings_words
from app.figures import as_duration, as_rate
from app.models.chat import Chat, Exchange, ExchangeState
from app.section_words import section_line
from app.views.answer_look import colour_links, dress_rules, dress_tables, space_headings
from app.views.branches import BranchSwitcher, QuestionEditor
from app.views.claims_view import ClaimsView
from app.views.code_blocks import CodeBlocks
from app.views.icons import IconButton
from app.views.link_dialog import LinkDialog
from app.views.more_places import BROAD, MorePlaces
from app.views.passage_row import PassageRow
from app.views.theme import GAP, Theme
from kiv_engine.events import AnswerFinished, FinishReason, Passage

REFRESH_MS: Final = 50
MARKDOWN_CHARACTERS: Final = 4_000
"""While it grows, a longer answer is shown as plain text: parsing it again for every word would be felt."""
COPIED_MS: Final = 1_500
BUBBLE_SHARE: Final = 0.85
BUBBLE_PADDING: Final = 34
NO_BREAK_SPACE: Final = "\u00a0"
INERT: Final = QTextDocument.MarkdownFeature.MarkdownDialectGitHub | QTextDocument.MarkdownFeature.MarkdownNoHTML


class AnswerText(QTextBrowser):
    """Markdown as high as its text. No picture is loaded, and links ask: a document may have put them there.

    Attributes:
        code: the blocks of code in it.

    Signals:
        word_pointed: the word under the mouse or at the caret, and how many equal ones stand before it; empty for none.
        word_chosen: the same, of the word at the caret, when Enter is pressed.
    """

    word_pointed = Signal(str, int)
    word_chosen = Signal(str, int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.code = CodeBlocks(theme, self)
        self._markdown: str | None = ""
        self._plain = ""
        theme.changed.connect(self._on_theme_changed)
        self.setObjectName("answer")
        self.setOpenLinks(False)
        self.anchorClicked.connect(self._on_link)
        self.setAcceptDrops(False)
        self.setTextInteractionFlags(self.textInteractionFlags() | Qt.TextInteractionFlag.TextSelectableByKeyboard)
        self.cursorPositionChanged.connect(self._on_caret_moved)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.document().setDocumentMargin(0)
        self.document().documentLayout().documentSizeChanged.connect(self._fit)

    @Slot()
    def _fit(self) -> None:
        self.setFixedHeight(max(round(self.document().size().height()), self.fontMetrics().lineSpacing()) + 2)
        self.code.place_buttons()

    def set_markdown(self, text: str) -> None:
        """Show a text; raw HTML in it is shown as it is written."""
        if text == self._markdown:
            return
        self._markdown, self._plain = text, ""
        self.document().setMarkdown(text, INERT)
        self.moveCursor(QTextCursor.MoveOperation.Start)  # whoever comes with the keyboard reads from there
        self.code.find()
        space_headings(self.document())
        dress_tables(self.document(), self._theme.colors)
        dress_rules(self.document(), self._theme.colors)

    def set_plain(self, text: str) -> None:
        """Show a text as it is; one that begins with what is shown so is only made longer."""
        cursor = QTextCursor(self.document())
        if self._plain and text.startswith(self._plain):
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(text[len(self._plain) :])
        else:
            self.setPlainText(text)
            self.code.find()
        self._markdown, self._plain = None, text

    @Slot()
    def _on_theme_changed(self) -> None:
        if self._markdown:
            dress_tables(self.document(), self._theme.colors)
            dress_rules(self.document(), self._theme.colors)
            colour_links(self.document(), self._theme.colors)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self.code.runs:
            painter = QPainter(self.viewport())
            self.code.paint(painter)
            painter.end()
        super().paintEvent(event)

    @Slot(QUrl)
    def _on_link(self, url: QUrl) -> None:
        LinkDialog(url, self.window()).open()

    @Slot()
    def _on_caret_moved(self) -> None:
        """Follow the keyboard; a text that is shown anew moves the caret, too."""
        if self.hasFocus():
            self.word_pointed.emit(*word_at(self.textCursor()))
            self._reveal_caret()

    def _reveal_caret(self) -> None:
        """The text is as high as all its lines: it is what stands around it that scrolls."""
        around = self.parentWidget()
        while around is not None and not isinstance(around, QScrollArea):
            around = around.parentWidget()
        if around is not None and (content := around.widget()) is not None:
            place = self.viewport().mapTo(content, self.cursorRect().center())
            around.ensureVisible(place.x(), place.y(), 0, 2 * self.fontMetrics().lineSpacing())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        is_enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if is_enter and not self.textCursor().charFormat().isAnchor():
            self.word_chosen.emit(*word_at(self.textCursor()))
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        if event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason):
            self._on_caret_moved()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.word_pointed.emit("", 0)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        self.word_pointed.emit(*word_at(self.cursorForPosition(event.position().toPoint())))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.word_pointed.emit("", 0)

    def loadResource(self, _kind: int, _name: QUrl | str) -> Any:
        return QByteArray()  # for None, the document would look for a local file itself, on other PCs' disks too

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def sizeHint(self) -> QSize:
        return QSize(200, self.height())


def word_at(cursor: QTextCursor) -> tuple[str, int]:
    """The word that a cursor is at, or its selection begins in, and how many equal ones stand before it."""
    cursor.setPosition(cursor.selectionStart())
    cursor.select(QTextCursor.SelectionType.WordUnderCursor)
    word = cursor.selectedText()
    cursor.setPosition(cursor.selectionStart())
    cursor.movePosition(QTextCursor.MoveOperation.Start, QTextCursor.MoveMode.KeepAnchor)
    return word, len(word_places(word, cursor.selectedText()))


def word_places(word: str, text: str) -> list[int]:
    """Where a word begins in a text."""
    return [found.start() for found in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text)] if word else []


class QuestionBubble(QLabel):
    """As wide as its text, up to most of the column."""

    def __init__(self, question: str, parent: QWidget | None = None) -> None:
        super().__init__(question, parent)
        self.setObjectName("question")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setIndent(0)  # else Qt adds one as wide as an x to the style sheet's padding, on one side
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def fit(self, column_width: int) -> None:
        """Follow the width of the column."""
        flags = Qt.TextFlag.TextExpandTabs
        natural = self.fontMetrics().boundingRect(QRect(0, 0, 100_000, 100_000), flags, self.text()).width()
        width = min(natural + BUBBLE_PADDING, round(BUBBLE_SHARE * column_width))
        self.setMinimumHeight(0)  # the height that it had would be the least that the next one can be
        self.setFixedWidth(width)
        self.setFixedHeight(self.heightForWidth(width))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and (parent := self.parentWidget()):
            self.fit(parent.width())


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
        self.rows: list[PassageRow] = []
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
        answer.word_pointed.connect(self._on_word_pointed)
        answer.word_chosen.connect(self._on_word_chosen)
        answer.resize(self.width(), answer.height())  # its height follows from its width: the layout need not try twice
        self._text.addWidget(answer)
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
            made = "\n".join(settings_words(self._exchange.settings)) if self._exchange.settings else ""
            self.footer.setToolTip(made)
            self.footer.setAccessibleDescription(made)

    def _show_buttons(self) -> None:
        self.again.show()
        self.copy.setVisible(bool(self._exchange.answer))
        self.edit.setVisible(not (self._is_built("editor") and self.editor.isVisibleTo(self)))

    def _show_claims(self) -> None:
        if self._exchange.claims or self._is_built("claims"):
            self.claims.set_claims(self._exchange.claims)

    def _waiting_line(self) -> str:
        exchange = self._exchange
        match exchange.state:
            case ExchangeState.WAITING:
                return self.tr("Waiting: sent when the model is ready and everything is read")
            case ExchangeState.THINKING | ExchangeState.WRITING if exchange.sections:
                return section_line(exchange.sections)
            case ExchangeState.THINKING:
                return self.tr("Reading the question …")
            case ExchangeState.FAILED:
                return self.tr("Failed: {0}").format(exchange.message)
            case ExchangeState.DONE if not exchange.answer:
                return self.tr("The answer is empty.")
            case _:
                return ""

    def _show_passages(self) -> None:
        exchange = self._exchange
        if exchange.finished is None or self._passages.count():
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
        self._to_come.extend(partial(self._add_row, passage) for passage in passages)
        self._to_come.append(self._on_selection_changed)

    def _add_row(self, passage: Passage) -> None:
        heaviest = max(each.weight for each in self._exchange.passages)
        position = passage.place or self._share_of(passage)
        row = PassageRow(self._theme, passage.weight, passage.weight / heaviest, position, passage.text, self)
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
        for place, row in enumerate(self.rows):
            row.setChecked(mine and self._chat.selected_passage == place)
        if self._is_built("claims"):
            self.claims.set_chosen(self._chat.selected_claim if mine else None)

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
        answered = exchange.state is ExchangeState.DONE
        if not self._is_built("more") and not BROAD.search(exchange.question):
            return
        if exchange.by_section:
            self.more.hide()
        elif answered and self._chat.reading.tokens_total > usual.hot_tokens + usual.retrieved_tokens:
            self.more.offer(exchange.question, exchange.retrieved_tokens or usual.retrieved_tokens)
            self.more.offer_sections(self._chat.reading.tokens_read)
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


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("ExchangeView", text)


def unbroken_parts(line: str) -> str:
    """The same for a label that breaks lines: only behind a dot, never between a number and its unit."""
    joined = line.replace(" ", NO_BREAK_SPACE)
    return joined.replace(f"{NO_BREAK_SPACE}·{NO_BREAK_SPACE}", f"{NO_BREAK_SPACE}· ")


def reason_of_end(reason: FinishReason) -> str:
    """Why an answer ended, for a person."""
    reasons: dict[FinishReason, str] = {
        "stop": tr("ended by itself"),
        "length": tr("reached its length limit"),
        "stop_string": tr("ended at a stop text"),
        "cancelled": tr("stopped by you"),
    }
    return reasons[reason]


def footer_line(answer: AnswerFinished) -> str:
    """Like: 92 tok/s · first token 0.05 s · 36 tokens · ended by itself · reused 8,004, read 25."""
    one = answer.answer_tokens == 1
    parts = (
        as_rate(answer.decode_tokens_per_s),
        tr("first token {0}").format(as_duration(answer.first_token_s)),
        tr("1 token") if one else tr("{0:,} tokens").format(answer.answer_tokens),
        reason_of_end(answer.finish_reason),
        tr("reused {0:,}, read {1:,}").format(answer.reused_tokens, answer.prompt_tokens - answer.reused_tokens),
    )
    return " · ".join(parts)
