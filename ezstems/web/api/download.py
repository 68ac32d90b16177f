"""`download.php`: a finished job's ZIP."""

from flask import Blueprint, Response

from ezstems.errors import NotReady
from ezstems.jobs import current_desk
from ezstems.models import COMPLETED, FAILED, Job
from ezstems.web.auth import key_required
from ezstems.web.filenames import SavedName, saved_name
from ezstems.web.job_lookup import called_job
from ezstems.web.send import files_of, send

blueprint = Blueprint("download", __name__)


@blueprint.get("/download.php")
@key_required
def download() -> Response:
    """Answer with the ZIP, whole or the range that was asked for."""
    return zipped(called_job())


def zipped(job: Job) -> Response:
    """Answer with a job's ZIP under a name made from the uploaded file's own."""
    require_completed(job)
    with files_of(job):
        return send(current_desk().result(job), "application/zip", named_after(job, f"{job.stems}stems.zip"))


def require_completed(job: Job) -> None:
    """Raise NotReady unless a job's files are there."""
    if job.status == FAILED:
        raise NotReady(f"Job {job.id} failed: {job.error}")
    if job.status != COMPLETED:
        raise NotReady(f"Job {job.id} is {job.status}, not completed. Ask status.php again in a few seconds.")


def named_after(job: Job, ending: str) -> SavedName:
    """Name a file of a job after its upload, for who saves it."""
    return saved_name(job.original_name, job.id, ending)
