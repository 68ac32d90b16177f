"""How a job's run ended: what its row becomes, what the log says, and whether its upload is still needed."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ezstems.audio import clipping
from ezstems.audio.decode import SAMPLE_RATE_HZ
from ezstems.audio.separate import Separation
from ezstems.disk import is_full
from ezstems.errors import (
    BadInput,
    DamagedFile,
    DecodingFailed,
    EncodingFailed,
    Interrupted,
    SeparatorCrashed,
    TookTooLong,
    UploadsAway,
)
from ezstems.jobs.events import record_event
from ezstems.models import COMPLETED, FAILED, QUEUED, Job

NO_ROOM = "The server's disk was full. Nothing is wrong with the file; upload it again later."
BROKEN = "The separation failed on the server. Its operator finds the reason in the log under this job's id."
TOO_LONG = (
    "The separation took longer than the server lets a job run, and was ended. "
    "Its operator finds more in the log under this job's id."
)
# Errors whose own words are written for the uploader.
PLAIN_ERRORS = (BadInput, DamagedFile, DecodingFailed, EncodingFailed, SeparatorCrashed, TookTooLong)


@dataclass(frozen=True)
class Outcome:
    """Hold an outcome; `settle` changes the row of a job number that an owner runs, and tells whether it did."""

    event: str
    status: str  # the job's from then on
    settle: Callable[[int, str], bool]
    detail: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    error: BaseException | None = None  # unexpected: the log has its stack
    needs_upload: bool = True

    def record(self, job_id: str, seconds: float) -> None:
        """Record the outcome as the job's event."""
        detail, level = f"{self.detail} after {seconds:.2f} s", logging.ERROR if self.error else logging.INFO
        fields = {**self.fields, "seconds": round(seconds, 3)}
        record_event(self.event, job_id, detail, level=level, error=self.error, **fields)


def completed(separation: Separation, result_bytes: int, keeps_upload: bool) -> Outcome:
    """Return the outcome of a separation that is packed into a ZIP of so many bytes."""
    model, samples, clipped = separation.model, separation.samples, separation.clipped
    facts: dict[str, Any] = {"model": model, "samples": samples, "result_bytes": result_bytes, "clipped": clipped}
    detail = f" with the model: {model},"
    fields: dict[str, Any] = {"model": model, "audio_seconds": round(samples / SAMPLE_RATE_HZ, 3)}
    if clipped:
        detail += f" {clipping.in_words(clipped)} clipped,"
        fields["clipped"] = clipped
    return Outcome("completed", COMPLETED, partial(Job.complete, **facts), detail, fields, needs_upload=keeps_upload)


def interrupted(error: Interrupted) -> Outcome:
    """Return the outcome of a job that goes back to the queue."""
    return Outcome("interrupted", QUEUED, Job.interrupt, f": {error}" if isinstance(error, UploadsAway) else "")


def failed(error: BaseException) -> Outcome:
    """Return the outcome of an error: by the server's fault, its operator may retry the job, which needs the upload."""
    reason, is_users = reason_of(error), isinstance(error, BadInput)
    settle, unexpected = partial(Job.fail, error=reason), None if is_users else error
    return Outcome("failed", FAILED, settle, f": {reason}", {"reason": reason}, unexpected, needs_upload=not is_users)


def reason_of(error: BaseException) -> str:
    """Return what to tell the uploader of an error; the log has the rest."""
    if is_full(error) or is_full(error.__cause__):
        return NO_ROOM
    return str(error) if isinstance(error, PLAIN_ERRORS) else BROKEN
