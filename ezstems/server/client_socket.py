"""A client's socket that waits for its client only so long, and, once the client is slow, only in a seat."""

import errno
import logging
import math
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from ezstems.server.expectation import Expectation
from ezstems.server.seats import Seats

log = logging.getLogger(__name__)

Done = TypeVar("Done")

# Seconds that a client may be waited for, and the pace (bytes a second) at which what it sends or takes earns them
# again. Who waits longer than the first is slow, and may go on only in a seat.
QUICK = 1.0, 256 * 1024
# What tells that a client has closed its end; macOS has the first alone for that.
HUNG_UP = select.POLLHUP | getattr(select, "POLLRDHUP", 0)
# Who is not known gets little of a thread's time: enough for a real client that only has the wrong key.
STRANGER_QUICK = 0.2, 256 * 1024
STRANGER = 10.0, 256 * 1024
# Whoever has a key may sit behind a poor line.
KNOWN = 60.0, 8 * 1024
# What nobody reads is thrown away for so long in all, however well it comes.
KNOWN_REST_SECONDS, STRANGER_REST_SECONDS = 300.0, 30.0


class TooSlow(BrokenPipeError):
    """Say that the client has been waited for long enough; to gunicorn it has gone."""

    text = "the client is too slow"

    def __init__(self) -> None:
        super().__init__(errno.EPIPE, self.text)


class TooManySlow(TooSlow):
    """Say that the client is slow, and that as many others are as may be waited for."""

    text = "the client is slow, and so are as many others as may be waited for"


class WaitBudget:
    """Hold how many seconds a client may still be waited for: waiting spends them, bytes earn them again."""

    def __init__(self, seconds: float, bytes_per_second: float) -> None:
        self.left_seconds = self._most_seconds = seconds
        self._bytes_per_second = bytes_per_second

    def spend(self, seconds: float) -> None:
        """Note that the client was waited for."""
        self.left_seconds -= seconds

    def earn(self, size_bytes: int) -> None:
        """Note that the client sent or took so much."""
        self.left_seconds = min(self._most_seconds, self.left_seconds + size_bytes / self._bytes_per_second)


class ClientSocket(socket.socket):
    """Read and write as a blocking socket does, within a budget; TooSlow ends the connection, or the upload."""

    def __init__(self, accepted: socket.socket, seats: Seats) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._seats = seats
        self._give_back: Callable[[], None] | None = None  # the seat, where the request has one
        self.begin_request()

    def begin_request(self) -> None:
        """Treat the client as a stranger, as far as is known."""
        self.end_request()
        self.expectation: Expectation | None = None
        self._account_id: int | None = None
        self._ends_at = math.inf
        self._error: TooSlow | None = None
        self._quick, self._budget = WaitBudget(*STRANGER_QUICK), WaitBudget(*STRANGER)

    def end_request(self) -> None:
        """Give back the seat, if the request took one."""
        if self._give_back is not None:
            self._give_back()
            self._give_back = None

    def trust(self, account_id: int) -> None:
        """Give the present request the budget that an account's gets."""
        if self._account_id is None:
            self._account_id = account_id
            self._quick, self._budget = WaitBudget(*QUICK), WaitBudget(*KNOWN)

    def has_hung_up(self) -> bool:
        """Tell whether the client has closed its end, whatever it had sent before."""
        poller = select.poll()
        poller.register(self, HUNG_UP)
        return bool(poller.poll(0))

    @contextmanager
    def draining(self) -> Iterator[None]:
        """Bound, while the block runs, the whole time for what nobody reads."""
        rest = STRANGER_REST_SECONDS if self._account_id is None else KNOWN_REST_SECONDS
        self._ends_at = time.monotonic() + rest
        try:
            yield
        finally:
            self._ends_at = math.inf

    def settimeout(self, value: float | None) -> None:
        """Block or not; how long a blocking call may take is the budget's alone."""
        super().settimeout(0.0 if value == 0 else None)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what has arrived; wait for it, unless the socket is non-blocking."""
        if self.gettimeout() == 0:
            return super().recv(size, flags)
        data = self._when_ready(select.POLLIN, partial(super().recv, size, flags | socket.MSG_DONTWAIT))
        self._earn(len(data))
        return data

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything; wait for the client to take it, unless the socket is non-blocking."""
        if self.gettimeout() == 0:
            return super().sendall(data, flags)
        rest = memoryview(data)
        while rest:
            sent = self._when_ready(select.POLLOUT, partial(super().send, rest, flags | socket.MSG_DONTWAIT))
            self._earn(sent)
            rest = rest[sent:]
        return None

    def _when_ready(self, event: int, act: Callable[[], Done]) -> Done:
        while True:
            try:
                return act()
            except BlockingIOError:
                self._wait(event)

    def _wait(self, event: int) -> None:
        poller = select.poll()
        poller.register(self, event)
        ready = False
        while not ready:
            began = time.monotonic()
            seconds = min(self._budget.left_seconds, self._ends_at - began)
            if seconds <= 0:
                self._give_up(TooSlow())
            if self._give_back is None and self._quick.left_seconds <= 0:
                self._take_seat()
            if self._error is not None:
                raise self._error
            if self._give_back is None:
                seconds = min(seconds, self._quick.left_seconds)
            ready = self._poll(poller, seconds)
            waited = time.monotonic() - began
            self._quick.spend(waited)
            self._budget.spend(waited)

    def _take_seat(self) -> None:
        self._give_back = self._seats.take(self._account_id)
        if self._give_back is None:
            self._give_up(TooManySlow())

    def _poll(self, poller: "select.poll", seconds: float) -> bool:
        if self._give_back is not None or self._account_id is not None:
            return bool(poller.poll(seconds * 1000))
        give_back = self._seats.take_brief()
        if give_back is None:
            self._give_up(TooManySlow())
            return False
        try:
            return bool(poller.poll(seconds * 1000))
        finally:
            give_back()

    def _give_up(self, error: TooSlow) -> None:
        if self._error is None:
            log.info("a request is cut off: %s", error.text)
            self._error = error

    def _earn(self, size_bytes: int) -> None:
        self._quick.earn(size_bytes)
        self._budget.earn(size_bytes)
