"""Until when a job's files are kept, as far as that is known."""

from datetime import datetime, timedelta

from flask import Response, current_app

from ezstems.models import COMPLETED, Job
from ezstems.web.answers import timestamp

HEADER = "X-Expires-At"


def expires_at(job: Job) -> datetime | None:
    """Return when a job's files go; None while it hasn't ended."""
    kept_for = timedelta(hours=current_app.config["EZSTEMS_RETENTION_HOURS"])
    return None if job.finished_at is None else job.finished_at + kept_for


def add_expiry(response: Response, job: Job) -> Response:
    """Name that time in a header, of a completed job."""
    moment = expires_at(job)
    if job.status == COMPLETED and moment is not None:
        response.headers[HEADER] = timestamp(moment)
    return response
