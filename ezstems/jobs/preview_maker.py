"""Make the previews of a process's finished jobs in the background, one at a time, and those that older ones lack."""

import fcntl
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ezstems.database import db
from ezstems.database_server import is_away
from ezstems.errors import DatabaseLost, EncodingFailed, Interrupted, StorageAway
from ezstems.jobs import preview_pack
from ezstems.jobs.archive import Archive
from ezstems.models import COMPLETED, Job

log = logging.getLogger(__name__)

LOCK = "previews.lock"  # one box makes those of one job at a time, whatever its processes
LOCK_EVERY_SECONDS = 0.2
# While no new job asks for previews, one older job after the other gets them.
IDLE_SECONDS = 5.0
MOST_OLDER_JOBS = 500  # that are looked at, the newest first


def newest_completed() -> Sequence[int]:
    """Return the numbers of the jobs that may have previews, the newest first, by an index of what is kept alone."""
    # Completed jobs alone have a length, but for the oldest, of which nobody noted it.
    can_have = Job.expired_at.is_(None), Job.finished_at.is_not(None), Job.samples.is_not(None)
    newest = Job.finished_at.desc(), Job.number.desc()
    return db.session.scalars(select(Job.number).where(*can_have).order_by(*newest).limit(MOST_OLDER_JOBS)).all()


class PreviewMaker:
    """Make previews in a thread; a failure is logged, and costs the song nothing."""

    def __init__(
        self, app: Flask, archive: Archive, may_begin: Callable[[], bool], stopping: Callable[[], bool]
    ) -> None:
        self._app, self._archive = app, archive
        self._may_begin, self._stopping = may_begin, stopping
        self._is_on = app.config["EZSTEMS_PREVIEWS"] == "on"
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._tried: set[int] = set()  # by this process: none is tried twice

    def start(self) -> None:
        """Start the thread, where previews are to be made."""
        if self._is_on:
            threading.Thread(target=self._run, name="previews", daemon=True).start()

    def add(self, number: int) -> None:
        """Let a job that was just completed have its previews next."""
        if self._is_on:
            self._waiting.put(number)

    def _run(self) -> None:
        while not self._stopping():
            try:
                if (number := self._next()) is not None:
                    self.make(number)
            except Exception as error:
                if not (isinstance(error, DatabaseLost | StorageAway) or is_away(error)):
                    log.exception("previews could not be looked for; they will be again")
                time.sleep(LOCK_EVERY_SECONDS)

    def _next(self) -> int | None:
        """Return the job that has waited longest, where none comes the newest one that lacks previews."""
        deadline = time.monotonic() + IDLE_SECONDS
        while not self._stopping() and time.monotonic() < deadline:
            try:
                return self._waiting.get(timeout=LOCK_EVERY_SECONDS)
            except queue.Empty:
                continue
        return None if self._stopping() else self.newest_without()

    def newest_without(self) -> int | None:
        """Return the newest completed job that was not tried here and lacks previews."""
        with self._app.app_context():
            numbers = newest_completed()
            self._tried.intersection_update(numbers)  # nothing else is asked for
            for number in numbers:
                if number not in self._tried:
                    job = db.session.get(Job, number)
                    if job is not None and not self._has_previews(job):
                        return number
                    self._tried.add(number)
        return None

    def make(self, number: int) -> None:
        """Make a job's previews, unless it has them, or is gone."""
        if not self._may_begin():  # a full disk: it is found again
            return
        with self._locked() as is_ours, self._app.app_context():
            job = db.session.get(Job, number) if is_ours else None
            if job is None or job.status != COMPLETED or job.expired_at is not None:
                return
            db.session.expunge(job)
            db.session.rollback()  # no connection is held while it works
            if self._has_previews(job):
                return
            self._tried.add(number)
            try:
                self._make(job)
            except (Interrupted, StorageAway):
                self._tried.discard(number)
            except Exception as error:
                if Job.is_gone(number):  # its files went while they were read
                    return
                known = isinstance(error, OSError | EncodingFailed)
                log.warning("job %s: it gets no previews: %s", job.id, error, exc_info=not known,
                            extra={"job_id": job.id})  # fmt: skip

    def _make(self, job: Job) -> None:
        started = time.monotonic()
        with self._archive.previews.workspace(job) as folder:
            try:
                made = preview_pack.pack(self._archive, job, folder, lambda: self._is_over(job))
            except EncodingFailed as error:
                log.warning("job %s: no previews can be made of it: %s", job.id, error, extra={"job_id": job.id})
                made = preview_pack.pack_nothing(folder)
            size_bytes = made.stat().st_size
            self._archive.previews.keep(job, made)
        if Job.is_gone(job.number):  # whoever deleted it may have looked before they were there
            self._archive.previews.remove(job)
            return
        seconds = time.monotonic() - started
        log.info("job %s: previews of %s bytes after %.2f s", job.id, size_bytes, seconds, extra={"job_id": job.id})

    def _is_over(self, job: Job) -> bool:
        """Tell whether to stop: the process ends, or the job was deleted."""
        if self._stopping():
            return True
        try:
            return Job.is_gone(job.number)
        except (SQLAlchemyError, DatabaseLost):
            return False
        finally:
            db.session.rollback()

    def _has_previews(self, job: Job) -> bool:
        try:
            self._archive.previews.open(job).close()
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Wait until no other process of this box makes previews; tell whether it is our turn, or the end."""
        with (Path(self._app.instance_path) / LOCK).open("a") as file:
            while not self._stopping():
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(LOCK_EVERY_SECONDS)
                    continue
                yield True
                return
            yield False
