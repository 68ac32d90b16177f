"""One job from its claim to its finish."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ezstems.audio import clipping
from ezstems.audio.parameters import PARAMETERS
from ezstems.audio.separate import Separation
from ezstems.database import db
from ezstems.database_server import is_away
from ezstems.errors import DatabaseLost, Interrupted, StorageAway, TookTooLong, UploadsAway
from ezstems.jobs.archive import Archive
from ezstems.jobs.events import record_event
from ezstems.jobs.outcome import TOO_LONG, Outcome, completed, failed, interrupted
from ezstems.jobs.suspect import IsolatedSeparator
from ezstems.jobs.watchdog import RunningJob
from ezstems.models import COMPLETED, FAILED, PROCESSING, STALLED, FileNames, Job

Result = TypeVar("Result")
log = logging.getLogger(__name__)

# Often enough to look live, rarely enough to cost nothing.
REPORT_EVERY_SECONDS = 0.5
# So long, and a tile, may a deleted job go on.
LOOK_EVERY_SECONDS = 0.25
RETRY_EVERY_SECONDS = 2.0


class Separating(Protocol):
    """Separate a file into a folder: the engine, or a test's stand-in."""

    def label(self) -> str: ...

    def warm(self) -> None: ...

    def drop_idle_networks(self) -> None: ...

    def __call__(
        self,
        source: Path,
        directory: Path,
        *,
        stems: int,
        cutoff: str,
        output: str,
        progress: Callable[[float], None],
        stopping: Callable[[], bool],
    ) -> Separation: ...


