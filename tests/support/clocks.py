"""A wall clock that a test moves, in one process; how much time really passes is another, what was worked a third."""

import os
import time
from datetime import datetime, timedelta, timezone

import pytest
from flask import Flask
from sqlalchemy import select

from ezstems.database import db
from ezstems.jobs import clock as clocks
from ezstems.models import Instance, rows


def worked_seconds() -> float:
    """Return how long processors have worked for this process and its ended children, however busy they are."""
    return sum(os.times()[:4])


class Clock:
    """Move the wall clock of the rows, and the time that really passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead, self._passed = timedelta(), timedelta()
        moved = self

        class Moved(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
                return datetime.now(timezone.utc) + moved._ahead + moved._passed

        real = time.clock_gettime
        monkeypatch.setattr(rows, "datetime", Moved)
        monkeypatch.setattr(
            clocks.time, "clock_gettime", lambda which: real(which) + moved._passed.total_seconds()
        )

    def jump(self, **by: float) -> None:
        """Set the wall clock ahead, or back, while no time passes."""
        self._ahead += timedelta(**by)

    def set(self, moment: datetime) -> None:
        """Set the wall clock."""
        self._ahead += moment - rows.utcnow()

    def let_pass(self, **time_passed: float) -> None:
        """Let time really pass."""
        self._passed += timedelta(**time_passed)


def last_seen(app: Flask, moment: datetime | None) -> None:
    """Set the time that the sweep trusted last."""
    with app.app_context():
        row = db.session.scalar(select(Instance)) or Instance(id="an instance")
        row.seen_at = moment
        db.session.add(row)
        db.session.commit()
