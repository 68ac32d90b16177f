"""`keys.php`: the account's API keys. The website's account page does the same without scripts."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, current_app, g, request
from sqlalchemy import select

from ezstems.database import db
from ezstems.errors import BadInput, NotFound
from ezstems.models import MAX_ID, MAX_KEY_NAME, ApiKey, User
from ezstems.web import auth
from ezstems.web.answers import message, success, timestamp
from ezstems.web.job_lookup import last_argument

blueprint = Blueprint("keys", __name__)

STORE_IT = "Store this API key securely. It won't be shown again."
DEACTIVATED = "API key deactivated successfully"


@blueprint.get("/keys.php")
def listed() -> Response:
    """Answer with the account's keys, oldest first."""
    auth.authenticate()
    return success([described(key) for key in keys_of(g.user)])


@blueprint.delete("/keys.php")
def deactivated() -> Response:
    """Deactivate the calling key or, for the website's session, the one that `?id=` names."""
    auth.authenticate()
    deactivate(g.get("key") or key_of(g.user, last_argument("id") or ""))
    return message(DEACTIVATED)


@blueprint.post("/keys.php")
def issued() -> Response:
    """Make a new key, with the name that the form may give it, for the website's session; show it this once."""
    auth.authenticate_session()
    return success({"api_key": issue(g.user), "message": STORE_IT})


def keys_of(user: User) -> Sequence[ApiKey]:
    """Return an account's keys, oldest first."""
    return db.session.scalars(select(ApiKey).where(ApiKey.user_id == user.id).order_by(ApiKey.id)).all()


def key_of(user: User, raw_id: str) -> ApiKey:
    """Return an account's key by its number as a client wrote it; another account's is unknown."""
    if not (raw_id.isascii() and raw_id.isdecimal() and len(raw_id) <= 18):
        raise BadInput(f"id={raw_id[:64]!r} must be the number of one of your keys.")
    number = int(raw_id)
    mine = select(ApiKey).where(ApiKey.id == number, ApiKey.user_id == user.id)
    key = db.session.scalar(mine) if number <= MAX_ID else None
    if key is None:
        raise NotFound(f"You have no key {raw_id}.")
    return key


def issue(user: User) -> str:
    """Make a key with the name in the request's form, if any; return it in clear."""
    _, key = ApiKey.issue(user, name=sent_name())
    db.session.commit()
    return key


def deactivate(key: ApiKey) -> None:
    """Let nobody in with a key any more."""
    key.is_active = False
    db.session.commit()


def sent_name() -> str | None:
    """Return the name of a key in the request's form; None where it is blank or missing."""
    raw = next(reversed(request.form.getlist("name")), "")
    try:
        return ApiKey.checked_name(raw)
    except ValueError as error:
        raise BadInput(f"name={raw[:MAX_KEY_NAME]!r} {error}.") from error


def described(key: ApiKey) -> dict[str, Any]:
    """Return a key as the contract shows it."""
    settings = current_app.config
    return {
        "id": key.id,
        "api_key": "*" * 8 + key.tail,
        "is_active": int(key.is_active),
        "rate_limit": key.limit(settings["EZSTEMS_RATE_LIMIT"]),
        "calls_count": key.calls_in_window(settings["EZSTEMS_RATE_WINDOW_SECONDS"]),
        "created_at": timestamp(key.created_at),
        "last_used_at": timestamp(key.last_used_at) if key.last_used_at else None,
    }
