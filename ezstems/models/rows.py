"""What every table needs: the time as the columns hold it, and UPDATEs that tell whether they changed a row."""

from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, DateTime, Update, delete, func, inspect, select, tuple_

from ezstems.database import db

# The rows hold whole seconds, and two processes may look at a clock in either order: what lies further ahead than this
# was written by a clock that went back since.
AHEAD = timedelta(seconds=2)
MAX_ID = 2**31 - 1  # of an Integer column; PostgreSQL compares none with a larger one


def utcnow() -> datetime:
    """Return the time in UTC, whole seconds, without a zone: what the columns hold."""
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)


def database_now() -> ColumnElement[datetime]:
    """Return PostgreSQL's time in UTC, without a zone: what the columns hold."""
    return func.timezone("UTC", func.clock_timestamp(), type_=DateTime())


def shared_now() -> datetime:
    """Return the time, as `utcnow` does, by the clock that all boxes share: PostgreSQL's, where they do."""
    if db.session.connection().dialect.name != "postgresql":
        return utcnow()
    return db.session.scalars(select(database_now())).one().replace(microsecond=0)


def change_one(statement: Update) -> bool:
    """Execute an UPDATE of at most one row, with the transaction at hand, and tell whether it changed one."""
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def update_one(statement: Update) -> bool:
    """Execute an UPDATE of at most one row, commit, and tell whether it changed one."""
    changed = change_one(statement)
    db.session.commit()
    return changed


def delete_unlocked(model: Any, *conditions: Any) -> None:
    """Delete the rows that meet the conditions, with the transaction at hand; leave those that others change just now.

    Two that delete the same rows in different orders would wait for each other for ever.
    """
    key = inspect(model).primary_key
    free = select(*key).where(*conditions).with_for_update(skip_locked=True)
    db.session.execute(delete(model).where(tuple_(*key).in_(free)).execution_options(synchronize_session=False))
