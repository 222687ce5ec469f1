"""The app on a real X server, with a real mouse and real keys: what the offscreen platform cannot show."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.display import missing_packages

ROOT = Path(__file__).parents[2]
WAIT_S = 120
MISSING = [program for program in ("Xvfb", "xdotool") if shutil.which(program) is None]

QUESTION = "Who runs the barbershop?"
ENTRIES = [f"Entry {number}: the goose of Salt Steps was counted at noon." for number in range(40)]
ENTRIES.insert(20, "The barbershop is run by Odile Marchbank.")

APP = """
import json, os, sys
from pathlib import Path
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from app.application import Application
from app.models.chat import ExchangeState
from app.engine_session import EngineSession
from tests.app.scripted_session import ScriptedSession

qt = QApplication(["kiv"])
application = Application(qt, EngineSession() if "KIV_REAL" in os.environ else ScriptedSession())
application.start([Path(name) for name in sys.argv[1:]])
told = set()

def tell(name, **facts):
    if name not in told:
        told.add(name)
        print(json.dumps({"name": name} | facts), flush=True)

def look():
    chat, window, edit = application.chats.current, application.window, application.window.composer.edit
    if window.overlay.isVisible():
        tell("dragged")
    if window.isVisible():
        middle, place = window.frameGeometry().center(), edit.mapToGlobal(edit.rect().center())
        tell("shown", x=middle.x(), y=middle.y())
        if chat.reading.state.value == "read":
            documents = [document.name for document in chat.documents]
            tell("read", window=int(window.winId()), x=place.x(), y=place.y(), documents=documents)
    if edit.toPlainText():
        tell("typed")
    if chat.exchanges and chat.exchanges[-1].state is ExchangeState.DONE:
        tell("answered", question=chat.exchanges[-1].question, answer=chat.exchanges[-1].answer)
        view, transcript = window.conversation.transcript.exchanges[-1], window.conversation.transcript.viewport()
        if view.is_shown and view.rows:
            row = view.rows[0]
            place = row.mapTo(transcript, row.rect().center())
            if transcript.rect().contains(place):
                place = transcript.mapToGlobal(place)
                tell("passages", x=place.x(), y=place.y(), text=chat.exchanges[-1].passages[0].text)
    if marks := window.document.text.extraSelections():
        text = window.document.text
        seen = [mark.cursor for mark in marks if text.viewport().rect().intersects(text.cursorRect(mark.cursor))]
        if chat.selected_exchange is not None and view.rows[0].isChecked() and seen:
            tell("jumped", text=seen[0].selectedText())
    if window.conversation.find_bar.isVisible():
        tell("find")
    if not window.isVisible():
        qt.exit()

clock = QTimer(interval=20)
clock.timeout.connect(look)
clock.start()
code = qt.exec()
application.close()
print(json.dumps({"name": "left", "in_time": application.closed_in_time}), flush=True)
sys.exit(code)
"""

SHELF = """
import sys
from PySide6.QtCore import QMimeData, QTimer, QUrl, Qt
from PySide6.QtGui import QDrag
from PySide6.QtWidgets import QApplication, QWidget

class Shelf(QWidget):
    def mousePressEvent(self, event):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(name) for name in sys.argv[1:]])
        drag = QDrag(self)
        drag.setMimeData(data)
        QTimer.singleShot(0, lambda: print("dragging", flush=True))
        drag.exec(Qt.DropAction.CopyAction)

qt = QApplication(["shelf"])
shelf = Shelf()
shelf.setWindowFlags(Qt.WindowType.FramelessWindowHint)
shelf.setGeometry(1450, 20, 100, 100)
shelf.show()
place = shelf.mapToGlobal(shelf.rect().center())
QTimer.singleShot(0, lambda: print(place.x(), place.y(), flush=True))
qt.exec()
"""
"""Another program's window, from which files are dragged."""


WINDOWS = """
import json
from PySide6.QtWidgets import QApplication
from app.application import Application
from tests.app.scripted_session import ScriptedSession

qt = QApplication(["kiv"])
app = Application(qt, ScriptedSession())
app.start()
names = ("window", "settings_dialog", "chat_dialog", "models_dialog", "first_run")
for name in names:
    getattr(app, name).show()
qt.processEvents()
room = app.window.screen().availableSize()
sizes = {name: getattr(app, name).size().toTuple() for name in names}
print(json.dumps({"name": "shown", "room": room.toTuple(), "sizes": sizes}), flush=True)
app.close()
"""


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of programs on a screen of its own."""
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if missing := [*MISSING, *missing_packages()]:
        pytest.skip(f"{', '.join(missing)} not installed")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x900x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()
    yield {**os.environ, "DISPLAY": f":{number}", "PYTHONPATH": str(ROOT)}
    server.terminate()
    server.wait()


@contextmanager
def running(code: str, display: dict[str, str], *arguments: Path) -> Iterator[subprocess.Popen[str]]:
    """A program with a window, killed in the end; before, if it does not get on, so that nobody waits for its words."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, env=display, stdout=subprocess.PIPE, text=True) as program:
        deadline = threading.Timer(WAIT_S, program.kill)
        deadline.start()
        try:
            yield program
        finally:
            deadline.cancel()
            deadline.join()
            program.kill()


