"""The previews of a song, which the mixer plays: small enough for any line, each chunk a file of its own."""

from datetime import timedelta

from flask import Blueprint, Response, current_app
from flask_login import login_required

from ezstems.errors import NotFound
from ezstems.jobs import PREVIEW_MEDIA_TYPE, current_desk
from ezstems.models import Job, utcnow
from ezstems.web.answers import success
from ezstems.web.api.download import require_completed
from ezstems.web.send import files_of, send
from ezstems.web.site.song_lookup import song_of

blueprint = Blueprint("previews", __name__)

# Those of a song of four minutes take five seconds; on a box that is busy, the stems themselves are played sooner.
AWAITED_FOR = timedelta(seconds=10)


@blueprint.get("/songs/<job_id>/previews")
@login_required
def contents(job_id: str) -> Response:
    """Answer with what previews there are and how they are cut, or with null, and whether some come soon."""
    job = song_of(job_id)
    require_completed(job)
    with files_of(job):
        found = current_desk().previews(job)
    return success({"contents": found, "soon": found is None and _are_awaited(job)})


def _are_awaited(job: Job) -> bool:
    if current_app.config["EZSTEMS_PREVIEWS"] == "off" or job.finished_at is None:
        return False
    return timedelta() <= utcnow() - job.finished_at < AWAITED_FOR


@blueprint.get("/songs/<job_id>/previews/<name>/<int:number>")
@login_required
def chunk(job_id: str, name: str, number: int) -> Response:
    """Answer with one chunk of a stem, or of the original."""
    job = song_of(job_id)
    require_completed(job)
    with files_of(job):
        try:
            return send(current_desk().preview(job, name, number), PREVIEW_MEDIA_TYPE)
        except FileNotFoundError:
            raise NotFound(f"Job {job.id} has no chunk {number} of a preview {name[:64]!r}.") from None
