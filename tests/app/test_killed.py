"""The app killed from outside while it writes an answer: what was asked and said until then is there afterwards."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.application import Application
from app.engine_bridge import Session
from app.engine_session import EngineSession
from app.folders import Folders
from app.models.chat import Exchange, ExchangeState
from tests.app.scripted_session import WORDS, ScriptedSession

pytestmark = pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL elsewhere")

ROOT = Path(__file__).resolve().parents[2]
WAIT_MS = 120_000
QUESTION = "Who took the Second Bishop out on the tide?"
APP = """
import sys, threading
from pathlib import Path
from PySide6.QtWidgets import QApplication
from app.application import Application
from app.engine_session import EngineSession
from app.folders import Folders
from kiv_engine.events import TextDelta
from tests.app.scripted_session import ScriptedSession

class HeldSession(EngineSession):
    def handle(self, request, should_stop):
        for event in super().handle(request, should_stop):
            yield event
            if isinstance(event, TextDelta) and event.text.strip():
                threading.Event().wait()  # in the middle of an answer until it is killed

def scripted(contexts):
    session = ScriptedSession()
    session.held_at = {"write"}
    return session

qt = QApplication(["kiv"])
folders = Folders(Path(sys.argv[1]), Path(sys.argv[2]))
session = {"scripted": scripted, "real": HeldSession}[sys.argv[4]]
application = Application(qt, session(folders.contexts), folders)
application.start([Path(sys.argv[3])])
application.controller.ask(sys.argv[5])
qt.exec()
"""


def answer_in(file: Path) -> str:
    """What the newest answer has, in a file of chats that another process writes; empty before there is one."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as chats:
            answers = chats.execute("SELECT answer FROM exchange").fetchall()
    except sqlite3.OperationalError:  # not there yet, or just being made
        return ""
    return answers[-1][0] if answers else ""


def killed_while_it_writes(qtbot: QtBot, kind: str, folders: Folders, book: Path) -> str:
    """What the answer had come to when the app was killed."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", APP, str(folders.config), str(folders.data), str(book), kind, QUESTION]
    app = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        qtbot.waitUntil(lambda: app.poll() is not None or answer_in(folders.history) != "", timeout=WAIT_MS)
    finally:
        app.kill()
        assert app.wait() == -signal.SIGKILL
    return answer_in(folders.history)


def reopened(qtbot: QtBot, application: Application) -> Exchange:
    """The one question of the one chat that was kept."""
    application.start()
    chats = application.chats
    qtbot.waitUntil(lambda: chats.rowCount() == 2)
    chats.show(next(chat for chat in map(chats.at, range(2)) if not chat.is_empty))
    qtbot.waitUntil(lambda: chats.current.is_loaded)
    [exchange] = chats.current.exchanges
    return exchange


@pytest.mark.parametrize(
    ("kind", "make_session"), [("scripted", lambda _contexts: ScriptedSession()), ("real", EngineSession)]
)
def test_what_was_said_before_the_app_was_killed_is_there(
    kind: str, make_session: Callable[[Path], Session], qtbot: QtBot, qapp: QApplication, folders: Folders, book: Path
) -> None:
    torch = pytest.importorskip("torch", reason="the engine needs torch") if kind == "real" else None
    threads = torch.get_num_threads() if torch else 0
    said = killed_while_it_writes(qtbot, kind, folders, book)
    assert said
    application = Application(qapp, make_session(folders.contexts), folders)
    exchange = reopened(qtbot, application)
    assert (exchange.question, exchange.answer, exchange.state) == (QUESTION, said, ExchangeState.UNFINISHED)
    assert exchange.message == "The app was closed before this answer was finished."
    application.controller.regenerate(exchange.id)
    chat = application.chats.current
    qtbot.waitUntil(lambda: chat.exchanges[0].state is ExchangeState.DONE, timeout=WAIT_MS)
    assert chat.exchanges[0].answer.startswith(said)
    assert chat.reading.tokens_read == chat.reading.tokens_total > 0
    assert kind == "real" or said == WORDS[0]
    application.window.close()
    assert application.closed_in_time
    if torch:
        torch.set_num_threads(threads)
    application.window.deleteLater()
    application.deleteLater()
