"""The website's accounts: registration, the password, and the account page with its keys."""

import html
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.models import ApiKey, Job, User, utcnow
from ezstems.web.site import account as page
from tests.conftest import PASSWORD, Account
from tests.support.multipart import Upload, error_of
from tests.support.sessions import log_in, token

NEW = "four words in a row"
EMAIL = "new@example.com"


def send(client: FlaskClient, url: str, on: str | None = None, **fields: str) -> TestResponse:
    """Send a form with its page's token."""
    return client.post(url, data={"csrf_token": token(client, on or url)} | fields)


def emails(app: Flask) -> list[str]:
    with app.app_context():
        return list(db.session.scalars(select(User.email).order_by(User.id)))


def keys(app: Flask) -> list[tuple[str | None, bool]]:
    """Return the name of each key, and whether it is active."""
    with app.app_context():
        return [(key.name, key.is_active) for key in db.session.scalars(select(ApiKey).order_by(ApiKey.id))]


def logged_in(client: FlaskClient) -> bool:
    return client.get("/account").status_code == 200


def texts(answer: TestResponse, role: str) -> list[str]:
    """Return what a page tells in elements of a role, without tags."""
    found = re.findall(rf'<p[^>]*role="{role}"[^>]*>(.*?)</p>', answer.text, re.DOTALL)
    return [" ".join(html.unescape(re.sub(r"<.*?>", "", each)).split()) for each in found if each.strip()]


def test_the_registration_page(client: FlaskClient) -> None:
    answer = client.get("/register")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    for name, complete in (("email", "username"), ("password", "new-password")):
        field = re.search(rf'<input[^>]*name="{name}"[^>]*>', answer.text)[0]
        assert f'type="{name}"' in field and f'autocomplete="{complete}"' in field
        assert f'<label for="{name}">' in answer.text
    assert 'href="/register"' in client.get("/").text and 'href="/register"' in client.get("/login").text


def test_registering_logs_in_to_a_basic_account(app: Flask, client: FlaskClient) -> None:
    with client.session_transaction() as planted:
        planted["planted"] = "by somebody else"
    answer = send(client, "/register", email=f"  {EMAIL.upper()} ", password=NEW)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/upload")
    shown = client.get("/account").text
    assert EMAIL in shown and "plan basic" in shown and "30 MB" in shown
    with client.session_transaction() as session:
        assert "planted" not in session
    assert emails(app) == [EMAIL] and keys(app) == []
    other = app.test_client()
    assert log_in(other, EMAIL, NEW).status_code == 302 and logged_in(other)


def test_the_address_is_the_one_that_the_command_makes(
    app: Flask, client: FlaskClient, run: Callable[..., Result]
) -> None:
    run("users", "add", " Anna@Example.com", "--password", "pw")
    answer = send(client, "/register", email="ANNA@example.COM ", password=NEW)
    assert texts(answer, "alert") == [
        "ANNA@example.COM has an account already. Log in with it, or take another address."
    ]
    assert 'href="/login"' in answer.text and NEW not in answer.text
    assert emails(app) == ["anna@example.com"] and not logged_in(client)
    assert log_in(client, "anna@example.com", "pw").status_code == 302, "its password is what it was"


@pytest.mark.parametrize(
    ("email", "password", "told"),
    [
        (EMAIL, "", "Choose a password."),
        (EMAIL, "123456789", "Use at least 10 characters."),
        (EMAIL, "x" * 1025, "Use at most 1024 characters."),
        (EMAIL, f" {EMAIL.upper()}", "Choose a password that isn't your e-mail address."),
        ("", NEW, "Type your e-mail address."),
        ("no address", NEW, "This must be an e-mail address, like you@example.com."),
        ("a@b@c.example", NEW, "This must be an e-mail address, like you@example.com."),
        ("a\x07@b.example", NEW, "This must be an e-mail address, like you@example.com."),
        ("a" * 65 + "@b.example", NEW, "This must be an e-mail address, like you@example.com."),
    ],
)
def test_what_makes_no_account(app: Flask, client: FlaskClient, email: str, password: str, told: str) -> None:
    answer = send(client, "/register", email=email, password=password)
    assert answer.status_code == 200
    assert texts(answer, "alert") == [told]
    assert re.search(r'<input[^>]*aria-invalid="true"', answer.text)
    assert not password.strip() or password not in html.unescape(answer.text).replace(email, "")
    assert emails(app) == [] and not logged_in(client)


