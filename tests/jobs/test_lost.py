"""What no row names: it is put aside, never deleted at once, and taken back when a row names it again."""

import errno
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import delete, select

from ezstems.database import db
from ezstems.instance import privileges
from ezstems.jobs import lost
from ezstems.jobs.desk import Desk
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.retention import ORPHAN_AGE_SECONDS, restore_lost_files, sweep
from ezstems.models import DELETED, FAILED, Job, utcnow
from tests.operations.test_full_disk import mounted
from tests.support.callers import Caller
from tests.support.multipart import Upload
from tests.support.separators import FastSeparator
from tests.support.servers import Server

pytestmark = pytest.mark.usefixtures("no_housekeeping")

DAY = 86_400


@pytest.fixture
def archive(instance: Path, app: Flask) -> FolderArchive:
    return FolderArchive(instance, "sweeper")


def age(*paths: Path, seconds: float = ORPHAN_AGE_SECONDS + 10) -> None:
    for path in paths:
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def tree(instance: Path) -> set[str]:
    folders = [instance / name for name in ("uploads", "results", "lost")]
    return {path.relative_to(instance).as_posix() for each in folders for path in each.rglob("*") if path.is_file()}


def orphans(instance: Path) -> list[Path]:
    found = [instance / "uploads" / "1_2_00000.wav"]
    found += [instance / "results" / name for name in ("1_2.zip", "1_2.peaks")]
    for path in found:
        path.write_bytes(b"somebody's song")
    return found


def swept(app: Flask, archive: FolderArchive) -> int:
    with app.app_context():
        return sweep(archive, 72)


def test_files_that_no_row_names_are_put_aside_and_kept_for_a_retention(
    app: Flask, instance: Path, archive: FolderArchive, done: Callable[..., Job], caplog: pytest.LogCaptureFixture
) -> None:
    job = done()
    found = orphans(instance)
    names = {path.relative_to(instance).as_posix() for path in found}
    kept = {f"results/{job.id}.zip", f"results/{job.id}.peaks", f"uploads/{job.filename}"}
    swept(app, archive)
    assert tree(instance) == names | kept, "their rows may be about to be committed"
    age(*found, archive.result(job.id), archive.peaks(job.id), seconds=100 * DAY)
    swept(app, archive)
    aside = {f"lost/{name}" for name in names}
    assert tree(instance) == aside | kept, "however old they are"
    assert "1_2.zip, which no job names, was put aside" in caplog.text
    for folder in ("lost", "lost/uploads", "lost/results"):
        assert (instance / folder).stat().st_mode & 0o777 == 0o700
    age(*(instance / name for name in aside), seconds=3 * DAY - 60)
    swept(app, archive)
    assert tree(instance) == aside | kept
    age(*(instance / name for name in aside), seconds=3 * DAY + 60)
    swept(app, archive)
    assert tree(instance) == kept
    assert "1_2.zip, which no job named since" in caplog.text and "was deleted: 15 bytes" in caplog.text


def test_the_command_tells_what_lies_there(app: Flask, instance: Path, run: Callable[..., Result]) -> None:
    assert run("jobs", "prune").output == "0 jobs expired\n"
    age(*orphans(instance))
    began = utcnow()
    told = run("jobs", "prune", code=0).output.splitlines()
    assert told[0] == "0 jobs expired"
    assert told[1].startswith(f"{instance}/lost: 3 files that no job names, 0.0 MB, kept until ")
    assert any(str(moment + timedelta(days=3))[:10] in told[1] for moment in (began, utcnow()))
    assert told[1].endswith(" UTC")
    assert run("jobs", "prune").output.splitlines()[1:] == told[1:]


def test_a_taken_name_is_left_to_who_has_it(app: Flask, instance: Path, archive: FolderArchive) -> None:
    for content in (b"first", b"second", b"third"):
        path = instance / "results" / "1_2.zip"
        path.write_bytes(content)
        age(path)
        swept(app, archive)
    assert {path.name: path.read_bytes() for path in (instance / "lost" / "results").iterdir()} == {
        "1_2.zip": b"first",
        "1_2.zip~1": b"second",
        "1_2.zip~2": b"third",
    }


def test_another_upload_under_the_same_id_is_not_the_jobs(
    app: Flask, instance: Path, archive: FolderArchive, done: Callable[..., Job]
) -> None:
    job = done()
    other = instance / "uploads" / f"{job.id}_{(int(job.filename[-9:-4]) + 1) % 100_000:05d}.wav"
    other.write_bytes(b"another song")
    age(other)
    swept(app, archive)
    assert f"lost/uploads/{other.name}" in tree(instance)


