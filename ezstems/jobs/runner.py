"""One job from its claim to its finish: one `try` decides every outcome."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from ezstems.audio import clipping
from ezstems.audio.decode import SAMPLE_RATE_HZ
from ezstems.audio.separate import Separation
from ezstems.database import db
from ezstems.disk import is_full
from ezstems.errors import (
    BadInput,
    DamagedFile,
    DatabaseLost,
    DecodingFailed,
    EncodingFailed,
    Interrupted,
    SeparatorCrashed,
    UploadsAway,
)
from ezstems.jobs.archive import Archive
from ezstems.jobs.damage import require_upload
from ezstems.jobs.events import tell
from ezstems.jobs.suspect import Solo
from ezstems.jobs.watchdog import Watch
from ezstems.models import FAILED, Job

Result = TypeVar("Result")
log = logging.getLogger(__name__)

# Often enough to look live, rarely enough to cost nothing.
REPORT_EVERY_SECONDS = 0.5
# So long, and a tile, may a deleted job go on.
LOOK_EVERY_SECONDS = 0.25
INSIST_EVERY_SECONDS = 2.0
NO_ROOM = "The server's disk was full. Nothing is wrong with the file; upload it again later."
TOLD = (BadInput, DamagedFile, DecodingFailed, EncodingFailed, SeparatorCrashed)  # what is wrong is in their own words
BROKEN = "The separation failed on the server. Its operator finds the reason in the log under this job's id."


class Separating(Protocol):
    """Separate a file into a folder: the engine, or a test's stand-in."""

    def label(self) -> str: ...

    def prepare(self) -> None: ...

    def rest(self) -> None: ...

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
        self, app: Flask, owner: str, archive: Archive, separate: Separating, stopping: Callable[[], bool]
    ) -> None:
        self._app = app
        self._owner = owner
        self._archive = archive
        self._separate = separate
        self._solo = Solo(separate)
        self._stopping = stopping

    def __call__(self, number: int, watch: Watch | None = None) -> None:
        """Claim a job, separate it, settle it; return at once if somebody else has it."""
        watch = watch or Watch(number)
        with self._app.app_context():
            job = self._insist(watch, partial(db.session.get, Job, number))
            if job is None or not self._insist(watch, partial(Job.claim, number, self._owner)):
                return
            job_id, filename = job.id, job.filename
            started = time.monotonic()
            options: dict[str, Any] = {"stems": job.stems, "cutoff": job.cutoff, "output": job.output}
            unexpected: BaseException | None = None
            settle: Callable[[], bool]
            source_goes = False
            detail, fields = "", dict[str, Any]()
            try:
                alone = ", in a process of its own" if job.crashes else ""
                tell("started", job_id, f", {job.stems} stems, {job.cutoff}, {job.output}{alone}", **options)
                separation, result_bytes = self._run(job, watch)
            except Interrupted as error:
                outcome = "interrupted"
                detail = f": {error}" if isinstance(error, UploadsAway) else ""
                settle = partial(Job.interrupt, number, self._owner)
            except BaseException as error:  # also what a library calls an end of the program: it ends the job alone
                reason = _reason(error)
                unexpected = None if isinstance(error, BadInput) else error
                outcome, detail, fields = "failed", f": {reason}", {"reason": reason}
                settle = partial(Job.fail, number, self._owner, reason)
                # What the server itself broke its operator may mend, then retry; no second try helps the others.
                source_goes = isinstance(error, BadInput)
            else:
                model, samples = separation.model, separation.samples
                outcome, detail = "completed", f" with the model: {model},"
                fields = {"model": model, "audio_seconds": round(samples / SAMPLE_RATE_HZ, 3)}
                facts: dict[str, Any] = {"model": model, "samples": samples, "result_bytes": result_bytes}
                if clipped := separation.clipped:
                    detail += f" {clipping.in_words(clipped)} clipped,"
                    fields["clipped"] = clipped
                settle = partial(Job.complete, number, self._owner, clipped=clipped, **facts)
                source_goes = True
            taken = time.monotonic() - started
            if self._insist(watch, settle):
                if source_goes:
                    self._archive.remove_source(filename)
                level = logging.ERROR if unexpected else logging.INFO
                fields |= {"seconds": round(taken, 3)}
                tell(outcome, job_id, f"{detail} after {taken:.2f} s", level=level, error=unexpected, **fields)
            elif self._insist(watch, partial(Job.is_gone, number)):
                # What was packed after the account's call is its last trace. Where there is no row, the whole account
                # was deleted, or the database is an older one: the sweep puts it aside.
                if self._insist(watch, partial(Job.is_known, number)):
                    self._archive.remove(job_id, filename)
                tell("stopped", job_id, f", deleted while it ran, after {taken:.2f} s", seconds=round(taken, 3))
            elif watch.stalled:
                if self._insist(watch, partial(self._is_failed, number)):
                    self._archive.remove_result(job_id)  # where it was packed just then
                log.warning("job %s: ended, after it had failed, after %.2f s", job_id, taken, extra={"job_id": job_id})
            else:
                untold = "job %s: %s%s after %.2f s, which its row doesn't say"
                log.error(untold, job_id, outcome, detail, taken, exc_info=unexpected, extra={"job_id": job_id})

    def _run(self, job: Job, watch: Watch) -> tuple[Separation, int]:
        """Separate and pack; return with the separation the ZIP's size in bytes."""
        job_id, number = job.id, job.number
        separate = partial(self._solo, job_id=job_id) if job.crashes else self._separate
        reported, percent = time.monotonic(), 0

        def progress(value: float) -> None:
            nonlocal reported, percent
            watch.move()
            now = time.monotonic()
            if int(value) > percent and now - reported >= REPORT_EVERY_SECONDS:
                reported, percent = now, int(value)
                try:
                    Job.report(number, self._owner, percent)
                except DatabaseLost:  # who found it out has told
                    db.session.rollback()
                except SQLAlchemyError:  # only a number is lost
                    log.exception("job %s: its progress could not be stored", job_id, extra={"job_id": job_id})
                    db.session.rollback()

        looked = reported

        def stopping() -> bool:
            nonlocal looked
            now = time.monotonic()
            if now - looked < LOOK_EVERY_SECONDS:
                return watch.stalled or self._stopping()
            looked = now
            return watch.stalled or self._stopping() or self._is_gone(number)

        stems, cutoff, output = job.stems, job.cutoff, job.output
        source, size_bytes, sha256 = self._archive.source(job.filename), job.size_bytes, job.sha256
        db.session.rollback()  # nothing was changed: hand the connection back for as long as the separation takes
        with self._uploads_there():
            if not source.exists():
                self._archive.lost.take_back(source, size_bytes)
            require_upload(source, size_bytes, sha256)
        with self._uploads_there(), self._archive.workspace(job_id) as workspace:
            separation = separate(
                source,
                workspace,
                stems=stems,
                cutoff=cutoff,
                output=output,
                progress=progress,
                stopping=stopping,
            )
            if watch.stalled:  # and has failed
                raise Interrupted("stopped")
            comment = f"Separated by EzStems with the model: {separation.model}"
            if separation.clipped:
                comment += f"\n{clipping.advice(separation.clipped)}"
            result_bytes = self._archive.pack(job_id, separation.files, comment, separation.peaks, watch.move)
        return separation, result_bytes

    @contextmanager
    def _uploads_there(self) -> Iterator[None]:
        """Let a job wait for a disk that went away, in place of failing by that."""
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            if self._archive.has_uploads():
                raise
            raise UploadsAway("the uploads can't be reached, and it waits for them") from error

    def _is_gone(self, number: int) -> bool:
        try:
            return Job.is_gone(number)
        except DatabaseLost:  # who found it out has told
            return False
        except SQLAlchemyError:  # the job's end finds it out
            log.exception("job number %s: whether it was deleted could not be read", number)
            return False
        finally:
            db.session.rollback()

    def _is_failed(self, number: int) -> bool:
        job = db.session.get(Job, number, populate_existing=True)
        return job is not None and job.status == FAILED and job.owner == self._owner

    def _insist(self, watch: Watch, act: Callable[[], Result]) -> Result | None:
        # A job whose row can't be read or written now (a full disk) must be neither lost nor left as if it ran for
        # ever: keep trying until the worker stops; the row is adopted then.
        while True:
            try:
                return act()
            except (SQLAlchemyError, DatabaseLost) as error:
                watch.move()  # who waits for the database has not stalled
                if not isinstance(error, DatabaseLost):  # who found that out has told
                    log.exception("job number %s: the database failed; trying again", watch.number)
                db.session.rollback()
                if self._stopping():
                    return None
                time.sleep(INSIST_EVERY_SECONDS)


def _reason(error: BaseException) -> str:
    """Return what to tell the uploader; the log has the rest."""
    if is_full(error) or is_full(error.__cause__):
        return NO_ROOM
    return str(error) if isinstance(error, TOLD) else BROKEN
