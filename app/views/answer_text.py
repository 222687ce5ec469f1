"""An answer's text: Markdown as it grows, whose words can be pointed at."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from PySide6.QtCore import QByteArray, QEvent, QPoint, QSize, Qt, QUrl, Signal, Slot
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTextCursor,
    QTextDocument,
)
from PySide6.QtWidgets import QScrollArea, QSizePolicy, QTextBrowser, QTextEdit, QWidget

from app.code_fences import tell_apart
from app.document_text import fold
from app.views.answer_look import (
    QuoteRun,
    colour_links,
    dress_rules,
    dress_tables,
    indent_quotes,
    paint_quotes,
    quote_runs,
    space_headings,
)
from app.views.code_blocks import CodeBlocks
from app.views.link_dialog import LinkDialog
from app.views.theme import Theme

INERT: Final = QTextDocument.MarkdownFeature.MarkdownDialectGitHub | QTextDocument.MarkdownFeature.MarkdownNoHTML


class AnswerText(QTextBrowser):
    """Markdown as high as its text. No picture is loaded, and links ask: a document may have put them there.

    Attributes:
        code: the blocks of code in it.
        quotes: what is quoted in it.

    Signals:
        word_pointed: the word under the mouse or at the caret, and how many equal ones stand before it; empty for none.
        word_chosen: the same, of the word at the caret, when Enter is pressed.
        entered: it was clicked, or the keyboard came to it.
    """

    entered = Signal()
    word_pointed = Signal(str, int)
    word_chosen = Signal(str, int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.code = CodeBlocks(theme, self)
        self.quotes: list[QuoteRun] = []
        self._found: tuple[str, int | None] = ("", None)
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
        below = self.code.bottom  # the document ends with its last line, and the panel around that somewhat later
        height = max(self.document().size().height(), below, self.fontMetrics().lineSpacing())
        self.setFixedHeight(round(height) + 2)
        self.code.place_buttons()

    def set_markdown(self, text: str) -> None:
        """Show a text; raw HTML in it is shown as it is written."""
        if text == self._markdown:
            return
        self._markdown, self._plain = text, ""
        self.document().setMarkdown(tell_apart(text), INERT)
        self.moveCursor(QTextCursor.MoveOperation.Start)  # whoever comes with the keyboard reads from there
        space_headings(self.document())
        indent_quotes(self.document())
        dress_tables(self.document(), self._theme.colors)
        dress_rules(self.document(), self._theme.colors)
        self._find_panels()  # last, for paragraphs are counted, and tables lose some

    def set_plain(self, text: str) -> None:
        """Show a text as it is; one that begins with what is shown so is only made longer."""
        cursor = QTextCursor(self.document())
        if self._plain and text.startswith(self._plain):
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(text[len(self._plain) :])
        else:
            self.setPlainText(text)
            self._find_panels()
        self._markdown, self._plain = None, text

    def _find_panels(self) -> None:
        """What is drawn behind and beside the text that is there now."""
        self.code.find()
        self.quotes = quote_runs(self.document())
        self._fit()
        self._show_marks()

    def mark(self, words: str, chosen: int | None) -> None:
        """Mark all places of words, "" for none, and the one with a number more than the others."""
        self._found = (words, chosen)
        self._show_marks()

    def _show_marks(self) -> None:
        words, chosen = self._found
        marks, colors = [], self._theme.colors
        for number, cursor in enumerate(self._cursors_at(words)):
            mark = QTextEdit.ExtraSelection()
            mark.cursor = cursor
            mark.format.setBackground(QColor(colors.mark_strong if number == chosen else colors.mark))
            marks.append(mark)
        if marks or self.extraSelections():
            self.setExtraSelections(marks)

    def _cursors_at(self, words: str) -> Iterator[QTextCursor]:
        """A cursor over each place of words."""
        if not words:
            return
        text = self.document().toPlainText()
        starts = places_in(fold(text), fold(words))
        ends = in_units(text, [start + len(words) for start in starts])
        for start, end in zip(in_units(text, starts), ends, strict=True):
            cursor = QTextCursor(self.document())
            cursor.setPosition(start)
            cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
            yield cursor

    def middle_of(self, number: int) -> QPoint:
        """Where the place with a number is, of those that are marked."""
        marks = self.extraSelections()
        area = self.cursorRect(marks[number].cursor) if number < len(marks) else self.rect()
        return self.viewport().mapTo(self, area.center())

    @Slot()
    def _on_theme_changed(self) -> None:
        self._show_marks()
        if self._markdown:
            dress_tables(self.document(), self._theme.colors)
            dress_rules(self.document(), self._theme.colors)
            colour_links(self.document(), self._theme.colors)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self.code.runs or self.quotes:
            painter = QPainter(self.viewport())
            self.code.paint(painter)
            paint_quotes(painter, self.document(), self.quotes, self._theme.colors)
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
            self.entered.emit()
            self._on_caret_moved()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.word_pointed.emit("", 0)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.entered.emit()
        super().mousePressEvent(event)

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


def places_in(text: str, words: str) -> list[int]:
    """Where words begin in a text, both folded, one behind the other."""
    found, at = list[int](), text.find(words)
    while words and at >= 0:
        found.append(at)
        at = text.find(words, at + len(words))
    return found


def in_units(text: str, places: Sequence[int]) -> Iterator[int]:
    """Ascending places in a text, counted as Qt does: some characters are two UTF-16 units."""
    before = last = 0
    for place in places:
        before += len(text[last:place].encode("utf-16-le", "surrogatepass")) // 2
        last = place
        yield before


def shown_text(markdown: str) -> str:
    """What of a Markdown text is shown: its words, without the marks."""
    document = QTextDocument()
    document.setMarkdown(tell_apart(markdown), INERT)
    return document.toPlainText()


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
