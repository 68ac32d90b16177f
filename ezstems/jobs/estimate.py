"""When a job that waits or runs will probably have ended, by how long the last ones took."""

import time
from collections.abc import Callable
from datetime import datetime, timezone

from sqlalchemy import select

from ezstems.database import db
from ezstems.models import COMPLETED, PROCESSING, Job

# Whoever asks later than this was told too much; who knows nothing asks again so soon.
MOST_SECONDS, UNKNOWN_SECONDS = 60, 5
RECENT_JOBS = 20
# Among so many of the newest rows: those that wait are newer than those that are done.
LOOK_BACK_ROWS = 2000
REMEMBER_SECONDS = 10.0


class Estimate:
    """Estimate the ends of jobs; `at_once` says how many of them run at a time."""

    def __init__(self, at_once: Callable[[], int]) -> None:
        self._count_at_once = at_once
        self._at_once = 1
        self._usual_seconds: float | None = None
        self._looked_seconds = float("-inf")

    def seconds_left(self, job: Job, position: int) -> int:
        """Return in how many seconds to ask for a job again, which has a place in the queue or runs."""
        usual = self._usual()
        if job.status == PROCESSING:
            left = self._rest(job, usual)
        else:  # on average, those that run are half done
            left = None if usual is None else usual * ((max(0.5, position - 0.5)) / self._at_once + 1)
        return UNKNOWN_SECONDS if left is None else min(MOST_SECONDS, max(1, round(left)))

    def _rest(self, job: Job, usual_seconds: float | None) -> float | None:
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        ran = (now - (job.started_at or now)).total_seconds()
        if job.progress > 0 and ran > 0:
            return ran * (100 - job.progress) / job.progress
        return None if usual_seconds is None else usual_seconds - ran

    def _usual(self) -> float | None:
        """Return how long a job usually takes; None before the first has ended."""
        if time.monotonic() - self._looked_seconds >= REMEMBER_SECONDS:
            self._looked_seconds = time.monotonic()
            self._at_once = self._count_at_once()
            newest = select(Job.number, Job.status, Job.started_at, Job.finished_at).order_by(Job.number.desc())
            among = newest.limit(LOOK_BACK_ROWS).subquery()
            done = select(among.c.started_at, among.c.finished_at).where(
                among.c.status == COMPLETED, among.c.started_at.is_not(None)
            )
            rows = db.session.execute(done.order_by(among.c.number.desc()).limit(RECENT_JOBS)).all()
            took = [max(0.0, (finished - started).total_seconds()) for started, finished in rows]
            self._usual_seconds = sum(took) / len(took) if took else self._usual_seconds
        return self._usual_seconds
