"""Deliveries from the end of a job to a 2xx: what is sent, how it is signed, and what becomes of it."""

import base64
import hmac
import importlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.errors import UnreadableAudio
from ezstems.jobs import retention
from ezstems.jobs.desk import Desk
from ezstems.models import CRASHED, STALLED, Delivery, Job, Webhook, utcnow
from ezstems.models.delivery import JOB_DELETED
from ezstems.webhooks.outcome import LONGEST_ASKED_SECONDS, PAUSES_SECONDS, outcome_of
from ezstems.webhooks.post import Answer
from tests.conftest import Account
from tests.support.multipart import error_of
from tests.support.openapi import exact, served
from tests.support.receivers import Behaviour, Receiver, answer, silence
from tests.support.separators import FastSeparator

sender = importlib.import_module("ezstems.webhooks.sender")
Until = Callable[..., list[Delivery]]
Read = Callable[[], list[Delivery]]
IN_TEN_MINUTES = "a date in ten minutes"
NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")


def status_of(client: FlaskClient, account: Account, job_id: str) -> dict[str, Any]:
    return client.get(f"/api/v1/status.php?id={job_id}", headers=account.headers).json["data"]


def test_a_completed_job_is_told_of(
    client: FlaskClient, account: Account, done: Callable[..., Job], until: Until, secret: str
) -> None:
    with Receiver() as receiver:
        job = done(webhook_url=receiver.url)
        (request,) = receiver.until(1)
        (delivery,) = until(lambda each: each.state == "delivered")
    message = standardwebhooks.Webhook(secret).verify(request.body, request.headers)
    assert list(message) == ["type", "timestamp", "data"] and message["type"] == "job.completed"
    assert message["timestamp"] == f"{job.finished_at.isoformat()}Z"
    assert message["data"] == status_of(client, account, job.id) and message["data"]["status"] == "completed"
    assert list(message["data"]) == list(status_of(client, account, job.id))
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == delivery.message_id
    assert re.fullmatch("msg_[0-9a-f]{32}", delivery.message_id)
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
    assert (delivery.job_id, delivery.attempts, delivery.last_status, delivery.claim) == (job.id, 1, 204, None)


def test_a_failed_job_is_told_of_too(
    client: FlaskClient, account: Account, upload: Callable[..., TestResponse], separator: FastSeparator, secret: str
) -> None:
    separator.error = UnreadableAudio("The file holds no decodable audio.")
    with Receiver() as receiver:
        job_id = upload(webhook_url=f" {receiver.url} ").json["data"]["id"]
        (request,) = receiver.until(1)
    message = standardwebhooks.Webhook(secret).verify(request.body, request.headers)
    assert message["type"] == "job.failed" and message["data"] == status_of(client, account, job_id)
    assert message["data"]["error"] == "The file holds no decodable audio."


def test_metadata_comes_with_it(client: FlaskClient, account: Account, done: Callable[..., Job]) -> None:
    noted = '\u202e</script>{"order": "\U0001f600\\u0000"}'.ljust(512, "\u00e4")
    schema = exact(served(client)["components"]["schemas"]["Message"])
    with Receiver() as receiver:
        jobs = [done(webhook_url=receiver.url, metadata=each) for each in (noted, " ", "0")]
        bodies = {each["data"]["id"]: each for each in (json.loads(sent.body) for sent in receiver.until(3))}
    for job, metadata in zip(jobs, ({"metadata": noted}, {}, {"metadata": "0"}), strict=True):
        data = bodies[job.id]["data"]
        assert data == status_of(client, account, job.id) | metadata
        assert list(data) == [*status_of(client, account, job.id), *metadata]
        Draft202012Validator(schema).validate(bodies[job.id])


def test_of_a_deleted_job_nobody_is_told_any_more(
    client: FlaskClient, account: Account, done: Callable[..., Job], until: Until
) -> None:
    """Neither when its message waits to be sent again, nor when the try at hand fails; a success is one."""

    def delete(job: Job) -> None:
        assert client.delete(f"/api/v1/jobs.php?id={job.id}", headers=account.headers).status_code == 200

    held = threading.Event()

    def answer_later(status: int) -> Behaviour:
        def behave(connection: socket.socket, over: threading.Event) -> None:
            held.wait(20)
            answer(status)(connection, over)

        return behave

    with Receiver(answer(500)) as waiting, Receiver(answer_later(500)) as bad, Receiver(answer_later(200)) as good:
        jobs = [done(webhook_url=receiver.url) for receiver in (waiting, bad, good)]
        other = done(webhook_url=waiting.url)
        until(lambda each: each.job_id not in (jobs[0].id, other.id) or each.last_status == 500, 4)
        bad.until(1), good.until(1)
        for job in jobs:
            delete(job)
        held.set()
        found = until(lambda each: each.claim is None and each.last_status is not None, 4)
        assert [(each.state, each.last_status) for each in found] == [
            ("given up", 500), ("given up", 500), ("delivered", 200), ("pending", 500)
        ]  # fmt: skip
        assert found[0].last_error == JOB_DELETED


