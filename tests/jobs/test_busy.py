"""A database that others hold: those who must write are told to come again, nobody else waits."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import exc
from werkzeug.test import TestResponse

from ezstems import database
from ezstems.database import db
from ezstems.web.auth import BAD_KEY
from ezstems.web.errors import BUSY
from tests.conftest import Account
from tests.support.multipart import error_of
from tests.support.servers import Server
from tests.support.sessions import token

THREADS = 2


@pytest.fixture
def app(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Flask:
    """Return an app that waits for the database but a moment."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.1)
    return make_app(threads=THREADS)


@contextmanager
def writer(instance: Path) -> Iterator[None]:
    """Hold the database as whoever writes to it does."""
    with closing(sqlite3.connect(instance / "ezstems.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_calls_that_must_write_get_the_documented_answer(
    client: FlaskClient,
    account: Account,
    instance: Path,
    upload: Callable[..., TestResponse],
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = [
        lambda: client.get("/api/v1/keys.php", headers=account.headers),
        lambda: client.get("/api/v1/status.php?id=1_2", headers=account.headers),
        upload,
    ]
    with writer(instance):
        for call in calls:
            caplog.clear()
            answer = call()
            assert error_of(answer, 500) == BUSY
            assert answer.json["error"] == "Server busy"
            assert answer.headers["Retry-After"] == "10"
            assert "the database is busy: database is locked" in caplog.text and "Traceback" not in caplog.text
        assert error_of(client.get("/api/v1/keys.php", headers={"Authorization": "Bearer no"}), 401) == BAD_KEY
        assert client.get("/health").status_code == 200, "what only reads is answered"
    assert [call().status_code for call in calls] == [200, 404, 200]
    assert list((instance / "uploads").glob("*.part")) == []


def test_pages_that_must_write_say_so(client: FlaskClient, account: Account, instance: Path) -> None:
    sent = {"email": account.email, "password": "any", "csrf_token": token(client)}
    with writer(instance):
        answer = client.post("/login", data=sent)
    assert (answer.status_code, answer.mimetype, answer.headers["Retry-After"]) == (500, "text/html", "10")
    assert "database is busy" in answer.text and "Server busy" in answer.text


def test_a_command_says_so_in_a_line(app: Flask, instance: Path, tmp_path: Path) -> None:
    server = Server(instance)
    server.environ["PYTHONPATH"] += f":{tmp_path}"
    (tmp_path / "sitecustomize.py").write_text("from ezstems import database\ndatabase.BUSY_TIMEOUT_SECONDS = 0.1\n")
    with writer(instance), pytest.raises(AssertionError) as caught:
        server.command("users", "list")
    assert str(caught.value).splitlines()[0].startswith("ezstems: the database")
    assert "is locked" in str(caught.value) and "Traceback" not in str(caught.value)


def test_every_thread_gets_a_connection(app: Flask) -> None:
    together = threading.Barrier(100)

    def hold(_: int) -> int:
        with app.app_context(), db.engine.connect() as connection:
            together.wait(60)
            return connection.exec_driver_sql("SELECT 1").scalar_one()

    with ThreadPoolExecutor(100) as pool:
        assert sum(pool.map(hold, range(100))) == 100


def test_those_who_wait_for_the_writer_keep_nobody_from_reading(tmp_path: Path) -> None:
    waiting = 60
    with Server(tmp_path / "instance", threads=8) as server, ThreadPoolExecutor(waiting) as pool:
        headers = {"Authorization": f"Bearer {server.key()}"}
        url = f"{server.api}/keys.php"
        with writer(server.instance):
            calls = [pool.submit(requests.get, url, headers=headers, timeout=60) for _ in range(waiting)]
            time.sleep(1)  # they arrive; the writer is given up long before they are
            began = time.monotonic()
            assert requests.get(f"{server.url}/health", timeout=60).status_code == 200
            assert time.monotonic() - began < 20  # they wait for 30
            assert not any(call.done() for call in calls)
        assert {call.result().status_code for call in calls} == {200}


@pytest.mark.parametrize(
    ("error", "busy"),
    [
        (exc.OperationalError("x", {}, sqlite3.OperationalError("database is locked")), True),
        (exc.OperationalError("x", {}, sqlite3.OperationalError("database table is locked: jobs")), True),
        (exc.OperationalError("x", {}, sqlite3.OperationalError("disk I/O error")), False),
        (exc.OperationalError("x", {}, sqlite3.OperationalError("unable to open database file")), False),
        (exc.OperationalError("x", {}, Exception("connection to server at 127.0.0.1 failed: refused")), True),
        (exc.OperationalError("x", {}, Exception("canceling statement due to lock timeout")), True),
        (exc.TimeoutError("QueuePool limit of size 5 overflow 10 reached"), True),
        (exc.IntegrityError("x", {}, sqlite3.IntegrityError("UNIQUE constraint failed")), False),
        (TimeoutError("of something else"), False),
        (None, False),
    ],
)
def test_what_is_busy_and_what_is_broken(error: BaseException | None, busy: bool) -> None:
    assert database.is_busy(error) is busy


def test_a_pool_that_is_used_up_gets_the_same_answer(
    client: FlaskClient, account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str) -> None:
        raise exc.TimeoutError("QueuePool limit of size 5 overflow 10 reached")

    monkeypatch.setattr("ezstems.models.ApiKey.find", fail)
    with caplog.at_level(logging.ERROR):
        answer = client.get("/api/v1/keys.php", headers=account.headers)
    assert error_of(answer, 500) == BUSY and answer.headers["Retry-After"] == "10"
    assert "QueuePool limit" in caplog.text
