"""The account's songs: the library and its search, the states that pages poll, one song's page, its deletion."""

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask, template_rendered
from flask.testing import FlaskClient
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.errors import UnreadableAudio
from ezstems.jobs import FORMATS
from ezstems.jobs.desk import Desk
from ezstems.models import COMPLETED, DELETED, FAILED, PROCESSING, QUEUED, Job, utcnow
from ezstems.web.site import songs as site
from tests.conftest import Account
from tests.support.kept import files
from tests.support.multipart import Upload, error_of, job_of
from tests.support.separators import LABEL, FastSeparator
from tests.support.sessions import log_in, token

JSON = {"Accept": "application/json"}
STATE = ["id", "name", "status", "queue_position", "progress", "error", "url"]
# Every route of a song, with the method that it takes.
ROUTES = {"": "GET", "/peaks": "GET", "/stems/vocals": "GET", "/zip": "GET", "/delete": "POST"}


@pytest.fixture
def account(make_account: Callable[..., Account]) -> Account:
    return make_account(rate_limit=1_000_000)


@pytest.fixture
def shown(app: Flask) -> Any:
    """Return the variables of each page that was rendered."""
    pages: list[dict[str, Any]] = []

    def record(_app: Flask, context: dict[str, Any], **_: Any) -> None:
        pages.append(context)

    with template_rendered.connected_to(record, app):
        yield pages


def change(app: Flask, job_id: str, **values: object) -> None:
    with app.app_context():
        db.session.execute(update(Job).where(Job.id == job_id).values(**values))
        db.session.commit()


def row(app: Flask, job_id: str) -> Job:
    with app.app_context():
        job = db.session.scalars(select(Job).where(Job.id == job_id)).one()
        db.session.expunge(job)
        return job


def states(client: FlaskClient) -> list[dict[str, Any]]:
    answer = client.get("/songs/states")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert list(answer.json) == ["success", "data"] and answer.json["success"] is True
    assert all(list(state) == STATE for state in answer.json["data"])
    return answer.json["data"]


def delete(client: FlaskClient, job_id: str, **headers: str) -> TestResponse:
    return client.post(f"/songs/{job_id}/delete", headers={"X-CSRFToken": token(client)} | headers)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_route_needs_a_login(client: FlaskClient, upload: Upload, finished: Callable[[str], Job]) -> None:
    job = finished(upload().json["data"]["id"])
    pages = {"/songs": "GET", "/songs/states": "GET"} | {f"/songs/{job.id}{end}": way for end, way in ROUTES.items()}
    for path, method in pages.items():
        headers = {"X-CSRFToken": token(client)}
        answer = client.open(path, method=method, headers=headers)
        assert answer.status_code == 302 and answer.headers["Location"].startswith("/login"), path
        assert error_of(client.open(path, method=method, headers=headers | JSON), 401), path


def test_a_key_opens_no_page(client: FlaskClient, account: Account) -> None:
    assert error_of(client.get("/songs/states", headers=account.headers | JSON), 401)


def test_another_accounts_song_is_unknown(
    app: Flask,
    session: FlaskClient,
    upload: Upload,
    finished: Callable[[str], Job],
    make_account: Callable[..., Account],
) -> None:
    theirs = finished(upload(who=make_account("other@example.com")).json["data"]["id"])
    headers = JSON | {"X-CSRFToken": token(session)}
    for end, method in ROUTES.items():
        answer = session.open(f"/songs/{theirs.id}{end}", method=method, headers=headers)
        assert error_of(answer, 404) == f"There is no job {theirs.id}."
        page = session.open(f"/songs/{theirs.id}{end}", method=method, headers={"X-CSRFToken": headers["X-CSRFToken"]})
        assert (page.status_code, page.mimetype) == (404, "text/html")
        assert "no such song of yours" in page.text and "job" not in page.text, end
        for unknown in ("1_2", "states2", "1_9", "%00", "9" * 99 + "_2", "..%2f..", "1_2%0a"):
            answer = session.open(f"/songs/{unknown}{end}", method=method, headers=headers)
            assert error_of(answer, 404), unknown
    assert theirs.id not in session.get("/songs").text
    assert states(session) == []
    assert row(app, theirs.id).expired_at is None
    assert f"{theirs.id}.zip" in files(app)


