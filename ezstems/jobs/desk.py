"""The desk of one web process: where the web hands jobs in, and asks for them and their files."""

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

from flask import Flask, current_app
from sqlalchemy.exc import SQLAlchemyError

from ezstems import database, disk
from ezstems.audio import decode, outputs
from ezstems.database_watch import DatabaseWatch
from ezstems.errors import StorageAway
from ezstems.jobs import preview_pack, retention
from ezstems.jobs.admission import Admission
from ezstems.jobs.background import Housekeeper
from ezstems.jobs.claims import Claims
from ezstems.jobs.damage import raising_damaged_result
from ezstems.jobs.dispatch import Dispatch
from ezstems.jobs.estimate import Estimate
from ezstems.jobs.events import record_event
from ezstems.jobs.exports import Exports
from ezstems.jobs.health import health_of
from ezstems.jobs.incoming import Incoming
from ezstems.jobs.new_upload import Again, NewUpload, Received
from ezstems.jobs.opened import Opened
from ezstems.jobs.pool import STOP_SECONDS, Pool
from ezstems.jobs.runner import Separating
from ezstems.jobs.storage import open_archive
from ezstems.jobs.waiting import Waits
from ezstems.jobs.zip_entry import ZipEntry
from ezstems.models import QUEUED, Instance, Job, User
from ezstems.webhooks import Sender

log = logging.getLogger(__name__)

EXTENSION = "ezstems"
HOUSEKEEPING_EVERY_SECONDS = 2.0
# What a job that separates another's upload again has of it.
OF_UPLOAD = ("user_id", "original_name", "size_bytes", "sha256")


Keep = Callable[[Job], None]  # stores more in a new job's transaction


def keep_nothing_more(_job: Job) -> None:
    """Store the job alone."""


