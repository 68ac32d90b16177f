"""Watch the progress of running jobs: one that stalls fails; one that can't be stopped ends with its worker process.

Only time in which the housekeeper ran counts: a process that was stopped as a whole is no stalled job.
"""

import logging
import sys
import threading
import traceback
from collections.abc import Callable

from ezstems.database import db
from ezstems.jobs.events import log_as, record_event
from ezstems.models import STALLED, Job

log = logging.getLogger(__name__)

# A longer round doesn't count: the machine slept, or was overloaded.
LONGEST_ROUND_SECONDS = 4.0
# A separation stops at its next tile; a library's call that never returns ends only with its process.
STOP_SECONDS = 30.0


class RunningJob:
    """Hold how long a running job has made no progress."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.job_id = ""
        self.stalled = False  # the separation must stop
        self.failed = False  # and its row says so
        self.overrun = False  # the separation must stop: it took longer than a job may
        self.idle_seconds = 0.0
        self.thread = threading.get_ident()
        self._progressed = True

    def note_progress(self, *_: object) -> None:
        """Note that the job makes progress."""
        self._progressed = True

    def add_idle_time(self, seconds: float) -> None:
        """Add time since the last call, in which the job could have made progress."""
        self.idle_seconds = self.idle_seconds + seconds if self.failed or not self._progressed else 0.0
        self._progressed = False


class Watchdog:
    """Run jobs and watch them; `replace` has the process replaced by another one, where that is possible."""

    def __init__(self, run: Callable[[int, RunningJob], None], owner: str, stall_seconds: float) -> None:
        self._run = run
        self._owner = owner
        self._stall_seconds = stall_seconds
        self._running: dict[int, RunningJob] = {}
        self._replaced = False
        self.replace: Callable[[], None] = lambda: None

    def __call__(self, number: int) -> None:
        """Run a job to its end."""
        running = self._running[number] = RunningJob(number)
        try:
            self._run(number, running)
        finally:
            del self._running[number]

    def stalled(self) -> str | None:
        """Return the id of a stalled job, None where there is none."""
        return next((job.job_id for job in list(self._running.values()) if job.stalled), None)

    def note_overrun(self) -> None:
        """Have what runs stop and fail, because it took longer than a job may."""
        for running in list(self._running.values()):
            running.overrun = True

    def check(self, seconds: float) -> None:
        """Fail each job that stalls, so many seconds after the last check; call it within the app's context."""
        for running in list(self._running.values()):
            running.add_idle_time(seconds if seconds <= LONGEST_ROUND_SECONDS else 0.0)
            if running.failed:
                if running.idle_seconds >= STOP_SECONDS and not self._replaced:
                    self._replaced = True
                    log.critical("job %s: can't be stopped; worker %s ends", running.job_id, self._owner)
                    self.replace()
            elif running.idle_seconds >= self._stall_seconds:
                self._fail(running)

    def _fail(self, running: RunningJob) -> None:
        job = db.session.get(Job, running.number)
        running.job_id = running.job_id if job is None else job.id
        running.stalled = True
        frame = sys._current_frames().get(running.thread)
        stack = "".join(traceback.format_stack(frame)) if frame else None
        message = f"job {running.job_id}: no progress for {running.idle_seconds:.0f} s; here it stands"
        log_as(__name__, logging.ERROR, message, stack, job_id=running.job_id)
        if Job.fail(running.number, self._owner, STALLED):
            record_event("failed", running.job_id, f": {STALLED}", level=logging.ERROR, reason=STALLED)
        running.failed, running.idle_seconds = True, 0.0
