"""The trusted time, by which songs expire: the wall clock's, unless that jumped ahead by more than the retention.

A running process knows how much time has passed; a new one knows the last trusted time, which the instance's row holds.
A jump ahead beyond the retention is doubted: the trusted time goes on from the last one, as real time does, until the
wall clock has held for one retention, or nothing is left that would expire by the jump. A clock that goes back is
believed: nothing expires by that.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ezstems.models import Instance, Job, utcnow

log = logging.getLogger(__name__)

# A clock that goes on while the machine sleeps, where the system has one.
REAL = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# A sweep reads the clock every few minutes: within so long after the last trusted time, jobs may have ended.
SLACK = timedelta(hours=1)


@dataclass(frozen=True)
class Moment:
    """Hold the wall clock's time and the trusted one, which is earlier where that clock is doubted."""

    wall: datetime
    trusted: datetime

    @property
    def is_doubted(self) -> bool:
        """Tell whether the wall clock is doubted."""
        return self.trusted < self.wall

    def explain(self) -> str:
        """Say how far the clock is ahead, and what the operator may do."""
        ahead = self.wall - self.trusted
        return (
            f"the clock says {self.wall} UTC, {ahead.days} days and {ahead.seconds // 3600} hours ahead of the last "
            "trusted time; it isn't believed yet, and nothing expires by it; if it is right: ezstems jobs prune --now"
        )


class TrustedClock:
    """Keep the trusted time of one process; the processes share it in the instance's row."""

    def __init__(self, now: Callable[[], datetime] = utcnow) -> None:
        """Take what tells the wall clock's time: where files are shared, a clock that all boxes share."""
        self._now = now
        self.moment: Moment | None = None  # of the last look
        self._trusted: datetime | None = None
        self._wall = datetime.min
        self._real_seconds = 0.0
        self._row: datetime | None = None  # the row's time at the last look
        self._doubted_since_seconds: float | None = None

    def read(self, retention: timedelta, at_stake: Callable[[datetime], bool], *, believe: bool = False) -> Moment:
        """Return the present time; `at_stake` tells whether something that ended by a time would expire by a jump."""
        wall, real_seconds, row = self._now(), time.clock_gettime(REAL), Instance.trusted_time()
        passed = timedelta(seconds=real_seconds - self._real_seconds)
        trusted = self._go_on(passed, row) or Job.last_created_at() or wall
        moment = Moment(wall, wall)
        if wall - trusted <= retention:
            if self._doubted_since_seconds is not None:
                log.warning("the clock says %s UTC, which is believed again", wall)
        elif believe or not at_stake(trusted + min(SLACK, retention)):
            log.warning("the clock jumped ahead from %s to %s UTC and is believed", trusted, wall)
        elif self._has_held(wall, passed, real_seconds, retention):
            log.warning("the clock has held for %s since it jumped ahead and is believed now: %s UTC", retention, wall)
        else:
            moment = Moment(wall, trusted.replace(microsecond=0))
        if not moment.is_doubted:
            self._doubted_since_seconds = None
        elif self._doubted_since_seconds is None:
            self._doubted_since_seconds = real_seconds
            log.error("%s", moment.explain())
        self._trusted, self._wall = trusted if moment.is_doubted else wall, wall
        self._real_seconds, self._row, self.moment = real_seconds, row, moment
        return moment

    def store(self, moment: Moment) -> bool:
        """Store the trusted time for other processes and the next start; tell whether the row holds it."""
        Instance.note_trusted_time(moment.trusted, moment.wall)
        self._row = Instance.trusted_time()
        return self._row is not None and self._row <= moment.wall

    def _go_on(self, passed: timedelta, row: datetime | None) -> datetime | None:
        """Return the trusted time without the wall clock; None where nothing is known."""
        if self._trusted is None:
            return row
        going_on = self._trusted + passed
        if row is None or row == self._row:
            return going_on
        # Another process has looked since: it may have believed a jump, or seen the clock go back.
        return row if self._row is not None and row < self._row else max(going_on, row)

    def _has_held(self, wall: datetime, passed: timedelta, real_seconds: float, retention: timedelta) -> bool:
        if self._doubted_since_seconds is None:
            return False
        if abs(wall - self._wall - passed) > min(SLACK, retention):
            self._doubted_since_seconds = real_seconds
            log.error("the clock jumped again, to %s UTC; it isn't believed yet and nothing expires by it", wall)
        return real_seconds - self._doubted_since_seconds >= retention.total_seconds()
