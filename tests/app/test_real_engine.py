"""The app with the real engine and the built-in model: drop, read, ask, passages, click."""

import gc
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from tokenizers import Tokenizer

from app.application import Application
from app.engine_session import EngineSession, leave_a_core, measure_baseline
from app.evidence import Baseline
from app.folders import Folders
from app.models.chat import Chat, Exchange, ExchangeState, ReadingState
from app.models.engine_status import EngineState
from app.reports import (
    DocumentOpened,
    DocumentsPlaced,
    EvidenceGrown,
    GoingBack,
    ModelLoaded,
    ModelUnloaded,
    NotHereError,
    ShelfMeasured,
    StoreOffer,
    StoresOffered,
)
from app.requests import ArchiveSource, Ask, CloseChat, ContextOptions, LoadModel, Read, Said, TextSource, UnloadModel
from app.settings import AnswerSettings, with_store
from app.views.exchange_view import ExchangeView
from app.views.passage_row import PassageRow
from kiv_engine.config import KIVConfig, SamplingConfig
from kiv_engine.errors import OutOfMemoryError
from kiv_engine.events import AnswerFinished, Failed, ReadFinished, ReadProgress, TextDelta, TokenizeProgress
from kiv_engine.model_folder import DEMO_FOLDER
from kiv_engine.saving import SavedContext
from kiv_engine.stopping import never
from tests.app.scripted_session import ScriptedSession
from tests.engine.documents.writers import FILLER, NEEDLE, write_docx, write_pdf, write_two_chapter_epub

pytestmark = pytest.mark.usefixtures("online")

WAIT_MS = 300_000
LONG_PDF_PAGES = 4000
"""Parsing them takes longer than a stop needs to arrive, on a fast machine, too."""
LINES = [f"Entry {n}: goose {n * 31 % 97} of Salt Steps 🪿 was counted at noon. " for n in range(60)]


