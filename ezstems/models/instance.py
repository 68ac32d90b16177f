"""The instance: which folder the rows belong to, and when its clock was last looked at."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from ezstems.database import db


class Instance(db.Model):  # type: ignore[name-defined]
    """Hold the id that a database shares with its instance folder; there is one row."""

    __tablename__ = "instances"

    id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime | None]

    @classmethod
    def ids(cls) -> Sequence[str]:
        """Return the ids of all rows: one."""
        return db.session.scalars(select(cls.id)).all()
