"""Sessions of the website: who is logged in, until when; a browser's token is valid only while its row is here."""

import hashlib
import logging
import secrets
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, ForeignKey, delete, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Mapped, mapped_column

from ezstems.database import db
from ezstems.models.instance import Instance
from ezstems.models.rows import AHEAD, delete_unlocked, update_one, utcnow

log = logging.getLogger(__name__)

IDLE = timedelta(days=30)
# Nobody needs to know it better, and a page that polls shall not write each time.
SEEN_EVERY = timedelta(hours=1)
# More browsers than anybody uses; the one that was seen longest ago goes first.
MOST_SESSIONS = 50


class Session(db.Model):  # type: ignore[name-defined]
    """Hold one login of a browser: the hash of its token, and when it was last seen."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    seen_at: Mapped[datetime] = mapped_column(index=True)

    @staticmethod
    def new_token() -> str:
        """Return a new token."""
        return secrets.token_hex(32)

    @staticmethod
    def digest(token: str) -> str:
        """Return the hash under which a token is stored; 256 random bits need no salt."""
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def is_live(cls, token: str) -> ColumnElement[bool]:
        """Return the condition that a row is a token's, and not too long unused."""
        return (cls.token_hash == cls.digest(token)) & (cls.seen_at > _idle_since())

    def see(self) -> None:
        """Store that the session is in use."""
        now = utcnow()
        if now - SEEN_EVERY < self.seen_at <= now + AHEAD:
            return
        try:
            update_one(update(Session).where(Session.token_hash == self.token_hash).values(seen_at=utcnow()))
        except OperationalError:
            # A full disk must not keep anybody from what is there; the next request tries again.
            db.session.rollback()
            log.warning("a session's use could not be noted", exc_info=True)

    @classmethod
    def end(cls, token: str) -> None:
        """End one session."""
        db.session.execute(delete(cls).where(cls.token_hash == cls.digest(token)))
        db.session.commit()

    @classmethod
    def end_all(cls, user_id: int) -> None:
        """End every session of an account, with the transaction at hand."""
        db.session.execute(delete(cls).where(cls.user_id == user_id))

    @classmethod
    def prune(cls, user_id: int) -> None:
        """Delete all sessions that are idle, and an account's beyond the most that it may have."""
        now = utcnow()
        # A clock that was ahead must not keep them for ever.
        db.session.execute(update(cls).where(cls.seen_at > now + AHEAD).values(seen_at=now))
        delete_unlocked(cls, cls.seen_at <= _idle_since())
        newest = cls.seen_at.desc(), cls.created_at.desc()
        kept = select(cls.token_hash).where(cls.user_id == user_id).order_by(*newest).limit(MOST_SESSIONS)
        delete_unlocked(cls, cls.user_id == user_id, cls.token_hash.not_in(kept))


def _idle_since() -> datetime:
    """Return the time before which a session's last use is too long ago; an untrusted clock logs nobody out."""
    now = utcnow()
    return min(now, Instance.trusted_time() or now) - IDLE