def test_what_was_cancelled_in_flight_may_be_sent_again(app: Flask, account: Account, deliveries: Read) -> None:
    with app.app_context():
        Webhook.set_url(account.user_id, "http://127.0.0.1:9/")
        one = Delivery.test(account.user_id)
        assert Delivery.lease(one, "a")
        db.session.execute(db.update(Delivery).values(state="given up"))  # whose process was killed then
        db.session.commit()
        assert Delivery.resend(one.id)
        (row,) = deliveries()
        assert (row.state, row.claim) == ("pending", None)
        assert not Delivery.settle(one.id, "a", delivered=False, state="given up")


def test_the_signature_is_that_of_the_specification(done: Callable[..., Job], secret: str) -> None:
    """Written out, without the library that makes it."""
    with Receiver() as receiver:
        done(webhook_url=receiver.url)
        (request,) = receiver.until(1)
    number, moment, signature = (request.headers[name] for name in NAMES)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.digest(key, f"{number}.{moment}.".encode() + request.body, "sha256")
    assert signature == f"v1,{base64.b64encode(signed).decode()}"


def test_the_accounts_url_is_for_jobs_that_name_none(
    app: Flask, account: Account, done: Callable[..., Job], deliveries: Read, make_account: Callable[..., Account]
) -> None:
    with Receiver() as default, Receiver() as own:
        done()
        assert deliveries() == []
        with app.app_context():
            Webhook.set_url(account.user_id, default.url)
        first, second = done(), done(webhook_url=own.url)
        assert json.loads(default.until(1)[0].body)["data"]["id"] == first.id
        assert json.loads(own.until(1)[0].body)["data"]["id"] == second.id
        done(who=make_account("other@example.com"))
        with app.app_context():
            Webhook.set_url(account.user_id, None)
        done()
    assert [each.job_id for each in deliveries()] == [first.id, second.id]


def test_where_it_is_off_a_url_is_refused_and_nobody_is_told(
    app: Flask, account: Account, upload: Callable[..., TestResponse], done: Callable[..., Job], deliveries: Read
) -> None:
    with app.app_context():
        Webhook.set_url(account.user_id, "http://127.0.0.1:9/")
    app.config["EZSTEMS_WEBHOOKS"] = "off"
    assert "this server sends no webhooks" in error_of(upload(webhook_url="https://example.com/"), 400)
    assert done(webhook_url="  ").webhook_url is None and deliveries() == []


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://example.com/hook", "must begin with https://"),
        ("https://10.0.0.1/hook", "must lead to a public address"),
        ("junk", "must begin with https:// and name a host"),
        ("https://example.com/" + "a" * 5000, "must not exceed 4096 bytes"),
    ],
)
def test_a_bad_url_is_refused_and_leaves_nothing(
    app: Flask, upload: Callable[..., TestResponse], url: str, rule: str
) -> None:
    assert rule in error_of(upload(webhook_url=url), 400)
    with app.app_context():
        assert db.session.scalars(db.select(Job)).all() == []
    assert not [path for path in Path(app.instance_path, "uploads").iterdir() if not path.name.startswith(".")]


