"""The account's webhook: its URL and secret, and what became of the last messages."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from ezstems.database import db
from ezstems.errors import BadInput, NotFound
from ezstems.models import PENDING, Delivery, Webhook
from ezstems.web.answers import timestamp
from ezstems.web.webhook import webhook_url, webhooks_are_on

blueprint = Blueprint("webhook", __name__, url_prefix="/account/webhook")

SHOWN_DELIVERIES = 50


@blueprint.before_request
@login_required
def require_webhooks() -> None:
    """Raise NotFound where the server sends none."""
    if not webhooks_are_on():
        raise NotFound("This server sends no webhooks.")


@blueprint.get("")
def webhook() -> str:
    """Show the URL and the last deliveries."""
    return _page()


@blueprint.post("")
def set_url() -> ResponseReturnValue:
    """Set the URL, or, where the field is blank, none."""
    raw = next(reversed(request.form.getlist("webhook_url")), "")
    try:
        url = webhook_url(raw)
    except BadInput as error:
        flash(str(error), "error")
    else:
        Webhook.set_url(current_user.id, url)
        flash("The URL is saved." if url else "Only jobs that name a URL of their own are told of now.")
    return _back()


@blueprint.post("/secret")
def show_secret() -> str:
    """Show the secret; no redirect, and no GET, lest it stays in a browser's history."""
    secret = Webhook.of(current_user.id).secret
    db.session.commit()
    return _page(secret)


@blueprint.post("/rotate")
def rotate() -> str:
    """Make a new secret, and show it."""
    secret = Webhook.rotate(current_user.id)
    flash("There is a new secret. For 24 hours messages are signed with both: change it in your program until then.")
    return _page(secret)


@blueprint.post("/test")
def test() -> ResponseReturnValue:
    """Send a message that tells of no job."""
    if Delivery.test(current_user.id) is None:
        flash("There is no URL that a test could be sent to.", "error")
    else:
        flash("A test is on its way; load the page again to see what came of it.")
    return _back()


@blueprint.post("/deliveries/<delivery_id>/resend")
def resend(delivery_id: str) -> ResponseReturnValue:
    """Send one message again."""
    number = int(delivery_id) if delivery_id.isascii() and delivery_id.isdecimal() and len(delivery_id) <= 18 else 0
    if not Delivery.is_of(number, current_user.id):
        raise NotFound(f"You have no delivery {delivery_id[:64]}.")
    if Delivery.resend(number):
        flash("The message is sent again; load the page again to see what came of it.")
    else:
        flash("The message is being sent at this moment.", "error")
    return _back()


def _back() -> ResponseReturnValue:
    return redirect(url_for(".webhook"), 303)


def _page(secret: str | None = None) -> str:
    found = Webhook.seen(current_user.id)
    last = [_described(delivery) for delivery, _ in Delivery.last(SHOWN_DELIVERIES, current_user.id)]
    rotated = timestamp(found.rotated_at) if found.rotated_at and len(found.signing_secrets) > 1 else None
    return render_template("webhook.html", webhook=found, secret=secret, rotated=rotated, deliveries=last)


def _described(delivery: Delivery) -> dict[str, Any]:
    is_waiting = delivery.state == PENDING and delivery.claim is None
    return {
        "id": delivery.id,
        "event": delivery.event,
        "job_id": delivery.job_id,
        "url": delivery.url,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "answer": delivery.last_status or delivery.last_error or "–",
        "created_at": timestamp(delivery.created_at),
        "next_at": timestamp(delivery.next_at) if is_waiting else None,
        "can_be_sent": delivery.claim is None or delivery.state != PENDING,
    }
