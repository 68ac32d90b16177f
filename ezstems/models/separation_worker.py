"""The separation processes of a cluster, and by the database's clock, which all of them share, whether they live."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from ezstems.database import db
from ezstems.models.rows import database_now, update_one


class SeparationWorker(db.Model):  # type: ignore[name-defined]
    """Hold one separation process from its start to its end; `id` is the owner of the jobs that it runs."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    model: Mapped[str]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]

    @classmethod
    def beat(cls, worker: str, *, host: str, pid: int, model: str) -> None:
        """Note that a process lives, in a row that is made where there is none."""
        now = database_now()
        if not update_one(update(cls).where(cls.id == worker).values(seen_at=now)):
            facts = {"id": worker, "host": host, "pid": pid, "model": model, "started_at": now, "seen_at": now}
            db.session.execute(insert(cls).values(facts))
            db.session.commit()

    @classmethod
    def leave(cls, worker: str) -> None:
        """Delete the row of a process that ends in an orderly way."""
        db.session.execute(delete(cls).where(cls.id == worker))
        db.session.commit()

    @classmethod
    def lives(cls, dead_seconds: float) -> ColumnElement[bool]:
        """Return the condition that a process was seen within so many seconds."""
        return cls.seen_at > database_now() - timedelta(seconds=dead_seconds)

    @classmethod
    def models_of_living(cls, dead_seconds: float) -> Sequence[str]:
        """Return the weights of each living process."""
        return db.session.scalars(select(cls.model).where(cls.lives(dead_seconds)).order_by(cls.started_at)).all()

    @classmethod
    def long_dead(cls, dead_seconds: float) -> Sequence[str]:
        """Return the processes that weren't seen for so many seconds."""
        return db.session.scalars(select(cls.id).where(~cls.lives(dead_seconds))).all()
