"""What must go: expired results, what an account deletes, and files that no row speaks of."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import exists, select
from sqlalchemy.exc import OperationalError

from ezstems import disk
from ezstems.database import db
from ezstems.jobs.archive import Archive
from ezstems.jobs.events import tell
from ezstems.models import COMPLETED, FAILED, Job, utcnow

log = logging.getLogger(__name__)

# A file gets its final name just before its row is committed; an hour is far longer than that takes.
ORPHAN_AGE_SECONDS = 3600.0


def sweep(archive: Archive, retention_hours: float) -> int:
    """Expire finished jobs past their retention and delete their files; return how many there were."""
    due = select(Job).where(
        Job.status.in_((COMPLETED, FAILED)),
        Job.expired_at.is_(None),
        Job.finished_at <= utcnow() - timedelta(hours=retention_hours),
    )
    expired = 0
    for job in db.session.scalars(due).all():
        job_id = job.id
        if let_go(archive, job, Job.expire):
            tell("expired", job_id)
            expired += 1
    _remove_orphans(archive)
    return expired


def let_go(archive: Archive, job: Job, note: Callable[[int], bool]) -> bool:
    """Note in a job's row that its files go, then delete them; False, and nothing deleted, when they went before."""
    number, job_id, filename = job.number, job.id, job.filename
    # The row first: a client must never be sent to a file that is going.
    try:
        noted = note(number)
    except OperationalError as error:
        if not disk.is_full(error):
            raise
        # Except where the disk has no room even for that: these files are what fills it.
        db.session.rollback()
        archive.remove(job_id, filename)
        noted = note(number)
    if noted:
        archive.remove(job_id, filename)
    return noted


def _remove_orphans(archive: Archive) -> None:
    for path in archive.finished(older_than=time.time() - ORPHAN_AGE_SECONDS):
        # By its id, which has an index: looked for by name, a thousand files would read a hundred million rows.
        known = exists().where(Job.id == archive.job_id(path), Job.expired_at.is_(None))
        if not db.session.scalar(select(known)):
            log.warning("removed %s, which no job speaks of", path.name)
            path.unlink(missing_ok=True)
