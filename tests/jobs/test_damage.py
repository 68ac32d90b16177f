"""What the server's own disk damaged, lost or doesn't let be read: said truly, and never at the cost of an upload."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import requests
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from ezstems.audio import ffmpeg
from ezstems.database import db
from ezstems.jobs import DAMAGED_RESULT, retention
from ezstems.jobs.desk import Desk
from ezstems.jobs.mounts import Mounts
from ezstems.models import COMPLETED, FAILED, QUEUED, Job
from tests.conftest import Account
from tests.operations.test_full_disk import mounted
from tests.support.callers import Caller
from tests.support.multipart import Upload, error_of, job_of
from tests.support.separators import FastSeparator
from tests.support.servers import ROOT, Server
from tests.support.sessions import log_in

NOBODY = 65_534
NOT_THEIRS = "Nothing is wrong with the file that you sent"


def change(app: Flask, job: Job, **values: object) -> None:
    with app.app_context():
        db.session.execute(update(Job).where(Job.id == job.id).values(**values))
        db.session.commit()


def eventually(condition: Callable[[], object], what: object) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def swap(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unlink(path: Path) -> None:
    path.unlink()


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.fixture
def waiting(app: Flask, upload: Upload, separator: FastSeparator) -> Job:
    """Return a job that waits for another one, which is held."""
    separator.hold()
    upload()
    assert separator.started.wait(60)
    return job_of(app, upload())


def test_an_uploads_size_and_checksum_are_those_of_the_file(app: Flask, done: Callable[..., Job], song: bytes) -> None:
    job = done()
    assert (job.size_bytes, job.sha256) == (len(song), hashlib.sha256(song).hexdigest())
    assert job.result_bytes == (Path(app.instance_path) / "results" / f"{job.id}.zip").stat().st_size


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (truncate, "damaged"),
        (grow, "damaged"),
        (swap, "damaged"),
        (unlink, "lost"),
        (replace_by_folder, "not readable"),
    ],
)
def test_an_upload_that_the_disk_spoilt(
    instance: Path, waiting: Job, separator: FastSeparator, finished: Callable[[str], Job], run: Callable[..., Result],
    song: bytes, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], told: str,
) -> None:  # fmt: skip
    source = instance / "uploads" / waiting.filename
    spoil(source)
    separator.release()
    job = finished(waiting.id)
    assert job.status == FAILED
    assert job.error.startswith(f"The uploaded file was {told} on the server's disk. {NOT_THEIRS}")
    assert str(instance) not in job.error
    assert waiting.filename not in separator.sources, "nothing decodes it"
    assert source.exists() == (spoil is not unlink), "the upload is kept"
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [f"job {job.id}: failed" in error for error in errors] == [True]
    if source.is_dir():
        source.rmdir()
    source.write_bytes(song)
    assert "is queued again" in run("jobs", "retry", job.id).output
    eventually(lambda: finished(job.id).status == COMPLETED, "mended, it completes")


def test_an_upload_of_before_has_a_size_and_no_checksum(
    app: Flask, instance: Path, waiting: Job, separator: FastSeparator, finished: Callable[[str], Job]
) -> None:
    change(app, waiting, sha256=None)
    swap(instance / "uploads" / waiting.filename)
    separator.release()
    assert finished(waiting.id).status == COMPLETED


def test_a_disk_that_fails_while_it_is_read(
    waiting: Job, separator: FastSeparator, finished: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == waiting.filename:
            raise OSError(5, "Input/output error")
        return opening(path, *arguments, **options)

    opening = Path.open
    monkeypatch.setattr(Path, "open", failing)
    separator.release()
    assert "was not readable on the server's disk" in finished(waiting.id).error


@pytest.mark.parametrize("code", [243, 245, 254])
def test_an_upload_whose_check_the_system_fails_gets_a_500(
    app: Flask, instance: Path, upload: Upload, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text(f"#!/bin/sh\nexit {code}\n")
    script.chmod(0o700)
    monkeypatch.setattr(ffmpeg, "executable", lambda: str(script))
    assert error_of(upload(), 500) == ffmpeg.UNABLE
    assert list((instance / "uploads").iterdir()) == []


def hide(uploads: Path) -> Callable[[], object]:
    hidden = uploads.rename(uploads.with_name("hidden"))
    return lambda: hidden.rename(uploads)


def hide_behind_a_mount_point(uploads: Path) -> Callable[[], object]:
    """Let the uploads' disk be away: what was on it is under another name, an empty folder is in its place."""
    (uploads.parent / ".uploads-is-a-mount").touch()
    back = hide(uploads)
    uploads.mkdir()

    def mount() -> None:
        uploads.rmdir()
        back()
        (uploads.parent / ".uploads-is-a-mount").unlink()

    return mount