def test_what_an_account_deleted_is_not_kept_again(
    app: Flask, instance: Path, archive: FolderArchive, done: Callable[..., Job]
) -> None:
    job = done()
    with app.app_context():
        assert Job.delete(job.number)  # and the process died before it deleted the files
    age(archive.result(job.id), archive.peaks(job.id), archive.source(job.filename))
    swept(app, archive)
    assert tree(instance) == set()


def test_an_empty_database_costs_nothing_and_the_right_one_brings_all_back(
    tmp_path: Path, song: bytes
) -> None:
    server = Server(tmp_path / "instance")
    with server:
        caller = Caller(server, server.key())
        done = [caller.upload(song)["id"] for _ in range(2)]
        for job_id in done:
            caller.wait(job_id)
        zips = {job_id: caller.get("download.php", id=job_id).content for job_id in done}
        server.hold()
        running, waiting = (caller.upload(song)["id"] for _ in range(2))
        caller.wait(running, "processing")
        server.kill()
        before = tree(server.instance)
        age(*(server.instance / name for name in before))
        right, wrong = server.instance / "ezstems.sqlite3", tmp_path / "right.sqlite3"
        with closing(sqlite3.connect(right)) as rows, closing(sqlite3.connect(wrong)) as copy:
            rows.backup(copy)
            # An older copy: the instance is the same, of its jobs nothing is known.
            for table in ("jobs", "api_keys", "users"):
                rows.execute(f"DELETE FROM {table}")
            rows.commit()
        server.start()
        server.logged("which no job names, was put aside")
        deadline = time.monotonic() + 60
        while not all(name.startswith("lost/") for name in tree(server.instance)):
            assert time.monotonic() < deadline, tree(server.instance)
            time.sleep(0.05)
        server.stop()
        assert tree(server.instance) == {f"lost/{name}" for name in before}
        for path in server.instance.glob("ezstems.sqlite3*"):
            path.unlink()
        shutil.copy(wrong, right)
        server.release()
        server.start()
        for job_id in done:
            answer = caller.get("download.php", id=job_id)
            assert (answer.status_code, answer.content) == (200, zips[job_id])
        for job_id in (running, waiting):
            assert caller.wait(job_id)["status"] == "completed"
        assert not [name for name in tree(server.instance) if name.startswith("lost/")]
        assert "which a job names, was taken back" in server.log.read_text()


def test_only_what_fits_its_row_is_taken_back(
    app: Flask, instance: Path, archive: FolderArchive, done: Callable[..., Job]
) -> None:
    job = done()
    whole = archive.result(job.id).read_bytes()
    for content in (whole[:-1], whole, whole + b"x"):
        archive.result(job.id).write_bytes(content)
        assert archive.lost.put_aside(archive.result(job.id), utcnow())
    with app.app_context():
        restore_lost_files(archive)
        assert archive.result(job.id).read_bytes() == whole
        archive.result(job.id).write_bytes(b"in its place")
        restore_lost_files(archive)
    assert archive.result(job.id).read_bytes() == b"in its place"
    assert len(list(archive.lost.files())) == 2


def waiting(upload: Upload, separator: FastSeparator) -> dict[str, Any]:
    """Line a job up behind one that the separator holds; return what its upload was answered."""
    separator.hold()
    upload()
    assert separator.started.wait(60)
    data: dict[str, Any] = upload().json["data"]
    return data


def test_a_job_finds_its_upload_among_the_lost(
    app: Flask, archive: FolderArchive, upload: Upload, separator: FastSeparator, finished: Callable[[str], Job]
) -> None:
    data = waiting(upload, separator)
    assert archive.lost.put_aside(archive.source(data["filename"]), utcnow())
    separator.release()
    assert finished(data["id"]).status == "completed"