@pytest.fixture
def application(qapp: QApplication) -> Application:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    application = Application(qapp, EngineSession())
    yield application
    application.window.close()
    assert application.closed_in_time
    torch.set_num_threads(threads)
    application.window.deleteLater()
    application.deleteLater()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documents here are shorter than a chunk usually is."""
    reading = pytest.importorskip("kiv_engine.reading", reason="the engine needs torch")
    monkeypatch.setattr(reading, "READ_CHUNK_TOKENS", 256)
    monkeypatch.setattr(reading, "PROGRESS_INTERVAL_S", 0.0)


def test_one_core_is_left_to_the_window_however_many_models_are_loaded() -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    leave_a_core.cache_clear()
    torch.set_num_threads(4)
    for _ in range(3):
        leave_a_core()
    assert torch.get_num_threads() == 3
    torch.set_num_threads(threads)
    leave_a_core.cache_clear()


def test_branches_go_on_from_what_was_said_on_them(qtbot: QtBot, application: Application, tmp_path: Path) -> None:
    good = tmp_path / "good.txt"
    good.write_text("\n\n".join(LINES), encoding="utf-8")
    application.start([good])
    chat, controller = application.chats.current, application.controller

    def answered(exchange: Exchange) -> Exchange:
        qtbot.waitUntil(lambda: exchange.state is ExchangeState.DONE, timeout=WAIT_MS)
        assert exchange.finished is not None
        return exchange

    for question in ("Who counted the goose?", "Which entry has goose 7?"):
        controller.ask(question)
        answered(chat.exchanges[-1])
    first, second = chat.exchanges
    controller.regenerate(second.id)
    again = answered(chat.exchanges[1])
    assert again is not second
    assert again.answer == second.answer, "it takes the likeliest tokens after the same history"
    assert again.finished.reused_tokens == second.finished.reused_tokens
    controller.ask_instead(first.id, "What is at Salt Steps?")
    instead = answered(chat.exchanges[0])
    assert chat.exchanges == [instead]
    assert instead.finished.reused_tokens == chat.reading.tokens_total
    chat.show_branch(first)
    assert chat.exchanges == [first, again]
    controller.regenerate(again.id)
    third = answered(chat.exchanges[1])
    assert third.answer == second.answer, "the first turn was read again, as it had been answered"
    assert third.finished.reused_tokens == chat.reading.tokens_total
    # What the model said may be encoded in fewer tokens: it says a space of its own before a line.
    tokenizer = Tokenizer.from_file(str(DEMO_FOLDER / "tokenizer.json"))
    fewer = first.finished.answer_tokens - len(tokenizer.encode(first.answer).ids)
    assert third.finished.prompt_tokens == second.finished.prompt_tokens - fewer
    assert len(chat.siblings(third)) == 3


@pytest.mark.usefixtures("small_chunks")
def test_of_what_does_not_fit_exactly_the_beginning_is_read_that_is_offered(
    qtbot: QtBot, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    footprint = pytest.importorskip("kiv_engine.footprint", reason="the engine needs torch")
    monkeypatch.setattr(footprint.Footprint, "tokens_that_fit", lambda *_: 700)
    monkeypatch.setattr(footprint, "ASKING_TOKENS", 77)
    application.start()
    chat, window = application.chats.current, application.window
    application.controller.read_pasted("\n\n".join(LINES))
    qtbot.waitUntil(window.banner.isVisible, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: application.status.state is EngineState.IDLE, timeout=WAIT_MS)
    texts = [button.text() for button in window.banner.offers if button.isVisible()]
    QTest.mouseClick(window.banner.offers[texts.index("Read the first 623 tokens")], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: chat.reading.state is ReadingState.READ, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: application.status.state is EngineState.IDLE, timeout=WAIT_MS)
    total = chat.placed_tokens
    assert total > 800
    told = f"The first 623 of {total:,} tokens are read. The rest is not: answers know nothing of it"
    assert window.conversation.transcript.card.state.text() == told
    assert window.tokens.text() == f"Only 623 of {total:,} tokens read"
    measured = application.status.measured[chat.number]
    assert (measured.num_tokens, measured.unread_tokens) == (623, total - 623)
    application.controller.ask("Who counted the goose?")
    qtbot.waitUntil(lambda: chat.exchanges[0].state is ExchangeState.DONE, timeout=WAIT_MS)
    assert chat.exchanges[0].finished is not None
    assert chat.exchanges[0].finished.reused_tokens == 623
    assert all(passage.token_end <= 623 for passage in chat.exchanges[0].passages)
    application.controller.continue_reading()
    qtbot.waitUntil(lambda: chat.reading.tokens_read == total, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: chat.reading.state is ReadingState.READ, timeout=WAIT_MS)


def test_drop_read_ask_click(qtbot: QtBot, application: Application, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.txt", tmp_path / "good.txt"
    bad.write_bytes(b"caf\x00")
    good.write_text("\n\n".join([*LINES, "The bell of the old mill was cast by Marisol Hathaway."]), encoding="utf-8")
    application.start([bad, good])
    application.controller.ask("Who cast the bell of the old mill?")
    chat, window = application.chats.current, application.window

    def is_answered() -> bool:
        return chat.exchanges[0].state is ExchangeState.DONE

    qtbot.waitUntil(is_answered, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: application.status.state is EngineState.IDLE, timeout=WAIT_MS)
    assert "bad.txt is not text" in window.banner.text.text()
    assert [document.name for document in chat.documents] == ["good.txt"]
    assert chat.reading.state is ReadingState.READ
    assert chat.reading.tokens_read == chat.reading.tokens_total > 800
    in_context, of, whole, words = window.tokens.text().split(" ", 3)
    assert (of, whole, words) == ("of", in_context, "tokens in context")
    assert int(in_context.replace(",", "")) > chat.reading.tokens_total, "the question and the answer count, too"
    exchange, view = chat.exchanges[0], window.conversation.transcript.exchanges[0]
    assert exchange.finished is not None
    assert exchange.finished.reused_tokens == chat.reading.tokens_total
    rows = all_rows(qtbot, view)
    assert len(exchange.passages) == len(rows) > 0
    assert max(exchange.evidence.heat) == 1
    text = good.read_text(encoding="utf-8")
    for number, (row, passage) in enumerate(zip(rows, exchange.passages, strict=True)):
        QTest.mouseClick(row, Qt.MouseButton.LeftButton)
        marks = window.document.text.extraSelections()
        marked = marks[number].cursor.selectedText().replace("\u2029", "\n")
        assert marked == passage.text == text[passage.start : passage.end]
    said, claims = (
        exchange.answer.removeprefix("The document says: "),
        window.conversation.transcript.exchanges[0].claims,
    )
    assert [(claim.text, claim.place is not None) for claim in exchange.claims] == [(said.rstrip("."), True)]
    QTest.mouseClick(claims.buttons[0], Qt.MouseButton.LeftButton)
    assert chat.selected_place == exchange.claims[0].place


def all_rows(qtbot: QtBot, view: ExchangeView) -> list[PassageRow]:
    """The passages below an answer that is there, also the faint ones."""
    qtbot.waitUntil(lambda: view.is_shown, timeout=WAIT_MS)
    if view.fold is not None:
        view.fold.setChecked(True)
    return view.rows


@contextmanager
def started(qapp: QApplication, folders: Folders) -> Iterator[tuple[Application, list[object]]]:
    """The app over the files of a user, and what its engine reports; closed in the end."""
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads, told = torch.get_num_threads(), list[object]()
    application = Application(qapp, EngineSession(folders.contexts), folders)
    application.bridge.reported.connect(lambda report: told.append(report.event))
    yield application, told
    application.window.close()
    assert application.closed_in_time
    torch.set_num_threads(threads)
    application.window.deleteLater()
    application.deleteLater()


def ask_about_the_shop(qtbot: QtBot, application: Application, number: int) -> None:
    """Ask who runs it; every passage of the answer is where it says that it is, and one of them tells."""
    application.controller.ask("Who runs the Golden Crumb barbershop?")
    chat, window = application.chats.current, application.window
    exchange = chat.exchanges[number]
    qtbot.waitUntil(lambda: exchange.state is ExchangeState.DONE, timeout=WAIT_MS)
    assert [document.name for document in chat.documents] == ["report.pdf", "notes.docx", "book.epub"]
    assert exchange.passages
    rows = all_rows(qtbot, window.conversation.transcript.exchanges[number])
    for passage, row in zip(exchange.passages, rows, strict=True):
        text = chat.documents[chat.document_of(passage)].text.text
        assert text[passage.start : passage.end] == passage.text
        if passage.document == "report.pdf":
            assert passage.page == int(re.findall(r"Page (\d)", text[: passage.start + 7])[-1])
            assert f"page {passage.page}" in row.accessibleName()
        else:
            assert passage.section in ("Minutes", "First meeting", "Second meeting", "Geese", "Shops")
            assert passage.section in row.accessibleName()
    assert any(NEEDLE in passage.text for passage in exchange.passages)
    config = chat.engine_config
    made = AnswerSettings("demo", config.hot_tokens, config.retrieved_tokens, config.store_dtype, "exact")
    assert exchange.settings == made


def test_three_files_dropped_together_are_one_context_that_outlives_the_app(
    qtbot: QtBot, qapp: QApplication, tmp_path: Path
) -> None:
    pages = [f"Page {number}. {FILLER}\n{NEEDLE if number == 3 else FILLER}" for number in range(1, 5)]
    paths = [
        write_pdf(tmp_path / "report.pdf", pages),
        write_docx(tmp_path / "notes.docx"),
        write_two_chapter_epub(tmp_path / "book.epub"),
    ]
    folders = Folders(tmp_path / "config", tmp_path / "data")
    with started(qapp, folders) as (application, told):
        application.start(paths)
        ask_about_the_shop(qtbot, application, 0)
        first = application.chats.current.exchanges[0]
        title, tokens = application.chats.current.name, application.chats.current.reading.tokens_total
    assert any(isinstance(event, ReadProgress) for event in before_the_answer(told))
    with started(qapp, folders) as (application, told):
        application.start()
        chats = application.chats
        qtbot.waitUntil(lambda: title in [chats.at(row).name for row in range(chats.rowCount())], timeout=WAIT_MS)
        chats.show(next(chats.at(row) for row in range(chats.rowCount()) if chats.at(row).name == title))
        qtbot.waitUntil(lambda: chats.current.is_loaded, timeout=WAIT_MS)
        [kept] = chats.current.exchanges
        assert (kept.question, kept.answer, kept.passages) == (first.question, first.answer, first.passages)
        assert kept.settings == first.settings
        ask_about_the_shop(qtbot, application, 1)
        assert chats.current.reading.opened
        assert chats.current.reading.tokens_total == tokens
        assert chats.current.exchanges[1].finished.reused_tokens >= tokens
    assert not any(isinstance(event, ReadProgress) for event in before_the_answer(told)), "it was read again"


def before_the_answer(told: list[object]) -> Iterator[object]:
    """What came until the documents were there; a question is read, too."""
    return takewhile(lambda event: not isinstance(event, ReadFinished), told)


def test_stopping_while_a_file_is_parsed(qtbot: QtBot, application: Application, tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "long.pdf", [FILLER] * LONG_PDF_PAGES)
    seen: list[str] = []
    chat, controller = application.chats.current, application.controller

    def stop_when_parsing() -> None:
        if chat.reading.parsing is not None:
            seen.append(application.window.conversation.transcript.card.state.text())
            controller.stop()

    chat.reading_changed.connect(stop_when_parsing)
    application.start([path])
    qtbot.waitUntil(lambda: chat.reading.state is ReadingState.NONE, timeout=WAIT_MS)
    assert seen[0].startswith("Opening long.pdf")
    assert chat.documents == []
    qtbot.waitUntil(lambda: application.status.state is EngineState.IDLE, timeout=WAIT_MS)


def test_what_was_read_before_is_opened_instead(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    book = tmp_path / "book.txt"
    book.write_text("\n\n".join(LINES), encoding="utf-8")
    answers, events = [], list[list[object]]()
    for _start in range(2):
        application = Application(qapp, EngineSession(tmp_path / "contexts"))
        told = list[object]()
        events.append(told)
        application.bridge.reported.connect(lambda report, told=told: told.append(report.event))
        application.start([book])
        application.controller.ask("Who counted the goose?")
        chat = application.chats.current

        def is_answered(chat: Chat = chat) -> bool:
            return chat.exchanges[0].state is ExchangeState.DONE

        qtbot.waitUntil(is_answered, timeout=WAIT_MS)
        assert chat.reading.state is ReadingState.READ
        assert chat.reading.tokens_read == chat.reading.tokens_total > 1000
        answers.append((chat.exchanges[0].answer, chat.documents[0].place))
        [saved] = (tmp_path / "contexts").iterdir()
        written = (saved / "manifest.json").read_bytes()
        answers[-1] += (written,)
        application.window.close()
        assert application.closed_in_time
        application.window.deleteLater()
        application.deleteLater()
    torch.set_num_threads(threads)
    assert answers[0] == answers[1], "the second start wrote nothing"
    for told, opened in zip(events, (False, True), strict=True):
        assert any(isinstance(event, ReadProgress) for event in before_the_answer(told)) is not opened
        assert [event.opened for event in told if isinstance(event, DocumentsPlaced)] == [opened]


def test_opening_what_was_read_before_can_be_stopped(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session, begun = EngineSession(tmp_path / "contexts"), Read(1, (TextSource("a", "\n\n".join(LINES)),))
    list(session.handle(LoadModel(), never))
    list(session.handle(begun, never))
    longer = TextSource("b", "One more.")
    for request in (replace(begun, chat=2), Read(3, (*begun.sources, longer))):
        opened, count = list[object](), len(request.sources)
        for event in session.handle(request, lambda opened=opened, count=count: len(opened) == count):
            opened += [event] if isinstance(event, DocumentOpened) else []
        assert isinstance(event, ReadFinished)
        assert (event.stopped, event.tokens_read, event.tokens_total) == (True, 0, 0)
        events = list(session.handle(request, never))
        assert isinstance(events[-1], ReadFinished)
        assert not events[-1].stopped
    more = list(session.handle(Read(2, (ArchiveSource(2_000),)), lambda: True))
    assert [event for event in more if isinstance(event, ReadFinished)] == more[-1:]
    assert (more[-1].stopped, more[-1].tokens_read) == (True, more[-1].tokens_total)
    assert more[-1].tokens_read == session._contexts[2].num_tokens
    session.close()
    torch.set_num_threads(threads)


def test_the_ways_to_keep_a_document_are_offered_also_where_it_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    from kiv_engine.footprint import Footprint

    threads = torch.get_num_threads()

    def room(footprint: Footprint, config: KIVConfig | None = None) -> int:
        return 100_000 if (config or footprint._config).store_folder else 100

    monkeypatch.setattr(Footprint, "tokens_that_fit", room)
    kinds = ("ram", "int8", "disk")
    stores = tuple((kind, with_store(KIVConfig(hot_tokens=256), kind, tmp_path / "store")) for kind in kinds)
    session, text = EngineSession(), TextSource("a", "\n\n".join(LINES))
    list(session.handle(LoadModel(), never))

    def read(chat: int, config: KIVConfig) -> tuple[dict[str, StoreOffer], object]:
        events = list(session.handle(Read(chat, (text,), ContextOptions(config, stores=stores)), never))
        [offered] = [event for event in events if isinstance(event, StoresOffered)]
        return {offer.kind: offer for offer in offered.offers}, events[-1]

    offers, last = read(1, stores[0][1])
    assert isinstance(last, Failed)
    assert isinstance(last.error, OutOfMemoryError)
    assert {kind: offer.fits for kind, offer in offers.items()} == {"ram": False, "int8": False, "disk": True}
    ram, int8, disk = offers.values()
    assert 0 < int8.ram_bytes < ram.ram_bytes / 1.5
    assert disk.ram_bytes + disk.disk_bytes == ram.ram_bytes
    assert not (tmp_path / "store").exists()
    again, last = read(2, stores[2][1])
    assert isinstance(last, ReadFinished)
    rows, _codes = session._contexts[2].footprint.token_bytes_with(stores[2][1])
    assert again["disk"].disk_bytes == rows * session._contexts[2].document_tokens
    assert again["disk"].disk_bytes == pytest.approx(disk.disk_bytes, rel=0.01), "a prefix of the prompt is counted"
    [files] = (tmp_path / "store").iterdir()
    assert sum(file.stat().st_size for file in files.iterdir()) > 0
    session.close()
    torch.set_num_threads(threads)


def read_in_part(session: EngineSession | ScriptedSession, request: Read, chunks: int) -> list[object]:
    """The events until so many chunks are read, and it is stopped."""
    events: list[object] = []

    def is_enough() -> bool:
        return sum(isinstance(event, ReadProgress) and event.tokens_per_s > 0 for event in events) >= chunks

    for event in session.handle(request, is_enough):
        events.append(event)
    assert isinstance(events[-1], ReadFinished)
    assert events[-1].stopped
    assert 0 < events[-1].tokens_read < events[-1].tokens_total
    return events


@pytest.mark.usefixtures("small_chunks")
def test_the_scripted_session_reports_reading_as_the_engine_does() -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    text, reports = TextSource("a", "\n\n".join(LINES)), list[list[list[str]]]()
    for session in (EngineSession(), ScriptedSession()):
        list(session.handle(LoadModel(), never))
        begun = read_in_part(session, Read(1, (text,)), 2)
        rest = list(session.handle(Read(1), never))
        assert rest[-1].tokens_read == rest[-1].tokens_total == begun[-1].tokens_total
        reports.append([in_order(begun), in_order(rest)])
        session.close()
    torch.set_num_threads(threads)
    assert reports[0] == reports[1]
    before = ["DocumentOpened", "DocumentsPlaced", "StoresOffered", "ContextMeasured", "ReadProgress", "ReadingTimed"]
    assert reports[0][0] == [*before, "ReadFinished"]


def in_order(events: list[object]) -> list[str]:
    """The kinds of the events, by when each comes first; counting tells of itself only where it takes long."""
    names = (type(event).__name__ for event in events if not isinstance(event, TokenizeProgress))
    return list(dict.fromkeys(names))


@pytest.mark.usefixtures("small_chunks")
def test_what_was_stopped_is_asked_about_and_goes_on_as_if_nobody_had_asked(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    text = TextSource("a", "\n\n".join([*LINES[:45], NEEDLE, *LINES[45:]]))
    session = EngineSession(tmp_path / "contexts")
    options = ContextOptions(KIVConfig(hot_tokens=256, retrieved_tokens=64))
    kept, not_kept = Read(1, (text,), options), Read(2, (text,), replace(options, kept_gb=0))
    list(session.handle(LoadModel(), never))

    def ask(chat: int, question: str, *history: Said) -> AnswerFinished:
        asked = Ask(chat, 0, question, history, SamplingConfig(max_new_tokens=48), options)
        answer = list(session.handle(asked, never))[-1]
        assert isinstance(answer, AnswerFinished)
        return answer

    stopped = read_in_part(session, kept, 3)[-1]
    question = "Who runs the Golden Crumb barbershop?"
    early = ask(1, question)
    assert early.passages
    assert all(passage.token_end <= stopped.tokens_read for passage in early.passages)
    said = Said(question, early.text)
    whole = list(session.handle(Read(1, options=options), never))[-1]
    assert isinstance(whole, ReadFinished)
    assert (whole.stopped, whole.tokens_read) == (False, stopped.tokens_total)
    late = ask(1, question, said)
    list(session.handle(not_kept, never))
    same = ask(2, question, said)
    assert late.text == same.text, "as if all had been read before the first question"
    assert (late.prompt_tokens, late.reused_tokens) == (same.prompt_tokens, whole.tokens_total)
    assert [(each.start, each.end) for each in late.passages] == [(each.start, each.end) for each in same.passages]
    assert any(NEEDLE in passage.text for passage in late.passages)
    [folder] = (tmp_path / "contexts").iterdir()
    kept_context = SavedContext.open(folder)
    kept_context.verify()
    assert (kept_context.complete, kept_context.num_tokens) == (True, whole.tokens_total)
    session.close()
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("small_chunks")
def test_what_every_token_hits_is_measured_of_what_is_read_though_reading_was_stopped() -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session = EngineSession()
    text = TextSource("a", "\n\n".join(LINES))
    list(session.handle(LoadModel(), never))

    def subtracted() -> Baseline:
        """By the answer; it must be what the context as it is now has."""
        events = list(session.handle(Ask(1, 0, "Entry 7: goose", (), SamplingConfig(max_new_tokens=3)), never))
        [baseline, *_same] = [event.baseline for event in events if isinstance(event, EvidenceGrown)]
        context = session._contexts[1]
        context.rewind(context.chat_start)
        measured = measure_baseline(context, never)
        assert baseline.mass.any()
        assert baseline.mass == pytest.approx(measured.mass, abs=1e-6)
        return baseline

    read_in_part(session, Read(1, (text,)), 2)
    *_settings, stopped = session.handle(Ask(1, 0, "Entry 7: goose"), lambda: True)
    assert stopped.finish_reason == "cancelled", "and half a measurement is not kept"
    of_a_part = subtracted()
    list(session.handle(Read(1), never))
    of_all = subtracted()
    read_in_part(session, Read(1, (replace(text, name="b"),)), 1)
    of_more = subtracted()
    for before, after in ((of_a_part, of_all), (of_all, of_more)):
        assert after.mass != pytest.approx(before.mass, abs=0.02)
    session.close()
    torch.set_num_threads(threads)


@pytest.mark.parametrize("part", ["state", "values"])
def test_what_is_kept_and_damaged_goes_and_is_read_again(part: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session, begun = EngineSession(tmp_path / "contexts"), Read(1, (TextSource("a", "\n\n".join(LINES)),))
    config = replace(begun.options.config, hot_tokens=256)
    begun = replace(begun, options=replace(begun.options, config=config))
    list(session.handle(LoadModel(), never))
    list(session.handle(begun, never))
    list(session.handle(CloseChat(1), never))
    [folder] = (tmp_path / "contexts").iterdir()
    [damaged, *_] = [path for path in folder.iterdir() if part in path.name]
    data = bytearray(damaged.read_bytes())
    data[1_000] ^= 1
    damaged.write_bytes(data)
    read = list(session.handle(replace(begun, chat=2), never))
    assert any(isinstance(event, ReadProgress) for event in read) is (part == "state")
    if part == "values":
        answer = list(session.handle(Ask(2, 0, "Who counted the goose?", options=begun.options), never))[-1]
        assert isinstance(answer, Failed)
        assert "is damaged" in answer.message
        assert not folder.exists()
        list(session.handle(CloseChat(2), never))
        read = list(session.handle(replace(begun, chat=2), never))
        assert any(isinstance(event, ReadProgress) for event in read)
    answer = list(session.handle(Ask(2, 0, "Who counted the goose?", options=begun.options), never))[-1]
    assert isinstance(answer, AnswerFinished)
    SavedContext.open(folder).verify()
    session.close()
    torch.set_num_threads(threads)


def test_what_is_kept_is_measured_and_nothing_is_kept_where_nothing_is_wanted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session, text = EngineSession(tmp_path / "contexts"), TextSource("a", "\n\n".join(LINES))
    shelf, _loaded = session.handle(LoadModel(), never)
    assert shelf == ShelfMeasured(0, 0)
    list(session.handle(Read(1, (text,), ContextOptions(kept_gb=0)), never))
    assert not (tmp_path / "contexts").exists()
    events = list(session.handle(Read(2, (text,)), never))
    [kept] = [event for event in events if isinstance(event, ShelfMeasured)]
    assert kept.contexts == 1
    [folder] = (tmp_path / "contexts").iterdir()
    assert 0 < kept.bytes <= sum(file.stat().st_size for file in folder.iterdir())
    session.close()
    torch.set_num_threads(threads)


def test_a_model_that_is_not_here_is_not_fetched_by_loading_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the engine needs torch")
    from kiv_engine import model_config

    monkeypatch.setattr(model_config, "look_up", lambda *_: pytest.fail("a download that nobody asked for"))
    with pytest.raises(NotHereError, match="some-one/gone"):
        list(EngineSession().handle(LoadModel("some-one/gone"), never))


def test_the_garbage_collector_passes_by_the_engine_until_the_session_is_closed() -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session = EngineSession()
    list(session.handle(LoadModel(), never))
    first = weakref.ref(session._engine)
    assert not any(each is first() for each in gc.get_objects())
    list(session.handle(LoadModel(), never))
    assert first() is None, "it is collected all the same when another comes"
    session.close()
    assert gc.get_freeze_count() == 0
    torch.set_num_threads(threads)


def test_unloading_goes_through_all_objects_only_where_the_model_is_in_a_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session, unfreeze, calls = EngineSession(), gc.unfreeze, []
    list(session.handle(LoadModel(), never))
    monkeypatch.setattr(gc, "unfreeze", lambda: (calls.append(1), unfreeze()))
    list(session.handle(UnloadModel(), never))
    assert not calls
    assert gc.get_freeze_count() > 100_000
    gc.disable()  # the ring is still there when the model is unloaded
    list(session.handle(LoadModel(), never))
    model = session._engine.loaded.model
    gone = weakref.ref(model)
    model.forward = partial(print, model)
    gc.freeze()
    del model
    list(session.handle(UnloadModel(), never))
    gc.enable()
    assert calls
    assert gone() is None
    session.close()
    torch.set_num_threads(threads)


FIRST_MODEL = """
import gc
from app.engine_session import EngineSession
from app.requests import LoadModel, UnloadModel
from kiv_engine.stopping import never
session = EngineSession()
list(session.handle(LoadModel(), never))
list(session.handle(UnloadModel(), never))
print(gc.get_freeze_count() > 100_000)
"""


def test_what_the_import_of_torch_leaves_behind_does_not_hold_the_first_model() -> None:
    pytest.importorskip("torch", reason="the engine needs torch")
    done = subprocess.run([sys.executable, "-c", FIRST_MODEL], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "True\n", done.stderr


def test_a_model_that_is_unloaded_is_gone_with_its_contexts() -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session = EngineSession()
    list(session.handle(LoadModel(), never))
    *_, finished = session.handle(Read(1, (TextSource("a", "The goose was counted at noon. " * 20),)), never)
    assert isinstance(finished, ReadFinished)
    gone = [weakref.ref(session._engine), weakref.ref(session._contexts[1])]
    assert list(session.handle(UnloadModel(), never)) == [ModelUnloaded()]
    assert [each() for each in gone] == [None, None]
    *_, loaded = session.handle(LoadModel(), never)
    assert isinstance(loaded, ModelLoaded), "and it comes back"
    session.close()
    torch.set_num_threads(threads)


def test_rows_in_8_bit_count_as_they_are_stored_also_of_a_model_in_16_bit() -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session = EngineSession()
    *_, loaded = session.handle(LoadModel(quantize="bf16"), never)
    assert isinstance(loaded, ModelLoaded)
    options = ContextOptions(config=KIVConfig(hot_tokens=128, store_dtype="int8"))
    list(session.handle(Read(1, (TextSource("a", " ".join(LINES)),), options), never))
    stores = [layer.store for layer in session._contexts[1].cache.growing_layers]
    assert all(store.num_tokens for store in stores)
    stored = [rows.nbytes // rows.num_tokens for store in stores for rows in (store.keys, store.values)]
    assert loaded.int8_row_bytes == sum(stored)
    assert loaded.row_bytes // 2 < loaded.int8_row_bytes < loaded.row_bytes
    session.close()
    torch.set_num_threads(threads)


def test_a_stop_while_an_answer_is_written_is_obeyed_within_one_step() -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session, asked = EngineSession(), [False]
    list(session.handle(LoadModel(), never))
    list(session.handle(Read(1, (TextSource("a", " ".join(LINES)),)), never))
    steps: list[int] = []
    forward = session._engine.loaded.model.forward

    def counted(*arguments: object, **named: object) -> object:
        steps.append(1)
        return forward(*arguments, **named)

    session._engine.loaded.model.forward = counted
    for event in session.handle(Ask(1, 0, "Entry 7: goose"), lambda: asked[0]):
        if isinstance(event, TextDelta) and not asked[0]:
            asked[0] = True
            before = len(steps)
    assert isinstance(event, AnswerFinished)
    assert event.finish_reason == "cancelled"
    assert len(steps) <= before + 1
    session.close()
    torch.set_num_threads(threads)


def test_going_back_to_what_was_said_can_be_stopped() -> None:
    """A chat that comes back reads what was said in it anew, before the question; Esc and quitting end that, too."""
    torch = pytest.importorskip("torch", reason="the engine needs torch")
    threads = torch.get_num_threads()
    session = EngineSession()
    list(session.handle(LoadModel(), never))
    list(session.handle(Read(1, (TextSource("a", " ".join(LINES)),)), never))
    context = session._contexts[1]
    before = context.num_tokens
    history = (Said("Entry 7: goose", "The document says: Entry 7."), Said("And entry 8?", "It does not say."))
    told: list[object] = []
    session.tell = told.append
    *_settings, stopped = session.handle(Ask(1, 0, "Why?", history), lambda: bool(context.turns))
    assert isinstance(stopped, AnswerFinished)
    assert (stopped.finish_reason, stopped.text) == ("cancelled", "")
    assert [turn.question for turn in context.turns] == ["Entry 7: goose"]
    after = context.num_tokens
    assert stopped.prompt_tokens == after > before
    [begun, *_between] = told
    assert isinstance(begun, GoingBack)
    assert begun.tokens_read == 0
    assert begun.tokens_total > after - before, "the second turn is missing"
    told.clear()
    *_events, answered = session.handle(Ask(1, 0, "Why?", history), never)
    assert isinstance(answered, AnswerFinished)
    assert answered.finish_reason != "cancelled"
    assert [turn.question for turn in context.turns] == ["Entry 7: goose", "And entry 8?", "Why?"]
    rest = begun.tokens_total - (after - before)
    assert (told[0], told[-1]) == (GoingBack(0, rest), GoingBack(rest, rest))
    told.clear()
    list(session.handle(Ask(1, 0, "Who?", history), never))
    assert not told, "nothing of it has to be read anew"
    session.close()
    torch.set_num_threads(threads)
