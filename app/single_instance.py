"""One window per user: a second start hands its files to the first and leaves."""

import getpass
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PySide6.QtCore import QLockFile, QObject, Signal, Slot
from PySide6.QtNetwork import QLocalServer, QLocalSocket

CONNECT_MS: Final = 300
ANSWER_MS: Final = 5_000
"""The first may still be building its window."""
TAKEN: Final = b"1"
MAX_BYTES: Final = 1_000_000


def server_name() -> str:
    """Of this user and display: whoever starts the app elsewhere wants a window there."""
    display = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or ""
    return f"kiv-desktop-{getpass.getuser()}-{display}".replace("/", "_").replace(":", "_")


def hand_over(files: Sequence[Path], name: str) -> bool:
    """Give files to the app that runs already; False if there is none, or one that does not take them."""
    socket = QLocalSocket()
    socket.connectToServer(name)
    if not socket.waitForConnected(CONNECT_MS):
        return False
    socket.write(json.dumps([str(file.absolute()) for file in files]).encode() + b"\n")
    taken = socket.waitForReadyRead(ANSWER_MS) and socket.read(1).data() == TAKEN
    socket.abort()
    return taken


def listen_or_hand_over(files: Sequence[Path], name: str) -> "InstanceServer | None":
    """The server of the first start; None if there is one already, which has taken the files.

    One start at a time looks and listens: whoever listens takes the name, also from one who listens already.
    """
    lock = QLockFile(str(Path(tempfile.gettempdir(), f"{name}.lock")))
    locked = lock.tryLock(ANSWER_MS)
    server = None if hand_over(files, name) else InstanceServer(name)
    if locked:
        lock.unlock()
    return server


class InstanceServer(QObject):
    """Takes the files of later starts.

    Signals:
        files_handed_over: a list of Paths, empty if the second start had none: show the window.
    """

    files_handed_over = Signal(object)

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._on_connection)
        self._server.listen(name)

    @property
    def is_listening(self) -> bool:
        return self._server.isListening()

    @Slot()
    def close(self) -> None:
        """Take nothing more; whoever waits for an answer gets none, and opens a window itself."""
        self._server.close()

    @Slot()
    def _on_connection(self) -> None:
        while (socket := self._pending()) is not None:
            socket.readyRead.connect(self._on_readable)
            socket.disconnected.connect(socket.deleteLater)
            if socket.bytesAvailable():
                self._take(socket)

    def _pending(self) -> QLocalSocket | None:
        socket: QLocalSocket | None = self._server.nextPendingConnection()
        return socket

    @Slot()
    def _on_readable(self) -> None:
        socket = self.sender()
        assert isinstance(socket, QLocalSocket)
        self._take(socket)

    def _take(self, socket: QLocalSocket) -> None:
        """Read one line; anything else than a list of names is nobody we know."""
        if socket.bytesAvailable() > MAX_BYTES or not self.is_listening:
            socket.abort()
        elif socket.canReadLine():
            try:
                names = json.loads(bytes(socket.readLine().data()))
                files = [Path(name) for name in names]
            except (ValueError, TypeError):
                socket.abort()
            else:
                self.files_handed_over.emit(files)
                socket.write(TAKEN)
                socket.flush()
