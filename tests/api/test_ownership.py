"""Whose it is, and who asked: on every route that takes an id, and on every one that changes something."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.models import Job
from tests.conftest import Account
from tests.support.sessions import log_in, token

JOBS = {"job_id", "name", "number"}
# What a stranger may send without a login; each form has a token of its own.
OPEN_FORMS = {"/login", "/register"}
# The answer of a list in which nothing is.
NONE = '{"success":true,"data":[]}\n'
BY_KEY = {"/api/v1/upload.php", "/api/v1/jobs.php"}


def routes(app: Flask, *methods: str) -> Iterator[tuple[str, Rule]]:
    for rule in app.url_map.iter_rules():
        for method in methods:
            if method in rule.methods:
                yield method, rule


def snapshot(app: Flask) -> list[object]:
    """Return every row of the accounts."""
    with app.app_context():
        tables = ("users", "api_keys", "jobs", "webhooks", "deliveries")
        return [tuple(row) for name in tables for row in db.session.execute(db.text(f"SELECT * FROM {name}"))]


def described(answer: TestResponse, wanted: str) -> tuple[object, ...]:
    """Return all of an answer but what names its request, with the id in it unnamed."""
    headers = [pair for pair in answer.headers if pair[0] not in ("X-Request-ID", "Set-Cookie")]
    return answer.status_code, headers, answer.text.replace(wanted, "ID")


@pytest.fixture
def session(client: FlaskClient, account: Account) -> FlaskClient:
    """Return the client, logged in, its token among its headers."""
    log_in(client, account.email)
    client.environ_base["HTTP_X_CSRFTOKEN"] = token(client, "/account")
    return client


@pytest.mark.parametrize("state", ["completed", "failed", "processing", "expired"])
def test_somebody_elses_job_is_an_unknown_one_everywhere(
    app: Flask,
    session: FlaskClient,
    account: Account,
    make_account: Callable[..., Account],
    done: Callable[..., Job],
    state: str,
) -> None:
    theirs = done(who=make_account("other@example.com"))
    values = {"expired_at": theirs.finished_at} if state == "expired" else {"status": state, "error": "no audio"}
    with app.app_context():
        Job.update_if(theirs.number, **values)
    unknown = f"{theirs.second + 1}_2"
    before = snapshot(app)
    asked = 0
    for accept in ("text/html", "application/json"):
        for method, rule in routes(app, "GET", "POST", "PUT", "PATCH", "DELETE"):
            if "job_id" not in rule.arguments:
                continue
            assert rule.arguments <= JOBS, f"{rule}: teach this test what to ask for"
            answers = []
            for job_id in (theirs.id, unknown):
                url = rule.rule.replace("<job_id>", job_id).replace("<name>", "vocals").replace("<int:number>", "0")
                answers.append(described(session.open(url, method=method, headers={"Accept": accept}), job_id))
            assert answers[0] == answers[1] and answers[0][0] == 404, rule
            asked += 1
    form = {"content_type": "multipart/form-data"}
    by_key: list[tuple[str, str, Callable[[str], dict[str, Any]]]] = [
        ("GET", "status.php?id={}", lambda job_id: {}),
        ("GET", "download.php?id={}", lambda job_id: {}),
        ("GET", "download.php?id={}&stem=vocals", lambda job_id: {}),
        ("GET", "jobs.php?ids={}", lambda job_id: {}),
        ("GET", "jobs.php?before={}", lambda job_id: {}),
        ("DELETE", "jobs.php?id={}", lambda job_id: {}),
        ("POST", "upload.php", lambda job_id: form | {"data": {"source": job_id, "stems": "2"}}),
    ]
    for method, url, options in by_key:
        answers = []
        for job_id in (theirs.id, unknown):
            url_of = f"/api/v1/{url.format(job_id)}"
            answer = session.open(url_of, method=method, headers=account.headers, **options(job_id))
            for counting in ("X-RateLimit-Remaining", "X-RateLimit-Reset"):
                del answer.headers[counting]
            answers.append(described(answer, job_id))
        assert answers[0] == answers[1] and (answers[0][0] == 404 or answers[0][2] == NONE), url
        asked += 1
    assert asked == 2 * 10 + 7
    with app.app_context():
        db.session.remove()
    after = snapshot(app)
    assert [row for row in after if row not in before] == [
        row for row in after if account.key[-8:] in row
    ], "only the caller's own key has counted"


def test_somebody_elses_key_is_an_unknown_one_everywhere(
    app: Flask, session: FlaskClient, make_account: Callable[..., Account]
) -> None:
    make_account("other@example.com")
    before = snapshot(app)
    calls = [("DELETE", "/api/v1/keys.php?id={}")]
    calls += [(method, rule.rule.replace("<raw_id>", "{}")) for method, rule in routes(app, "POST", "DELETE")
              if "raw_id" in rule.arguments]  # fmt: skip
    assert len(calls) == 3
    for method, url in calls:
        theirs, unknown = (described(session.open(url.format(key), method=method), f"key {key}") for key in (2, 9))
        assert theirs == unknown and theirs[0] == 404, url
    assert snapshot(app) == before


def test_nothing_changes_without_the_token(
    app: Flask, session: FlaskClient, account: Account, done: Callable[..., Job]
) -> None:
    job = done()
    before = snapshot(app)
    right = session.environ_base.pop("HTTP_X_CSRFTOKEN")
    others = token(app.test_client())
    asked = []
    for method, rule in routes(app, "POST", "PUT", "PATCH", "DELETE"):
        if rule.rule in BY_KEY:
            continue
        url = re.sub("<.*?>", lambda found: {"<job_id>": job.id}.get(found[0], "1"), rule.rule)
        for sent in ({}, {"X-CSRFToken": "junk"}, {"X-CSRFToken": others}):
            answer = session.open(url, method=method, headers=sent)
            assert answer.status_code == 400, f"{method} {rule}"
        strangers = app.test_client().open(url, method=method)
        assert strangers.status_code in (400, 401) or strangers.headers["Location"] == "/login", f"{method} {rule}"
        asked.append(url)
    assert len(asked) > 8
    assert snapshot(app) == before
    assert session.post("/logout", headers={"X-CSRFToken": right}).status_code == 302


def test_nobody_comes_in_without_a_login(app: Flask) -> None:
    """Every page but these asks who is calling."""
    stranger = app.test_client()
    files = {"/docs/<name>", "/static/<path:filename>"}
    public = {"/", "/docs", "/login", "/register", "/health", "/api/openapi.json"} | files
    stranger.environ_base["HTTP_X_CSRFTOKEN"] = token(stranger)
    asked = 0
    for method, rule in routes(app, "GET", "POST", "DELETE"):
        if rule.rule not in public | OPEN_FORMS:
            answer = stranger.open(re.sub("<.*?>", "1", rule.rule), method=method)
            assert answer.status_code == 401 or answer.headers["Location"].startswith("/login"), f"{method} {rule}"
            asked += 1
    assert asked > 15


def test_every_answer_of_every_route_has_its_headers(app: Flask, session: FlaskClient) -> None:
    """Whatever it is asked, by whomever: pages have the policy, everything else at least no guesses at its type."""
    clients = (session, app.test_client())
    for method, rule in routes(app, "GET", "POST", "DELETE"):
        for client in clients:
            url = re.sub("<.*?>", "1", rule.rule)
            if url.startswith("/logout"):
                continue
            for verb in (method, "TRACE"):
                answer = client.open(url, method=verb)
                assert answer.headers["X-Content-Type-Options"] == "nosniff", f"{verb} {rule}"
                assert answer.headers["Referrer-Policy"] == "same-origin"
                assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
                policy = answer.headers.get("Content-Security-Policy", "")
                assert ("frame-ancestors 'none'" in policy) == (answer.mimetype == "text/html"), f"{verb} {rule}"
                assert answer.headers.get("Cache-Control") == "no-store" or "/static/" in rule.rule, f"{verb} {rule}"
                assert answer.headers["X-Request-ID"]