def test_a_new_job_under_the_id_of_a_lost_one_overwrites_nothing(
    instance: Path, archive: FolderArchive, done: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezstems.jobs.admission.time.time", lambda: 1)
    monkeypatch.setattr("ezstems.jobs.admission.secrets.randbelow", lambda _most: 0)
    found = orphans(instance)
    job = done()
    assert job.id == "1_2"
    aside = {path.relative_to(instance / "lost").as_posix(): path.read_bytes() for path in (
        file.path for file in archive.lost.files()
    )}  # fmt: skip
    assert aside == {path.relative_to(instance).as_posix(): b"somebody's song" for path in found}
    assert archive.result(job.id).read_bytes()[:2] == b"PK"


def test_a_result_of_an_older_run_is_put_aside(
    app: Flask, archive: FolderArchive, upload: Upload, separator: FastSeparator, finished: Callable[[str], Job]
) -> None:
    separator.hold()
    job_id = upload().json["data"]["id"]
    assert separator.started.wait(60)
    archive.result(job_id).write_bytes(b"whose row was lost")
    separator.release()
    assert finished(job_id).status == "completed"
    assert [file.path.read_bytes() for file in archive.lost.files()] == [b"whose row was lost"]


def test_a_row_that_vanishes_under_a_running_job_costs_no_song(
    app: Flask, instance: Path, upload: Upload, separator: FastSeparator, desk: Desk
) -> None:
    separator.hold()
    data = upload().json["data"]
    assert separator.started.wait(60)
    with app.app_context():
        db.session.execute(delete(Job))
        db.session.commit()
    deadline = time.monotonic() + 60
    while desk.dispatch._queue._running:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert f"uploads/{data['filename']}" in tree(instance), "an older database may have been put there"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_cannot_be_put_aside_stays(
    app: Flask, instance: Path, archive: FolderArchive, done: Callable[..., Job], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, code: int,
) -> None:  # fmt: skip
    def refuse(*_arguments: object) -> None:
        raise OSError(code, "refused")

    job = done()
    with app.app_context():
        db.session.scalars(select(Job)).one().finished_at = utcnow() - timedelta(hours=73)
        db.session.commit()
    for name in ("_claim", "_move"):
        found = orphans(instance)
        age(*found)
        with monkeypatch.context() as refused:
            refused.setattr(lost, name, refuse)
            assert swept(app, archive) == (name == "_claim"), "the sweep goes on"
        assert all(path.read_bytes() == b"somebody's song" for path in found)
        assert not list(archive.lost.files())
    assert caplog.text.count("could not be put aside: refused") == 6 and not archive.result(job.id).exists()


def test_uploads_on_a_disk_of_their_own(app: Flask, instance: Path, archive: FolderArchive) -> None:
    with mounted(instance / "uploads", "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        orphan = instance / "uploads" / "1_2_00000.wav"
        orphan.write_bytes(b"somebody's song")
        age(orphan)
        swept(app, archive)
        aside = instance / "lost" / "uploads" / orphan.name
        assert not orphan.exists() and aside.read_bytes() == b"somebody's song"
        assert time.time() - aside.stat().st_mtime < 60
        assert archive.lost.take_back(orphan, 15)
        assert orphan.read_bytes() == b"somebody's song" and not aside.exists()
        # Where it can't go, it isn't there twice.
        age(orphan)
        subprocess.run(["mount", "-o", "remount,ro", str(instance / "uploads")], check=True)
        for _ in range(2):
            swept(app, archive)
        assert orphan.exists() and not list(archive.lost.files())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_what_roots_command_puts_aside_is_the_servers(app: Flask, instance: Path, archive: FolderArchive) -> None:
    os.chown(instance, 12345, 23456)
    age(*orphans(instance))
    with privileges.as_owner_of(instance):  # as every command does
        swept(app, archive)
    for folder in ("lost", "lost/uploads", "lost/results"):
        found = (instance / folder).stat()
        assert (found.st_uid, found.st_gid) == (12345, 23456)


def test_a_failed_job_of_an_older_database_keeps_the_result_for_the_right_one(
    app: Flask, archive: FolderArchive, upload: Upload, separator: FastSeparator, finished: Callable[[str], Job]
) -> None:
    data = waiting(upload, separator)
    # By the right database it was completed: its upload is gone.
    archive.source(data["filename"]).unlink()
    archive.result(data["id"]).write_bytes(b"the only copy")
    separator.release()
    job = finished(data["id"])
    assert job.status == FAILED and job.error != DELETED and "lost on the server's disk" in job.error
    assert archive.result(data["id"]).read_bytes() == b"the only copy"


def test_what_cannot_be_looked_into_lets_the_rest_expire(
    app: Flask, instance: Path, archive: FolderArchive, done: Callable[..., Job], caplog: pytest.LogCaptureFixture
) -> None:
    job, found = done(), orphans(instance)
    age(*found)
    with app.app_context():
        Job.update_if(job.number, finished_at=utcnow() - timedelta(hours=73))
    (instance / "lost").write_text("a file where the folder was")
    assert swept(app, archive) == 1
    assert all(path.exists() for path in found), "what can't be put aside stays"
    assert f"{instance / 'lost' / 'uploads'} can't be looked into: Not a directory" in caplog.text