class Desk:
    """Take jobs in for one process; `start` belongs after the fork, `close` may be called twice."""

    def __init__(self, app: Flask, separate: Separating) -> None:
        self.id = uuid.uuid4().hex
        self._app = app
        self._archive = open_archive(app, self.id)
        self._watch: DatabaseWatch = app.extensions[database.WATCH]
        self._stop = threading.Event()
        self._start_lock = threading.Lock()
        self._started = False
        self._admission = Admission(app, self._archive, lambda: self.dispatch.full)
        self.dispatch = self._make_dispatch(separate)
        self.exports = Exports(app, self.id, self._admission.has_room, self.stem)
        self.waits = Waits(app)
        self.claims = Claims(app)
        self.estimate = Estimate(self.dispatch.at_once)
        self._sweeper = retention.Sweeper(self._archive, app.config["EZSTEMS_RETENTION_HOURS"])
        duties = (
            self._check_database,
            *self.dispatch.duties(lambda: self._housekeeper.waited_seconds),
            self.claims.renew,
            self._sweep,
        )
        self._housekeeper = Housekeeper(self.id, self._stop, duties)
        self._webhooks = Sender(app)
        app.extensions[EXTENSION] = self

    def _make_dispatch(self, separate: Separating) -> Dispatch:
        """Return what has jobs run: a cluster's other boxes, or this process."""
        if self._app.config["EZSTEMS_BROKER_URL"] is None:
            return Pool(self._app, self.id, self._archive, separate, self._admission.may_begin)
        from ezstems.jobs.broker import Broker  # one box alone needs no Celery

        return Broker(self._app, self.id, self._archive)

    def start(self, replace: Callable[[], None] = lambda: None) -> None:
        """Have jobs run from now on, those that wait first, and keep house.

        `replace` ends this process in an orderly way and has another one started in its place.
        """
        with self._start_lock:
            if self._started:
                return
            try:
                with self._app.app_context():
                    retention.restore_lost_files(self._archive)
            except (OSError, StorageAway, SQLAlchemyError):
                log.exception("worker %s: lost files could not be looked for yet", self.id)
            self.dispatch.start(replace)
            self._started = True
            self._housekeeper.start(HOUSEKEEPING_EVERY_SECONDS)
            self._webhooks.start()
            log.info("worker %s: started with the model: %s", self.id, self.model())

    def close(self) -> None:
        """Begin nothing more; what runs goes back to its place in the queue."""
        self.waits.close()
        with self._start_lock:
            if not self._started or self._stop.is_set():
                return
            self._stop.set()
        self.dispatch.stop()
        self._webhooks.stop()
        self._housekeeper.join(STOP_SECONDS)
        self.dispatch.leave()
        log.info("worker %s: closed", self.id)

    def admit(self, user: User, expected_bytes: int = 0) -> None:
        """Raise TooManyJobs when the account may have no more jobs, ServerFull when there is no room for one."""
        self._admission.require_account_room(user.id, Job.unfinished(user.id) + 1)
        self._admission.require_room(expected_bytes)

    def incoming(self) -> Incoming:
        """Open a place for an upload's bytes."""
        return self._archive.new_upload()

    def submit(
        self,
        user: User,
        incoming: Incoming,
        *,
        name: str,
        extension: str,
        keep: Keep = keep_nothing_more,
        **options: Any,
    ) -> Job:
        """Check an upload's content, make its job durable and line it up; `options` are its parameters.

        `keep` may store more in the job's transaction.
        """
        incoming.finish()
        decode.check(incoming.path, extension)
        facts = {"original_name": name, "size_bytes": incoming.size_bytes, "sha256": incoming.sha256}
        job = Job(user_id=user.id, **facts, **options)
        return self._line_up(job, extension, Received(self._archive, incoming), keep)

    def submit_again(self, source: Job, *, keep: Keep = keep_nothing_more, **options: Any) -> Job:
        """Make another job of the same account's kept upload and line it up; raise FileNotFoundError where it is gone.

        Each job has the upload under a name of its own: either may be deleted first.
        """
        extension = PurePath(source.filename).suffix.removeprefix(".")
        facts = {name: getattr(source, name) for name in OF_UPLOAD}
        return self._line_up(Job(**facts, **options), extension, Again(self._archive, source), keep)

    def _line_up(self, job: Job, extension: str, upload: NewUpload, keep: Keep) -> Job:
        self.start()
        self.dispatch.reserve()
        job.owner, job.keeps_upload = self.dispatch.owner, self._app.config["EZSTEMS_KEEP_UPLOADS"] == "on"

        def keep_and_confirm(stored: Job) -> None:
            keep(stored)
            self.dispatch.confirm()

        try:
            with disk.raising_server_full():
                self._admission.store(upload, job, extension, keep_and_confirm)
        except BaseException:
            self.dispatch.release()
            raise
        self.dispatch.add(job)
        record_event("queued", job.id, f", {job.size_bytes} bytes", bytes=job.size_bytes, account_id=job.user_id)
        return job

    def position(self, job: Job) -> int:
        """Return a job's place in the queue, 0 when it isn't waiting."""
        return self.positions([job])[job.number]

    def positions(self, jobs: Sequence[Job]) -> dict[int, int]:
        """Return the places of jobs by their numbers."""
        return self.dispatch.positions(jobs)

    def delete(self, job: Job) -> bool:
        """Delete a job in whatever state, and its files; False when they were gone before.

        One that runs, wherever that is, stops as soon as its runner sees the row.
        """
        number, job_id, waited = job.number, job.id, job.status == QUEUED
        if not retention.expire_and_delete(self._archive, job, Job.delete):
            return False
        self.dispatch.remove(number, job_id, waited=waited)
        record_event("deleted", job_id, " by its account")
        return True

    def result(self, job: Job) -> Opened:
        """Open the finished ZIP of a completed job; raise DamagedFile where it isn't there, or whole."""
        return self._archive.open_result(job)

    def peaks(self, job: Job) -> Opened:
        """Open the peaks of a completed job's stems, as JSON; raise FileNotFoundError: an older job has none."""
        return self._archive.open_peaks(job)

    def previews(self, job: Job) -> dict[str, Any] | None:
        """Return what a completed job's previews are; None where it has none, or not yet."""
        return preview_pack.contents(self._archive, job)

    def preview(self, job: Job, name: str, number: int) -> Opened:
        """Open one chunk of a preview; raise FileNotFoundError where there is none."""
        return preview_pack.open_chunk(self._archive, job, name, number)

    def stem(self, job: Job, name: str) -> ZipEntry:
        """Open a completed job's stem; raise DamagedFile, as `result` does."""
        result = self.result(job)
        with raising_damaged_result():
            return ZipEntry(result, outputs.FORMATS[job.output].filename(name))

    def health(self) -> dict[str, Any]:
        """Describe the box: can it take work, how much waits, with which model, how much disk is free."""
        return health_of(self._archive, self._admission, self._watch, self.dispatch, self._sweeper)

    def model(self) -> str:
        """Name the weights that separate."""
        return self.dispatch.model()

    def _check_database(self) -> None:
        """Check that the database that this process has open is still the instance's."""
        with self._app.app_context():
            if not self._watch.is_lost():
                self._watch.check_ids(Instance.ids())

    def _sweep(self) -> None:
        with self._app.app_context():
            if not self._watch.is_lost():
                self._sweeper.sweep_when_due()


def current_desk() -> Desk:
    """Return the desk of the app at hand."""
    return current_app.extensions[EXTENSION]
