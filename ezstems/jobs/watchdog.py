"""Which running jobs make progress: one that makes none for long fails, and what can't be stopped ends with its worker.

Only time in which the housekeeper came round counts: a process that stood still, with all its threads, hurts nobody.
"""

import logging
import sys
import threading
import traceback
from collections.abc import Callable

from ezstems.database import db
from ezstems.jobs.events import log_as, tell
from ezstems.models import STALLED, Job

log = logging.getLogger(__name__)

# A round that took longer was no round: the machine slept, or had no time for anybody.
LONGEST_ROUND_SECONDS = 4.0
# What was told to stop does so at its next tile; a library's call that never returns can only end with its process.
STOP_SECONDS = 30.0


class Watch:
    """Hold when a running job last made progress."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.job_id = ""
        self.stalled = False  # for the separation: stop
        self.failed = False
        self.idle_seconds = 0.0
        self.thread = threading.get_ident()
        self._moved = True

    def move(self, *_: object) -> None:
        """Note some progress."""
        self._moved = True

    def pass_time(self, seconds: float) -> None:
        """Count time in which the job could have made progress."""
        self.idle_seconds = self.idle_seconds + seconds if self.failed or not self._moved else 0.0
        self._moved = False


class Watchdog:
    """Run jobs and watch them; `replace` has the process replaced by another one, where that is possible."""

    def __init__(self, run: Callable[[int, Watch], None], owner: str, stall_seconds: float) -> None:
        self._run = run
        self._owner = owner
        self._stall_seconds = stall_seconds
        self._watches: dict[int, Watch] = {}
        self._replaced = False
        self.replace: Callable[[], None] = lambda: None

    def __call__(self, number: int) -> None:
        """Run a job to its end."""
        watch = self._watches[number] = Watch(number)
        try:
            self._run(number, watch)
        finally:
            del self._watches[number]

    def stalled(self) -> str | None:
        """Return the id of a job that makes no progress, None where all do."""
        return next((watch.job_id for watch in list(self._watches.values()) if watch.stalled), None)

    def look(self, seconds: float) -> None:
        """Count so many seconds since the last look, and end what stalls; within the app's context."""
        for watch in list(self._watches.values()):
            watch.pass_time(seconds if seconds <= LONGEST_ROUND_SECONDS else 0.0)
            if watch.failed:
                if watch.idle_seconds >= STOP_SECONDS and not self._replaced:
                    self._replaced = True
                    log.critical("job %s: can't be stopped; worker %s ends", watch.job_id, self._owner)
                    self.replace()
            elif watch.idle_seconds >= self._stall_seconds:
                self._fail(watch)

    def _fail(self, watch: Watch) -> None:
        job = db.session.get(Job, watch.number)
        watch.job_id = watch.job_id if job is None else job.id
        watch.stalled = True
        frame = sys._current_frames().get(watch.thread)
        stack = "".join(traceback.format_stack(frame)) if frame else None
        message = f"job {watch.job_id}: no progress for {watch.idle_seconds:.0f} s; here it stands"
        log_as(__name__, logging.ERROR, message, stack, job_id=watch.job_id)
        if Job.fail(watch.number, self._owner, STALLED):
            tell("failed", watch.job_id, f": {STALLED}", level=logging.ERROR, reason=STALLED)
        watch.failed, watch.idle_seconds = True, 0.0
