"""`Idempotency-Key` on upload.php: one job and one answer, however often the same upload is sent."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.jobs.admission import Admission
from ezstems.jobs.desk import EXTENSION, Desk
from ezstems.models import ApiKey, IdempotencyKey, Instance, Job, User, utcnow
from ezstems.models.idempotency_key import LEASE
from tests.conftest import Account
from tests.support.multipart import assert_nothing_left, error_of, uploads
from tests.support.separators import FastSeparator

URL = "/api/v1/upload.php"
OTHER = "Idempotency-Key='k' came with another file, file name or fields before. Each upload needs a key of its own."
HELD = "Idempotency-Key='k': another upload with this key is being received. Send it again in a few seconds."

Send = Callable[..., TestResponse]


@pytest.fixture
def send(app: Flask, account: Account, song: bytes) -> Send:
    """Return an uploader with a key; the rest is as the fixture `upload` has it."""

    def call(
        key: str = "k", content: bytes = song, name: str = "song.wav", who: Account = account, **fields: str
    ) -> TestResponse:
        data = {"file": (io.BytesIO(content), name), **({"stems": "2"} | fields)}
        return app.test_client().post(URL, data=data, headers=who.headers | {"Idempotency-Key": key})

    return call


def jobs(app: Flask) -> int:
    with app.app_context():
        return db.session.scalars(select(func.count(Job.number))).one()


def keys(app: Flask) -> int:
    with app.app_context():
        return db.session.scalars(select(func.count()).select_from(IdempotencyKey)).one()


def change(app: Flask, row: type, **values: object) -> None:
    with app.app_context():
        db.session.execute(update(row).values(**values))
        db.session.commit()


def is_first(answer: TestResponse) -> bool:
    assert answer.status_code == 200, answer.text
    return "Idempotent-Replayed" not in answer.headers


def test_the_same_upload_again_gets_the_first_answer_and_makes_no_second_job(
    app: Flask, send: Send, account: Account, finished: Callable[[str], Job]
) -> None:
    first = send()
    assert is_first(first) and keys(app) == 1
    for fields in ({}, {"stems": " 2 "}, {"output": "", "unknown": "x"}):
        again = send(**fields)
        assert again.data == first.data and again.headers["Idempotent-Replayed"] == "true"
        assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert jobs(app) == 1
    job = finished(first.json["data"]["id"])
    assert uploads(app) == [job.filename], "what was sent again is kept nowhere"
    client = app.test_client()
    assert client.get("/api/v1/keys.php", headers=account.headers).json["data"][0]["calls_count"] == 5, "each counts"
    for values in ({"expired_at": utcnow()}, {"id": "1_2"}):  # deleted, or expired; or gone altogether
        change(app, Job, **values)
        assert send().data == first.data
    assert job.id in first.text


def test_other_content_name_or_fields_are_refused(app: Flask, send: Send, song: bytes) -> None:
    first = send(output="flac")
    others: list[dict[str, Any]] = [{}, {"stems": "4"}, {"cutoff": "16kHz"}, {"name": "other.wav"}, {"output": "wav"}]
    for other in [{"output": "flac"} | each for each in (*others[1:], {"content": song[:-1] + b"x"})] + others[:1]:
        assert error_of(send(**other)) == OTHER, other
    assert send(output="flac").data == first.data and jobs(app) == 1
    assert is_first(send("other", output="flac")) and jobs(app) == 2


def test_a_key_belongs_to_an_account_not_to_one_of_its_api_keys(
    app: Flask, send: Send, account: Account, make_account: Callable[..., Account]
) -> None:
    other = make_account("other@example.com")
    with app.app_context():
        _, second = ApiKey.issue(db.session.get_one(User, account.user_id))
        db.session.commit()
    first = send()
    assert is_first(send(who=other)) and jobs(app) == 2
    assert send(who=Account(account.user_id, account.email, second)).data == first.data


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ü", "a\tb", "\x7f", "♫".encode().decode("latin-1")])
def test_what_is_no_key(app: Flask, send: Send, key: str) -> None:
    assert error_of(send(key)) == f"Idempotency-Key={key[:64]!r} must be 1 to 255 visible ASCII characters."
    assert_nothing_left(app)


def test_the_longest_key(app: Flask, send: Send) -> None:
    key = "!~" * 127 + "x"
    assert send(key).data == send(key).data and jobs(app) == 1


def test_what_failed_leaves_its_key_free(
    app: Flask, send: Send, monkeypatch: pytest.MonkeyPatch, account: Account
) -> None:
    assert error_of(send(stems="3")) and error_of(send(content=b"no music")) and error_of(send(content=b""))
    for error, status in (
        (OperationalError("", {}, Exception("database or disk is full")), 500),
        (RuntimeError("secret"), 500),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(Admission, "store", _raising(error))
            assert error_of(send(), status)
    # After the row was flushed, too: the answer goes with it.
    with monkeypatch.context() as patched:
        patched.setattr(app.extensions[EXTENSION]._archive, "store_upload", _raising(OSError("gone")))
        assert error_of(send(), 500)
    assert keys(app) == 0
    assert_nothing_left(app)
    assert is_first(send())


def _raising(error: Exception) -> Callable[..., None]:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise error

    return fail


def test_an_upload_whose_key_is_held_is_told_to_come_again(app: Flask, send: Send, account: Account) -> None:
    hold(app, account)
    answer = send()
    assert error_of(answer) == HELD and answer.json["error"] == "Upload in progress"
    assert answer.headers["Retry-After"] == "5"
    assert is_first(send("other")) and jobs(app) == 1
    # Its holder was killed, or leased it by a clock that was ahead.
    for left in (timedelta(seconds=-1), timedelta(days=1)):
        with app.app_context():
            db.session.execute(
                update(IdempotencyKey)
                .where(IdempotencyKey.key == "k")
                .values(answer=None, leased_until=utcnow() + left)
            )
            db.session.commit()
        assert is_first(send())
        assert not is_first(send())


def hold(app: Flask, account: Account, key: str = "k") -> str:
    """Claim a key as another process does."""
    with app.app_context():
        token, _ = IdempotencyKey.take(account.user_id, key)
        assert token is not None
        return token


def test_of_two_that_hold_a_key_the_later_one_makes_the_job(
    app: Flask, send: Send, account: Account, monkeypatch: pytest.MonkeyPatch, song: bytes
) -> None:
    """The first one's lease ran out, since its process stood still, while its upload came in."""
    store, made = Admission.store, []

    def overtaken(*arguments: Any) -> None:
        if not made:
            made.append(None)
            change(app, IdempotencyKey, leased_until=utcnow())
            made[0] = send()
        store(*arguments)

    monkeypatch.setattr(Admission, "store", overtaken)
    assert error_of(send()) == HELD
    assert is_first(made[0]) and jobs(app) == 1 and len(uploads(app)) <= 1
    assert send().data == made[0].data


