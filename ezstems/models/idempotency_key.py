"""Keys that uploads bear: under the same one, an account's upload is answered as the first was, and makes no other job.

A key is claimed before the upload is received, on a lease that its process renews: who was killed with the upload holds
it no longer than that. The answer is stored in the job's transaction, by whoever holds the claim then, or not at all.
"""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, CursorResult, ForeignKey, String, and_, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from ezstems.database import db, skip_fsync_once
from ezstems.errors import Unauthenticated
from ezstems.models.instance import Instance
from ezstems.models.rows import AHEAD, shared_now, update_one
from ezstems.models.user import User

MAX_KEY_CHARACTERS = 255
KEPT = timedelta(days=1)
# Renewed every few seconds; longer than a sweep of many files, or others' hold of the database, keeps that waiting.
LEASE = timedelta(seconds=40)


class IdempotencyKey(db.Model):  # type: ignore[name-defined]
    """Hold a key of an account: who receives its upload at this moment, or how that was answered."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(MAX_KEY_CHARACTERS), primary_key=True)
    claim: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(index=True)
    leased_until: Mapped[datetime]
    fingerprint: Mapped[str | None]  # of the upload that was answered
    answer: Mapped[str | None]

    @property
    def is_held(self) -> bool:
        """Tell whether an upload is being received under it."""
        now = shared_now()
        # What is leased for longer than a lease was leased by a clock that went back since.
        return self.answer is None and now < self.leased_until <= now + LEASE + AHEAD

    @property
    def is_answered(self) -> bool:
        """Tell whether an upload was answered, and is remembered."""
        now = shared_now()
        # By a clock that jumped ahead nothing is forgotten, and by one that goes back it is remembered once more.
        began = min(now, Instance.trusted_time() or now) - KEPT
        return self.answer is not None and began < self.created_at <= now + KEPT

    @classmethod
    def take(cls, user_id: int, key: str) -> "tuple[str | None, IdempotencyKey | None]":
        """Claim a key and return the claim; or return None, and the row of who has it or had it first."""
        claim, here = uuid.uuid4().hex, (cls.user_id == user_id, cls.key == key)
        while True:
            now = shared_now()
            row = db.session.scalar(select(cls).where(*here).execution_options(populate_existing=True))
            if row is not None and (row.is_held or row.is_answered):
                db.session.expunge(row)
                return None, row
            fresh = {"claim": claim, "created_at": now, "leased_until": now + LEASE}
            skip_fsync_once()  # after a power cut nobody is there who has it
            if row is not None:  # its holder was killed, or its day is over
                same = update(cls).where(*here, cls.claim == row.claim, cls.answer.is_not_distinct_from(row.answer))
                if update_one(same.values(fingerprint=None, answer=None, **fresh)):
                    return claim, None
                continue
            try:
                db.session.add(cls(user_id=user_id, key=key, **fresh))
                db.session.commit()
                return claim, None
            except IntegrityError:
                # Another upload of the same moment was first.
                db.session.rollback()
                if db.session.get(User, user_id) is None:
                    raise Unauthenticated("The account was deleted.") from None

    @classmethod
    def settle(cls, claim: str, fingerprint: str, answer: str) -> bool:
        """Store an answer in the transaction at hand; False where the claim isn't held any more."""
        mine = update(cls).where(cls.claim == claim, cls.answer.is_(None))
        settled = mine.values(fingerprint=fingerprint, answer=answer).execution_options(synchronize_session=False)
        result = db.session.execute(settled)
        assert isinstance(result, CursorResult)
        return result.rowcount == 1

    @classmethod
    def release(cls, claim: str) -> None:
        """Free a key whose upload came to nothing."""
        skip_fsync_once()
        db.session.execute(delete(cls).where(cls.claim == claim, cls.answer.is_(None)))
        db.session.commit()

    @classmethod
    def renew(cls, claims: set[str]) -> None:
        """Lease claims anew."""
        skip_fsync_once()
        db.session.execute(
            update(cls).where(cls.claim.in_(claims), cls.answer.is_(None)).values(leased_until=shared_now() + LEASE)
        )
        db.session.commit()

    @classmethod
    def prune(cls, trusted: datetime) -> None:
        """Delete what is older than a day, by the trusted time, or dated further ahead."""
        over: ColumnElement[bool] = or_(cls.created_at <= trusted - KEPT, cls.created_at > shared_now() + KEPT)
        gone = or_(cls.answer.is_not(None), and_(cls.answer.is_(None), cls.leased_until <= shared_now()))
        db.session.execute(delete(cls).where(over, gone))
        db.session.commit()
