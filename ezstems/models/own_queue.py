"""The FIFO of each worker that separates by itself, in the order of the numbers of its own rows that are queued."""

from collections.abc import Collection, Sequence

from sqlalchemy import func, select

from ezstems.database import db
from ezstems.models.job import Job
from ezstems.models.states import QUEUED


def waiting(owner: str) -> Sequence[int]:
    """Return the numbers of an owner's queued jobs, in their order."""
    queued = select(Job.number).where(Job.owner == owner, Job.status == QUEUED)
    return db.session.scalars(queued.order_by(Job.number)).all()


def places(numbers: Collection[int]) -> dict[int, int]:
    """Return the places of queued jobs, each among its owner's; 1 is the next to run."""
    place = func.row_number().over(partition_by=Job.owner, order_by=Job.number)
    queued = select(Job.number, place.label("place")).where(Job.status == QUEUED).subquery()
    asked = select(queued).where(queued.c.number.in_(numbers))
    return {row.number: row.place for row in db.session.execute(asked)}