def test_ten_characters_of_any_kind_are_enough(app: Flask, client: FlaskClient) -> None:
    assert send(client, "/register", email="a@localhost", password="ü 🎵 ä ö ß!").status_code == 302
    assert log_in(app.test_client(), "a@localhost", "ü 🎵 ä ö ß!").status_code == 302


def test_registering_needs_the_token(app: Flask, client: FlaskClient) -> None:
    for sent in ("", "junk", token(app.test_client())):
        answer = client.post("/register", data={"email": EMAIL, "password": NEW, "csrf_token": sent})
        assert answer.status_code == 400
    assert emails(app) == []


def test_closed_registration(make_app: Callable[..., Flask]) -> None:
    app = make_app(registration="closed")
    client = app.test_client()
    for answer in (client.get("/register"), send(client, "/register", on="/login", email=EMAIL, password=NEW)):
        assert (answer.status_code, answer.mimetype) == (404, "text/html")
        assert "Registration is closed on this server." in answer.text
    assert emails(app) == []
    assert not [path for path in ("/", "/login") if "/register" in client.get(path).text]


def test_changing_the_password_ends_every_other_session(app: Flask, session: FlaskClient, account: Account) -> None:
    other = app.test_client()
    log_in(other, account.email)
    answer = send(session, "/password", present=PASSWORD, password=NEW)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/account")
    assert texts(session.get("/account"), "status") == [
        "The password is changed. Every other session of this account is over."
    ]
    assert texts(session.get("/account"), "status") == [], "said once"
    assert logged_in(session) and not logged_in(other)
    assert error_of(other.get("/api/v1/keys.php"), 401)
    assert log_in(other, account.email).status_code == 200 and not logged_in(other)
    assert log_in(other, account.email, NEW).status_code == 302 and logged_in(other) and logged_in(session)
    assert app.test_client().get("/api/v1/keys.php", headers=account.headers).status_code == 200, "keys stay"


@pytest.mark.parametrize(
    ("present", "password", "told"),
    [
        ("", NEW, "Type your present password."),
        (NEW, NEW, "This isn't your present password."),
        (PASSWORD, "123456789", "Use at least 10 characters."),
        (PASSWORD, "someone@example.com", "Choose a password that isn't your e-mail address."),
    ],
)
def test_what_changes_no_password(
    app: Flask, session: FlaskClient, account: Account, present: str, password: str, told: str
) -> None:
    other = app.test_client()
    log_in(other, account.email)
    answer = send(session, "/password", present=present, password=password)
    assert answer.status_code == 200 and texts(answer, "alert") == [told]
    assert logged_in(session) and logged_in(other)
    assert log_in(other, account.email).status_code == 302


def test_changing_the_password_needs_session_and_token(app: Flask, session: FlaskClient, account: Account) -> None:
    fields = {"present": PASSWORD, "password": NEW}
    assert session.post("/password", data=fields).status_code == 400
    stranger = app.test_client()
    assert stranger.get("/password").headers["Location"] == "/login?next=/password"
    assert send(stranger, "/password", on="/login", **fields).headers["Location"] == "/login"
    assert log_in(stranger, account.email).status_code == 302


def test_the_operators_command_ends_sessions_too(
    app: Flask, session: FlaskClient, account: Account, run: Callable[..., Result]
) -> None:
    output = run("users", "set-password", account.email.upper(), typed="pw\npw\n").output
    assert f"{account.email}: the password is changed" in output
    assert not logged_in(session)
    assert log_in(session, account.email, "pw").status_code == 302
    assert "must not be empty" in run("users", "set-password", account.email, "--password", "", code=1).output
    assert "there is no account" in run("users", "set-password", "eve@example.com", "--password", "x", code=1).output
    assert logged_in(session)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_cookie_goes_over_tls_alone_where_it_came_over_tls(client: FlaskClient, scheme: str) -> None:
    cookie = client.get("/login", base_url=f"{scheme}://localhost").headers["Set-Cookie"].split("; ")
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert ("Secure" in cookie) == (scheme == "https")


