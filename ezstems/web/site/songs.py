"""The account's songs: the library, what its pages poll, one song's page, and its deletion."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from sqlalchemy import ColumnElement, and_, or_, select

from ezstems.database import db
from ezstems.jobs import FORMATS, PARAMETERS, SAMPLE_RATE_HZ, STEMS, Format, clipping, current_desk
from ezstems.models import COMPLETED, PROCESSING, QUEUED, Job, utcnow
from ezstems.web.answers import message, success
from ezstems.web.errors import wants_json
from ezstems.web.expiry import expires_at
from ezstems.web.job_lookup import expired
from ezstems.web.send import files_of
from ezstems.web.site.song_lookup import song_of

blueprint = Blueprint("songs", __name__)

# More than anybody looks through; the search finds the older ones.
MOST_SONGS = 500
MAX_QUERY = 255
# A page that slept, or that was left, still learns how its songs ended.
TOLD_FOR = timedelta(minutes=10)


@dataclass(frozen=True)
class Song:
    """Hold what the pages show of a job."""

    id: str
    name: str
    status: str
    stems: int
    cutoff: str
    output: Format
    output_name: str
    model: str | None
    clipping: str | None
    seconds: float | None
    created_at: datetime
    expires_at: datetime | None
    error: str | None
    queue_position: int
    progress: int


@blueprint.get("/songs")
@login_required
def library() -> str:
    """List the songs, the newest first; `?q=` leaves those whose name holds it."""
    query = request.args.get("q", "").strip()[:MAX_QUERY]
    return render_template("songs.html", songs=_songs(_jobs(_matching(query), MOST_SONGS)), query=query)


@blueprint.get("/songs/states")
@login_required
def states() -> Response:
    """Answer with the songs whose state may change, or has just changed."""
    told = or_(Job.status.in_((QUEUED, PROCESSING)), Job.finished_at >= utcnow() - TOLD_FOR)
    return success(
        [
            {
                "id": song.id,
                "name": song.name,
                "status": song.status,
                "queue_position": song.queue_position,
                "progress": song.progress,
                "error": song.error,
                "url": url_for(".song", job_id=song.id),
            }
            for song in _songs(_jobs(told, None))
        ]
    )


@blueprint.get("/songs/<job_id>")
@login_required
def song(job_id: str) -> str:
    """Show one song."""
    job = song_of(job_id)
    if job.status == COMPLETED:
        with files_of(job):
            current_desk().result(job).close()
    repeat = {"can_repeat": job.needs_upload, "parameters": PARAMETERS.values()}
    return render_template("song.html", song=_songs([job])[0], stem_names=STEMS[job.stems], **repeat)


@blueprint.post("/songs/<job_id>/delete")
@login_required
def delete(job_id: str) -> ResponseReturnValue:
    """Delete a song in whatever state, and its files."""
    job = song_of(job_id)
    if not current_desk().delete(job):
        raise expired(job)
    return message("The song was deleted.") if wants_json() else redirect(url_for(".library"), 303)


def _mine() -> ColumnElement[bool]:
    return and_(Job.user_id == current_user.id, Job.expired_at.is_(None))


def _jobs(condition: ColumnElement[bool], most: int | None) -> Sequence[Job]:
    return db.session.scalars(select(Job).where(_mine(), condition).order_by(Job.number.desc()).limit(most)).all()


def _matching(query: str) -> ColumnElement[bool]:
    """Return the condition that a song's name holds a text.

    Compared here, not by the database: SQLite's LIKE knows the capitals of ASCII alone, and no database that an é may
    be one character or two, as in the names of a Mac's files.
    """
    if not query:
        return _mine()
    names = db.session.execute(select(Job.number, Job.original_name).where(_mine()).order_by(Job.number.desc()))
    sought = _folded(query)
    numbers = [number for number, name in names if sought in _folded(name)]
    return Job.number.in_(numbers[:MOST_SONGS])


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _songs(jobs: Sequence[Job]) -> list[Song]:
    positions = current_desk().positions(jobs)
    return [
        Song(
            id=job.id,
            name=job.original_name,
            status=job.status,
            stems=job.stems,
            cutoff=job.cutoff,
            output=FORMATS[job.output],
            output_name=job.output,
            model=job.model,
            clipping=clipping.advice(job.clipped_samples) if job.clipped_samples else None,
            seconds=None if job.samples is None else job.samples / SAMPLE_RATE_HZ,
            created_at=job.created_at,
            expires_at=expires_at(job),
            error=job.error,
            queue_position=positions[job.number],
            progress=job.progress,
        )
        for job in jobs
    ]
