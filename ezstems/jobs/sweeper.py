"""A process's sweeps: every few minutes, by one clock, with a look at whether the results are still whole."""

import logging
import time

from ezstems.database import db
from ezstems.errors import DamagedFile
from ezstems.jobs import retention
from ezstems.jobs.archive import Archive
from ezstems.jobs.clock import Clock
from ezstems.jobs.damage import require_result
from ezstems.models import COMPLETED, Job

log = logging.getLogger(__name__)

EVERY_SECONDS = 600.0
# So soon it shows that what was missing is back.
DAMAGED_EVERY_SECONDS = 60.0


class Sweeper:
    """Sweep for one process."""

    def __init__(self, archive: Archive, retention_hours: float) -> None:
        self._archive = archive
        self._retention_hours = retention_hours
        self._clock = Clock()
        self._swept_seconds = float("-inf")
        self._damaged: frozenset[str] = frozenset()

    def sweep_when_due(self) -> None:
        """Sweep, unless that was done a while ago."""
        every_seconds = DAMAGED_EVERY_SECONDS if self._damaged else EVERY_SECONDS
        if time.monotonic() - self._swept_seconds < every_seconds:
            return
        self._swept_seconds = time.monotonic()
        retention.sweep(self._archive, self._retention_hours, self._clock)
        self._damaged = self._look()

    def problems(self) -> list[str]:
        """Say what is wrong with what is kept."""
        count = len(self._damaged)
        if not count:
            return []
        are = "1 result is" if count == 1 else f"{count} results are"
        return [f"{are} damaged or missing on the server's disk; the log names the jobs."]

    def _look(self) -> frozenset[str]:
        """Return the ids of the jobs whose results aren't there, or whole; log those that were when last looked at."""
        damaged = set()
        kept = Job.kept().with_only_columns(Job.id, Job.result_bytes, Job.number).where(Job.status == COMPLETED)
        for job_id, result_bytes, number in db.session.execute(kept).all():
            try:
                require_result(self._archive.result(job_id), result_bytes)
            except DamagedFile as error:
                if Job.is_gone(number):
                    continue  # it expired, or was deleted, meanwhile
                damaged.add(job_id)
                if job_id not in self._damaged:
                    log.error("job %s: its result is damaged or lost: %s", job_id, error.__cause__,
                              extra={"job_id": job_id})  # fmt: skip
        return frozenset(damaged)
