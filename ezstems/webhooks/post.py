"""One message to one URL: names resolved, every address checked, and the checked address itself connected to."""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from ezstems.errors import BadInput
from ezstems.webhooks.hosts import Address, AllowedHosts, is_public
from ezstems.webhooks.url import Destination, checked_url, parsed

TRY_SECONDS = 15.0
CONNECT_SECONDS = 5.0
# Of a name's addresses, so many are tried.
MOST_ADDRESSES = 4
# What has come of an answer's body is read, so that its sender sees an orderly end, and thrown away.
BODY_BYTES, BODY_SECONDS = 4096, 0.5
TOO_SLOW = f"no answer within {TRY_SECONDS:.0f} s"


@dataclass(frozen=True)
class Answer:
    """Hold what came of one try: an HTTP status, or words on why there is none."""

    status: int | None = None
    trouble: str | None = None
    retry_after: str = ""

    @property
    def is_success(self) -> bool:
        """Tell whether the message was taken."""
        return self.status is not None and 200 <= self.status < 300


class _Refused(Exception):
    """Say why nothing is sent to an address."""


def post(url: str, body: bytes, headers: Mapping[str, str], allowed: AllowedHosts) -> Answer:
    """Send a message within 15 seconds in all; no redirect is followed, no proxy asked."""
    deadline = time.monotonic() + TRY_SECONDS
    try:
        checked_url(url, allowed)  # the operator may allow less by now
        destination = parsed(url)
        addresses = _addresses(destination, allowed)
        with _Connection(destination, addresses, deadline) as connection:
            return connection.post(body, headers)
    except BadInput:
        return Answer(trouble="the URL is not allowed here")
    except _Refused as error:
        return Answer(trouble=str(error))
    except (OSError, HTTPError, http.client.HTTPException, ValueError) as error:
        return Answer(trouble=TOO_SLOW if time.monotonic() >= deadline else _in_words(error))


def _addresses(destination: Destination, allowed: AllowedHosts) -> list[Address]:
    """Return the addresses of a host, each of which is public or allowed."""
    literal = destination.address
    if literal is not None:
        found = [literal]
    else:
        try:
            infos = socket.getaddrinfo(destination.host, destination.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _Refused("its name was not found") from None
        found = list(dict.fromkeys(ipaddress.ip_address(info[4][0]) for info in infos))
    if not allowed.has_name(destination.host):
        for address in found:
            if not (is_public(address) or allowed.has_address(address)):
                raise _Refused("it leads to an address that is not public")
    return found[:MOST_ADDRESSES]


class _Connection:
    """Hold one connection, which is cut off at a deadline whatever the other side does."""

    def __init__(self, destination: Destination, addresses: list[Address], deadline: float) -> None:
        self._destination = destination
        self._addresses = addresses
        self._deadline = deadline
        self._connection: HTTPConnection | None = None
        self._socket: socket.socket | None = None  # the connection itself forgets it too soon
        self._timer = threading.Timer(self._left(), self._cut_off)
        self._timer.daemon = True

    def __enter__(self) -> "_Connection":
        self._timer.start()
        try:
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._connection is not None:
            self._connection.close()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send the message, and return what the answer's head says."""
        connection = self._connection
        assert connection is not None and self._socket is not None
        connection.timeout = self._left() + 1  # what is too slow, the timer cuts off
        own = {"Host": self._destination.host_header, "Connection": "close"}
        connection.request(
            "POST", self._destination.target, body, {**headers, **own}, preload_content=False, decode_content=False
        )
        response = connection.getresponse()
        self._left()  # the head of an answer that was cut off looks whole to the library
        with suppress(OSError, HTTPError, http.client.HTTPException, ValueError):
            self._socket.settimeout(BODY_SECONDS)
            response.read1(BODY_BYTES)
        response.close()
        return Answer(response.status, retry_after=response.headers.get("Retry-After", ""))

    def _connect(self) -> None:
        *others, last = self._addresses
        for address in others:
            with suppress(OSError, HTTPError):
                return self._connect_to(address)
        return self._connect_to(last)

    def _connect_to(self, address: Address) -> None:
        # Half of what is left: to connect takes that long at most, and then TLS once more.
        timeout_seconds = min(CONNECT_SECONDS, self._left() / 2)
        host, port = str(address), self._destination.port
        if self._destination.scheme == "http":
            self._connection = HTTPConnection(host, port, timeout=timeout_seconds)
        else:
            self._connection = HTTPSConnection(
                host, port, timeout=timeout_seconds, server_hostname=self._destination.host, ssl_context=_tls()
            )
        try:
            self._connection.connect()
        except BaseException:
            self._connection.close()
            raise
        self._socket = self._connection.sock

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _cut_off(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # closed just now
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


@cache
def _tls() -> ssl.SSLContext:
    """Trust what the machine trusts, and what browsers do."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _in_words(error: BaseException) -> str:
    """Say what went wrong, in our own words."""
    causes = [error, *filter(None, (error.__cause__, error.__context__, *error.args[-1:]))]
    kinds = tuple(each for each in causes if isinstance(each, BaseException))

    def is_any(*classes: type[BaseException]) -> bool:
        return any(isinstance(each, classes) for each in kinds)

    if is_any(ssl.SSLCertVerificationError):
        return "its certificate is not valid for its name"
    if is_any(ssl.SSLError):
        return "TLS failed"
    if is_any(TimeoutError):
        return "it could not be connected to in time"
    if is_any(ConnectionRefusedError):
        return "the connection was refused"
    if is_any(ConnectionError):
        return "the connection was broken off"
    if is_any(http.client.HTTPException):
        return "its answer is not HTTP"
    return "the connection failed"
