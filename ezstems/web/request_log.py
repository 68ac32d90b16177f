"""What every request has: an id, and one line in the log when its answer is out or was given up."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from blinker import Signal
from flask import Flask, Response, g, has_request_context, request
from sqlalchemy import inspect

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")
# In the environ: what only the app knows of a request, for the line that is written after it.
SEEN = "ezstems.seen"
UNMATCHED = "unmatched"
MAX_PATH_CHARACTERS = 200

# Sent with the rule of the URL that a request met; the keywords are `status` and `seconds`.
request_answered = Signal()


class RequestIdFilter(logging.Filter):
    """Give every log record the id of the request it belongs to."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add `request_id` where the caller didn't; let every record pass."""
        if not hasattr(record, "request_id"):
            record.request_id = g.get("request_id", "-") if has_request_context() else "-"
        return True


def init_app(app: Flask) -> None:
    """Name each request first, and log it last."""
    app.wsgi_app = RequestRecorder(app.wsgi_app)  # type: ignore[method-assign]

    @app.before_request
    def begin() -> None:
        sent = request.headers.get(HEADER, "")
        g.request_id = sent if _SANE.fullmatch(sent) else uuid.uuid4().hex

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        rule = request.url_rule.rule if request.url_rule is not None else UNMATCHED
        request.environ[SEEN] = {"request_id": g.request_id, "account_id": account_id(), "rule": rule}
        return response


def account_id() -> int | None:
    """Return whose request it is, as far as that is known."""
    # From the identity: reading the row's attributes might ask the database, which may be what failed.
    for user in (g.get("user"), g.get("_login_user")):
        identity = getattr(inspect(user, raiseerr=False), "identity", None)
        if identity is not None:
            return int(identity[0])
    return None


class RequestRecorder:
    """Record every request of the app: files, errors, and what a client doesn't wait for."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request, and record it when the server closes the answer."""
        answer = RecordedAnswer(environ)

        def start(status: str, *rest: Any) -> Any:
            answer.status = int(status[:3])
            return start_response(status, *rest)

        try:
            answer.blocks = self._app(environ, start)
        except BaseException:
            answer.close()
            raise
        return answer


class RecordedAnswer:
    """Pass an answer's blocks on; count those that the server came to send."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.blocks: Iterable[bytes] = ()
        self.status = 500
        self._environ = environ
        self._path = environ.get("PATH_INFO", "")  # as it was sent
        self._started = time.monotonic()
        self._sent_bytes = 0
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        for block in self.blocks:
            yield block
            self._sent_bytes += len(block)  # only now: the server comes back when it has sent the block
        self._ended = True

    def close(self) -> None:
        """Close the app's answer, and record it however that ends."""
        try:
            if hasattr(self.blocks, "close"):
                self.blocks.close()
        finally:
            self._record()

    def _record(self) -> None:
        seen = self._environ.get(SEEN, {})
        method, path = self._environ["REQUEST_METHOD"], self._path.encode("latin-1").decode("utf-8", "replace")
        if len(path) > MAX_PATH_CHARACTERS:
            path = f"{path[:MAX_PATH_CHARACTERS]}..."
        seconds = time.monotonic() - self._started
        request_answered.send(seen.get("rule", UNMATCHED), status=self.status, seconds=seconds)
        address = self._environ.get("REMOTE_ADDR") or "-"
        fields = {
            "request_id": seen.get("request_id", "-"),
            "account_id": seen.get("account_id"),
            "address": address,
            "method": method,
            "path": path,
            "status": self.status,
            "seconds": round(seconds, 3),
            "bytes": self._sent_bytes,
            "broken_off": None if self._ended else True,
        }
        line = "%s %s %a %s %.3f s, %s bytes%s"
        broken_off = "" if self._ended else ", broken off"
        log.info(line, address, method, path, self.status, seconds, self._sent_bytes, broken_off, extra=fields)
