"""Sessions of the website: rows of their own, which a login begins anew and which end everywhere at once."""

import re
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from ezstems import models
from ezstems.database import db
from ezstems.models import Session, User
from ezstems.models import session as sessions
from tests.conftest import PASSWORD, Account
from tests.support.multipart import error_of
from tests.support.sessions import log_in, token

NEW = "four words in a row"
KEYS = "/api/v1/keys.php"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Return what moves the clock of sessions, which stands still."""
    now = models.utcnow()

    def move(by: timedelta) -> None:
        for module in ("session", "user"):
            monkeypatch.setattr(f"ezstems.models.{module}.utcnow", lambda: now + by)
        monkeypatch.setattr(models.Instance, "trusted_time", lambda: now + by)  # and the clock is trusted

    move(timedelta())
    return move


@pytest.fixture
def client(app: Flask, account: Account, later: Callable[[timedelta], None]) -> FlaskClient:
    """Return a client that is logged in, at the time that `later` counts from."""
    client = app.test_client()
    assert log_in(client, account.email).status_code == 302
    return client


def copy(client: FlaskClient) -> FlaskClient:
    """Return a thief: another client with the same cookie."""
    thief = client.application.test_client()
    thief.set_cookie("session", client.get_cookie("session").value)
    return thief


def inside(client: FlaskClient) -> bool:
    assert (client.get(KEYS).status_code == 200) == (client.get("/account").status_code == 200)
    return client.get("/account").status_code == 200


def rows(app: Flask) -> list[Session]:
    with app.app_context():
        return list(db.session.scalars(select(Session).order_by(Session.created_at, Session.seen_at)))


def test_a_logout_ends_the_cookie_wherever_it_is(client: FlaskClient) -> None:
    thief = copy(client)
    other = client.application.test_client()
    log_in(other, "someone@example.com")
    assert inside(thief)
    page = thief.get("/account")
    client.post("/logout", data={"csrf_token": token(client, "/account")})
    assert not inside(client) and not inside(thief) and inside(other)
    assert page.status_code == 200 and error_of(thief.get(KEYS), 401)
    assert thief.get("/account").headers["Location"] == "/login?next=/account"


def test_a_login_begins_a_session_anew(app: Flask, account: Account, client: FlaskClient) -> None:
    planted = app.test_client()
    before = token(planted)
    thief = copy(planted)
    log_in(planted, account.email)
    assert inside(planted) and not inside(thief), "a cookie from before the login is of no use after it"
    assert token(planted, "/account") != before
    old = copy(planted)
    assert log_in(planted, account.email).status_code == 302
    assert inside(planted) and not inside(old), "nor is that of the browser's former login"
    assert len(rows(app)) == 2 and inside(client)


@pytest.mark.parametrize("how", ["password", "everywhere"])
def test_what_ends_every_session(app: Flask, account: Account, client: FlaskClient, how: str) -> None:
    others = [copy(client), app.test_client()]
    log_in(others[1], account.email)
    sent = {"csrf_token": token(client, "/account")}
    if how == "everywhere":
        page = client.get("/account").text
        asked = re.search(r"<details>\s*<summary>End every session(.*?)</details>", page, re.DOTALL)
        assert asked and "/logout/everywhere" in asked[1] and "has to log in again" in asked[1]
        assert client.post("/logout/everywhere", data=sent).headers["Location"] == "/login"
        assert "Every session of the account is over." in client.get("/login").text
    else:
        client.post("/password", data=sent | {"present": PASSWORD, "password": NEW})
    assert inside(client) == (how == "password")
    assert [inside(other) for other in others] == [False, False]
    assert len(rows(app)) == (how == "password")


def test_other_accounts_sessions_stay(
    app: Flask, client: FlaskClient, make_account: Callable[..., Account]
) -> None:
    other = app.test_client()
    log_in(other, make_account("other@example.com").email)
    client.post("/logout/everywhere", data={"csrf_token": token(client, "/account")})
    assert inside(other) and not inside(client)


def test_a_login_that_a_password_change_overtakes(
    app: Flask, account: Account, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, real = app.test_client(), User.begin_session

    def overtaken(user: User) -> str | None:
        monkeypatch.setattr(User, "begin_session", real)
        with ThreadPoolExecutor(1) as elsewhere:
            assert elsewhere.submit(client.post, "/password", data=change).result().status_code == 302
        return real(user)

    change = {"csrf_token": token(client, "/account"), "present": PASSWORD, "password": NEW}
    data = {"email": account.email, "password": PASSWORD, "csrf_token": token(late)}
    monkeypatch.setattr(User, "begin_session", overtaken)
    answer = late.post("/login", data=data)
    assert answer.status_code == 200 and "E-mail address or password is wrong." in answer.text
    assert not inside(late) and inside(client)


def test_nothing_that_is_stored_lets_anybody_in(app: Flask, client: FlaskClient) -> None:
    with client.session_transaction() as cookie:
        secret = cookie["_user_id"]
    assert len(secret) == 64
    db_file = Path(app.instance_path) / "ezstems.sqlite3"
    assert secret not in "".join(sqlite3.connect(db_file).iterdump())
    (row,) = rows(app)
    for forged in (row.token_hash, "1", f"1:{secret}", "", secret[:-1]):
        with client.session_transaction() as cookie:
            cookie["_user_id"] = forged
        assert not inside(client)
    with client.session_transaction() as cookie:
        cookie["_user_id"] = secret
    assert inside(client)


def test_a_cookie_with_another_signature(client: FlaskClient) -> None:
    good = client.get_cookie("session").value
    client.set_cookie("session", good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"))
    assert not inside(client)


def test_sessions_end_after_a_month_without_use(
    app: Flask, account: Account, client: FlaskClient, later: Callable[[timedelta], None]
) -> None:
    (begun,) = rows(app)
    later(timedelta(minutes=59))
    assert inside(client) and rows(app)[0].seen_at == begun.seen_at, "a page that polls doesn't write each time"
    for days in (29, 58):
        later(timedelta(days=days))
        assert inside(client)
        assert rows(app)[0].seen_at == begun.seen_at + timedelta(days=days)
    later(timedelta(days=88, seconds=1))
    assert not inside(client)
    assert len(rows(app)) == 1
    log_in(app.test_client(), account.email)
    (row,) = rows(app)
    assert row.token_hash != begun.token_hash, "what is over is forgotten"


def test_an_account_has_so_many_sessions_and_no_more(
    app: Flask,
    account: Account,
    client: FlaskClient,
    later: Callable[[timedelta], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 3)
    others = [app.test_client() for _ in range(3)]
    for number, other in enumerate(others):
        later(timedelta(hours=number + 1))
        log_in(other, account.email)
    assert not inside(client) and all(inside(other) for other in others)
    assert len(rows(app)) == 3


@pytest.mark.sqlite("its trigger is what fails")
def test_a_full_disk_keeps_nobody_out(
    app: Flask, client: FlaskClient, later: Callable[[timedelta], None], caplog: pytest.LogCaptureFixture
) -> None:
    with app.app_context():
        db.session.execute(db.text("CREATE TRIGGER stuck BEFORE UPDATE ON sessions BEGIN SELECT missing; END"))
        db.session.commit()
    later(timedelta(hours=2))
    assert inside(client)
    assert "a session's use could not be noted" in caplog.text
