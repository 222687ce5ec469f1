"""One instance: a second start, as a process of its own, hands its files over and leaves."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from PySide6.QtNetwork import QLocalSocket
from pytestqt.qtbot import QtBot

from app.single_instance import InstanceServer, hand_over
from tests.app.conftest import AppDriver

ROOT = Path(__file__).parents[2]
WAIT_MS = 20_000


@pytest.fixture
def name() -> str:
    return f"kiv-test-{uuid.uuid4().hex}"


def test_without_a_first_there_is_nobody_to_take_files(name: str) -> None:
    assert not hand_over([Path("a.txt")], name)


def test_a_second_start_hands_its_files_over(qtbot: QtBot, driver: AppDriver, book: Path, name: str) -> None:
    server = InstanceServer(name)
    server.files_handed_over.connect(driver.application.on_files_handed_over)
    code = (
        "import sys; from pathlib import Path; from app.single_instance import hand_over; "
        f"sys.exit(not hand_over([Path({book.name!r})], {name!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=book.parent, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    driver.until_read()
    assert process.wait(20) == 0
    assert [document.name for document in driver.chat.documents] == ["book.txt"]
    server.close()


def test_a_second_start_without_files_shows_the_window(qtbot: QtBot, driver: AppDriver, name: str) -> None:
    server = InstanceServer(name)
    server.files_handed_over.connect(driver.application.on_files_handed_over)
    driver.window.showMinimized()
    with qtbot.waitSignal(server.files_handed_over, timeout=WAIT_MS):
        assert hand_over([], name)
    assert not driver.window.isMinimized()
    server.close()


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
    first = InstanceServer(name)
    assert first.is_listening
    second = InstanceServer(name)  # as if the first were gone: it is asked first whether anybody answers
    assert second.is_listening
    for server in (first, second):
        server.close()
