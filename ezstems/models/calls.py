"""Count the calls of keys in their windows, those that arrive together in one transaction.

SQLite has one writer at a time, and a thread that finds it busy sleeps before it tries again. So one thread counts for
all that wait by then, and the next batch gathers meanwhile.
"""

import threading
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, bindparam, case, or_, select, update
from sqlalchemy.orm.attributes import set_committed_value

from ezstems.database import db, skip_fsync_once
from ezstems.models.key import ApiKey
from ezstems.models.rows import AHEAD, utcnow

# Of the table and not of the class: `count_call` updates the row in the session. Made once, for every call needs them,
# and making them takes longer than executing them.
_KEY = ApiKey.__table__.c
_OVER = or_(
    _KEY.window_started_at.is_(None),
    _KEY.window_started_at <= bindparam("before"),
    _KEY.window_started_at > bindparam("ahead"),
)
_STATE = _KEY.window_started_at, _KEY.window_calls, _KEY.last_used_at
_THIS = _KEY.id == bindparam("key_id"), _KEY.is_active
_LOOKING = select(*_STATE).where(*_THIS)
_COUNTING = (
    update(ApiKey.__table__)
    .where(*_THIS, or_(_OVER, _KEY.window_calls < bindparam("most")))
    .values(
        window_started_at=case((_OVER, bindparam("now")), else_=_KEY.window_started_at),
        window_calls=case((_OVER, 1), else_=_KEY.window_calls + 1),
        last_used_at=bindparam("now"),
    )
    .returning(*_STATE)
)


@dataclass(frozen=True)
class Window:
    """Say whether a call was counted, and what its key's window holds now."""

    counted: bool
    started_at: datetime
    calls: int
    last_used_at: datetime


@dataclass(eq=False)
class Call:
    """Hold a call to be counted, and its result: no window where the key is no longer active."""

    key_id: int
    most: int
    window_seconds: int
    is_done: bool = False
    window: Window | None = None
    error: BaseException | None = None


class CallCounter:
    """Count the calls of this process, one batch after the other."""

    def __init__(self) -> None:
        self._waiting: list[Call] = []
        self._joining = threading.Lock()  # held for an instant: to join the batch, or to take it
        self._counting = threading.Lock()  # held by the thread that counts a batch

    def count(self, call: Call) -> Window | None:
        """Count a call in an atomic UPDATE of its key; None when the key was deactivated meanwhile."""
        with self._joining:
            self._waiting.append(call)
        with self._counting:
            if not call.is_done:
                self._count_batch()
        if call.error is not None:
            # A copy: raised by many threads, one would gather the stack traces of them all.
            raise copy(call.error).with_traceback(None) from call.error.__cause__
        return call.window

    def _count_batch(self) -> None:
        with self._joining:
            batch, self._waiting = self._waiting, []
        try:
            _count(batch)
        except BaseException as error:  # whatever it is, every call of the batch ends with it
            for call in batch:
                call.error = error
            db.session.rollback()
        finally:
            for call in batch:
                call.is_done = True


def _count(batch: Iterable[Call]) -> None:
    now = utcnow()
    skip_fsync_once()  # a power cut may lose some calls
    for call in sorted(batch, key=lambda call: call.key_id):  # where rows are locked: by all in the same order
        before = now - timedelta(seconds=call.window_seconds)
        values = {"key_id": call.key_id, "most": call.most, "now": now, "before": before, "ahead": now + AHEAD}
        row = db.session.execute(_COUNTING, values).one_or_none()
        counted = row is not None
        row = row or db.session.execute(_LOOKING, values).one_or_none()
        call.window = Window(counted, *row) if row is not None else None
    db.session.commit()


_counters: WeakKeyDictionary[Engine, CallCounter] = WeakKeyDictionary()
_counters_lock = threading.Lock()


def current_counter() -> CallCounter:
    """Return this process's counter for the app's database."""
    with _counters_lock:
        return _counters.setdefault(db.engine, CallCounter())


def count_call(key: ApiKey, default_limit: int, window_seconds: int) -> Window | None:
    """Count a call unless the window's are used up; None when the key was deactivated meanwhile."""
    window = current_counter().count(Call(key.id, key.limit(default_limit), window_seconds))
    if window is not None:
        set_committed_value(key, "window_started_at", window.started_at)
        set_committed_value(key, "window_calls", window.calls)
        set_committed_value(key, "last_used_at", window.last_used_at)
    return window
