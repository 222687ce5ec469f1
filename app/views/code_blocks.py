"""Blocks of code in an answer: a panel behind each, colours for its words, and a button that copies it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QObject, QRectF, QTimer, Slot
from PySide6.QtGui import (
    QColor,
    QGuiApplication,
    QPainter,
    QPen,
    QTextBlock,
    QTextBlockFormat,
    QTextCursor,
    QTextFormat,
    QTextLayout,
)
from PySide6.QtWidgets import QTextBrowser

from app.code_colours import ColouredCode
from app.views.icons import IconButton
from app.views.theme import GAP, Theme

PADDING: Final = GAP + GAP // 2
LINES_AT_ONCE: Final = 40
"""Lines that are given their colours in one go: well under a frame."""
COPIED_MS: Final = 1_500
BUTTON: Final = 26


@dataclass(frozen=True)
class CodeRun:
    """Paragraphs of the document that are one block of code; `last` is included."""

    first: int
    last: int
    language: str
    text: str


class CodeBlocks(QObject):
    """What is drawn on and around the code of one answer.

    Attributes:
        runs: the blocks of code, in order.
        buttons: those that copy them; there when the answer is finished.
    """

    def __init__(self, theme: Theme, view: QTextBrowser) -> None:
        super().__init__(view)
        self._theme, self._view = theme, view
        self.runs: list[CodeRun] = []
        self.buttons: list[IconButton] = []
        self._coloured: dict[str, ColouredCode] = {}
        self._to_colour: deque[tuple[int, int]] = deque()
        self._slice = QTimer(self, singleShot=True)
        self._slice.timeout.connect(self._on_slice)
        self._copied = QTimer(self, singleShot=True, interval=COPIED_MS)
        self._copied.timeout.connect(self._on_copied_shown)
        theme.changed.connect(self._on_theme_changed)

    def find(self) -> None:
        """The document has another text: find its code and give it room."""
        self._drop_buttons()
        self.runs = code_runs(self._view)
        self._to_colour.clear()
        for run in self.runs:
            self._give_room(run)

    def finish(self, coloured: Sequence[ColouredCode]) -> None:
        """The text is all there: colour its code and offer to copy it, a slice at a time."""
        self._coloured = {each.text: each for each in coloured}
        self._begin_colouring()

    def place_buttons(self) -> None:
        """Put each button into the corner of its block."""
        for run, button in zip(self.runs, self.buttons, strict=False):
            area = self.area(run)
            button.move(round(area.right()) - BUTTON - 4, round(area.top()) + 4)

    def area(self, run: CodeRun) -> QRectF:
        """The panel of a block, in the view's coordinates."""
        document = self._view.document()
        layout = document.documentLayout()
        top = layout.blockBoundingRect(document.findBlockByNumber(run.first))
        bottom = layout.blockBoundingRect(document.findBlockByNumber(run.last))
        indent = document.findBlockByNumber(run.first).blockFormat().indent() * document.indentWidth()
        left = indent + 0.5
        right = self._view.viewport().width() - 1
        return QRectF(left, top.top() - PADDING, right - left, bottom.bottom() - top.top() + 2 * PADDING)

    @property
    def bottom(self) -> float:
        """The lower edge of the last panel; 0 without one."""
        return self.area(self.runs[-1]).bottom() if self.runs else 0.0

    def paint(self, painter: QPainter) -> None:
        """Draw the panels; before the text."""
        colors = self._theme.colors
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(colors.border)))
        painter.setBrush(QColor(colors.surface))
        for run in self.runs:
            painter.drawRoundedRect(self.area(run), GAP, GAP)

    # -- slices --------------------------------------------------------------------------------------------------

    def _give_room(self, run: CodeRun) -> None:
        """In few steps: each makes Qt lay the text out again."""
        document = self._view.document()
        first, last = document.findBlockByNumber(run.first), document.findBlockByNumber(run.last)
        room = QTextBlockFormat()
        room.setLeftMargin(PADDING)
        room.setRightMargin(PADDING + BUTTON)
        room.setNonBreakableLines(False)  # a long line would be cut off
        above, below = QTextBlockFormat(), QTextBlockFormat()
        is_below_code = code_fence(first.previous()) is not None  # whose panel is larger than its paragraphs
        above.setTopMargin(PADDING + GAP + (PADDING if is_below_code else 0))
        below.setBottomMargin(PADDING + 2 * GAP)
        cursor = QTextCursor(document)
        cursor.beginEditBlock()
        for start, end, shape in ((first, last, room), (first, first, above), (last, last, below)):
            cursor.setPosition(start.position())
            cursor.setPosition(end.position(), QTextCursor.MoveMode.KeepAnchor)
            cursor.mergeBlockFormat(shape)
        cursor.endEditBlock()

    def _begin_colouring(self) -> None:
        self._to_colour.clear()
        for place, run in enumerate(self.runs):
            starts = range(run.first, run.last + 1, LINES_AT_ONCE)
            self._to_colour.extend((place, start) for start in starts)
        if self._to_colour:
            self._slice.start()

    @Slot()
    def _on_slice(self) -> None:
        if not self._to_colour:
            return
        place, start = self._to_colour.popleft()
        self._colour(self.runs[place], start)
        if place == len(self.buttons):
            self._add_button(self.runs[place])
        if self._to_colour:
            self._slice.start()

    def _colour(self, run: CodeRun, start: int) -> None:
        coloured = self._coloured.get(run.text)
        if coloured is None:
            return
        document = self._view.document()
        colors = self._theme.colors
        first = block = document.findBlockByNumber(start)
        for number in range(start, min(start + LINES_AT_ONCE, run.last + 1)):
            spans = coloured.lines[number - run.first] if number - run.first < len(coloured.lines) else ()
            block.layout().setFormats([format_of(span.start, span.length, colors.code(span.kind)) for span in spans])
            end = block.position() + block.length()
            block = block.next()
        document.markContentsDirty(first.position(), end - first.position())

    def _add_button(self, run: CodeRun) -> None:
        button = IconButton(self._theme, "copy", self._name(run), self._view.viewport(), size=14)
        button.setFixedSize(BUTTON, BUTTON)
        button.setProperty("place", len(self.buttons))
        button.clicked.connect(self._on_copy)
        self.buttons.append(button)
        self.place_buttons()
        button.show()

    def _name(self, run: CodeRun) -> str:
        return self.tr("Copy the code ({0})").format(run.language) if run.language else self.tr("Copy the code")

    def _drop_buttons(self) -> None:
        for button in self.buttons:
            button.hide()
            button.deleteLater()
        self.buttons = []

    @Slot()
    def _on_copy(self) -> None:
        place = self.sender().property("place")
        QGuiApplication.clipboard().setText(self.runs[place].text)
        self.buttons[place].set_icon("check", self.tr("Copied"))
        self._copied.start()

    @Slot()
    def _on_copied_shown(self) -> None:
        for run, button in zip(self.runs, self.buttons, strict=False):
            button.set_icon("copy", self._name(run))

    @Slot()
    def _on_theme_changed(self) -> None:
        self._view.viewport().update()
        if self._coloured:
            self._begin_colouring()


