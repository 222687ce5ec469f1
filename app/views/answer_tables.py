"""Tables in an answer: thin lines in the theme's colour, and room around the words."""

from PySide6.QtGui import QBrush, QColor, QTextCursor, QTextDocument, QTextFrameFormat, QTextTable

from app.views.theme import GAP, Colors


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
