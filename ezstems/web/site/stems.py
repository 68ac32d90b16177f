"""A song's files from the website's session: its waveforms, its stems, its ZIP."""

from flask import Blueprint, Response, request
from flask_login import login_required

from ezstems.errors import NotFound
from ezstems.jobs import FORMATS, STEMS, RenamedZip, current_desk
from ezstems.models import Job
from ezstems.web.api.download import require_completed
from ezstems.web.send import files_of, send
from ezstems.web.site.exports import named
from ezstems.web.site.song_lookup import song_of

blueprint = Blueprint("stems", __name__)


@blueprint.get("/songs/<job_id>/peaks")
@login_required
def peaks(job_id: str) -> Response:
    """Answer with the peaks of every stem, for the mixer's waveforms."""
    job = _completed(job_id)
    with files_of(job):
        current_desk().result(job).close()
        try:
            return send(current_desk().peaks(job), "application/json")
        except FileNotFoundError:
            why = "it was separated before these were measured, or the server's disk lost them"
            raise NotFound(f"Job {job.id} has no waveforms: {why}.") from None


@blueprint.get("/songs/<job_id>/stems/<name>")
@login_required
def stem(job_id: str, name: str) -> Response:
    """Answer with one stem out of the ZIP, whole or the range that was asked for; `?download=1` is to save it."""
    job = _completed(job_id)
    if name not in STEMS[job.stems]:
        raise NotFound(f"Job {job.id} has no stem {name[:64]!r}; it has {', '.join(STEMS[job.stems])}.")
    output = FORMATS[job.output]
    name_of_file = named(job, output.filename(name)) if request.args.get("download") == "1" else None
    with files_of(job):
        return send(current_desk().stem(job, name), output.media_type, name_of_file)


@blueprint.get("/songs/<job_id>/zip")
@login_required
def zipped_stems(job_id: str) -> Response:
    """Answer with the ZIP, whose entries are called after the song; download.php leaves them their plain names."""
    job = _completed(job_id)
    with files_of(job):
        renamed = RenamedZip(current_desk().result(job), lambda name: named(job, name).full)
        return send(renamed, "application/zip", named(job, f"{job.stems} stems.zip"))


def _completed(job_id: str) -> Job:
    job = song_of(job_id)
    require_completed(job)
    return job
