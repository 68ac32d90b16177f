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
    Integer,
    Select,
    UniqueConstraint,
    case,
    func,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ezstems.database import db, skip_fsync_once
from ezstems.models.delivery import COMPLETED_EVENT, FAILED_EVENT, Delivery
from ezstems.models.files import FileNames
from ezstems.models.instance import Instance
from ezstems.models.rows import change_one, update_one, utcnow
from ezstems.models.states import COMPLETED, DELETED, FAILED, IS_QUEUED, PROCESSING, QUEUED, STATES
from ezstems.models.user import User

# Expired rows stay for ever: what is kept must be found without looking at them.
KEPT = text("expired_at IS NULL")
# SQLite's INTEGER has 64 bits, and it counts its own rows by nothing of another name.
LONG = BigInteger().with_variant(Integer, "sqlite")


class Job(db.Model):  # type: ignore[name-defined]
    """Hold one separation from upload to expiry; `number` is the order in which jobs run."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("second", "stems"),
        CheckConstraint(f"status IN {STATES}", name="status"),
        Index("ix_jobs_owner_status_number", "owner", "status", "number"),
        Index("ix_jobs_status_user_id", "status", "user_id"),
        # An account's list, however many of its jobs have expired.
        Index("ix_jobs_kept", "user_id", "number", "status", sqlite_where=KEPT, postgresql_where=KEPT),
        # What the sweep looks for.
        Index("ix_jobs_finished_at", "finished_at", postgresql_where=KEPT, sqlite_where=KEPT),
        # What a cluster claims from and counts places in; elsewhere it is as small as the queue.
        Index("ix_jobs_queued", "number", postgresql_where=IS_QUEUED, sqlite_where=IS_QUEUED),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(LONG, primary_key=True)
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
    keeps_upload: Mapped[bool] = mapped_column(default=False)  # as long as its result, as was set when it came in
    metadata_text: Mapped[str | None]  # the client's own, never looked into
    status: Mapped[str] = mapped_column(default=QUEUED)
    owner: Mapped[str | None]
    progress: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)  # how often a process died while it ran: not 0, it is a suspect
    error: Mapped[str | None]
    model: Mapped[str | None]
    samples: Mapped[int | None] = mapped_column(LONG)
    result_bytes: Mapped[int | None] = mapped_column(BigInteger)  # of the ZIP; older jobs have none
    clipped: Mapped[str | None]  # samples a stem over full scale, as a JSON object; None where there are none
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]
    webhook_url: Mapped[str | None]  # who is told of its end; None: the account's, if any

    user: Mapped[User] = relationship()

    def files(self) -> FileNames:
        """Return what names the files, to keep while the row changes or goes."""
        return FileNames(self.id, self.filename, self.upload_key, self.owner)

    @property
    def clipped_samples(self) -> dict[str, int]:
        """Return how many samples were clipped, by stem; stems without any are left out."""
        return json.loads(self.clipped or "{}")

    @property
    def needs_upload(self) -> bool:
        """Tell whether the upload must be there; that of a failed job may be."""
        return self.status in (QUEUED, PROCESSING) or (self.status == COMPLETED and self.keeps_upload)

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
    def is_now(cls, number: int, owner: str, status: str) -> bool:
        """Tell whether a job is in a state by the hand of an owner."""
        here = select(cls.number).where(cls.number == number, cls.owner == owner, cls.status == status)
        return db.session.scalar(here) is not None

    @classmethod
    def is_gone(cls, number: int) -> bool:
        """Tell whether a job, or its account, was deleted, or the job has expired."""
        return db.session.scalar(select(cls.number).where(cls.number == number, cls.expired_at.is_(None))) is None

    @classmethod
    def is_run_by(cls, number: int, owner: str) -> bool:
        """Tell whether an owner runs a job, which neither was deleted nor went to somebody else."""
        mine = cls.owner == owner, cls.status == PROCESSING, cls.expired_at.is_(None)
        return db.session.scalar(select(cls.number).where(cls.number == number, *mine)) is not None

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
        return cls._end(number, owner, COMPLETED_EVENT, **values)

    @classmethod
    def fail(cls, number: int, owner: str, error: str) -> bool:
        """Move processing → failed."""
        return cls._end(number, owner, FAILED_EVENT, status=FAILED, error=error, finished_at=_ended_at())

    @classmethod
    def _end(cls, number: int, owner: str, event: str, **values: Any) -> bool:
        """End a running job, and announce it, in one transaction."""
        running = cls.number == number, cls.status == PROCESSING, cls.owner == owner
        ended = change_one(update(cls).where(*running).values(**values))
        if ended:
            Delivery.announce(db.session.get_one(cls, number, populate_existing=True), event)
        db.session.commit()
        return ended

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
        """Mark a job as deleted: its files go, so do its messages, and one that hasn't ended has failed by that."""
        unfinished, now = cls.status.in_((QUEUED, PROCESSING)), utcnow()
        values = {
            "status": case((unfinished, FAILED), else_=cls.status),
            "error": case((unfinished, DELETED), else_=cls.error),
            "finished_at": case((unfinished, now), else_=cls.finished_at),
            "expired_at": now,
        }
        deleted = change_one(update(cls).where(cls.number == number, cls.expired_at.is_(None)).values(**values))
        if deleted:
            Delivery.cancel(select(cls.id).where(cls.number == number).scalar_subquery())
        db.session.commit()
        return deleted


def _ended_at() -> datetime:
    """Return when a job ends now: not before the last trusted time, lest it expires when a clock is right again."""
    now = utcnow()
    return max(now, Instance.trusted_time() or now)
