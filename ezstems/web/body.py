"""A request's body: read without trusting the client, and its rest thrown away before an early answer."""

import time
from contextlib import suppress
from typing import Any

from flask import Flask, Response, request
from gunicorn.http.errors import ParseException

from ezstems.errors import BadInput

# A client that is still sending when its connection closes sees a broken pipe instead of the answer. Larger or slower
# bodies than these are not waited for: 512 MiB is well above the largest upload of any plan.
MAX_BYTES = 512 * 1024 * 1024
MAX_SECONDS = 300.0
BLOCK_BYTES = 1024 * 1024
# A client that sends nothing for so long has gone; a request thread must not wait for it.
STALL_SECONDS = 60.0
# Who is not known gets little of a thread's time: enough for a real client that only has the wrong key.
STRANGER_SECONDS, STRANGER_STALL_SECONDS = 30.0, 3.0
BROKEN = "The body is malformed, stopped arriving, or ended early."


class Body:
    """Read what gunicorn reads from the socket; what can't be read is the client's fault."""

    def __init__(self, stream: Any, socket: Any) -> None:
        self._stream = stream
        self._socket = socket
        self.stall_seconds = STALL_SECONDS

    def read(self, size: int | None = None) -> bytes:
        """Return up to `size` bytes; raise BadInput when the client sends nonsense, stalls or goes away."""
        self._socket.settimeout(self.stall_seconds)
        try:
            return self._stream.read(size)
        except (OSError, ParseException) as error:
            raise BadInput(BROKEN) from error
        finally:
            with suppress(OSError):  # the client may have closed it
                self._socket.settimeout(None)


def init_app(app: Flask) -> None:
    """Guard every body, and drain what the view left unread."""

    @app.before_request
    def guard() -> None:
        if "gunicorn.socket" in request.environ:
            request.environ["wsgi.input"] = Body(request.environ["wsgi.input"], request.environ["gunicorn.socket"])

    @app.after_request
    def drain(response: Response) -> Response:
        if isinstance(stream := request.environ["wsgi.input"], Body) and (request.content_length or 0) <= MAX_BYTES:
            seconds = MAX_SECONDS
            if response.status_code == 401:
                seconds, stream.stall_seconds = STRANGER_SECONDS, STRANGER_STALL_SECONDS
            with suppress(BadInput):
                _drain(stream, seconds)
        return response


def _drain(stream: Body, seconds: float) -> None:
    deadline, left = time.monotonic() + seconds, MAX_BYTES
    while left > 0 and time.monotonic() < deadline and (block := stream.read(BLOCK_BYTES)):
        left -= len(block)
