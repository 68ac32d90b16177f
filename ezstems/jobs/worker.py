"""One worker process's jobs: what the web may ask of them, and the threads that run them."""

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flask import Flask, current_app
from sqlalchemy.exc import SQLAlchemyError

from ezstems import database, disk
from ezstems.audio import decode, outputs
from ezstems.database import db
from ezstems.database_watch import DatabaseWatch
from ezstems.errors import DatabaseLost
from ezstems.jobs import recovery, retention
from ezstems.jobs.admission import Admission
from ezstems.jobs.archive import Archive
from ezstems.jobs.background import EngineLoader, Housekeeper
from ezstems.jobs.damage import raising_damaged_result, require_result
from ezstems.jobs.events import record_event
from ezstems.jobs.health import health_of
from ezstems.jobs.incoming import Incoming
from ezstems.jobs.queue import JobQueue
from ezstems.jobs.runner import Runner, Separating
from ezstems.jobs.watchdog import Watchdog
from ezstems.jobs.zip_entry import ZipEntry
from ezstems.models import QUEUED, Instance, Job, User

log = logging.getLogger(__name__)

EXTENSION = "ezstems"
HOUSEKEEPING_EVERY_SECONDS = 2.0
# A separation notices a stop at its next tile, well within this.
STOP_SECONDS = 3.0


