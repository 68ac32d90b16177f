"""Who lives and who doesn't: a worker's life is a lock on a file, which the kernel drops however the process ends.

A job that ran when its worker died may be why it died, unless the whole machine went down: then it is nobody's fault.
It runs alone the next time, so that whoever takes the process down again is known, and fails.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from ezstems.database import db
from ezstems.jobs.archive import Archive
from ezstems.jobs.events import tell
from ezstems.models import COMPLETED, FAILED, PROCESSING, QUEUED, Job

log = logging.getLogger(__name__)

LOCK = ".lock"
# Another one after each boot of the machine.
BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Dead:
    """Name a dead worker, and tell whether one of its own jobs may have killed it."""

    owner: str
    by_its_jobs: bool


class Life:
    """Hold a worker's lock from its start to its end."""

    def __init__(self, instance: Path, owner: str) -> None:
        self._folder = instance / "workers"
        self._owner = owner
        self._descriptor: int | None = None
        self._closed_to_us: set[str] = set()

    def begin(self) -> None:
        """Take the lock under a name nobody looks at, then show it: a visible lock is always held."""
        self._folder.mkdir(parents=True, exist_ok=True)
        hidden = self._folder / f"{self._owner}.new"
        self._descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        if os.geteuid() == 0:  # a command of the operator's; the server must be able to take the lock when it is free
            whose = self._folder.stat()
            with suppress(OSError):
                os.fchown(self._descriptor, whose.st_uid, whose.st_gid)
        with suppress(OSError):  # a full disk must not keep finished jobs from being downloaded
            os.write(self._descriptor, _boot())
            os.fsync(self._descriptor)
        hidden.rename(self._folder / f"{self._owner}{LOCK}")

    def end(self) -> None:
        """Drop the lock; whoever finds the file free adopts what is left."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def vanish(self) -> None:
        """Drop the lock and its file: nothing is left to adopt."""
        (self._folder / f"{self._owner}{LOCK}").unlink(missing_ok=True)
        self.end()

    def dead(self) -> Iterator[Dead]:
        """Yield the workers whose lock is free; each stays locked while the caller deals with it."""
        owners = {path.stem for path in self._folder.glob(f"*{LOCK}")}
        owners.update(db.session.scalars(select(Job.owner).where(Job.status.in_((QUEUED, PROCESSING))).distinct()))
        for owner in sorted(owner for owner in owners if owner not in (None, self._owner)):
            with self._free(owner) as dead:
                if dead is not None:
                    yield dead

    @contextmanager
    def _free(self, owner: str) -> Iterator[Dead | None]:
        path = self._folder / f"{owner}{LOCK}"
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            yield Dead(owner, by_its_jobs=True)  # the more careful guess
            return
        except PermissionError:
            if owner not in self._closed_to_us:  # once: this is looked at every few seconds
                self._closed_to_us.add(owner)
                log.warning("%s belongs to another user; nothing is adopted from there", path)
            yield None
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield Dead(owner, by_its_jobs=os.read(descriptor, 64) == _boot())
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _boot() -> bytes:
    return BOOT.read_bytes() if BOOT.exists() else b"the only one"


def adopt(life: Life, owner: str, archive: Archive) -> None:
    """Take over the unfinished jobs of dead workers, and those that an operator set back."""
    _adopt_from(None, owner, archive)
    for dead in life.dead():
        archive.clean(dead.owner)
        _adopt_from(dead, owner, archive)
        done = select(Job.filename).where(
            Job.owner == dead.owner, Job.status == COMPLETED, Job.expired_at.is_(None)
        )
        for filename in db.session.scalars(done).all():
            archive.remove_source(filename)  # it died between the job's end and this


def _adopt_from(dead: Dead | None, owner: str, archive: Archive) -> None:
    before = None if dead is None else dead.owner
    unfinished = select(Job.number).where(Job.owner == before, Job.status.in_((QUEUED, PROCESSING)))
    for number in db.session.scalars(unfinished.order_by(Job.number)).all():
        if Job.adopt(number, before, owner, crash=dead is not None and dead.by_its_jobs):
            job = db.session.get_one(Job, number)
            if job.status == FAILED:
                tell("failed", job.id, f": {job.error}", level=logging.WARNING, reason=job.error)
            else:
                tell("adopted", job.id, f", {job.status}", level=logging.WARNING, crashes=job.crashes)
