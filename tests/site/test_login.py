"""How often a password may be tried: by address and by account, in every process, whoever asks and for whomever."""

import html
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Update, insert, select
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from ezstems import models
from ezstems.database import db
from ezstems.models import Attempt, User, attempt
from ezstems.models import user as accounts
from ezstems.web.throttle import ADDRESSES
from tests.conftest import PASSWORD, Account
from tests.support.sessions import log_in, token

WRONG = "not the password"
NEW = "four words in a row"
LIMIT = 3
WINDOW_SECONDS = 600


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(login_attempts=LIMIT, login_window_seconds=WINDOW_SECONDS, registrations=LIMIT)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of hashes that passwords are checked against, each as it is looked at; quick ones."""
    seen: list[str] = []
    real = accounts.check_password_hash

    def check(hashed: str, password: str) -> bool:
        seen.append(hashed)
        return real(hashed, password)

    monkeypatch.setattr(accounts, "check_password_hash", check)
    monkeypatch.setattr(accounts, "_NOBODY", accounts.generate_password_hash("nobody has this password"))
    return seen


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what moves the clock of attempts."""
    now = models.utcnow()

    def move(seconds: float) -> None:
        monkeypatch.setattr("ezstems.models.attempt.utcnow", lambda: now + timedelta(seconds=seconds))

    move(0)
    return move


def visitor(app: Flask, address: str = "192.0.2.1") -> FlaskClient:
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = address
    return client


def told(answer: TestResponse) -> str:
    """Return what an error page says."""
    return html.unescape(re.search(r"<p>(.*?)</p>", answer.text)[1])


def tries(app: Flask, email: str, *addresses: str) -> list[int]:
    """Try a wrong password from each address; return the statuses."""
    return [log_in(visitor(app, address), email, WRONG).status_code for address in addresses]


def test_too_many_wrong_passwords_from_an_address(
    app: Flask, account: Account, checks: list[str], later: Callable[[float], None]
) -> None:
    assert tries(app, account.email, *["192.0.2.1"] * LIMIT) == [200] * LIMIT
    later(100)
    assert len(checks) == LIMIT
    for email, password in ((account.email, WRONG), (account.email, PASSWORD), ("nobody@example.com", WRONG)):
        answer = log_in(visitor(app), email, password)
        assert (answer.status_code, answer.mimetype) == (429, "text/html")
        assert answer.headers["Retry-After"] == "500", "the window, not a moment longer"
        assert told(answer) == "There were too many wrong passwords from your network. Try again in 9 minutes."
    assert len(checks) == LIMIT, "nothing is hashed for whoever must wait"
    assert log_in(visitor(app, "192.0.2.2"), account.email).status_code == 302, "others don't wait"
    later(WINDOW_SECONDS - 1)
    assert log_in(visitor(app), account.email).headers["Retry-After"] == "1"
    later(WINDOW_SECONDS)
    assert log_in(visitor(app), account.email).status_code == 302
    assert tries(app, account.email, *["192.0.2.1"] * (LIMIT + 1)) == [200] * LIMIT + [429]


def test_an_unknown_address_is_answered_like_a_wrong_password(
    app: Flask, account: Account, checks: list[str], later: Callable[[float], None]
) -> None:
    answers = []
    for email in (account.email, "nobodyy@example.com"):
        assert len(email) == len("someone@example.com")
        client = visitor(app, f"198.51.100.{len(answers)}")
        sent = token(client)
        seen = []
        for _ in range(LIMIT + 1):
            answer = client.post("/login", data={"email": email, "password": WRONG, "csrf_token": sent})
            text = re.sub(r'value="[^"]{60,}"|content="[^"]{60,}"', "", answer.text).replace(email, "E-MAIL")
            headers = [pair for pair in answer.headers if pair[0] not in ("X-Request-ID", "Set-Cookie")]
            seen.append((answer.status_code, headers, text))
        answers.append(seen)
    assert answers[0] == answers[1]
    assert [status for status, *_ in answers[0]] == [200] * LIMIT + [429]
    assert len(checks) == 2 * LIMIT and set(checks[LIMIT:]) == {accounts._NOBODY}


def test_an_unknown_address_costs_the_hash_that_accounts_have() -> None:
    method = re.compile(r"(scrypt:\d+:\d+:\d+)\$")
    assert method.match(accounts._NOBODY)[1] == method.match(generate_password_hash("any"))[1]


def test_nothing_is_hashed_before_somebody_logs_in() -> None:
    count = (
        "import hashlib, sys; real = hashlib.scrypt, hashlib.pbkdf2_hmac; hashed = []\n"
        "hashlib.scrypt = lambda *args, **named: hashed.append(1) or real[0](*args, **named)\n"
        "hashlib.pbkdf2_hmac = lambda *args, **named: hashed.append(1) or real[1](*args, **named)\n"
        "import ezstems.commands.users, werkzeug.security as security; print(len(hashed))\n"
        "from ezstems.models import user\n"
        "assert not security.check_password_hash(user._NOBODY, ''); print(len(hashed))"
    )
    done = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["0", "1"], "")


