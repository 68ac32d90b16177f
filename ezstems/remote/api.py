"""Call a server's API; what it refuses for the moment, and what a broken connection cost, is asked for again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from ezstems.errors import RemoteFailed
from ezstems.remote.form import Form

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0  # an upload is checked before it is answered
# Between tries where no server said how long.
PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
PAUSES_AFTER_FAULT_SECONDS = PAUSES_SECONDS[:3]  # of a server that says nothing of coming back
LONGEST_WAIT_SECONDS = 86_400.0  # of all that a server asks for before it does one thing
BROKEN = (
    *(requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError),
    urllib3.exceptions.HTTPError,
)
LONGEST_TEXT = 1000


class Stopped(Exception):
    """Say that the user wants no more of it."""


class Refused(RemoteFailed):
    """Say why a server refused a call, in its own words, and with which status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Server:
    """Know a server, and what turned out about it."""

    url: str
    key: str = field(repr=False)
    stopping: Event = field(default_factory=Event)
    is_reached: bool = False
    keeps_keys: bool | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            raise RemoteFailed(f"server={self.url!r} must be an address like https://stems.example.com")
        self.url = self.url.rstrip("/").removesuffix("/api/v1")
        if not self.key.isascii() or not self.key.isprintable() or not self.key.strip():
            raise RemoteFailed("the key must be of ASCII characters, as the server showed it")


class Api:
    """Call one server from one thread; `say` is told of everything that is waited for."""

    def __init__(self, server: Server, say: Callable[[str], None]) -> None:
        self.server = server
        self._say = say
        self._session = requests.Session()
        self._session.auth = self._authorize  # not a header: a line of ~/.netrc would take its place
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_error: object) -> None:
        self._session.close()

    def check(self) -> None:
        """Raise RemoteFailed unless a server answers here, and knows the key."""
        self.data("GET", "keys.php")

    def data(self, method: str, endpoint: str, **options: Any) -> Any:
        """Return the data of an answer in the API's form."""
        return self.body(self.call(method, endpoint, **options))

    def body(self, answer: requests.Response) -> Any:
        """Return the data of an answer that came."""
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or body.get("success") is not True:
            raise RemoteFailed(f"{answer.url.partition('?')[0]} answered with what is no answer of the API")
        return body.get("data")

    def call(
        self,
        method: str,
        endpoint: str,
        *,
        open_form: Callable[[ExitStack], Form] | None = None,
        headers: Mapping[str, str] | None = None,
        wait_seconds: float = 0.0,
        **options: Any,
    ) -> requests.Response:
        """Return a good answer; ask again while that may help, and raise RemoteFailed when it doesn't."""
        pauses, waited_seconds = iter(PAUSES_SECONDS), 0.0
        faults = iter(PAUSES_AFTER_FAULT_SECONDS)
        while True:
            form, sent = None, dict(headers or {})
            try:
                with ExitStack() as files:
                    if open_form is not None:
                        form = open_form(files)
                        sent["Content-Type"] = form.content_type
                    answer = self._session.request(
                        method,
                        f"{self.server.url}/api/v1/{endpoint}",
                        data=form,
                        headers=sent,
                        allow_redirects=False,
                        timeout=(CONNECT_SECONDS, READ_SECONDS + wait_seconds),
                        **options,
                    )
            except BROKEN as error:
                pause = self._after_break(error, form, pauses)
                continue_because = "the connection broke"
            except requests.RequestException as error:
                raise RemoteFailed(f"{self.server.url} can't be called: {_reason(error)}") from error
            else:
                self.server.is_reached = True
                if answer.status_code < 300:
                    return answer
                with answer:
                    refused = refusal(answer)
                seconds = _retry_after(answer)
                if seconds is None:
                    pause = self._without_time(refused, form, pauses, faults)
                else:
                    pause, waited_seconds = seconds, waited_seconds + seconds
                    if waited_seconds > LONGEST_WAIT_SECONDS:
                        raise refused
                continue_because = str(refused)
            self.rest(pause, continue_because)

    def rest(self, seconds: float, why: str) -> None:
        """Wait before a thing is tried again; raise Stopped where the user wants no more."""
        self._say(f"{why}; trying again in {seconds:.0f} s")
        self.sleep(seconds)

    def sleep(self, seconds: float) -> None:
        """Wait; raise Stopped where the user wants no more."""
        if self.server.stopping.wait(seconds):
            raise Stopped

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.server.key}"
        return request

    def _after_break(self, error: Exception, form: Form | None, pauses: Any) -> float:
        """Return how long to wait; raise RemoteFailed where another try is of no use, or could make a second job."""
        if isinstance(error, requests.exceptions.SSLError):
            raise RemoteFailed(f"{self.server.url}: no secure connection: {_reason(error)}") from error
        if not self.server.is_reached:
            raise RemoteFailed(f"{self.server.url} can't be reached: {_reason(error)}") from error
        self._require_repeatable(form, "the connection broke before the server answered")
        pause: float | None = next(pauses, None)
        if pause is None:
            raise RemoteFailed(f"the connection broke again and again: {_reason(error)}") from error
        return pause

    def _without_time(self, refused: Refused, form: Form | None, pauses: Any, faults: Any) -> float:
        """Return how long to wait where the server didn't say it; raise the refusal where that is of no use."""
        if refused.status >= 500:
            self._require_repeatable(form, str(refused))
        is_of_calls = refused.status == 403 and "rate limit" in str(refused).lower()
        pause: float | None = None
        if is_of_calls or refused.status in (429, 502, 503, 504):
            pause = next(pauses, None)
        elif refused.status == 500:
            pause = next(faults, None)
        if pause is None:
            raise refused
        return pause

    def _require_repeatable(self, form: Form | None, why: str) -> None:
        """Raise RemoteFailed where a server that keeps no Idempotency-Key may have made a job of a form."""
        if form is None or not form.is_sent:
            return
        if self.server.keeps_keys is None:
            try:
                self.call("GET", "jobs.php", params={"limit": 1})
                self.server.keeps_keys = True
            except Refused:
                self.server.keeps_keys = False
        if not self.server.keeps_keys:
            raise RemoteFailed(f"{why}; it may have made a job, and one more could be a second one")