def told(app: subprocess.Popen[str], name: str) -> dict[str, object]:
    """What the app tells by a name; what it told before is forgotten."""
    assert app.stdout is not None
    for line in app.stdout:
        if (facts := json.loads(line))["name"] == name:
            return facts
    raise AssertionError(f"the app left without telling '{name}'")


def do(display: dict[str, str], *arguments: object) -> None:
    """What a hand does: an action of xdotool."""
    subprocess.run(["xdotool", *map(str, arguments)], env=display, check=True, timeout=WAIT_S, capture_output=True)


def drag_there(display: dict[str, str], app: subprocess.Popen[str], shelf: subprocess.Popen[str]) -> None:
    """Drag what the shelf holds to the middle of the window, and drop it when the window has seen it."""
    assert shelf.stdout is not None
    x, y = map(int, shelf.stdout.readline().split())
    window = told(app, "shown")
    do(display, "mousemove", x, y, "mousedown", 1)
    assert shelf.stdout.readline() == "dragging\n"
    for share in (0.1, 0.4, 0.7, 1.0, 1.01):
        way = (round(at + share * (int(str(window[axis])) - at)) for at, axis in ((x, "x"), (y, "y")))
        do(display, "mousemove", *way)
    told(app, "dragged")
    do(display, "mouseup", 1)


def test_a_person_with_a_mouse_and_a_keyboard(display: dict[str, str], book: Path) -> None:
    with running(APP, display, book) as app:
        ready = told(app, "read")
        do(display, "windowfocus", "--sync", ready["window"])
        do(display, "mousemove", ready["x"], ready["y"], "click", 1)
        do(display, "type", "--delay", 20, "Who is it?")
        told(app, "typed")
        do(display, "key", "Return")
        assert told(app, "answered")["question"] == "Who is it?"
        do(display, "key", "ctrl+f")
        told(app, "find")
        do(display, "key", "ctrl+q")
        assert told(app, "left")["in_time"]
        assert app.wait(WAIT_S) == 0


def test_files_dragged_from_another_program_are_read(display: dict[str, str], book: Path, tmp_path: Path) -> None:
    second = tmp_path / "Log of the “Bishop” #2.txt"
    second.write_text("The tide turned at four.\n" * 40, encoding="utf-8")
    with running(APP, display) as app, running(SHELF, display, book, second) as shelf:
        drag_there(display, app, shelf)
        assert told(app, "read")["documents"] == [book.name, second.name]
        assert app.poll() is None


def test_the_real_engine_from_a_dropped_file_to_the_passage(display: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the engine needs torch")
    file = tmp_path / "archive.txt"
    file.write_text("\n\n".join(ENTRIES), encoding="utf-8")
    with running(APP, display | {"KIV_REAL": "1"}) as app, running(SHELF, display, file) as shelf:
        drag_there(display, app, shelf)
        ready = told(app, "read")
        assert ready["documents"] == [file.name]
        do(display, "windowfocus", "--sync", ready["window"])
        do(display, "mousemove", ready["x"], ready["y"], "click", 1)
        do(display, "type", "--delay", 20, QUESTION)
        told(app, "typed")
        do(display, "key", "Return")
        assert told(app, "answered")["question"] == QUESTION
        row = told(app, "passages")
        assert str(row["text"]) in file.read_text(encoding="utf-8")
        do(display, "mousemove", row["x"], row["y"], "click", 1)
        assert str(told(app, "jumped")["text"]).split() == str(row["text"]).split()
        do(display, "key", "ctrl+q")
        assert told(app, "left")["in_time"]


@pytest.mark.parametrize("scale", ["1.5", "2"])
def test_windows_open_no_larger_than_the_screen(display: dict[str, str], scale: str) -> None:
    with running(WINDOWS, {**display, "QT_SCALE_FACTOR": scale}) as app:
        shown = told(app, "shown")
    wide, high = shown["room"]
    assert wide < 1280, "else this would be no test"
    for name, (width, height) in shown["sizes"].items():
        assert width <= wide, name
        assert height <= high, name
