"""Count the calls of keys in their windows, those that arrive together in one transaction.

SQLite has one writer at a time, and a thread that finds it busy sleeps before it tries again. So one thread counts for
all that wait by then, and the next batch gathers meanwhile.
"""

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, bindparam, case, or_, select, update
from sqlalchemy.orm.attributes import set_committed_value

from ezstems.database import db, skip_fsync_once
from ezstems.models.key import ApiKey
from ezstems.models.rows import AHEAD, utcnow

# Of the table and not of the class: rows in the session are told by `count_call`. Made once, for every call needs them,
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
    """Hold a call to be counted, and what came of it: no window where the key is no longer active."""

    key_id: int
    most: int
    window_seconds: int
    counted: "Future[Window | None]" = field(default_factory=Future)
    # Set when the call is counted, or when it is the one that counts those that wait.
    go_on: threading.Event = field(default_factory=threading.Event)


class CallCounter:
    """Count the calls that arrive in this process, one batch after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Call] = []
        self._counting = False

    def count(self, call: Call) -> Window | None:
        """Count a call in an atomic UPDATE of its key; None when the key was deactivated meanwhile."""
        with self._lock:
            self._waiting.append(call)
            if not self._counting:
                self._counting = True
                call.go_on.set()
        call.go_on.wait()
        if not call.counted.done():
            self._count_waiting()
        if (error := call.counted.exception()) is not None:
            # A copy: raised by many threads, one would gather the stack traces of them all.
            raise copy(error).with_traceback(None) from error.__cause__
        return call.counted.result()

    def _count_waiting(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            for call, window in self._execute(batch):
                call.counted.set_result(window)
        except BaseException as error:  # whatever it was, everybody's call ends with it
            for call in batch:
                call.counted.set_exception(error)
            db.session.rollback()
        finally:  # also where the rollback fails, as on a broken disk: who waits must go on
            with self._lock:
                self._counting = bool(self._waiting)
                for call in (*batch, *self._waiting[:1]):
                    call.go_on.set()

    def _execute(self, batch: Iterable[Call]) -> list[tuple[Call, Window | None]]:
        now, found = utcnow(), []
        skip_fsync_once()  # a power cut may forget some calls
        for call in sorted(batch, key=lambda call: call.key_id):  # where rows are locked: by all in the same order
            before = now - timedelta(seconds=call.window_seconds)
            values = {"key_id": call.key_id, "most": call.most, "now": now, "before": before, "ahead": now + AHEAD}
            row = db.session.execute(_COUNTING, values).one_or_none()
            counted = row is not None
            row = row or db.session.execute(_LOOKING, values).one_or_none()
            found.append((call, Window(counted, *row) if row is not None else None))
        db.session.commit()
        return found


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
