"""`jobs.php`: the account's jobs, page by page, and their deletion."""

import io
import time
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert, text
from sqlalchemy.dialects import sqlite
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.errors import UnreadableAudio
from ezstems.models import COMPLETED, Job, utcnow
from ezstems.web.api.jobs import asked
from tests.api.test_queries import statements
from tests.conftest import IN_CLUSTER, Account
from tests.support.kept import files, lose_result
from tests.support.multipart import Upload, error_of, job_of
from tests.support.separators import LABEL, FastSeparator

URL = "/api/v1/jobs.php"
MORE = ["filename", "original_name", "seconds", "model", "expires_at", "metadata"]
NOBODYS = "1_2"


@pytest.fixture
def call(client: FlaskClient, account: Account) -> Callable[..., TestResponse]:
    """Return a caller of the endpoint: its query, by name."""

    def send(method: str = "GET", who: Account = account, **query: Any) -> TestResponse:
        return client.open(URL, method=method, query_string=query, headers=who.headers)

    return send


@pytest.fixture
def ids(call: Any) -> Callable[..., list[str]]:
    """Return a caller that returns the ids in the list."""

    def listed(**query: Any) -> list[str]:
        answer = call(**query)
        assert answer.status_code == 200, answer.text
        assert list(answer.json) == ["success", "data"] and answer.json["success"] is True
        return [job["id"] for job in answer.json["data"]]

    return listed


def stored(app: Flask, account: Account, count: int, **values: Any) -> list[str]:
    """Store rows of completed jobs, oldest first; return their ids."""
    made = [
        {
            "id": f"{second}_4", "second": second, "stems": 4, "user_id": account.user_id, "cutoff": "full",
            "output": "wav", "original_name": "song.wav", "filename": f"{second}_4_00000.wav", "size_bytes": 1,
            "status": COMPLETED, "progress": 100, "finished_at": utcnow(), "samples": 441, "keeps_upload": False,
            **values,
        }
        for second in range(values.pop("first", 1000), 1000 + count)
    ]
    with app.app_context():
        db.session.execute(insert(Job), made)
        db.session.commit()
    return [str(row["id"]) for row in made]


def test_a_job_in_every_state_is_what_status_says_and_more(
    app: Flask, client: FlaskClient, account: Account, call: Any, upload: Upload, done: Callable[..., Job],
    finished: Callable[[str], Job], separator: FastSeparator,
) -> None:  # fmt: skip
    completed = done(name="My Song.wav", stems="4", metadata=" order 4711, ü ♫ ")
    separator.error = UnreadableAudio("The file holds no decodable audio.")
    failed = finished(upload().json["data"]["id"])
    separator.error = None
    separator.hold()
    separator.started.clear()
    running, queued = (job_of(app, upload()) for _ in range(2))
    assert separator.started.wait(60)
    deadline = time.monotonic() + 60
    while (rows := call().json["data"])[1].get("progress") != 42:  # where the separator stays, told a moment later
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [row["id"] for row in rows] == [queued.id, running.id, failed.id, completed.id], "newest first"
    for row in rows:
        said = client.get(f"/api/v1/status.php?id={row['id']}", headers=account.headers).json["data"]
        assert list(row) == [*said, *MORE] and row == row | said
    assert rows[3] == rows[3] | {
        "filename": completed.filename,
        "original_name": "My Song.wav",
        "seconds": 0.01,
        "model": LABEL,
        "expires_at": f"{completed.finished_at + timedelta(hours=72):%Y-%m-%d %H:%M:%S}",
        "metadata": "order 4711, ü ♫",
    }
    assert rows[2]["expires_at"] is not None and rows[2]["error"] == failed.error
    for row in rows[:2]:
        assert [row[name] for name in MORE] == [row["filename"], "song.wav", None, None, None, None]
    for state, job in (("completed", completed), ("failed", failed), ("processing", running), ("queued", queued)):
        assert [row["id"] for row in call(status=state).json["data"]] == [job.id]


