"""`upload.php`: a file becomes a job."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from types import MappingProxyType
from typing import Any

from flask import Blueprint, Response, current_app, g, request

from ezstems.errors import BadInput
from ezstems.jobs import API_EXTENSIONS, PARAMETERS, Incoming, Unkept, current_desk
from ezstems.models import Job, User
from ezstems.web.answers import success
from ezstems.web.api.idempotency import called_key, fingerprint, first_answer
from ezstems.web.api.kept_upload import BOTH, separate_again, too_large_for
from ezstems.web.api.metadata import checked_metadata
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
    """Take in a file, or a job whose upload is kept, and answer with the new job.

    Under a key that an upload had before it is answered as that was.
    """
    key = called_key()
    if key is None:
        return _accepted(receive(g.user))
    with current_desk().claims.claim(g.user.id, key) as claim:
        if claim.first is not None:
            with closing(_form(g.user, Unkept)) as form:
                form.read(request)
                return first_answer(claim.first, form)

        def keep(form: UploadForm, job: Job) -> None:
            claim.settle(fingerprint(form), _accepted(job).get_data(as_text=True))

        return _accepted(receive(g.user, keep=keep))


def receive(
    user: User,
    check: Callable[[Mapping[str, str]], None] = lambda fields: None,
    keep: Callable[[UploadForm, Job], None] = lambda form, job: None,
    extensions: Sequence[str] = API_EXTENSIONS,
) -> Job:
    """Stream the request's file to the disk, check it, and line its job up.

    `check` may refuse the other fields, `keep` store more in the job's transaction, and the file's name must have one
    of the `extensions`.
    """
    desk = current_desk()
    with closing(_form(user, desk.incoming)) as form:
        desk.admit(user, request.content_length or 0)
        form.read(request)
        check(form.fields)
        if source_id := form.fields.get("source", "").strip():
            if form.incoming is not None:
                raise BadInput(BOTH)
            return separate_again(user, source_id, wished(form.fields), partial(keep, form))
        incoming = form.require_file()
        name, extension = upload_name(form.filename, extensions)
        options = wished(form.fields)
        if incoming.size_bytes == 0:
            raise BadInput(f"The file {name!r} is empty.")
        return desk.submit(user, incoming, name=name, extension=extension, keep=partial(keep, form), **options)


def _form(user: User, open_incoming: Callable[[], Incoming]) -> UploadForm:
    """Return the form to read from a request that isn't said to be too large for a user's plan."""
    limit = user.max_upload_bytes
    too_large = too_large_for(user)
    if (request.content_length or 0) > limit + OVERHEAD_BYTES:
        raise too_large
    request.max_content_length = limit + OVERHEAD_BYTES  # in place of the website's
    return UploadForm(open_incoming, limit, too_large)


def _accepted(job: Job) -> Response:
    return success(
        {
            "id": job.id,
            "filename": job.filename,
            "status": "queued",
            "stems": str(job.stems),
            "check_status_endpoint": endpoint_url("status", job),
        }
    )


def wished(fields: Mapping[str, str]) -> dict[str, Any]:
    """Parse all fields beside the file into columns of its job."""
    return {
        **chosen(fields, current_app.config),
        "metadata_text": checked_metadata(fields.get("metadata", "")),
        "webhook_url": webhook_url(fields.get("webhook_url", "")),
    }


def chosen(fields: Mapping[str, str], settings: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Parse the parameters beside the file; an optional one that is blank is as good as missing."""
    return {name: parameter.parse(fields.get(name, ""), settings) for name, parameter in PARAMETERS.items()}
