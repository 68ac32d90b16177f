"""The account: its plan, what was used of it, and its keys, as keys.php makes and deactivates them."""

from dataclasses import dataclass

from flask import Blueprint, current_app, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from sqlalchemy import func, select

from ezstems.database import db
from ezstems.errors import BadInput, DamagedFile
from ezstems.jobs import current_desk
from ezstems.models import COMPLETED, Job, User, utcnow
from ezstems.web.api import keys
from ezstems.web.durations import span

blueprint = Blueprint("account", __name__)


@dataclass(frozen=True)
class Usage:
    """Hold what an account uses: the songs whose files are here, their size, the songs of this month."""

    songs: int
    size_bytes: int
    songs_this_month: int


@blueprint.get("/account")
@login_required
def account() -> str:
    """Show the account."""
    return _page()


@blueprint.post("/account/keys")
@login_required
def new_key() -> ResponseReturnValue:
    """Make a key and show it this once."""
    try:
        # No redirect: the session's cookie, which could carry the key to another page, is signed but not secret.
        return _page(keys.issue(current_user))
    except BadInput as error:
        flash(str(error), "error")
        return redirect(url_for(".account"))


@blueprint.post("/account/keys/<raw_id>/name")
@login_required
def name_key(raw_id: str) -> ResponseReturnValue:
    """Give a key another name."""
    key = keys.key_of(current_user, raw_id)
    try:
        key.name = keys.sent_name()
        db.session.commit()
        flash(f"The key ending in {key.tail} is named “{key.name}” now." if key.name else "The key has no name now.")
    except BadInput as error:
        flash(str(error), "error")
    return redirect(url_for(".account"))


@blueprint.post("/account/keys/<raw_id>/deactivate")
@login_required
def deactivate_key(raw_id: str) -> ResponseReturnValue:
    """Deactivate a key."""
    keys.deactivate(keys.key_of(current_user, raw_id))
    flash(f"{keys.DEACTIVATED}.")
    return redirect(url_for(".account"))


def _page(shown_key: str | None = None) -> str:
    return render_template(
        "account.html",
        keys=[keys.described(key) | {"name": key.name} for key in keys.keys_of(current_user)],
        rate_limit=current_app.config["EZSTEMS_RATE_LIMIT"],
        window=_words(current_app.config["EZSTEMS_RATE_WINDOW_SECONDS"]),
        usage=_usage(current_user),
        shown_key=shown_key,
        store_it=keys.STORE_IT,
    )


def _words(seconds: int) -> str:
    """Name a time as what follows "per": `hour`, `2 days`, `90 seconds`."""
    return span(seconds).removeprefix("1 ")


def _usage(user: User) -> Usage:
    mine = Job.user_id == user.id
    stored = db.session.scalars(select(Job).where(mine, Job.expired_at.is_(None))).all()
    month = utcnow().replace(day=1, hour=0, minute=0, second=0)
    count = db.session.scalar(select(func.count()).where(mine, Job.created_at >= month))
    return Usage(len(stored), sum(map(_size_bytes, stored)), count or 0)


def _size_bytes(job: Job) -> int:
    """Return what a job's files take: the upload until it is separated, the ZIP afterwards."""
    if job.status != COMPLETED:
        return job.size_bytes
    if job.result_bytes is not None:
        return job.result_bytes
    try:
        with current_desk().result(job) as result:
            return result.size_bytes
    except (DamagedFile, OSError):  # the sweep took it meanwhile, or the disk did
        return 0
