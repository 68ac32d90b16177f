"""Webhooks: to where they may be sent, and the threads that send them. They know no job but by its delivery's row."""

from ezstems.webhooks.hosts import AllowedHosts
from ezstems.webhooks.outcome import OUTCOMES
from ezstems.webhooks.sender import Sender, delivery_tried
from ezstems.webhooks.url import checked_url

__all__ = ["OUTCOMES", "AllowedHosts", "Sender", "checked_url", "delivery_tried"]
