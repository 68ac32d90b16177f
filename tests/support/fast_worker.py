"""`ezstems worker` with the separator of `fast_wsgi`."""

import sys
from functools import partial
from typing import Any

from ezstems import create_app
from ezstems.errors import ConfigurationError
from ezstems.server import celery_worker
from tests.support import heartbeats
from tests.support.separators import DeadlySeparator


def run(separator: Any) -> None:
    """Run the worker with a separator; end the program."""
    heartbeats.shorten()
    try:
        sys.exit(celery_worker.run(partial(create_app, {"SEPARATOR": separator})))
    except ConfigurationError as error:
        sys.exit(f"ezstems: {error}")


if __name__ == "__main__":
    run(DeadlySeparator())
