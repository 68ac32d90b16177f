"""Patience with a store that is away while a job runs."""

import time
from collections.abc import Callable
from typing import TypeVar

from ezstems.errors import StorageAway

Result = TypeVar("Result")

# So long a job waits for a store that is away before it goes back to the queue; what it has done by then is lost.
PATIENCE_SECONDS = 90.0
AGAIN_SECONDS = 1.0


def patiently(act: Callable[[], Result], progress: Callable[[], None]) -> Result:
    """Return what an act returns, tried again while the store is away; raise StorageAway in the end."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return act()
        except StorageAway:
            if time.monotonic() > until:
                raise
            progress()  # to wait for the store is not to stall
            time.sleep(AGAIN_SECONDS)
