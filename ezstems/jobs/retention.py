"""What must go: expired results, what an account deletes, and, much later, files that no row names."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from ezstems import disk
from ezstems.database import db
from ezstems.jobs.archive import Archive
from ezstems.jobs.clock import SLACK, Clock, Moment
from ezstems.jobs.events import tell
from ezstems.jobs.lost import LostFile
from ezstems.models import Job

log = logging.getLogger(__name__)

# A file gets its final name just before its row is committed; an hour is far longer than that takes.
ORPHAN_AGE_SECONDS = 3600.0
# What ended so much later than now ended by a clock that went back since.
AHEAD = timedelta(minutes=1)


def sweep(archive: Archive, retention_hours: float, clock: Clock | None = None, *, believe: bool = False) -> int:
    """Expire finished jobs past their retention and delete their files; return how many there were.

    What no row names is put aside, and deleted when it was lost for as long.
    """
    clock, retention = clock or Clock(), timedelta(hours=retention_hours)
    moment = clock.look(retention, partial(_is_at_stake, archive), believe=believe)
    with _unless_full():
        # First that the clock went back, then how the rows follow it: the other way round, after a crash between both
        # and by a clock that is right again, they would look old.
        if clock.note(moment):
            _date(archive, moment.wall + AHEAD, datetime.max, moment.wall)
    if moment.is_doubted:
        # These ended by the doubted clock. Where it jumped again, or was doubted over many starts, nobody knows when.
        with _unless_full():
            _date(archive, moment.trusted + min(SLACK, retention), moment.wall - retention, moment.trusted)
    take_back(archive)
    expired, over = 0, moment.trusted - retention
    for job in db.session.scalars(Job.kept().where(Job.finished_at <= over)).all():
        job_id = job.id
        if let_go(archive, job, Job.expire):
            tell("expired", job_id)
            expired += 1
    for file in archive.lost.files():
        if file.since <= over:
            archive.lost.delete(file)
    _put_aside(archive, moment)
    return expired


def take_back(archive: Archive) -> None:
    """Put back what was lost and is named by a row again, as by that of the right database."""
    lost = defaultdict[Path, list[LostFile]](list)
    for file in archive.lost.files():
        lost[file.home].append(file)
    for home, candidates in lost.items():
        job = db.session.scalar(select(Job).where(Job.id == archive.job_id(home), Job.expired_at.is_(None)))
        files = archive.files_of(job) if job is not None else {}
        if home in files:
            archive.lost.take_back(home, files[home], candidates)


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


def _is_at_stake(archive: Archive, until: datetime) -> bool:
    """Tell whether something is kept that was finished or lost up to a time."""
    ended = Job.kept().with_only_columns(Job.number).where(Job.finished_at <= until).limit(1)
    return db.session.scalar(ended) is not None or any(file.since <= until for file in archive.lost.files())


def _put_aside(archive: Archive, moment: Moment) -> None:
    for path in archive.finished((moment.wall, moment.trusted), timedelta(seconds=ORPHAN_AGE_SECONDS)):
        # By its id, which has an index: looked for by name, a thousand files would read a hundred million rows.
        job_id = archive.job_id(path)
        job = db.session.execute(select(Job.filename, Job.expired_at).where(Job.id == job_id)).one_or_none()
        if job is None or path not in (archive.source(job.filename), archive.result(job_id), archive.peaks(job_id)):
            archive.lost.put(path, moment.wall)
        elif job.expired_at is not None:
            log.warning("removed %s, whose job expired or was deleted", path.name)
            path.unlink(missing_ok=True)


def _date(archive: Archive, after: datetime, until: datetime, now: datetime) -> None:
    """Let what is kept, and was finished or lost between two times, count as finished or lost now."""
    Job.date(after, until, now)
    for file in archive.lost.files():
        if after < file.since <= until:
            archive.lost.date(file, now)


@contextmanager
def _unless_full() -> Iterator[None]:
    """Go on where the disk has no room even for a row: what is deleted makes some."""
    try:
        yield
    except OperationalError as error:
        if not disk.is_full(error):
            raise
        db.session.rollback()
        log.warning("the disk is full, and the time could not be noted")
