"""One passage below an answer: its weight, where it stands, its text, and of which file. A click goes there."""

from typing import Final

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QResizeEvent, QTextLayout, QTextOption
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from app.models.chat_list import plain_tip
from app.views.paragraphs import direction_of
from app.views.theme import GAP, Theme, with_letters

WEIGHT_WIDTH: Final = 56
PLACE_WIDTH: Final = 72
TEXT_LINES: Final = 2
BAR_TOP: Final = 3
BAR: Final = 4
LINE: Final = int(Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextSingleLine)


class PassageRow(QAbstractButton):
    """A button with a bar as long as the passage's weight. `document` is the name of its file, or "" where all are of
    one.
    """

    def __init__(
        self,
        theme: Theme,
        weight: float,
        bar: float,
        place: str,
        text: str,
        document: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._weight = f"{100 * weight:.0f} %" if weight >= 0.01 else "< 1 %"
        self._bar = bar
        self._place = place
        self._document = document
        self._text = with_ellipsis(" ".join(text.split()))
        self._broken_for: tuple[int, str] | None = None
        self._broken: list[tuple[int, int]] = []
        where = ", ".join(filter(None, (document, place)))
        self.setAccessibleName(self.tr("Passage, weight {0}, {1}: {2}").format(self._weight, where, self._text))
        self.setToolTip(plain_tip([self.tr("Show in the document: {0}").format(where)]))
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    # -- Qt ------------------------------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        lines = max(1, min(TEXT_LINES, len(self._lines(max(self.width(), 320))))) + bool(self._document)
        line = self.fontMetrics().lineSpacing()
        return QSize(320, max(lines * line, line + BAR_TOP + BAR) + 2 * GAP)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        if event.size().width() != event.oldSize().width():
            self.updateGeometry()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colors, area = self._theme.colors, QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.setPen(QColor(colors.accent) if self.hasFocus() else Qt.PenStyle.NoPen)
        fill = colors.mark if self.isChecked() else colors.hover if self.underMouse() else None
        painter.setBrush(QColor(fill) if fill else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(area, GAP, GAP)
        self._paint_weight(painter)
        painter.setPen(QColor(colors.muted))
        line = QRectF(0, GAP, 0, self.fontMetrics().lineSpacing())
        place = self.fontMetrics().elidedText(self._place, Qt.TextElideMode.ElideRight, self._place_width - GAP // 2)
        painter.drawText(line.translated(GAP + self._weight_width, 0).adjusted(0, 0, self._place_width, 0), 0, place)
        painter.setPen(QColor(colors.text))
        self._paint_text(painter)
        self._paint_document(painter)
        painter.end()

    # -- painting ------------------------------------------------------------------------------------------------

    def _paint_weight(self, painter: QPainter) -> None:
        height = self.fontMetrics().lineSpacing()
        painter.setPen(QColor(self._theme.colors.text))
        painter.drawText(QRectF(GAP, GAP, self._weight_width - GAP, height), 0, self._weight)
        track = QRectF(GAP, GAP + height + BAR_TOP, self._weight_width - 2 * GAP, BAR)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._theme.colors.hover))
        painter.drawRoundedRect(track, 2, 2)
        painter.setBrush(QColor(self._theme.colors.heat))
        painter.drawRoundedRect(QRectF(track.x(), track.y(), max(BAR, track.width() * self._bar), BAR), 2, 2)

    @property
    def _weight_width(self) -> int:
        return with_letters(WEIGHT_WIDTH, self.fontMetrics())

    @property
    def _place_width(self) -> int:
        return with_letters(PLACE_WIDTH, self.fontMetrics())

    def _text_left(self) -> int:
        return GAP + self._weight_width + self._place_width

    def _paint_text(self, painter: QPainter) -> None:
        width = self.width() - self._text_left() - GAP
        lines = self._lines(self.width())
        line = QRectF(self._text_left(), GAP, width, self.fontMetrics().lineSpacing())
        painter.setLayoutDirection(direction_of(self._text))  # which also turns left into right
        for number, (start, length) in enumerate(lines[:TEXT_LINES]):
            more = number == TEXT_LINES - 1 and len(lines) > TEXT_LINES
            text = self._text[start:] if more else self._text[start : start + length]
            if more:
                text = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, width)
            painter.drawText(line.translated(0, number * line.height()), LINE, text.rstrip())

    def _paint_document(self, painter: QPainter) -> None:
        """Below the text."""
        height, width = self.fontMetrics().lineSpacing(), self.width() - self._text_left() - GAP
        name = self.fontMetrics().elidedText(self._document, Qt.TextElideMode.ElideMiddle, width)
        painter.setLayoutDirection(Qt.LayoutDirection.LeftToRight)
        painter.setPen(QColor(self._theme.colors.muted))
        painter.drawText(QRectF(self._text_left(), self.height() - GAP - height, width, height), LINE, name)

    def _lines(self, width: int) -> list[tuple[int, int]]:
        """Start and length of the text's first lines at a width of the whole row; layouts ask hundreds of times."""
        wanted = (width, self.font().key())
        if wanted != self._broken_for:
            self._broken_for, self._broken = wanted, self._break(width)
        return self._broken

    def _break(self, width: int) -> list[tuple[int, int]]:
        layout = QTextLayout(self._text, self.font())
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout.setTextOption(option)
        layout.beginLayout()
        lines: list[tuple[int, int]] = []
        while len(lines) <= TEXT_LINES and (line := layout.createLine()).isValid():
            line.setLineWidth(max(40, width - self._text_left() - GAP))
            lines.append((line.textStart(), line.textLength()))
        layout.endLayout()
        return lines


def with_ellipsis(text: str) -> str:
    """Mark a passage that begins within a sentence: in its text, or at what only follows a word."""
    return f"… {text}" if text and (text[0].islower() or text[0] in ",.;:!?)’") else text
