"""Tables, links, quotes and headings in an answer, which Qt gives a look of its own once, when it reads the text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFont,
    QPainter,
    QTextBlock,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextFrameFormat,
    QTextTable,
)

from app.views.code_blocks import PADDING, code_fence
from app.views.theme import GAP, Colors

QUOTE_INDENT: Final = 2 * GAP
QUOTE_BAR: Final = 3


def colour_links(document: QTextDocument, colors: Colors) -> None:
    """Give all links of a document the colour of links."""
    cursor = QTextCursor(document)
    shape = QTextCharFormat()
    shape.setForeground(QColor(colors.accent))
    for start, end in list(links_of(document)):  # all, before one changes
        cursor.setPosition(start)
        cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
        cursor.mergeCharFormat(shape)


def links_of(document: QTextDocument) -> Iterator[tuple[int, int]]:
    """Where the links of a document begin and end."""
    block = document.begin()
    while block.isValid():
        place = block.begin()
        while not place.atEnd():
            piece = place.fragment()
            if piece.charFormat().isAnchor():
                yield piece.position(), piece.position() + piece.length()
            place += 1
        block = block.next()


def dress_rules(document: QTextDocument, colors: Colors) -> None:
    """Give all rules across a document the colour of borders."""
    block = document.begin()
    while block.isValid():
        shape = block.blockFormat()
        if shape.hasProperty(QTextFormat.Property.BlockTrailingHorizontalRulerWidth):
            shape.setBackground(QColor(colors.border))
            QTextCursor(block).setBlockFormat(shape)
        block = block.next()


def space_headings(document: QTextDocument) -> None:
    """Set headings apart from what stands above them; Qt gives them no room at all."""
    block = document.begin().next()
    while block.isValid():
        shape = block.blockFormat()
        if shape.headingLevel():
            shape.setTopMargin(2 * GAP)
            QTextCursor(block).setBlockFormat(shape)
        block = block.next()


@dataclass(frozen=True)
class QuoteRun:
    """Neighbouring paragraphs of a document that are quoted at a level, or deeper; `last` is included."""

    level: int
    first: int
    last: int


def quote_level(block: QTextBlock) -> int:
    """How deep a paragraph is quoted; 0 for one that is not. Code has a panel instead."""
    level = block.blockFormat().property(QTextFormat.Property.BlockQuoteLevel.value)
    return 0 if level is None or code_fence(block) is not None else int(level)


def quote_runs(document: QTextDocument) -> list[QuoteRun]:
    """What is quoted in a document."""
    runs: list[QuoteRun] = []
    begun: dict[int, int] = {}  # at which paragraph, by level
    block = document.begin()
    while block.isValid() or begun:
        level = quote_level(block) if block.isValid() else 0
        number = block.blockNumber() if block.isValid() else document.blockCount()
        for ended in [other for other in begun if other > level]:
            runs.append(QuoteRun(ended, begun.pop(ended), number - 1))
        for each in range(1, level + 1):
            begun.setdefault(each, number)
        block = block.next()
    return runs


def indent_quotes(document: QTextDocument) -> None:
    """Set what is quoted in a little, to the right of its bar; Qt sets it in a lot, on both sides."""
    block = document.begin()
    while block.isValid():
        if level := quote_level(block):
            shape = block.blockFormat()
            shape.setLeftMargin(level * QUOTE_INDENT)
            shape.setRightMargin(0)
            QTextCursor(block).setBlockFormat(shape)
        block = block.next()


def paint_quotes(painter: QPainter, document: QTextDocument, runs: Sequence[QuoteRun], colors: Colors) -> None:
    """Draw a bar beside what is quoted."""
    layout = document.documentLayout()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colors.other))
    for run in runs:
        top = layout.blockBoundingRect(document.findBlockByNumber(run.first)).top()
        bottom = layout.blockBoundingRect(document.findBlockByNumber(run.last)).bottom()
        left = (run.level - 1) * QUOTE_INDENT
        painter.drawRoundedRect(QRectF(left, top, QUOTE_BAR, bottom - top), QUOTE_BAR / 2, QUOTE_BAR / 2)


def dress_tables(document: QTextDocument, colors: Colors) -> None:
    """Give all tables of a document their look."""
    for table in document.rootFrame().childFrames():
        if isinstance(table, QTextTable):
            shape = table.format().toTableFormat()
            shape.setBorder(1)
            shape.setBorderBrush(QBrush(QColor(colors.border)))
            shape.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
            shape.setBorderCollapse(True)
            shape.setCellPadding(GAP - 2)
            above = table.firstCursorPosition().block().previous()
            is_below_code = code_fence(above) is not None  # whose panel is larger than its paragraphs
            shape.setTopMargin(2 * GAP + (PADDING if is_below_code else 0))
            shape.setBottomMargin(GAP)
            table.setFormat(shape)
            _align_cells(table)
            _make_bold(table)


def open_tables(document: QTextDocument) -> None:
    """Take the lines off all tables of a document: it then has no colour that would have to follow the theme."""
    for table in document.rootFrame().childFrames():
        if isinstance(table, QTextTable):
            shape = table.format().toTableFormat()
            shape.setBorder(0)
            shape.setCellPadding(GAP // 2)
            shape.setLeftMargin(-GAP // 2)  # words stand below the words above the table
            shape.setTopMargin(GAP)
            table.setFormat(shape)
            _align_cells(table)


def _align_cells(table: QTextTable) -> None:
    """Without the margins of paragraphs, which the first cell of a table has more of than the others."""
    for row in range(table.rows()):
        for column in range(table.columns()):
            cell = table.cellAt(row, column)
            cursor: QTextCursor = cell.firstCursorPosition()
            if cursor.atBlockEnd() and cursor.block() != cell.lastCursorPosition().block():
                cursor.deleteChar()  # Qt begins a table that follows a list with an empty paragraph
            shape = cursor.blockFormat()
            shape.setTopMargin(0)
            shape.setBottomMargin(0)
            cursor.setBlockFormat(shape)


def _make_bold(table: QTextTable) -> None:
    """The first row whole: of a table that follows a block of code, Qt leaves the first cell as it is."""
    shape = QTextCharFormat()
    shape.setFontWeight(QFont.Weight.Bold)
    for column in range(table.columns()):
        cell = table.cellAt(0, column)
        cursor: QTextCursor = cell.firstCursorPosition()
        cursor.setPosition(cell.lastPosition(), QTextCursor.MoveMode.KeepAnchor)
        cursor.mergeCharFormat(shape)
