"""`ezstems worker`: a separation box's Celery worker, in this very process."""

import importlib.util
import sys

import click

from ezstems.errors import ConfigurationError


@click.command()
def worker() -> None:
    """Separate what the web boxes of a cluster accept, until a signal ends it."""
    if importlib.util.find_spec("celery") is None:
        raise ConfigurationError("`ezstems worker` needs what isn't installed here: pip install 'ezstems[cluster]'")
    # Imported here: one box alone needs no Celery.
    from ezstems.server import celery_worker

    sys.exit(celery_worker.run())
