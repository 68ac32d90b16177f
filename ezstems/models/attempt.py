"""Attempts at logins and registrations, counted in windows for all processes together."""

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, case, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from ezstems.database import db
from ezstems.models.rows import AHEAD, delete_unlocked, update_one, utcnow

# Whoever comes from a million addresses, or with a million names, fills no more rows than these.
SLOTS = 2**18


class Attempt(db.Model):  # type: ignore[name-defined]
    """Count the attempts of one kind by one address, or at one account, in the window that the first one began."""

    __tablename__ = "attempts"

    kind: Mapped[str] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ends_at: Mapped[datetime] = mapped_column(index=True)
    count: Mapped[int]

    @staticmethod
    def slot_of(who: str, secret: bytes) -> int:
        """Return where attempts of an address or account are counted; the secret keeps neighbours from being chosen."""
        return int.from_bytes(hashlib.blake2b(who.encode(), key=secret[:64], digest_size=8).digest(), "big") % SLOTS

    @classmethod
    def _is_over(cls, now: datetime, ends_at: datetime) -> ColumnElement[bool]:
        # What ends later than a window that begins now began in the future: the clock went back since.
        return or_(cls.ends_at <= now, cls.ends_at > ends_at + AHEAD)

    @classmethod
    def wait_seconds(cls, kind: str, slot: int, limit: int, window_seconds: int) -> int:
        """Count an attempt and return 0; when the window's are used up, count nothing and return how long it lasts."""
        while True:
            now = utcnow()
            ends_at = now + timedelta(seconds=window_seconds)
            here, over = (cls.kind == kind, cls.slot == slot), cls._is_over(now, ends_at)
            counted = update(cls).where(*here, or_(over, cls.count < limit))
            began = case((over, 1), else_=cls.count + 1), case((over, ends_at), else_=cls.ends_at)
            if update_one(counted.values(count=began[0], ends_at=began[1])):
                return 0
            # Not one that another attempt began just now, which has room for this one.
            ends = db.session.scalar(select(cls.ends_at).where(*here, cls.count >= limit))
            if ends is not None:
                return min(window_seconds, max(1, int((ends - now).total_seconds())))
            try:
                # Other kinds have longer windows.
                delete_unlocked(cls, or_(cls.ends_at <= now, and_(cls.kind == kind, over)))
                db.session.add(cls(kind=kind, slot=slot, ends_at=ends_at, count=1))
                db.session.commit()
                return 0
            except IntegrityError:
                # Another attempt at the same moment was first; this one counts after it.
                db.session.rollback()

    @classmethod
    def is_counted(cls, kind: str, slot: int, window_seconds: int) -> bool:
        """Tell whether the present window has an attempt."""
        now = utcnow()
        over = cls._is_over(now, now + timedelta(seconds=window_seconds))
        found = select(cls.count).where(cls.kind == kind, cls.slot == slot, ~over, cls.count > 0)
        return db.session.scalar(found) is not None

    @classmethod
    def note(cls, kind: str, slot: int, window_seconds: int) -> None:
        """Begin a window with one attempt now, whatever was counted before."""
        here = update(cls).where(cls.kind == kind, cls.slot == slot)
        if not update_one(here.values(count=1, ends_at=utcnow() + timedelta(seconds=window_seconds))):
            cls.wait_seconds(kind, slot, 1, window_seconds)

    @classmethod
    def take_back(cls, kind: str, slot: int) -> None:
        """Uncount an attempt that turned out to be none."""
        update_one(update(cls).where(cls.kind == kind, cls.slot == slot, cls.count > 0).values(count=cls.count - 1))
