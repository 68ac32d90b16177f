"""How soon a cluster's process that says nothing is taken for dead: sooner than in life, where a test says so."""

import os

from ezstems.jobs import heartbeat


def shorten() -> None:
    """Take FAST_BEAT and FAST_DEAD, in seconds, for those of the package."""
    heartbeat.BEAT_EVERY_SECONDS = float(os.environ.get("FAST_BEAT", heartbeat.BEAT_EVERY_SECONDS))
    heartbeat.DEAD_SECONDS = float(os.environ.get("FAST_DEAD", heartbeat.DEAD_SECONDS))
