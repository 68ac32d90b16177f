"""`upload.php` with `source`, a kept upload in place of a file; and `metadata`."""

import io
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.errors import UnreadableAudio
from ezstems.jobs import LOST_UPLOAD, Desk
from ezstems.models import COMPLETED, Job, User
from ezstems.web.api.kept_upload import BOTH
from tests.conftest import IN_CLUSTER, Account
from tests.support.kept import lose_upload
from tests.support.multipart import Upload, error_of, job_of, upload_of, uploads
from tests.support.separators import FastSeparator

URL = "/api/v1/upload.php"


@pytest.fixture(params=["multipart/form-data", "application/x-www-form-urlencoded"])
def again(client: FlaskClient, account: Account, request: pytest.FixtureRequest) -> Callable[..., TestResponse]:
    """Return a sender of the form with `source`, and other fields by name; one with a file is of the first kind."""

    def send(source: str, who: Account = account, **fields: Any) -> TestResponse:
        form = {"source": source, "stems": "4"} | fields
        kind = "multipart/form-data" if "file" in fields else request.param
        return client.post(URL, data=form, headers=who.headers, content_type=kind)

    return send


def rows(app: Flask) -> int:
    with app.app_context():
        return len(db.session.scalars(select(Job.number)).all())


def content(app: Flask, job: Job) -> bytes:
    return upload_of(app, job)


def delete(client: FlaskClient, account: Account, job: Job) -> None:
    assert client.delete(f"/api/v1/jobs.php?id={job.id}", headers=account.headers).status_code == 200


def test_a_kept_upload_is_separated_again(
    app: Flask, client: FlaskClient, account: Account, again: Any, done: Callable[..., Job],
    finished: Callable[[str], Job], song: bytes,
) -> None:  # fmt: skip
    source = done(name="My Söng.wav", metadata="first")
    assert uploads(app) == [source.filename] and content(app, source) == song
    answer = again(f" {source.id} ", output="mp3", metadata="second")
    job = job_of(app, answer)
    assert list(answer.json["data"]) == ["id", "filename", "status", "stems", "check_status_endpoint"]
    assert answer.json["data"] == {
        "id": job.id,
        "filename": job.filename,
        "status": "queued",
        "stems": "4",
        "check_status_endpoint": f"/api/v1/status.php?id={job.id}",
    }
    job = finished(job.id)
    assert (job.status, job.stems, job.output, job.metadata_text) == (COMPLETED, 4, "mp3", "second")
    assert (job.original_name, job.size_bytes, job.sha256) == ("My Söng.wav", len(song), source.sha256)
    if not IN_CLUSTER:  # there, a copy inside the store
        paths = [Path(app.instance_path) / "uploads" / each.filename for each in (source, job)]
        assert paths[0].samefile(paths[1]), "it takes no room"
    # Either goes without the other, and a copy of a copy is one.
    delete(client, account, source)
    assert uploads(app) == [job.filename] and content(app, job) == song
    third = finished(again(job.id, stems="2").json["data"]["id"])
    delete(client, account, job)
    assert third.status == COMPLETED and uploads(app) == [third.filename]
    delete(client, account, third)
    assert uploads(app) == []


def test_the_upload_of_a_job_that_waits_or_runs_or_failed_by_the_server(
    app: Flask, again: Any, upload: Upload, finished: Callable[[str], Job], separator: FastSeparator, song: bytes
) -> None:
    separator.error = ValueError()
    failed = finished(upload().json["data"]["id"])
    separator.error = None
    separator.hold()
    separator.started.clear()
    running, queued = (job_of(app, upload()) for _ in range(2))
    assert separator.started.wait(60)
    jobs = [job_of(app, again(source.id)) for source in (failed, running, queued)]
    separator.release()
    for job in jobs:
        assert finished(job.id).status == COMPLETED and content(app, job) == song


def test_without_keeping_an_upload_goes_with_its_jobs_end(
    make_app: Callable[..., Flask], app: Flask, account: Account, song: bytes, separator: FastSeparator,
    finished: Callable[[str], Job], again: Any,
) -> None:  # fmt: skip
    client = make_app(keep_uploads="off").test_client()

    def send(**form: Any) -> TestResponse:
        return client.post(URL, data={"stems": "2"} | form, headers=account.headers, content_type="multipart/form-data")

    separator.hold()
    running = job_of(app, send(file=(io.BytesIO(song), "song.wav")))
    assert separator.started.wait(60)
    second = job_of(app, send(source=running.id))  # it is there as yet
    separator.release()
    for job in (running, second):
        assert finished(job.id).status == COMPLETED
    assert not Job(status=COMPLETED, keeps_upload=False).needs_upload
    for caller in (send, lambda source: again(source)):
        said = error_of(caller(source=running.id))
        assert said == f"The upload of job {running.id} is not kept. Send the file itself."
    assert rows(app) == 2


