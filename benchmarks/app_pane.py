"""What the window's heavy moments take, offscreen, without an engine: a 4 MB document, jumps in it, heat, long chats.

    python benchmarks/app_pane.py [--runs 3] [--characters 4000000] [--exchanges 500]

"shown" is the first paint of the document pane after a chat's document has come; "slice" is the longest piece of work
on the GUI thread while the rest of the text follows. "jump" goes to passages of answers, all over the text once that
has come, and paints; the slowest counts. "search" is the longest such piece while words are looked for that are
nowhere. "heat" sums softmax mass of a million tokens into the strip's bins and paints them; "hits" does so with what
one token hits in 36 layers. "chat" opens 500 exchanges, to the first paint.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtWidgets import QApplication

from app.application import Application
from app.document_text import DocumentText
from app.evidence import HEAT_BINS, HitCollector, as_heat
from app.models.chat import Chat, ChatDocument, Exchange, ExchangeState
from app.reports import DocumentPlace
from app.requests import TextSource
from app.views.find_bar import FindBar
from kiv_engine.events import AnswerFinished, Passage

TOKENS: Final = 1_000_000
ANSWERS: Final = 4
PASSAGES: Final = 5
LIMITS_MS: Final = {"shown": 150, "jump": 100, "heat": 5, "chat": 500}


class NoSession:
    """An engine that is never asked."""

    def handle(self, *_request: object) -> None:
        raise AssertionError

    def close(self) -> None:
        """There is nothing to give back."""


def milliseconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    begin = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - begin)


def sample_text(characters: int) -> str:
    """Paragraphs of words, with some letters that take two units in Qt."""
    rng = random.Random(0)
    words = [("x" * rng.randrange(1, 9)) for _ in range(500)] + ["🪿"]
    lines: list[str] = []
    length = 0
    while length < characters:
        lines.append(" ".join(rng.choices(words, k=rng.randrange(5, 160))))
        length += len(lines[-1]) + 2
    return "\n\n".join(lines)[:characters]


def measure(qt: QApplication, text: str, exchanges: int) -> dict[str, float]:
    """All figures once, in milliseconds."""
    application = Application(qt, NoSession())
    window = application.window
    window.show()
    qt.processEvents()
    pane, chat = window.document, application.chats.current
    cut = DocumentText.cut("book", text)
    document = ChatDocument("book", TextSource("book", text), cut, DocumentPlace(0, TOKENS))

    def show() -> None:
        chat.set_documents([document])
        pane.repaint()

    result = {"shown": milliseconds(show)}
    slices = [milliseconds(qt.processEvents)]
    while not pane.text.is_complete:
        slices.append(milliseconds(qt.processEvents))
    result["slice"], result["poured"] = max(slices), sum(slices)
    result["jump"] = max(jumps(application, text))
    result["search"] = max(search(qt, pane.find_bar))
    result["heat"], result["hits"] = heat(application), hits(application)
    result["chat"] = open_chat(application, text, exchanges)
    window.close()
    window.deleteLater()
    application.deleteLater()
    qt.processEvents()
    return result


def search(qt: QApplication, bar: FindBar) -> Iterator[float]:
    """What is not there is looked for: how long the window waits each time, until it is told."""
    bar.edit.setText("no such words")
    yield milliseconds(bar.find_next)
    while not bar.found.text():
        yield milliseconds(qt.processEvents)


def jumps(application: Application, text: str) -> Iterator[float]:
    """Go to each passage of some answers, as a click on it does, and paint."""
    pane, chat, rng = application.window.document, application.chats.current, random.Random(0)
    for _ in range(ANSWERS):
        places = [rng.randrange(len(text) - 150) for _ in range(PASSAGES)]
        exchange = answered(chat, "Question?", text, places)
        for number in range(PASSAGES):
            yield milliseconds(lambda number=number, at=exchange.id: (chat.select(at, number), pane.repaint()))


def heat(application: Application) -> float:
    """From mass of a million tokens to the painted strip."""
    starts = np.linspace(0, TOKENS, HEAT_BINS, endpoint=False).astype(np.int64)
    mass = np.random.default_rng(0).random(TOKENS, np.float32)
    strip = application.window.document.strip

    def show() -> None:
        strip.set_heat(as_heat(np.add.reduceat(mass, starts)))
        strip.repaint()

    show()
    return milliseconds(show)


def hits(application: Application) -> float:
    """From what one token hits, 36 layers with 8 heads, to the painted strip."""
    bins = (np.arange(TOKENS) * HEAT_BINS // TOKENS).astype(np.int16)
    rng = np.random.default_rng(0)
    found = [(rng.integers(0, TOKENS, 8 * 256), rng.random(8 * 256, np.float32)) for _ in range(36)]
    strip = application.window.document.strip

    def show() -> None:
        collector = HitCollector(bins)
        for layer, (tokens, mass) in enumerate(found):
            collector.add(layer, 0, tokens, mass)
        collector.take()
        strip.set_heat(collector.heat())
        strip.repaint()

    show()
    return milliseconds(show)


def answered(chat: Chat, question: str, text: str, places: Sequence[int]) -> Exchange:
    """Add an exchange whose passages stand at places of the text."""
    passages = tuple(
        Passage("book", None, at, at + 150, number, number + 40, 0.2, text[at : at + 150])
        for number, at in enumerate(places)
    )
    exchange = chat.add_exchange(question)
    exchange.answer, exchange.state = f"The document says {text[:300]}.", ExchangeState.DONE
    exchange.finished = AnswerFinished(exchange.answer, "stop", 9_000, 8_000, 30, 0.1, 80.0, passages)
    return exchange


def open_chat(application: Application, text: str, exchanges: int) -> float:
    """Show a chat of many exchanges with passages."""
    chat = Chat(0, application.chats)
    for number in range(exchanges):
        answered(chat, f"Question {number}, and {text[:80]}?", text, range(0, 200 * PASSAGES, 200))
    application.chats.insert(chat)

    def show() -> None:
        application.chats.show(chat)
        application.window.conversation.repaint()

    return milliseconds(show)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--characters", type=int, default=4_000_000)
    parser.add_argument("--exchanges", type=int, default=500)
    options = parser.parse_args()
    qt = QApplication(["kiv"])
    text = sample_text(options.characters)
    runs = [measure(qt, text, options.exchanges) for _ in range(options.runs)]
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    for name, taken in median.items():
        limit = f"  limit {LIMITS_MS[name]}" if name in LIMITS_MS else ""
        print(f"{name:8} {taken:9.1f} ms{limit}")
    within = {name: median[name] < limit for name, limit in LIMITS_MS.items()}
    print(json.dumps({"benchmark": "app_pane", "runs": options.runs, "median_ms": median, "within_limit": within}))


if __name__ == "__main__":
    main()