class Worker:
    """Own the queue of one process; `start` belongs after the fork, `close` may be called twice."""

    def __init__(self, app: Flask, separate: Separating) -> None:
        self.id = uuid.uuid4().hex
        self._app = app
        self._separate = separate
        self._archive = Archive(Path(app.instance_path), self.id)
        self._lock = recovery.WorkerLock(Path(app.instance_path), self.id)
        self._watch: DatabaseWatch = app.extensions[database.WATCH]
        self._stop = threading.Event()
        self._start_lock = threading.Lock()
        self._started = False
        runner = Runner(app, self.id, self._archive, separate, self._stop.is_set)
        self._watchdog = Watchdog(runner, self.id, app.config["EZSTEMS_STALL_SECONDS"])
        self._queue = JobQueue(
            self._watchdog,
            threads=app.config["EZSTEMS_SEPARATIONS"],
            seats=app.config["EZSTEMS_QUEUE_SIZE"],
            may_start=lambda: self._admission.may_begin(),
        )
        self._sweeper = retention.Sweeper(self._archive, app.config["EZSTEMS_RETENTION_HOURS"])
        self._admission = Admission(app, self._archive, self._queue)
        self._engine = EngineLoader(self.id, self._stop, lambda: separate.warm())
        duties = (
            self._check_database,
            self._lock.renew,
            self._check_progress,
            self._sync_queue,
            lambda: separate.drop_idle_networks(),
            self._sweep,
        )
        self._housekeeper = Housekeeper(self.id, self._stop, duties)
        app.extensions[EXTENSION] = self

    def start(self, replace: Callable[[], None] = lambda: None) -> None:
        """Take the worker's lock, adopt what dead workers left, and load the engine in the background.

        `replace` ends this process in an orderly way and has another one started in its place.
        """
        with self._start_lock:
            if self._started:
                return
            self._watchdog.replace = replace
            self._lock.acquire()
            self._started = True
            try:
                with self._app.app_context():
                    retention.restore_lost_files(self._archive)
                self._sync_queue()
            except (OSError, SQLAlchemyError):
                # A full disk must not keep finished jobs from being downloaded; the housekeeper tries again.
                log.exception("worker %s: what dead workers left could not be adopted yet", self.id)
            self._housekeeper.start(HOUSEKEEPING_EVERY_SECONDS)
            self._engine.start()
            log.info("worker %s: started with the model: %s", self.id, self.model())

    def close(self) -> None:
        """Stop separating; unfinished jobs go back to their places in the queue, for the next worker."""
        with self._start_lock:
            if not self._started or self._stop.is_set():
                return
            self._stop.set()
        for number in self._queue.close(STOP_SECONDS):
            # Deep in a library (a model being loaded); its thread dies with the process, which ends now.
            try:
                with self._app.app_context():
                    if Job.interrupt(number, self.id):
                        record_event("interrupted", db.session.get_one(Job, number).id, " in the middle of a step")
            except (SQLAlchemyError, DatabaseLost):
                log.exception("worker %s: job number %s could not be given back", self.id, number)
        self._housekeeper.join(STOP_SECONDS)
        self._lock.release()
        log.info("worker %s: closed", self.id)

    def admit(self, user: User, expected_bytes: int = 0) -> None:
        """Raise TooManyJobs when the account may have no more jobs, ServerFull when there is no room for one."""
        self._admission.require_account_room(user.id, Job.unfinished(user.id) + 1)
        self._admission.require_room(expected_bytes)

    def incoming(self) -> Incoming:
        """Open a place for an upload's bytes."""
        return self._archive.new_upload()

    def submit(self, user: User, incoming: Incoming, *, name: str, extension: str, **options: Any) -> Job:
        """Check an upload's content, make its job durable and line it up; `options` are its parameters."""
        self.start()
        incoming.finish()
        decode.check(incoming.path, extension)
        self._queue.reserve()
        job = Job(
            user_id=user.id,
            **options,
            original_name=name,
            size_bytes=incoming.size_bytes,
            sha256=incoming.sha256,
            owner=self.id,
        )
        try:
            with disk.raising_server_full():
                self._admission.store(incoming, job, extension)
        except BaseException:
            self._queue.release()
            raise
        try:
            self._queue.add(job.number, reserved=True)
        except RuntimeError:  # the job is durable, and the housekeeper queues it
            log.exception("job %s: no thread is left for it now", job.id)
        record_event("queued", job.id, f", {job.size_bytes} bytes", bytes=job.size_bytes, account_id=job.user_id)
        return job

    def position(self, job: Job) -> int:
        """Return a job's place in its worker's queue, 0 when it isn't waiting."""
        return self.positions([job])[job.number]

    def positions(self, jobs: Sequence[Job]) -> dict[int, int]:
        """Return the places of jobs by their numbers: ours from the queue, those of other workers from the rows."""
        places = {job.number: 0 for job in jobs}
        elsewhere = []
        for job in jobs:
            if job.status == QUEUED:
                place = self._queue.position(job.number) if job.owner == self.id else None
                if place is None:
                    elsewhere.append(job.number)
                places[job.number] = place or 1  # one that has just left its queue was the next to run
        return places | (Job.positions(elsewhere) if elsewhere else {})

    def delete(self, job: Job) -> bool:
        """Delete a job in whatever state, and its files; False when they were gone before.

        One that runs, here or in another worker, stops as soon as its runner sees the row.
        """
        number, job_id = job.number, job.id
        if not retention.expire_and_delete(self._archive, job, Job.delete):
            return False
        self._queue.remove(number)
        record_event("deleted", job_id, " by its account")
        return True

    def result(self, job: Job) -> Path:
        """Return the finished ZIP of a completed job; raise DamagedFile where it isn't there, or whole."""
        path = self._archive.result(job.id)
        require_result(path, job.result_bytes)
        return path

    def peaks(self, job: Job) -> Path:
        """Return the peaks of a completed job's stems, as JSON; a job older than these has none."""
        return self._archive.peaks(job.id)

    def stem(self, job: Job, name: str) -> ZipEntry:
        """Open a completed job's stem; raise DamagedFile, as `result` does."""
        self.result(job)
        with raising_damaged_result():
            return self._archive.stem(job.id, outputs.FORMATS[job.output].filename(name))

    def health(self) -> dict[str, Any]:
        """Describe the box: can it take work, how much waits, with which model, how much disk is free."""
        return health_of(
            self._archive, self._admission, self._watch, self._watchdog, self._engine, self._sweeper, self.model
        )

    def model(self) -> str:
        """Name the weights that separate here."""
        return self._separate.label()

    def _sync_queue(self) -> None:
        """Adopt the jobs of dead workers, then make the queue hold what the rows say is waiting."""
        if self._watch.is_lost():
            return
        with self._app.app_context():
            recovery.adopt(self._lock, self._archive)
            queued = self._queue.waiting()  # first: what is queued after this has a row by then
            rows = Job.waiting(self.id)
            for number in set(queued).difference(rows):
                self._queue.remove(number)
            for number in rows:
                self._queue.add(number)

    def _check_progress(self) -> None:
        with self._app.app_context():
            self._watchdog.check(self._housekeeper.waited_seconds)

    def _check_database(self) -> None:
        """Check that the database that this process has open is still the instance's."""
        with self._app.app_context():
            if not self._watch.is_lost():
                self._watch.check_ids(Instance.ids())

    def _sweep(self) -> None:
        with self._app.app_context():
            if not self._watch.is_lost():
                self._sweeper.sweep_when_due()


def current_worker() -> Worker:
    """Return the worker of the app at hand."""
    return current_app.extensions[EXTENSION]