def code_runs(view: QTextBrowser) -> list[CodeRun]:
    """The fenced blocks of code in a view's document, of Markdown in which neighbours are told apart."""
    runs: list[CodeRun] = []
    lines: list[str] = []
    block, before = view.document().begin(), None
    first = 0
    while block.isValid() or lines:
        fence = code_fence(block) if block.isValid() else None
        if before and lines and fence != before:
            runs.append(CodeRun(first, first + len(lines) - 1, before[1], "\n".join(lines)))
            lines = []
        if fence is not None:
            first = first if lines else block.blockNumber()
            lines.append(block.text().replace("\u2028", "\n"))
        before, block = fence, block.next()
    return runs


def code_fence(block: QTextBlock) -> tuple[str, str] | None:
    """The fence and the language, which may be "", of a line of fenced code; None for other text."""
    shape, fence = block.blockFormat(), QTextFormat.Property.BlockCodeFence
    if not shape.hasProperty(fence.value):
        return None
    language = shape.property(QTextFormat.Property.BlockCodeLanguage.value) or ""
    return str(shape.property(fence.value)), str(language)


def format_of(start: int, length: int, color: str) -> QTextLayout.FormatRange:
    """A stretch of a line in a colour."""
    stretch = QTextLayout.FormatRange()
    stretch.start, stretch.length = start, length
    shape = stretch.format
    shape.setForeground(QColor(color))
    stretch.format = shape
    return stretch