@pytest.mark.parametrize("away", [hide, hide_behind_a_mount_point])
def test_jobs_wait_for_uploads_that_are_not_there(
    app: Flask, client: FlaskClient, instance: Path, waiting: Job, upload: Upload, separator: FastSeparator,
    finished: Callable[[str], Job], caplog: pytest.LogCaptureFixture, away: Callable[[Path], Callable[[], object]],
) -> None:  # fmt: skip
    back = away(instance / "uploads")
    separator.release()
    eventually(lambda: "are not there, or read-only" in caplog.text, "it is logged")
    answer = client.get("/health")
    assert (answer.status_code, answer.json["status"]) == (503, "full")
    assert "can't be written to" in answer.json["message"]
    assert "can't be written to" in error_of(upload(), 500)
    with app.app_context():
        assert db.session.get_one(Job, waiting.number).status == QUEUED
    back()
    assert finished(waiting.id).status == COMPLETED


@pytest.mark.parametrize("moment", ["before it is read", "while it is decoded"])
def test_uploads_that_vanish_between_the_look_and_the_run(
    app: Flask, instance: Path, waiting: Job, separator: FastSeparator, finished: Callable[[str], Job],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, moment: str,
) -> None:  # fmt: skip
    backs: list[Callable[[], object]] = []
    claim, separate = Job.claim, FastSeparator.__call__

    def vanishing(number: int, owner: str) -> bool:
        if number == waiting.number and not backs:
            backs.append(hide(instance / "uploads"))
        return claim(number, owner)

    def failing(engine: FastSeparator, source: Path, *arguments: Any, **options: Any) -> Any:
        if source.name == waiting.filename and not backs:
            backs.append(hide(instance / "uploads"))
            raise ValueError("whatever the decoder says now")
        return separate(engine, source, *arguments, **options)

    if moment == "before it is read":
        monkeypatch.setattr(Job, "claim", vanishing)
    else:
        monkeypatch.setattr(FastSeparator, "__call__", failing)
    with caplog.at_level(logging.INFO):
        separator.release()
        eventually(lambda: f"job {waiting.id}: interrupted: the uploads can't be reached" in caplog.text, caplog.text)
        backs[0]()
        assert finished(waiting.id).status == COMPLETED


def test_a_mount_that_is_absent_is_noticed_after_a_start_too(tmp_path: Path) -> None:
    uploads, elsewhere = tmp_path / "uploads", tmp_path / "elsewhere"
    uploads.mkdir()
    elsewhere.mkdir()
    assert Mounts(tmp_path, (uploads,)).is_there(uploads, os.W_OK)
    with mounted(uploads, "-t", "tmpfs", "tmpfs"):
        assert Mounts(tmp_path, (uploads,)).is_there(uploads, os.W_OK)
        assert Mounts(tmp_path, (elsewhere,)).is_there(elsewhere, os.W_OK)
    for mounts in (Mounts(tmp_path, (uploads,)), Mounts(tmp_path, ())):
        assert not mounts.is_there(uploads, os.W_OK)
    with mounted(uploads, "-t", "tmpfs", "tmpfs"):
        assert mounts.is_there(uploads, os.W_OK), "a new device, and a disk of its own again"


def test_a_link_to_a_disk_that_is_not_there_keeps_no_server_from_starting(
    make_app: Callable[..., Flask], instance: Path, tmp_path: Path
) -> None:
    instance.mkdir()
    (instance / "uploads").symlink_to(tmp_path / "disk" / "uploads")
    client = make_app().test_client()
    assert client.get("/health").status_code == 503
    (tmp_path / "disk" / "uploads").mkdir(parents=True)
    assert client.get("/health").status_code == 200


