"""Who lives and who doesn't: a worker's life is a lock on a file, which the kernel drops however the process ends."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from ezstems.database import db
from ezstems.jobs.archive import Archive
from ezstems.models import PROCESSING, QUEUED, Job

log = logging.getLogger(__name__)

LOCK = ".lock"


class Life:
    """Hold a worker's lock from its start to its end."""

    def __init__(self, instance: Path, owner: str) -> None:
        self._folder = instance / "workers"
        self._owner = owner
        self._descriptor: int | None = None

    def begin(self) -> None:
        """Take the lock under a name nobody looks at, then show it: a visible lock is always held."""
        self._folder.mkdir(parents=True, exist_ok=True)
        hidden = self._folder / f"{self._owner}.new"
        self._descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        hidden.rename(self._folder / f"{self._owner}{LOCK}")

    def end(self) -> None:
        """Drop the lock; whoever finds the file free adopts what is left."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def dead(self) -> Iterator[str]:
        """Yield the ids of workers whose lock is free; each stays locked while the caller deals with it."""
        owners = {path.stem for path in self._folder.glob(f"*{LOCK}")}
        owners.update(db.session.scalars(select(Job.owner).where(Job.status.in_((QUEUED, PROCESSING))).distinct()))
        for owner in sorted(owner for owner in owners if owner not in (None, self._owner)):
            with self._free(owner) as free:
                if free:
                    yield owner

    @contextmanager
    def _free(self, owner: str) -> Iterator[bool]:
        path = self._folder / f"{owner}{LOCK}"
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            yield True
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def adopt(life: Life, owner: str, archive: Archive) -> None:
    """Take over the unfinished jobs of dead workers, and those that an operator set back."""
    _adopt_from(None, owner)
    for dead in life.dead():
        archive.clean(dead)
        _adopt_from(dead, owner)


def _adopt_from(dead: str | None, owner: str) -> None:
    theirs = Job.owner == dead if dead is not None else Job.owner.is_(None)
    unfinished = select(Job.number).where(theirs, Job.status.in_((QUEUED, PROCESSING))).order_by(Job.number)
    for number in db.session.scalars(unfinished).all():
        if Job.adopt(number, dead, owner):
            job = db.session.get_one(Job, number)
            log.warning("job %s: adopted, %s", job.id, job.status)