def test_the_library(
    app: Flask, session: FlaskClient, upload: Upload, finished: Callable[[str], Job], shown: Any,
    separator: FastSeparator,
) -> None:  # fmt: skip
    first = finished(upload(name="First.wav", stems="5", cutoff="full").json["data"]["id"])
    separator.error = UnreadableAudio("The file holds no decodable audio.")
    second = finished(upload(name="Second <b>.wav").json["data"]["id"])
    separator.error = None
    separator.hold()
    running, waiting = (job_of(app, upload(name=f"{name}.wav")) for name in ("Third", "Fourth"))
    eventually(lambda: row(app, running.id).progress == 42)
    page = session.get("/songs")
    assert page.status_code == 200 and "Second &lt;b&gt;.wav" in page.text
    songs = shown[-1]["songs"]
    assert [song.id for song in songs] == [job.id for job in (waiting, running, second, first)]
    assert [song.name for song in songs] == ["Fourth.wav", "Third.wav", "Second <b>.wav", "First.wav"]
    assert [song.status for song in songs] == [QUEUED, PROCESSING, FAILED, COMPLETED]
    assert [song.queue_position for song in songs] == [1, 0, 0, 0]
    assert [song.progress for song in songs] == [0, 42, 0, 100]
    assert [song.error for song in songs] == [None, None, "The file holds no decodable audio.", None]
    assert [song.seconds for song in songs] == [None, None, None, 0.01]
    assert [song.model for song in songs] == [None, None, None, LABEL]
    assert [song.expires_at is None for song in songs] == [True, True, False, False]
    done = songs[-1]
    assert (done.stems, done.cutoff, done.output, done.created_at) == (5, "full", FORMATS["wav"], first.created_at)
    assert first.finished_at is not None and done.expires_at == first.finished_at + timedelta(hours=72)
    assert shown[-1]["query"] == ""


def test_the_search(app: Flask, session: FlaskClient, upload: Upload, shown: Any, separator: FastSeparator) -> None:
    separator.hold()
    names = ["Große Fuge.wav", "100% pure_gold.wav", "cafe\u0301 del mar.wav", "ÉCLAIR.wav", "100 pure gold.wav"]
    for name in names:
        upload(name=name)
    cases = {
        "große": [0], "GROSSE": [0], "fuge": [0], "%": [1], "100%": [1], "_": [1], "pure": [1, 4], " pure ": [1, 4],
        "café": [2], "CAFÉ": [2], "éclair": [3], ".wav": [0, 1, 2, 3, 4], "nothing": [], "": [0, 1, 2, 3, 4],
        "\\": [], "/": [], "'": [], "\x00": [], "g" * 5000: [],
    }  # fmt: skip
    for query, expected in cases.items():
        assert session.get("/songs", query_string={"q": query}).status_code == 200
        found = [song.name for song in reversed(shown[-1]["songs"])]
        assert found == [names[index] for index in expected], query
    assert shown[-1]["query"] == "g" * 255


def test_the_library_has_an_end_and_the_search_finds_what_is_past_it(
    session: FlaskClient, upload: Upload, shown: Any, separator: FastSeparator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "MOST_SONGS", 2)
    separator.hold()
    for number in range(4):
        upload(name=f"song {number}.wav")
    for query, expected in (("", ["3", "2"]), ("song", ["3", "2"]), ("0", ["0"])):
        session.get("/songs", query_string={"q": query})
        assert [re.findall(r"\d", song.name)[0] for song in shown[-1]["songs"]] == expected
    assert len(states(session)) == 4  # what a page polls has none: a song's own page must find it


def test_the_states(
    app: Flask, session: FlaskClient, upload: Upload, finished: Callable[[str], Job], separator: FastSeparator
) -> None:
    assert states(session) == []
    old, new = (finished(upload(name=f"{name}.wav").json["data"]["id"]) for name in ("old", "new"))
    separator.error = UnreadableAudio("The file holds no decodable audio.")
    bad = finished(upload().json["data"]["id"])
    separator.error = None
    separator.hold()
    running, waiting, last = (job_of(app, upload()) for _ in range(3))
    change(app, old.id, finished_at=utcnow() - timedelta(minutes=11))
    eventually(lambda: row(app, running.id).progress == 42)
    found = states(session)
    assert [state["id"] for state in found] == [job.id for job in (last, waiting, running, bad, new)]
    assert found[1] == {
        "id": waiting.id, "name": "song.wav", "status": "queued", "queue_position": 1, "progress": 0, "error": None,
        "url": f"/songs/{waiting.id}",
    }  # fmt: skip
    assert [state["queue_position"] for state in found] == [2, 1, 0, 0, 0]
    assert [state["status"] for state in found] == [QUEUED, QUEUED, PROCESSING, FAILED, COMPLETED]
    assert [state["progress"] for state in found] == [0, 0, 42, 0, 100]
    assert [state["error"] for state in found[3:]] == ["The file holds no decodable audio.", None]


