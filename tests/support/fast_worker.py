"""`ezstems worker` with the separator of `fast_wsgi`."""

import sys
from functools import partial

from ezstems import create_app
from ezstems.errors import ConfigurationError
from ezstems.server import celery_worker
from tests.support import heartbeats
from tests.support.separators import DeadlySeparator

if __name__ == "__main__":
    heartbeats.shorten()
    try:
        sys.exit(celery_worker.run(partial(create_app, {"SEPARATOR": DeadlySeparator()})))
    except ConfigurationError as error:
        sys.exit(f"ezstems: {error}")
