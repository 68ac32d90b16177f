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
from ezstems.jobs.new_upload import NewUpload
from ezstems.models import Job, User, free_second

log = logging.getLogger(__name__)

# Each failed one means that another upload of the same moment won.
ID_ATTEMPTS = 1000


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
        if obstacle := self._archive.obstacle():
            log.error("refused: %s", obstacle)
            raise self._archive.away_error()
        if not self.has_room(expected_bytes):
            raise disk.full_error()

    def may_begin(self) -> bool:
        """Tell whether a job may begin: while the disk is full, or away, accepted jobs wait."""
        if self._app.extensions[database.WATCH].is_lost():
            return False
        before = self._obstacle
        self._obstacle = self._archive.obstacle() or (None if self.has_room() else "the disk is full")
        if self._obstacle is not None and self._obstacle != before:
            log.warning("%s; the jobs that wait go on waiting", self._obstacle)
        elif before is not None and self._obstacle is None:
            log.info("there is room again; the jobs go on")
        return self._obstacle is None

    def has_room(self, expected_bytes: int = 0) -> bool:
        """Tell whether the disk has room for so many bytes beside EZSTEMS_MIN_FREE_MB."""
        return self._archive.free_bytes() >= expected_bytes + (self._app.config["EZSTEMS_MIN_FREE_MB"] << 20)

    def store(self, upload: NewUpload, job: Job, extension: str, keep: Callable[[Job], None]) -> None:
        """Store a job's row and upload under a new id: both are durable when this returns, or neither is there.

        `keep` may store more in the same transaction.
        """
        db.session.commit()  # no transaction, nor connection, is held while an upload goes to where it stays
        job.upload_key = key = upload.hand_in(extension)
        try:
            self._store_row(upload, job, extension, keep)
        except BaseException as error:
            db.session.rollback()
            # Whether a commit that a lost connection cut off counts, nobody knows: then the sweep decides by the row.
            if not is_away(error):
                self._archive.withdraw(key)
            raise

    def _store_row(self, upload: NewUpload, job: Job, extension: str, keep: Callable[[Job], None]) -> None:
        """Store the row, and give a file its name."""
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
            upload.place(job)
            db.session.commit()
        except BaseException as error:
            files = job.files()
            db.session.rollback()
            if not is_away(error):
                self._archive.remove_source(files)
            raise
