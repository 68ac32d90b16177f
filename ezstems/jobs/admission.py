"""Admission: whether account and box can take another job, and how an upload becomes a durable one."""

import logging
import secrets
import time
from collections.abc import Callable

from flask import Flask
from sqlalchemy.exc import IntegrityError

from ezstems import database, disk
from ezstems.database import db
from ezstems.database_server import is_away
from ezstems.errors import ServerFull, TooManyJobs, Unauthenticated
from ezstems.jobs.archive import Archive
from ezstems.models import Job, User, free_second

log = logging.getLogger(__name__)

# Each failed one means that another upload of the same moment won.
ID_ATTEMPTS = 1000
AWAY = "uploads or results are not there, or read-only, or not on the disk of their own on which they were"


class Admission:
    """Admit jobs within the bounds of account, queue and disk."""

    def __init__(self, app: Flask, archive: Archive, is_full: Callable[[], bool]) -> None:
        self._app = app
        self._archive = archive
        self._is_full = is_full
        self._obstacle: str | None = None

    def require_account_room(self, user_id: int, jobs: int) -> None:
        """Raise TooManyJobs when that many unfinished jobs are more than an account may have."""
        most = self._app.config["EZSTEMS_ACCOUNT_JOBS"]
        if jobs > most:
            log.warning("refused: account %s has %s unfinished jobs already", user_id, most)
            raise TooManyJobs(
                f"The account may have {most} unfinished jobs at a time, and has. Try again when one has finished."
            )

    def require_room(self, expected_bytes: int = 0) -> None:
        """Raise ServerFull when the queue or the disk can't take another job, or the database holds none."""
        self._app.extensions[database.WATCH].require()
        if self._is_full():
            raise ServerFull("The queue is full. Try again later.")
        if not self._archive.writable():
            log.error("refused: %s", AWAY)
            raise disk.unwritable_error()
        if not self.has_room(expected_bytes):
            raise disk.full_error()

    def may_begin(self) -> bool:
        """Tell whether a job may begin: while the disk is full, or away, accepted jobs wait."""
        if self._app.extensions[database.WATCH].is_lost():
            return False
        before, self._obstacle = self._obstacle, None
        if not self._archive.writable():
            self._obstacle = AWAY
        elif not self.has_room():
            self._obstacle = "the disk is full"
        if self._obstacle is not None and self._obstacle != before:
            log.warning("%s; the jobs that wait go on waiting", self._obstacle)
        elif before is not None and self._obstacle is None:
            log.info("the disk has room again; the jobs go on")
        return self._obstacle is None

    def has_room(self, expected_bytes: int = 0) -> bool:
        """Tell whether the disk has room for so many bytes beside EZSTEMS_MIN_FREE_MB."""
        return self._archive.free_bytes() >= expected_bytes + (self._app.config["EZSTEMS_MIN_FREE_MB"] << 20)

    def store(
        self, place: Callable[[str], None], job: Job, extension: str, keep: Callable[[Job], None]
    ) -> None:
        """Store a job's row and upload under a new id: both are durable when this returns, or neither is there.

        `keep` may store more in the same transaction, and `place` puts the upload under the name that it gets.
        """
        second = max(0, int(time.time()))  # an id has no sign
        for attempt in range(ID_ATTEMPTS):
            if not User.lock(job.user_id):
                db.session.rollback()
                raise Unauthenticated("The account was deleted.")
            job.second = second = free_second(job.stems, second)
            job.id = f"{second}_{job.stems}"
            job.filename = f"{job.id}_{secrets.randbelow(100_000):05d}.{extension}"
            db.session.add(job)
            try:
                db.session.flush()
                break
            except IntegrityError:
                # Another upload took the id between the look and the insert.
                db.session.rollback()
                if db.session.get(User, job.user_id) is None:
                    raise Unauthenticated("The account was deleted.") from None
                if attempt == ID_ATTEMPTS - 1:
                    raise
        try:
            # Exact in every process: the account is locked, in SQLite by the insert, so its uploads count one after
            # the other.
            self.require_account_room(job.user_id, Job.unfinished(job.user_id))
            keep(job)
            place(job.filename)
            db.session.commit()
        except BaseException as error:
            filename = job.filename
            db.session.rollback()
            # A server that went away may have committed before: then the job runs, and else the sweep takes the file.
            if not is_away(error):
                self._archive.remove_source(filename)
            raise
