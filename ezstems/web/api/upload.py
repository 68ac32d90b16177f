"""`upload.php`: a file becomes a job."""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from flask import Blueprint, Response, current_app, g, request

from ezstems.errors import BadInput, UploadTooLarge
from ezstems.jobs import CUTOFFS, OUTPUTS, STEMS, current_worker
from ezstems.models import Job, User
from ezstems.web.answers import success
from ezstems.web.api.upload_form import UploadForm
from ezstems.web.auth import key_required
from ezstems.web.filenames import named
from ezstems.web.job_lookup import endpoint_url

blueprint = Blueprint("upload", __name__)

CUTOFF_NAMES = {name.lower(): name for name in CUTOFFS} | {
    "11": "11kHz",
    "11000": "11kHz",
    "16": "16kHz",
    "16000": "16kHz",
}
# What PHP allows around a number.
_BLANK = " \t\n\r\v\f"
# Boundaries, headers and the small fields around a file.
OVERHEAD_BYTES = 1024 * 1024


@blueprint.post("/upload.php")
@key_required
def upload() -> Response:
    """Take in a file and answer with its job."""
    job = receive(g.user)
    return success(
        {
            "id": job.id,
            "filename": job.filename,
            "status": "queued",
            "stems": str(job.stems),
            "check_status_endpoint": endpoint_url("status", job),
        }
    )


def receive(user: User, check: Callable[[Mapping[str, str]], None] = lambda fields: None) -> Job:
    """Stream the request's file to the disk, check it, and line its job up; `check` may refuse the other fields."""
    worker = current_worker()
    limit = user.max_upload_bytes
    too_large = UploadTooLarge(f"The file is over the {limit // 1024**2} MB that the {user.plan} plan allows.")
    declared = request.content_length or 0
    if declared > limit + OVERHEAD_BYTES:
        raise too_large
    worker.admit(user, declared)
    request.max_content_length = limit + OVERHEAD_BYTES  # in place of the website's
    with closing(UploadForm(worker.incoming, limit, too_large)) as form:
        form.read(request)
        check(form.fields)
        incoming = form.require_file()
        name, extension = named(form.filename)
        options = chosen(form.fields, current_app.config["EZSTEMS_CUTOFF"])
        if incoming.size_bytes == 0:
            raise BadInput(f"The file {name!r} is empty.")
        return worker.submit(user, incoming, name=name, extension=extension, **options)


def chosen(fields: Mapping[str, str], cutoff: str = CUTOFFS[0]) -> dict[str, Any]:
    """Parse the parameters beside the file; an optional one that is blank is as good as missing."""
    stems = fields.get("stems", "").strip(_BLANK)
    if stems not in map(str, STEMS):
        raise BadInput(f"stems={stems[:64]!r} must be 2, 4 or 5.")
    cutoff = fields.get("cutoff", "").strip(_BLANK) or cutoff
    if not cutoff.isascii() or cutoff.lower() not in CUTOFF_NAMES:  # the Kelvin sign's lower case is a k
        raise BadInput(f"cutoff={cutoff[:64]!r} must be one of {', '.join(CUTOFFS)}.")
    output = fields.get("output", "").strip(_BLANK) or OUTPUTS[0]
    if output.lower() not in OUTPUTS:
        raise BadInput(f"output={output[:64]!r} must be one of {', '.join(OUTPUTS)}.")
    return {"stems": int(stems), "cutoff": CUTOFF_NAMES[cutoff.lower()], "output": output.lower()}
