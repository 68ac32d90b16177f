"""What a try's answer means for its delivery: delivered, again later, or given up."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from ezstems.models import DELIVERED, GIVEN_UP
from ezstems.webhooks.post import Answer

OUTCOMES = TAKEN, RETRIED, GONE, LOST = ("delivered", "retried", "gone", "given_up")
# Between tries: 24 hours in all. Each is longer or shorter by up to a tenth, so that not all come at once.
PAUSES_SECONDS = (5, 300, 1800, 7200, 18_000, 25_200, 34_200)
JITTER = 0.1
# A receiver may ask for more time with Retry-After, but not for so much that the message comes too late.
LONGEST_ASKED_SECONDS = 3600.0
STATUS_GONE = 410


@dataclass(frozen=True)
class Outcome:
    """Hold what a delivery's row becomes, and words for the log."""

    name: str
    words: str
    values: Mapping[str, Any]

    @property
    def is_delivered(self) -> bool:
        """Tell whether the receiver has taken the message."""
        return self.name == TAKEN


def outcome_of(answer: Answer, attempts: int) -> Outcome:
    """Return what comes of an answer to a delivery's try number so and so."""
    told: dict[str, Any] = {"last_status": answer.status, "last_error": answer.trouble}
    if answer.is_success:
        return Outcome(TAKEN, "delivered", told | {"state": DELIVERED})
    if answer.status == STATUS_GONE:
        return Outcome(GONE, "the URL is gone", told | {"state": GIVEN_UP})
    if attempts > len(PAUSES_SECONDS):
        return Outcome(LOST, "given up", told | {"state": GIVEN_UP})
    pause_seconds = PAUSES_SECONDS[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    pause_seconds = max(pause_seconds, min(_asked_seconds(answer.retry_after), LONGEST_ASKED_SECONDS))
    pause = timedelta(seconds=round(pause_seconds))
    return Outcome(RETRIED, f"again in {pause_seconds:.0f} s", told | {"pause": pause})


def _asked_seconds(retry_after: str) -> float:
    """Return how long a header Retry-After asks to wait, 0 where it doesn't, or not clearly."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0.0
    now = datetime.now(timezone.utc)
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp() - now.timestamp()
