"""What every request has: an id, and one line in the log when its answer is done."""

import logging
import re
import time
import uuid

from flask import Flask, Response, g, has_request_context, request

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")


class RequestIdFilter(logging.Filter):
    """Give every log record the id of the request it belongs to."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add `request_id` where the caller didn't; let every record pass."""
        if not hasattr(record, "request_id"):
            record.request_id = g.get("request_id", "-") if has_request_context() else "-"
        return True


def init_app(app: Flask) -> None:
    """Name each request first, and log it last."""

    @app.before_request
    def begin() -> None:
        sent = request.headers.get(HEADER, "")
        g.request_id = sent if _SANE.fullmatch(sent) else uuid.uuid4().hex
        g.started = time.monotonic()

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        line = (request.method, request.path, response.status_code, request.remote_addr, g.request_id)
        started = g.started

        @response.call_on_close
        def done() -> None:
            # ascii() keeps what a client sent from forging log lines.
            method, path, status, address, request_id = line
            taken = time.monotonic() - started
            extra = {"request_id": request_id}  # the request itself is over by now
            log.info("%s %s %s %s %.3f s", address, method, ascii(path), status, taken, extra=extra)

        return response
