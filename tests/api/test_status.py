"""`status.php`: each state, and whose job it is."""

import json
import re
import time
from collections.abc import Callable
from datetime import datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from ezstems.database import db
from ezstems.errors import UnreadableAudio
from ezstems.models import CRASHED, Job, utcnow
from tests.conftest import Account
from tests.support.multipart import Upload, error_of, job_of
from tests.support.separators import FastSeparator

URL = "/api/v1/status.php"
BASE = ["id", "status", "queue_position", "stems", "created_at"]


@pytest.fixture
def account(make_account: Callable[..., Account]) -> Account:
    """Return an account that may poll as often as a slow machine makes it."""
    return make_account(rate_limit=1_000_000)


def asked(client: FlaskClient, who: Account, job_id: str) -> dict[str, object]:
    """Return the data of a successful call, whose form is exact."""
    answer = client.get(URL, query_string={"id": job_id}, headers=who.headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert list(json.loads(answer.text)) == ["success", "data"]
    assert answer.json["success"] is True
    data = answer.json["data"]
    assert list(data)[:5] == BASE
    assert data["id"] == job_id
    assert type(data["queue_position"]) is int and type(data["stems"]) is int
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", data["created_at"])
    return data


def change(app: Flask, job_id: str, **values: object) -> None:
    with app.app_context():
        db.session.execute(update(Job).where(Job.id == job_id).values(**values))
        db.session.commit()


def test_queued_and_processing(
    app: Flask, client: FlaskClient, account: Account, upload: Upload, separator: FastSeparator
) -> None:
    separator.hold()
    jobs = [job_of(app, upload(stems=stems)) for stems in ("2", "4", "5", "2")]
    assert separator.started.wait(60)
    running = asked(client, account, jobs[0].id)
    assert list(running) == [*BASE, "progress"]
    assert (running["status"], running["queue_position"], running["stems"]) == ("processing", 0, 2)
    assert type(running["progress"]) is int and 0 <= running["progress"] <= 100
    for position, job in enumerate(jobs[1:], 1):
        waiting = asked(client, account, job.id)
        assert list(waiting) == BASE
        assert (waiting["status"], waiting["queue_position"], waiting["stems"]) == ("queued", position, job.stems)
        assert waiting["created_at"] == f"{job.created_at:%Y-%m-%d %H:%M:%S}"


def test_positions_count_down(
    app: Flask, client: FlaskClient, account: Account, upload: Upload, separator: FastSeparator
) -> None:
    separator.hold()
    first, second, third = (job_of(app, upload()) for _ in range(3))
    assert separator.started.wait(60)
    assert asked(client, account, third.id)["queue_position"] == 2
    separator.release()
    deadline = time.monotonic() + 60
    seen = [2]
    while (data := asked(client, account, third.id))["status"] == "queued" and time.monotonic() < deadline:
        seen.append(data["queue_position"])
    assert seen == sorted(seen, reverse=True) and seen[-1] >= 1
    assert data["queue_position"] == 0
    assert {asked(client, account, job.id)["queue_position"] for job in (first, second)} == {0}


def test_a_job_of_another_worker_has_the_position_among_that_workers_rows(
    app: Flask, client: FlaskClient, account: Account, upload: Upload, separator: FastSeparator,
    make_app: Callable[..., Flask],
) -> None:  # fmt: skip
    separator.hold()
    jobs = [job_of(app, upload()) for _ in range(3)]
    assert separator.started.wait(60)
    elsewhere = make_app().test_client()
    while asked(client, account, jobs[0].id)["status"] == "queued":
        time.sleep(0.01)
    assert [asked(elsewhere, account, job.id)["queue_position"] for job in jobs] == [0, 1, 2]
    assert [asked(client, account, job.id)["queue_position"] for job in jobs] == [0, 1, 2]


def test_progress_is_a_percentage(
    app: Flask, client: FlaskClient, account: Account, upload: Upload, separator: FastSeparator
) -> None:
    separator.hold()
    job = job_of(app, upload())
    deadline = time.monotonic() + 60
    while asked(client, account, job.id).get("progress") != 42 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert asked(client, account, job.id)["progress"] == 42


def test_completed(
    client: FlaskClient, account: Account, upload: Upload, finished: Callable[[str], Job], tokyo: None
) -> None:
    before = int(time.time())
    job = finished(upload(stems="5").json["data"]["id"])
    data = asked(client, account, job.id)
    assert list(data) == [*BASE, "download_url"]
    assert (data["status"], data["queue_position"], data["stems"]) == ("completed", 0, 5)
    assert data["download_url"] == f"/api/v1/download.php?id={job.id}"
    created = datetime.strptime(f"{data['created_at']} +0000", "%Y-%m-%d %H:%M:%S %z")
    assert before <= created.timestamp() <= time.time(), "in UTC, wherever the machine is"
    # "The ZIP is complete and on disk": the link works at once.
    assert client.get(data["download_url"], headers=account.headers).status_code == 200


def test_failed(
    app: Flask,
    client: FlaskClient,
    account: Account,
    upload: Upload,
    finished: Callable[[str], Job],
    separator: FastSeparator,
) -> None:
    separator.error = UnreadableAudio("The file holds no decodable audio.")
    job = finished(upload(stems="4").json["data"]["id"])
    data = asked(client, account, job.id)
    assert list(data) == [*BASE, "error"]
    assert (data["status"], data["queue_position"], data["stems"]) == ("failed", 0, 4)
    assert data["error"] == "The file holds no decodable audio."

    separator.error = RuntimeError("secret text of a library at /secret/path")
    job = finished(upload().json["data"]["id"])
    error = asked(client, account, job.id)["error"]
    assert error and "secret" not in error

    change(app, job.id, error=CRASHED)
    assert "crashed the separator" in asked(client, account, job.id)["error"]


def test_malformed_ids(client: FlaskClient, account: Account) -> None:
    rule = "must look like 1699567234_2"
    junk = ["", " ", "abc", "1", "1699567234", "_2", "1699567234_", "1699567234_3", "1699567234_22", "1699567234-2"]
    junk += ["1699567234_2.zip", "-1_2", "+1_2", "1.5_2", "1e9_2", "0x10_2", "1 699567234_2", "1699567234 _2"]
    junk += ["1699567234_２", "１699567234_2", "1699567234_2\x00", "\x001699567234_2", "1699567234_2\n_2"]  # noqa: RUF001
    junk += ["../../etc/passwd", "1' OR '1'='1", "9" * 13 + "_2", "9" * 5000 + "_2", "null", "[]", "%s", "🎵"]
    for job_id in junk:
        message = error_of(client.get(URL, query_string={"id": job_id}, headers=account.headers))
        assert rule in message, job_id
        assert repr(job_id.strip()[:64]) in message
    assert error_of(client.get(f"{URL}?id=%ff%fe", headers=account.headers))


def test_a_missing_id(client: FlaskClient, account: Account) -> None:
    for query in ("", "?", "?ID=1699567234_2", "?id[]=1699567234_2", "?job=1"):
        assert "id is missing" in error_of(client.get(URL + query, headers=account.headers))


def test_ids_as_php_reads_them(app: Flask, client: FlaskClient, account: Account, upload: Upload) -> None:
    job = job_of(app, upload())
    for query in (f"id=abc&id={job.id}", f"id=%20{job.id}%0A", f"x=1&id=+{job.id}&y=id", f"id={job.id}&"):
        answer = client.get(f"{URL}?{query}", headers=account.headers)
        assert answer.json["data"]["id"] == job.id, query
    assert "'abc'" in error_of(client.get(f"{URL}?id={job.id}&id=abc", headers=account.headers))


def test_an_unknown_id_and_somebody_elses(
    app: Flask, client: FlaskClient, account: Account, make_account: Callable[..., Account], upload: Upload
) -> None:
    other = make_account("other@example.com")
    theirs = job_of(app, upload(who=other))
    assert asked(client, other, theirs.id)
    answer = client.get(URL, query_string={"id": theirs.id}, headers=account.headers)
    message = error_of(answer, 404)
    change(app, theirs.id, id=f"{theirs.second - 9}_2")  # now nobody has it
    unknown = client.get(URL, query_string={"id": theirs.id}, headers=account.headers)
    assert unknown.data == answer.data
    assert error_of(unknown, 404) == message == f"There is no job {theirs.id}."
    for job_id in ("1_2", "999999999999_5", "0000000000_4"):
        assert error_of(client.get(URL, query_string={"id": job_id}, headers=account.headers), 404)


def test_an_expired_job(
    app: Flask, client: FlaskClient, account: Account, upload: Upload, finished: Callable[[str], Job]
) -> None:
    job = finished(upload().json["data"]["id"])
    change(app, job.id, expired_at=utcnow())
    assert "expired" in error_of(client.get(URL, query_string={"id": job.id}, headers=account.headers), 404)


def test_it_needs_a_key(client: FlaskClient) -> None:
    assert error_of(client.get(f"{URL}?id=1_2"), 401)
