"""One instance: a second start, as a process of its own, hands its files over and leaves."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from PySide6.QtNetwork import QLocalServer, QLocalSocket
from pytestqt.qtbot import QtBot

from app.single_instance import InstanceServer, hand_over, listen_or_hand_over
from tests.app.conftest import AppDriver

ROOT = Path(__file__).parents[2]
WAIT_MS = 20_000


@pytest.fixture
def name() -> str:
    return f"kiv-test-{uuid.uuid4().hex}"


def test_without_a_first_there_is_nobody_to_take_files(name: str) -> None:
    assert not hand_over([Path("a.txt")], name)


def second_start(name: str, folder: Path, *files: str) -> subprocess.Popen[bytes]:
    """Ends with 0 if its files were taken."""
    code = (
        "import sys; from pathlib import Path; from app.single_instance import hand_over; "
        f"sys.exit(not hand_over([Path(name) for name in {files!r}], {name!r}))"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_a_second_start_hands_its_files_over(qtbot: QtBot, driver: AppDriver, book: Path, name: str) -> None:
    server = InstanceServer(name)
    server.files_handed_over.connect(driver.application.on_files_handed_over)
    process = second_start(name, book.parent, book.name)
    driver.until_read()
    assert process.wait(20) == 0
    assert [document.name for document in driver.chat.documents] == ["book.txt"]
    server.close()


def test_a_second_start_without_files_shows_the_window(
    qtbot: QtBot, driver: AppDriver, tmp_path: Path, name: str
) -> None:
    server = InstanceServer(name)
    server.files_handed_over.connect(driver.application.on_files_handed_over)
    driver.window.showMinimized()
    with qtbot.waitSignal(server.files_handed_over, timeout=WAIT_MS):
        process = second_start(name, tmp_path)
    assert process.wait(20) == 0
    assert not driver.window.isMinimized()
    server.close()


def test_a_window_that_closes_takes_no_files(qtbot: QtBot, tmp_path: Path, name: str) -> None:
    server, taken = InstanceServer(name), []
    server.files_handed_over.connect(taken.append)
    process = second_start(name, tmp_path, "a.txt")
    with qtbot.waitSignal(server.findChild(QLocalServer).newConnection, timeout=WAIT_MS):
        pass  # connected, and perhaps nothing said yet
    server.close()
    qtbot.waitUntil(lambda: process.poll() is not None, timeout=WAIT_MS)
    assert (process.returncode == 0) == bool(taken)


def test_of_quick_starts_one_listens(qtbot: QtBot, tmp_path: Path, name: str) -> None:
    code = (
        "from PySide6.QtCore import QCoreApplication; from app.single_instance import listen_or_hand_over; "
        f"qt = QCoreApplication([]); server = listen_or_hand_over([], {name!r}); "
        "server and print('listens', flush=True); "
        "server and server.files_handed_over.connect(lambda _files: print('taken', flush=True)); "
        "server and qt.exec()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    starts = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) for _start in range(3)
    ]
    qtbot.waitUntil(lambda: sum(start.poll() is not None for start in starts) == 2, timeout=WAIT_MS)
    (first,) = (start for start in starts if start.poll() is None)
    first.kill()
    assert sorted(start.communicate()[0].split() for start in starts) == [[], [], [b"listens", b"taken", b"taken"]]


def test_the_app_takes_nothing_while_it_closes(driver: AppDriver, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    server, listened = InstanceServer(name), []
    driver.application.closing.connect(server.close)
    monkeypatch.setattr(driver.application.keeper, "close", lambda: listened.append(server.is_listening))
    driver.window.close()
    assert listened == [False]


@pytest.mark.parametrize("line", [b"{\n", b"[1, 2]\n", b"7\n", b"\xff\n"])
def test_nonsense_is_not_taken(qtbot: QtBot, name: str, line: bytes) -> None:
    server, taken = InstanceServer(name), []
    server.files_handed_over.connect(taken.append)
    socket = QLocalSocket()
    socket.connectToServer(name)
    assert socket.waitForConnected(1_000)
    socket.write(line)
    qtbot.waitUntil(lambda: socket.state() is QLocalSocket.LocalSocketState.UnconnectedState, timeout=WAIT_MS)
    assert taken == []
    server.close()


def test_what_a_crashed_start_left_behind_is_in_nobodys_way(name: str) -> None:
    code = f"import os; from app.single_instance import InstanceServer; InstanceServer({name!r}); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    server = listen_or_hand_over([], name)
    assert server is not None
    assert server.is_listening
    server.close()
