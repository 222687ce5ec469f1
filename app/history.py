"""All chats on disk: one SQLite file, written by one thread, so that no window waits for a disk.

The file is in WAL mode: what was committed survives the process's end at any moment. Its layout has a version
(`PRAGMA user_version`); an older file is copied aside before it is migrated, and one that cannot be read is kept aside.
"""

import json
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from PySide6.QtCore import QCoreApplication, QObject, Signal

from app.models.chat import shortened
from app.models.kept import ChatImported, ChatsListed, listed_chat, loaded_chat
from app.saved_chats import ChatExported, ChatsFound, Name, SavedChat, SavedExchange, SavingFailed
from app.settings import keep_aside

THREAD_NAME: Final = "kiv-history"

logger = logging.getLogger(__name__)

MIGRATIONS: Final = (
    """
    CREATE TABLE chat (
        key TEXT PRIMARY KEY, title TEXT NOT NULL, pinned INTEGER NOT NULL DEFAULT 0, changed REAL NOT NULL,
        options TEXT NOT NULL, documents TEXT NOT NULL, path TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE exchange (
        chat TEXT NOT NULL REFERENCES chat (key) ON DELETE CASCADE, id INTEGER NOT NULL, parent INTEGER,
        question TEXT NOT NULL, answer TEXT NOT NULL, state TEXT NOT NULL, message TEXT NOT NULL, finished TEXT,
        claims TEXT NOT NULL, heat BLOB,
        PRIMARY KEY (chat, id)
    );
    CREATE VIRTUAL TABLE words USING fts5 (question, answer, content = 'exchange', tokenize = 'unicode61');
    CREATE TRIGGER exchange_added AFTER INSERT ON exchange BEGIN
        INSERT INTO words (rowid, question, answer) VALUES (new.rowid, new.question, new.answer);
    END;
    CREATE TRIGGER exchange_gone AFTER DELETE ON exchange BEGIN
        INSERT INTO words (words, rowid, question, answer) VALUES ('delete', old.rowid, old.question, old.answer);
    END;
    CREATE TRIGGER exchange_changed AFTER UPDATE OF question, answer ON exchange BEGIN
        INSERT INTO words (words, rowid, question, answer) VALUES ('delete', old.rowid, old.question, old.answer);
        INSERT INTO words (rowid, question, answer) VALUES (new.rowid, new.question, new.answer);
    END;
    """,
    """
    CREATE TABLE pasted (
        chat TEXT NOT NULL REFERENCES chat (key) ON DELETE CASCADE, key TEXT NOT NULL, text BLOB NOT NULL,
        PRIMARY KEY (chat, key)
    );
    INSERT INTO pasted
        SELECT chat.key, 'text-' || document.key, CAST(json_extract(document.value, '$.text') AS BLOB)
        FROM chat, json_each(CASE WHEN json_valid(chat.documents) THEN chat.documents ELSE '[]' END) AS document
        WHERE document.type = 'object' AND json_extract(document.value, '$.text') IS NOT NULL;
    UPDATE chat SET documents = (
        SELECT json_group_array(json(CASE WHEN json_extract(document.value, '$.text') IS NULL THEN document.value
            ELSE json_set(json_remove(document.value, '$.text'), '$.pasted', 'text-' || document.key) END))
        FROM json_each(chat.documents) AS document
    ) WHERE key IN (SELECT chat FROM pasted);
    """,
    """
    DROP TABLE words;
    CREATE VIRTUAL TABLE words
        USING fts5 (question, answer, content = 'exchange', tokenize = 'unicode61', prefix = '1 2 3');
    INSERT INTO words (words) VALUES ('rebuild');
    """,
    "ALTER TABLE exchange ADD COLUMN settings TEXT;",
    "ALTER TABLE chat ADD COLUMN draft TEXT NOT NULL DEFAULT '';",
    """
    UPDATE chat SET title = coalesce(
        (SELECT shortened(question) FROM exchange WHERE exchange.chat = chat.key ORDER BY exchange.id LIMIT 1), ''
    ) WHERE title = first_document(documents);
    """,
)
"""One script for each version of the layout; the file's user_version says how many were run."""


class HistoryError(Exception):
    """The file cannot be used; the message says why."""


