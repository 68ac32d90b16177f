"""What gunicorn itself refuses, before the app sees it, answered as the API answers: JSON and a request id."""

import json
import logging
import uuid
from typing import Any

from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

log = logging.getLogger(__name__)

TITLE = "Bad request"
TEXT = "The request is not valid HTTP, or its address or a header is too long."


class Worker(ThreadWorker):
    """Serve with threads, as gthread does, and answer a malformed request with the contract's 400."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Log what was malformed and answer; the app has answered everything that it got to see."""
        request_id = uuid.uuid4().hex
        extra = {"request_id": request_id}
        log.warning("%s: malformed request: %s: %a", (addr or ("-",))[0], type(exc).__name__, str(exc), extra=extra)
        body = json.dumps({"error": TITLE, "message": TEXT}).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\n\r\n"
        )
        try:
            write_nonblock(client, head.encode() + body)
        except OSError:
            log.debug("the sender of a malformed request has gone", extra=extra)
