"""`status.php`: how far a job is."""

from typing import Any

from flask import Blueprint, Response

from ezstems.jobs import current_desk
from ezstems.models import COMPLETED, FAILED, PROCESSING, Job
from ezstems.web.answers import success, timestamp
from ezstems.web.auth import key_required
from ezstems.web.expiry import add_expiry
from ezstems.web.job_lookup import called_job, endpoint_url

blueprint = Blueprint("status", __name__)


@blueprint.get("/status.php")
@key_required
def status() -> Response:
    """Answer with a job's state."""
    job = called_job()
    return add_expiry(success(described(job, current_desk().position(job))), job)


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
