"""The instance: the id of the folder that the rows belong to, and the last trusted time."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from ezstems.database import db
from ezstems.models.rows import update_one

ID_FILE = "instance_id"  # holds the same id in the instance folder


class Instance(db.Model):  # type: ignore[name-defined]
    """Hold the id that a database shares with its instance folder; there is one row."""

    __tablename__ = "instances"

    id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime | None]  # the last time that the sweep trusted; None before the first

    @classmethod
    def ids(cls) -> Sequence[str]:
        """Return the ids of all rows: one."""
        return db.session.scalars(select(cls.id)).all()

    @classmethod
    def trusted_time(cls) -> datetime | None:
        """Return the last trusted time; None before the first sweep."""
        return db.session.scalar(select(cls.seen_at))

    @classmethod
    def note_trusted_time(cls, trusted: datetime, wall: datetime) -> None:
        """Store the trusted time, unless another process trusts a later one that the wall clock allows."""
        earlier = or_(cls.seen_at.is_(None), cls.seen_at < trusted, cls.seen_at > wall)
        update_one(update(cls).where(earlier).values(seen_at=trusted))
