"""What fails after the app has answered, and before anything was sent, is the server's failure and no client's."""

import json
import socket
from typing import Any

import pytest
from gunicorn.http.errors import InvalidChunkSize

from ezstems.server.gunicorn_worker import GunicornWorker


@pytest.mark.parametrize(
    ("req", "error", "status"),
    [(object(), RuntimeError("no bytes"), 500), (object(), InvalidChunkSize(b"x"), 400), (None, ValueError("x"), 400)],
)
def test_only_what_the_parser_refused_is_the_clients(req: Any, error: Exception, status: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        GunicornWorker.handle_error(GunicornWorker.__new__(GunicornWorker), req, ours, ("127.0.0.1", 1), error)
        head, _, body = theirs.recv(65536).decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ") and set(json.loads(body)) == {"error", "message"}
    assert ("\r\nRetry-After: 10" in head) == (status == 500)
