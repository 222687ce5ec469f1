"""How much of a chat's documents and of what was said in it is in the context, in words that there is room for."""

from PySide6.QtGui import QPainter, QPaintEvent

from app.figures import as_short_tokens
from app.models.chat import Chat
from app.reports import ContextMeasured
from app.views.title import Title


class ContextLine(Title):
    """Its text is the whole line. In a narrow window one of `shorter` is drawn; only the last may be cut off."""

    shorter: tuple[str, ...] = ()

    def show_context(self, chat: Chat, measured: ContextMeasured | None) -> None:
        """Tell what is measured; of a beginning, that it is only that."""
        self.setVisible(measured is not None)
        whole, *shorter = self._lines(chat, measured) if measured is not None else [""]
        self.shorter = tuple(shorter)
        self.setText(whole)
        self.setToolTip(whole)
        self.update()

    def shown(self, width: int) -> str:
        """What is drawn in so many pixels."""
        lines = (self.text(), *self.shorter)
        return next((line for line in lines if self.fontMetrics().horizontalAdvance(line) <= width), lines[-1])

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        self.draw(painter, self.shown(self.width()))
        painter.end()

    def _lines(self, chat: Chat, measured: ContextMeasured) -> list[str]:
        if chat.reading.is_beginning_only:
            lines = [
                self.tr("Only {0:,} of {1:,} tokens read"),
                self.tr("Only {0:,} of {1:,} read"),
                self.tr("{2} / {3} read"),
            ]
            read, whole = chat.reading.tokens_read, chat.reading.tokens_total
        elif chat.documents:
            lines = [
                self.tr("{0:,} of {1:,} tokens in context"),
                self.tr("{0:,} of {1:,} tokens"),
                self.tr("{2} / {3} tokens"),
                self.tr("{2} / {3}"),
            ]
            read, whole = measured.num_tokens, measured.num_tokens + measured.unread_tokens
        else:
            lines = [self.tr("{0:,} tokens in context"), self.tr("{0:,} tokens"), "{2}"]
            read = whole = measured.num_tokens
        # What is not whole shall not look whole for being rounded.
        short = as_short_tokens(read), as_short_tokens(whole, up=whole > read)
        return [line.format(read, whole, *short) for line in lines]
