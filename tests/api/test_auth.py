"""Bearer keys and their rate limit."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from ezstems import models
from ezstems.database import db
from ezstems.models import ApiKey
from tests.conftest import Account
from tests.support.multipart import error_of

KEYS = "/api/v1/keys.php"
STATUS = "/api/v1/status.php?id=1_2"
ENDPOINTS = (("POST", "/api/v1/upload.php"), ("GET", STATUS), ("GET", "/api/v1/download.php?id=1_2"), ("GET", KEYS))
RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def rates(answer: TestResponse) -> tuple[int, int, int]:
    """Return limit, remaining and reset."""
    limit, remaining, reset = (int(answer.headers[name]) for name in RATE_HEADERS)
    return limit, remaining, reset


def row(app: Flask) -> ApiKey:
    with app.app_context():
        key = db.session.scalars(select(ApiKey)).one()
        db.session.expunge(key)
        return key


def test_spellings_of_bearer(client: FlaskClient, account: Account) -> None:
    for scheme in ("Bearer ", "bearer ", "BEARER ", "bEaReR   ", "Bearer\t", "  Bearer "):
        answer = client.get(KEYS, headers={"Authorization": f"{scheme}{account.key}"})
        assert answer.status_code == 200, scheme
    assert client.get(KEYS, headers={"Authorization": f"Bearer {account.key}  "}).status_code == 200


def test_what_is_no_valid_key(app: Flask, client: FlaskClient, account: Account) -> None:
    key = account.key
    headers = ["", key, f"Token {key}", f"Basic {key}", "Bearer", "Bearer ", f"Bearer{key}", f"Bearer: {key}"]
    headers += [f"Bearer {key} {key}", f"Bearer {key},", f'Bearer "{key}"', f"Bearer {key}x", "Bearer YOUR_API_KEY"]
    headers += [f"Bearer {key[:-1]}", f"Bearer {'x' * 10_000}", "Bearer gr\xfc\xdfe", "Bearer \x00", "Bearer 'OR'1'='1"]
    for method, url in ENDPOINTS:
        answers = [client.open(url, method=method)]
        answers += [client.open(url, method=method, headers={"Authorization": value}) for value in headers]
        answers.append(client.open(f"{url}{'&' if '?' in url else '?'}api_key={key}", method=method))
        for answer in answers:
            assert error_of(answer, 401)
            assert answer.json["error"] == "Unauthorized"
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert not set(RATE_HEADERS) & set(answer.headers.keys())
    assert (row(app).window_calls, row(app).last_used_at) == (0, None)


def test_every_authenticated_answer_counts_once_and_carries_the_rate(
    client: FlaskClient, account: Account, monkeypatch: pytest.MonkeyPatch, tokyo: None
) -> None:
    started = time.time()
    statuses = []
    for remaining, (method, url) in zip(range(99, 95, -1), ENDPOINTS, strict=True):
        answer = client.open(url, method=method, headers=account.headers)
        statuses.append(answer.status_code)
        limit, left, reset = rates(answer)
        assert (limit, left) == (100, remaining)
        assert started + 58 < reset < time.time() + 61
    assert statuses == [400, 404, 404, 200]

    def crash() -> None:
        raise RuntimeError

    monkeypatch.setattr("ezstems.web.api.upload.current_desk", crash)
    answer = client.post("/api/v1/upload.php", headers=account.headers)
    assert error_of(answer, 500)
    assert rates(answer)[:2] == (100, 95)
    # Nobody asked who is calling.
    for url in ("/health", "/", "/api/v1/nowhere.php"):
        assert not set(RATE_HEADERS) & set(client.get(url, headers=account.headers).headers.keys())
    assert rates(client.get(KEYS, headers=account.headers))[1] == 94


def test_over_the_limit(app: Flask, client: FlaskClient, make_account: Callable[..., Account]) -> None:
    headers = make_account(rate_limit=3).headers
    first, *others = (client.get(KEYS, headers=headers) for _ in range(3))
    assert [rates(answer)[1] for answer in (first, *others)] == [2, 1, 0]
    used = row(app)
    for method, url in ENDPOINTS * 2:
        asked_at = time.time()
        answer = client.open(url, method=method, headers=headers)
        assert "3 calls" in error_of(answer, 403)
        assert answer.json["error"] == "Rate limit exceeded"
        assert rates(answer) == (3, 0, rates(first)[2])
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert asked_at - 2 <= rates(answer)[2] - int(answer.headers["Retry-After"]) <= time.time() + 2
    refused = row(app)
    assert (refused.window_calls, refused.last_used_at) == (3, used.last_used_at), "refused calls are not counted"


def test_the_window_starts_with_its_first_call(
    app: Flask, client: FlaskClient, make_account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = make_account(rate_limit=2).headers
    begin = models.utcnow() + timedelta(days=1)  # however long ago the key was made

    def call(seconds: int) -> TestResponse:
        for module in ("ezstems.models.calls", "ezstems.web.auth"):
            monkeypatch.setattr(f"{module}.utcnow", lambda: begin + timedelta(seconds=seconds))
        return client.get(STATUS, headers=headers)

    first = call(0)
    assert rates(call(30)) == (2, 0, rates(first)[2])
    for seconds, wait in ((30, 30), (59, 1)):
        refused = call(seconds)
        assert refused.status_code == 403
        assert refused.headers["Retry-After"] == str(wait), "waiting that long must be enough"
    again = call(60)
    assert again.status_code == 404
    assert rates(again) == (2, 1, rates(first)[2] + 60)
    # After an idle while the next window starts with the call, not with the end of the last one.
    later = call(9999)
    assert rates(later) == (2, 1, rates(first)[2] + 9999)


def test_limit_and_window_are_settings_and_a_keys_own_limit_goes_before(
    make_app: Callable[..., Flask], account: Account, make_account: Callable[..., Account]
) -> None:
    client = make_app(rate_limit=2, rate_window_seconds=60).test_client()
    own = make_account("own@example.com", rate_limit=4)
    for who, limit in ((account, 2), (own, 4)):
        statuses = []
        for _ in range(6):
            answer = client.get(STATUS, headers=who.headers)
            statuses.append(answer.status_code)
            assert rates(answer)[0] == limit
            assert rates(answer)[2] - time.time() <= 60
        assert statuses == [404] * limit + [403] * (6 - limit)
        assert int(answer.headers["Retry-After"]) <= 60


def test_keys_of_one_account_have_windows_of_their_own(
    app: Flask, client: FlaskClient, make_account: Callable[..., Account]
) -> None:
    account = make_account(rate_limit=1)
    with app.app_context():
        _, key = ApiKey.issue(db.session.get_one(models.User, account.user_id), 1)
        db.session.commit()
    for headers in (account.headers, {"Authorization": f"Bearer {key}"}):
        assert [client.get(STATUS, headers=headers).status_code for _ in range(2)] == [404, 403]


def test_eight_threads_and_two_workers_let_through_exactly_the_limit(
    app: Flask, make_app: Callable[..., Flask], make_account: Callable[..., Account]
) -> None:
    account = make_account(rate_limit=60)
    apps = (app, make_app())

    def hammer(number: int) -> Counter[int]:
        client = apps[number % 2].test_client()
        return Counter(client.get(STATUS, headers=account.headers).status_code for _ in range(15))

    with ThreadPoolExecutor(8) as pool:
        counts = sum(pool.map(hammer, range(8)), Counter())
    assert counts == {404: 60, 403: 60}
    assert row(app).window_calls == 60


def test_a_key_deactivated_meanwhile_is_let_in_no_more(
    app: Flask, client: FlaskClient, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = models.count_call

    def deactivated_first(key: ApiKey, limit: int, window: int) -> bool:
        key.is_active = False
        db.session.commit()
        return real(key, limit, window)

    monkeypatch.setattr("ezstems.web.auth.count_call", deactivated_first)
    assert error_of(client.get(KEYS, headers=account.headers), 401)
    assert (row(app).window_calls, row(app).last_used_at) == (0, None)
