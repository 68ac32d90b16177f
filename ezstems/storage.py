"""The URL of an object store, as a setting."""

from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

SCHEMES = ("s3", "gs", "az", "file")


def storage(raw: Any) -> str:
    """Take the URL of a bucket, with a prefix in it or none, or of a folder; what reads it must be installed."""
    url = str(raw).strip()
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER")
    if bool(parts.netloc) == (parts.scheme == "file") or (parts.scheme == "file" and len(parts.path) < 2):
        raise ValueError("must be s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER")
    if find_spec("obstore") is None:
        raise ValueError("needs the extra `cluster`: make setup EXTRAS=cluster, or pip install 'ezstems[cluster]'")
    return url.rstrip("/")
