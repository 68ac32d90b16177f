"""A separation process's heartbeat: a row by which all boxes know that it lives."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from ezstems.errors import DatabaseLost
from ezstems.jobs.archive import Archive
from ezstems.jobs.events import record_event
from ezstems.jobs.turn import GIVE_BACK, turn
from ezstems.models import SeparationWorker, shared_queue

log = logging.getLogger(__name__)

BEAT_EVERY_SECONDS = 10.0
# Who wasn't seen for so long has died, or is cut off: others run what it ran.
DEAD_SECONDS = 60.0
FORGET_SECONDS = 24 * 3600.0


class Heartbeat:
    """Say every few seconds that a process lives."""

    def __init__(self, app: Flask, worker: str, model: Callable[[], str]) -> None:
        self._app = app
        self._worker = worker
        self._model = model
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._beat_seconds = float("-inf")
        self._is_silent = False

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def beat_if_due(self) -> None:
        """Note now that the process lives, unless that was done a while ago: before it takes a job, it must."""
        with self._lock:
            if self._stop.is_set() or time.monotonic() - self._beat_seconds < BEAT_EVERY_SECONDS / 2:
                return
            with self._app.app_context():
                SeparationWorker.beat(self._worker, host=socket.gethostname(), pid=os.getpid(), model=self._model())
            self._beat_seconds = time.monotonic()

    def stop(self) -> None:
        """Say that the process has ended; it is silent from now on."""
        self._stop.set()
        with self._lock, self._app.app_context():
            SeparationWorker.leave(self._worker)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.beat_if_due()
            except (SQLAlchemyError, DatabaseLost) as error:
                if not self._is_silent:
                    log.error("worker %s: it can't say that it lives: %s", self._worker, type(error).__name__)
                self._is_silent = True
            else:
                if self._is_silent:
                    log.info("worker %s: it says again that it lives", self._worker)
                self._is_silent = False
            self._stop.wait(BEAT_EVERY_SECONDS)


def give_back(archive: Archive, line_up: Callable[[int, str], None]) -> None:
    """Put what dead processes ran back into the queue, and clear up after those that died long ago."""
    with turn(GIVE_BACK) as is_ours:
        if not is_ours:
            return
        for number, job_id, crashes in shared_queue.give_back(DEAD_SECONDS):
            record_event("adopted", job_id, ", whose process died", level=logging.WARNING, crashes=crashes)
            line_up(number, job_id)
        for worker in SeparationWorker.long_dead(FORGET_SECONDS):
            for job in shared_queue.forget(worker):
                archive.remove_source(job)
