"""A process that sends an instance's webhooks and does nothing else, for tests that kill it.

Its arguments: the instance folder; how many seconds a lease lasts, and a try.
"""

import importlib
import sys
import threading
from datetime import timedelta

from ezstems import configured
from ezstems.models import delivery
from ezstems.webhooks import Sender, outcome


def main() -> None:
    """Send until the process is killed; leases end soon, and what fails is tried again at once."""
    instance, lease_seconds, try_seconds = sys.argv[1:]
    settings = {"INSTANCE": instance, "WEBHOOKS": "on", "WEBHOOK_HOSTS": "127.0.0.1"}
    app = configured({f"EZSTEMS_{name}": value for name, value in settings.items()})
    delivery.LEASE = timedelta(seconds=float(lease_seconds))
    importlib.import_module("ezstems.webhooks.post").TRY_SECONDS = float(try_seconds)  # type: ignore[attr-defined]
    outcome.PAUSES_SECONDS = (1.0,) * 1000  # type: ignore[assignment]
    Sender(app).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
