"""What gunicorn itself refuses, before the app sees it, answered as the API answers: JSON and a request id."""

import json
import logging
import uuid
from typing import Any

from gunicorn.util import write_nonblock

from ezstems.web.errors import BUSY_RETRY_SECONDS, MALFORMED, TITLES
from ezstems.web.headers import EVERY

log = logging.getLogger(__name__)

FAILED = "The server failed. Try again later."
HEADERS = "".join(f"{name}: {value}\r\n" for name, value in (EVERY | {"Cache-Control": "no-store"}).items())


def answer(client: Any, address: Any, error: Exception) -> None:
    """Log what was malformed, and answer with the contract's 400."""
    request_id = uuid.uuid4().hex
    extra = {"request_id": request_id}
    log.warning("%s: malformed request: %s: %a", (address or ("-",))[0], type(error).__name__, str(error), extra=extra)
    _write(client, "400 Bad Request", TITLES[400], MALFORMED, request_id)


def answer_failure(client: Any, error: Exception) -> None:
    """Log what failed after the app had answered, before anything of the answer was sent; blame no client."""
    request_id = uuid.uuid4().hex
    log.error("an answer could not be begun", exc_info=error, extra={"request_id": request_id})
    # Mostly a store that went away between a file's opening and its first bytes.
    retry = f"Retry-After: {BUSY_RETRY_SECONDS}\r\n"
    _write(client, "500 Internal Server Error", TITLES[500], FAILED, request_id, retry)


def _write(client: Any, status: str, title: str, message: str, request_id: str, more: str = "") -> None:
    body = json.dumps({"error": title, "message": message}).encode()
    head = (
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"{HEADERS}Content-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\n{more}\r\n"
    )
    try:
        write_nonblock(client, head.encode() + body)
    except OSError:
        log.debug("who sent the request has gone", extra={"request_id": request_id})
