"""Jobs: separations from upload to expiry, whose transitions are conditional UPDATEs."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Select,
    UniqueConstraint,
    case,
    func,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ezstems.database import db, skip_fsync_once
from ezstems.models.files import FileNames
from ezstems.models.instance import Instance
from ezstems.models.rows import update_one, utcnow
from ezstems.models.user import User

QUEUED, PROCESSING, COMPLETED, FAILED = STATES = ("queued", "processing", "completed", "failed")
CRASHED = (
    "The server went down while it separated this file. Tried again in a process of its own, which died as well, "
    "the file has probably crashed the separator."
)
STALLED = (
    "The separation made no progress on the server and was ended. "
    "Its operator finds more in the log under this job's id."
)
DELETED = "Deleted before it was finished."


class Job(db.Model):  # type: ignore[name-defined]
    """Hold one separation from upload to expiry; `number` is the order in which jobs run."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("second", "stems"),
        CheckConstraint(f"status IN {STATES}", name="status"),
        Index("ix_jobs_owner_status_number", "owner", "status", "number"),
        Index("ix_jobs_status_user_id", "status", "user_id"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    second: Mapped[int] = mapped_column(BigInteger)
    stems: Mapped[int]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    cutoff: Mapped[str]
    output: Mapped[str]
    original_name: Mapped[str]
    filename: Mapped[str]
    upload_key: Mapped[str | None] = mapped_column(index=True)  # of the upload, where an object store keeps it
    size_bytes: Mapped[int]
    sha256: Mapped[str | None]  # of the upload, taken while it came in; older jobs have none
    status: Mapped[str] = mapped_column(default=QUEUED)
    owner: Mapped[str | None]
    progress: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)  # how often a process died while it ran: not 0, it is a suspect
    error: Mapped[str | None]
    model: Mapped[str | None]
    samples: Mapped[int | None]
    result_bytes: Mapped[int | None] = mapped_column(BigInteger)  # of the ZIP; older jobs have none
    clipped: Mapped[str | None]  # samples a stem over full scale, as a JSON object; None where there are none
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()

    def files(self) -> FileNames:
        """Return what names the files, to keep while the row changes or goes."""
        return FileNames(self.id, self.filename, self.upload_key, self.owner)

    @property
    def clipped_samples(self) -> dict[str, int]:
        """Return how many samples were clipped, by stem; stems without any are left out."""
        return json.loads(self.clipped or "{}")

    @classmethod
    def free_second(cls, stems: int, second: int) -> int:
        """Return the first second from the given one on whose id of that many stems is free."""
        taken = db.session.scalars(
            select(cls.second).where(cls.stems == stems, cls.second >= second).order_by(cls.second)
        )
        for other in taken:
            if other != second:
                break
            second += 1
        return second

    @classmethod
    def waiting(cls, owner: str) -> Sequence[int]:
        """Return the numbers of an owner's queued jobs, in their order."""
        return db.session.scalars(
            select(cls.number).where(cls.owner == owner, cls.status == QUEUED).order_by(cls.number)
        ).all()

    @classmethod
    def unfinished(cls, user_id: int) -> int:
        """Count the jobs of an account that wait or run."""
        unfinished = select(func.count()).where(cls.user_id == user_id, cls.status.in_((QUEUED, PROCESSING)))
        return db.session.scalars(unfinished).one()

    @classmethod
    def unfinished_by_status(cls) -> dict[str, int]:
        """Count everybody's jobs that wait, and those that run."""
        counts = select(cls.status, func.count()).where(cls.status.in_((QUEUED, PROCESSING))).group_by(cls.status)
        return {QUEUED: 0, PROCESSING: 0} | dict(db.session.execute(counts).tuples().all())

    @classmethod
    def is_gone(cls, number: int) -> bool:
        """Tell whether a job, or its account, was deleted, or the job has expired."""
        return db.session.scalar(select(cls.number).where(cls.number == number, cls.expired_at.is_(None))) is None

    @classmethod
    def positions(cls, numbers: Collection[int]) -> dict[int, int]:
        """Return the positions of queued jobs, each among its owner's rows; 1 is the next to run."""
        position = func.row_number().over(partition_by=cls.owner, order_by=cls.number)
        queued = select(cls.number, position.label("position")).where(cls.status == QUEUED).subquery()
        asked = select(queued).where(queued.c.number.in_(numbers))
        return {row.number: row.position for row in db.session.execute(asked)}

    @classmethod
    def last_created_at(cls) -> datetime | None:
        """Return when the last upload was made."""
        return db.session.scalar(select(cls.created_at).order_by(cls.number.desc()).limit(1))

    @classmethod
    def _is_kept(cls) -> tuple[ColumnElement[bool], ...]:
        """Return the conditions that a job has ended and its files are kept."""
        return cls.status.in_((COMPLETED, FAILED)), cls.expired_at.is_(None)

    @classmethod
    def kept(cls) -> Select[tuple["Job"]]:
        """Select the jobs that have ended and whose files are kept."""
        return select(cls).where(*cls._is_kept())

    @classmethod
    def redate(cls, after: datetime, until: datetime, now: datetime) -> None:
        """Set the end of the kept jobs that ended between two times to now."""
        between = cls.finished_at > after, cls.finished_at <= until
        db.session.execute(update(cls).where(*cls._is_kept(), *between).values(finished_at=now))
        db.session.commit()

    @classmethod
    def update_if(cls, number: int, *conditions: Any, **values: Any) -> bool:
        """Update one row if it meets the conditions, commit, and tell whether it did."""
        return update_one(update(cls).where(cls.number == number, *conditions).values(**values))

    @classmethod
    def claim(cls, number: int, owner: str) -> bool:
        """Move queued → processing."""
        return cls.update_if(
            number, cls.status == QUEUED, cls.owner == owner, status=PROCESSING, progress=0, started_at=utcnow()
        )

    @classmethod
    def report(cls, number: int, owner: str, progress: int) -> bool:
        """Store how far a running separation is, in percent."""
        skip_fsync_once()  # nobody misses the number after a power cut
        return cls.update_if(number, cls.status == PROCESSING, cls.owner == owner, progress=progress)

    @classmethod
    def complete(cls, number: int, owner: str, *, clipped: Mapping[str, int], **facts: Any) -> bool:
        """Move processing → completed, with what is known of the result."""
        values = {"status": COMPLETED, "progress": 100, "finished_at": _ended_at()} | facts
        values["clipped"] = json.dumps(clipped) if clipped else None
        return cls.update_if(number, cls.status == PROCESSING, cls.owner == owner, **values)

    @classmethod
    def fail(cls, number: int, owner: str, error: str) -> bool:
        """Move processing → failed."""
        return cls.update_if(
            number, cls.status == PROCESSING, cls.owner == owner, status=FAILED, error=error, finished_at=_ended_at()
        )

    @classmethod
    def interrupt(cls, number: int, owner: str) -> bool:
        """Move processing → queued after an orderly stop, to the place that the number gives it."""
        return cls.update_if(number, cls.status == PROCESSING, cls.owner == owner, status=QUEUED, progress=0, crashes=0)

    @classmethod
    def adopt(cls, number: int, dead: str | None, owner: str) -> bool:
        """Give a dead owner's job another one: queued stays queued; processing → queued, as a suspect."""
        theirs = cls.owner == dead if dead is not None else cls.owner.is_(None)
        return cls.update_if(
            number,
            theirs,
            cls.status.in_((QUEUED, PROCESSING)),
            owner=owner,
            progress=0,
            crashes=case((cls.status == PROCESSING, cls.crashes + 1), else_=cls.crashes),
            status=QUEUED,
        )

    @classmethod
    def retry(cls, number: int) -> bool:
        """Move failed → queued, for any live worker to adopt."""
        unfinished = {"error": None, "crashes": 0, "progress": 0, "started_at": None, "finished_at": None}
        return cls.update_if(
            number, cls.status == FAILED, cls.expired_at.is_(None), status=QUEUED, owner=None, **unfinished
        )

    @classmethod
    def expire(cls, number: int) -> bool:
        """Mark a job that has ended as expired: its files go."""
        return cls.update_if(number, *cls._is_kept(), expired_at=utcnow())

    @classmethod
    def delete(cls, number: int) -> bool:
        """Mark a job as deleted: its files go, and one that hasn't ended has failed by that."""
        unfinished, now = cls.status.in_((QUEUED, PROCESSING)), utcnow()
        return cls.update_if(
            number,
            cls.expired_at.is_(None),
            status=case((unfinished, FAILED), else_=cls.status),
            error=case((unfinished, DELETED), else_=cls.error),
            finished_at=case((unfinished, now), else_=cls.finished_at),
            expired_at=now,
        )


def _ended_at() -> datetime:
    """Return when a job ends now: not before the last trusted time, lest it expires when a clock is right again."""
    now = utcnow()
    return max(now, Instance.trusted_time() or now)
