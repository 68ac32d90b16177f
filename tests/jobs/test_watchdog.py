"""Jobs that make no progress: they fail by the server's fault, /health says so, and the others go on."""

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.audio.separate import Separation
from ezstems.database import db
from ezstems.jobs import watchdog
from ezstems.jobs.desk import EXTENSION, Desk
from ezstems.jobs.folder_archive import FolderArchive
from ezstems.jobs.watchdog import LONGEST_ROUND_SECONDS
from ezstems.models import COMPLETED, FAILED, QUEUED, STALLED, Job
from tests.support.callers import Caller
from tests.support.separators import FastSeparator
from tests.support.servers import Server, stands_still

Upload = Callable[..., TestResponse]
ROUND_SECONDS = 2.0


class Standing(FastSeparator):
    """Separate as ever, but stand still, in whatever process, while the folder of uploads lies beside a file."""

    def __call__(self, source: Path, directory: Path, **options: Any) -> Separation:
        stand = source.parent.parent / "stand"
        if stand.exists():
            stand.with_name("stands").write_text(str(os.getpid()))
            self.started.set()
        while stand.exists():
            time.sleep(0.05)
        return super().__call__(source, directory, **options)


@pytest.fixture
def separator() -> FastSeparator:
    return Standing()


@pytest.fixture
def app(make_app: Callable[..., Flask], instance: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """Return an app whose watchdog looks when the test says so."""
    app = make_app(stall_seconds=10 * ROUND_SECONDS)
    monkeypatch.setattr("ezstems.jobs.desk.HOUSEKEEPING_EVERY_SECONDS", 3600.0)
    return app


@pytest.fixture
def stand(instance: Path, app: Flask) -> Any:
    """Let separations stand still until the file is deleted."""
    file = instance / "stand"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def look(app: Flask, seconds: float = ROUND_SECONDS, *, rounds: int = 1) -> None:
    for _ in range(rounds):
        with app.app_context():
            app.extensions[EXTENSION].dispatch._watchdog.check(seconds)


def row(app: Flask, job_id: str) -> Job:
    with app.app_context():
        return db.session.scalars(select(Job).where(Job.id == job_id)).one()


def begun(upload: Upload, separator: FastSeparator) -> str:
    job_id = upload().json["data"]["id"]
    assert separator.started.wait(60)
    return job_id


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_without_progress_fails_and_keeps_its_upload(
    app: Flask,
    instance: Path,
    client: FlaskClient,
    upload: Upload,
    separator: FastSeparator,
    stand: Path,
    finished: Callable[[str], Job],
    caplog: pytest.LogCaptureFixture,
) -> None:
    job_id, waiting = begun(upload, separator), upload().json["data"]["id"]
    look(app, rounds=10)  # in the first, its start counts as progress
    assert row(app, job_id).status == "processing" and client.get("/health").status_code == 200
    with caplog.at_level(logging.INFO):
        look(app)
    assert (row(app, job_id).status, row(app, job_id).error) == (FAILED, STALLED)
    health = client.get("/health")
    assert (health.status_code, health.json["status"]) == (503, "stalled")
    assert job_id in health.json["message"]
    assert f"job {job_id}: failed: {STALLED}" in caplog.text
    where = next(record for record in caplog.records if "here it stands" in record.getMessage())
    assert re.search(r'test_watchdog\.py", line \d+, in __call__\n', str(where.stack_info))
    stand.unlink()  # it comes back, late, with a result
    assert finished(waiting).status == COMPLETED
    assert client.get("/health").status_code == 200
    assert row(app, job_id).status == FAILED
    assert (instance / "uploads" / row(app, job_id).filename).exists()
    assert not list((instance / "results").glob(f"*{job_id}*"))
    with app.app_context():
        assert Job.retry(row(app, job_id).number)
    app.extensions[EXTENSION].dispatch._sync_queue()
    assert finished(job_id).status == COMPLETED


def test_progress_of_any_kind_and_time_that_nobody_had_do_not_count(
    app: Flask, upload: Upload, separator: FastSeparator, finished: Callable[[str], Job], stand: Path
) -> None:
    job_id = begun(upload, separator)
    watch = app.extensions[EXTENSION].dispatch._watchdog._running[row(app, job_id).number]
    for _ in range(10):
        look(app, rounds=9)
        watch.note_progress()
    look(app)  # notes that it moved
    for seconds in (LONGEST_ROUND_SECONDS + 0.1, 140.0, 86_400.0):
        look(app, seconds, rounds=20)
    assert row(app, job_id).status == "processing"
    stand.unlink()
    assert finished(job_id).status == COMPLETED


def test_what_cannot_be_stopped_has_its_process_replaced(
    app: Flask, desk: Desk, upload: Upload, separator: FastSeparator, stand: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replaced: list[bool] = []
    desk.start(replace=lambda: replaced.append(True))
    job_id = begun(upload, separator)
    look(app, rounds=11)
    assert row(app, job_id).status == FAILED
    patience = int(watchdog.STOP_SECONDS / ROUND_SECONDS)
    look(app, rounds=patience - 1)
    assert not replaced
    look(app, rounds=patience)
    assert replaced == [True], "once"
    assert f"job {job_id}: can't be stopped" in caplog.text


def test_what_heeds_the_stop_costs_no_process(
    app: Flask, desk: Desk, upload: Upload, separator: FastSeparator, client: FlaskClient
) -> None:
    replaced: list[bool] = []
    desk.start(replace=lambda: replaced.append(True))
    separator.hold()
    desk.dispatch._watchdog._stall_seconds = 0.0  # it moves, but for a moment
    job_id = begun(upload, separator)
    eventually(lambda: look(app) or row(app, job_id).status == FAILED)
    eventually(lambda: client.get("/health").status_code == 200)
    look(app, rounds=60)
    assert not replaced and row(app, job_id).error == STALLED


def test_what_heeds_the_stop_before_its_row_says_failed_fails(
    app: Flask,
    upload: Upload,
    separator: FastSeparator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    separator.hold()
    job_id = begun(upload, separator)
    dispatch = app.extensions[EXTENSION].dispatch
    dispatch._watchdog._stall_seconds = 0.0
    # What the watchdog logs comes between its word to stop and the row.
    monkeypatch.setattr(watchdog, "log_as", lambda *_, **__: eventually(lambda: not dispatch._watchdog._running))
    with caplog.at_level(logging.INFO):
        eventually(lambda: look(app) or not dispatch._watchdog._running)
    assert (row(app, job_id).status, row(app, job_id).error) == (FAILED, STALLED)
    assert caplog.text.count(f"job {job_id}: failed: {STALLED}") == 1


def test_a_suspect_that_stalls_is_ended(
    app: Flask, desk: Desk, instance: Path, upload: Upload, separator: FastSeparator, finished: Any, stand: Path
) -> None:
    stand.unlink()
    separator.hold()
    begun(upload, separator)
    job_id = upload().json["data"]["id"]
    with app.app_context():
        assert Job.update_if(row(app, job_id).number, crashes=1)
    stand.touch()
    separator.release()
    eventually(lambda: (instance / "stands").exists() and (instance / "stands").read_text())
    eventually(lambda: look(app) or row(app, job_id).status == FAILED)
    assert row(app, job_id).error == STALLED
    eventually(lambda: desk.dispatch._watchdog.stalled() is None)
    pid = int((instance / "stands").read_text())
    assert pid != os.getpid() and not Path(f"/proc/{pid}").exists()
    assert (instance / "uploads" / row(app, job_id).filename).exists()


def test_a_job_that_was_packed_as_it_failed_leaves_no_result(
    app: Flask,
    instance: Path,
    upload: Upload,
    separator: FastSeparator,
    stand: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pack = FolderArchive.pack

    def late(*arguments: Any) -> None:
        pack(*arguments)
        look(app, rounds=11)

    monkeypatch.setattr(FolderArchive, "pack", late)
    job_id = begun(upload, separator)
    with caplog.at_level(logging.INFO):
        stand.unlink()
        eventually(lambda: "ended, after it had failed" in caplog.text)
    assert row(app, job_id).status == FAILED
    assert list((instance / "results").iterdir()) == []
    assert len(list((instance / "uploads").iterdir())) == 1


def test_a_database_that_fails_makes_nobody_stall_and_is_asked_again(
    app: Flask, upload: Upload, separator: FastSeparator, stand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> bool:
        raise OperationalError("UPDATE jobs", {}, Exception("database is locked"))

    job_id = begun(upload, separator)
    with monkeypatch.context() as busy:
        busy.setattr(Job, "fail", locked)
        for _ in range(3):
            with pytest.raises(OperationalError):
                look(app, rounds=11)
    look(app)
    assert (row(app, job_id).status, row(app, job_id).error) == (FAILED, STALLED)


def test_who_waits_for_the_database_has_not_stalled(
    app: Flask, upload: Upload, separator: FastSeparator, finished: Any, stand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, healed = threading.Event(), threading.Event()
    complete = Job.complete

    def locked(*arguments: Any, **values: Any) -> bool:
        if not healed.is_set():
            tried.set()
            raise OperationalError("UPDATE jobs", {}, Exception("database is locked"))
        return complete(*arguments, **values)

    monkeypatch.setattr("ezstems.jobs.runner.RETRY_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(Job, "complete", locked)
    job_id = begun(upload, separator)
    stand.unlink()
    for _ in range(40):
        tried.clear()
        assert tried.wait(60)
        look(app)
    healed.set()
    assert finished(job_id).status == COMPLETED


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_ends_a_program_ends_one_job(
    app: Flask, upload: Upload, separator: FastSeparator, finished: Any, error: BaseException
) -> None:
    separator.error = error  # type: ignore[assignment]
    job = finished(upload().json["data"]["id"])
    assert (job.status, job.error.partition(".")[0]) == (FAILED, "The separation failed on the server")
    separator.error = None
    assert finished(upload().json["data"]["id"]).status == COMPLETED


def test_whatever_a_duty_of_the_house_raises_the_others_are_done(
    make_app: Callable[..., Flask],
    separator: FastSeparator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rested = threading.Semaphore(0)
    desk = make_app().extensions[EXTENSION]

    def leaving() -> None:
        raise SystemExit(1)

    desk._housekeeper._duties = (leaving, rested.release)
    monkeypatch.setattr("ezstems.jobs.desk.HOUSEKEEPING_EVERY_SECONDS", 0.01)
    desk.start()
    for _ in range(3):
        assert rested.acquire(timeout=60)
    assert "housekeeping failed and will be tried again" in caplog.text and "in leaving" in caplog.text


def test_without_a_thread_an_upload_is_accepted_and_waits(
    app: Flask, desk: Desk, upload: Upload, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    desk.start()
    with monkeypatch.context() as scarce:
        scarce.setattr(desk.dispatch._queue._pool, "submit", refusing)
        answer = upload()
    assert answer.status_code == 200
    assert row(app, answer.json["data"]["id"]).status == QUEUED
    desk.dispatch._sync_queue()
    assert finished(answer.json["data"]["id"]).status == COMPLETED


def test_a_stuck_worker_process_is_replaced_and_all_others_complete(tmp_path: Path, song: bytes) -> None:
    settings = {"FAST_DEAF": 5, "FAST_STOP": 1, "stall_seconds": 3, "separations": 2}
    with Server(tmp_path / "instance", **settings) as server:
        caller = Caller(server, server.key())
        server.hold()
        beside = caller.upload(song)["id"]
        caller.wait(beside, "processing")
        (before,) = server.workers()
        stuck = caller.upload(song, stems=5)["id"]
        later = caller.upload(song)["id"]
        caller.wait(stuck, "failed")
        eventually(lambda: server.workers() not in ([], [before]))
        server.release()
        for job_id in (beside, later):
            caller.wait(job_id)
        (told,) = server.rows("SELECT error, crashes FROM jobs WHERE id = ?", stuck)
        assert told == {"error": STALLED, "crashes": 0}
        assert server.rows("SELECT DISTINCT crashes FROM jobs") == [{"crashes": 0}]
        assert server.parts() == [] and len(server.uploads()) == 1 + len(server.kept_uploads()) == 3


def test_a_worker_that_stood_still_hurts_nobody(tmp_path: Path, song: bytes) -> None:
    """It stands longer than a job may, in the midst of a job that makes no progress for less than it may."""
    with Server(tmp_path / "instance", FAST_DEAF=5, FAST_DEAF_SECONDS=17, stall_seconds=9) as server:
        caller = Caller(server, server.key())
        job_id = caller.upload(song, stems=5)["id"]
        eventually((server.instance / "deaf").exists)
        (pid,) = server.workers()
        for _ in range(3):  # the housekeeper's first round finds that the job has begun
            os.kill(pid, signal.SIGSTOP)
            eventually(lambda: stands_still(pid))
            time.sleep(5)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.5)
        assert caller.wait(job_id)["status"] == "completed"
        assert server.workers() == [pid]


def test_locks_that_are_taken_away_are_made_anew_and_no_job_is_touched(tmp_path: Path, song: bytes) -> None:
    with Server(tmp_path / "instance", workers=2) as server:
        caller = Caller(server, server.key())
        server.hold()
        ids = []
        for worker in server.workers() * 2:
            with server.only(worker):
                ids.append(caller.upload(song)["id"])
        locks = server.instance / "workers"
        before = {path.name for path in locks.iterdir()}
        assert len(before) == 2
        for take_away in (lambda: [path.unlink() for path in locks.iterdir()], lambda: locks.rename(tmp_path / "gone")):
            take_away()
            eventually(lambda: locks.exists() and {path.name for path in locks.iterdir()} == before)
            assert requests.get(f"{server.url}/health", timeout=60).json()["status"] == "ok"
        eventually(lambda: server.log.read_text().count("is made anew") >= 4)  # once it is
        assert requests.get(f"{server.url}/health", timeout=60).status_code == 200
        server.release()
        for job_id in ids:
            caller.wait(job_id)
        rows = server.rows("SELECT DISTINCT crashes, status FROM jobs")
        assert rows == [{"crashes": 0, "status": "completed"}]
        log = server.log.read_text()
        assert log.count("is made anew") == 4 and "adopted" not in log
