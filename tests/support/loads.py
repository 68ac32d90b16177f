"""Loads on a real server: many quick calls, many slow clients, many waiting jobs, large uploads at the same time."""

import http.client
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ezstems.jobs.desk import HOUSEKEEPING_EVERY_SECONDS
from tests.support.audio_files import silent_wav_head
from tests.support.callers import Caller
from tests.support.servers import Server

DRIP_SECONDS = 0.5
FORM = "Content-Type: multipart/form-data; boundary=b"


def answer_seconds(caller: Caller, path: str, *, connections: int, per_second: float, seconds: float) -> list[float]:
    """GET a path of the API from so many connections, so often in all; return what the answers, all 200, took."""
    every = connections / per_second
    begin = time.monotonic() + 0.5
    calls = int(seconds / every)

    def poll(index: int) -> list[float]:
        taken = []
        with closing(http.client.HTTPConnection("127.0.0.1", caller.server.port, timeout=60)) as connection:
            for call in range(calls):
                time.sleep(max(0.0, begin + (call + index / connections) * every - time.monotonic()))
                sent = time.monotonic()
                connection.request("GET", f"/api/v1/{path}", headers=caller.headers)
                answer = connection.getresponse()
                body = answer.read()
                taken.append(time.monotonic() - sent)
                assert answer.status == 200, body
        return taken

    with ThreadPoolExecutor(connections) as pool:
        return [taken for part in pool.map(poll, range(connections)) for taken in part]


def percentile(values: list[float], percent: float) -> float:
    """Return what so many percent of the values don't exceed."""
    return sorted(values)[max(0, -int(-len(values) * percent // 100) - 1)]


class SlowClients:
    """Connect, send a beginning at once, and then a byte at a time; note what comes back."""

    def __init__(self, server: Server, count: int, beginning: bytes, rest: bytes = b"x" * 10_000) -> None:
        self._server = server
        self._count = count
        self._beginning, self._rest = beginning, rest
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self.open: list[socket.socket] = []
        self.answers: list[bytes] = []

    def __enter__(self) -> "SlowClients":
        for _ in range(self._count):
            connection = socket.create_connection(("127.0.0.1", self._server.port), timeout=30)
            connection.sendall(self._beginning)
            connection.setblocking(False)
            self.open.append(connection)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()
        for connection in self.open:
            connection.close()

    def _drip(self) -> None:
        for index in range(len(self._rest)):
            for connection in self.open.copy():
                try:
                    connection.sendall(self._rest[index : index + 1])
                    self._note(connection, connection.recv(10_000))
                except BlockingIOError:
                    pass
                except OSError:
                    self._note(connection, b"")
            if self._stop.wait(DRIP_SECONDS):
                return

    def _note(self, connection: socket.socket, answer: bytes) -> None:
        self.open.remove(connection)
        self.answers.append(answer)
        connection.close()


def head(path: str, *lines: str, method: str = "POST", length: int = 10_000) -> bytes:
    """Return the head of a request whose body is to follow."""
    fields = ("Host: localhost", f"Content-Length: {length}", *lines)
    return "\r\n".join((f"{method} {path} HTTP/1.1", *fields, "", "")).encode()


def upload_head(caller: Caller) -> bytes:
    """Return the head of an upload with a good key."""
    return head("/api/v1/upload.php", FORM, f"Authorization: {caller.headers['Authorization']}")


def line_up(caller: Caller, waiting_id: str, count: int) -> str:
    """Make so many rows like a waiting job's, and wait until its worker has them in its queue; return the last's id."""
    server = caller.server
    columns = [c["name"] for c in server.rows("PRAGMA table_info(jobs)") if c["name"] not in ("number", "id", "second")]
    names = ", ".join(columns)
    with closing(sqlite3.connect(server.instance / "ezstems.sqlite3", timeout=30)) as database, database:
        database.executemany(
            f"INSERT INTO jobs (id, second, {names}) SELECT ?, ?, {names} FROM jobs WHERE id = ?",
            [(f"{second}_2", second, waiting_id) for second in range(1, count + 1)],
        )
    # It takes them all at its next look; what comes after that waits behind them.
    time.sleep(HOUSEKEEPING_EVERY_SECONDS + 1)
    return f"{count}_2"


class Memory:
    """Watch the most memory that a process holds of its own, in MB; files in the system's cache don't count."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.most_mb = 0.0

    def read_mb(self) -> float:
        """Return what it holds now."""
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise ValueError(self._pid)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note the most, meanwhile."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.02):
                self.most_mb = max(self.most_mb, self.read_mb())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def upload_at_once(caller: Caller, count: int, size_bytes: int) -> None:
    """Upload WAVs of silence of that size from so many connections at a time; each must be accepted."""
    start = silent_wav_head(size_bytes)
    top = (
        b'--b\r\nContent-Disposition: form-data; name="stems"\r\n\r\n2\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="song.wav"\r\n\r\n'
    ) + start
    bottom = b"\r\n--b--\r\n"
    block = bytes(1 << 18)

    def send(_: int) -> bytes:
        with socket.create_connection(("127.0.0.1", caller.server.port), timeout=120) as connection:
            silence = size_bytes - len(start)
            length = len(top) + silence + len(bottom)
            lines = (FORM, f"Authorization: {caller.headers['Authorization']}", "Connection: close")
            connection.sendall(head("/api/v1/upload.php", *lines, length=length) + top)
            with suppress(BrokenPipeError):
                while silence:
                    silence -= connection.send(block[:silence])
                connection.sendall(bottom)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    with ThreadPoolExecutor(count) as pool:
        for answer in pool.map(send, range(count)):
            assert answer.startswith(b"HTTP/1.1 200 "), answer
