"""`keys.php`: the account's API keys."""

from typing import Any

from flask import Blueprint, Response, current_app, g
from sqlalchemy import select

from ezstems.database import db
from ezstems.errors import BadInput, NotFound
from ezstems.models import ApiKey
from ezstems.web import auth
from ezstems.web.answers import message, success, timestamp
from ezstems.web.api.jobs import last_argument

blueprint = Blueprint("keys", __name__)

STORE_IT = "Store this API key securely. It won't be shown again."


@blueprint.get("/keys.php")
def listed() -> Response:
    """Answer with the account's keys, oldest first."""
    auth.authenticate()
    keys = db.session.scalars(select(ApiKey).where(ApiKey.user_id == g.user.id).order_by(ApiKey.id))
    return success([_described(key) for key in keys])


@blueprint.delete("/keys.php")
def deactivated() -> Response:
    """Deactivate the calling key or, for the website's session, the one that `?id=` names."""
    auth.authenticate()
    key = g.get("key") or _named_key()
    key.is_active = False
    db.session.commit()
    return message("API key deactivated successfully")


@blueprint.post("/keys.php")
def issued() -> Response:
    """Make a new key for the website's session and show it this once."""
    auth.authenticate_session()
    _, key = ApiKey.issue(g.user)
    db.session.commit()
    return success({"api_key": key, "message": STORE_IT})


def _named_key() -> ApiKey:
    raw = last_argument("id")
    if raw is None or not (raw.isascii() and raw.isdecimal() and len(raw) <= 18):
        raise BadInput(f"id={(raw or '')[:64]!r} must be the number of one of your keys.")
    key = db.session.scalar(select(ApiKey).where(ApiKey.id == int(raw), ApiKey.user_id == g.user.id))
    if key is None:
        raise NotFound(f"You have no key {raw}.")
    return key


def _described(key: ApiKey) -> dict[str, Any]:
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