def test_claims_are_renewed_while_their_uploads_come(app: Flask, desk: Desk, account: Account) -> None:
    with app.app_context(), desk.claims.claim(account.user_id, "k"):
        change(app, IdempotencyKey, leased_until=utcnow() - timedelta(seconds=1))
        desk.claims.renew()
        with app.app_context():
            assert db.session.scalars(select(IdempotencyKey)).one().is_held
    with app.app_context():
        change(app, IdempotencyKey, leased_until=utcnow() - LEASE)
        desk.claims.renew()
        assert not db.session.scalars(select(IdempotencyKey)).one().is_held


def test_a_key_is_good_for_a_day_and_then_swept(
    app: Flask, send: Send, run: Callable[..., Result], finished: Callable[[str], Job]
) -> None:
    first = send()
    finished(first.json["data"]["id"])
    for age in (timedelta(hours=23, minutes=59), timedelta(hours=-23)):  # a clock that went back doubles nothing
        change(app, IdempotencyKey, created_at=utcnow() - age)
        assert send().data == first.data
        run("jobs", "prune")
        assert keys(app) == 1
    with app.app_context():
        trusted = Instance.trusted_time()  # by which its day is counted: the prune's, maybe of the second before
    assert trusted is not None
    change(app, IdempotencyKey, created_at=trusted - timedelta(days=1))
    assert is_first(send()) and jobs(app) == 2
    change(app, IdempotencyKey, created_at=utcnow() - timedelta(days=1, seconds=1))
    run("jobs", "prune")
    assert keys(app) == 0


def test_by_a_clock_that_jumped_ahead_no_key_is_forgotten(
    app: Flask, send: Send, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Result]
) -> None:
    first = send()
    run("jobs", "prune")  # which notes the trusted time
    ahead = utcnow() + timedelta(days=4)
    monkeypatch.setattr("ezstems.models.idempotency_key.shared_now", lambda: ahead)
    assert send().data == first.data


def test_a_full_account_and_a_full_queue_still_get_the_first_answer(
    make_app: Callable[..., Flask], make_account: Callable[..., Account], song: bytes, separator: FastSeparator
) -> None:
    separator.hold()
    who = make_account()
    client: FlaskClient = make_app(account_jobs=1, queue_size=1).test_client()

    def send(key: str) -> TestResponse:
        data = {"file": (io.BytesIO(song), "song.wav"), "stems": "2"}
        return client.post(URL, data=data, headers=who.headers | {"Idempotency-Key": key})

    first = send("k")
    assert error_of(send("other"), 403)
    assert send("k").data == first.data


def test_to_delete_an_account_deletes_its_keys(app: Flask, send: Send, run: Callable[..., Result]) -> None:
    assert is_first(send())
    run("users", "delete", "someone@example.com", "--yes")
    assert keys(app) == 0
