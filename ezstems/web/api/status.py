"""`status.php`: how far a job is; who prefers to wait is answered when it ends."""

from typing import Any

from flask import Blueprint, Response, g, request

from ezstems.database import current_watch, db
from ezstems.jobs import current_desk
from ezstems.models import COMPLETED, FAILED, PROCESSING, QUEUED, Job
from ezstems.web.answers import success, timestamp
from ezstems.web.auth import key_required
from ezstems.web.expiry import add_expiry
from ezstems.web.job_lookup import called_job, endpoint_url
from ezstems.web.prefer import preferred_wait

blueprint = Blueprint("status", __name__)

UNFINISHED = QUEUED, PROCESSING


@blueprint.get("/status.php")
@key_required
def status() -> Response:
    """Answer with a job's state, at once or, where the caller prefers to wait, when it ends."""
    seconds, job = preferred_wait(), called_job()
    has_waited = seconds is not None
    if seconds and job.status in UNFINISHED:
        has_waited, job = _wait(job, seconds)
    answer = add_expiry(success(described(job, position := current_desk().position(job))), job)
    if job.status in UNFINISHED:
        answer.headers["Retry-After"] = str(current_desk().estimate.seconds_left(job, position))
    if has_waited:
        answer.headers["Preference-Applied"] = f"wait={seconds}"
    return answer


def _wait(job: Job, seconds: int) -> tuple[bool, Job]:
    """Wait for a job's end, or for so long; return whether that was waited for, and how the job is now."""
    number, key_id = job.number, g.key.id
    db.session.expunge(job)  # it is read anew afterwards
    db.session.commit()  # releases the database connection
    client = request.environ.get("gunicorn.socket")
    has_waited = current_desk().waits.wait(number, key_id, seconds, lambda: client is not None and client.has_hung_up())
    current_watch().require()
    return has_waited, called_job()


def described(job: Job, position: int) -> dict[str, Any]:
    """Return a job's state, and its place in the queue, as the contract shows it."""
    data: dict[str, Any] = {
        "id": job.id,
        "status": job.status,
        "queue_position": position,
        "stems": job.stems,
        "created_at": timestamp(job.created_at),
    }
    if job.status == PROCESSING:
        data["progress"] = job.progress
    elif job.status == COMPLETED:
        data["download_url"] = endpoint_url("download", job)
    elif job.status == FAILED:
        data["error"] = job.error
    return data
