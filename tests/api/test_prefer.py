"""`Prefer: wait=N` on status.php: what counts as one, when it is answered, and how many may wait."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems.database import WATCH, db
from ezstems.jobs import waiting
from ezstems.jobs.desk import Desk
from ezstems.models import ApiKey, Job, utcnow
from ezstems.web.prefer import preferred_wait
from tests.conftest import Account
from tests.support.multipart import Upload, error_of, job_of
from tests.support.separators import FastSeparator

URL = "/api/v1/status.php"
# Far longer than anything here takes, far shorter than a whole wait.
SOON_SECONDS = 30.0
WAIT = {"Prefer": "wait=60"}

Ask = Callable[..., TestResponse]
AskAside = Callable[..., "Future[TestResponse]"]


@pytest.fixture
def account(make_account: Callable[..., Account]) -> Account:
    return make_account(rate_limit=1_000_000)


@pytest.fixture
def ask(app: Flask, account: Account) -> Ask:
    """Return what asks for a job, with more headers."""

    def call(job_id: str, headers: dict[str, str] = WAIT, who: Account = account, method: str = "GET") -> TestResponse:
        return app.test_client().open(URL, method=method, query_string={"id": job_id}, headers=who.headers | headers)

    return call


@pytest.fixture
def aside(ask: Ask, desk: Desk) -> Iterator[AskAside]:
    """Return what asks in a thread, once as many wait as shall."""
    with ThreadPoolExecutor(16) as pool:

        def call(*arguments: Any, waiting: int = 1, **options: Any) -> "Future[TestResponse]":
            future = pool.submit(ask, *arguments, **options)
            until(lambda: len(desk.waits) == waiting or future.done())
            return future

        yield call
        desk.waits.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def running(app: Flask, upload: Upload, separator: FastSeparator) -> Job:
    """Return a job that runs until it is released."""
    separator.hold()
    job = job_of(app, upload())
    assert separator.started.wait(60)
    return job


def change(app: Flask, row: type, **values: object) -> None:
    with app.app_context():
        db.session.execute(update(row).values(**values))
        db.session.commit()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *[(each, 5) for each in ("wait=5", "WAIT=5", " wait = 5 ", 'wait="5"', "wait=05", "respond-async, wait=5")],
        *[(each, 5) for each in ("wait=5; foo=bar", 'foo="a, wait=7", wait=5', "foo; wait=9, wait=5", "wait=5,wait=9")],
        *[("wait=60", 60), ("wait=61", 60), ("wait=" + "9" * 5000, 60), ("wait=1000", 60), ("wait=0", 0)],
        *[(each, None) for each in ("", "wait", "wait=", 'wait=""', "wait=-1", "wait=+5", "wait=1.5", "wait=5s")],
        *[(each, None) for each in ("wait=٣", "wait=1e1", "wait=x, wait=5", "waits=5", 'wait="5', "=5", ",;=")],
    ],
)  # fmt: skip
def test_what_is_a_preference(header: str, seconds: int | None) -> None:
    with Flask(__name__).test_request_context(headers={"Prefer": header}):
        assert preferred_wait() == seconds


def test_the_end_of_a_job_is_answered_soon_and_as_without_waiting(
    running: Job, ask: Ask, aside: AskAside, account: Account, separator: FastSeparator, app: Flask
) -> None:
    change(app, ApiKey, window_calls=0)
    waited, *others = [aside(running.id, waiting=count) for count in range(1, 9)]
    time.sleep(0.6)  # more than a look, and than a report of progress
    assert not waited.done()
    with app.app_context():
        # That of who looks for all, and perhaps those of the runner, and of housekeeping.
        assert db.engine.pool.checkedout() <= 3, "who waits holds a connection"
        assert db.session.scalars(db.select(ApiKey.window_calls)).one() == 8, "each is one call of the rate limit"
    separator.release()
    answer = waited.result(SOON_SECONDS)
    assert {other.result(SOON_SECONDS).data for other in others} == {answer.data}
    assert answer.json["data"]["status"] == "completed"
    assert answer.headers["Preference-Applied"] == "wait=60" and "Retry-After" not in answer.headers
    at_once = ask(running.id, {})
    assert answer.data == at_once.data
    assert set(answer.headers.keys()) - set(at_once.headers.keys()) == {"Preference-Applied"}
    for headers, applied in (({"Prefer": "wait=9"}, "wait=9"), ({"Prefer": "wait=soon"}, None)):
        assert ask(running.id, headers).headers.get("Preference-Applied") == applied


def test_an_end_that_another_process_writes_is_heard_within_half_a_second(
    app: Flask, running: Job, aside: AskAside
) -> None:
    waited = aside(running.id)
    change(app, Job, status="failed", error="gone wrong")  # nothing of this process tells of it
    ended = time.monotonic()
    assert waited.result(SOON_SECONDS).json["data"]["error"] == "gone wrong"
    assert time.monotonic() - ended < SOON_SECONDS and waiting.LOOK_EVERY_SECONDS <= 0.5


def test_when_the_time_is_over_the_present_state_is_answered(running: Job, ask: Ask, desk: Desk) -> None:
    began = time.monotonic()
    answer = ask(running.id, {"Prefer": "wait=1"})
    assert 1 <= time.monotonic() - began < SOON_SECONDS
    assert answer.json["data"]["status"] == "processing" and answer.headers["Preference-Applied"] == "wait=1"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert len(desk.waits) == 0
    assert ask(running.id, {"Prefer": "wait=0"}).headers["Preference-Applied"] == "wait=0"
    answer = ask(running.id, {"Prefer": "wait=1"}, method="HEAD")
    assert answer.data == b"" and answer.headers["Preference-Applied"] == "wait=1"


def test_what_is_wrong_is_told_at_once(
    running: Job, ask: Ask, make_account: Callable[..., Account], desk: Desk
) -> None:
    other = make_account("other@example.com")
    began = time.monotonic()
    assert error_of(ask(running.id, who=other), 404) == f"There is no job {running.id}."
    assert error_of(ask("1_2"), 404) and error_of(ask("abc"), 400)
    assert error_of(ask(running.id, WAIT | {"Authorization": "Bearer unknown"}), 401)
    assert time.monotonic() - began < SOON_SECONDS and len(desk.waits) == 0


@pytest.mark.parametrize("values", [{"expired_at": utcnow()}, {"user_id": 2}])
def test_who_waits_for_what_goes_gets_a_404(
    app: Flask, running: Job, aside: AskAside, make_account: Callable[..., Account], values: dict[str, Any]
) -> None:
    make_account("other@example.com")
    waited = aside(running.id)
    change(app, Job, status="failed", **values)
    assert error_of(waited.result(SOON_SECONDS), 404)


def test_a_key_has_so_many_waits_and_so_has_a_worker(
    make_app: Callable[..., Flask], running: Job
) -> None:
    app = make_app(waiters=5, key_waiters=2)
    waits = app.extensions["ezstems"].waits
    keys = (1, 2, 3, 4) * 10
    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(waits.wait, running.number, key_id, 60, lambda: False) for key_id in keys]
        until(lambda: sum(each.done() for each in asked) == 35)
        assert len(waits) == 5
        assert not any(each.result() for each in asked if each.done()), "they are told at once"
        waiting_keys = [key for key, each in zip(keys, asked, strict=True) if not each.done()]
        assert max(map(waiting_keys.count, waiting_keys)) <= 2
        waits.close()
    assert len(waits) == 0 and not any(each.result() for each in asked)


def test_one_on_top_gets_the_present_state_at_once(
    make_app: Callable[..., Flask], running: Job, account: Account
) -> None:
    client = make_app(waiters=0).test_client()
    answer = client.get(URL, query_string={"id": running.id}, headers=account.headers | WAIT)
    assert answer.json["data"]["status"] in ("queued", "processing")
    assert "Preference-Applied" not in answer.headers and int(answer.headers["Retry-After"]) >= 1


def test_a_stop_ends_every_wait(running: Job, aside: AskAside, desk: Desk) -> None:
    waited = aside(running.id)
    desk.waits.close()
    answer = waited.result(SOON_SECONDS)
    assert answer.json["data"]["status"] == "processing" and "Preference-Applied" not in answer.headers
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "waits"])


def test_a_database_that_goes_away_meanwhile_is_told_as_ever(
    app: Flask, running: Job, aside: AskAside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waited = aside(running.id)
    held = OperationalError("", {}, Exception("database is locked"))

    def fail(*_: Any) -> None:
        raise held

    monkeypatch.setattr(app.extensions[WATCH], "require", fail)
    answer = waited.result(SOON_SECONDS)
    assert error_of(answer, 500) == "The server's database is busy. Try again later." and answer.headers["Retry-After"]
    assert "could not be read" in caplog.text


def test_who_looks_ends_with_the_last_who_waits(running: Job, ask: Ask, aside: AskAside) -> None:
    for _ in range(3):
        ask(running.id, {"Prefer": "wait=1"})
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "waits"])


@pytest.mark.parametrize(
    ("took_seconds", "ahead", "expected"), [(None, 1, 5), (4, 1, 6), (4, 3, 14), (0, 0, 1), (3600, 0, 60)]
)
def test_retry_after_is_estimated_from_the_place_and_what_jobs_take(
    app: Flask, upload: Upload, ask: Ask, separator: FastSeparator, finished: Callable[[str], Job], desk: Desk,
    took_seconds: int | None, ahead: int, expected: int,
) -> None:  # fmt: skip
    if took_seconds is not None:
        done = finished(upload().json["data"]["id"])
        change(app, Job, started_at=done.finished_at - timedelta(seconds=took_seconds))
    separator.hold()
    separator.started.clear()
    job_of(app, upload())
    assert separator.started.wait(60)
    waiting_jobs = [job_of(app, upload()) for _ in range(max(1, ahead))]
    answer = ask(waiting_jobs[-1].id, {})
    assert answer.json["data"]["queue_position"] == max(1, ahead)
    assert int(answer.headers["Retry-After"]) == expected


def test_retry_after_follows_the_progress_of_what_runs(app: Flask, running: Job, ask: Ask) -> None:
    until(lambda: ask(running.id, {}).json["data"].get("progress") == 42)
    change(app, Job, started_at=utcnow() - timedelta(seconds=21))
    assert 28 <= int(ask(running.id, {}).headers["Retry-After"]) < 60  # more, as the machine is slower


def test_who_finishes_has_no_retry_after(client: FlaskClient, account: Account, done: Callable[..., Job]) -> None:
    answer = client.get(URL, query_string={"id": done().id}, headers=account.headers)
    assert "Retry-After" not in answer.headers and "Preference-Applied" not in answer.headers