class Runner:
    """Run jobs for one worker; `stopping` tells when to give up and leave the job to others."""

    def __init__(
        self,
        app: Flask,
        owner: str,
        archive: Archive,
        separate: Separating,
        stopping: Callable[[], bool],
        finished: Callable[[int], None] = lambda _number: None,
    ) -> None:
        """Hold what runs jobs; `finished` is told the number of each one that is completed."""
        self._app = app
        self._owner = owner
        self._archive = archive
        self._separate = separate
        self._isolated = IsolatedSeparator(separate)
        self._stopping = stopping
        self._finished = finished

    def __call__(self, number: int, running: RunningJob | None = None) -> None:
        """Claim a job of this owner and run it; return at once if somebody else has it."""
        running = running or RunningJob(number)
        with self._app.app_context():
            claimed = self._change(running, partial(Job.claim, number, self._owner), PROCESSING)
        if claimed:
            self.run(number, running)

    def run(self, number: int, running: RunningJob) -> None:
        """Separate a job that is claimed, and settle it."""
        with self._app.app_context():
            job = self._retry_while_database_fails(running, partial(db.session.get, Job, number))
            if job is None:
                return
            db.session.expunge(job)  # what is read of it later needs no connection
            started = time.monotonic()
            outcome = self._run(job, running)
            seconds = time.monotonic() - started
            if self._change(running, partial(outcome.settle, number, self._owner), outcome.status):
                if not outcome.needs_upload:
                    self._archive.remove_source(job)
                outcome.record(job.id, seconds)
                if outcome.status == COMPLETED:
                    self._finished(number)
            else:
                self._leave(job, running, outcome, seconds)

    def _run(self, job: Job, running: RunningJob) -> Outcome:
        """Separate a job, and return what came of it."""
        try:
            options = {name: getattr(job, name) for name in PARAMETERS}
            alone = ", in a process of its own" if job.crashes else ""
            record_event("started", job.id, f", {job.stems} stems, {job.cutoff}, {job.output}{alone}", **options)
            return completed(*self._separate_and_pack(job, running, options), job.keeps_upload)
        except Interrupted as error:
            reason = TOO_LONG if running.overrun else STALLED if running.stalled else None
            return failed(TookTooLong(reason)) if reason else interrupted(error)
        except BaseException as error:  # also what a library calls an end of the program: it ends the job alone
            return failed(error)

    def _separate_and_pack(self, job: Job, running: RunningJob, options: dict[str, Any]) -> tuple[Separation, int]:
        """Return the separation and the size of its ZIP in bytes."""
        separate = partial(self._isolated, job_id=job.id) if job.crashes else self._separate
        reported = looked = time.monotonic()
        percent = 0

        def progress(value: float) -> None:
            nonlocal reported, percent
            running.note_progress()
            if int(value) > percent and time.monotonic() - reported >= REPORT_EVERY_SECONDS:
                reported, percent = time.monotonic(), int(value)
                report = partial(Job.report, job.number, self._owner, percent)
                self._try_database(job, report, "its progress could not be stored")

        def stopping() -> bool:
            nonlocal looked
            if running.stalled or running.overrun or self._stopping():
                return True
            if time.monotonic() - looked < LOOK_EVERY_SECONDS:
                return False
            looked = time.monotonic()
            is_ours = partial(Job.is_run_by, job.number, self._owner)
            return self._try_database(job, is_ours, "whether it was deleted could not be read") is False

        with (
            self._waiting_for_uploads(),
            self._archive.lend_source(job, running.note_progress) as source,
            self._archive.workspace(job) as workspace,
        ):
            separation = separate(source, workspace, **options, progress=progress, stopping=stopping)
            if running.stalled:  # and fails
                raise Interrupted("stopped")
            comment = f"Separated by EzStems with the model: {separation.model}"
            if separation.clipped:
                comment += f"\n{clipping.advice(separation.clipped)}"
            packed = self._archive.pack(job, separation.files, comment, separation.peaks, running.note_progress)
        return separation, packed

    @contextmanager
    def _waiting_for_uploads(self) -> Iterator[None]:
        """Raise UploadsAway for whatever fails while the uploads' disk, or the store, is away: the job waits for it."""
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            if not isinstance(error, StorageAway) and self._archive.can_read_uploads():
                raise
            raise UploadsAway("the uploads can't be reached, and it waits for them") from error

    def _leave(self, job: Job, running: RunningJob, outcome: Outcome, seconds: float) -> None:
        """Clear away what a job has left whose row has not become what came of it."""
        find = select(Job).where(Job.number == job.number)
        rows = self._retry_while_database_fails(running, lambda: db.session.scalars(find).all())
        row = rows[0] if rows else None
        if row is not None and row.owner != self._owner and self._archive.is_shared:
            # It went to somebody else, whose result has another name.
            self._archive.remove_result(FileNames(job.id, job.filename, job.upload_key, self._owner))
        if rows is not None and (row is None or row.expired_at is not None):
            # What was packed after the account's call is its last trace. Where there is no row, the whole account was
            # deleted, or the database is an older one: the sweep puts it aside.
            if row is not None:
                self._archive.remove(row)
            detail = f", deleted while it ran, after {seconds:.2f} s"
            record_event("stopped", job.id, detail, seconds=round(seconds, 3))
        elif running.stalled:
            if row is not None and (row.status, row.owner) == (FAILED, self._owner):
                self._archive.remove_result(row)  # where it was packed just then
            message = "job %s: ended, after it had failed, after %.2f s"
            log.warning(message, job.id, seconds, extra={"job_id": job.id})
        else:
            message, told = "job %s: %s%s after %.2f s, which its row doesn't say", (outcome.event, outcome.detail)
            log.error(message, job.id, *told, seconds, exc_info=outcome.error, extra={"job_id": job.id})

    def _try_database(self, job: Job, act: Callable[[], Result], trouble: str) -> Result | None:
        """Return what a query returns, None where the database fails: a running job does without."""
        try:
            return act()
        except DatabaseLost:  # the watch has logged it
            return None
        except SQLAlchemyError as error:
            if not is_away(error):
                log.exception("job %s: %s", job.id, trouble, extra={"job_id": job.id})
            return None
        finally:
            db.session.rollback()

    def _change(self, running: RunningJob, change: Callable[[], bool], status: str) -> bool:
        """Change a job's row, however often the database fails, and tell whether the job is in that state now.

        A server that goes away may have committed before it could say so.
        """
        tries = 0

        def change_once() -> bool:
            nonlocal tries
            tries += 1
            return change() or (tries > 1 and Job.is_now(running.number, self._owner, status))

        return bool(self._retry_while_database_fails(running, change_once))

    def _retry_while_database_fails(self, running: RunningJob, act: Callable[[], Result]) -> Result | None:
        """Return what a query returns, None where the worker stops before the database works again.

        A job whose row can't be read or written now (a full disk) must be neither lost nor left as if it ran for ever:
        the row is adopted after the stop.
        """
        while True:
            try:
                return act()
            except (SQLAlchemyError, DatabaseLost) as error:
                running.note_progress()  # to wait for the database is not to stall
                if not (isinstance(error, DatabaseLost) or is_away(error)):  # which is logged where it begins
                    log.exception("job number %s: the database failed; trying again", running.number)
                db.session.rollback()
                if self._stopping():
                    return None
                time.sleep(RETRY_EVERY_SECONDS)
