"""An account's webhook: where the ends of its jobs are told, and the secrets that sign what is sent there."""

import base64
import secrets
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, update
from sqlalchemy.orm import Mapped, mapped_column

from ezstems.database import db
from ezstems.models.rows import AHEAD, change_one, utcnow

PREFIX = "whsec_"
SECRET_BYTES = 32
# After a rotation, so long is signed with both secrets.
OVERLAP = timedelta(hours=24)


class Webhook(db.Model):  # type: ignore[name-defined]
    """Hold an account's secrets, and the URL for the jobs that name none of their own."""

    __tablename__ = "webhooks"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    url: Mapped[str | None]
    secret: Mapped[str]
    old_secret: Mapped[str | None]
    rotated_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]  # when the URL answered 410: nothing is sent there until it is set anew

    @classmethod
    def seen(cls, user_id: int) -> "Webhook":
        """Return an account's row, or an empty one that isn't stored."""
        return db.session.get(cls, user_id, populate_existing=True) or cls(user_id=user_id)

    @classmethod
    def of(cls, user_id: int) -> "Webhook":
        """Return an account's row, a new one where it has none, with the transaction at hand."""
        row = db.session.get(cls, user_id, populate_existing=True)
        if row is None:
            row = cls(user_id=user_id, secret=new_secret())
            db.session.add(row)
            db.session.flush()
        return row

    @classmethod
    def set_url(cls, user_id: int, url: str | None) -> None:
        """Name the URL for jobs without one of their own, or none, and commit."""
        row = cls.of(user_id)
        row.url, row.gone_at = url, None
        db.session.commit()

    @classmethod
    def rotate(cls, user_id: int) -> str:
        """Make a new secret, and commit; the one before it goes on signing for a while."""
        row = cls.of(user_id)
        row.old_secret, row.rotated_at, row.secret = row.secret, utcnow(), new_secret()
        db.session.commit()
        return row.secret

    @classmethod
    def note_gone(cls, user_id: int, url: str) -> None:
        """Send nothing to an account's URL any more, with the transaction at hand, unless it is another by now."""
        here = cls.user_id == user_id, cls.url == url, cls.gone_at.is_(None)
        change_one(update(cls).where(*here).values(gone_at=utcnow()))

    @property
    def open_url(self) -> str | None:
        """Return the URL, unless there is none or it has answered that it is gone."""
        return None if self.gone_at else self.url

    @property
    def signing_secrets(self) -> list[str]:
        """Return the secrets that sign now, the present one first."""
        now = utcnow()
        if self.old_secret and self.rotated_at and now - OVERLAP < self.rotated_at <= now + AHEAD:
            return [self.secret, self.old_secret]
        return [self.secret]


def new_secret() -> str:
    """Return a random secret in Standard Webhooks' form."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
