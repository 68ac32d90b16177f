"""The job that a call is about: its id parsed, its row found, its owner checked, in one place."""

import re
from urllib.parse import quote

from flask import g, request, url_for
from sqlalchemy import bindparam, select

from ezstems.database import db
from ezstems.errors import BadInput, NotFound
from ezstems.jobs import STEMS
from ezstems.models import Job, User

_ID = re.compile(rf"[0-9]{{1,12}}_[{''.join(map(str, STEMS))}]")
_OWN = select(Job).where(Job.id == bindparam("job_id"), Job.user_id == bindparam("user_id"))


def last_argument(name: str) -> str | None:
    """Return a query parameter as PHP would: a repeated one's last value."""
    values = request.args.getlist(name)
    return values[-1].strip() if values else None


def called_job() -> Job:
    """Return the caller's job that `?id=` names; another account's is unknown."""
    job_id = last_argument("id")
    if job_id is None:
        raise BadInput("The parameter id is missing: the id that upload.php answered.")
    return job_of(g.user, require_id("id", job_id))


def require_id(name: str, job_id: str) -> str:
    """Return the value of a parameter that must be a job's id; raise BadInput where it can't be one."""
    if not _ID.fullmatch(job_id):
        raise BadInput(f"{name}={job_id[:64]!r} must look like 1699567234_2: what upload.php answered.")
    return job_id


def job_of(user: User, job_id: str) -> Job:
    """Return an account's job; another account's is unknown."""
    job = db.session.scalar(_OWN, {"job_id": job_id, "user_id": user.id}) if _ID.fullmatch(job_id) else None
    if job is None:
        raise NotFound(f"There is no job {job_id[:64]}.")
    if job.expired_at is not None:
        raise expired(job)
    return job


def expired(job: Job) -> NotFound:
    """Return what to raise for a job past its retention, or deleted."""
    return NotFound(f"Job {job.id} expired or was deleted. Upload the file again.")


def endpoint_url(endpoint: str, job: Job) -> str:
    """Return the path of an endpoint for a job, as it stands in the answers."""
    return f"{url_for(f'{endpoint}.{endpoint}')}?id={quote(job.id)}"
