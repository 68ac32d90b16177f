"""`upload.php`: a file becomes a job."""

from collections.abc import Callable, Mapping
from contextlib import closing
from types import MappingProxyType
from typing import Any

from flask import Blueprint, Response, current_app, g, request

from ezstems.errors import BadInput, UploadTooLarge
from ezstems.jobs import PARAMETERS, current_desk
from ezstems.models import Job, User
from ezstems.web.answers import success
from ezstems.web.api.upload_form import UploadForm
from ezstems.web.auth import key_required
from ezstems.web.filenames import upload_name
from ezstems.web.job_lookup import endpoint_url
from ezstems.web.webhook import webhook_url

blueprint = Blueprint("upload", __name__)

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
    desk = current_desk()
    limit = user.max_upload_bytes
    too_large = UploadTooLarge(f"The file is over the {limit // 1024**2} MB that the {user.plan} plan allows.")
    declared = request.content_length or 0
    if declared > limit + OVERHEAD_BYTES:
        raise too_large
    desk.admit(user, declared)
    request.max_content_length = limit + OVERHEAD_BYTES  # in place of the website's
    with closing(UploadForm(desk.incoming, limit, too_large)) as form:
        form.read(request)
        check(form.fields)
        incoming = form.require_file()
        name, extension = upload_name(form.filename)
        options = chosen(form.fields, current_app.config)
        options["webhook_url"] = webhook_url(form.fields.get("webhook_url", ""))
        if incoming.size_bytes == 0:
            raise BadInput(f"The file {name!r} is empty.")
        return desk.submit(user, incoming, name=name, extension=extension, **options)


def chosen(fields: Mapping[str, str], settings: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Parse the parameters beside the file; an optional one that is blank is as good as missing."""
    return {name: parameter.parse(fields.get(name, ""), settings) for name, parameter in PARAMETERS.items()}
