"""The URL of a webhook as a client wrote it, in an upload or on the account page."""

from flask import current_app

from ezstems.errors import BadInput
from ezstems.webhooks import AllowedHosts, checked_url

OFF = "webhook_url is given, but this server sends no webhooks: its operator has not switched them on. Leave it out."


def webhooks_are_on() -> bool:
    """Tell whether this server sends webhooks."""
    return current_app.config["EZSTEMS_WEBHOOKS"] == "on"


def webhook_url(raw: str) -> str | None:
    """Return a URL that webhooks may be sent to, None for a blank one.

    Raise BadInput for any other, and where no webhooks are sent: who waits for one must not wait for ever.
    """
    url = raw.strip()
    if not url:
        return None
    if not webhooks_are_on():
        raise BadInput(OFF)
    return checked_url(url, AllowedHosts(current_app.config["EZSTEMS_WEBHOOK_HOSTS"]))
