"""The rows: users, their API keys and their jobs; a job's transitions are conditional UPDATEs."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from flask_login import UserMixin
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    CursorResult,
    ForeignKey,
    Index,
    UniqueConstraint,
    Update,
    and_,
    case,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column, relationship
from werkzeug.security import generate_password_hash

from ezstems.database import db

QUEUED, PROCESSING, COMPLETED, FAILED = STATES = ("queued", "processing", "completed", "failed")
PLAN_MAX_MB = {"basic": 30, "premium": 40, "pro": 75}
CUSTOM_MAX_MB = 300
PLANS = (*PLAN_MAX_MB, "custom")
# No more than this: a box in a private network may well have accounts at `localhost` or `box.lan`.
ADDRESS = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")
MAX_KEY_NAME = 64
# A job whose process died this often in a row is the likely cause and must not stop the box.
MAX_CRASHES = 2
CRASHED = "The server went down twice while it separated this file, which probably crashed the separator."
DELETED = "Deleted by its account."


def utcnow() -> datetime:
    """Return the time in UTC, whole seconds, without a zone: what the columns hold."""
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)


def _changed(statement: Update) -> bool:
    """Execute an UPDATE of at most one row, commit, and tell whether it changed one: who did, won."""
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    db.session.commit()
    return result.rowcount == 1


class User(UserMixin, db.Model):  # type: ignore[name-defined]
    """Hold an account: an e-mail address, a plan, keys and jobs."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(f"plan IN {PLANS}", name="plan"),
        CheckConstraint(
            f"(plan = 'custom') = (max_mb IS NOT NULL) AND (max_mb IS NULL OR max_mb BETWEEN 1 AND {CUSTOM_MAX_MB})",
            name="max_mb",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    plan: Mapped[str]
    max_mb: Mapped[int | None]
    session_token: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    @staticmethod
    def address(email: str) -> str:
        """Return an e-mail address as it is stored; raise ValueError when it is none."""
        address = email.strip().lower()
        if not (ADDRESS.fullmatch(address) and address.isprintable()):
            raise ValueError("must be an e-mail address")
        return address

    @classmethod
    def with_address(cls, email: str) -> "User | None":
        """Return the account with an e-mail address, however it is capitalised."""
        return db.session.scalar(select(cls).where(cls.email == email.strip().lower()))

    @classmethod
    def register(cls, email: str, plan: str, max_mb: int | None, password: str) -> "User | None":
        """Add an account and commit; None when its address has one already, ValueError when it is no address."""
        user = cls(email=cls.address(email), plan=plan, max_mb=max_mb)
        user.set_password(password)
        db.session.add(user)
        try:
            db.session.commit()
        except IntegrityError:
            db.session.rollback()
            return None
        return user

    def set_password(self, password: str) -> None:
        """Keep the salted hash of a password, and end every session that began with another."""
        self.password_hash = generate_password_hash(password)
        self.session_token = secrets.token_hex(16)

    def get_id(self) -> str:
        """Return what a session remembers: who, and until which password change."""
        return f"{self.id}:{self.session_token}"

    @classmethod
    def of_session(cls, remembered: str) -> "User | None":
        """Return the account that a session remembers, unless its password has changed since."""
        number, _, token = remembered.partition(":")
        user = db.session.get(cls, int(number))
        return user if user is not None and hmac.compare_digest(user.session_token, token) else None

    @property
    def max_upload_bytes(self) -> int:
        """Return the size of the largest file that the plan allows."""
        return (self.max_mb or PLAN_MAX_MB[self.plan]) * 1024 * 1024


class ApiKey(db.Model):  # type: ignore[name-defined]
    """Hold a key's hash and its rate window; the key itself is shown once and never stored."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    key_hash: Mapped[str] = mapped_column(unique=True)
    tail: Mapped[str]
    name: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True)
    rate_limit: Mapped[int | None]
    window_started_at: Mapped[datetime | None]
    window_calls: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    last_used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)

    @staticmethod
    def digest(key: str) -> str:
        """Return the hash under which a key is stored; 256 random bits need no salt."""
        return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()

    @staticmethod
    def checked_name(raw: str) -> str | None:
        """Return a key's name as it is stored, None for a blank one; raise ValueError naming the rule."""
        name = raw.strip()
        if len(name) > MAX_KEY_NAME or not name.isprintable():
            raise ValueError(f"must be at most {MAX_KEY_NAME} printable characters")
        return name or None

    @classmethod
    def issue(cls, user: User, rate_limit: int | None = None, name: str | None = None) -> tuple["ApiKey", str]:
        """Add a new key of an account; return the row and the key in clear."""
        key = secrets.token_hex(32)
        row = cls(user_id=user.id, key_hash=cls.digest(key), tail=key[-8:], name=name, rate_limit=rate_limit)
        db.session.add(row)
        return row, key

    @classmethod
    def find(cls, key: str) -> "ApiKey | None":
        """Return the active key's row."""
        digest = cls.digest(key)
        row = db.session.scalar(select(cls).where(cls.key_hash == digest, cls.is_active))
        return row if row is not None and hmac.compare_digest(row.key_hash, digest) else None

    def limit(self, default_limit: int) -> int:
        """Return how many calls a window of this key has: its own number, or the server's."""
        return default_limit if self.rate_limit is None else self.rate_limit

    def count_call(self, default_limit: int, window_seconds: int) -> bool:
        """Count a call in one atomic UPDATE; False, and nothing counted, when the window's calls are used up."""
        now = utcnow()
        limit = self.limit(default_limit)
        over = or_(
            ApiKey.window_started_at.is_(None),
            ApiKey.window_started_at <= now - timedelta(seconds=window_seconds),
        )
        counted = _changed(
            update(ApiKey)
            .where(ApiKey.id == self.id, ApiKey.is_active, or_(over, ApiKey.window_calls < limit))
            .values(
                window_started_at=case((over, now), else_=ApiKey.window_started_at),
                window_calls=case((over, 1), else_=ApiKey.window_calls + 1),
                last_used_at=now,
            )
        )
        db.session.refresh(self)
        return counted

    def calls_in_window(self, window_seconds: int) -> int:
        """Return how many calls the present window has counted."""
        started = self.window_started_at
        if started is None or started <= utcnow() - timedelta(seconds=window_seconds):
            return 0
        return self.window_calls


class Job(db.Model):  # type: ignore[name-defined]
    """Hold one separation from upload to expiry; `number` is the order in which jobs run."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("second", "stems"),
        CheckConstraint(f"status IN {STATES}", name="status"),
        Index("ix_jobs_owner_status_number", "owner", "status", "number"),
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
    size_bytes: Mapped[int]
    status: Mapped[str] = mapped_column(default=QUEUED)
    owner: Mapped[str | None]
    progress: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    model: Mapped[str | None]
    samples: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()

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
    def is_gone(cls, number: int) -> bool:
        """Tell whether a job's files are gone or must go: it was deleted, or is past its retention."""
        return db.session.scalar(select(cls.expired_at).where(cls.number == number)) is not None

    @classmethod
    def waiting_before(cls, job: "Job") -> int:
        """Count the rows of the same owner that run before a job."""
        same = cls.owner == job.owner if job.owner is not None else cls.owner.is_(None)
        return db.session.query(cls).filter(same, cls.status == QUEUED, cls.number < job.number).count()

    @classmethod
    def move(cls, number: int, *conditions: Any, **values: Any) -> bool:
        """Change one row if it still meets the conditions, commit, and tell whether it did."""
        return _changed(update(cls).where(cls.number == number, *conditions).values(**values))

    @classmethod
    def claim(cls, number: int, owner: str) -> bool:
        """Move queued → processing."""
        return cls.move(
            number, cls.status == QUEUED, cls.owner == owner, status=PROCESSING, progress=0, started_at=utcnow()
        )

    @classmethod
    def report(cls, number: int, owner: str, progress: int) -> bool:
        """Note how far a running separation is, in percent."""
        return cls.move(number, cls.status == PROCESSING, cls.owner == owner, progress=progress)

    @classmethod
    def complete(cls, number: int, owner: str, *, model: str, samples: int) -> bool:
        """Move processing → completed."""
        values = {"status": COMPLETED, "progress": 100, "model": model, "samples": samples, "finished_at": utcnow()}
        return cls.move(number, cls.status == PROCESSING, cls.owner == owner, **values)

    @classmethod
    def fail(cls, number: int, owner: str, error: str) -> bool:
        """Move processing → failed."""
        return cls.move(
            number, cls.status == PROCESSING, cls.owner == owner, status=FAILED, error=error, finished_at=utcnow()
        )

    @classmethod
    def interrupt(cls, number: int, owner: str) -> bool:
        """Move processing → queued after an orderly stop, to the place that the number gives it."""
        return cls.move(number, cls.status == PROCESSING, cls.owner == owner, status=QUEUED, progress=0, crashes=0)

    @classmethod
    def adopt(cls, number: int, dead: str | None, owner: str) -> bool:
        """Take over a dead owner's job: queued stays so, processing is a crash, the second in a row a failure."""
        theirs = cls.owner == dead if dead is not None else cls.owner.is_(None)
        running, last = cls.status == PROCESSING, cls.crashes + 1 >= MAX_CRASHES
        return cls.move(
            number,
            theirs,
            cls.status.in_((QUEUED, PROCESSING)),
            owner=owner,
            progress=0,
            crashes=case((running, cls.crashes + 1), else_=cls.crashes),
            status=case((and_(running, last), FAILED), else_=QUEUED),
            error=case((and_(running, last), CRASHED), else_=cls.error),
            finished_at=case((and_(running, last), utcnow()), else_=cls.finished_at),
        )

    @classmethod
    def retry(cls, number: int) -> bool:
        """Move failed → queued, for any live worker to adopt."""
        unfinished = {"error": None, "crashes": 0, "progress": 0, "started_at": None, "finished_at": None}
        return cls.move(
            number, cls.status == FAILED, cls.expired_at.is_(None), status=QUEUED, owner=None, **unfinished
        )

    @classmethod
    def expire(cls, number: int) -> bool:
        """Note that a finished job's files are past their retention."""
        return cls.move(
            number, cls.status.in_((COMPLETED, FAILED)), cls.expired_at.is_(None), expired_at=utcnow()
        )

    @classmethod
    def delete(cls, number: int) -> bool:
        """Note that its account deleted a job and its files go; one that isn't finished has failed by that."""
        unfinished, now = cls.status.in_((QUEUED, PROCESSING)), utcnow()
        return cls.move(
            number,
            cls.expired_at.is_(None),
            status=case((unfinished, FAILED), else_=cls.status),
            error=case((unfinished, DELETED), else_=cls.error),
            finished_at=case((unfinished, now), else_=cls.finished_at),
            expired_at=now,
        )