def test_the_page_of_a_song(
    session: FlaskClient, upload: Upload, finished: Callable[[str], Job], shown: Any, separator: FastSeparator
) -> None:
    job = finished(upload(stems="4", name="My <i> Song.wav").json["data"]["id"])
    page = session.get(f"/songs/{job.id}")
    assert page.status_code == 200 and "My &lt;i&gt; Song.wav" in page.text
    assert shown[-1]["stem_names"] == ("vocals", "drums", "bass", "other")
    assert (shown[-1]["song"].id, shown[-1]["song"].status) == (job.id, COMPLETED)
    separator.error = UnreadableAudio("The file <holds> nothing.")
    failed = finished(upload().json["data"]["id"])
    assert "The file &lt;holds&gt; nothing." in session.get(f"/songs/{failed.id}").text


def test_deleting_a_finished_song(
    app: Flask, session: FlaskClient, account: Account, upload: Upload, finished: Callable[[str], Job]
) -> None:
    job, other = (finished(upload().json["data"]["id"]) for _ in range(2))
    before = row(app, job.id)
    answer = delete(session, job.id)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/songs")
    assert files(app) == {f"{other.id}.zip", f"{other.id}.peaks", other.filename}
    after = row(app, job.id)
    assert (after.status, after.error, after.finished_at) == (COMPLETED, None, before.finished_at)
    assert after.expired_at is not None
    for end, method in ROUTES.items():
        headers = JSON | {"X-CSRFToken": token(session)}
        gone = error_of(session.open(f"/songs/{job.id}{end}", method=method, headers=headers), 404)
        assert gone == f"Job {job.id} expired or was deleted. Upload the file again."
    for endpoint in ("status", "download"):
        answer = session.get(f"/api/v1/{endpoint}.php", query_string={"id": job.id}, headers=account.headers)
        assert error_of(answer, 404) == gone
    assert job.id not in session.get("/songs").text
    assert [state["id"] for state in states(session)] == [other.id]


def test_deleting_a_failed_song_takes_its_upload(
    app: Flask, session: FlaskClient, upload: Upload, finished: Callable[[str], Job], separator: FastSeparator
) -> None:
    separator.error = ValueError()
    job = finished(upload().json["data"]["id"])
    assert files(app) == {job.filename}
    assert delete(session, job.id, **JSON).json == {"success": True, "message": "The song was deleted."}
    assert files(app) == set()
    after = row(app, job.id)
    assert (after.status, after.error) == (FAILED, job.error) and after.expired_at is not None
    with app.app_context():
        assert not Job.retry(job.number)


def test_deleting_a_waiting_song(
    app: Flask, desk: Desk, session: FlaskClient, upload: Upload, separator: FastSeparator,
    finished: Callable[[str], Job],
) -> None:  # fmt: skip
    separator.hold()
    running, waiting, last = (job_of(app, upload()) for _ in range(3))
    assert separator.started.wait(60)
    assert delete(session, waiting.id).status_code == 303
    assert waiting.filename not in files(app)
    with app.app_context():
        assert desk.positions([row(app, job.id) for job in (waiting, last)]) == {waiting.number: 0, last.number: 1}
    after = row(app, waiting.id)
    assert (after.status, after.error, after.finished_at) == (FAILED, DELETED, after.expired_at)
    assert after.expired_at is not None
    assert [state["queue_position"] for state in states(session)] == [1, 0]
    separator.release()
    assert [finished(job.id).status for job in (running, last)] == [COMPLETED] * 2
    assert separator.sources == [running.filename, last.filename]


def test_deleting_a_running_song(
    app: Flask, session: FlaskClient, upload: Upload, separator: FastSeparator, finished: Callable[[str], Job]
) -> None:
    separator.hold()
    running, last = (job_of(app, upload()) for _ in range(2))
    eventually(lambda: separator.sources == [running.filename])
    assert delete(session, running.id).status_code == 303
    assert running.filename not in files(app)
    after = row(app, running.id)
    assert (after.status, after.error) == (FAILED, DELETED) and after.expired_at is not None
    # It makes way for the next although nothing else would ever have ended it.
    eventually(lambda: separator.sources == [running.filename, last.filename])
    assert not [name for name in files(app) if running.id in name]
    separator.release()
    assert finished(last.id).status == COMPLETED
    assert files(app) == {f"{last.id}.zip", f"{last.id}.peaks", last.filename}
    assert row(app, running.id).error == DELETED