def test_pages(app: Flask, account: Account, ids: Any) -> None:
    made = stored(app, account, 120)[::-1]
    assert ids() == made[:50] == ids(limit="", before=" ", status="", ids="", unknown="x")
    assert ids(limit=" 7 ") == made[:7] and ids(limit=100) == made[:100]
    seen: list[str] = []
    while page := ids(limit=33, **({"before": seen[-1]} if seen else {})):
        seen += page
    assert seen == made
    assert ids(ids=",".join(made[99::-1])) == made[:100], "all that are asked for, however many are shown otherwise"
    assert ids(ids=f"{made[3]}, {made[1]},{NOBODYS}") == [made[1], made[3]]
    assert ids(ids=f"{made[3]},{made[1]}", before=made[2], status="completed", limit=1) == [made[3]]
    with app.app_context():
        Job.update_if(120, expired_at=utcnow())
        Job.update_if(119, expired_at=utcnow())
    assert ids(limit=2) == made[2:4]
    assert ids(before=made[1], limit=2) == made[2:4], "who reads page by page goes on where it was"
    assert ids(ids=made[0]) == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"limit": raw}, f"limit={raw[:64]!r} must be a whole number from 1 to 100.")
        for raw in ("0", "101", "-1", "1.5", "x", "１", "9" * 5000, "1e1", "+1")
    ]
    + [
        ({name: raw}, f"{name}={raw[:64]!r} must look like 1699567234_2: what upload.php answered.")
        for name in ("before", "ids")
        for raw in ("abc", "1_3", "_2", "1234567890123_2", "1_2\x00", "x" * 5000)
    ]
    + [
        ({"ids": "1_2,,1_4"}, "ids='' must look like 1699567234_2: what upload.php answered."),
        ({"ids": ",".join(["1_2"] * 101)}, "ids names 101 jobs; it must name at most 100."),
        ({"ids": "1_2," * 3000}, "ids names 3001 jobs; it must name at most 100."),
        ({"status": "done"}, "status='done' must be one of queued, processing, completed, failed."),
        ({"status": "completed\x00"}, "status='completed\\x00' must be one of queued, processing, completed, failed."),
    ],
)
def test_bad_values(call: Any, query: dict[str, str], said: str) -> None:
    assert error_of(call(**query)) == said


def test_somebody_elses_jobs_are_unknown(
    app: Flask, account: Account, make_account: Callable[..., Account], call: Any, ids: Any
) -> None:
    (theirs,) = stored(app, make_account("other@example.com"), 1)
    mine = stored(app, account, 3, first=1001)
    assert ids() == ids(ids=",".join((theirs, *mine))) == mine[::-1]
    assert ids(ids=theirs) == ids(ids=NOBODYS) == []
    for method, name in (("GET", "before"), ("DELETE", "id")):
        for job_id in (theirs, NOBODYS):
            assert error_of(call(method, **{name: job_id}), 404) == f"There is no job {job_id}."
    with app.app_context():
        assert not Job.is_gone(1)


def test_a_list_costs_the_same_however_long_it_is(
    app: Flask, account: Account, upload: Upload, separator: FastSeparator, call: Any
) -> None:
    separator.hold()
    upload()
    assert separator.started.wait(60)
    counts = []
    for _ in range(2):
        upload()
        for query in ({}, {"before": job_of(app, upload()).id}, {"status": "queued"}):
            with statements(app) as told:
                assert call(**query).status_code == 200
            counts.append(len(told))
    # The key, its count (two), the list; in a cluster the places, too.
    assert counts[:3] == counts[3:] and counts[0] == 4 + IN_CLUSTER


@pytest.mark.sqlite("its plan is explained")
@pytest.mark.parametrize(
    "query",
    [{}, {"before": "1050_4"}, {"status": "failed"}, {"ids": "1050_4,1051_4"}, {"ids": "1_2", "before": "1050_4"}],
)
def test_no_list_reads_other_accounts_or_sorts_what_it_does_not_show(
    app: Flask, account: Account, query: dict[str, str]
) -> None:
    stored(app, account, 100)
    with app.test_request_context(URL, query_string=query):
        compiled = asked(account.user_id).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        plan = [row[3] for row in db.session.execute(text(f"EXPLAIN QUERY PLAN {compiled}"))]
    # SQLite chooses where both are asked for; its versions don't choose alike.
    bounds = {f" AND number{by}?" for by, name in (("<", "before"), ("=", "ids")) if name in query} or {""}
    assert plan[0] in {f"SEARCH jobs USING INDEX ix_jobs_kept (user_id=?{bound})" for bound in bounds}, plan
    if "ids" in query:
        assert plan[2].startswith("SEARCH jobs_1 USING") and plan[2].endswith("(id=?)"), plan
    assert "TEMP B-TREE FOR ORDER" not in " ".join(plan), plan


def test_deleting_a_job_in_every_state(
    app: Flask, client: FlaskClient, account: Account, call: Any, ids: Any, upload: Upload, done: Callable[..., Job],
    finished: Callable[[str], Job], separator: FastSeparator,
) -> None:  # fmt: skip
    completed = done()
    separator.error = ValueError()
    failed = finished(upload().json["data"]["id"])
    separator.error = None
    separator.hold()
    separator.started.clear()
    running, queued, last = (job_of(app, upload()) for _ in range(3))
    assert separator.started.wait(60)
    for job in (completed, failed, queued, running):
        answer = call("DELETE", id=f" {job.id} ", unknown="x")
        assert answer.status_code == 200
        assert answer.data == b'{"success":true,"message":"Job deleted successfully"}\n'
        assert not [name for name in files(app) if name.startswith(job.id)], "its files go at once"
        gone = f"Job {job.id} expired or was deleted. Upload the file again."
        assert error_of(call("DELETE", id=job.id), 404) == gone
        for endpoint in ("status", "download"):
            answer = client.get(f"/api/v1/{endpoint}.php?id={job.id}", headers=account.headers)
            assert error_of(answer, 404) == gone
        assert job.id not in ids()
    separator.release()
    assert finished(last.id).status == COMPLETED
    assert ids() == [last.id]
    assert error_of(call("DELETE")) == "The parameter id is missing: the id that upload.php answered."
    assert error_of(call("DELETE", id="abc")) == "id='abc' must look like 1699567234_2: what upload.php answered."


