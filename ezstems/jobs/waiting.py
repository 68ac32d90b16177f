"""Waits for the ends of jobs: bounded, and without a database connection; one thread of the process looks for all.

Where a job ends, its process tells this one only if it is the same. So the rows of all jobs that somebody waits for are
asked in one query, as long as anybody waits.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from sqlalchemy import Connection, select

from ezstems import database
from ezstems.database import db
from ezstems.jobs.events import job_happened
from ezstems.models import PROCESSING, QUEUED, Job

log = logging.getLogger(__name__)

# An end elsewhere is heard so much late; one in this process at once.
LOOK_EVERY_SECONDS = 0.25
ENDS = ("completed", "failed", "deleted", "expired")
# So soon the place of a client that hung up is free.
LOOK_AT_CLIENT_SECONDS = 0.5
CLOSE_SECONDS = 1.0


class Wait:
    """Hold the number of a job that somebody waits for."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.over = threading.Event()


class Waits:
    """Let calls of this process wait, each in its own thread: so many at a time, and so many of one key."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._most, self._most_of_key = app.config["EZSTEMS_WAITERS"], app.config["EZSTEMS_KEY_WAITERS"]
        self._lock = threading.Lock()
        self._waits: set[Wait] = set()
        self._of_key = Counter[int]()
        self._closed = False
        self._nudge = threading.Event()
        self._looking: threading.Thread | None = None
        job_happened.connect(self._hear)

    def __len__(self) -> int:
        return len(self._waits)

    def wait(self, number: int, key_id: int, seconds: float, has_left: Callable[[], bool]) -> bool:
        """Wait until a job ends, or for so long; return False where it isn't waited for, or no longer.

        That is: as many wait as may, the process stops, or the client has left. Whoever calls this has released its
        database connection.
        """
        wait = self._begin(number, key_id)
        if wait is None:
            return False
        until = time.monotonic() + seconds
        try:
            while (left := until - time.monotonic()) > 0:
                if wait.over.wait(min(left, LOOK_AT_CLIENT_SECONDS)):
                    break
                if has_left():
                    return False
            return not self._closed
        finally:
            with self._lock:
                self._waits.remove(wait)
                self._of_key -= Counter((key_id,))  # which forgets a key that has none left

    def close(self) -> None:
        """End every wait, and begin no other."""
        with self._lock:
            self._closed, looking = True, self._looking
            self._end(self._waits)
        self._nudge.set()
        if looking is not None:
            looking.join(CLOSE_SECONDS)

    def _begin(self, number: int, key_id: int) -> Wait | None:
        with self._lock:
            if self._closed or len(self._waits) >= self._most or self._of_key[key_id] >= self._most_of_key:
                return None
            if self._looking is None:
                looking = threading.Thread(target=self._look, name="waits", daemon=True)
                try:
                    looking.start()  # it needs the lock first
                except RuntimeError:
                    log.exception("no thread is left to look for the ends of jobs")
                    return None
                self._looking = looking
            wait = Wait(number)
            self._waits.add(wait)
            self._of_key[key_id] += 1
            return wait

    def _hear(self, event: str, **_fields: Any) -> None:
        if event in ENDS:
            self._nudge.set()

    def _look(self) -> None:
        try:
            with self._app.app_context(), db.engine.connect() as connection:
                while numbers := self._begun():
                    self._end_all_but(numbers, self._unfinished(connection, numbers))
                    self._nudge.wait(LOOK_EVERY_SECONDS)
                    self._nudge.clear()
        except Exception:  # each who waits looks itself then, and tells its client what is wrong
            log.exception("the rows of the jobs that are waited for could not be read")
            with self._lock:
                self._end(self._waits)
                self._looking = None

    def _begun(self) -> set[int]:
        """Return the numbers of the jobs that are waited for; where there are none, this thread ends."""
        with self._lock:
            numbers = {wait.number for wait in self._waits if not wait.over.is_set()}
            if not numbers:
                self._looking = None
            return numbers

    def _unfinished(self, connection: Connection, numbers: set[int]) -> set[int]:
        self._app.extensions[database.WATCH].require()
        unfinished = Job.status.in_((QUEUED, PROCESSING)), Job.expired_at.is_(None)
        found = set(connection.scalars(select(Job.number).where(Job.number.in_(numbers), *unfinished)))
        connection.rollback()  # the next look shall see what was committed since
        return found

    def _end_all_but(self, numbers: set[int], unfinished: set[int]) -> None:
        with self._lock:
            self._end(wait for wait in self._waits if wait.number in numbers - unfinished)

    def _end(self, waits: Iterable[Wait]) -> None:
        for wait in waits:
            wait.over.set()
