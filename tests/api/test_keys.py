"""`keys.php`: listing, deactivating and making keys."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from ezstems.database import db
from ezstems.models import ApiKey, User, utcnow
from tests.conftest import ON_POSTGRESQL, Account
from tests.support.multipart import error_of
from tests.support.sessions import log_in, token

URL = "/api/v1/keys.php"
KEYS = ["id", "api_key", "is_active", "rate_limit", "calls_count", "created_at", "last_used_at"]
DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def listed(client: FlaskClient, key: str) -> list[dict[str, object]]:
    """Return the data of a successful GET, whose form is exact."""
    answer = client.get(URL, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert list(json.loads(answer.text)) == ["success", "data"]
    assert answer.json["success"] is True
    for row in answer.json["data"]:
        assert list(row) == KEYS
        assert [type(row[name]) for name in KEYS[:5]] == [int, str, int, int, int]
        assert DATE.fullmatch(row["created_at"])
        assert row["last_used_at"] is None or DATE.fullmatch(row["last_used_at"])
    return answer.json["data"]


@pytest.fixture
def another_key(app: Flask, account: Account) -> Callable[..., str]:
    """Return a maker of more keys of the account."""

    def make(rate_limit: int | None = None) -> str:
        with app.app_context():
            _, key = ApiKey.issue(db.session.get_one(User, account.user_id), rate_limit)
            db.session.commit()
            return key

    return make


def test_the_accounts_keys_oldest_first(
    client: FlaskClient, account: Account, make_account: Callable[..., Account], another_key: Callable[..., str]
) -> None:
    make_account("other@example.com")
    keys = [account.key, another_key(5000), another_key()]
    rows = listed(client, keys[1])
    assert [row["api_key"] for row in rows] == ["*" * 8 + key[-8:] for key in keys]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert [row["rate_limit"] for row in rows] == [100, 5000, 100]
    assert [row["is_active"] for row in rows] == [1, 1, 1]
    assert [row["calls_count"] for row in rows] == [0, 1, 0]
    assert [row["last_used_at"] is None for row in rows] == [True, False, True]
    used = datetime.strptime(rows[1]["last_used_at"], "%Y-%m-%d %H:%M:%S")
    assert timedelta(0) <= utcnow() - used < timedelta(seconds=30)


def test_calls_are_counted_inside_the_window(app: Flask, client: FlaskClient, account: Account) -> None:
    for count in (1, 2, 3):
        answer = client.get(URL, headers=account.headers)
        row = answer.json["data"][0]
        assert row["calls_count"] == count
        assert str(row["rate_limit"] - row["calls_count"]) == answer.headers["X-RateLimit-Remaining"]


def test_calls_of_a_window_that_is_over_count_no_more(
    app: Flask, client: FlaskClient, account: Account, another_key: Callable[..., str]
) -> None:
    second = another_key()
    for _ in range(4):
        listed(client, account.key)
    with app.app_context():
        first = db.session.scalars(select(ApiKey).order_by(ApiKey.id)).first()
        first.window_started_at -= timedelta(hours=1)
        db.session.commit()
    assert [row["calls_count"] for row in listed(client, second)] == [0, 1]
    assert [row["calls_count"] for row in listed(client, account.key)] == [1, 1]


def test_delete_deactivates_the_calling_key_at_once(
    client: FlaskClient, account: Account, another_key: Callable[..., str]
) -> None:
    second = another_key()
    answer = client.delete(URL, headers=account.headers)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.text) == {"success": True, "message": "API key deactivated successfully"}
    assert list(answer.json) == ["success", "message"]
    for method in ("GET", "DELETE"):
        refused = client.open(URL, method=method, headers=account.headers)
        assert error_of(refused, 401)
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert "X-RateLimit-Limit" not in refused.headers
    rows = listed(client, second)
    assert [row["is_active"] for row in rows] == [0, 1]
    assert rows[0]["last_used_at"] is not None, "the call that deactivated it was a use"


def test_delete_by_a_key_names_no_other(
    client: FlaskClient, account: Account, another_key: Callable[..., str]
) -> None:
    second = another_key()
    other = listed(client, account.key)[1]["id"]
    assert client.delete(f"{URL}?id={other}", headers=account.headers).status_code == 200
    assert [row["is_active"] for row in listed(client, second)] == [0, 1]


def test_a_key_makes_no_key(app: Flask, client: FlaskClient, account: Account) -> None:
    answer = client.post(URL, headers=account.headers)
    assert "login" in error_of(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert error_of(client.post(URL), 401)
    assert len(listed(client, account.key)) == 1


def test_no_key_is_stored(app: Flask, client: FlaskClient, account: Account, instance: Path) -> None:
    listed(client, account.key)
    assert re.fullmatch(r"[0-9a-f]{64}", account.key), "256 random bits"
    files = [path for path in instance.rglob("*") if path.is_file()]
    assert any(path.name == "ezstems.sqlite3" for path in files) or ON_POSTGRESQL
    assert all(account.key.encode() not in path.read_bytes() for path in files)
    with app.app_context():
        rows = [repr(row) for table in db.metadata.sorted_tables for row in db.session.execute(select(table))]
    assert len(rows) > 2 and not any(account.key in row for row in rows)


def test_the_tail_alone_opens_nothing(client: FlaskClient, account: Account) -> None:
    key = account.key
    for guess in (key[-8:], "*" * 8 + key[-8:], key[:-1], f"{key}0", ApiKey.digest(key)):
        assert error_of(client.get(URL, headers=bearer(guess)), 401)


def test_a_named_key_reads_as_any_other(app: Flask, client: FlaskClient, account: Account) -> None:
    log_in(client, account.email)
    headers = {"X-CSRFToken": token(client, "/account")}
    names = []
    for sent in (" My app ", "x" * 64, "  ", [], ["first", "last"], ["x", ""]):
        answer = client.post(URL, data={"name": sent}, headers=headers)
        assert answer.status_code == 200
        assert list(answer.json["data"]) == ["api_key", "message"]
    assert len(listed(client, account.key)) == 7
    with app.app_context():
        names = list(db.session.scalars(select(ApiKey.name).order_by(ApiKey.id)))
    assert names == [None, "My app", "x" * 64, None, None, "last", None]


def test_an_empty_authorization_is_none(client: FlaskClient, account: Account) -> None:
    for empty in ("", " "):
        assert error_of(client.get(URL, headers={"Authorization": empty}), 401)
    log_in(client, account.email)
    for empty in ("", " "):
        assert client.get(URL, headers={"Authorization": empty}).status_code == 200
    assert error_of(client.get(URL, headers={"Authorization": "Bearer"}), 401), "a key without its key is a wrong one"


def test_a_name_that_cannot_be_shown_makes_no_key(client: FlaskClient, account: Account) -> None:
    log_in(client, account.email)
    headers = {"X-CSRFToken": token(client, "/account")}
    for name in ("x" * 65, "two\nlines", "bell\x07"):
        told = error_of(client.post(URL, data={"name": name}, headers=headers))
        assert "name=" in told and "must be at most 64 printable characters" in told and len(told) < 200
    assert len(listed(client, account.key)) == 1


def test_the_command_names_keys_too(account: Account, run: Callable[..., Result]) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}\n", run("keys", "add", account.email, "--name", " My app ").stdout)
    header, unnamed, named = run("keys", "list").output.splitlines()
    assert " NAME " in header
    assert "My app" in named and "My app" not in unnamed
    refused = run("keys", "add", account.email, "--name", "a\nb", code=1).output
    assert "must be at most 64 printable characters" in refused
    assert len(run("keys", "list").output.splitlines()) == 3