Get = Callable[[Job, str], TestResponse]


@pytest.fixture
def get(client: FlaskClient, account: Account) -> Get:
    """Return a caller of everything that a song's result is needed for."""
    assert log_in(client, account.email).status_code == 302

    def call(job: Job, what: str) -> TestResponse:
        if what == "api":
            return client.get(f"/api/v1/download.php?id={job.id}", headers=account.headers)
        return client.get(f"/songs/{job.id}{what}", headers={"Accept": "application/json"})

    return call


EVERYTHING = ("api", "/zip", "/stems/vocals", "/peaks", "")


@pytest.mark.usefixtures("no_housekeeping")  # which logs the damage, too
@pytest.mark.parametrize("spoil", [truncate, grow, unlink, replace_by_folder])
@pytest.mark.parametrize("old", [False, True])
def test_a_result_that_the_disk_spoilt(
    app: Flask, instance: Path, get: Get, done: Callable[..., Job], caplog: pytest.LogCaptureFixture, old: bool,
    spoil: Callable[[Path], None],
) -> None:  # fmt: skip
    job = done()
    if old:
        change(app, job, result_bytes=None)
    path = instance / "results" / f"{job.id}.zip"
    whole = path.read_bytes()
    for what in EVERYTHING:
        assert get(job, what).status_code == 200, what
    spoil(path)
    if old and spoil in (truncate, grow):
        path.write_bytes(whole[: len(whole) // 2])  # of an old one, a ZIP that opens is all that is known
    for what in EVERYTHING:
        caplog.clear()
        answer = get(job, what)
        assert (answer.status_code, answer.json["message"]) == (500, DAMAGED_RESULT), what
        assert answer.json["error"] == "Stems damaged or lost"
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert [error.job_id for error in errors] == [job.id]  # type: ignore[attr-defined]
    assert get(job, "/stems/drums").status_code == 404
    if path.is_dir():
        path.rmdir()
    path.write_bytes(whole)
    for what in EVERYTHING:
        assert get(job, what).status_code == 200, what


def test_the_inside_of_a_zip_that_is_no_longer_one(
    app: Flask, instance: Path, get: Get, done: Callable[..., Job]
) -> None:
    job = done()
    path = instance / "results" / f"{job.id}.zip"
    path.write_bytes(bytes(path.stat().st_size))
    assert error_of(get(job, "/stems/vocals"), 500) == DAMAGED_RESULT


def test_peaks_that_the_disk_lost_are_no_reason_to_lose_the_song(
    instance: Path, get: Get, done: Callable[..., Job]
) -> None:
    job = done()
    (instance / "results" / f"{job.id}.peaks").unlink()
    assert "the server's disk lost them" in error_of(get(job, "/peaks"), 404)
    assert get(job, "").status_code == get(job, "/stems/vocals").status_code == 200


def test_the_account_page_outlives_results_that_are_gone(
    app: Flask, client: FlaskClient, instance: Path, get: Get, done: Callable[..., Job]
) -> None:
    done()
    change(app, done(), result_bytes=None)
    shutil.rmtree(instance / "results")
    assert client.get("/account").status_code == client.get("/songs").status_code == 200


def test_health_counts_what_is_damaged_until_it_is_whole(
    desk: Desk, client: FlaskClient, instance: Path, app: Flask, done: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr("ezstems.jobs.desk.HOUSEKEEPING_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(retention, "SWEEP_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(retention, "SWEEP_DAMAGED_EVERY_SECONDS", 0.0)
    jobs = [done() for _ in range(3)]
    paths = [instance / "results" / f"{job.id}.zip" for job in jobs]
    assert "problems" not in client.get("/health").json

    def problems(*told: str) -> None:
        def found() -> bool:
            answer = client.get("/health")
            assert (answer.status_code, answer.json["status"]) == (200, "ok")
            return answer.json.get("problems", []) == list(told)

        eventually(found, told)

    hidden = [path.rename(path.with_suffix(".hidden")) for path in paths[:2]]
    truncate(paths[2])
    problems("3 results are damaged or missing on the server's disk; the log names the jobs.")
    assert list(client.get("/health").json)[-1] == "problems"
    for job in jobs:
        assert caplog.text.count(f"job {job.id}: its result is damaged or lost") == 1, "not at every look"
    grow(paths[2])
    hidden[0].rename(paths[0])
    problems("1 result is damaged or missing on the server's disk; the log names the jobs.")
    hidden[1].rename(paths[1])
    problems()
    kept = [instance / "uploads" / job.filename for job in jobs]
    hidden = [path.rename(path.with_suffix(".hidden")) for path in kept[:2]]
    truncate(kept[2])
    problems("3 kept uploads are damaged or missing on the server's disk; the log names the jobs.")
    truncate(paths[0])
    problems(
        "3 kept uploads are damaged or missing on the server's disk; the log names the jobs.",
        "1 result is damaged or missing on the server's disk; the log names the jobs.",
    )
    grow(paths[0])
    for aside, path in zip(hidden, kept, strict=False):
        aside.rename(path)
    grow(kept[2])
    problems()
    for job in jobs:
        assert caplog.text.count(f"job {job.id}: its kept upload is damaged or lost") == 1


@pytest.fixture(scope="module")
def nobody() -> Iterator[Caller]:
    """Return a caller of a server that runs as another user than root, whom a file's mode may shut out."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root makes files for others, and runs as another, with setpriv")
    another = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # Not in pytest's own folder, which is root's alone.
    with TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = Server(folder / "instance")
        server.instance.mkdir(mode=0o700)
        os.chown(server.instance, NOBODY, NOBODY)
        server.arguments = [*another, *server.arguments]
        if subprocess.run([*another, sys.executable, "-c", "import gunicorn"], cwd=ROOT, check=False).returncode:
            pytest.skip("the tests' Python can't be run by another user")
        with server:
            yield Caller(server, server.key())


def give(path: Path, owner: int) -> None:
    path.chmod(0o600)
    os.chown(path, owner, owner)


def test_files_that_belong_to_another_user(nobody: Caller, song: bytes) -> None:
    caller, server = nobody, nobody.server
    server.hold()
    done = caller.upload(song)["id"]
    caller.wait(done, "processing")
    spoilt = caller.upload(song)
    source = server.instance / "uploads" / spoilt["filename"]
    give(source, 0)
    server.release()
    caller.wait(done)
    failed = caller.wait(spoilt["id"], "failed")
    assert "was not readable on the server's disk" in failed["error"] and source.exists()
    result = server.instance / "results" / f"{done}.zip"
    give(result, 0)
    answer = caller.get("download.php", id=done)
    assert (answer.status_code, answer.json()["message"]) == (500, DAMAGED_RESULT)
    give(result, NOBODY)
    assert caller.get("download.php", id=done).status_code == 200
    give(source, NOBODY)
    server.command("jobs", "retry", spoilt["id"])
    assert caller.wait(spoilt["id"])["status"] == "completed"


def test_uploads_that_nobody_may_enter(nobody: Caller, song: bytes) -> None:
    caller, server, uploads = nobody, nobody.server, nobody.server.instance / "uploads"
    server.hold()
    running, waiting = (caller.upload(song)["id"] for _ in range(2))
    caller.wait(running, "processing")
    os.chown(uploads, 0, 0)
    server.release()
    server.logged("are not there, or read-only")
    answer = requests.get(f"{server.url}/health", timeout=30)
    assert (answer.status_code, answer.json()["status"]) == (503, "full")
    refused = caller.send(song, stems=2)
    assert refused.status_code == 500 and "can't be written to" in refused.json()["message"]
    # What ran is lined up again, before it.
    server.logged(f"job {running}: interrupted: the uploads can't be reached")
    eventually(lambda: caller.wait(waiting, "queued")["queue_position"] == 2, "both wait")
    os.chown(uploads, NOBODY, NOBODY)
    for job_id in (running, waiting):
        assert caller.wait(job_id)["status"] == "completed"
