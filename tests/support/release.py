"""A release of the official weights on this machine: archives that the tests pack, and a server that sends them."""

import hashlib
import io
import json
import random
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ezstems.errors import ModelMissing
from ezstems.weights import download, fetch, folders, sources
from tests.weights.test_weights import write_checkpoint

CHUNK = download.CHUNK_BYTES


def _model_files() -> dict[str, bytes]:
    with TemporaryDirectory() as directory:
        folder = write_checkpoint(Path(directory, "2stems"), (random.Random(2).randbytes(10 * CHUNK + 123),))
        return {path.name: path.read_bytes() for path in folder.iterdir()}


MODEL = _model_files()
SUMS = {name: hashlib.sha256(content).hexdigest() for name, content in MODEL.items()}


@dataclass
class Request:
    """One request as the server saw it."""

    path: str
    span: str | None
    sent_bytes: int = 0


class Server(ThreadingHTTPServer):
    """Serve one archive; what it can't do, and where it breaks off, is set by the test."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b""
        self.ranges = True
        self.length = True
        self.encoding: str | None = None
        self.shift = 0  # how far beside the asked range a partial answer starts
        self.piece: int | None = None  # the most bytes of a partial answer
        self.status = 200
        self.breaks: list[int] = []  # after how many bytes the first requests' answers break off
        self.stall_after: int | None = None
        self.released = threading.Event()
        self.requests: list[Request] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that hang up."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        server = self.server
        request = Request(self.path, self.headers["Range"])
        server.requests.append(request)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        if request.span and server.ranges:
            start = int(request.span.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start += server.shift
            body = server.content[start:][: server.piece]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(server.content)}")
        else:
            body = server.content
            self.send_response(200)
        if server.encoding:
            self.send_header("Content-Encoding", server.encoding)
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.breaks:
            body = body[: server.breaks.pop(0)]
        first = body[: server.stall_after]
        request.sent_bytes = len(first)  # before: who has read it all looks at once
        self.wfile.write(first)
        if server.stall_after is not None:
            server.released.wait(30)
            request.sent_bytes = len(body)
            self.wfile.write(body[len(first) :])

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Yield a running server, reached without a proxy; retries don't pause."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "RETRY_PAUSE_SECONDS", 0)
    monkeypatch.setattr(fetch, "WHEELS", {})
    with Server() as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


def pack(*members: tarfile.TarInfo, leave_out: str = "", **options: Any) -> bytes:
    """Return a tar.gz of a whole checkpoint as Deezer's are laid out, then `members`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1, **options) as archive:
        root = tarfile.TarInfo(".")
        root.type = tarfile.DIRTYPE
        archive.addfile(root)
        for name in sorted(set(MODEL) - {leave_out}):
            for path, content in ((f"./._{name}", b"finder's"), (f"./{name}", MODEL[name])):
                made = tarfile.TarInfo(path)
                made.size = len(content)
                made.pax_headers = {"SCHILY.xattr.com.apple.quarantine": "é\u2028=", "mtime": "1571838241.25"}
                archive.addfile(made, io.BytesIO(content))
        for made in members:
            archive.addfile(made, io.BytesIO(b"x" * made.size))
    return packed.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 3) -> tarfile.TarInfo:
    """Return a member to add to an archive."""
    made = tarfile.TarInfo(name)
    made.type = kind
    made.linkname = link
    made.size = size if kind == tarfile.REGTYPE else 0
    return made


def serve(server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch, sha256: str | None = None) -> str:
    """Serve `content` as the official 2stems; return the SHA-256 that is asked of it."""
    server.content = content
    sha256 = sha256 or hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(fetch.ARCHIVES, 2, fetch.ReleaseArchive("2stems.tar.gz", sha256))
    monkeypatch.setitem(fetch.FILES, 2, SUMS)
    return sha256


def left_in(models: Path) -> set[str]:
    """Return what lies in the models' folder, but for the lock."""
    return {path.name for path in models.iterdir()} - {".fetch.lock"}


def assert_installed(models: Path, source: str = sources.RELEASE) -> None:
    """Hold the folder to the model's files, the note, the probe, and nothing beside."""
    assert left_in(models) == {"2stems"}
    folder = models / "2stems"
    held = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert json.loads(held.pop("source.json")) == {"source": source, "sha256": SUMS}
    assert held == {**MODEL, ".probe": b"OK"}
    assert folders.find("official", 2, models).checkpoint == folder / "model"


def assert_no_model(models: Path) -> None:
    """Hold that nothing is taken for a model."""
    with pytest.raises(ModelMissing):
        folders.find("official", 2, models)
    assert not (models / "2stems").exists()
