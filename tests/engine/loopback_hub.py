"""A real HTTP server on loopback that speaks as much of the hub's API as a download needs, and misbehaves on demand."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"
LARGE: Final = (".safetensors", "tokenizer.json")
SLICE_BYTES: Final = 65_536


@dataclass
class HubRepo:
    """What the server has, and how it misbehaves.

    Attributes:
        files: name -> content.
        refusal: status and X-Error-Code of every answer, or None.
        busy: so many answers are 429 first, each asking to wait no time.
        cut_after: bytes after which the connection of weights breaks, for as many answers as there are numbers.
        hold_after: bytes after which a large file's answer waits for `release`, once.
        corrupt: names of files whose content is sent with a wrong byte.
        ignores_ranges: the whole file comes, whatever was asked for.
        ends_after: of weights there are only so many bytes, whatever was announced.
        storage: the endpoint that weights are to be had from, "" for this one.
        tokens: the Authorization header ("" for none) of every request.
        card: the model card's data.
    """

    files: dict[str, bytes]
    refusal: tuple[int, str] | None = None
    busy: int = 0
    cut_after: list[int] = field(default_factory=list)
    hold_after: int | None = None
    corrupt: set[str] = field(default_factory=set)
    ignores_ranges: bool = False
    ends_after: int | None = None
    storage: str = ""
    tokens: list[str] = field(default_factory=list)
    card: dict[str, Any] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def gets(self, name: str) -> list[str]:
        """The Range headers ("" for none) of all GET requests for a file."""
        return [span for method, path, span in self.requests if method == "GET" and path.endswith(f"/{name}")]


class Handler(BaseHTTPRequestHandler):
    """Answers for one repository."""

    protocol_version = "HTTP/1.1"
    repo: HubRepo

    def log_message(self, *_: object) -> None:
        """Silence."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        repo = self.repo
        path = unquote(self.path.partition("?")[0])
        repo.requests.append((self.command, path, self.headers.get("Range", "")))
        repo.tokens.append(self.headers.get("Authorization", ""))
        if repo.refusal is not None:
            status, code = repo.refusal
            self._send(status, {"X-Error-Code": code, "X-Error-Message": "no"}, b"{}" if with_body else b"")
        elif repo.busy and with_body:
            repo.busy -= 1
            self._send(429, {"Retry-After": "0"}, b"")
        elif path.startswith("/api/models/"):
            self._send(200, {"Content-Type": "application/json"}, json.dumps(self._info(path)).encode())
        else:
            self._file(path.rpartition("/")[2], with_body)

    def _info(self, path: str) -> dict[str, Any]:
        siblings = []
        for name, content in self.repo.files.items():
            entry: dict[str, Any] = {
                "rfilename": name,
                "size": len(content),
                "blobId": git_sha1(content),
            }
            if name.endswith(LARGE):
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        name = path.removeprefix("/api/models/").partition("/revision/")[0]
        return {
            "id": name,
            "modelId": name,
            "sha": COMMIT,
            "siblings": siblings,
            "tags": [],
            "cardData": self.repo.card,
        }

    def _file(self, name: str, with_body: bool) -> None:
        content = self.repo.files.get(name)
        if content is None:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b"")
            return
        large = name.endswith(LARGE)
        digest = hashlib.sha256(content).hexdigest() if large else git_sha1(content)
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        if self.repo.storage and name.endswith(".safetensors"):
            headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(len(content))}
            self._send(302, headers | {"Location": f"{self.repo.storage}/{name}"}, b"")
            return
        if name.endswith(".safetensors"):
            content = content[: self.repo.ends_after]
        if name in self.repo.corrupt:
            content = b"\0" + content[1:]
        first = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if "Range" in self.headers else 0
        if self.repo.ignores_ranges:
            first = 0
        if first and first >= len(content):
            self._send(416, {}, b"")
            return
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        body = content[first:]
        self._headers(206 if first else 200, headers, len(body))
        if with_body:
            self._stream(body, self._limit(name))

    def _limit(self, name: str) -> int | None:
        return self.repo.cut_after.pop(0) if name.endswith(".safetensors") and self.repo.cut_after else None

    def _stream(self, body: bytes, limit: int | None) -> None:
        """Send slice by slice; break off at the limit, or wait once where the answer is to be held."""
        hold = self.repo.hold_after
        for start in range(0, len(body), SLICE_BYTES):
            if limit is not None and start >= limit:
                self.close_connection = True
                self.connection.close()
                return
            if hold is not None and start >= hold:
                self.repo.hold_after = hold = None
                self.repo.held.set()
                self.repo.release.wait(60)
            try:
                self.wfile.write(body[start : start + SLICE_BYTES])
            except OSError:  # the client is gone
                self.close_connection = True
                return

    def _headers(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._headers(status, headers, len(body))
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Its threads end with it."""

    daemon_threads = False

    def handle_error(self, *_: object) -> None:
        """A client that is gone is no news."""


@contextmanager
def serve(repo: HubRepo) -> Iterator[str]:
    """The endpoint of a running server."""
    handler = type("RepoHandler", (Handler,), {"repo": repo, "timeout": 5})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            repo.release.set()
            server.shutdown()
            thread.join()


def git_sha1(content: bytes) -> str:
    """What git names a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def files_of(folder: Path) -> dict[str, bytes]:
    """A repository with the files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
