"""What is past its time goes: the files, while the row says so."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.jobs.archive import Archive
from ezstems.jobs.retention import ORPHAN_AGE_SECONDS, sweep
from ezstems.models import Job, utcnow
from tests.separators import FastSeparator


@pytest.fixture
def archive(instance: Path, app: Flask) -> Archive:
    return Archive(instance, "sweeper")


@pytest.fixture
def job_id(upload: Callable[..., TestResponse], finished: Callable[[str], Job]) -> str:
    found = upload().json["data"]["id"]
    finished(found)
    return found


def age(app: Flask, job_id: str, hours: float) -> None:
    with app.app_context():
        job = db.session.scalars(select(Job).where(Job.id == job_id)).one()
        job.finished_at = utcnow() - timedelta(hours=hours)
        db.session.commit()


def test_a_result_is_kept_for_its_time_and_no_longer(app: Flask, archive: Archive, job_id: str) -> None:
    age(app, job_id, 71.9)
    with app.app_context():
        assert sweep(archive, 72) == 0
    assert archive.result(job_id).exists() and archive.peaks(job_id).exists()
    age(app, job_id, 72.1)
    with app.app_context():
        assert sweep(archive, 72) == 1
        assert sweep(archive, 72) == 0
        assert db.session.scalars(select(Job.expired_at)).one() is not None
    assert list(archive.result(job_id).parent.iterdir()) == []


def test_a_disk_too_full_for_the_row_is_emptied_first(
    app: Flask, archive: Archive, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire = Job.expire

    def needs_room(number: int) -> bool:
        if archive.result(job_id).exists():
            raise OperationalError("UPDATE jobs", {}, Exception("database or disk is full"))
        return expire(number)

    monkeypatch.setattr(Job, "expire", needs_room)
    age(app, job_id, 73)
    with app.app_context():
        assert sweep(archive, 72) == 1
        assert db.session.scalars(select(Job.expired_at)).one() is not None
    assert not archive.result(job_id).exists()


def test_a_failed_jobs_upload_goes_too(
    app: Flask,
    instance: Path,
    archive: Archive,
    upload: Callable[..., TestResponse],
    finished: Callable[[str], Job],
    separator: FastSeparator,
) -> None:
    separator.error = ValueError()
    job_id = upload().json["data"]["id"]
    finished(job_id)
    assert len(list((instance / "uploads").iterdir())) == 1
    age(app, job_id, 73)
    with app.app_context():
        assert sweep(archive, 72) == 1
        assert not Job.retry(db.session.scalars(select(Job.number)).one())
    assert list((instance / "uploads").iterdir()) == []


def test_unfinished_jobs_never_expire(
    app: Flask, instance: Path, archive: Archive, upload: Callable[..., TestResponse], separator: FastSeparator
) -> None:
    separator.hold()
    job_id = upload().json["data"]["id"]
    age(app, job_id, 1000)
    with app.app_context():
        assert sweep(archive, 72) == 0
    assert len(list((instance / "uploads").glob(f"{job_id}_*"))) == 1


def test_files_that_no_row_speaks_of_go_when_they_are_old(
    app: Flask, instance: Path, archive: Archive, job_id: str
) -> None:
    old = time.time() - ORPHAN_AGE_SECONDS - 10
    orphans = [instance / "uploads" / "1_2_00000.wav"]
    orphans += [instance / "results" / name for name in ("1_2.zip", "1_2.peaks")]
    for path in orphans:
        path.write_bytes(b"x")
    with app.app_context():
        sweep(archive, 72)
        assert all(path.exists() for path in orphans)  # their rows may be about to be committed
        kept = (archive.result(job_id), archive.peaks(job_id))
        for path in (*orphans, *kept):
            os.utime(path, (old, old))
        sweep(archive, 72)
    assert not any(path.exists() for path in orphans)
    assert all(path.exists() for path in kept)
