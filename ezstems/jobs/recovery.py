"""Adopt the jobs of dead workers. A worker is alive while it locks a file: the kernel drops the lock with the process.

A missing file alone is no proof of death: somebody may have cleared the folder under a live worker, which makes its
file anew. A job that ran when its worker died may be why it died: it is adopted as a suspect.
"""

import fcntl
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import select

from ezstems.database import db
from ezstems.jobs.archive import Archive
from ezstems.jobs.events import record_event
from ezstems.models import COMPLETED, PROCESSING, QUEUED, Job

log = logging.getLogger(__name__)

LOCK = ".lock"
HELD, FREE, DOUBTFUL = "held", "free", "doubtful"  # doubtful: there is no file, or a copy in its place
# A live worker renews its file every round; in so many rounds, even a busy one has.
DOUBTFUL_ROUNDS = 10


class WorkerLock:
    """Hold a worker's lock from its start to its end, and find the workers whose lock nobody holds."""

    def __init__(self, instance: Path, owner: str) -> None:
        self._folder = instance / "workers"
        self._path = self._folder / f"{owner}{LOCK}"
        self.owner = owner
        self._descriptor: int | None = None
        self._foreign: set[str] = set()
        self._doubtful = Counter[str]()  # rounds in a row
        self._has_complained = False

    def acquire(self) -> None:
        """Lock a file under a hidden name, then rename it: a visible file is always locked."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        hidden = self._path.with_suffix(".new")
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.geteuid() == 0:  # a backup of root's; the server must be able to take the lock once it is free
                whose = self._folder.stat()
                with suppress(OSError):
                    os.fchown(descriptor, whose.st_uid, whose.st_gid)
            with suppress(OSError):  # a full disk must not keep finished jobs from being downloaded
                os.write(descriptor, _inode(descriptor))
            hidden.rename(self._path)
        except BaseException:
            os.close(descriptor)
            raise
        self.release()
        self._descriptor = descriptor

    def renew(self) -> None:
        """Make the lock anew where its file is gone or replaced, before others take this worker for dead."""
        if self._descriptor is None or self._is_in_place():
            return
        try:
            self.acquire()
        except OSError as error:
            if not self._has_complained:
                log.error("worker %s: its lock %s is gone and can't be made anew: %s", self.owner, self._path, error)
            self._has_complained = True
        else:
            self._has_complained = False
            log.error("worker %s: its lock %s was gone and is made anew; who deletes these?", self.owner, self._path)

    def _is_in_place(self) -> bool:
        assert self._descriptor is not None
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Drop the lock; the worker that finds the file free adopts the jobs."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        """Delete the file and drop the lock: nothing is left to adopt."""
        self._path.unlink(missing_ok=True)
        self.release()

    def dead_owners(self) -> Iterator[str]:
        """Yield the workers whose lock is free; each stays locked until the caller asks for the next."""
        owners = {path.stem for path in self._folder.glob(f"*{LOCK}")}
        owners.update(db.session.scalars(select(Job.owner).where(Job.status.in_((QUEUED, PROCESSING))).distinct()))
        doubtful = Counter[str]()
        for owner in sorted(owner for owner in owners if owner not in (None, self.owner)):
            with self._probe(owner) as state:
                if state == DOUBTFUL and self._can_be_made():
                    doubtful[owner] = self._doubtful[owner] + 1
                if state == FREE or doubtful[owner] > DOUBTFUL_ROUNDS:
                    yield owner
        self._doubtful = doubtful

    def _can_be_made(self) -> bool:
        """Tell whether a live worker could make its lock anew: on a full disk, it can't."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            probe = self._path.with_suffix(".probe")
            probe.touch(0o600)
            probe.unlink()
        except OSError:
            return False
        return True

    @contextmanager
    def _probe(self, owner: str) -> Iterator[str]:
        path = self._folder / f"{owner}{LOCK}"
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            yield DOUBTFUL
            return
        except PermissionError:
            if owner not in self._foreign:  # warn once, not every round
                self._foreign.add(owner)
                log.warning("%s belongs to another user; nothing is adopted from there", path)
            yield HELD
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield HELD
        else:
            yield DOUBTFUL if _is_copy(descriptor) else FREE
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _inode(descriptor: int) -> bytes:
    """Return the inode of a file, which is written into it: a copy has another."""
    return b"%d" % os.fstat(descriptor).st_ino


def _is_copy(descriptor: int) -> bool:
    """Tell whether a file is a copy of a lock; an empty one is a lock that was made on a full disk."""
    written = os.read(descriptor, 64)
    return written.isdigit() and written != _inode(descriptor)


def adopt(lock: WorkerLock, archive: Archive) -> None:
    """Adopt the unfinished jobs of dead workers, and those that an operator retries."""
    _adopt_from(None, lock.owner)
    for dead in lock.dead_owners():
        archive.remove_unfinished(dead)
        _adopt_from(dead, lock.owner)
        done = select(Job).where(Job.owner == dead, Job.status == COMPLETED, Job.expired_at.is_(None))
        done = done.where(~Job.keeps_upload)
        for job in db.session.scalars(done).all():
            archive.remove_source(job)  # it died between the job's end and this


def _adopt_from(dead: str | None, owner: str) -> None:
    theirs = Job.owner.is_(None) if dead is None else Job.owner == dead
    unfinished = select(Job.number).where(theirs, Job.status.in_((QUEUED, PROCESSING)))
    for number in db.session.scalars(unfinished.order_by(Job.number)).all():
        if Job.adopt(number, dead, owner):
            job = db.session.get_one(Job, number)
            record_event("adopted", job.id, f", {job.status}", level=logging.WARNING, crashes=job.crashes)
