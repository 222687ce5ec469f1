"""The app on a real X server, with a real mouse and real keys: what the offscreen platform cannot show."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 120
MISSING = [program for program in ("Xvfb", "xdotool") if shutil.which(program) is None]

APP = """
import json, sys
from pathlib import Path
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from app.application import Application
from app.models.chat import ExchangeState
from tests.app.scripted_session import ScriptedSession

qt = QApplication(["kiv"])
application = Application(qt, ScriptedSession())
application.start([Path(sys.argv[1])])
told = set()

def tell(name, **facts):
    if name not in told:
        told.add(name)
        print(json.dumps({"name": name} | facts), flush=True)

def look():
    chat, edit = application.chats.current, application.window.composer.edit
    if chat.reading.state.value == "read" and application.window.isVisible():
        place = edit.mapToGlobal(edit.rect().center())
        tell("ready", window=int(application.window.winId()), x=place.x(), y=place.y())
    if edit.toPlainText():
        tell("typed")
    if chat.exchanges and chat.exchanges[-1].state is ExchangeState.DONE:
        tell("answered", question=chat.exchanges[-1].question, answer=chat.exchanges[-1].answer)
    if application.window.document.find_bar.isVisible():
        tell("find")
    if not application.window.isVisible():
        qt.exit()

clock = QTimer(interval=20)
clock.timeout.connect(look)
clock.start()
code = qt.exec()
application.close()
print(json.dumps({"name": "left", "in_time": application.closed_in_time}), flush=True)
"""


@pytest.fixture
def display() -> Iterator[str]:
    """A screen of its own."""
    if MISSING:
        pytest.skip(f"{' and '.join(MISSING)} not installed")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x900x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait()


def test_a_person_with_a_mouse_and_a_keyboard(display: str, book: Path) -> None:
    environment = {**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT)}
    app = subprocess.Popen(
        [sys.executable, "-c", APP, str(book)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert app.stdout is not None

    def told(name: str) -> dict[str, object]:
        for line in app.stdout:
            if (facts := json.loads(line))["name"] == name:
                return facts
        raise AssertionError(f"the app left without telling '{name}'")

    def do(*arguments: object) -> None:
        command = ["xdotool", *map(str, arguments)]
        subprocess.run(command, env=environment, check=True, timeout=WAIT_S, capture_output=True)

    try:
        ready = told("ready")
        do("windowfocus", "--sync", ready["window"])
        do("mousemove", ready["x"], ready["y"], "click", 1)
        do("type", "--delay", 20, "Who is it?")
        told("typed")
        do("key", "Return")
        assert told("answered")["question"] == "Who is it?"
        do("key", "ctrl+f")
        told("find")
        do("key", "ctrl+q")
        assert told("left")["in_time"]
        assert app.wait(WAIT_S) == 0
    finally:
        app.kill()
        app.stdout.close()
        app.wait()
