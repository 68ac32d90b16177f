"""A bounded FIFO in memory and the pool of threads that empties it; it knows neither Flask nor SQL."""

import logging
import threading
from bisect import bisect_left, insort
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ezstems.errors import ServerFull

log = logging.getLogger(__name__)

ASK_EVERY_SECONDS = 1.0  # whether a job may start


class JobQueue:
    """Run numbered jobs in the order of their numbers, a few at a time.

    A seat is reserved before a job is made durable and becomes its place when it is added, so that no accepted job
    ever finds the queue full. The order is that of the numbers, not of the calls of `add`: two uploads may commit in
    one order and arrive here in the other. While `may_start` says no, none starts, and all keep their places.
    """

    def __init__(
        self, run: Callable[[int], None], *, threads: int, seats: int, may_start: Callable[[], bool] = lambda: True
    ) -> None:
        self._run = run
        self._may_start = may_start
        self._seats = seats
        self._reserved = 0
        self._waiting: list[int] = []
        self._running: set[int] = set()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="separation")

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Tell whether no seat is free."""
        return len(self._waiting) + self._reserved >= self._seats

    def reserve(self) -> None:
        """Take a seat; raise ServerFull when there is none."""
        with self._lock:
            if self.full:
                raise ServerFull(f"The queue is full: {self._seats} jobs are waiting. Try again later.")
            self._reserved += 1

    def release(self) -> None:
        """Give a reserved seat back."""
        with self._lock:
            self._reserved -= 1

    def add(self, number: int, *, reserved: bool = False) -> None:
        """Add a job, unless it is here already, in its reserved seat or, accepted long ago, beyond the seats.

        Raises:
            RuntimeError: the system has no thread for it now.
        """
        with self._lock:
            self._reserved -= reserved
            if self._closed or number in self._running or self._place(number) is not None:
                return
            insort(self._waiting, number)
            try:
                self._pool.submit(self._run_next).add_done_callback(_log_failure)
            except BaseException:
                self._waiting.remove(number)
                raise

    def position(self, number: int) -> int | None:
        """Return the place of a waiting job, 1 being the next to run; None when it isn't waiting here."""
        with self._lock:
            return self._place(number)

    def waiting(self) -> list[int]:
        """Return the numbers of the waiting jobs, the next to run first."""
        with self._lock:
            return self._waiting.copy()

    def remove(self, number: int) -> None:
        """Remove a waiting job; do nothing when it isn't waiting."""
        with self._lock:
            if self._place(number) is not None:
                self._waiting.remove(number)
                self._changed.notify_all()

    def _place(self, number: int) -> int | None:
        index = bisect_left(self._waiting, number)
        return index + 1 if index < len(self._waiting) and self._waiting[index] == number else None

    def close(self, timeout_seconds: float) -> list[int]:
        """Start nothing more, wait for what runs, and return what still does after that time."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._changed.wait_for(lambda: not self._running, timeout_seconds)
            return sorted(self._running)

    def _run_next(self) -> None:
        with self._lock:
            while self._waiting and not self._closed and not self._may_start():
                self._changed.wait(ASK_EVERY_SECONDS)
            if self._closed or not self._waiting:
                return
            number = self._waiting.pop(0)
            self._running.add(number)
        try:
            self._run(number)
        finally:
            with self._lock:
                self._running.remove(number)
                self._changed.notify_all()


def _log_failure(future: "Future[None]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("a job escaped its runner", exc_info=error)
