"""`kiv demo`: the app with the sample archive read and one question asked, by itself."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtWidgets import QApplication

from app.answer_words import footer_line, reading_line
from app.application import Application
from app.controllers.notices import Notice, NoticeKind
from app.models.chat import Chat, Exchange, ExchangeState

QUESTION: Final = "Who runs the Golden Crumb barbershop?"
SETTLE_MS: Final = 300
"""Between the last word and the picture, for what is drawn with a delay."""


@dataclass(frozen=True)
class DemoOptions:
    """What the demo does. `stays` leaves the window open."""

    tokens: int
    question: str
    screenshot: Path | None
    stays: bool


class Demo(QObject):
    """Does what a user would: opens the archive, asks, looks at the first passage; then tells and takes a picture."""

    def __init__(self, qt: QApplication, application: Application, options: DemoOptions) -> None:
        super().__init__(application)
        self._qt, self._application, self._options = qt, application, options
        self._chat = application.chats.current
        application.controller.noticed.connect(self._on_noticed)
        self._chat.exchange_changed.connect(self._on_exchange_changed)

    def start(self) -> None:
        """Ask for everything at once; the app does it in order."""
        self._application.start()
        self._application.controller.read_archive(self._options.tokens)
        self._application.controller.ask(self._options.question)

    @Slot(object)
    def _on_noticed(self, notice: Notice) -> None:
        if notice.kind is NoticeKind.ERROR:
            print(f"kiv: {notice.text}", file=sys.stderr)
            self._leave(1)

    @Slot(int)
    def _on_exchange_changed(self, number: int) -> None:
        """When its question is answered the demo is over; a window that stays is the user's."""
        if self._chat.all_exchanges[number].state is ExchangeState.DONE:
            self._chat.exchange_changed.disconnect(self._on_exchange_changed)
            self._application.controller.noticed.disconnect(self._on_noticed)
            if self._chat.all_exchanges[number].passages:
                QTimer.singleShot(0, self._select_first_passage)
            QTimer.singleShot(SETTLE_MS, self._finish)

    @Slot()
    def _select_first_passage(self) -> None:
        self._chat.select(0, 0)

    @Slot()
    def _finish(self) -> None:
        write_transcript(sys.stdout, self._chat)
        path = self._options.screenshot
        if path is not None and not self._application.window.grab().save(str(path)):
            print(f"kiv: The screenshot cannot be written to {path}.", file=sys.stderr)
            self._leave(1)
        elif not self._options.stays:
            self._leave(0)

    def _leave(self, code: int) -> None:
        self._application.close()
        self._qt.exit(code)


def write_transcript(out: TextIO, chat: Chat) -> None:
    """What was read, asked and answered, with passages."""
    reading = chat.reading
    out.write(f"Read {reading.tokens_read:,} of {reading.tokens_total:,} tokens in {reading.seconds:.1f} s.\n")
    for exchange in chat.exchanges:
        _write_exchange(out, exchange)
    out.flush()


def _write_exchange(out: TextIO, exchange: Exchange) -> None:
    out.write(f"\n> {exchange.question}\n\n{exchange.answer}\n\n")
    if exchange.finished is not None:
        out.write(f"{footer_line(exchange.finished)}\n{reading_line(exchange.finished)}\n")
    if exchange.passages:
        out.write("\nPassages retrieved while writing this answer:\n")
    for passage in exchange.passages:
        text = " ".join(passage.text.split())
        out.write(f"{100 * passage.weight:4.0f} %  {passage.document} at {passage.start:,}: {text[:100]}\n")
