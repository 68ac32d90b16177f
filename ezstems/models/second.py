"""The seconds of new ids in PostgreSQL, where transactions run side by side: each reserves another one."""

from sqlalchemy import text

from ezstems.database import db

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


def reserve_second(stems: int, second: int) -> int | None:
    """Return the first second from the given one on that is free, and keep it until the transaction ends."""
    return db.session.scalar(_RESERVE, {"stems": stems, "second": second, "most": MOST})
