"""The upload page, and the form that it sends: upload.php's own, from the website's session."""

from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from flask_wtf.csrf import validate_csrf
from wtforms import ValidationError

from ezstems.errors import BadInput, ServerFull, TooManyJobs
from ezstems.jobs import PARAMETERS, UPLOAD_EXTENSIONS
from ezstems.models import Job
from ezstems.web.answers import success
from ezstems.web.api.upload import receive
from ezstems.web.auth import csrf
from ezstems.web.errors import wants_json
from ezstems.web.site.model_notice import bundled_models

blueprint = Blueprint("upload_page", __name__)

TOKEN_HEADER, TOKEN_FIELD = "X-CSRFToken", "csrf_token"


@blueprint.get("/upload")
@login_required
def page() -> str:
    """Show the form."""
    return _page()


# Flask-WTF would look for the token in a form that it reads into memory first, with the file.
@csrf.exempt
@blueprint.post("/upload")
@login_required
def send() -> ResponseReturnValue:
    """Take in a file; answer a script with the song's place, a form with that page or its own with what was wrong."""
    try:
        job = _received()
    except (BadInput, TooManyJobs, ServerFull) as error:
        if wants_json():
            raise
        if isinstance(error, BadInput):
            return _page(str(error)), 400
        status = 403 if isinstance(error, TooManyJobs) else 500
        return _page(str(error)), status, {"Retry-After": str(error.retry_after_seconds)}
    place = url_for("songs.song", job_id=job.id)
    return success({"id": job.id, "url": place}) if wants_json() else redirect(place, 303)


def _received() -> Job:
    """Check the token as soon as it is there: a header's at once, a field's, which may follow the file, in the end."""
    if not (token := request.headers.get(TOKEN_HEADER, "").strip()):
        return receive(current_user, _check_field, extensions=UPLOAD_EXTENSIONS)
    _check(token)
    return receive(current_user, extensions=UPLOAD_EXTENSIONS)


def _check_field(fields: Mapping[str, str]) -> None:
    _check(fields.get(TOKEN_FIELD, ""))


def _check(token: str) -> None:
    try:
        validate_csrf(token)
    except ValidationError as error:
        raise BadInput(f"{error} Load the page again and send the file from there.") from error


def _page(error: str | None = None) -> str:
    return render_template(
        "upload.html",
        parameters=PARAMETERS.values(),
        max_bytes=current_user.max_upload_bytes,
        extensions=UPLOAD_EXTENSIONS,
        bundled=bundled_models(),
        error=error,
    )