@pytest.mark.one_box("each worker has a line of its own")
def test_deleting_through_another_worker(
    app: Flask, desk: Desk, make_app: Callable[..., Flask], session: FlaskClient, account: Account,
    upload: Upload, separator: FastSeparator, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("ezstems.jobs.desk.HOUSEKEEPING_EVERY_SECONDS", 3600.0)
    separator.hold()
    running, waiting, last = (job_of(app, upload()) for _ in range(3))
    eventually(lambda: separator.sources == [running.filename])
    elsewhere = make_app().test_client()
    log_in(elsewhere, account.email)
    assert delete(elsewhere, waiting.id).status_code == 303
    # The worker that has it in its line learns of it when it next looks at the rows.
    assert desk.dispatch._queue.waiting() == [waiting.number, last.number]
    desk.dispatch._sync_queue()
    assert desk.dispatch._queue.waiting() == [last.number]
    for client in (session, elsewhere):
        assert [(s["id"], s["queue_position"]) for s in states(client)] == [(last.id, 1), (running.id, 0)]
    assert delete(elsewhere, running.id).status_code == 303
    eventually(lambda: separator.sources == [running.filename, last.filename])
    assert not [name for name in files(app) if running.id in name or waiting.id in name]


@pytest.mark.one_box("it has a line beside the rows")
def test_a_deleted_song_that_is_still_lined_up_is_never_run(
    app: Flask, desk: Desk, session: FlaskClient, upload: Upload, separator: FastSeparator,
    finished: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    separator.hold()
    running, waiting, last = (job_of(app, upload()) for _ in range(3))
    assert separator.started.wait(60)
    monkeypatch.setattr(desk.dispatch._queue, "remove", lambda number: None)
    delete(session, waiting.id)
    separator.release()
    assert finished(last.id).status == COMPLETED
    assert separator.sources == [running.filename, last.filename]
    assert row(app, waiting.id).status == FAILED


def test_deleting_needs_the_token_and_a_post(
    app: Flask, session: FlaskClient, upload: Upload, finished: Callable[[str], Job]
) -> None:
    job = finished(upload().json["data"]["id"])
    path = f"/songs/{job.id}/delete"
    assert session.get(path).status_code == 405
    for headers in ({}, {"X-CSRFToken": "junk"}, {"X-CSRFToken": token(app.test_client())}):
        assert "token" in error_of(session.post(path, headers=headers | JSON))
        page = session.post(path, headers=headers)
        assert (page.status_code, page.mimetype) == (400, "text/html")
    assert row(app, job.id).expired_at is None
    assert session.post(path, data={"csrf_token": token(session)}).status_code == 303


def test_two_deletions_at_once_are_one(
    session: FlaskClient, desk: Desk, app: Flask, upload: Upload, finished: Callable[[str], Job]
) -> None:
    job = finished(upload().json["data"]["id"])
    with app.app_context():
        assert desk.delete(job)
        assert not desk.delete(job)
    assert error_of(delete(session, job.id, **JSON), 404)


def test_a_disk_too_full_for_the_row_is_emptied_first(
    app: Flask, session: FlaskClient, upload: Upload, finished: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, note = finished(upload().json["data"]["id"]), Job.delete

    def needs_room(number: int) -> bool:
        if files(app):
            raise OperationalError("UPDATE jobs", {}, Exception("database or disk is full"))
        return note(number)

    monkeypatch.setattr(Job, "delete", needs_room)
    assert delete(session, job.id).status_code == 303
    assert files(app) == set() and row(app, job.id).expired_at is not None


def test_an_expired_song_is_not_listed(
    app: Flask, session: FlaskClient, upload: Upload, finished: Callable[[str], Job]
) -> None:
    job = finished(upload().json["data"]["id"])
    change(app, job.id, expired_at=datetime(2030, 1, 1))
    assert job.id not in session.get("/songs").text
    assert states(session) == []
    assert "expired or was deleted" in error_of(session.get(f"/songs/{job.id}", headers=JSON), 404)
