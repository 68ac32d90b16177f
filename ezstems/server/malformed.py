"""What gunicorn itself refuses, before the app sees it, answered as the API answers: JSON and a request id."""

import json
import logging
import uuid
from typing import Any

from gunicorn.util import write_nonblock

from ezstems.web.errors import MALFORMED, TITLES
from ezstems.web.headers import EVERY

log = logging.getLogger(__name__)

HEADERS = "".join(f"{name}: {value}\r\n" for name, value in (EVERY | {"Cache-Control": "no-store"}).items())


def answer(client: Any, address: Any, error: Exception) -> None:
    """Log what was malformed, and answer with the contract's 400."""
    request_id = uuid.uuid4().hex
    extra = {"request_id": request_id}
    log.warning("%s: malformed request: %s: %a", (address or ("-",))[0], type(error).__name__, str(error), extra=extra)
    body = json.dumps({"error": TITLES[400], "message": MALFORMED}).encode()
    head = (
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"{HEADERS}Content-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\n\r\n"
    )
    try:
        write_nonblock(client, head.encode() + body)
    except OSError:
        log.debug("the sender of a malformed request has gone", extra=extra)
