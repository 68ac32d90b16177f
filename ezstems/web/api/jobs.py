"""`jobs.php`: the account's jobs, and their deletion."""

from typing import Any

from flask import Blueprint, Response, g
from sqlalchemy import Select, select
from sqlalchemy.orm import aliased

from ezstems.database import db
from ezstems.errors import BadInput, NotFound
from ezstems.jobs import SAMPLE_RATE_HZ, current_desk
from ezstems.models import STATES, Job
from ezstems.web.answers import message, success, timestamp
from ezstems.web.api import status
from ezstems.web.auth import key_required
from ezstems.web.expiry import expires_at
from ezstems.web.job_lookup import called_job, expired, last_argument, require_id

blueprint = Blueprint("jobs", __name__)

DEFAULT_LIMIT, MAX_LIMIT = 50, 100
DELETED = "Job deleted successfully"
_Named = aliased(Job)


@blueprint.get("/jobs.php")
@key_required
def listed() -> Response:
    """Answer with the account's jobs whose files are kept, newest first."""
    jobs = db.session.scalars(asked(g.user.id)).all()
    positions = current_desk().positions(jobs)
    return success([status.described(job, positions[job.number]) | more_of(job) for job in jobs])


@blueprint.delete("/jobs.php")
@key_required
def deleted() -> Response:
    """Delete a job in whatever state, and its files; one that runs stops."""
    job = called_job()
    if not current_desk().delete(job):
        raise expired(job)
    return message(DELETED)


def asked(user_id: int) -> Select[tuple[Job]]:
    """Select an account's jobs as the parameters ask for them; a blank one is as good as missing."""
    jobs = select(Job).where(Job.user_id == user_id, Job.expired_at.is_(None)).order_by(Job.number.desc())
    if state := last_argument("status"):
        if state not in STATES:
            raise BadInput(f"status={state[:64]!r} must be one of {', '.join(STATES)}.")
        # As an expression, lest another index serves, which holds the account's expired jobs, too.
        jobs = jobs.where(Job.status.concat("") == state)
    ids = last_argument("ids")
    if ids:
        # Their numbers first, lest all that is kept is looked through.
        jobs = jobs.where(Job.number.in_(select(_Named.number).where(_Named.id.in_(_ids(ids)))))
    if before := last_argument("before"):
        jobs = jobs.where(Job.number < _number(user_id, require_id("before", before)))
    return jobs.limit(_limit(last_argument("limit") or str(MAX_LIMIT if ids else DEFAULT_LIMIT)))


def more_of(job: Job) -> dict[str, Any]:
    """Return what the list says of a job beside its state."""
    moment = expires_at(job)
    return {
        "filename": job.filename,
        "original_name": job.original_name,
        "seconds": None if job.samples is None else round(job.samples / SAMPLE_RATE_HZ, 3),
        "model": job.model,
        "expires_at": None if moment is None else timestamp(moment),
        "metadata": job.metadata_text,
    }


def _limit(raw: str) -> int:
    if not (raw.isascii() and raw.isdecimal() and len(raw) <= 9 and 1 <= int(raw) <= MAX_LIMIT):
        raise BadInput(f"limit={raw[:64]!r} must be a whole number from 1 to {MAX_LIMIT}.")
    return int(raw)


def _ids(raw: str) -> list[str]:
    ids = [require_id("ids", job_id.strip()) for job_id in raw.split(",", MAX_LIMIT)[:MAX_LIMIT]]
    if raw.count(",") >= MAX_LIMIT:
        raise BadInput(f"ids names {raw.count(',') + 1} jobs; it must name at most {MAX_LIMIT}.")
    return ids


def _number(user_id: int, job_id: str) -> int:
    # Also of a job that expired or was deleted: who reads page by page goes on from there.
    number = db.session.scalar(select(Job.number).where(Job.id == job_id, Job.user_id == user_id))
    if number is None:
        raise NotFound(f"There is no job {job_id}.")
    return number
