"""`Expect: 100-continue`: a client that waits with its body is told to go on only when somebody reads the body."""

import select
import socket
from typing import Any

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
VALUE = "100-continue"
# In its name the shipped nginx site passes on what a client expected; nginx itself tells every client to go on.
FORWARDED = "X-FORWARDED-EXPECT"


class Expectation:
    """Close a client's connection after an answer that came before the client was told to go on.

    Such a client may send its body all the same, or leave it out and send the next request: nobody could tell.
    """

    def __init__(self, request: Any, client: socket.socket, *, is_forwarded: bool) -> None:
        self._request = request
        self._client = client
        self._is_forwarded = is_forwarded
        self._closes = request.must_close
        request.must_close = True

    def meet(self) -> None:
        """Tell the client to go on; raise OSError when it has gone."""
        if not self._is_forwarded:
            self._client.sendall(CONTINUE)
        self.drop()

    def drop(self) -> None:
        """Treat the request as one without an expectation."""
        self._request.must_close = self._closes

    def is_waiting(self) -> bool:
        """Tell whether the client needs the answer before the rest of its body: it has sent none, or a proxy does."""
        poller = select.poll()
        poller.register(self._client, select.POLLIN)
        return self._is_forwarded or not (self._request.unreader.buf.getvalue() or poller.poll(0))


def of(request: Any, client: socket.socket) -> Expectation | None:
    """Take over from gunicorn, which would tell every client to go on before the app has seen the request."""
    if request._expected_100_continue:
        request._expected_100_continue = False
        return Expectation(request, client, is_forwarded=False)
    forwarded = any(name == FORWARDED and value.lower() == VALUE for name, value in request.headers)
    return Expectation(request, client, is_forwarded=True) if forwarded else None