def test_no_single_address_locks_an_account_but_many_are_stopped(
    app: Flask, account: Account, checks: list[str], later: Callable[[float], None]
) -> None:
    inside = visitor(app, "203.0.113.9")
    assert log_in(inside, account.email).status_code == 302
    assert tries(app, account.email, *["192.0.2.1"] * (ADDRESSES * LIMIT)).count(200) == LIMIT
    assert log_in(visitor(app, "203.0.113.1"), account.email).status_code == 302
    botnet = [f"198.51.100.{number}" for number in range(ADDRESSES * LIMIT + 1)]
    for email in (account.email.upper(), "nobody@example.com"):
        statuses = tries(app, email, *botnet)
        allowed = statuses.count(200)
        assert statuses == [200] * allowed + [429] * (len(botnet) - allowed)
        assert allowed == ADDRESSES * LIMIT - (LIMIT + 2 if email != "nobody@example.com" else 0)
        botnet = [f"198.51.101.{number}" for number in range(ADDRESSES * LIMIT + 1)]
    for _ in range(LIMIT + 1):
        refused = log_in(visitor(app, "203.0.113.2"), f" {account.email} ")
    assert (refused.status_code, told(refused)) == (
        429,
        "There were too many logins to this account. Try again in 10 minutes.",
    )
    assert inside.get("/account").status_code == 200, "whoever is in stays in"
    assert log_in(visitor(app, "203.0.113.1"), account.email).status_code == 302, "an address that got in still does"
    assert tries(app, account.email, *["203.0.113.1"] * (LIMIT + 1)) == [200] * LIMIT + [429], "but guesses no more"
    later(WINDOW_SECONDS)
    assert log_in(visitor(app, "203.0.113.2"), account.email).status_code == 302


def test_an_address_is_an_accounts_for_a_month_after_its_last_login(
    app: Flask, make_account: Callable[..., Account], later: Callable[[float], None]
) -> None:
    mine, other = make_account("a@example.com").email, make_account("b@example.com").email
    assert log_in(visitor(app, "203.0.113.1"), mine).status_code == 302
    for days, email, status in ((29, mine, 302), (29, other, 429), (58, mine, 302), (89, mine, 429)):
        later(days * 86_400 - days)
        botnet = [f"198.51.{days}.{number}" for number in range(ADDRESSES * LIMIT + 1)]
        assert tries(app, email, *botnet)[-1] == 429
        assert log_in(visitor(app, "203.0.113.1"), email).status_code == status


