"""Which archive the settings name, and whether the store that they name can be used."""

import secrets
from pathlib import Path, PurePath
from typing import Any

from flask import Flask

from ezstems.errors import ConfigurationError
from ezstems.jobs.archive import Archive
from ezstems.jobs.bucket import Bucket, reason
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.store_archive import StoreArchive

URL = "EZSTEMS_STORAGE_URL"
EXTENSION = "storage"
SCRATCH = "scratch"
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "file": "the folder's mode",
}


def open_archive(app: Flask, owner: str) -> Archive:
    """Return the archive of an app's settings, for an owner of what is written."""
    instance = Path(app.instance_path)
    bucket = bucket_of(app)
    return StoreArchive(bucket, instance / SCRATCH, owner) if bucket else FolderArchive(instance, owner)


def bucket_of(app: Flask) -> Bucket | None:
    """Return the store of an app's settings; None where files are in the instance folder."""
    url = app.config[URL]
    if url is None:
        return None
    return app.extensions.setdefault(EXTENSION, Bucket(url))


def require(app: Flask) -> None:
    """Raise ConfigurationError unless the store that the settings name can be listed, written to and read."""
    bucket = bucket_of(app)
    if bucket is None:
        return
    try:
        bucket.probe(PurePath(f".probe-{secrets.token_hex(8)}"))
    except Exception as error:
        raise unusable(app, error) from error


def unusable(app: Flask, error: BaseException) -> ConfigurationError:
    """Return what to say of a store by what it, or obstore, said."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    cause: Any = error.__cause__ or error
    url, said = app.config[URL], reason(cause)
    credentials = CREDENTIALS[url.partition(":")[0]]
    if "169.254.169.254" in said or "metadata.google" in said or "fd00:ec2" in said:
        why = f"there are no credentials for it: set {credentials}"
    elif isinstance(cause, PermissionDeniedError | UnauthenticatedError | PermissionError) or " 403 " in said:
        why = f"it refuses the credentials, or they may not list, read, put and delete: check {credentials}"
    elif isinstance(cause, FileNotFoundError) or " 404 " in said:
        why = "there is no such bucket or folder"
    else:
        why = f"it can't be reached or used: {said}"
    return ConfigurationError(f"{URL}={url!r}: {why}")
