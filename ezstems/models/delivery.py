"""Deliveries: what is to be told to a URL, from the end of a job, whose transaction makes it, to a 2xx or giving up.

One that is being sent is leased: `next_at` is when the lease ends and anybody else may try, `claim` whose it is. Due
is what is due by the clock that all boxes share.
"""

import json
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

from flask import current_app
from sqlalchemy import CheckConstraint, ForeignKey, Index, ScalarSelect, and_, delete, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from ezstems.database import db
from ezstems.models.rows import AHEAD, change_one, shared_now, update_one, utcnow
from ezstems.models.user import User
from ezstems.models.webhook import Webhook

PENDING, DELIVERED, GIVEN_UP = DELIVERY_STATES = ("pending", "delivered", "given up")
COMPLETED_EVENT, FAILED_EVENT, TEST_EVENT = "job.completed", "job.failed", "webhook.test"
# A try may take 15 s, and a resolver of names half a minute.
LEASE = timedelta(seconds=75)
# What is due later than this was dated by a clock that went back since.
LONGEST_WAIT = timedelta(hours=12)
JOB_DELETED = "its job was deleted"
# Of what was never sent, because the server was told not to.
UNSENT = timedelta(days=30)


class Ended(Protocol):
    """Name what is told of a job that has ended."""

    @property
    def id(self) -> str: ...
    @property
    def user_id(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def stems(self) -> int: ...
    @property
    def error(self) -> str | None: ...
    @property
    def metadata_text(self) -> str | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def finished_at(self) -> datetime | None: ...
    @property
    def webhook_url(self) -> str | None: ...


class Delivery(db.Model):  # type: ignore[name-defined]
    """Hold one message, the URL that it is for, and what came of the tries."""

    __tablename__ = "deliveries"
    __table_args__ = (
        CheckConstraint(f"state IN {DELIVERY_STATES}", name="state"),
        Index("ix_deliveries_state_next_at", "state", "next_at"),
        Index("ix_deliveries_user_id_id", "user_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    job_id: Mapped[str | None]
    event: Mapped[str]
    url: Mapped[str]
    host: Mapped[str]  # of the URL, with its port: so many at a time are sent to one
    body: Mapped[str]
    state: Mapped[str] = mapped_column(default=PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime]
    claim: Mapped[str | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    tried_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    @classmethod
    def announce(cls, job: Ended, event: str) -> None:
        """Add the message of a job's end, where it is wanted, to the transaction that ends it."""
        if current_app.config["EZSTEMS_WEBHOOKS"] != "on":
            return
        url = job.webhook_url or Webhook.seen(job.user_id).open_url
        if url:
            cls._add(job.user_id, url, event, _data(job), job.finished_at or utcnow(), job.id)

    @classmethod
    def test(cls, user_id: int) -> "Delivery | None":
        """Add a message to an account's URL that tells of no job, and commit; None where there is no URL."""
        url = Webhook.seen(user_id).open_url
        row = cls._add(user_id, url, TEST_EVENT, {"message": "This is a test."}, utcnow(), None) if url else None
        db.session.commit()
        return row

    @classmethod
    def _add(
        cls, user_id: int, url: str, event: str, data: dict[str, Any], moment: datetime, job_id: str | None
    ) -> "Delivery":
        body = json.dumps({"type": event, "timestamp": f"{moment.isoformat()}Z", "data": data})
        message_id = f"msg_{secrets.token_hex(16)}"
        where = {"url": url, "host": urlsplit(url).netloc.lower(), "next_at": shared_now()}
        row = cls(message_id=message_id, user_id=user_id, job_id=job_id, event=event, body=body, **where)
        db.session.add(row)
        db.session.flush()
        return row

    @classmethod
    def due(cls, limit: int, but_hosts: Collection[str], but_users: Collection[int]) -> Sequence["Delivery"]:
        """Return deliveries whose time has come, the longest due first."""
        others = cls.host.not_in(but_hosts), cls.user_id.not_in(but_users)
        wanted = select(cls).where(cls.state == PENDING, cls.next_at <= shared_now(), *others)
        first = wanted.order_by(cls.next_at, cls.id).limit(limit).execution_options(populate_existing=True)
        return db.session.scalars(first).all()

    @classmethod
    def lease(cls, delivery: "Delivery", claim: str) -> bool:
        """Lease a delivery for one try, with the transaction at hand; False where another process has."""
        as_seen = cls.state == PENDING, cls.next_at == delivery.next_at, cls.attempts == delivery.attempts
        values = {"claim": claim, "attempts": cls.attempts + 1, "next_at": shared_now() + LEASE}
        return change_one(update(cls).where(cls.id == delivery.id, *as_seen).values(**values))

    @classmethod
    def settle(
        cls, number: int, claim: str, *, delivered: bool, pause: timedelta | None = None, **values: Any
    ) -> bool:
        """Note what came of a try, with the transaction at hand; False where the row isn't this try's any more.

        What was delivered is, whoever has the lease by now: nobody need send it again. What wasn't is tried after a
        pause, or given up.
        """
        mine = or_(cls.claim == claim, cls.state == PENDING) if delivered else cls.claim == claim
        values |= {"claim": None, "tried_at": utcnow()} | ({} if pause is None else {"next_at": shared_now() + pause})
        return change_one(update(cls).where(cls.id == number, mine).values(**values))

    @classmethod
    def give_up(cls, user_id: int, url: str, error: str) -> None:
        """Give up what waits for an account's URL, with the transaction at hand."""
        waiting = cls.user_id == user_id, cls.url == url, cls.state == PENDING, cls.claim.is_(None)
        db.session.execute(update(cls).where(*waiting).values(state=GIVEN_UP, last_error=error))

    @classmethod
    def cancel(cls, job_id: ScalarSelect[str]) -> None:
        """Send no more of a deleted job, with the transaction at hand; what is being sent just now may still arrive."""
        waiting = cls.job_id == job_id, cls.state == PENDING
        cancelled = update(cls).where(*waiting).values(state=GIVEN_UP, last_error=JOB_DELETED)
        db.session.execute(cancelled.execution_options(synchronize_session=False))

    @classmethod
    def is_of(cls, number: int, user_id: int) -> bool:
        """Tell whether a delivery is an account's."""
        return db.session.scalar(select(cls.id).where(cls.id == number, cls.user_id == user_id)) is not None

    @classmethod
    def resend(cls, number: int) -> bool:
        """Send a message again, or a waiting one at once, with its id, and commit; False where it is being sent."""
        values = {"state": PENDING, "attempts": 0, "next_at": shared_now(), "claim": None}
        unclaimed = or_(cls.claim.is_(None), cls.state != PENDING)
        return update_one(update(cls).where(cls.id == number, unclaimed).values(**values))

    @classmethod
    def last(cls, limit: int, user_id: int | None = None) -> Sequence[tuple["Delivery", User]]:
        """Return the last deliveries, of one account or of all, the newest first, with their accounts."""
        wanted = select(cls, User).join(User, User.id == cls.user_id).order_by(cls.id.desc()).limit(limit)
        if user_id is not None:
            wanted = wanted.where(cls.user_id == user_id)
        return [(delivery, user) for delivery, user in db.session.execute(wanted)]

    @classmethod
    def hasten_misdated(cls) -> None:
        """Make due at once what a clock that was ahead has put off, and commit."""
        now = shared_now()
        misdated = cls.state == PENDING, cls.next_at > now + LONGEST_WAIT + AHEAD
        db.session.execute(update(cls).where(*misdated).values(next_at=now))
        db.session.commit()

    @classmethod
    def prune(cls, until: datetime) -> None:
        """Delete what was settled up to a time, and what waited for a month before it, and commit."""
        # By the columns of the index: when a settled one would have been due again is soon after its last try.
        over = cls.next_at <= until, or_(cls.tried_at <= until, cls.tried_at.is_(None))
        settled = and_(cls.state.in_((DELIVERED, GIVEN_UP)), *over)
        unsent = and_(cls.state == PENDING, cls.created_at <= until - UNSENT)
        db.session.execute(delete(cls).where(or_(settled, unsent)))
        db.session.commit()


def _data(job: Ended) -> dict[str, Any]:
    """Describe a job that has ended, as status.php does; here, without a request, there is no other way to its URL.

    What its client noted follows, where it did.
    """
    data = {"id": job.id, "status": job.status, "queue_position": 0, "stems": job.stems}
    data["created_at"] = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
    data |= {"download_url": f"/api/v1/download.php?id={job.id}"} if job.error is None else {"error": job.error}
    return data if job.metadata_text is None else data | {"metadata": job.metadata_text}
