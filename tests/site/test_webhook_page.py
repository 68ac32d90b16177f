"""The account's webhook on the website and on the command line: URL, secret, the last messages."""

import html
import re
from collections.abc import Callable

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.models import Delivery, Webhook, utcnow
from tests.conftest import Account
from tests.support.sessions import log_in, token

PAGE = "/account/webhook"
URL = "http://127.0.0.1:9/hook?token=hush"
Run = Callable[..., Result]


@pytest.fixture
def app(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("EZSTEMS_WEBHOOKS", "on")
    monkeypatch.setenv("EZSTEMS_WEBHOOK_HOSTS", "127.0.0.1")
    return make_app()


def send(client: FlaskClient, path: str = "", **fields: str) -> TestResponse:
    """Send a form of the page; return the page that follows."""
    data = {"csrf_token": token(client, PAGE)} | fields
    return client.post(f"{PAGE}{path}", data=data, follow_redirects=True)


def row(app: Flask, account: Account) -> Webhook:
    with app.app_context():
        return Webhook.of(account.user_id)


def test_where_webhooks_are_off_there_is_no_page(make_app: Callable[..., Flask], account: Account) -> None:
    client = make_app(webhooks="off").test_client()
    log_in(client, account.email)
    assert client.get(PAGE).status_code == 404 and PAGE not in client.get("/account").text
    answer = client.post(f"{PAGE}/rotate", data={"csrf_token": token(client, "/account")})
    assert answer.status_code == 404


def test_the_url_is_set_checked_and_taken_away(app: Flask, account: Account, session: FlaskClient) -> None:
    assert PAGE in session.get("/account").text
    assert "Send a test" not in session.get(PAGE).text
    assert "The URL is saved." in send(session, webhook_url=f" {URL} ").text
    assert f'value="{html.escape(URL)}"' in session.get(PAGE).text and row(app, account).url == URL
    refused = html.unescape(send(session, webhook_url="https://10.0.0.1/").text)
    assert "webhook_url='https://10.0.0.1/' must lead to a public address." in refused
    assert row(app, account).url == URL
    send(session, webhook_url="")
    assert row(app, account).url is None


def test_the_secret_is_shown_on_demand_alone(app: Flask, account: Account, session: FlaskClient) -> None:
    before = send(session, "/secret")
    secret = re.search(r'value="(whsec_[^"]+)"', before.text)[1]
    assert html.unescape(secret) == row(app, account).secret and before.headers["Cache-Control"] == "no-store"
    assert "whsec_" not in session.get(PAGE).text
    after = send(session, "/rotate")
    assert html.unescape(re.search(r'value="(whsec_[^"]+)"', after.text)[1]) == row(app, account).secret
    assert row(app, account).old_secret == html.unescape(secret)
    assert "for 24 hours the one before it signs" in session.get(PAGE).text


def test_the_last_messages_are_listed_and_sent_again(
    app: Flask, account: Account, session: FlaskClient, make_account: Callable[..., Account]
) -> None:
    assert "None yet." in session.get(PAGE).text
    assert "There is no URL" in send(session, "/test").text
    send(session, webhook_url=URL)
    assert "A test is on its way" in send(session, "/test").text
    other = make_account("other@example.com").user_id
    with app.app_context():
        mine = db.session.scalars(db.select(Delivery)).one()
        db.session.execute(db.update(Delivery).values(state="given up", attempts=8, last_status=None, claim=None,
                                                      last_error="<i>refused</i>", tried_at=utcnow()))  # fmt: skip
        Webhook.set_url(other, URL)
        theirs = Delivery.test(other).id
        db.session.commit()
    page = session.get(PAGE).text
    assert "webhook.test" in page and "given up" in page and "&lt;i&gt;refused" in page
    assert f"deliveries/{mine.id}/resend" in page and f"deliveries/{theirs}/resend" not in page
    assert "is sent again" in send(session, f"/deliveries/{mine.id}/resend").text
    with app.app_context():
        found = db.session.get(Delivery, mine.id)
        assert (found.state, found.attempts, found.message_id) == ("pending", 0, mine.message_id)
        Delivery.lease(found, "a")
        db.session.commit()
    assert "is being sent at this moment" in send(session, f"/deliveries/{mine.id}/resend").text
    for number in (theirs, theirs + 100, "junk", "9" * 30):
        answer = send(session, f"/deliveries/{number}/resend")
        assert answer.status_code == 404 and f"You have no delivery {number}" in answer.text
    with app.app_context():
        assert db.session.get(Delivery, theirs).attempts == 0


def test_a_url_that_is_gone_is_said_to_be(app: Flask, account: Account, session: FlaskClient) -> None:
    send(session, webhook_url=URL)
    with app.app_context():
        Webhook.note_gone(account.user_id, "https://another.example/")
        assert Webhook.of(account.user_id).gone_at is None
        Webhook.note_gone(account.user_id, URL)
        db.session.commit()
    assert "answered that it is gone" in session.get(PAGE).text
    assert "answered that it is gone" not in send(session, webhook_url=URL).text


def test_the_commands(app: Flask, account: Account, run: Run) -> None:
    email = account.email
    assert run("webhooks", "show", email).output == "url: none\nsecret changed: never\n"
    assert "no URL" in run("webhooks", "test", email, code=1).output
    assert "must begin with https://" in run("webhooks", "set", email, "http://example.com/", code=1).output
    assert run("webhooks", "set", email, URL).output == f"{email}: webhooks go to {URL}\n"
    secret = run("webhooks", "show", "--secret", email).output.strip()
    assert secret == row(app, account).secret
    new = run("webhooks", "rotate", email).output.strip()
    assert new != secret and run("webhooks", "show", "--secret", email).output.strip() == new
    assert row(app, account).signing_secrets == [new, secret]
    assert run("webhooks", "test", email).output.startswith("1: ")
    listed = run("webhooks", "list", "--account", email).output
    assert "webhook.test" in listed and "pending" in listed and "hush" not in listed
    with app.app_context():
        db.session.execute(db.update(Delivery).values(state="given up", attempts=8))
        db.session.commit()
    assert run("webhooks", "resend", "1").output == "1: the server sends it again\n"
    assert "there is no delivery 7" in run("webhooks", "resend", "7", code=1).output
    assert "pending" in run("webhooks", "list").output
    assert run("webhooks", "set", email).output == f"{email}: no URL\n"
