"""What is past its time goes: the files, while the row says so."""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.disk import RESERVE_BYTES
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.retention import sweep
from ezstems.models import Job, utcnow
from tests.support.callers import Caller
from tests.support.separators import FastSeparator
from tests.support.servers import Server

pytestmark = pytest.mark.usefixtures("no_housekeeping")


@pytest.fixture
def archive(instance: Path, app: Flask) -> FolderArchive:
    return FolderArchive(instance, "sweeper")


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


def test_a_result_is_kept_for_its_time_and_no_longer(app: Flask, archive: FolderArchive, job_id: str) -> None:
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
    app: Flask, archive: FolderArchive, job_id: str, monkeypatch: pytest.MonkeyPatch
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


def test_a_kept_upload_goes_with_its_song_and_comes_back_with_it(
    app: Flask, instance: Path, archive: FolderArchive, done: Callable[..., Job]
) -> None:
    job = done()
    (upload,) = (instance / "uploads").iterdir()
    assert upload.name == job.filename
    # As under a database that doesn't know it; then the right one is back.
    with app.app_context():
        assert archive.lost.put_aside(upload, utcnow())
        assert sweep(archive, 72) == 0
    assert upload.exists()
    age(app, job.id, 71)
    with app.app_context():
        assert sweep(archive, 72) == 0 and upload.exists()
    age(app, job.id, 73)
    with app.app_context():
        assert sweep(archive, 72) == 1
    assert list((instance / "uploads").iterdir()) == list((instance / "results").iterdir()) == []


def test_what_is_kept_for_a_retry_goes_too(
    app: Flask,
    instance: Path,
    archive: FolderArchive,
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of its own, of 80 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> None:
    while shutil.disk_usage(disk).free:  # a server that runs may free some meanwhile
        for block in (1 << 20, 512):
            with suppress(OSError), (disk / "filling").open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(block))


def test_on_a_full_disk_commands_prune_and_the_server_starts(small_disk: Path, tmp_path: Path, song: bytes) -> None:
    server = Server(small_disk / "instance", retention_hours=1)
    server.log = tmp_path / "server.log"
    reserve, filling = server.instance / ".reserve", small_disk / "filling"

    def let_expire(job_id: str) -> None:
        with closing(sqlite3.connect(server.instance / "ezstems.sqlite3", timeout=30)) as rows:
            rows.execute("UPDATE jobs SET finished_at = ? WHERE id = ?", (str(utcnow() - timedelta(hours=2)), job_id))
            rows.commit()

    with server:
        caller = Caller(server, server.key())
        ids = [caller.upload(song)["id"] for _ in range(3)]
        for job_id in ids:
            caller.wait(job_id)
        server.stop()

        # Nothing can open the database now, but for the reserve.
        let_expire(ids[0])
        fill(small_disk)
        reserve.rename(server.instance / "elsewhere")
        with pytest.raises(AssertionError, match="ezstems: the disk of .* is full; free a megabyte of it"):
            server.command("jobs", "prune")
        (server.instance / "elsewhere").rename(reserve)
        assert server.command("jobs", "prune") == "1 jobs expired"
        assert sorted(path.stem for path in (server.instance / "results").glob("*.zip")) == ids[1:]

        # Where there is room again, so is the reserve.
        filling.unlink()
        server.command("jobs", "list")
        assert reserve.stat().st_blocks * 512 == RESERVE_BYTES
        fill(small_disk)
        server.start()
        assert not reserve.exists()
        assert caller.get("download.php", id=ids[1]).status_code == 200
        health = requests.get(f"{server.url}/health", timeout=30)
        assert (health.status_code, health.json()["status"]) == (503, "full")

        # A server that runs has the database open: no reserve is needed. Its own sweep may come first.
        let_expire(ids[1])
        fill(small_disk)
        assert server.command("jobs", "prune") in ("1 jobs expired", "0 jobs expired")
        kept = [row["id"] for row in server.rows("SELECT id FROM jobs WHERE expired_at IS NULL")]
        assert kept == [path.stem for path in (server.instance / "results").glob("*.zip")] == ids[2:]


def test_unfinished_jobs_never_expire(
    app: Flask, instance: Path, archive: FolderArchive, upload: Callable[..., TestResponse], separator: FastSeparator
) -> None:
    separator.hold()
    job_id = upload().json["data"]["id"]
    age(app, job_id, 1000)
    with app.app_context():
        assert sweep(archive, 72) == 0
    assert len(list((instance / "uploads").glob(f"{job_id}_*"))) == 1
