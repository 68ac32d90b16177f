"""`status.php`: how far a job is."""

from typing import Any

from flask import Blueprint, Response

from ezstems.jobs import current_desk
from ezstems.models import COMPLETED, FAILED, PROCESSING
from ezstems.web.answers import success, timestamp
from ezstems.web.auth import key_required
from ezstems.web.job_lookup import called_job, endpoint_url

blueprint = Blueprint("status", __name__)


@blueprint.get("/status.php")
@key_required
def status() -> Response:
    """Answer with a job's state."""
    job = called_job()
    data: dict[str, Any] = {
        "id": job.id,
        "status": job.status,
        "queue_position": current_desk().position(job),
        "stems": job.stems,
        "created_at": timestamp(job.created_at),
    }
    if job.status == PROCESSING:
        data["progress"] = job.progress
    elif job.status == COMPLETED:
        data["download_url"] = endpoint_url("download", job)
    elif job.status == FAILED:
        data["error"] = job.error
    return success(data)
