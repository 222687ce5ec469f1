"""The rows of a page's tables: a line each where they hold values, as many as there are where they lay out the page."""

from collections.abc import Callable
from typing import Final

LAYOUT_LENGTH: Final = 1_000
"""Characters of a row from which on one with several lines in a cell is the layout of a page."""


class Row:
    """What a table's open row holds so far: lines by cells. A line has one text, or those of a nested row's cells."""

    def __init__(self, outer: "Row | None") -> None:
        """`outer` is the row that the table is in a cell of."""
        self.outer = outer
        self.cells: list[list[list[str]]] = []
        self.length = 0
        self.is_spread = False


class Rows:
    """Rows as lines, cells parted by bars; but those that lay out a page rather than hold values are not joined."""

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line
        self._tables: list[Row] = []

    @property
    def is_open(self) -> bool:
        """Whether lines are parts of a cell now."""
        return self._row() is not None

    def begin_table(self) -> None:
        self._tables.append(Row(self._row()))

    def end_table(self) -> None:
        if self._tables:
            self._tables.pop()

    def begin_cell(self) -> None:
        if self._tables and not self._tables[-1].is_spread:
            self._tables[-1].cells.append([])

    def end_row(self) -> None:
        """Hand the row of the innermost table on, to the cell that this is in or as a line."""
        if self._tables:
            row = self._tables[-1]
            texts = [" ".join(text.strip(" ") for line in cell for text in line) for cell in row.cells]
            self._tables[-1] = Row(row.outer)
            if any(texts):
                self.write(texts)

    def write(self, texts: list[str]) -> None:
        """A line, or the texts of a row's cells."""
        row = self._row()
        if row is None:
            self._write_line(joined(texts))
            return
        row.cells[-1].append(texts)
        row.length += sum(map(len, texts))
        if row.length > LAYOUT_LENGTH and (len(row.cells[-1]) > 1 or len(texts) > 1):
            self.spread()

    def spread(self) -> None:
        """Write what the open rows hold line by line, as they turned out to be layout; so is the rest of them."""
        rows, row = [], self._row()
        while row is not None and row.cells:
            rows.append(row)
            row = row.outer
        for row in reversed(rows):
            lines = [line for cell in row.cells for line in cell]
            row.cells, row.is_spread = [], True
            for line in lines:
                self._write_line(joined(line))

    def _row(self) -> Row | None:
        """The innermost row that has a cell which is open."""
        row = self._tables[-1] if self._tables else None
        if row is not None and not row.cells:
            row = row.outer
        return row if row is not None and row.cells else None


def joined(texts: list[str]) -> str:
    """The texts of cells as one line."""
    return " | ".join(texts).rstrip(" ")
