"""Turns: what several processes on one PostgreSQL must not do at the same time, one of them does."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select

from ezstems.database import db

# Keys of advisory locks; nobody else's in this database begin so.
_KEYS = 0x657A7374
GIVE_BACK, TICKETS, SWEEP = _KEYS << 8 | 1, _KEYS << 8 | 2, _KEYS << 8 | 3


@contextmanager
def turn(key: int) -> Iterator[bool]:
    """Tell whether nobody else is inside a block with the same key; until its end, nobody else is.

    No transaction is open meanwhile, and the lock ends with its connection, however this process ends.
    """
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        is_ours = bool(connection.scalar(select(func.pg_try_advisory_lock(key))))
        try:
            yield is_ours
        finally:
            if is_ours:
                connection.execute(select(func.pg_advisory_unlock(key)))
