"""A song's kept upload separated again with other choices, as a song of its own."""

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from ezstems.jobs import PARAMETERS, current_desk
from ezstems.web.answers import success
from ezstems.web.api.kept_upload import separate_again
from ezstems.web.api.upload import wished
from ezstems.web.errors import wants_json
from ezstems.web.site.song_lookup import song_of

blueprint = Blueprint("again", __name__)


@blueprint.post("/songs/<job_id>/again")
@login_required
def again(job_id: str) -> ResponseReturnValue:
    """Line up another job of a song's kept upload; lead to its page, or tell a script its place."""
    source_id = song_of(job_id).id
    chosen = wished({name: request.form.get(name, "") for name in PARAMETERS})
    user = current_user._get_current_object()
    current_desk().admit(user)
    job = separate_again(user, source_id, chosen)
    place = url_for("songs.song", job_id=job.id)
    return success({"id": job.id, "url": place}) if wants_json() else redirect(place, 303)
