"""The file of the chats, and the app that keeps them there and brings them back."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, Qt, Slot
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import history as history_module
from app.application import Application
from app.folders import Folders
from app.history import MIGRATIONS, ChatFile, History, open_or_replace
from app.models.chat import ExchangeState, ReadingState
from app.requests import Said
from app.saved_chats import ChatsFound, ChatsListed, SavedChat, SavedExchange, SavingFailed
from app.settings import ChatOptions
from tests.app.conftest import AppDriver
from tests.app.scripted_session import SENTENCE, WORDS, ScriptedSession

ANSWER = "".join(WORDS)
WAIT_MS = 20_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chats.sqlite3"


@pytest.fixture
def file(path: Path) -> Iterator[ChatFile]:
    file = ChatFile(path)
    yield file
    file.close()


# -- the file ----------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_there_in_another_connection(file: ChatFile, path: Path) -> None:
    chats = [
        SavedChat(f"k{n}", f"Title {n}", n == 1, float(n), {"system": "🪿"}, [{"file": "a"}], (0, n)) for n in range(3)
    ]
    for chat in chats:
        file.save_chat(chat)
    exchanges = (SavedExchange(0, None, "Who?", "Anna", "done", "", "{}", "[]", b"1234"), SavedExchange(1, 0, "Why?"))
    for exchange in exchanges:
        file.save_exchange("k1", exchange)
    other = ChatFile(path)
    assert other.chats() == tuple(reversed(chats))
    assert other.exchanges("k1") == exchanges
    other.close()


def test_a_changed_exchange_replaces_the_old_one_also_in_the_search(file: ChatFile) -> None:
    file.save_chat(SavedChat("k", "Geese"))
    file.save_exchange("k", SavedExchange(0, None, "Who counts?", "Nobody"))
    file.save_exchange("k", SavedExchange(0, None, "Who counts?", "Anna Thornwick"))
    assert [each.answer for each in file.exchanges("k")] == ["Anna Thornwick"]
    assert file.search("thorn") == {"k"}
    assert file.search("nobody") == frozenset()
    file.remove_exchange("k", 0)
    assert file.search("thorn") == frozenset()


def test_search_is_that_of_plain_words(file: ChatFile) -> None:
    texts = {"a": ("The goose", "was counted"), "b": ("the GOOSE flew", "away"), "c": ('say "hi"', "a*b OR c")}
    for key, (question, answer) in texts.items():
        file.save_chat(SavedChat(key, f"Chat {key}"))
        file.save_exchange(key, SavedExchange(0, None, question, answer))
    for words, expected in {
        "goose": "ab", "goose counted": "a", "goo": "ab", '"hi"': "c", "OR": "c", "chat b": "b", "NEAR(": "", "x": "",
    }.items():  # fmt: skip
        assert file.search(words) == set(expected), words


def test_a_chat_goes_with_all_that_was_said_in_it(file: ChatFile) -> None:
    file.save_chat(SavedChat("k"))
    file.save_exchange("k", SavedExchange(0, None, "Who?", "Anna"))
    file.remove_chat("k")
    assert (file.chats(), file.exchanges("k"), file.search("anna")) == ((), (), frozenset())


def test_an_older_file_is_copied_before_it_is_migrated(
    file: ChatFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.save_chat(SavedChat("k", "Kept"))
    file.close()
    more = (*MIGRATIONS, "ALTER TABLE chat ADD COLUMN folder TEXT NOT NULL DEFAULT '';")
    monkeypatch.setattr(history_module, "MIGRATIONS", more)
    newer = ChatFile(path)
    assert newer.chats()[0].title == "Kept"
    newer.close()
    with sqlite3.connect(path.with_suffix(".backup-1")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (1,)
        assert copy.execute("SELECT title FROM chat").fetchall() == [("Kept",)]
    copy.close()
    monkeypatch.setattr(history_module, "MIGRATIONS", MIGRATIONS)
    opened, problem = open_or_replace(path)
    assert opened is None
    assert "newer version" in problem
    assert path.exists()


def test_a_damaged_file_is_kept_aside(path: Path) -> None:
    path.parent.mkdir()
    for number in (1, 2):
        path.write_bytes(b"no database at all" * 100)
        opened, problem = open_or_replace(path)
        assert opened is not None
        assert opened.chats() == ()
        opened.close()
        assert f"chats.sqlite3.damaged-{number}" in problem
        assert path.with_name(f"chats.sqlite3.damaged-{number}").read_bytes().startswith(b"no database")
        path.unlink()


def test_what_is_written_beside_a_damaged_file_is_kept_with_it(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    path.with_name("chats.sqlite3-wal").write_bytes(b"the last chats")
    opened, _problem = open_or_replace(path)
    assert opened is not None
    opened.close()
    assert path.with_name("chats.sqlite3.damaged-1-wal").read_bytes() == b"the last chats"


def test_a_damaged_file_that_cannot_be_moved_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)

    def refuse(path: Path) -> Path:
        raise PermissionError(f"{path.name} is in use")

    monkeypatch.setattr(history_module, "keep_aside", refuse)
    opened, problem = open_or_replace(path)
    assert opened is None
    assert "chats.sqlite3 is in use. Nothing is kept this time" in problem


def test_a_folder_in_its_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    opened, problem = open_or_replace(path)
    assert opened is None
    assert "Nothing is kept this time" in problem


# -- its thread --------------------------------------------------------------------------------------------------------


class Listener(QObject):
    def __init__(self) -> None:
        super().__init__()
        self.reports: list[object] = []
        self.threads: set[threading.Thread] = set()

    @Slot(object)
    def on_report(self, report: object) -> None:
        self.reports.append(report)
        self.threads.add(threading.current_thread())


def test_reports_come_on_the_gui_thread_and_all_is_kept_at_the_end(qtbot: QtBot, path: Path) -> None:
    history, listener = History(path), Listener()
    history.reported.connect(listener.on_report)
    history.open()
    history.save_chat(SavedChat("k", "Title"))
    for length in range(1, 200):
        history.save_exchange("k", SavedExchange(0, None, "Who?", "Anna " * length))
    history.search("anna")
    qtbot.waitUntil(lambda: len(listener.reports) == 2, timeout=WAIT_MS)
    assert listener.reports == [ChatsListed(()), ChatsFound("anna", frozenset("k"))]
    assert listener.threads == {threading.current_thread()}
    history.save_exchange("k", SavedExchange(0, None, "Who?", "The end"))
    assert history.close()
    file = ChatFile(path)
    assert [each.answer for each in file.exchanges("k")] == ["The end"]
    file.close()


def test_what_cannot_be_written_is_told(qtbot: QtBot, path: Path) -> None:
    history, listener = History(path), Listener()
    history.reported.connect(listener.on_report)
    history.open()
    history.save_exchange("no such chat", SavedExchange(0, None, "Who?"))
    qtbot.waitUntil(lambda: len(listener.reports) == 2, timeout=WAIT_MS)
    assert isinstance(listener.reports[1], SavingFailed)
    assert listener.reports[1].name == ("exchange", "no such chat", 0)
    assert history.close()


def test_one_job_that_fails_does_not_end_the_others(qtbot: QtBot, path: Path) -> None:
    history, listener = History(path), Listener()
    history.reported.connect(listener.on_report)
    history.open()
    history.save_chat(SavedChat("bad", options={"a set": {1}}))
    history.save_chat(SavedChat("k", "Kept"))
    history.search("kept")
    qtbot.waitUntil(lambda: len(listener.reports) == 3, timeout=WAIT_MS)
    _listed, failed, found = listener.reports
    assert isinstance(failed, SavingFailed)
    assert failed.name == ("chat", "bad")
    assert found == ChatsFound("kept", frozenset("k"))
    assert history.close()


# -- the app -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def restarted(qtbot: QtBot, qapp: QApplication, folders: Folders) -> Iterator[Callable[[], AppDriver]]:
    """Starts the app anew, over the same files."""
    drivers: list[AppDriver] = []

    def start() -> AppDriver:
        session = ScriptedSession()
        application = Application(qapp, session, folders)
        application.start()
        drivers.append(AppDriver(qtbot, application, session))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.session.go()
        driver.window.close()
        assert driver.application.closed_in_time
        driver.window.deleteLater()
        driver.application.deleteLater()


def chat_titles(driver: AppDriver) -> list[str]:
    found = driver.window.sidebar.found
    return [found.index(row, 0).data() for row in range(found.rowCount())]


def leave(driver: AppDriver) -> None:
    driver.window.close()
    assert driver.application.closed_in_time


def test_a_chat_comes_back_and_goes_on(restarted: Callable[[], AppDriver], book: Path) -> None:
    first = restarted()
    first.controller.open_files([book])
    first.controller.ask("Who?")
    first.until_answered()
    first.controller.regenerate(0)
    first.until_answered()
    first.controller.ask("When?")
    first.until_answered(1)
    first.controller.set_options(ChatOptions("", ChatOptions().sampling), False)
    before = first.chat
    leave(first)

    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    assert chat_titles(second) == ["New chat", "book.txt"]
    second.application.chats.show(second.window.sidebar.found.chat_at(second.window.sidebar.found.index(1, 0)))
    second.until(lambda: second.chat.is_loaded)
    assert second.chat.options == before.options
    assert [(each.id, each.question, each.answer) for each in second.chat.exchanges] == [
        (1, "Who?", ANSWER), (2, "When?", ANSWER),
    ]  # fmt: skip
    for exchange in before.all_exchanges.values():
        other = second.chat.all_exchanges[exchange.id]
        assert (other.finished, other.claims) == (exchange.finished, exchange.claims)
        assert other.evidence.heat == pytest.approx(exchange.evidence.heat, abs=1e-6)
    assert second.chat.reading.state is ReadingState.CLOSED
    assert second.transcript.card.again.isVisible()
    assert second.transcript.exchanges[0].branches.place.text() == "2 of 2"
    second.controller.ask("And then?")
    second.until_answered(2)
    assert second.session.asked[-1].history == (Said("Who?", ANSWER), Said("When?", ANSWER))
    second.chat.select(2, 0)
    marks = second.window.document.text.extraSelections()
    assert [mark.cursor.selectedText() for mark in marks] == [SENTENCE, SENTENCE]


def test_what_was_being_written_is_kept(restarted: Callable[[], AppDriver], book: Path) -> None:
    first = restarted()
    first.controller.open_files([book])
    first.until_read()
    first.session.held_at = {"write"}
    first.controller.ask("Who?")
    first.until(lambda: first.chat.exchanges[0].answer == WORDS[0])
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: bool(second.chat.exchanges))
    exchange = second.chat.exchanges[0]
    assert (exchange.answer, exchange.state) == (WORDS[0], ExchangeState.FAILED)
    assert "closed before the answer was finished" in second.transcript.exchanges[0].waiting.text()
    second.transcript.exchanges[0].again.click()
    second.until_answered()
    assert second.chat.exchanges[0].answer == ANSWER


def test_a_deleted_chat_can_be_brought_back_until_the_app_is_closed(
    restarted: Callable[[], AppDriver], book: Path
) -> None:
    first = restarted()
    for question in ("One?", "Two?"):
        first.controller.new_chat()
        first.controller.ask(question)
        first.until_answered()
    assert chat_titles(first) == ["Two?", "One?"]
    first.window.sidebar.list.setFocus()
    QTest.keyClick(first.window.sidebar.list, Qt.Key.Key_Delete)
    assert chat_titles(first) == ["One?"]
    assert "“Two?” was deleted" in first.window.banner.text.text()
    first.window.banner.undo.click()
    assert chat_titles(first) == ["Two?", "One?"]
    assert first.chat.exchanges[0].answer == ANSWER
    first.controller.ask("More?")
    first.until_answered(1)
    first.window.sidebar.chat_deleted.emit(first.chat)
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    assert chat_titles(second) == ["New chat", "One?"]


def test_chats_are_renamed_pinned_and_searched(restarted: Callable[[], AppDriver]) -> None:
    driver = restarted()
    for question in ("Geese?", "Ducks?", "Swans?"):
        driver.controller.new_chat()
        driver.controller.ask(question)
        driver.until_answered()
    sidebar = driver.window.sidebar
    driver.application.chats.show(sidebar.found.chat_at(sidebar.found.index(2, 0)))
    sidebar.toggle_pin()
    assert chat_titles(driver) == ["Geese?", "Swans?", "Ducks?"]
    index = sidebar.list.currentIndex()
    assert sidebar.found.setData(index, "  All about   geese ")
    assert not sidebar.found.setData(sidebar.list.currentIndex(), "  ")
    assert driver.chat.title == "All about geese"
    driver.application.keeper.save()
    QTest.keyClick(driver.window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    for words, titles in {"duck": ["Ducks?"], "about gee": ["All about geese"], "zebra": []}.items():
        sidebar.search.setText(words)
        driver.until(lambda titles=titles: chat_titles(driver) == titles)
    assert sidebar.nothing.isVisible()
    sidebar.search.setText("")
    driver.until(lambda: len(chat_titles(driver)) == 3)
    assert driver.chat.title == "All about geese"
    leave(driver)
    again = restarted()
    again.until(lambda: again.application.chats.rowCount() == 4)
    assert chat_titles(again)[0] == "All about geese"


def test_a_damaged_file_is_told(restarted: Callable[[], AppDriver], folders: Folders) -> None:
    folders.data.mkdir()
    folders.history.write_bytes(b"nonsense" * 999)
    driver = restarted()
    driver.until(driver.window.banner.isVisible)
    assert "kept aside as chats.sqlite3.damaged-1" in driver.window.banner.text.text()
