"""Whether the settings make one box or a cluster: a broker, a store and a PostgreSQL, or none of the first two."""

import importlib.util
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ezstems.errors import ConfigurationError

BROKERS = ("redis", "rediss", "amqp", "amqps")
STORES = ("s3", "gs", "az", "file")
# Those of the extra; without them a box runs all the same, alone.
LIBRARIES = ("celery", "redis")


def broker(raw: Any) -> str:
    """Take the URL of a broker whose client is installed."""
    value = str(raw).strip()
    try:
        url = urlsplit(value)
        named = url.scheme in BROKERS and bool(url.hostname) and url.port != 0
    except ValueError:
        named = False
    if not named:
        raise ValueError("must be the URL of a broker, like redis://HOST:PORT/0 or amqp://USER:PASSWORD@HOST:PORT//")
    if any(importlib.util.find_spec(library) is None for library in LIBRARIES):
        raise ValueError("needs what isn't installed here: pip install 'ezstems[cluster]'")
    return value


def store(raw: Any) -> str:
    """Take the URL of a bucket, with a prefix in it or none, or of a folder; what reads it must be installed."""
    url = str(raw).strip()
    parts = urlsplit(url)
    is_folder = parts.scheme == "file"
    is_odd = parts.scheme not in STORES or parts.query or parts.fragment or "@" in parts.netloc
    if is_odd or bool(parts.netloc) == is_folder or (is_folder and len(parts.path) < 2):
        raise ValueError("must be s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER")
    if importlib.util.find_spec("obstore") is None:
        raise ValueError("needs the extra `cluster`: make setup EXTRAS=cluster, or pip install 'ezstems[cluster]'")
    return url.rstrip("/")


def require_whole(config: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for a part of a cluster without the others: nothing falls back to this box's own."""
    has_broker = config["EZSTEMS_BROKER_URL"] is not None
    kind = config["EZSTEMS_DATABASE_URL"].get_backend_name()
    if has_broker and kind != "postgresql":
        raise ConfigurationError(
            f"EZSTEMS_BROKER_URL needs EZSTEMS_DATABASE_URL to name a PostgreSQL, which all boxes share, not {kind}"
        )
    has_store = config["EZSTEMS_STORAGE_URL"] is not None
    if has_broker and not has_store:
        raise ConfigurationError("EZSTEMS_BROKER_URL needs EZSTEMS_STORAGE_URL, too: the boxes share no folder")
    if has_store and not has_broker:
        raise ConfigurationError(
            "EZSTEMS_STORAGE_URL needs EZSTEMS_BROKER_URL, too: one box alone keeps its files in its own folder"
        )
