"""A client's socket that waits for it only so long, and only in a share of the threads."""

import errno
import logging
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from threading import BoundedSemaphore
from typing import Any, TypeVar

log = logging.getLogger(__name__)

Done = TypeVar("Done")

# Seconds that a client may be waited for, and the pace (bytes a second) at which what it sends or takes earns them
# again. Who waits longer than the first is slow, and may go on only in a seat.
QUICK = 1.0, 256 * 1024
# Who is not known gets little of a thread's time: enough for a real client that only has the wrong key.
STRANGER = 10.0, 256 * 1024
# Whoever has a key may sit behind a poor line.
KNOWN = 60.0, 8 * 1024
# Requests that may wait for slow clients at a time; each takes a thread. Strangers have seats of their own.
KNOWN_SEATS, STRANGER_SEATS = 48, 16


class TooSlow(BrokenPipeError):
    """The client has been waited for long enough; to gunicorn it has gone."""

    text = "the client is too slow"

    def __init__(self) -> None:
        super().__init__(errno.EPIPE, self.text)


class Crowded(TooSlow):
    """The client is slow, and so are as many others as may be waited for."""

    text = "the client is slow, and so are as many others as may be waited for"


class Patience:
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


class Seats:
    """Bound how many requests wait for slow clients, so that the other threads are there for everybody else."""

    def __init__(self, known: int = KNOWN_SEATS, strangers: int = STRANGER_SEATS) -> None:
        self.count = known + strangers
        self.known, self.strangers = BoundedSemaphore(known), BoundedSemaphore(strangers)


class PatientSocket(socket.socket):
    """Read and write as a blocking socket does, until patience ends; TooSlow ends the connection, or the upload."""

    def __init__(self, accepted: socket.socket, seats: Seats) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._seats = seats
        self._seat: BoundedSemaphore | None = None
        self.renew()

    def renew(self) -> None:
        """Begin a request, of a stranger as far as is known."""
        self.leave()
        self._is_known = False
        self._cut: TooSlow | None = None
        self._quick, self._patience = Patience(*QUICK), Patience(*STRANGER)

    def trust(self) -> None:
        """Give the present request the patience that somebody known gets."""
        if not self._is_known:
            self._is_known = True
            self._patience = Patience(*KNOWN)

    def leave(self) -> None:
        """Give back the seat, if the request took one."""
        if self._seat is not None:
            self._seat.release()
            self._seat = None

    def settimeout(self, value: float | None) -> None:
        """Tell waiting from not waiting at all; how long is a matter of patience."""
        super().settimeout(0.0 if value == 0 else None)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what has arrived; wait for it, unless the socket is non-blocking."""
        if self.gettimeout() == 0:
            return super().recv(size, flags)
        data = self._patiently(select.POLLIN, partial(super().recv, size, flags | socket.MSG_DONTWAIT))
        self._earn(len(data))
        return data

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything; wait for the client to take it, unless the socket is non-blocking."""
        if self.gettimeout() == 0:
            return super().sendall(data, flags)
        rest = memoryview(data)
        while rest:
            sent = self._patiently(select.POLLOUT, partial(super().send, rest, flags | socket.MSG_DONTWAIT))
            self._earn(sent)
            rest = rest[sent:]
        return None

    def _patiently(self, event: int, act: Callable[[], Done]) -> Done:
        while True:
            try:
                return act()
            except BlockingIOError:
                self._wait(event)

    def _wait(self, event: int) -> None:
        poller = select.poll()
        poller.register(self, event)
        while True:
            if self._patience.left_seconds <= 0:
                self._cut_off(TooSlow())
            if self._seat is None and self._quick.left_seconds <= 0:
                self._sit_down()
            if self._cut is not None:
                raise self._cut
            seconds = self._patience.left_seconds
            if self._seat is None:
                seconds = min(seconds, self._quick.left_seconds)
            began = time.monotonic()
            ready = poller.poll(seconds * 1000)
            waited = time.monotonic() - began
            self._quick.spend(waited)
            self._patience.spend(waited)
            if ready:
                return

    def _sit_down(self) -> None:
        seat = self._seats.known if self._is_known else self._seats.strangers
        if seat.acquire(blocking=False):
            self._seat = seat
        else:
            self._cut_off(Crowded())

    def _cut_off(self, error: TooSlow) -> None:
        if self._cut is None:
            log.info("a request is cut off: %s", error.text)
            self._cut = error

    def _earn(self, size_bytes: int) -> None:
        self._quick.earn(size_bytes)
        self._patience.earn(size_bytes)
