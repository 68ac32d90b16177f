"""The one FIFO of a cluster: its order is that of the numbers of the rows that are queued, whoever claims them."""

from collections.abc import Collection, Sequence

from sqlalchemy import Row, Select, delete, exists, func, select, update

from ezstems.database import db
from ezstems.models.job import Job
from ezstems.models.rows import database_now, utcnow
from ezstems.models.separation_worker import SeparationWorker
from ezstems.models.states import COMPLETED, IS_QUEUED, PROCESSING, QUEUED


def claim_next(owner: str) -> int | None:
    """Move the first that is queued to processing; return its number, None where nothing waits.

    Two that claim at once get two rows. A claim whose answer was lost, with the connection, is answered again.
    """
    held = db.session.scalar(select(Job.number).where(Job.owner == owner, Job.status == PROCESSING).limit(1))
    if held is not None:
        return held
    first = select(Job.number).where(IS_QUEUED).order_by(Job.number).limit(1).with_for_update(skip_locked=True)
    claim = (
        update(Job)
        .where(Job.number == first.scalar_subquery(), Job.status == QUEUED)
        .values(status=PROCESSING, owner=owner, progress=0, started_at=utcnow())
        .returning(Job.number)
        .execution_options(synchronize_session=False)
    )
    number = db.session.execute(claim).scalar_one_or_none()
    db.session.commit()
    return number


def give_back(dead_seconds: float) -> Sequence[Row[tuple[int, str, int]]]:
    """Move what dead processes run to queued, as suspects; return the numbers, ids and crashes of these jobs."""
    living = exists().where(SeparationWorker.id == Job.owner, SeparationWorker.lives(dead_seconds))
    back = (
        update(Job)
        .where(Job.status == PROCESSING, ~living)
        .values(status=QUEUED, owner=None, progress=0, crashes=Job.crashes + 1)
        .returning(Job.number, Job.id, Job.crashes)
        .execution_options(synchronize_session=False)
    )
    rows = db.session.execute(back).all()
    db.session.commit()
    return sorted(rows)


def give_up(owner: str) -> Sequence[str]:
    """Move what a living process was to run, and doesn't, to queued; return the ids of these jobs."""
    back = (
        update(Job)
        .where(Job.status == PROCESSING, Job.owner == owner)
        .values(status=QUEUED, owner=None, progress=0)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    ids = db.session.scalars(back).all()
    db.session.commit()
    return ids


def forget(worker: str) -> Sequence[Job]:
    """Delete a process's row; return the completed jobs that it may have died over before it cleared their uploads."""
    db.session.execute(delete(SeparationWorker).where(SeparationWorker.id == worker))
    db.session.commit()
    done = select(Job).where(Job.owner == worker, Job.status == COMPLETED, Job.expired_at.is_(None))
    return db.session.scalars(done.where(~Job.keeps_upload)).all()


def places_query(numbers: Collection[int]) -> Select[tuple[int, int]]:
    """Select the places of queued jobs, by their numbers."""
    if len(numbers) == 1:
        (number,) = numbers
        place = select(func.count()).select_from(Job).where(IS_QUEUED, Job.number <= number).scalar_subquery()
        return select(Job.number, place).where(Job.number == number, Job.status == QUEUED)
    row = func.row_number().over(order_by=Job.number).label("place")
    queue = select(Job.number, row).where(IS_QUEUED, Job.number <= max(numbers)).subquery()
    return select(queue.c.number, queue.c.place).where(queue.c.number.in_(numbers))


def places(numbers: Collection[int]) -> dict[int, int]:
    """Return the places of queued jobs; 1 is the next to run."""
    return dict(db.session.execute(places_query(numbers)).tuples().all()) if numbers else {}


def length(most: int) -> int:
    """Count what is queued, up to a bound."""
    queued = select(Job.number).where(IS_QUEUED).limit(most).subquery()
    return db.session.scalars(select(func.count()).select_from(queued)).one()


def lock(key: int) -> None:
    """Have others who lock this key wait until the transaction ends."""
    db.session.execute(select(func.pg_advisory_xact_lock(key)))


def length_up_to(number: int) -> tuple[int, int]:
    """Count what is queued up to a number; return the last number that is queued as well, 0 where none is."""
    until = func.count().filter(Job.number <= number)
    return db.session.execute(select(until, func.coalesce(func.max(Job.number), 0)).where(IS_QUEUED)).tuples().one()


def first(count: int) -> Sequence[Row[tuple[int, str]]]:
    """Return the numbers and ids of the first so many that are queued."""
    return db.session.execute(select(Job.number, Job.id).where(IS_QUEUED).order_by(Job.number).limit(count)).all()


def oldest_wait_seconds() -> float:
    """Return how long the first that is queued has waited since its upload; 0 where nothing waits."""
    waited = func.extract("epoch", database_now() - Job.created_at)
    seconds = db.session.scalar(select(waited).where(IS_QUEUED).order_by(Job.number).limit(1))
    return round(max(0.0, float(seconds or 0.0)), 1)
