"""The rest of a request's body: read and thrown away before an early answer, so that the client reads it."""

import time

from flask import Flask, Response, request

# A client that is still sending when its connection closes sees a broken pipe instead of the answer. Larger or slower
# bodies than these are not waited for: 512 MiB is well above the largest upload of any plan.
MAX_BYTES = 512 * 1024 * 1024
MAX_SECONDS = 300.0
BLOCK_BYTES = 1024 * 1024


def init_app(app: Flask) -> None:
    """Drain what the view left unread."""

    @app.after_request
    def drain(response: Response) -> Response:
        # Only where the server promises that reading ends with the body.
        if request.environ.get("wsgi.input_terminated") and not _drained():
            response.headers["Connection"] = "close"
        return response


def _drained() -> bool:
    stream = request.environ["wsgi.input"]
    deadline, left = time.monotonic() + MAX_SECONDS, MAX_BYTES
    if (request.content_length or 0) > MAX_BYTES:
        return False
    while left > 0 and time.monotonic() < deadline:
        block = stream.read(BLOCK_BYTES)
        if not block:
            return True
        left -= len(block)
    return False