def test_what_is_refused_for_another_reason_uses_up_no_address(
    app: Flask, account: Account, checks: list[str], later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries(app, account.email, *[f"198.51.100.{number}" for number in range(ADDRESSES * LIMIT)])
    refused = [told(log_in(visitor(app), account.email)) for _ in range(LIMIT + 1)]
    assert set(refused) == {"There were too many logins to this account. Try again in 10 minutes."}
    monkeypatch.setattr(accounts, "HASHING_WAIT_SECONDS", 0.01)
    with accounts._HASHING, accounts._HASHING:
        statuses = tries(app, "nobody@example.com", *["192.0.2.1"] * (ADDRESSES * LIMIT + 1))
    assert set(statuses) == {500}
    assert tries(app, "nobody@example.com", "192.0.2.1") == [200]


def test_whoever_waits_for_a_hash_holds_no_connection_and_not_for_long(
    app: Flask, account: Account, checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "HASHING_WAIT_SECONDS", 0.5)
    waiting = threading.Event()
    real = accounts._HASHING.acquire

    def acquire(**options: float) -> bool:
        waiting.set()
        return real(**options)

    with accounts._HASHING, accounts._HASHING, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(accounts._HASHING, "acquire", acquire)
        answer = pool.submit(log_in, visitor(app), account.email)
        assert waiting.wait(60)
        with app.app_context():
            assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        refused = answer.result(20)
        monkeypatch.undo()
    assert (refused.status_code, told(refused)) == (
        500,
        "Too many passwords are being checked at this moment. Try again later.",
    )
    assert int(refused.headers["Retry-After"]) > 0
    assert log_in(visitor(app), account.email).status_code == 302


def test_right_passwords_use_up_no_address(app: Flask, make_account: Callable[..., Account]) -> None:
    emails = [make_account(f"{number}@example.com").email for number in range(2 * LIMIT)]
    assert tries(app, emails[0], *["192.0.2.1"] * (LIMIT - 1)) == [200] * (LIMIT - 1)
    assert [log_in(visitor(app), email).status_code for email in emails] == [302] * len(emails)
    assert tries(app, emails[0], "192.0.2.1", "192.0.2.1") == [200, 429], "nor do they forgive wrong ones"


@pytest.mark.parametrize(
    ("addresses", "same"),
    [
        (["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::1"], True),
        (["2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:2:2::1", "2001:db8:1:4::1"], False),
        (["::ffff:192.0.2.1", "192.0.2.1", "::ffff:c000:201", "192.0.2.1"], True),
        (["::ffff:192.0.2.1", "::ffff:192.0.2.2", "::ffff:192.0.2.3", "::ffff:192.0.2.4"], False),
        (["", "unknown", "_hidden", ""], True),
    ],
)
def test_what_is_one_address(app: Flask, account: Account, addresses: list[str], same: bool) -> None:
    assert tries(app, account.email, *addresses) == [200] * LIMIT + [429 if same else 200]


def test_an_attacker_fills_no_table(
    app: Flask, account: Account, monkeypatch: pytest.MonkeyPatch, later: Callable[[float], None]
) -> None:
    monkeypatch.setattr("ezstems.models.attempt.SLOTS", 1)
    statuses = [tries(app, f"{number}@example.com", f"192.0.2.{number}") for number in range(LIMIT + 2)]
    assert statuses == [[200]] * LIMIT + [[429]] * 2, "as many rows as there are slots, and those hold"
    with app.app_context():
        assert len(db.session.scalars(select(Attempt)).all()) == 2
    monkeypatch.setattr("ezstems.models.attempt.SLOTS", 2**18)
    later(WINDOW_SECONDS)
    tries(app, "new@example.com", "192.0.2.99")
    with app.app_context():
        assert len(db.session.scalars(select(Attempt)).all()) == 2, "old windows are forgotten"


def test_a_restart_forgives_nothing(app: Flask, account: Account, make_app: Callable[..., Flask]) -> None:
    assert tries(app, account.email, *["192.0.2.1"] * LIMIT) == [200] * LIMIT
    again = make_app(login_attempts=LIMIT, login_window_seconds=WINDOW_SECONDS)
    assert tries(again, account.email, "192.0.2.1", "192.0.2.2") == [429, 200]


def test_a_window_that_another_attempt_begins_meanwhile_has_room(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    update_one = attempt.update_one

    def another_is_first(statement: Update) -> bool:
        counted = update_one(statement)
        if not counted:
            monkeypatch.setattr(attempt, "update_one", update_one)
            ends_at = models.utcnow() + timedelta(seconds=60)
            db.session.execute(insert(Attempt).values(kind="x", slot=1, ends_at=ends_at, count=1))
            db.session.commit()
        return counted

    monkeypatch.setattr(attempt, "update_one", another_is_first)
    with app.app_context():
        waits = [Attempt.wait_seconds("x", 1, LIMIT, 60) for _ in range(LIMIT)]
    assert waits[:-1] == [0] * (LIMIT - 1) and waits[-1] > 0


def test_the_slots_can_not_be_foreseen() -> None:
    slots = {Attempt.slot_of(f"{number}", b"secret") for number in range(1000)}
    assert len(slots) > 990 and all(0 <= slot < 2**18 for slot in slots)
    assert Attempt.slot_of("1", b"secret") == Attempt.slot_of("1", b"secret") != Attempt.slot_of("1", b"other")


def test_guessing_the_present_password(
    app: Flask, account: Account, checks: list[str], later: Callable[[float], None]
) -> None:
    session = visitor(app)
    log_in(session, account.email)
    for _ in range(LIMIT + 1):
        data = {"present": PASSWORD, "password": account.email, "csrf_token": token(session, "/password")}
        assert session.post("/password", data=data).status_code == 200, "a right one is none of the wrong ones"
    before = len(checks)
    for status in [200] * LIMIT + [429] * 2:
        data = {"present": WRONG, "password": NEW, "csrf_token": token(session, "/password")}
        answer = session.post("/password", data=data)
        assert answer.status_code == status
    assert answer.headers["Retry-After"] == str(WINDOW_SECONDS)
    assert told(answer) == "This account's password was asked for too often. Try again in 10 minutes."
    assert session.post("/password", data=data | {"present": PASSWORD}).status_code == 429
    assert len(checks) == before + LIMIT
    assert log_in(visitor(app), account.email).status_code == 302, "the login has its own count"
    later(WINDOW_SECONDS)
    assert session.post("/password", data=data | {"present": PASSWORD}).status_code == 302


def test_registrations_from_an_address(app: Flask, later: Callable[[float], None]) -> None:
    def register(number: int, address: str = "192.0.2.1", password: str = NEW) -> TestResponse:
        client = visitor(app, address)
        data = {"email": f"{number}@example.com", "password": password, "csrf_token": token(client, "/register")}
        return client.post("/register", data=data)

    assert [register(9, password="short").status_code for _ in range(5)] == [200] * 5, "what makes none is not counted"
    assert [register(number).status_code for number in (1, 2, 2)] == [302, 302, 200], "a taken address is"
    refused = register(3)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "86400")
    assert told(refused) == "There were too many registrations from your network. Try again in 24 hours."
    assert register(4, "192.0.2.2").status_code == 302
    later(86_400)
    assert register(3).status_code == 302
    with app.app_context():
        emails = db.session.scalars(select(User.email).order_by(User.id)).all()
    assert emails == [f"{number}@example.com" for number in (1, 2, 4, 3)]