def test_the_message_and_the_jobs_end_are_one_transaction(
    app: Flask, account: Account, desk: Desk, deliveries: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("", {}, Exception("database or disk is full"))

    with app.app_context():
        Webhook.set_url(account.user_id, "http://127.0.0.1:9/")
        job = Job(id="1_2", second=1, stems=2, user_id=account.user_id, cutoff="full", output="wav", owner="me",
                  original_name="a.wav", filename="1_2_1.wav", size_bytes=1, status="processing")  # fmt: skip
        db.session.add(job)
        db.session.commit()
        number = job.number
        with monkeypatch.context() as broken:
            broken.setattr(Delivery, "announce", fail)
            with pytest.raises(OperationalError):
                Job.complete(number, "me", clipped={})
            db.session.rollback()
        assert db.session.get(Job, number, populate_existing=True).status == "processing"
        assert not Job.fail(number, "another", STALLED) and deliveries() == []
        assert Job.fail(number, "me", CRASHED)
        assert not Job.fail(number, "me", CRASHED), "once"
    (delivery,) = deliveries()
    assert delivery.event == "job.failed" and json.loads(delivery.body)["data"]["error"] == CRASHED
    with app.app_context():
        assert Job.retry(number) and Job.update_if(number, status="processing", owner="me")
        assert Job.complete(number, "me", clipped={})
        assert [each.event for each in deliveries()] == ["job.failed", "job.completed"]
        Job.delete(number)
        assert len(deliveries()) == 2, "who deletes a job knows"


def test_what_fails_is_sent_again_under_its_id(
    done: Callable[..., Job], until: Until, change: Callable[..., None], secret: str
) -> None:
    with Receiver(answer(500, "Retry-After: 600")) as receiver:  # not before the test says so
        done(webhook_url=receiver.url)
        (delivery,) = until(lambda each: each.attempts == 1 and each.claim is None)
        assert (delivery.state, delivery.last_status) == ("pending", 500)
        assert timedelta(seconds=570) < delivery.next_at - delivery.tried_at < timedelta(seconds=630)
        receiver.behave = answer(200)
        change(Delivery, next_at=utcnow())
        (delivery,) = until(lambda each: each.state == "delivered")
        first, second = receiver.until(2)
    assert delivery.attempts == 2
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    for request in (first, second):
        standardwebhooks.Webhook(secret).verify(request.body, request.headers)


def test_the_pauses_grow_to_a_day() -> None:
    assert list(PAUSES_SECONDS) == sorted(PAUSES_SECONDS) and 24 * 3600 <= sum(PAUSES_SECONDS) < 25 * 3600
    for number, pause in enumerate(PAUSES_SECONDS, 1):
        found = [outcome_of(Answer(500), number).values["pause"] for _ in range(20)]
        assert all(0.9 * pause - 2 <= each.total_seconds() <= 1.1 * pause + 2 for each in found)
        assert len(set(found)) > 1 or pause < 10, "not all at once"
    over = outcome_of(Answer(trouble="the connection was refused"), len(PAUSES_SECONDS) + 1)
    assert over.name == "given_up" and over.values["state"] == "given up"


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("120", 120),
        ("1", 5),
        ("999999999999999999999", LONGEST_ASKED_SECONDS),
        (IN_TEN_MINUTES, 600),
        ("Sun Nov  6 08:49:37 1994", 5),
        ("-5", 5),
        ("soon", 5),
        ("²", 5),
        ("nan", 5),
    ],
)
def test_a_receiver_may_ask_for_time(asked: str, seconds: float) -> None:
    off_seconds = 3
    if asked == IN_TEN_MINUTES:
        off_seconds = 60  # a machine may stand still meanwhile
        asked = format_datetime(datetime.now(timezone.utc) + timedelta(minutes=10))
    pause = outcome_of(Answer(503, retry_after=asked), 1).values["pause"]
    assert abs(pause.total_seconds() - seconds) <= off_seconds


def test_410_ends_it(
    app: Flask, account: Account, done: Callable[..., Job], until: Until, deliveries: Read
) -> None:
    with Receiver(answer(503, "Retry-After: 3600")) as receiver:
        with app.app_context():
            Webhook.set_url(account.user_id, receiver.url)
        done()
        until(lambda each: each.attempts == 1 and each.claim is None)
        receiver.behave = answer(410)
        done()
        first, second = until(lambda each: each.state == "given up", count=2)
        assert (first.last_error, second.last_status) == ("the URL is gone", 410)
        done()
        assert len(deliveries()) == 2
        with app.app_context():
            assert Webhook.of(account.user_id).gone_at is not None
            Webhook.set_url(account.user_id, receiver.url)
        receiver.behave = answer(200)
        done()
        receiver.until(3)