FAULTS: Final = (HistoryError, sqlite3.Error, OSError, ValueError)
"""What a file can have wrong with it."""
HEADER: Final = b"SQLite format 3\0"


class ChatFile:
    """The open database. Used by one thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises HistoryError or sqlite3.Error."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and _beginning(path) not in (HEADER, b""):
            raise sqlite3.DatabaseError("it is no database")  # SQLite says so too, and removes the -wal beside it
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, path: Path) -> None:
        run = self._connection.execute
        (version,) = run("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise HistoryError(tr("{0} is from a newer version of this app").format(path.name))
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA foreign_keys = ON")
        if 0 < version < len(MIGRATIONS):
            with closing(sqlite3.connect(path.with_suffix(f".backup-{version}"))) as copy:
                self._connection.backup(copy)
        self._connection.create_function("shortened", 1, shortened)
        self._connection.create_function("first_document", 1, _first_document)
        for number in range(version, len(MIGRATIONS)):
            self._connection.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
        run("SELECT 1 FROM chat LIMIT 1")
        run("SELECT 1 FROM exchange LIMIT 1")

    def close(self) -> None:
        """Nothing is lost if this is never called."""
        self._connection.close()

    def chats(self) -> tuple[SavedChat, ...]:
        """All chats, the newest first."""
        rows = self._connection.execute(
            "SELECT key, title, pinned, changed, options, documents, path, draft FROM chat ORDER BY changed DESC"
        )
        return tuple(
            SavedChat(key, title, bool(pinned), changed, _value(options), _value(documents), _ids(path), draft)
            for key, title, pinned, changed, options, documents, path, draft in rows
        )

    def exchanges(self, key: str) -> tuple[SavedExchange, ...]:
        """What was asked in a chat."""
        rows = self._connection.execute(
            "SELECT id, parent, question, answer, state, message, finished, claims, heat, settings FROM exchange"
            " WHERE chat = ? ORDER BY id",
            (key,),
        )
        return tuple(SavedExchange(*row) for row in rows)

    def texts(self, key: str) -> dict[str, str]:
        """What was pasted into a chat, by key."""
        rows = self._connection.execute("SELECT key, text FROM pasted WHERE chat = ?", (key,))
        return {name: text.decode("utf-8", "surrogatepass") for name, text in rows}

    def save_chat(self, chat: SavedChat) -> None:
        """Insert or replace a chat; its exchanges stay, and so do its options and documents where there are none."""
        run = self._connection.execute
        parts = [None if part is None else json.dumps(part) for part in (chat.options, chat.documents)]
        texts = (_writable(chat.title), _writable(chat.draft))
        values = (*texts, chat.pinned, chat.changed, json.dumps(chat.path), *parts, chat.key)
        with self._connection:
            run("BEGIN")
            replaced = run(
                "UPDATE chat SET title = ?, draft = ?, pinned = ?, changed = ?, path = ?,"
                " options = coalesce(?, options), documents = coalesce(?, documents) WHERE key = ?",
                values,
            )
            if not replaced.rowcount:
                run(
                    "INSERT INTO chat (title, draft, pinned, changed, path, options, documents, key)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
            self._save_texts(chat)

    def _save_texts(self, chat: SavedChat) -> None:
        """Write pasted texts that are new, once; drop those that no document names any more."""
        there = {key for (key,) in self._connection.execute("SELECT key FROM pasted WHERE chat = ?", (chat.key,))}
        for key in chat.texts.keys() - there:
            text = chat.texts[key].encode("utf-8", "surrogatepass")
            self._connection.execute("INSERT INTO pasted VALUES (?, ?, ?)", (chat.key, key, text))
        if chat.documents is not None:
            for key in there - {document.get("pasted") for document in chat.documents}:
                self._connection.execute("DELETE FROM pasted WHERE chat = ? AND key = ?", (chat.key, key))

    def save_exchange(self, key: str, exchange: SavedExchange) -> None:
        """Insert or replace an exchange of a chat that is there."""
        values = tuple(map(_writable, vars(exchange).values()))
        self._connection.execute(
            "INSERT INTO exchange"
            " (chat, id, parent, question, answer, state, message, finished, claims, heat, settings)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (chat, id) DO UPDATE SET answer = excluded.answer,"
            " state = excluded.state, message = excluded.message, finished = excluded.finished,"
            " claims = excluded.claims, heat = excluded.heat, settings = excluded.settings",
            (key, *values),
        )

    def remove_exchange(self, key: str, exchange_id: int) -> None:
        """Forget a question that was taken back."""
        self._connection.execute("DELETE FROM exchange WHERE chat = ? AND id = ?", (key, exchange_id))

    def remove_chat(self, key: str) -> None:
        """Forget a chat and all that was said in it."""
        self._connection.execute("DELETE FROM chat WHERE key = ?", (key,))

    def search(self, words: str) -> frozenset[str]:
        """Chats in which all words, or beginnings of words, stand in one question or answer, or in its names."""
        parts = words.split()
        query = " ".join('"{}"*'.format(part.replace('"', '""')) for part in parts)
        found = self._connection.execute(
            "SELECT DISTINCT chat FROM words JOIN exchange ON exchange.rowid = words.rowid WHERE words MATCH ?",
            (query,),
        )
        keys = {key for (key,) in found}
        folded = [part.casefold() for part in parts]
        names = {chat.key: _names(chat).casefold() for chat in self.chats()}
        return frozenset(keys | {key for key, named in names.items() if all(part in named for part in folded)})


def _names(chat: SavedChat) -> str:
    """What a chat and its documents are called."""
    return "\n".join([chat.title, *(document.name for document in listed_chat(chat).documents)])


def _first_document(documents: str) -> str:
    """What a chat was titled as long as it was not renamed, before chats were called by their first questions."""
    listed = listed_chat(SavedChat("", documents=_value(documents))).documents
    return shortened(listed[0].name) if listed else ""


def _value(text: str) -> Any:
    """What a column has in JSON; None if it is damaged."""
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return None


def _ids(text: str) -> tuple[int, ...]:
    ids = _value(text)
    return tuple(each for each in ids if isinstance(each, int)) if isinstance(ids, list) else ()


def _writable(value: Any) -> Any:
    """Half a letter, as file names and clipboards can have, is a question mark in the file."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(HEADER))


