"""API keys: hashes, and the calls that they may make in a window."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, bindparam, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ezstems.database import db
from ezstems.models.rows import AHEAD, utcnow
from ezstems.models.user import User

MAX_KEY_NAME = 64


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
        row = db.session.scalar(_ACTIVE, {"digest": digest})
        return row if row is not None and hmac.compare_digest(row.key_hash, digest) else None

    def limit(self, default_limit: int) -> int:
        """Return how many calls a window of this key has: its own number, or the server's."""
        return default_limit if self.rate_limit is None else self.rate_limit

    def calls_in_window(self, window_seconds: int) -> int:
        """Return how many calls the present window has counted."""
        started, now = self.window_started_at, utcnow()
        if started is None or not now - timedelta(seconds=window_seconds) < started <= now + AHEAD:
            return 0
        return self.window_calls


# Every call of the API needs it, and making it takes as long as executing it.
_ACTIVE = select(ApiKey).where(ApiKey.key_hash == bindparam("digest"), ApiKey.is_active)
