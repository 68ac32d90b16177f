"""Turns: what several processes on one PostgreSQL must not do at the same time, one of them does."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select, text

from ezstems.database import db

# Keys of advisory locks; nobody else's in this database begin so.
_KEYS = 0x657A7374
GIVE_BACK, TICKETS, SWEEP, SEATS = (_KEYS << 8 | number for number in (1, 2, 3, 4))

# Who stands still in a turn (a frozen container) must not keep all others from theirs. A sweep may be long.
LONGEST_SECONDS = 60
_END_IDLE = text(  # from PostgreSQL 14 on
    "SELECT CASE WHEN current_setting('idle_session_timeout', true) IS NOT NULL "
    "THEN set_config('idle_session_timeout', :seconds || 's', false) END"
)


@contextmanager
def turn(key: int) -> Iterator[bool]:
    """Tell whether nobody else is inside a block with the same key; until its end, nobody else is.

    No transaction is open meanwhile, and the lock ends with its connection, however this process ends.
    """
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        is_ours = bool(connection.scalar(select(func.pg_try_advisory_lock(key))))
        if is_ours and key != SWEEP:
            connection.execute(_END_IDLE, {"seconds": LONGEST_SECONDS})
        try:
            yield is_ours
        finally:
            if is_ours:
                connection.execute(select(func.pg_advisory_unlock(key)))
                connection.execute(_END_IDLE, {"seconds": 0})
