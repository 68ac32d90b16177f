"""HTTP byte by byte, for what no client library would send; and an answer as it came over the wire."""

import json
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from tests.support.multipart import CONTENT_TYPE
from tests.support.servers import Server

# It stands where a request's key belongs, and is as long as one.
KEY = b"k" * 64
AUTHORIZATION = b"Authorization: Bearer " + KEY
UPLOAD = b"/api/v1/upload.php"
SECONDS = 60.0
BLOCK_BYTES = 1024 * 1024


@dataclass
class Answer:
    """Hold one answer."""

    status: int
    lines: list[bytes]
    body: bytes

    def headers(self, name: str) -> list[str]:
        """Return the values of a header."""
        found = (re.match(rb"(?i)%s:[ ]?(.*)" % re.escape(name.encode()), line) for line in self.lines)
        return [match[1].decode("latin-1") for match in found if match]

    def json(self) -> Any:
        """Return the body, which must say that it is JSON."""
        assert self.headers("Content-Type") == ["application/json"], self
        return json.loads(self.body)


def request(
    target: bytes | str = b"/api/v1/status.php?id=1_2",
    *lines: bytes,
    method: bytes = b"GET",
    version: bytes = b"HTTP/1.1",
    body: bytes = b"",
) -> bytes:
    """Build a request with a key; `lines` are more of its headers."""
    target = target.encode() if isinstance(target, str) else target
    head = [method + b" " + target + b" " + version, b"Host: 127.0.0.1", AUTHORIZATION, *lines]
    return b"\r\n".join([*head, b"", body])


def upload(
    content: bytes, content_type: str | bytes | None = CONTENT_TYPE, *lines: bytes, target: bytes = UPLOAD
) -> bytes:
    """Build an upload of a body as it is."""
    content_type = content_type.encode("latin-1") if isinstance(content_type, str) else content_type
    typed = [] if content_type is None else [b"Content-Type: " + content_type]
    return request(target, *typed, b"Content-Length: %d" % len(content), *lines, method=b"POST", body=content)


def chunked(content: bytes, *lines: bytes) -> bytes:
    """Build an upload whose body is in chunks, or in what claims to be chunks."""
    typed = b"Content-Type: " + CONTENT_TYPE.encode()
    return request(UPLOAD, typed, b"Transfer-Encoding: chunked", *lines, method=b"POST", body=content)


def ask(server: Server, key: str, *pieces: bytes) -> list[Answer]:
    """Send what a client sends on one connection, and no more; return every answer, until the server closes it."""
    return list(_asked(server, key, pieces))


def _asked(server: Server, key: str, pieces: Iterable[bytes]) -> Iterator[Answer]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece.replace(KEY, key.encode()))
            connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # answered, and closed, before the end: what it said is there to read
        with connection.makefile("rb") as file:
            while (answer := next_answer(file)) is not None:
                yield answer


def next_answer(file: IO[bytes]) -> Answer | None:
    """Read the next answer from a connection; None when the server has closed it."""
    lines = list(iter(lambda: file.readline(BLOCK_BYTES).removesuffix(b"\r\n"), b""))
    if not lines:
        return None
    status = re.fullmatch(rb"HTTP/1\.[01] (\d{3}) [A-Za-z ]+", lines[0])
    assert status, lines[0]
    answer = Answer(int(status[1]), lines[1:], b"")
    for length in answer.headers("Content-Length"):
        answer.body = file.read(int(length))
    return answer