Job: TypeAlias = Callable[[ChatFile], object]


def tr(text: str) -> str:
    """In the user's language."""
    return QCoreApplication.translate("History", text)


def failure_words(name: Name, error: Exception) -> str:
    """What could not be done, and why."""
    lines = {
        "list": tr("The chats cannot be listed: {0}."),
        "load": tr("This chat cannot be loaded: {0}."),
        "search": tr("The chats cannot be searched: {0}."),
        "remove": tr("A deleted chat is still there: {0}."),
        "export": tr("The chat cannot be exported: {0}."),
        "import": tr("This file cannot be imported: {0}."),
    }
    return lines.get(str(name[0]), tr("The chats cannot be kept: {0}.")).format(error)


class History(QObject):
    """Hands what is to be kept or looked up to the file's thread. Without a path it keeps and finds nothing.

    Writes of one chat or exchange that still wait are replaced by newer ones. Lives on the GUI thread.

    Signals:
        reported: ChatsListed, ChatLoaded, ChatsFound, ChatExported, ChatImported or SavingFailed. Receivers
            are slots of QObjects.
    """

    reported = Signal(object)

    def __init__(self, path: Path | None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._path = path
        self._jobs: queue.SimpleQueue[Name] = queue.SimpleQueue()
        self._latest: dict[Name, Job] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Open the file and list the chats."""
        if self._path is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(self._path,), name=THREAD_NAME, daemon=True)
            self._thread.start()

    def save_chat(self, chat: SavedChat) -> None:
        """Keep a chat's facts. One that was to be removed, as it was empty, stays."""
        with self._lock:
            if (removal := ("remove", chat.key)) in self._latest:
                self._latest[removal] = lambda file: file.save_chat(chat)
                return
        self._submit(("chat", chat.key), lambda file: file.save_chat(chat))

    def save_exchange(self, key: str, exchange: SavedExchange) -> None:
        """Keep an exchange. Its chat was saved before."""
        self._submit(("exchange", key, exchange.id), lambda file: file.save_exchange(key, exchange))

    def remove_exchange(self, key: str, exchange_id: int) -> None:
        """Forget a question."""
        self._submit(("exchange", key, exchange_id), lambda file: file.remove_exchange(key, exchange_id))

    def remove_chat(self, key: str) -> None:
        """Forget a chat."""
        self._submit(("remove", key), lambda file: file.remove_chat(key))

    def load_chat(self, key: str) -> None:
        """Report the exchanges of a chat."""
        self._submit(("load", key), lambda file: loaded_chat(key, file.exchanges(key), file.texts(key)))

    def export(self, path: Path, chat: SavedChat) -> None:
        """Write a chat, with the exchanges that are kept of it, to a file of its own, and report ChatExported."""
        self._submit(("export", path), lambda file: export_chat(path, chat, file.exchanges(chat.key)))

    def import_chat(self, path: Path) -> None:
        """Keep a chat that was exported, and report ChatImported."""
        self._submit(("import", path), lambda file: import_chat(file, path))

    def search(self, words: str) -> None:
        """Report the chats in which words stand."""
        self._submit(("search",), lambda file: ChatsFound(words, file.search(words)))

    def close(self) -> None:
        """Ask the thread to end with what waits."""
        self._jobs.put(())

    def join(self, timeout_s: float) -> bool:
        """Wait until all is kept; False if the disk takes longer."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _submit(self, name: Name, job: Job) -> None:
        if self._thread is None or not self._thread.is_alive():
            return
        with self._lock:
            waits = name in self._latest
            self._latest[name] = job
        if not waits:
            self._jobs.put(name)

    # -- on the file's thread ------------------------------------------------------------------------------------

    def _run(self, path: Path) -> None:
        file, problem = open_or_replace(path)
        if file is None:
            self.reported.emit(ChatsListed((), problem))
            return
        with closing(file):
            self._work(file, ("list",), lambda file: ChatsListed(tuple(map(listed_chat, file.chats())), problem))
            while name := self._jobs.get():
                with self._lock:
                    job = self._latest.pop(name)
                self._work(file, name, job)

    def _work(self, file: ChatFile, name: Name, job: Job) -> None:
        """Do one thing; whatever goes wrong with it, the next one is done."""
        try:
            if (result := job(file)) is not None:
                self.reported.emit(result)
        except Exception as error:
            logger.warning("%s failed", name, exc_info=None if isinstance(error, FAULTS) else error)
            self.reported.emit(SavingFailed(name, failure_words(name, error)))


@contextmanager
def faults_told(path: Path) -> Iterator[None]:
    """Say of a file of its own what the system says."""
    try:
        yield
    except OSError as error:
        raise HistoryError(f"{path}: {error.strerror or error}") from error


def export_chat(path: Path, chat: SavedChat, exchanges: Sequence[SavedExchange]) -> ChatExported:
    """Write a chat to a file of its own."""
    from app.models.exported import export

    with faults_told(path):
        export(path, chat, exchanges)
    return ChatExported(path)


def import_chat(file: ChatFile, path: Path) -> ChatImported:
    """Keep a chat that was exported, under a new key."""
    from app.models.exported import import_json

    with faults_told(path):
        chat, exchanges = import_json(path)
    file.save_chat(chat)
    for exchange in exchanges:
        file.save_exchange(chat.key, exchange)
    return ChatImported(listed_chat(chat))


def open_or_replace(path: Path) -> tuple[ChatFile | None, str]:
    """The file, and what was wrong. A damaged one is kept aside and a fresh one made; one in use or newer is left."""
    try:
        return ChatFile(path), ""
    except FAULTS as error:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            return _replace(path, error)
        line = tr("The chats in {0} cannot be opened: {1}. Nothing is kept this time.")
        return None, line.format(path, error)


def _replace(path: Path, damage: Exception) -> tuple[ChatFile | None, str]:
    try:
        kept = keep_aside(path)
        line = tr("The chats were damaged ({0}); they are kept aside as {1}.")
        return ChatFile(path), line.format(damage, kept.name)
    except FAULTS as error:
        line = tr("The chats are damaged ({0}) and cannot be kept aside: {1}. Nothing is kept this time.")
        return None, line.format(damage, error)
