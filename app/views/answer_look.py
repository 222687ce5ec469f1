"""Tables and links in an answer, in the theme's colours: Qt gives them theirs once, when it reads the text."""

from collections.abc import Iterator

from PySide6.QtGui import QBrush, QColor, QTextCharFormat, QTextCursor, QTextDocument, QTextFrameFormat, QTextTable

from app.views.theme import GAP, Colors


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
            shape.setTopMargin(2 * GAP)
            shape.setBottomMargin(GAP)
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