def test_what_cannot_be_separated_again_leaves_nothing(
    app: Flask, client: FlaskClient, account: Account, make_account: Any, again: Any, upload: Upload,
    done: Callable[..., Job], finished: Callable[[str], Job], separator: FastSeparator, song: bytes,
) -> None:  # fmt: skip
    source, theirs = done(), done(who=make_account("other@example.com"))
    separator.error = UnreadableAudio("The file holds no decodable audio.")
    failed = finished(upload().json["data"]["id"])
    separator.error = None
    before = rows(app), uploads(app)
    for raw in ("abc", "1_3", "../1_2", f"{source.id},{source.id}", "x" * 4000, "1_2\x00"):
        said = f"source={raw[:64]!r} must look like 1699567234_2: what upload.php answered."
        assert error_of(again(raw)) == said
    for job_id in (theirs.id, "1_2"):
        assert error_of(again(job_id), 404) == f"There is no job {job_id}."
    assert error_of(again(source.id, file=(io.BytesIO(song), "song.wav"))) == BOTH
    assert error_of(again(failed.id)) == f"The upload of job {failed.id} is not kept. Send the file itself."
    assert error_of(again(source.id, stems="3")) == "stems='3' must be 2, 4 or 5."
    missing = "The part file is missing: the audio file, sent as"
    other = "Content-Type='application/x-www-form-urlencoded' must be multipart/form-data."
    for blank in ("", " "):
        assert error_of(again(blank)).startswith((missing, other))
    for long in ({"more": "x" * 70_000}, {"metadata": "x" * 5000}):
        assert error_of(again("abc", **long))
    assert error_of(again(" ", file=(io.BytesIO(b""), ""))).startswith("The part file has no filename")
    assert (rows(app), uploads(app)) == before
    # A browser sends a nameless, empty file where none was chosen.
    assert again(source.id, file=(io.BytesIO(b""), "")).status_code == 200
    delete(client, account, source)
    gone = f"Job {source.id} expired or was deleted. Upload the file again."
    assert error_of(again(source.id), 404) == gone


def test_a_kept_upload_that_the_disk_lost(app: Flask, again: Any, done: Callable[..., Job]) -> None:
    source = done()
    lose_upload(app, source)
    assert error_of(again(source.id), 500) == LOST_UPLOAD
    assert rows(app) == 1 and uploads(app) == []


def test_one_that_is_deleted_at_that_moment(
    app: Flask, desk: Desk, again: Any, done: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, reserve = done(), desk.dispatch.reserve

    def delete_it() -> None:
        with app.app_context():
            assert desk.delete(db.session.scalars(select(Job).where(Job.id == source.id)).one())

    def deleted_first() -> None:
        somebody = Thread(target=delete_it)
        somebody.start()
        somebody.join()
        reserve()

    monkeypatch.setattr(desk.dispatch, "reserve", deleted_first)
    assert error_of(again(source.id), 404) == f"Job {source.id} expired or was deleted. Upload the file again."
    assert rows(app) == 1 and uploads(app) == []
    with app.app_context():
        assert not desk.dispatch.full
    if not IN_CLUSTER:  # whose seats are the rows
        assert desk.dispatch._queue._seats == app.config["EZSTEMS_QUEUE_SIZE"]


def test_the_bounds_of_account_queue_and_plan_hold(
    make_app: Callable[..., Flask], app: Flask, account: Account, again: Any, done: Callable[..., Job],
    separator: FastSeparator,
) -> None:  # fmt: skip
    source = done()
    separator.hold()
    bound = make_app(account_jobs=1).test_client()
    form = {"source": source.id, "stems": "2"}
    answers = [
        bound.post(URL, data=form, headers=account.headers, content_type="multipart/form-data") for _ in range(2)
    ]
    assert answers[0].status_code == 200 and error_of(answers[1], 403).startswith("The account may have 1 unfinished")
    with app.app_context():
        db.session.execute(update(User).values(plan="custom", max_mb=1))
        db.session.execute(update(Job).where(Job.id == source.id).values(size_bytes=1024**2 + 1))
        db.session.commit()
    assert error_of(again(source.id)) == "The file is over the 1 MB that the custom plan allows."


def test_metadata(app: Flask, upload: Upload, client: FlaskClient, account: Account, separator: FastSeparator) -> None:
    separator.hold()
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    for sent, kept in {
        "x" * 512: "x" * 512,
        f" {'ü♫' * 256}\n": "ü♫" * 256,
        family * 64: family * 64,
        '{"order": "<b>4711</b>"}': '{"order": "<b>4711</b>"}',
        "no\u00a0break": "no\u00a0break",
        " \t\r\n": None,
        "": None,
    }.items():
        job = job_of(app, upload(metadata=sent))
        listed = client.get(f"/api/v1/jobs.php?ids={job.id}", headers=account.headers).json["data"]
        assert [row["metadata"] for row in listed] == [kept] == [job.metadata_text]
    before = rows(app), uploads(app)
    for sent, said in {
        "x" * 513: f"metadata={'x' * 64!r}… has 513 characters; it must have at most 512.",
        "two\nlines": "metadata='two\\nlines' must hold no control characters, as line breaks are.",
        "nul\x00": "metadata='nul\\x00' must hold no control characters, as line breaks are.",
        "c1\x85x": "metadata='c1\\x85x' must hold no control characters, as line breaks are.",
        "bytes \ufffd": "metadata='bytes \ufffd' must be UTF-8.",
        "x" * 5000: "The field 'metadata' must not exceed 4096 bytes.",
    }.items():
        assert error_of(upload(metadata=sent)) == said
    assert (rows(app), uploads(app)) == before
