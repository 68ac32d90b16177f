"""Every answer under /api/ is the contract's: JSON errors, codes, Allow, request ids, no CORS, no redirect."""

import logging
import re
import sqlite3
from collections.abc import Callable
from unittest.mock import Mock

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from ezstems.audio.decode import KILLED
from ezstems.errors import DecodingFailed, EncodingFailed, EzStemsError
from ezstems.web.request_log import RequestIdFilter
from tests.conftest import Account
from tests.support.multipart import error_of

ALLOWED = {
    "upload": {"POST"},
    "status": {"GET", "HEAD"},
    "download": {"GET", "HEAD"},
    "keys": {"GET", "HEAD", "POST", "DELETE"},
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
ORIGIN = "https://music.example"
CRASHES = (
    RuntimeError("secret /secret/path"),
    EzStemsError("secret"),
    EncodingFailed("secret"),
    OperationalError("SELECT secret", {}, sqlite3.OperationalError("secret")),
    UnicodeEncodeError("utf-8", "secret", 0, 1, "secret"),
    KeyError("secret"),
    OSError(5, "secret", "/secret/path"),
)


def test_unknown_paths(client: FlaskClient, account: Account) -> None:
    paths = ["/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/status.php", "/api/v1/nowhere.php", "/api/v1/status"]
    paths += ["/api/v1/status.php/", "/api/v1/status.php/x", "/api/v1//nowhere.php", "/api//v1/status"]
    paths += ["/api/v1/STATUS.PHP", "/api/v1/../v1/x", "/api/%00", "/api/%ff%fe", "/api/v1/status.php%0a"]
    paths += ["/api/" + "x" * 5000]
    for path in paths:
        for method in METHODS:
            answer = client.open(path, method=method, headers=account.headers)
            assert error_of(answer, 404), path
            assert answer.json["error"] == "Not found"
            assert "Location" not in answer.headers
    head = client.head("/api/v1/nowhere.php")
    assert (head.status_code, head.mimetype) == (404, "application/json")


def test_wrong_methods(client: FlaskClient, account: Account) -> None:
    for endpoint, allowed in ALLOWED.items():
        for method in set(METHODS) - allowed:
            for headers in (account.headers, {}):
                answer = client.open(f"/api/v1/{endpoint}.php", method=method, headers=headers)
                message = error_of(answer, 405)
                assert answer.json["error"] == "Method not allowed"
                assert {name.strip() for name in answer.headers["Allow"].split(",")} == allowed
                assert method in message and all(name in message for name in allowed)
    head = client.head("/api/v1/upload.php", headers=account.headers)
    assert (head.status_code, head.headers["Allow"]) == (405, "POST")


def test_pages_outside_the_api_are_html(client: FlaskClient) -> None:
    for path in ("/nowhere", "/apiary", "/login/"):
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype) == (404, "text/html")
    answer = client.put("/login")
    assert (answer.status_code, answer.mimetype) == (405, "text/html")
    assert {"GET", "POST"} <= {name.strip() for name in answer.headers["Allow"].split(",")}


