"""A worker's life: what it refuses, what it gives back when it stops, and what a full disk means to an upload."""

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.jobs import pool
from ezstems.jobs.desk import Desk
from ezstems.models import COMPLETED, QUEUED, Job
from tests.conftest import Account
from tests.support.separators import FastSeparator

Upload = Callable[..., TestResponse]


def rows(app: Flask) -> list[tuple[str, int, int]]:
    with app.app_context():
        return [(job.status, job.crashes, job.progress) for job in db.session.scalars(select(Job).order_by(Job.number))]


def test_a_stop_gives_running_and_waiting_jobs_back(
    app: Flask, instance: Path, desk: Desk, upload: Upload, separator: FastSeparator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "STOP_SECONDS", 60.0)
    separator.hold()
    assert [upload().status_code for _ in range(3)] == [200] * 3
    assert separator.started.wait(60)
    desk.close()
    desk.close()
    assert rows(app) == [(QUEUED, 0, 0)] * 3
    assert list((instance / "results").iterdir()) == []
    assert len(list((instance / "uploads").iterdir())) == 3


def test_a_separation_that_does_not_hear_the_stop_is_given_back_too(
    app: Flask, desk: Desk, upload: Upload, separator: FastSeparator, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf, done = threading.Event(), threading.Event()
    separate = FastSeparator.__call__

    def deafly(self: FastSeparator, *arguments: Any, **options: Any) -> Any:
        self.started.set()
        assert deaf.wait(60)
        try:
            return separate(self, *arguments, **options)
        finally:
            done.set()

    monkeypatch.setattr(FastSeparator, "__call__", deafly)
    monkeypatch.setattr(pool, "STOP_SECONDS", 0.2)
    upload()
    assert separator.started.wait(60)
    desk.close()
    assert rows(app) == [(QUEUED, 0, 0)]
    deaf.set()
    assert done.wait(60)
    assert desk.dispatch._queue.close(60) == []
    assert rows(app) == [(QUEUED, 0, 0)]  # what it made afterwards isn't announced


def test_a_database_that_fails_at_the_start_is_tried_again(
    make_app: Callable[..., Flask],
    app: Flask,
    desk: Desk,
    upload: Upload,
    separator: FastSeparator,
    finished: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    separator.hold()
    job_id = upload().json["data"]["id"]
    desk.close()
    separator.release()
    monkeypatch.setattr("ezstems.jobs.desk.HOUSEKEEPING_EVERY_SECONDS", 0.05)
    adopt, calls = pool.recovery.adopt, iter((True, True))
    monkeypatch.setattr(pool.recovery, "adopt", lambda *given: full_database() if next(calls, False) else adopt(*given))
    make_app().extensions["ezstems"].start()
    assert finished(job_id).status == COMPLETED


def test_what_a_stopped_worker_left_runs_in_order_in_the_next(
    make_app: Callable[..., Flask], app: Flask, desk: Desk, upload: Upload, separator: FastSeparator, finished: Any
) -> None:
    separator.hold()
    ids = [upload().json["data"]["id"] for _ in range(3)]
    assert separator.started.wait(60)
    desk.close()
    separator.sources.clear()
    separator.release()
    make_app().extensions["ezstems"].start()
    assert [finished(job_id).status for job_id in ids] == [COMPLETED] * 3
    assert [name.rsplit("_", 1)[0] for name in separator.sources] == ids


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_database(*_: Any, **__: Any) -> None:
    raise OperationalError("INSERT INTO jobs", {}, Exception("database or disk is full"))


@pytest.mark.usefixtures("no_housekeeping")  # which may commit, too
@pytest.mark.parametrize(
    ("place", "failure"),
    [
        ("pathlib.Path.open", full_disk),
        ("ezstems.jobs.incoming.os.fsync", full_disk),
        ("ezstems.jobs.folder_archive.sync", full_disk),
        ("ezstems.jobs.admission.db.session.flush", full_database),
        ("ezstems.jobs.admission.db.session.commit", full_database),
    ],
)
def test_a_full_disk_refuses_the_upload_and_leaves_nothing(
    app: Flask,
    instance: Path,
    desk: Desk,
    upload: Upload,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    failure: Callable[..., None],
) -> None:
    desk.start()
    if place.endswith("commit"):
        # Let the call itself be counted; the second commit is the job's.
        commit, calls = db.session.commit, iter((True,))
        monkeypatch.setattr(place, lambda: commit() if next(calls, False) else failure())
    else:
        monkeypatch.setattr(place, failure)
    answer = upload()
    monkeypatch.undo()
    assert (answer.status_code, answer.json["error"]) == (500, "Server full")
    assert "disk is full" in answer.json["message"]
    assert int(answer.headers["Retry-After"]) > 0
    assert list((instance / "uploads").iterdir()) == []
    assert rows(app) == []
    assert upload().status_code == 200


def test_a_call_that_cannot_be_counted_on_a_full_disk_is_told_so(
    client: FlaskClient, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezstems.database.db.session.commit", full_database)
    answer = client.get("/api/v1/keys.php", headers=account.headers)
    monkeypatch.undo()
    assert (answer.status_code, answer.json["error"]) == (500, "Server full")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_row_that_missed_the_queue_is_lined_up(
    app: Flask, desk: Desk, upload: Upload, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezstems.jobs.desk.HOUSEKEEPING_EVERY_SECONDS", 0.05)
    put = desk.dispatch._queue.add
    monkeypatch.setattr(desk.dispatch._queue, "add", lambda number, reserved=False: desk.dispatch._queue.release())
    job_id = upload().json["data"]["id"]
    monkeypatch.setattr(desk.dispatch._queue, "add", put)
    assert finished(job_id).status == COMPLETED
