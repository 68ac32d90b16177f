"""`download.php`: a finished job's ZIP, or one stem of it."""

from flask import Blueprint, Response

from ezstems.errors import BadInput, NotReady
from ezstems.jobs import FORMATS, STEMS, current_desk
from ezstems.models import COMPLETED, FAILED, Job
from ezstems.web.auth import key_required
from ezstems.web.expiry import add_expiry
from ezstems.web.filenames import SavedName, saved_name
from ezstems.web.job_lookup import called_job, last_argument
from ezstems.web.send import files_of, send

blueprint = Blueprint("download", __name__)


@blueprint.get("/download.php")
@key_required
def download() -> Response:
    """Answer with the ZIP, or the stem that `stem` names, whole or the range that was asked for."""
    job, name = called_job(), last_argument("stem")
    return add_expiry(single(job, name.lower()) if name else zipped(job), job)


def zipped(job: Job) -> Response:
    """Answer with a job's ZIP under a name made from the uploaded file's own."""
    require_completed(job)
    with files_of(job):
        return send(current_desk().result(job), "application/zip", named_after(job, f"{job.stems}stems.zip"))


def single(job: Job, name: str) -> Response:
    """Answer with one stem out of a job's ZIP, under a name made from the uploaded file's own."""
    if name not in STEMS[job.stems]:
        names = ", ".join(STEMS[job.stems])
        raise BadInput(f"stem={name[:64]!r} must be one of {names}: the stems of job {job.id}.")
    require_completed(job)
    output = FORMATS[job.output]
    with files_of(job):
        return send(current_desk().stem(job, name), output.media_type, named_after(job, output.filename(name)))


def require_completed(job: Job) -> None:
    """Raise NotReady unless a job's files are there."""
    if job.status == FAILED:
        raise NotReady(f"Job {job.id} failed: {job.error}")
    if job.status != COMPLETED:
        raise NotReady(f"Job {job.id} is {job.status}, not completed. Ask status.php again in a few seconds.")


def named_after(job: Job, ending: str) -> SavedName:
    """Name a file of a job after its upload, for who saves it."""
    return saved_name(job.original_name, job.id, ending)