def test_a_crash_in_a_view(
    client: FlaskClient, account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(RequestIdFilter())  # as the log's own handler has it
    for number, error in enumerate(CRASHES):
        monkeypatch.setattr("ezstems.web.api.upload.current_desk", Mock(side_effect=error))
        headers = account.headers | {"X-Request-ID": f"crash-{number}"}
        answer = client.post("/api/v1/upload.php", headers=headers)
        message = error_of(answer, 500)
        assert answer.json["error"] == "Internal server error"
        assert f"crash-{number}" in message and answer.headers["X-Request-ID"] == f"crash-{number}"
        assert "secret" not in answer.text and "Traceback" not in answer.text
        record = next(record for record in caplog.records if vars(record)["request_id"] == f"crash-{number}")
        assert record.exc_info and record.exc_info[1] is error, "the operator finds the whole trace"


def test_a_killed_check_is_told_as_such(client: FlaskClient, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezstems.web.api.upload.current_desk", Mock(side_effect=DecodingFailed(KILLED)))
    answer = client.post("/api/v1/upload.php", headers=account.headers)
    assert error_of(answer, 500) == KILLED
    assert answer.json["error"] == "Internal server error"


def test_a_crash_before_the_view(app: Flask, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezstems.models.ApiKey.find", Mock(side_effect=sqlite3.DatabaseError("secret")))
    for path, method in (("upload", "POST"), ("status", "GET"), ("download", "GET"), ("keys", "DELETE")):
        answer = app.test_client().open(f"/api/v1/{path}.php?id=1_2", method=method, headers=account.headers)
        assert error_of(answer, 500)
        assert "secret" not in answer.text


def test_a_crash_on_a_page(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezstems.web.site.landing.current_desk", Mock(side_effect=RuntimeError("secret")))
    answer = client.get("/")
    assert (answer.status_code, answer.mimetype) == (500, "text/html")
    assert "secret" not in answer.text and "Traceback" not in answer.text
    assert answer.headers["X-Request-ID"] in answer.text


def test_request_ids(client: FlaskClient, account: Account) -> None:
    for path in ("/", "/health", "/nowhere", "/api/v1/nowhere", "/api/v1/keys.php", "/static/style.css"):
        made = [client.get(path).headers["X-Request-ID"] for _ in range(2)]
        assert made[0] != made[1]
        assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in made)
    uuid = "8f14e45f-ceea-4e7a-9b5c-1d2f3a4b5c6d"
    for sane in ("a", "0", uuid, "Root=1-67891233-abcdef", "a.b:c/d+e@f_g", "x" * 128):
        for headers in (account.headers, {}):
            answer = client.get("/api/v1/keys.php", headers=headers | {"X-Request-ID": sane})
            assert answer.headers.getlist("X-Request-ID") == [sane]
    insane = ["", " ", "x" * 129, "x" * 10_000, "a b", "a\tb", "-a", "<script>", 'a"b', "a;b", "a,b", "gr\xfc\xdfe"]
    for value in [*insane, "a\x00b", "a\x0bb", "a\x85b", "\u20ac".encode().decode("latin-1"), "a%0ab", "${jndi:x}"]:
        answer = client.get("/api/v1/keys.php", environ_overrides={"HTTP_X_REQUEST_ID": value})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"]), value
    for value in ("a\nb", "a\n", "a\r\nSet-Cookie: x=y"):  # no server lets these through, and still
        answer = client.get("/api/v1/keys.php", environ_overrides={"HTTP_X_REQUEST_ID": value})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_the_log_line_bears_the_request_id(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(RequestIdFilter())
    with caplog.at_level(logging.INFO, "ezstems.web.request_log"):
        client.get("/api/v1/no\nwhere?key=private", headers={"X-Request-ID": "line-1"}).close()
    lines = [record.getMessage() for record in caplog.records if vars(record)["request_id"] == "line-1"]
    assert len(lines) == 1
    assert "GET '/api/v1/no" in lines[0] and " 404 " in lines[0]
    assert "\n" not in lines[0] and "private" not in lines[0]


def test_no_cors_by_default(client: FlaskClient, account: Account) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    for endpoint in ALLOWED:
        url = f"/api/v1/{endpoint}.php"
        preflight = client.options(url, headers=asked)
        assert error_of(preflight, 405)
        answer = client.open(url, method=min(ALLOWED[endpoint]), headers=account.headers | {"Origin": ORIGIN})
        for each in (preflight, answer):
            assert not [name for name, _ in each.headers if name.startswith("Access-Control-")]


def test_cors_for_the_origins_that_are_named_only(make_app: Callable[..., Flask], account: Account) -> None:
    client = make_app(cors_origins=f"{ORIGIN} https://two.example").test_client()
    for endpoint in ALLOWED:
        url = f"/api/v1/{endpoint}.php"
        method = min(ALLOWED[endpoint])
        asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
        for origin in (ORIGIN, "https://two.example"):
            preflight = client.options(url, headers=asked | {"Origin": origin})
            assert preflight.status_code == 200
            assert preflight.headers["Access-Control-Allow-Origin"] == origin
            assert method in preflight.headers["Access-Control-Allow-Methods"]
            assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
            assert "Access-Control-Allow-Credentials" not in preflight.headers, "the session is the website's own"
            refused = client.open(url, method=method, headers={"Origin": origin})
            assert error_of(refused, 401)
            assert refused.headers["Access-Control-Allow-Origin"] == origin
        near = (f"{ORIGIN}.evil.example", "http://music.example", "https://musicxexample", f"{ORIGIN}:8443")
        for origin in (*near, "https://evil.example", "null"):
            preflight = client.options(url, headers=asked | {"Origin": origin})
            assert error_of(preflight, 405), origin
            assert {name.strip() for name in preflight.headers["Allow"].split(",")} == ALLOWED[endpoint]
            answer = client.open(url, method=method, headers=account.headers | {"Origin": origin})
            for each in (preflight, answer):
                assert not [name for name, _ in each.headers if name.startswith("Access-Control-")], origin
        assert error_of(client.options(url), 405)
    page = client.get("/login", headers={"Origin": ORIGIN})
    assert not [name for name, _ in page.headers if name.startswith("Access-Control-")]


def test_cors_lets_scripts_read_what_they_need(make_app: Callable[..., Flask], account: Account) -> None:
    client = make_app(cors_origins=ORIGIN).test_client()
    answer = client.get("/api/v1/keys.php", headers=account.headers | {"Origin": ORIGIN})
    exposed = answer.headers["Access-Control-Expose-Headers"]
    read = "X-RateLimit-Remaining", "Retry-After", "Content-Disposition", "X-Request-ID"
    for name in (*read, "Preference-Applied", "Idempotent-Replayed"):
        assert name in exposed


def test_a_body_that_is_too_large_for_an_endpoint_without_one(client: FlaskClient, account: Account) -> None:
    answer = client.delete("/api/v1/keys.php", data=b"x" * 2_000_000, headers=account.headers)
    assert answer.status_code == 200
