"""A request's body: read without trusting the client, and its rest thrown away before an early answer."""

from contextlib import suppress
from typing import Any

from flask import Flask, Response, g, request
from gunicorn.http.errors import ParseException

from ezstems.database import db
from ezstems.errors import BadInput, ServerFull
from ezstems.server.client_socket import TooManySlow
from ezstems.server.expectation import Expectation
from ezstems.web.request_log import account_id

# A client that is still sending when its connection closes sees a broken pipe instead of the answer. Larger bodies
# than these are not waited for: 512 MiB is well above the largest upload of any plan.
MAX_BYTES = 512 * 1024 * 1024
BLOCK_BYTES = 256 * 1024
# How a body may be encoded, by header; whatever else there is, nobody would decode.
PLAIN = {"Content-Encoding": ("", "identity"), "Transfer-Encoding": ("", "identity", "chunked")}
BROKEN = "The body is malformed, arrived too slowly, or ended early."
CROWDED = "Too many requests arrive slowly at this moment. Try again later."


class RequestBody:
    """Read a body from the client's socket; tell the client's failures from the server's."""

    def __init__(self, stream: Any, socket: Any) -> None:
        self._stream = stream
        self._socket = socket
        self._begun = False

    def read(self, size: int | None = None) -> bytes:
        """Return up to `size` bytes; raise BadInput when the client sends nonsense, dawdles or goes away."""
        if self._begun:
            return self._take(size)
        require_plain()
        self._begun = True
        self.trust_known()
        db.session.commit()  # release the database connection before blocking on the socket
        return self._take(size, self._socket.expectation)

    def drain(self) -> None:
        """Read the rest and throw it away, as long as the client sends it, and for so long in all."""
        db.session.rollback()  # the view is done: what it left open was not to be kept
        expectation = self._socket.expectation
        if not self._begun and expectation is not None:
            if expectation.is_waiting():
                return  # the answer spares it the body
            expectation.drop()
        left = MAX_BYTES
        with suppress(BadInput, ServerFull), self._socket.draining():
            while left > 0 and (block := self._take(BLOCK_BYTES)):
                left -= len(block)

    def trust_known(self) -> None:
        """Wait for the client as for an account's, if its key was found valid and has calls left."""
        known = account_id()
        if known is not None and not g.get("is_rate_limited"):
            self._socket.trust(known)

    def _take(self, size: int | None, expectation: Expectation | None = None) -> bytes:
        try:
            if expectation is not None:
                expectation.meet()
            return self._stream.read(size)
        except TooManySlow as error:
            raise ServerFull(CROWDED) from error
        except (OSError, ParseException) as error:
            raise BadInput(BROKEN) from error


def require_plain() -> None:
    """Raise BadInput when the request's body is compressed: by its name, not as the nonsense that it would seem."""
    for name, plain in PLAIN.items():
        sent = request.headers.get(name, "")
        if any(coding.strip().lower() not in plain for coding in sent.split(",")):
            raise BadInput(f"{name}={sent[:64]!r} is not decoded here: the body must be sent plain.")


def init_app(app: Flask) -> None:
    """Guard every body, and drain what the view left unread."""

    @app.before_request
    def guard() -> None:
        if (client := request.environ.get("gunicorn.socket")) is not None:
            request.environ["wsgi.input"] = RequestBody(request.environ["wsgi.input"], client)

    @app.after_request
    def drain(response: Response) -> Response:
        if isinstance(body := request.environ["wsgi.input"], RequestBody):
            body.trust_known()
            if 0 < (request.content_length or "Transfer-Encoding" in request.headers) <= MAX_BYTES:
                body.drain()
        return response
