"""What an app keeps of jobs, wherever it does: in its folder or in a store; to be looked at, and to be lost."""

from pathlib import Path, PurePath

from flask import Flask

from ezstems.jobs import storage
from ezstems.models import Job
from tests.support.multipart import uploads


def results(app: Flask) -> list[str]:
    """Return the names of the results, without that of who made them."""
    bucket = storage.bucket_of(app)
    if bucket is None:
        return sorted(path.name for path in (Path(app.instance_path) / "results").rglob("*"))
    names = (stored.key.name.split(".") for stored in bucket.list("results"))
    return sorted(f"{name[0]}.{name[-1]}" for name in names)


def files(app: Flask) -> set[str]:
    """Return the names of all uploads and results."""
    return {*uploads(app), *results(app)}


def lose_upload(app: Flask, job: Job) -> None:
    """Delete a job's upload behind the app's back."""
    if bucket := storage.bucket_of(app):
        bucket.delete(PurePath("uploads", job.upload_key or ""))
    else:
        (Path(app.instance_path) / "uploads" / job.filename).unlink()


def lose_result(app: Flask, job: Job) -> None:
    """Delete a job's ZIP behind the app's back."""
    if bucket := storage.bucket_of(app):
        bucket.delete(PurePath("results", f"{job.id}.{job.owner}.zip"))
    else:
        (Path(app.instance_path) / "results" / f"{job.id}.zip").unlink()
