"""The jobs that one process runs itself: its FIFO, its threads, and the lock by which others know that it lives."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from ezstems import database
from ezstems.database import db
from ezstems.database_watch import DatabaseWatch
from ezstems.errors import DatabaseLost
from ezstems.jobs import recovery
from ezstems.jobs.archive import Archive
from ezstems.jobs.background import EngineLoader
from ezstems.jobs.events import record_event
from ezstems.jobs.preview_maker import PreviewMaker
from ezstems.jobs.queue import JobQueue
from ezstems.jobs.runner import Runner, Separating
from ezstems.jobs.watchdog import Watchdog
from ezstems.models import QUEUED, Job, own_queue

log = logging.getLogger(__name__)

# A separation notices a stop at its next tile, well within this.
STOP_SECONDS = 3.0


class Pool:
    """Run jobs in this process (a `Dispatch`); others adopt what it leaves when it dies."""

    def __init__(
        self, app: Flask, owner: str, archive: Archive, separate: Separating, may_begin: Callable[[], bool]
    ) -> None:
        self.owner: str | None = owner
        self._id = owner
        self._app = app
        self._archive = archive
        self._separate = separate
        self._stop = threading.Event()
        self._lock = recovery.WorkerLock(Path(app.instance_path), owner)
        self._watch: DatabaseWatch = app.extensions[database.WATCH]
        self._previews = PreviewMaker(app, archive, may_begin, self._stop.is_set)
        runner = Runner(app, owner, archive, separate, self._stop.is_set, self._previews.add)
        self._watchdog = Watchdog(runner, owner, app.config["EZSTEMS_STALL_SECONDS"])
        self._queue = JobQueue(
            self._watchdog,
            threads=app.config["EZSTEMS_SEPARATIONS"],
            seats=app.config["EZSTEMS_QUEUE_SIZE"],
            may_start=may_begin,
        )
        self._engine = EngineLoader(owner, self._stop, lambda: separate.warm())

    @property
    def full(self) -> bool:
        """Tell whether no seat is free."""
        return self._queue.full

    def start(self, replace: Callable[[], None]) -> None:
        """Take the worker's lock, adopt what dead workers left, and load the engine in the background."""
        self._watchdog.replace = replace
        self._lock.acquire()
        try:
            self._sync_queue()
        except (OSError, SQLAlchemyError):
            # A full disk must not keep finished jobs from being downloaded; the duties try again.
            log.exception("worker %s: what dead workers left could not be adopted yet", self._id)
        self._engine.start()
        self._previews.start()

    def duties(self, waited_seconds: Callable[[], float]) -> Sequence[Callable[[], None]]:
        """Return: renew the lock, watch what runs, adopt and line up, let go of idle networks."""
        return (
            self._renew_lock,
            lambda: self._check_progress(waited_seconds()),
            self._sync_queue,
            lambda: self._separate.drop_idle_networks(),
        )

    def reserve(self) -> None:
        """Take a seat; raise ServerFull when there is none."""
        self._queue.reserve()

    def confirm(self) -> None:
        """Do nothing: a seat is kept."""

    def release(self) -> None:
        """Give a reserved seat back."""
        self._queue.release()

    def add(self, job: Job) -> None:
        """Line a durable job up in its reserved seat."""
        try:
            self._queue.add(job.number, reserved=True)
        except RuntimeError:  # the duties queue it
            log.exception("job %s: no thread is left for it now", job.id)

    def remove(self, number: int, job_id: str, *, waited: bool) -> None:
        """Remove a waiting job; one that runs stops as soon as its runner sees the row."""
        self._queue.remove(number)

    def positions(self, jobs: Sequence[Job]) -> dict[int, int]:
        """Return the places of jobs by their numbers: ours from the queue, those of other workers from the rows."""
        places = {job.number: 0 for job in jobs}
        elsewhere = []
        for job in jobs:
            if job.status == QUEUED:
                place = self._queue.position(job.number) if job.owner == self._id else None
                if place is None:
                    elsewhere.append(job.number)
                places[job.number] = place or 1  # one that has just left its queue was the next to run
        return places | (own_queue.places(elsewhere) if elsewhere else {})

    def at_once(self) -> int:
        """Return how many separation threads there are."""
        return self._app.config["EZSTEMS_SEPARATIONS"]

    def model(self) -> str:
        """Name the weights that separate here."""
        return self._separate.label()

    def health(self) -> dict[str, Any]:
        """Say what keeps this process from separating."""
        health: dict[str, Any] = {}
        if stalled := self._watchdog.stalled():
            health |= {"status": "stalled", "message": f"Job {stalled} makes no progress; the log says where it is."}
        if self._engine.failed:
            health |= {"status": "no engine", "message": "The engine could not be loaded; the log says why."}
        return health

    def stop(self) -> None:
        """Stop separating; unfinished jobs go back to their places in the queue, for the next worker."""
        self._stop.set()
        for number in self._queue.close(STOP_SECONDS):
            # Deep in a library (a model being loaded); its thread dies with the process, which ends now.
            try:
                with self._app.app_context():
                    if Job.interrupt(number, self._id):
                        record_event("interrupted", db.session.get_one(Job, number).id, " in the middle of a step")
            except (SQLAlchemyError, DatabaseLost):
                log.exception("worker %s: job number %s could not be given back", self._id, number)

    def leave(self) -> None:
        """Drop the lock."""
        self._lock.release()

    def _renew_lock(self) -> None:
        """Renew the lock, but leave alone what lies where the instance was."""
        if not self._watch.is_lost():
            self._lock.renew()

    def _sync_queue(self) -> None:
        """Adopt the jobs of dead workers, then make the queue hold what the rows say is waiting."""
        if self._watch.is_lost():
            return
        with self._app.app_context():
            recovery.adopt(self._lock, self._archive)
            queued = self._queue.waiting()  # first: what is queued after this has a row by then
            rows = own_queue.waiting(self._id)
            for number in set(queued).difference(rows):
                self._queue.remove(number)
            for number in rows:
                self._queue.add(number)

    def _check_progress(self, waited_seconds: float) -> None:
        with self._app.app_context():
            self._watchdog.check(waited_seconds)
