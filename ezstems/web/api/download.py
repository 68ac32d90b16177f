"""`download.php`: a finished job's ZIP."""

from pathlib import PurePath

from flask import Blueprint, Response, request, send_file

from ezstems.errors import NotReady
from ezstems.jobs import current_worker
from ezstems.models import COMPLETED, FAILED
from ezstems.web.api.jobs import called_job, expired
from ezstems.web.auth import key_required

blueprint = Blueprint("download", __name__)

# Conditions that Werkzeug would answer with a code (412, or 304 to who didn't ask by ETag) the contract doesn't know.
_IGNORED_CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_MODIFIED_SINCE")


@blueprint.get("/download.php")
@key_required
def download() -> Response:
    """Answer with the ZIP, whole or the range that was asked for."""
    job = called_job()
    if job.status == FAILED:
        raise NotReady(f"Job {job.id} failed: {job.error}")
    if job.status != COMPLETED:
        raise NotReady(f"Job {job.id} is {job.status}, not completed. Ask status.php again in a few seconds.")
    ignored = _IGNORED_CONDITIONS if _asks_for_one_range() else (*_IGNORED_CONDITIONS, "HTTP_RANGE")
    for name in ignored:
        request.environ.pop(name, None)
    name = f"{PurePath(job.original_name).stem}-{job.stems}stems.zip"
    try:
        return send_file(
            current_worker().result(job), "application/zip", as_attachment=True, download_name=name, max_age=0
        )
    except FileNotFoundError:
        # The sweep took it between the row's read and the file's opening.
        raise expired(job) from None


def _asks_for_one_range() -> bool:
    # Werkzeug would answer 416 to several ranges, other units and nonsense, which RFC 9110 lets a server ignore.
    return request.range is not None and request.range.units == "bytes" and len(request.range.ranges) == 1