def test_what_the_account_page_tells(
    app: Flask, session: FlaskClient, upload: Upload, finished: Callable[[str], Job]
) -> None:
    facts = re.compile(r"<dt>(.*?)</dt><dd>(.*?)</dd>")
    none = dict(facts.findall(session.get("/account").text))
    assert none == {
        "Files up to": "30 MB",
        "API calls of a key": "100 per minute",
        "Songs stored now": "0",
        "Space they take": "0.0 MB",
        "Songs this month": "0",
    }
    ids = [upload().json["data"]["id"] for _ in range(3)]
    for job_id in ids:
        finished(job_id)
    with app.app_context():
        old, *_ = db.session.scalars(select(Job).order_by(Job.number))
        old.created_at, old.expired_at = utcnow() - timedelta(days=40), utcnow()
        db.session.commit()
    with app.app_context():
        stored = db.session.scalars(select(Job).where(Job.expired_at.is_(None))).all()
        size = sum(page._size_bytes(job) for job in stored)
        zips = sum(app.extensions["ezstems"].result(job).size_bytes for job in stored)
    assert size == zips > 0
    shown = dict(facts.findall(session.get("/account").text))
    assert (shown["Songs stored now"], shown["Songs this month"]) == ("2", "2")
    assert shown["Space they take"] == f"{size / 1024**2:.1f} MB"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3600, "hour"), (7200, "2 hours"), (86_400, "day"), (60, "minute"), (90, "90 seconds"), (1, "second")],
)
def test_windows_in_words(seconds: int, words: str) -> None:
    assert page._words(seconds) == words


def test_making_a_key_without_scripts(app: Flask, session: FlaskClient, account: Account) -> None:
    answer = send(session, "/account/keys", on="/account", name=" my <b>script</b> ")
    assert answer.status_code == 200
    key = re.search(r'id="shown-key-value"[^>]*value="([0-9a-f]{64})"', answer.text)[1]
    assert re.search(r'<dialog id="shown-key"[^>]* open>', answer.text)
    assert "It won&#39;t be shown again." in answer.text
    listed = app.test_client().get("/api/v1/keys.php", headers={"Authorization": f"Bearer {key}"})
    assert [row["api_key"] for row in listed.json["data"]] == ["*" * 8 + each[-8:] for each in (account.key, key)]
    again = session.get("/account").text
    assert key not in again and not re.search(r"<dialog[^>]* open", again)
    assert "my &lt;b&gt;script&lt;/b&gt;" in again and f"********{key[-8:]}" in again
    assert keys(app) == [(None, True), ("my <b>script</b>", True)]


def test_naming_and_deactivating_a_key_without_scripts(app: Flask, session: FlaskClient, account: Account) -> None:
    with app.app_context():
        key_id = db.session.scalars(select(ApiKey.id)).one()
    for name, stored in (("Laptop", "Laptop"), ("  Büro 🎵 ", "Büro 🎵"), ("x" * 64, "x" * 64), (" ", None)):
        answer = send(session, f"/account/keys/{key_id}/name", on="/account", name=name)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/account")
        assert keys(app) == [(stored, True)]
        assert (stored or "no name") in texts(session.get("/account"), "status")[0]
    for junk in ("x" * 65, "two\nlines", "bell\x07", "zero\u200bwidth"):
        assert send(session, f"/account/keys/{key_id}/name", on="/account", name=junk).status_code == 302
        assert "must be at most 64 printable characters" in texts(session.get("/account"), "alert")[0]
        assert send(session, "/account/keys", on="/account", name=junk).status_code == 302
        assert "must be at most 64 printable characters" in texts(session.get("/account"), "alert")[0]
    assert keys(app) == [(None, True)]
    assert send(session, f"/account/keys/{key_id}/deactivate", on="/account").headers["Location"] == "/account"
    assert keys(app) == [(None, False)]
    assert error_of(app.test_client().get("/api/v1/keys.php", headers=account.headers), 401)
    shown = session.get("/account")
    assert texts(shown, "status") == ["API key deactivated successfully."]
    assert ">deactivated</span>" in shown.text and "/deactivate" not in shown.text


def test_keys_of_others_and_calls_without_token(
    app: Flask, session: FlaskClient, make_account: Callable[..., Account]
) -> None:
    make_account("other@example.com")
    before = keys(app)
    for what in ("name", "deactivate"):
        for key_id, status in (("2", 404), ("99", 404), ("9" * 30, 400), ("x", 400)):
            answer = send(session, f"/account/keys/{key_id}/{what}", on="/account", name="mine")
            assert (answer.status_code, answer.mimetype) == (status, "text/html")
        assert session.post(f"/account/keys/1/{what}", data={"name": "mine"}).status_code == 400
        assert session.get(f"/account/keys/1/{what}").status_code == 405
    assert session.post("/account/keys").status_code == 400
    assert keys(app) == before
    stranger = app.test_client()
    for path in ("", "/1/name", "/1/deactivate"):
        assert send(stranger, f"/account/keys{path}", on="/login", name="mine").headers["Location"] == "/login"
    assert keys(app) == before
