"""The file of the chats, and the app that keeps them there and brings them back."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, QPoint, Qt, Slot
from PySide6.QtGui import QTextDocument
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import history as history_module
from app.application import Application
from app.folders import Folders
from app.history import MIGRATIONS, ChatFile, History, open_or_replace
from app.models.chat import Chat, ChatDocument, ExchangeState, ReadingState
from app.models.kept import ChatsListed, loaded_chat
from app.quote_check import Claim, Place
from app.requests import Said, TextSource
from app.saved_chats import ChatsFound, SavedChat, SavedExchange, SavingFailed
from app.settings import ChatOptions
from app.views.theme import LIGHT
from tests.app.conftest import AppDriver, read_book
from tests.app.scripted_session import SENTENCE, WORDS, ScriptedSession

ANSWER = "".join(WORDS)
WAIT_MS = 20_000
JOIN_S = 20.0


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
        SavedChat(f"k{n}", f"Title {n}", n == 1, float(n), {"system": "🪿"}, [{"file": "a"}], (0, n), f"Draft {n}")
        for n in range(3)
    ]
    for chat in chats:
        file.save_chat(chat)
    exchanges = (
        SavedExchange(0, None, "Who?", "Anna", "done", "", "{}", "[]", b"1234", "{}"),
        SavedExchange(1, 0, "Why?"),
    )
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


def test_search_finds_all_chats_however_many(file: ChatFile) -> None:
    for number in range(300):
        file.save_chat(SavedChat(str(number), "Chat"))
        file.save_exchange(str(number), SavedExchange(0, None, "Where is the goose?", "Away"))
    assert len(file.search("goose")) == 300


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
    with sqlite3.connect(path.with_suffix(f".backup-{len(MIGRATIONS)}")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert copy.execute("SELECT title FROM chat").fetchall() == [("Kept",)]
    copy.close()
    monkeypatch.setattr(history_module, "MIGRATIONS", MIGRATIONS)
    opened, problem = open_or_replace(path)
    assert opened is None
    assert "newer version" in problem
    assert path.exists()


def test_pasted_texts_of_an_older_file_move_to_their_table(path: Path) -> None:
    path.parent.mkdir()
    documents = [
        {"file": "a.txt", "place": None}, {"name": "Pasted text", "text": "Some 🪿 words", "place": [0, 3]},
        {"name": "Pasted text", "text": "Half a \ud83e goose", "place": None},
    ]  # fmt: skip
    with sqlite3.connect(path) as older:
        older.executescript(MIGRATIONS[0] + "PRAGMA user_version = 1;")
        insert = "INSERT INTO chat (key, title, changed, options, documents, path) VALUES (?, '', 0, '{}', ?, '[]')"
        older.executemany(insert, [("k", json.dumps(documents)), ("bad", "[{"), ("none", json.dumps(documents[:1]))])
    older.close()
    file = ChatFile(path)
    chats = {chat.key: chat.documents for chat in file.chats()}
    assert chats == {
        "k": [documents[0], {"name": "Pasted text", "place": [0, 3], "pasted": "text-1"},
              {"name": "Pasted text", "place": None, "pasted": "text-2"}],
        "bad": None, "none": documents[:1],
    }  # fmt: skip
    assert file.texts("k") == {"text-1": "Some 🪿 words", "text-2": "Half a \ud83e goose"}
    file.close()
    assert path.with_suffix(".backup-1").exists()


def test_chats_of_the_version_before_are_found_by_the_first_letters_of_words(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as older:
        older.executescript("".join(MIGRATIONS[:2]) + "PRAGMA user_version = 2;")
        older.execute(
            "INSERT INTO chat (key, title, changed, options, documents, path) VALUES ('k', '', 0, '', '', '')"
        )
        older.execute(
            "INSERT INTO exchange (chat, id, question, answer, state, message, claims)"
            " VALUES ('k', 0, 'Who?', 'Anna Thorn', 'done', '', '')"
        )
    older.close()
    file = ChatFile(path)
    assert file.exchanges("k")[0].settings is None
    file.save_exchange("k", SavedExchange(1, 0, "Why?", "Because of geese", "done", settings="{}"))
    assert file.exchanges("k")[1].settings == "{}"
    for words, found in {"a": {"k"}, "tho": {"k"}, "an th": {"k"}, "gee": {"k"}, "x": set()}.items():
        assert file.search(words) == found, words
    file.remove_exchange("k", 0)
    assert file.search("thorn") == frozenset()
    file.close()
    with sqlite3.connect(path.with_suffix(".backup-2")) as copy:
        assert copy.execute("SELECT answer FROM exchange").fetchall() == [("Anna Thorn",)]
    copy.close()
    with sqlite3.connect(path) as newer:
        assert "prefix" in newer.execute("SELECT sql FROM sqlite_master WHERE name = 'words'").fetchone()[0]
    newer.close()


def test_chats_that_were_titled_by_their_file_are_called_by_their_first_questions(path: Path) -> None:
    path.parent.mkdir()
    book, long = json.dumps([{"file": "/books/a book.txt"}]), "x" * 70 + ".txt"
    chats = [
        ("asked", "a book.txt", book), ("unasked", "a book.txt", book), ("renamed", "My book", book),
        ("long", long[:59] + "…", json.dumps([{"file": long}])), ("bad", "a book.txt", "[{"), ("none", "", "[]"),
    ]  # fmt: skip
    with sqlite3.connect(path) as older:
        older.executescript("".join(MIGRATIONS[:5]) + "PRAGMA user_version = 5;")
        insert = "INSERT INTO chat (key, title, documents, changed, options, path) VALUES (?, ?, ?, 0, '{}', '[]')"
        older.executemany(insert, chats)
        asked = [("asked", 1, "And when?"), ("asked", 0, "Who  was\nhere?"), ("renamed", 0, "Who?")]
        insert = "INSERT INTO exchange (chat, id, question, answer, state, message, claims)"
        older.executemany(insert + " VALUES (?, ?, ?, '', 'done', '', '')", asked)
    older.close()
    with closing(ChatFile(path)) as file:
        titles = {chat.key: chat.title for chat in file.chats()}
        asked_titles = {"asked": "Who was here?", "unasked": "", "renamed": "My book"}
        assert titles == asked_titles | {"long": "", "bad": "a book.txt", "none": ""}
        file.save_chat(SavedChat("asked", "a book.txt", documents=json.loads(book)))
    with closing(ChatFile(path)) as file:
        assert file.chats()[0].title == "a book.txt", "a chat that is renamed to its file now stays so"


def test_a_pasted_text_is_written_once_and_goes_with_its_document(file: ChatFile) -> None:
    document, texts = {"name": "Pasted text", "pasted": "p"}, {"p": "Half a \ud83e goose"}
    file.save_chat(SavedChat("k", documents=[document], texts=texts))
    file.save_chat(SavedChat("k", documents=[document], texts={"p": "not written again"}))
    file.save_chat(SavedChat("k", documents=[document]))
    assert file.texts("k") == texts
    file.save_chat(SavedChat("k", documents=None))
    assert (file.texts("k"), file.chats()[0].documents) == (texts, [document])
    file.save_chat(SavedChat("k"))
    assert file.texts("k") == {}


def test_half_a_letter_does_not_keep_a_chat_from_being_kept(file: ChatFile) -> None:
    file.save_chat(SavedChat("k", "a\udcff.txt", draft="\udcff!"))
    file.save_exchange("k", SavedExchange(0, None, "Who\udcff?"))
    chat = file.chats()[0]
    assert (chat.title, chat.draft, file.exchanges("k")[0].question) == ("a?.txt", "?!", "Who??")


def test_what_is_damaged_in_an_exchange_is_passed_over() -> None:
    passage = {
        "document": "a", "page": None, "start": 0, "end": 1, "token_start": 0, "token_end": 1, "weight": 0.5,
        "text": "A", "sonar": 1,
    }  # fmt: skip
    finished = {
        "text": "Anna", "finish_reason": "stop", "prompt_tokens": 1, "reused_tokens": 0, "answer_tokens": 1,
        "first_token_s": 0.1, "decode_tokens_per_s": 9.0, "passages": [passage], "voice": "loud",
    }  # fmt: skip
    claim = {"text": "1", "start": 0, "end": 1, "place": {"document": 0, "start": 0, "end": 1, "line": 3}, "sure": 1}
    saved = [
        SavedExchange(0, None, "Who?", "Anna", "done", "", json.dumps(finished), json.dumps([claim]), b"1234"),
        SavedExchange(1, 0, "Why?", "", "sung", "", "{", "[3]", b"123"),
        SavedExchange(2, 99, "How?", "", "waiting", "", '{"passages": [1]}', "7", None),
    ]
    first, second, third = loaded_chat("k", saved, {}).exchanges
    assert first.finished is not None
    assert (first.finished.text, first.finished.passages[0].text) == ("Anna", "A")
    assert (first.claims, len(first.evidence.heat)) == ((Claim("1", 0, 1, Place(0, 0, 1)),), 1)
    assert (first.children, second.parent, third.parent) == ([second], first, None)
    assert (second.state, third.state) == (ExchangeState.FAILED, ExchangeState.WAITING)
    for exchange in (second, third):
        assert (exchange.finished, exchange.claims, len(exchange.evidence.heat)) == (None, (), 0)


def test_a_chat_that_is_restored_twice_has_everything_once() -> None:
    saved = [SavedExchange(0, None, "Who?", "Anna", "done"), SavedExchange(1, 0, "Why?", "So", "done")]
    chat = Chat(1)
    for _time in range(2):
        loaded = loaded_chat("k", saved, {})
        chat.restore(loaded.exchanges, loaded.texts)
    assert [exchange.id for exchange in chat.exchanges] == [0, 1]
    assert len(chat.root.children) == 1


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
    history.close()
    assert history.join(JOIN_S)
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
    history.close()
    assert history.join(JOIN_S)


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
    history.close()
    assert history.join(JOIN_S)


def test_a_chat_that_is_no_longer_empty_stays_although_its_removal_waits(
    qtbot: QtBot, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, may_list, list_chats = History(path), threading.Event(), ChatFile.chats

    def late(file: ChatFile) -> tuple[SavedChat, ...]:
        may_list.wait(JOIN_S)
        return list_chats(file)

    monkeypatch.setattr(ChatFile, "chats", late)
    history.open()
    history.save_chat(SavedChat("k", draft="a"))
    history.remove_chat("k")
    history.save_chat(SavedChat("k", draft="b"))
    history.save_exchange("k", SavedExchange(0, None, "Who?"))
    may_list.set()
    history.close()
    assert history.join(JOIN_S)
    file = ChatFile(path)
    assert [chat.draft for chat in file.chats()] == ["b"]
    assert len(file.exchanges("k")) == 1
    file.close()


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


def test_of_documents_whose_beginning_was_read_the_beginning_is_read_again(
    restarted: Callable[[], AppDriver], book: Path
) -> None:
    first = restarted()
    first.controller.set_options(ChatOptions(first_tokens=700), True)
    first.controller.open_files([book])
    first.until_read()
    first.controller.ask("Who?")
    first.until_answered()
    first.controller.new_chat()
    assert first.chat.options.first_tokens == 0, "that is nothing for other documents"
    leave(first)

    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.window.sidebar.found.chat_at(second.window.sidebar.found.index(1, 0)))
    second.until(lambda: second.chat.is_loaded)
    assert second.transcript.card.state.text().startswith("Not in memory; the first 700 tokens are opened")
    second.controller.ask("And then?")
    second.until_answered(1)
    assert second.chat.reading.is_beginning_only
    assert second.chat.reading.tokens_read == 700 < second.chat.placed_tokens


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
    assert chat_titles(second) == ["New chat", "Who?"]
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


def test_a_file_that_has_not_changed_since_is_not_read_twice_after_a_new_start(
    restarted: Callable[[], AppDriver], book: Path
) -> None:
    first = restarted()
    read_book(first, book)
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: second.chat.is_loaded)
    second.controller.open_files([book])
    second.until_read()
    assert len(second.chat.documents) == 1, "it is only brought back"
    second.controller.open_files([book])
    assert "already in this chat" in second.window.banner.text.text()
    assert len(second.session.read) == 1


def test_where_the_text_would_be_one_click_opens_the_documents_of_a_chat_from_before(
    restarted: Callable[[], AppDriver], book: Path
) -> None:
    first = restarted()
    read_book(first, book)
    first.controller.ask("Who?")
    first.until_answered()
    leave(first)
    second = restarted()
    empty = second.window.document.empty
    assert (empty.isVisible(), empty.again.isVisible()) == (True, False)
    assert "appears here" in empty.words.text()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: second.chat.is_loaded)
    assert "Not in memory" in empty.words.text()
    second.chat.select(0, 0)
    empty.again.setFocus()
    empty.again.click()
    assert second.window.focusWidget() is second.window.composer.edit, "the button goes"
    second.until_read()
    assert not empty.isVisible()
    second.until(lambda: bool(second.window.document.text.extraSelections()))
    assert not second.chat.exchanges[1:], "nothing had to be asked"


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
    assert first.window.banner.undo.isVisible()
    first.window.banner.undo.click()
    assert chat_titles(first) == ["Two?", "One?"]
    assert first.chat.exchanges[0].answer == ANSWER
    first.controller.ask("More?")
    first.until_answered(1)
    first.window.sidebar.chat_deleted.emit(first.chat)
    assert first.window.banner.undo.isVisible()
    first.application.keeper.forget_deleted()  # as after UNDO_MS
    assert not first.window.banner.undo.isVisible()
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    assert chat_titles(second) == ["New chat", "One?"]


def test_each_chat_keeps_what_is_typed_in_it_also_over_a_new_start(restarted: Callable[[], AppDriver]) -> None:
    first = restarted()
    edit, chats = first.window.composer.edit, first.application.chats
    for question in ("One?", "Two?"):
        first.controller.new_chat()
        first.controller.ask(question)
        first.until_answered()
        QTest.keyClicks(edit, f"And after {question}")
    two = first.chat
    first.controller.new_chat()
    assert edit.toPlainText() == ""
    assert not first.window.composer.send.isEnabled()
    chats.show(two)
    assert edit.toPlainText() == "And after Two?"
    assert first.window.composer.send.isEnabled()
    QTest.keyClicks(edit, "!")
    assert two.draft == "And after Two?!", "one types on behind it"
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 3)
    edit, sent = second.window.composer.edit, []
    for row in range(2):
        second.application.chats.show(second.application.chats.at(row))
        sent.append(edit.toPlainText())
    assert sent == ["And after Two?!", "And after One?"]
    second.until(lambda: second.chat.is_loaded)
    QTest.keyClick(edit, Qt.Key.Key_Return)
    second.until_answered(1)
    assert (second.chat.exchanges[1].question, second.chat.draft) == ("And after One?", "")


def test_what_is_typed_in_a_new_chat_is_kept_until_it_is_deleted(
    restarted: Callable[[], AppDriver], folders: Folders
) -> None:
    first = restarted()
    QTest.keyClicks(first.window.composer.edit, "Who?")
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    chats = second.application.chats
    assert [chats.at(row).draft for row in range(2)] == ["Who?", ""]
    chats.show(chats.at(0))
    second.until(lambda: second.chat.is_loaded)
    second.window.composer.edit.clear()
    leave(second)
    file = ChatFile(folders.history)
    assert file.chats() == ()
    file.close()


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


def test_chats_of_one_file_are_called_by_their_first_questions(
    restarted: Callable[[], AppDriver], book: Path, tmp_path: Path
) -> None:
    first = restarted()
    chats, row = first.application.chats, first.application.chats.index
    for number, question in enumerate(("Who?", "When?", "")):
        first.controller.new_chat()
        read_book(first, book)
        assert (row(0).data(), first.chat.about) == ("book.txt", "")
        if question:
            first.controller.ask(question)
            assert first.window.title.text() == question
            first.until_answered()
            first.controller.ask("And then?")
            first.until_answered(1)
            assert row(0).data() == question, number
    chats.at(0).rename("book.txt")  # which it is called anyway
    assert not chats.at(0).title
    assert chat_titles(first) == ["book.txt", "When?", "Who?"]
    assert row(1).data(Qt.ItemDataRole.ToolTipRole) == "When?\nbook.txt"
    assert row(1).data(Qt.ItemDataRole.AccessibleTextRole) == "When?, book.txt"
    assert row(0).data(Qt.ItemDataRole.ToolTipRole) == row(0).data(Qt.ItemDataRole.AccessibleTextRole) == "book.txt"
    chats.at(0).rename("All about geese")
    first.controller.ask("Where?")
    first.until_answered()
    assert chats.at(0).title == "All about geese"
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 4)
    assert chat_titles(second)[1:] == ["All about geese", "When?", "Who?"]
    second.window.sidebar.search.setText("book.txt wh")
    second.until(lambda: chat_titles(second) == ["When?", "Who?"])


def test_the_list_shows_what_a_chat_is_about_below_its_name(driver: AppDriver, book: Path) -> None:
    read_book(driver, book)
    view, theme = driver.window.sidebar.list, driver.application.theme

    def dark_lines() -> int:
        picture = driver.window.sidebar.grab().toImage()
        row = view.visualRect(view.model().index(0, 0)).translated(view.mapTo(driver.window.sidebar, QPoint()))
        rows, columns = range(row.top(), row.bottom()), range(row.left() + 8, row.right() - 40)
        dark = [y for y in rows if any(picture.pixelColor(x, y).lightnessF() < 0.6 for x in columns)]
        return sum(y - 1 not in dark for y in dark)

    theme.choose(LIGHT)
    assert dark_lines() == 1, "the document's name"
    driver.controller.ask("Noon")
    driver.until_answered()
    assert dark_lines() == 2


def test_names_with_line_ends_and_tags_are_shown_as_they_are(driver: AppDriver) -> None:
    driver.chat.set_title("What does <hr> do?")
    driver.chat.set_documents([ChatDocument("<b>two\nlines<hr>.txt")])
    assert driver.chat.about == "<b>two lines<hr>.txt"
    tip = QTextDocument()
    tip.setHtml(driver.application.chats.index(0).data(Qt.ItemDataRole.ToolTipRole))
    assert tip.toPlainText() == "What does <hr> do?\n<b>two\nlines<hr>.txt"


def test_a_question_that_could_not_be_asked_leaves_no_name(driver: AppDriver, tmp_path: Path) -> None:
    song = tmp_path / "song.bin"
    song.write_bytes(b"a\0b")
    driver.session.held_at = {"open"}
    driver.controller.open_files([song])
    driver.controller.ask("Who?")
    assert driver.chat.name == "Who?"
    driver.session.go()
    driver.until(lambda: driver.chat.draft == "Who?")
    assert (driver.chat.name, driver.window.title.text()) == ("", "New chat")


def test_a_question_that_could_not_be_asked_comes_back_each_time_and_is_not_kept_as_asked(
    restarted: Callable[[], AppDriver], book: Path, folders: Folders
) -> None:
    first = restarted()
    read_book(first, book)
    first.controller.ask("Who?")
    first.until_answered()
    leave(first)
    book.unlink()
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: second.chat.is_loaded)
    for _time in range(2):
        second.session.held_at = {"open"}
        second.controller.ask("And when?")
        second.until(lambda: "open" in second.session.reached)
        second.application.keeper.save()
        second.session.go()
        second.until(lambda: second.chat.draft == "And when?")
        second.chat.set_draft("")
    leave(second)
    file = ChatFile(folders.history)
    [chat] = file.chats()
    assert [each.question for each in file.exchanges(chat.key)] == ["Who?"]
    file.close()


def test_a_pasted_text_comes_back_with_its_chat_and_looking_at_it_is_no_change(
    restarted: Callable[[], AppDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = restarted()
    first.controller.read_pasted(SENTENCE * 20)
    first.controller.ask("Who?")
    first.until_answered()
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    kept = second.application.chats.at(0)
    assert kept.documents[0].source == TextSource("Pasted text", "")
    saved: list[object] = []
    for name in ("save_chat", "save_exchange"):
        monkeypatch.setattr(second.application.history, name, lambda *given: saved.append(given))
    second.application.chats.show(kept)
    second.until(lambda: kept.is_loaded)
    second.application.keeper.save()
    assert saved == []
    assert kept.documents[0].source == TextSource("Pasted text", SENTENCE * 20)
    second.controller.read_again()
    second.until_read()
    assert second.chat.opened_documents[0].text == SENTENCE * 20


def test_documents_that_cannot_be_read_stay_as_they_are_on_the_disk(
    restarted: Callable[[], AppDriver], folders: Folders, book: Path
) -> None:
    first = restarted()
    first.controller.open_files([book])
    first.controller.ask("Who?")
    first.until_answered()
    leave(first)
    with sqlite3.connect(folders.history) as damaged:
        damaged.execute("UPDATE chat SET documents = '[{'")
    damaged.close()
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: second.chat.is_loaded)
    assert [exchange.answer for exchange in second.chat.exchanges] == [ANSWER]
    second.controller.ask("When?")
    second.until_answered(1)
    leave(second)
    file = sqlite3.connect(folders.history)
    assert file.execute("SELECT documents, path FROM chat").fetchall() == [("[{", "[0, 1]")]
    file.close()


def test_what_could_not_be_kept_is_tried_again(
    restarted: Callable[[], AppDriver], book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, full = ChatFile.save_exchange, sqlite3.OperationalError("database or disk is full")

    def refuse(*_given: object) -> None:
        raise full

    monkeypatch.setattr(ChatFile, "save_exchange", refuse)
    first = restarted()
    first.controller.open_files([book])
    first.controller.ask("Who?")
    first.until_answered()
    first.application.keeper.save()
    first.application.keeper.search("book")
    first.until(lambda: first.application.chats.found is not None)  # all that came before has been tried
    assert "disk is full" in first.window.banner.text.text()
    monkeypatch.setattr(ChatFile, "save_exchange", keep)
    leave(first)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    second.application.chats.show(second.application.chats.at(0))
    second.until(lambda: [exchange.answer for exchange in second.chat.exchanges] == [ANSWER])


def test_a_chat_whose_only_file_cannot_be_read_does_not_come_back(
    restarted: Callable[[], AppDriver], tmp_path: Path, folders: Folders
) -> None:
    first = restarted()
    first.session.held_at = {"open"}
    first.controller.open_files([tmp_path / "no such.txt"])
    first.until_reached("open")
    first.application.keeper.save()
    first.session.go()
    first.until(lambda: first.chat.is_empty)
    leave(first)
    file = ChatFile(folders.history)
    assert file.chats() == ()
    file.close()


def test_what_was_searched_for_before_filters_nothing_any_more(driver: AppDriver) -> None:
    keeper, chats = driver.application.keeper, driver.application.chats
    keeper.search("geese")
    keeper.search("")
    keeper.on_report(ChatsFound("geese", frozenset()))
    assert chats.found is None
    keeper.search(" ducks ")
    keeper.on_report(ChatsFound("geese", frozenset({"old"})))
    driver.until(lambda: chats.found == frozenset())


def test_a_chat_that_cannot_be_loaded_takes_nothing_that_would_be_lost(
    restarted: Callable[[], AppDriver], book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = restarted()
    first.controller.open_files([book])
    first.controller.ask("Who?")
    first.until_answered()
    leave(first)
    load = ChatFile.exchanges

    def refuse(_file: ChatFile, _key: str) -> tuple[SavedExchange, ...]:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(ChatFile, "exchanges", refuse)
    second = restarted()
    second.until(lambda: second.application.chats.rowCount() == 2)
    kept = second.application.chats.at(0)
    second.application.chats.show(kept)
    second.until(lambda: "cannot be loaded" in second.window.banner.text.text())
    second.controller.ask("When?")
    second.controller.read_again()
    assert (kept.all_exchanges, kept.reading.state) == ({}, ReadingState.CLOSED)
    assert second.window.composer.edit.toPlainText() == "When?"
    second.controller.open_files([book])
    assert second.chat is not kept
    monkeypatch.setattr(ChatFile, "exchanges", load)
    second.application.chats.show(kept)
    second.until(lambda: [exchange.question for exchange in second.chat.exchanges] == ["Who?"])
    second.controller.ask("When?")
    second.until_answered(1)
    assert [exchange.id for exchange in second.chat.exchanges] == [0, 1]


def test_a_damaged_file_is_told(restarted: Callable[[], AppDriver], folders: Folders) -> None:
    folders.data.mkdir()
    folders.history.write_bytes(b"nonsense" * 999)
    driver = restarted()
    driver.until(driver.window.banner.isVisible)
    assert "kept aside as chats.sqlite3.damaged-1" in driver.window.banner.text.text()