def test_a_rotated_secret_goes_on_signing_for_a_day(
    app: Flask, account: Account, done: Callable[..., Job], secret: str, change: Callable[..., None]
) -> None:
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64
    with app.app_context():
        new = Webhook.rotate(account.user_id)
    with Receiver() as receiver:
        done(webhook_url=receiver.url)
        (request,) = receiver.until(1)
        for each in (secret, new):
            standardwebhooks.Webhook(each).verify(request.body, request.headers)
        change(Webhook, rotated_at=utcnow() - timedelta(hours=24, seconds=1))
        done(webhook_url=receiver.url)
        request = receiver.until(2)[1]
    standardwebhooks.Webhook(new).verify(request.body, request.headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(request.body, request.headers)


def test_a_slow_receiver_keeps_nobody_waiting(
    app: Flask, make_account: Callable[..., Account], desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("ezstems.webhooks.post"), "TRY_SECONDS", 60.0)
    slow, quick = (make_account(f"{name}@example.com").user_id for name in ("slow", "quick"))
    with Receiver(silence) as deaf, Receiver() as receiver:
        with app.app_context():
            Webhook.set_url(slow, deaf.url)
            Webhook.set_url(quick, receiver.url)
            for _ in range(200):
                Delivery.test(slow)
            for _ in range(20):
                Delivery.test(quick)
        desk.start()
        began = time.monotonic()
        receiver.until(20, 40.0)
        assert time.monotonic() - began < 40  # before the first of the tries that get no answer ends
        deaf.until(sender.HOST_SEATS)
        assert len(deaf.requests) == deaf.most_open == sender.HOST_SEATS
        assert receiver.most_open <= sender.HOST_SEATS


def test_a_lease_is_one_processs_alone_until_it_ends(app: Flask, account: Account, deliveries: Read) -> None:
    with app.app_context():
        Webhook.set_url(account.user_id, "http://127.0.0.1:9/")
        Delivery.test(account.user_id)
        (one,), (same,) = Delivery.due(9, (), ()), deliveries()
        assert Delivery.lease(one, "a") and not Delivery.lease(same, "b")
        db.session.commit()
        assert Delivery.due(9, (), ()) == [] and not Delivery.resend(one.id), "it is being sent"
        db.session.execute(db.update(Delivery).values(next_at=utcnow()))
        (again,) = Delivery.due(9, (), ())
        assert Delivery.lease(again, "b")
        assert not Delivery.settle(one.id, "a", delivered=False, last_status=500), "its lease is over"
        assert Delivery.settle(one.id, "a", delivered=True, state="delivered"), "but a success is one"
        assert not Delivery.settle(one.id, "b", delivered=False, last_status=500)
        db.session.commit()
        assert Delivery.resend(one.id)
        (row,) = deliveries()
        assert (row.state, row.attempts, row.claim) == ("pending", 0, None)


def test_they_go_with_the_retention_and_with_their_account(
    app: Flask, account: Account, desk: Desk, deliveries: Read, run: Callable[..., Any]
) -> None:
    old, now = utcnow() - timedelta(hours=100), utcnow()
    with app.app_context():
        Webhook.set_url(account.user_id, "http://127.0.0.1:9/")
        for state, tried_at, created_at in (
            ("delivered", old, old),
            ("given up", old, old),
            ("given up", None, old),
            ("delivered", now, old),
            ("pending", old, old),
            ("pending", None, now),
            ("pending", None, now - timedelta(days=40)),
        ):
            row = Delivery.test(account.user_id)
            row.state, row.tried_at, row.created_at = state, tried_at, created_at
            row.next_at = tried_at or created_at  # when it was leased for its last try
        db.session.commit()
        retention.sweep(desk._archive, 72.0)
    assert [(each.state, each.tried_at) for each in deliveries()] == [
        ("delivered", now), ("pending", old), ("pending", None)
    ]  # fmt: skip
    run("users", "delete", account.email, "--yes")
    with app.app_context():
        assert deliveries() == [] and db.session.scalars(db.select(Webhook)).all() == []


def test_a_clock_that_was_ahead_delays_nothing(app: Flask, account: Account, desk: Desk) -> None:
    with Receiver() as receiver:
        with app.app_context():
            Webhook.set_url(account.user_id, receiver.url)
            Delivery.test(account.user_id).next_at = utcnow() + timedelta(days=400)
            db.session.commit()
        desk.start()
        receiver.until(1)


def test_a_database_that_fails_loses_nothing(
    app: Flask, account: Account, desk: Desk, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, failures = Delivery.settle, [2]

    def failing(*arguments: Any, **values: Any) -> bool:
        if failures[0]:
            failures[0] -= 1
            raise OperationalError("", {}, Exception("database is locked"))
        return settle(*arguments, **values)

    monkeypatch.setattr(Delivery, "settle", failing)
    with Receiver() as receiver:
        with app.app_context():
            Webhook.set_url(account.user_id, receiver.url)
            for _ in range(3):
                Delivery.test(account.user_id)
        desk.start()
        until(lambda each: each.state == "delivered", count=3)
        assert len(receiver.requests) == 3 and failures == [0]


def test_the_log_holds_no_secret(done: Callable[..., Job], secret: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Receiver() as receiver:
        job = done(webhook_url=f"{receiver.url}?token=hush")
        deadline = time.monotonic() + 60
        while not (lines := [each for each in caplog.records if vars(each).get("job_id") == job.id
                             and each.name == sender.__name__]):  # fmt: skip
            assert time.monotonic() < deadline
            time.sleep(0.01)
    (line,) = lines
    assert line.job_id == job.id and f"job {job.id}: webhook msg_" in line.message and "204, delivered" in line.message
    assert f"http://127.0.0.1:{receiver.port}:" in line.message
    assert "hush" not in caplog.text and secret.removeprefix("whsec_") not in caplog.text


