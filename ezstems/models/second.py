"""The seconds of new jobs' ids: the first that is free; in PostgreSQL, where transactions run side by side, each
reserves another one."""

from sqlalchemy import select, text

from ezstems.database import db
from ezstems.models.job import Job

# The uploads of this moment that may still be under way.
MOST = 1000
# First the free seconds in their order, then the first of them that no other transaction holds: an advisory lock that
# it would have to wait for tells that. The key keeps those of 2, 4 and 5 stems apart.
_RESERVE = text(
    """
    SELECT other FROM (
        SELECT other FROM generate_series(CAST(:second AS bigint), :second + :most) AS other
        WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.second = other AND jobs.stems = :stems)
        ORDER BY other OFFSET 0
    ) AS free
    WHERE pg_try_advisory_xact_lock(other * 8 + :stems) LIMIT 1
    """
)


def free_second(stems: int, second: int) -> int:
    """Return the first second from the given one on whose id of that many stems is free."""
    if db.session.connection().dialect.name == "postgresql":
        return _reserve(stems, second) or second
    taken = select(Job.second).where(Job.stems == stems, Job.second >= second).order_by(Job.second)
    for other in db.session.scalars(taken):
        if other != second:
            break
        second += 1
    return second


def _reserve(stems: int, second: int) -> int | None:
    """Return the first second from the given one on that is free, and keep it until the transaction ends."""
    return db.session.scalar(_RESERVE, {"stems": stems, "second": second, "most": MOST})
