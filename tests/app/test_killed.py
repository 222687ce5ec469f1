"""The app killed from outside while it writes an answer: what was asked and said until then is there afterwards."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.application import Application
from app.folders import Folders
from app.models.chat import ExchangeState
from tests.app.scripted_session import WORDS, ScriptedSession

ROOT = Path(__file__).resolve().parents[2]
APP = """
import json, sys
from pathlib import Path
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from app.application import Application
from app.folders import Folders
from tests.app.scripted_session import ScriptedSession

qt = QApplication(["kiv"])
session = ScriptedSession()
session.held_at = {"write"}
folders = Folders(Path(sys.argv[1]), Path(sys.argv[2]))
application = Application(qt, session, folders)
application.start([Path(sys.argv[3])])
application.controller.ask("Who is it?")

looks = 0

def look():
    global looks
    exchanges = application.chats.current.exchanges
    looks += bool(exchanges and exchanges[0].answer and not application.keeper._save_timer.isActive())
    if looks == 4:  # handed over a while ago, and written since
        print(json.dumps(exchanges[0].answer), flush=True)
        clock.stop()

clock = QTimer(interval=100)
clock.timeout.connect(look)
clock.start()
qt.exec()
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL elsewhere")
def test_what_was_said_before_the_app_was_killed_is_there(
    qtbot: QtBot, qapp: QApplication, folders: Folders, book: Path
) -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", APP, str(folders.config), str(folders.data), str(book)]
    app = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert app.stdout is not None
    with app.stdout:
        said = json.loads(app.stdout.readline())
        app.kill()
        assert app.wait() == -signal.SIGKILL
    assert said == WORDS[0]
    application = Application(qapp, ScriptedSession(), folders)
    application.start()
    chats = application.chats
    qtbot.waitUntil(lambda: chats.rowCount() == 2)
    chats.show(next(chat for chat in map(chats.at, range(2)) if not chat.is_empty))
    qtbot.waitUntil(lambda: chats.current.is_loaded)
    [exchange] = chats.current.exchanges
    assert (exchange.question, exchange.answer, exchange.state) == ("Who is it?", said, ExchangeState.UNFINISHED)
    assert exchange.message == "The app was closed before this answer was finished."
    application.controller.regenerate(exchange.id)
    qtbot.waitUntil(lambda: chats.current.exchanges[0].state is ExchangeState.DONE, timeout=20_000)
    assert chats.current.exchanges[0].answer == "".join(WORDS)
    application.window.close()
    assert application.closed_in_time
    application.window.deleteLater()
    application.deleteLater()