def refusal(answer: requests.Response) -> Refused:
    """Return what an answer that is none of success says."""
    if 300 <= answer.status_code < 400:
        where = printable(answer.headers.get("Location", "elsewhere"))
        return Refused(f"the server sends on to {where}; name that as --server", answer.status_code)
    try:
        body = answer.json()
    except ValueError:
        body = None
    body = body if isinstance(body, dict) else {}
    told = [printable(str(body[name])) for name in ("error", "message") if body.get(name)]
    return Refused(": ".join(told) or f"the server answered {answer.status_code}", answer.status_code)


def printable(text: str) -> str:
    """Return a server's text for a terminal: in one line, without control characters."""
    words = " ".join(text[:LONGEST_TEXT].split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words)


def _retry_after(answer: requests.Response) -> float | None:
    """Return the seconds that an answer asks to wait: at least one, so that nobody calls without a pause."""
    told = answer.headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdecimal():
        return max(1.0, float(told[:9]))
    try:
        until = parsedate_to_datetime(told)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(1.0, (until - datetime.now(timezone.utc)).total_seconds())


def _reason(error: BaseException) -> str:
    """Return the innermost cause of a library's error, in a line."""
    while isinstance(inner := getattr(error, "reason", None) or (error.args or (None,))[0], BaseException):
        error = inner
    if isinstance(error.__cause__, OSError):
        error = error.__cause__
    told = (isinstance(error, OSError) and error.strerror) or (error.args[-1] if error.args else type(error).__name__)
    return printable(str(told))
