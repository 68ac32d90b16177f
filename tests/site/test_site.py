"""The website: login, logout, and the account's keys from a session."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.security import generate_password_hash

from ezstems.audio.separate import Separator
from ezstems.database import db
from ezstems.errors import ModelMissing
from ezstems.models import ApiKey, Session, User
from ezstems.weights import folders
from tests.conftest import PASSWORD, Account
from tests.support.multipart import error_of
from tests.support.separators import LABEL, FastSeparator
from tests.support.sessions import log_in, token

KEYS = "/api/v1/keys.php"
NOTICE = "with the small bundled model"
WRONG = "E-mail address or password is wrong."


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check an unknown address as quickly as a known one, whose hash is quick in the tests."""
    nobody = generate_password_hash("nobody has this password", method="pbkdf2:sha256:1")
    monkeypatch.setattr("ezstems.models.user._NOBODY", nobody)


def rows(app: Flask) -> list[ApiKey]:
    with app.app_context():
        keys = list(db.session.scalars(select(ApiKey).order_by(ApiKey.id)))
        db.session.expunge_all()
        return keys


def test_the_landing_page_names_the_model(client: FlaskClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert LABEL in answer.text and "/login" in answer.text and "/logout" not in answer.text


def notices(client: FlaskClient) -> list[str]:
    """Return the upload page's notices, as they read; no other page has any."""
    for page in ("/", "/login", "/account", "/songs"):
        assert NOTICE not in client.get(page).text
    page = client.get("/upload")
    assert page.status_code == 200
    asides = re.findall(r"<aside.*?</aside>", page.text, re.DOTALL)
    return [" ".join(re.sub(r"<.*?>", "", aside).split()) for aside in asides]


def test_the_upload_page_says_which_stems_the_bundled_model_would_separate(
    session: FlaskClient, separator: FastSeparator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert notices(session) == []
    for fetched, how, bundled in (
        ((), "separated", {2: "builtin 2stems", 4: "builtin 4stems", 5: "builtin 5stems"}),
        ((2,), "separated in part", {n: f"official vocals + builtin {n}stems" for n in (4, 5)}),
        ((4,), "separated in part", {5: "official vocals + builtin 5stems"}),
        ((5,), "", {}),
    ):
        for stems in fetched:
            shutil.copytree(folders.BUILTIN / f"{stems}stems", tmp_path / f"{stems}stems")
        monkeypatch.setattr(separator, "label", Separator(tmp_path).label)  # what a restarted server would use
        told = notices(session)
        assert len(told) == len(bundled)
        for notice, (stems, name) in zip(told, bundled.items(), strict=True):
            assert notice.startswith(f"{stems} stems are {how} {NOTICE} ({name}), which is EzStems' own")
            assert notice.endswith("can fetch Deezer's official weights with ezstems models fetch and restart it.")


def test_who_chose_the_bundled_model_is_told_how_to_leave_it(
    make_app: Callable[..., Flask],
    account: Account,
    separator: FastSeparator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(separator, "label", Separator(tmp_path, "builtin").label)
    client = make_app(model="builtin").test_client()
    log_in(client, account.email)
    page = client.get("/upload").text
    assert NOTICE in page and "set <code>EZSTEMS_MODEL=auto</code> and restart it" in page


def test_the_account_needs_no_model(
    session: FlaskClient, separator: FastSeparator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> str:
        raise ModelMissing("official weights are missing")

    monkeypatch.setattr(separator, "label", missing)
    for page in ("/account", "/upload"):
        answer = session.get(page)
        assert answer.status_code == 200 and NOTICE not in answer.text


def test_the_login_page(client: FlaskClient) -> None:
    answer = client.get("/login")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    for name, kind in (("email", "email"), ("password", "password"), ("csrf_token", "hidden")):
        field = re.search(rf'<input[^>]*name="{name}"[^>]*>', answer.text)[0]
        assert f'type="{kind}"' in field
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie


def test_logging_in(client: FlaskClient, account: Account) -> None:
    answer = log_in(client, f" {account.email.upper()} ")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/upload")
    page = client.get("/account").text
    assert account.email in page and "plan basic" in page and "30 MB" in page
    assert f"********{account.key[-8:]}" in page


def test_a_wrong_password_and_an_unknown_address_read_the_same(client: FlaskClient, account: Account) -> None:
    cases = [(account.email, PASSWORD + "x"), (account.email, PASSWORD.upper()), ("nobody@example.com", PASSWORD)]
    cases += [(account.email, "nobody has this password"), ("nobody@example.com", "nobody has this password")]
    for email, password in cases:
        answer = log_in(client, email, password)
        assert answer.status_code == 200
        assert answer.text.count(WRONG) == 1
        assert password not in answer.text
        assert client.get("/account").headers["Location"].startswith("/login")


def test_blank_and_endless_fields(client: FlaskClient, account: Account) -> None:
    for email, password in ((account.email, ""), ("", PASSWORD), ("a" * 300, PASSWORD), (account.email, "x" * 2000)):
        answer = log_in(client, email, password)
        assert answer.status_code == 200 and WRONG not in answer.text
    assert client.post("/login", data={"email": "x" * 2_000_000}).status_code in (400, 413)
    assert client.get("/account").status_code == 302


def test_what_a_visitor_typed_is_escaped(client: FlaskClient) -> None:
    answer = log_in(client, '"><script>alert(1)</script>', "x")
    assert "<script>alert" not in answer.text


def test_login_needs_the_token(client: FlaskClient, account: Account) -> None:
    other = client.application.test_client()
    for sent in ("", "junk", token(other), ApiKey.digest("x")):
        answer = log_in(client, account.email, csrf_token=sent)
        assert (answer.status_code, answer.mimetype) == (400, "text/html")
        assert "token" in answer.text and "load it again" in answer.text
        assert client.get("/account").status_code == 302


def test_the_account_needs_a_login(client: FlaskClient) -> None:
    answer = client.get("/account")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/login")


@pytest.mark.parametrize("path", ["/password", "/account?a=1&b=%C3%BC", "/docs", "/a//b", "/login?next=/x"])
def test_login_leads_back_to_where_it_was_asked_for(client: FlaskClient, account: Account, path: str) -> None:
    answer = log_in(client, account.email, query={"next": path})
    assert (answer.status_code, answer.headers["Location"]) == (302, path)


@pytest.mark.parametrize(
    "path",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", " //evil.example", "@evil", ""]
    + ["/\t/evil.example", "/\n/evil.example", "/\x00/evil.example", "http:evil.example", "evil.example", "data:x"],
)
def test_login_leads_to_no_other_site(client: FlaskClient, account: Account, path: str) -> None:
    assert log_in(client, account.email, query={"next": path}).headers["Location"] == "/upload"


def test_who_is_asked_to_log_in_comes_back_to_pages_only(client: FlaskClient) -> None:
    assert client.get("/account?a=b").headers["Location"] == "/login?next=/account?a%3Db"
    assert client.get("/account").headers["Location"] == "/login?next=/account"
    sent = client.post("/account/keys", data={"csrf_token": token(client)})
    assert (sent.status_code, sent.headers["Location"]) == (302, "/login")
    refused = client.get("/account", headers={"Accept": "application/json"})
    assert "login" in error_of(refused, 401), "a script is told, not shown a page"


def test_login_begins_a_fresh_session(client: FlaskClient, account: Account) -> None:
    with client.session_transaction() as planted:
        planted["planted"] = "by somebody else"
    before = token(client)
    log_in(client, account.email)
    with client.session_transaction() as session:
        assert "planted" not in session
        assert session["_fresh"] is True
    # The token of before the login opens nothing after it.
    assert error_of(client.post(KEYS, headers={"X-CSRFToken": before}))
    assert client.post(KEYS, headers={"X-CSRFToken": token(client, "/account")}).status_code == 200


def test_a_page_that_is_none_speaks_of_pages(client: FlaskClient) -> None:
    for path in ("/nowhere", "/docs/nothing", "/static/none.css"):
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype) == (404, "text/html"), path
        assert "There is no such page." in answer.text and ".php" not in answer.text, path
    assert "upload.php" in error_of(client.get("/api/v1/nowhere", headers={"Accept": "text/html"}), 404)


def test_logout_by_post_only(session: FlaskClient) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        answer = session.open("/logout", method=method)
        assert answer.status_code == 405
        assert "POST" in answer.headers["Allow"]
        assert method == "HEAD" or "what a form or a button of a page sends" in answer.text
    assert session.post("/logout").status_code == 400
    assert session.get("/account").status_code == 200, "still logged in"
    answer = session.post("/logout", data={"csrf_token": token(session, "/account")})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert session.get("/account").status_code == 302
    assert error_of(session.get(KEYS), 401)


@pytest.mark.parametrize("place", ["header", "other header", "form"])
def test_a_new_key(app: Flask, session: FlaskClient, account: Account, place: str) -> None:
    value = token(session, "/account")
    if place == "form":
        answer = session.post(KEYS, data={"csrf_token": value})
    else:
        answer = session.post(KEYS, headers={"X-CSRFToken" if place == "header" else "X-CSRF-Token": value})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert list(answer.json) == ["success", "data"] and answer.json["success"] is True
    data = answer.json["data"]
    assert list(data) == ["api_key", "message"]
    assert data["message"] == "Store this API key securely. It won't be shown again."
    key = data["api_key"]
    assert len(key) >= 43 and key != account.key, "256 bits"
    assert "X-RateLimit-Limit" not in answer.headers
    listed = app.test_client().get(KEYS, headers={"Authorization": f"Bearer {key}"}).json["data"]
    assert [row["api_key"] for row in listed] == ["*" * 8 + account.key[-8:], "*" * 8 + key[-8:]]
    assert [row["calls_count"] for row in listed] == [0, 1]
    assert key not in session.get("/account").text + session.get(KEYS).text


def test_changing_without_the_token(app: Flask, session: FlaskClient, account: Account) -> None:
    key_id = rows(app)[0].id
    for headers in ({}, {"X-CSRFToken": ""}, {"X-CSRFToken": "junk"}, {"X-CSRFToken": token(app.test_client())}):
        for answer in (session.post(KEYS, headers=headers), session.delete(f"{KEYS}?id={key_id}", headers=headers)):
            assert "token" in error_of(answer)
    assert session.post(KEYS, data={"csrf_token": "junk"}).status_code == 400
    assert session.post(KEYS, json={"csrf_token": token(session, "/account")}).status_code == 400
    # In the address it would end up in logs and histories.
    assert session.post(f"{KEYS}?csrf_token={token(session, '/account')}").status_code == 400
    assert [key.is_active for key in rows(app)] == [True]


def test_a_key_is_not_enough_to_make_one(app: Flask, client: FlaskClient, account: Account) -> None:
    value = token(client)
    answer = client.post(KEYS, headers=account.headers | {"X-CSRFToken": value}, data={"csrf_token": value})
    assert error_of(answer, 401)
    assert len(rows(app)) == 1


def test_listing_from_a_session(app: Flask, session: FlaskClient, account: Account) -> None:
    answer = session.get(KEYS)
    assert answer.status_code == 200
    assert [row["api_key"] for row in answer.json["data"]] == ["*" * 8 + account.key[-8:]]
    assert "X-RateLimit-Limit" not in answer.headers
    assert rows(app)[0].window_calls == 0, "no key was used"
    # A key that is sent counts, and a wrong one isn't made good by the session.
    assert session.get(KEYS, headers=account.headers).headers["X-RateLimit-Remaining"] == "99"
    assert error_of(session.get(KEYS, headers={"Authorization": "Bearer wrong"}), 401)


def test_a_session_opens_no_other_endpoint(session: FlaskClient) -> None:
    headers = {"X-CSRFToken": token(session, "/account")}
    for method, name in (("POST", "upload"), ("GET", "status"), ("GET", "download")):
        assert error_of(session.open(f"/api/v1/{name}.php?id=1_2", method=method, headers=headers), 401)


def test_deactivating_a_key_by_its_number(app: Flask, session: FlaskClient, account: Account) -> None:
    headers = {"X-CSRFToken": token(session, "/account")}
    assert session.post(KEYS, headers=headers).status_code == 200
    first, second = rows(app)
    answer = session.delete(f"{KEYS}?id={first.id}&id= {second.id} ", headers=headers)
    assert answer.json == {"success": True, "message": "API key deactivated successfully"}
    assert [key.is_active for key in rows(app)] == [True, False]
    assert [row["is_active"] for row in session.get(KEYS).json["data"]] == [1, 0]
    for query in ("", "?id=", "?id=abc", "?id=-1", "?id=1e1", "?id=１", f"?id={'9' * 40}", "?id[]=1"):  # noqa: RUF001
        assert "must be the number of one of your keys" in error_of(session.delete(KEYS + query, headers=headers))
    for unknown in ("0", "999", "9" * 18):
        assert error_of(session.delete(f"{KEYS}?id={unknown}", headers=headers), 404)
    assert [key.is_active for key in rows(app)] == [True, False]


def test_another_accounts_key_is_unknown(
    app: Flask, session: FlaskClient, make_account: Callable[..., Account]
) -> None:
    other = make_account("other@example.com")
    theirs = rows(app)[-1]
    headers = {"X-CSRFToken": token(session, "/account")}
    answer = session.delete(f"{KEYS}?id={theirs.id}", headers=headers)
    unknown = session.delete(f"{KEYS}?id={theirs.id + 1}", headers=headers)
    assert error_of(answer, 404).replace(str(theirs.id), "N") == error_of(unknown, 404).replace(str(theirs.id + 1), "N")
    assert rows(app)[-1].is_active
    assert other.key[-8:] not in session.get("/account").text + session.get(KEYS).text


def test_no_page_shows_a_hash(app: Flask, session: FlaskClient, account: Account) -> None:
    with app.app_context():
        secrets = [db.session.scalars(select(column)).one() for column in (User.password_hash, ApiKey.key_hash)]
    for page in ("/", "/login", "/account", KEYS, "/nowhere", "/health"):
        text = session.get(page).text
        assert not [secret for secret in (*secrets, account.key, PASSWORD) if secret in text], page
    assert PASSWORD not in secrets[0]


def test_a_forged_or_orphaned_session_is_none(app: Flask, session: FlaskClient, account: Account) -> None:
    forged = app.test_client()
    forged.set_cookie("session", "eyJfdXNlcl9pZCI6IjEifQ.aaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaa")
    assert error_of(forged.get(KEYS), 401)
    for remembered in (str(account.user_id), f"{account.user_id}:", f"{account.user_id}:{'0' * 32}", "99:x"):
        with forged.session_transaction() as planted:
            planted["_user_id"] = remembered
        assert error_of(forged.get(KEYS), 401), "a session must know the account's token"
    with app.app_context():
        for kind in (ApiKey, Session, User):
            db.session.query(kind).delete()
        db.session.commit()
    assert error_of(session.get(KEYS), 401)
    assert session.get("/account").status_code == 302
