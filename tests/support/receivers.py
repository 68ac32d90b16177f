"""A receiver of webhooks on a free port, which behaves as a test says: well, slowly, or badly."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

Behaviour = Callable[[socket.socket, threading.Event], None]


@dataclass(frozen=True)
class Received:
    """Hold one request."""

    line: str
    headers: dict[str, str]
    body: bytes


def answer(status: int, *headers: str, body: bytes = b"") -> Behaviour:
    """Answer with a status."""
    head = "\r\n".join([f"HTTP/1.1 {status} Word", f"Content-Length: {len(body)}", *headers, "", ""]).encode()
    return lambda connection, _: connection.sendall(head + body)


def drip(connection: socket.socket, over: threading.Event, text: bytes = b"HTTP/1.1 200 OK\r\n") -> None:
    """Send a head a byte at a time, and never its end."""
    while not over.wait(0.02):
        connection.sendall(text[:1] or b"x")
        text = text[1:]


def endless(first: bytes, more: bytes) -> Behaviour:
    """Send something without an end, as fast as it is taken."""

    def send(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.is_set():
            connection.sendall(more)

    return send


def silence(_connection: socket.socket, over: threading.Event) -> None:
    """Answer nothing."""
    over.wait(60)


def close(_connection: socket.socket, _over: threading.Event) -> None:
    """Close the connection without an answer."""


class Receiver:
    """Receive requests on 127.0.0.1; `behave` may be changed at any time. With a certificate it speaks TLS."""

    def __init__(self, behave: Behaviour | None = None, certificate: Path | None = None) -> None:
        self.behave = behave or answer(204)
        self.requests: list[Received] = []
        self.names: list[str | None] = []  # that TLS was asked for
        self.open = self.most_open = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
            self._context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}/hook"

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # which `accept` hears
        self._listener.close()

    def until(self, count: int, seconds: float = 60.0) -> list[Received]:
        """Wait until so many requests have come; return them."""
        deadline = time.monotonic() + seconds
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"{len(self.requests)} of {count} came"
            time.sleep(0.01)
        return list(self.requests)

    def react(self, received: Received, connection: socket.socket) -> None:
        """Behave."""
        self.behave(connection, self._over)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        with suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            if (received := self._read(connection)) is not None:
                self.requests.append(received)
                self.react(received, connection)
        with self._lock:
            self.open -= 1
        connection.close()

    def _read(self, connection: socket.socket) -> Received | None:
        data = b""
        while b"\r\n\r\n" not in data:
            block = connection.recv(65536)
            if not block:
                return None
            data += block
        head, _, body = data.partition(b"\r\n\r\n")
        line, *rest = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        return Received(line, headers, body)
