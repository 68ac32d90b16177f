"""Retention: expire results, delete what an account deletes and, much later, files that no row names."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import InstrumentedAttribute

from ezstems import disk
from ezstems.database import db
from ezstems.errors import StorageAway
from ezstems.jobs import turn
from ezstems.jobs.archive import Archive, LostFile, Place, row_condition
from ezstems.jobs.clock import SLACK, Moment, TrustedClock
from ezstems.jobs.events import record_event
from ezstems.models import COMPLETED, Delivery, IdempotencyKey, Instance, Job, shared_now

log = logging.getLogger(__name__)

SWEEP_EVERY_SECONDS = 600.0
# So soon it shows that what was missing is back.
SWEEP_DAMAGED_EVERY_SECONDS = 60.0
# A file gets its final name just before its row is committed; an hour is far longer than that takes.
ORPHAN_AGE_SECONDS = 3600.0
# What ended so much later than now ended by a clock that went back since.
AHEAD = timedelta(minutes=1)
# Whose rows are asked for in one query.
FILES_AT_ONCE = 500


class Sweeper:
    """Sweep for one process every few minutes, and look whether what is kept is still whole."""

    def __init__(self, archive: Archive, retention_hours: float) -> None:
        self._archive = archive
        self._retention_hours = retention_hours
        self._clock = trusted_clock(archive)
        self._swept_seconds = float("-inf")
        self._damaged: frozenset[tuple[str, str]] = frozenset()

    def sweep_when_due(self) -> None:
        """Sweep, unless that was done a while ago."""
        every_seconds = SWEEP_DAMAGED_EVERY_SECONDS if self._damaged else SWEEP_EVERY_SECONDS
        if time.monotonic() - self._swept_seconds < every_seconds:
            return
        self._swept_seconds = time.monotonic()
        try:
            with self._alone() as is_ours:
                if is_ours and not self._archive.belongs_to(Instance.ids()):
                    log.error("the files belong to another database now; nothing is swept")
                elif is_ours:
                    sweep(self._archive, self._retention_hours, self._clock)
                    self._damaged = self._find_damaged()
        except StorageAway:
            log.warning("the sweep stops, and waits for the storage")

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Tell whether this process is to sweep now; in what boxes share, one does it, every few minutes."""
        if not self._archive.is_shared or db.engine.dialect.name != "postgresql":
            yield True
            return
        with turn.turn(turn.SWEEP) as is_ours:
            last = Instance.trusted_time()
            ago_seconds = (shared_now() - last).total_seconds() if last else SWEEP_EVERY_SECONDS
            db.session.rollback()
            # The trusted time is noted by every sweep; a clock that went back is the sweep's own business.
            yield is_ours and not 0 <= ago_seconds < SWEEP_EVERY_SECONDS / 2

    def problems(self) -> list[str]:
        """Say what is wrong with what is kept."""
        counts = Counter(what for _, what in self._damaged)
        counted = [f"1 {what} is" if count == 1 else f"{count} {what}s are" for what, count in sorted(counts.items())]
        return [f"{are} damaged or missing on the server's disk; the log names the jobs." for are in counted]

    def _find_damaged(self) -> frozenset[tuple[str, str]]:
        """Return the ids of jobs with what of them isn't there, or whole; log what is newly so."""
        files = Job.id, Job.filename, Job.upload_key, Job.owner, Job.size_bytes, Job.result_bytes
        kept = Job.kept().with_only_columns(Job.number, Job.keeps_upload, *files).where(Job.status == COMPLETED)
        rows, damaged = db.session.execute(kept.execution_options(yield_per=1000)), set()
        for job, what, why in list(self._archive.damaged(rows)):
            if Job.is_gone(job.number):
                continue  # it expired, or was deleted, meanwhile
            damaged.add((job.id, what))
            if (job.id, what) not in self._damaged:
                log.error("job %s: its %s is damaged or lost: %s", job.id, what, why, extra={"job_id": job.id})
        return frozenset(damaged)


def trusted_clock(archive: Archive) -> TrustedClock:
    """Return a clock to sweep by: boxes that share their files share it, lest one whose own is wrong expires a song."""
    return TrustedClock(shared_now) if archive.is_shared else TrustedClock()