def test_each_call_counts_once_and_needs_a_key(call: Any, client: FlaskClient, make_account: Any) -> None:
    caller = make_account("three@example.com", rate_limit=3)
    assert [call("GET", caller).headers["X-RateLimit-Remaining"] for _ in range(2)] == ["2", "1"]
    assert call("DELETE", caller, id=NOBODYS).headers["X-RateLimit-Remaining"] == "0"
    for method in ("GET", "DELETE"):
        assert call(method, caller).status_code == 403
        assert client.open(URL, method=method).status_code == 401
    for method in ("POST", "PUT", "PATCH"):
        refused = client.open(URL, method=method)
        error_of(refused, 405)
        assert {name.strip() for name in refused.headers["Allow"].split(",")} == {"GET", "HEAD", "DELETE"}
    assert client.head(URL).status_code == 401


def test_completed_answers_say_when_the_files_go(
    app: Flask, client: FlaskClient, account: Account, upload: Upload, separator: FastSeparator,
    finished: Callable[[str], Job],
) -> None:  # fmt: skip
    def get(endpoint: str, query: str, **headers: str) -> TestResponse:
        return client.get(f"/api/v1/{endpoint}.php?id={query}", headers=account.headers | headers)

    separator.hold()
    waiting = job_of(app, upload())
    assert "X-Expires-At" not in get("status", waiting.id).headers
    separator.release()
    job = finished(waiting.id)
    said = get("status", job.id).headers["X-Expires-At"]
    assert said == f"{job.finished_at + timedelta(hours=72):%Y-%m-%d %H:%M:%S}"
    whole = get("download", job.id)
    part = get("download", job.id, Range="bytes=1-")
    parts = [part, get("download", job.id, **{"If-None-Match": whole.headers["ETag"]})]
    assert [answer.status_code for answer in (whole, *parts)] == [200, 206, 304]
    assert {answer.headers["X-Expires-At"] for answer in (whole, *parts)} == {said}
    assert get("download", f"{job.id}&stem=vocals").headers["X-Expires-At"] == said
    separator.error = ValueError()
    failed = finished(upload().json["data"]["id"])
    for endpoint in ("status", "download"):
        assert "X-Expires-At" not in get(endpoint, failed.id).headers


@pytest.mark.parametrize(
    ("stems", "output", "media_type"),
    [("2", "wav", "audio/wav"), ("4", "mp3", "audio/mpeg"), ("5", "wav32", "audio/wav"), ("2", "m4a", "audio/mp4")],
)
def test_one_stem(
    client: FlaskClient, account: Account, done: Callable[..., Job], stems: str, output: str, media_type: str
) -> None:
    job = done(stems=stems, output=output, name="Größe.wav")

    def get(query: str = "", **headers: str) -> TestResponse:
        return client.get(f"/api/v1/download.php?id={job.id}{query}", headers=account.headers | headers)

    archive = zipfile.ZipFile(io.BytesIO(get().data))
    assert get("&stem=").data == get("&stem=%20").data == get().data
    for name in archive.namelist():
        stem, content = name.split(".")[0], archive.read(name)
        answer = get(f"&stem=junk&stem=%20{stem.upper()}%20")
        assert (answer.status_code, answer.data, answer.headers["Content-Type"]) == (200, content, media_type)
        assert answer.headers["Content-Disposition"].startswith("attachment; ") and name in (
            answer.headers["Content-Disposition"]
        )
        part = get(f"&stem={stem}", Range="bytes=2-5")
        assert (part.status_code, part.data) == (206, content[2:6])
        assert part.headers["Content-Range"] == f"bytes 2-5/{len(content)}"
        assert get(f"&stem={stem}", **{"If-None-Match": answer.headers["ETag"]}).status_code == 304
        assert get(f"&stem={stem}", Range=f"bytes={len(content)}-").status_code == 416
    names = ", ".join(name.split(".")[0] for name in archive.namelist())
    for stem in ("nothing", "vocals.wav", "../vocals", "x" * 100, "piano " if stems != "5" else "guitar"):
        raw = stem.strip().lower()
        said = error_of(get(f"&stem={stem}"))
        assert said == f"stem={raw[:64]!r} must be one of {names}: the stems of job {job.id}."


def test_one_stem_of_what_is_not_there(
    app: Flask, client: FlaskClient, account: Account, upload: Upload, done: Callable[..., Job],
    separator: FastSeparator,
) -> None:  # fmt: skip
    lost = done()
    lose_result(app, lost)
    separator.hold()
    waiting = job_of(app, upload())

    def get(job_id: str) -> TestResponse:
        return client.get(f"/api/v1/download.php?id={job_id}&stem=vocals", headers=account.headers)

    assert "not completed" in error_of(get(waiting.id))
    assert "damaged or lost" in error_of(get(lost.id), 500)
    error_of(get(NOBODYS), 404)
