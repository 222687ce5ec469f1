"""The file of the chats, and the thread that writes it."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, Slot
from pytestqt.qtbot import QtBot

from app import history as history_module
from app.history import MIGRATIONS, ChatFile, History, open_or_replace
from app.models.chat import Chat, ExchangeState
from app.models.kept import ChatsListed, loaded_chat
from app.quote_check import Claim, Place
from app.saved_chats import ChatsFound, SavedChat, SavedExchange, SavingFailed

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