def sweep(archive: Archive, retention_hours: float, clock: TrustedClock | None = None, *, believe: bool = False) -> int:
    """Expire finished jobs past their retention and delete their files; return how many there were.

    What no row names is put aside, and deleted when it was lost for as long.
    """
    clock, retention = clock or trusted_clock(archive), timedelta(hours=retention_hours)
    moment = clock.read(retention, partial(_is_at_stake, archive), believe=believe)
    with _despite_a_full_disk():
        # First that the clock went back, then how the rows follow it: the other way round, after a crash between both
        # and by a clock that is right again, they would look old.
        if clock.store(moment):
            _redate(archive, moment.wall + AHEAD, datetime.max, moment.wall)
    if moment.is_doubted:
        # These ended by the doubted clock. Where it jumped again, or was doubted over many starts, nobody knows when.
        with _despite_a_full_disk():
            _redate(archive, moment.trusted + min(SLACK, retention), moment.wall - retention, moment.trusted)
    restore_lost_files(archive)
    expired, over = 0, moment.trusted - retention
    for job in db.session.scalars(Job.kept().where(Job.finished_at <= over)).all():
        job_id = job.id
        if expire_and_delete(archive, job, Job.expire):
            record_event("expired", job_id)
            expired += 1
    for file in archive.lost.files():
        if file.since <= over:
            archive.lost.delete(file)
    with _despite_a_full_disk():
        IdempotencyKey.prune(moment.trusted)
        Delivery.prune(over)
    _put_aside_unnamed(archive, moment)
    return expired


def restore_lost_files(archive: Archive) -> None:
    """Put back the lost files that a row names again, as when the right database is back."""
    lost = defaultdict[Place, list[LostFile]](list)
    for file in archive.lost.files():
        lost[file.home].append(file)
    for home, candidates in lost.items():
        job = db.session.scalar(select(Job).where(row_condition(archive, home), Job.expired_at.is_(None)))
        files = archive.needed_places(job) if job is not None else {}
        if home in files:
            archive.lost.take_back(home, files[home], candidates)


def expire_and_delete(archive: Archive, job: Job, note: Callable[[int], bool]) -> bool:
    """Note in a job's row that its files go, then delete them; return False where they were deleted before."""
    number, files = job.number, job.files()
    # The row first: a client must never be sent to a file that is going.
    try:
        noted = note(number)
    except OperationalError as error:
        if not disk.is_full(error):
            raise
        # Except where the disk has no room even for the row: these files are what fills it.
        db.session.rollback()
        archive.remove(files)
        noted = note(number)
    if noted:
        # By the row as it is now: whoever has run the job since names its result in a store.
        row = db.session.get(Job, number, populate_existing=True)
        archive.remove(files if row is None else row.files())
    return noted


def _is_at_stake(archive: Archive, until: datetime) -> bool:
    """Tell whether something is kept that was finished or lost up to a time."""
    ended = Job.kept().with_only_columns(Job.number).where(Job.finished_at <= until).limit(1)
    return db.session.scalar(ended) is not None or any(file.since <= until for file in archive.lost.files())


def _put_aside_unnamed(archive: Archive, moment: Moment) -> None:
    old = archive.finished_before((moment.wall, moment.trusted), timedelta(seconds=ORPHAN_AGE_SECONDS))
    while places := list(islice(old, FILES_AT_ONCE)):
        rows = _rows_of(archive, places)
        for place in places:
            job = rows.get(archive.row_key(place)[1])
            if job is None or place not in archive.places_of(job):
                archive.lost.put_aside(place, moment.wall)
            elif job.expired_at is not None:
                log.warning("removed %s, whose job expired or was deleted", place.name)
                archive.delete(place)


def _rows_of(archive: Archive, places: Iterable[Place]) -> dict[str, Row[Any]]:
    """Return what is known of the jobs that may name some files, by the values of their row keys."""
    values = defaultdict[InstrumentedAttribute[Any], set[str]](set)
    for column, value in map(archive.row_key, places):
        values[column].add(value)
    found = {}
    for column, wanted in values.items():
        rows = select(column.label("key"), Job.id, Job.filename, Job.upload_key, Job.owner, Job.expired_at)
        found.update({row.key: row for row in db.session.execute(rows.where(column.in_(wanted)))})
    return found


def _redate(archive: Archive, after: datetime, until: datetime, now: datetime) -> None:
    """Set the time of what was finished or lost between two times, and is kept, to now."""
    Job.redate(after, until, now)
    for file in archive.lost.files():
        if after < file.since <= until:
            archive.lost.set_since(file, now)


@contextmanager
def _despite_a_full_disk() -> Iterator[None]:
    """Go on where the disk has no room even for a row: what is deleted later makes some."""
    try:
        yield
    except OperationalError as error:
        if not disk.is_full(error):
            raise
        db.session.rollback()
        log.warning("the disk is full, and the time could not be noted")
