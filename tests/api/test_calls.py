"""Counting calls: what waits together is written together, and nobody's call is lost or let in by that."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest
from flask import Flask
from sqlalchemy import Connection, create_engine, select, update
from sqlalchemy.exc import OperationalError

from ezstems.database import db
from ezstems.models import ApiKey, calls
from tests.api.test_queries import commits, statements
from tests.conftest import Account
from tests.jobs.test_stops import until

STATUS = "/api/v1/status.php?id=1_2"
THREADS = 12
Answer = TypeVar("Answer")


@contextmanager
def writer(app: Flask) -> Iterator[Connection]:
    """Keep all others from writing to the database; in PostgreSQL, from counting calls."""
    with app.app_context():
        engine = create_engine(db.engine.url)
    with engine.connect() as connection:
        is_sqlite = engine.dialect.name == "sqlite"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_sqlite else "LOCK TABLE api_keys IN EXCLUSIVE MODE")
        yield connection
    engine.dispose()


def gather(app: Flask, pool: ThreadPoolExecutor, call: Callable[[int], Answer], count: int) -> list[Future[Answer]]:
    """Have one call wait for the database's writer, and all others for that one."""
    with app.app_context():
        counter = calls.current_counter()
    with statements(app, of_all_threads=True) as told:
        answers = [pool.submit(call, 0)]
        until(lambda: any(statement.startswith("UPDATE") for statement in told))
    answers += [pool.submit(call, number) for number in range(1, count)]
    until(lambda: len(counter._waiting) == count - 1)
    return answers


def test_calls_that_wait_for_the_writer_share_its_next_transaction(
    app: Flask, make_account: Callable[..., Account]
) -> None:
    few, many = (make_account(f"{limit}@example.com", rate_limit=limit) for limit in (3, 100))

    def call(number: int) -> tuple[int, int, str]:
        headers = (few, many)[number % 2].headers
        answer = app.test_client().get(STATUS, headers=headers)
        return number % 2, answer.status_code, answer.headers["X-RateLimit-Remaining"]

    with commits(app) as kept, ThreadPoolExecutor(THREADS) as pool:
        with writer(app):
            answers = gather(app, pool, call, THREADS)
        answered = sorted(answer.result(30) for answer in answers)
    assert len(kept) == 2, "the one that waited for the writer, then all the others"
    assert answered == [(0, 403, "0")] * 3 + [(0, 404, str(left)) for left in range(3)] + [
        (1, 404, str(left)) for left in range(94, 100)
    ]
    with app.app_context():
        assert sorted(db.session.scalars(select(ApiKey.window_calls))) == [3, 6]


def test_a_key_that_is_deactivated_while_its_call_waits_is_refused(app: Flask, account: Account) -> None:
    def call(_number: int) -> int:
        return app.test_client().get(STATUS, headers=account.headers).status_code

    with ThreadPoolExecutor(2) as pool:
        with writer(app) as connection:
            answers = gather(app, pool, call, 2)
            connection.execute(update(ApiKey).values(is_active=False))
            connection.commit()
        assert [answer.result(30) for answer in answers] == [401, 401]
    with app.app_context():
        assert db.session.scalars(select(ApiKey.window_calls)).one() == 0


def test_when_the_database_fails_every_call_of_the_batch_does_and_the_next_does_not(
    app: Flask, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("disk I/O error"))

    def call(_number: int) -> int:
        return app.test_client().get(STATUS, headers=account.headers).status_code

    with ThreadPoolExecutor(THREADS) as pool:
        with writer(app):
            answers = gather(app, pool, call, THREADS)
            monkeypatch.setattr(calls, "skip_fsync_once", fail)
        assert sorted(answer.result(30) for answer in answers) == [404] + [500] * (THREADS - 1)
        monkeypatch.undo()
        assert list(pool.map(call, range(THREADS))) == [404] * THREADS
    with app.app_context():
        assert db.session.scalars(select(ApiKey.window_calls)).one() == 1 + THREADS


def test_where_even_the_rollback_fails_nobody_waits_for_ever(
    app: Flask, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = threading.Event()
    rollback = db.session.rollback

    def fail() -> None:
        broken.set()
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("disk I/O error"))

    def fail_once() -> None:
        rollback()
        if broken.is_set():
            broken.clear()
            raise OperationalError("ROLLBACK", {}, sqlite3.OperationalError("disk I/O error"))

    def call(_number: int) -> int:
        return app.test_client().get(STATUS, headers=account.headers).status_code

    with ThreadPoolExecutor(THREADS) as pool:
        with writer(app):
            answers = gather(app, pool, call, THREADS)
            monkeypatch.setattr(calls, "skip_fsync_once", fail)
            monkeypatch.setattr(db.session, "rollback", fail_once)
        assert sorted(answer.result(30) for answer in answers) == [404] + [500] * (THREADS - 1)
        monkeypatch.undo()
        assert pool.submit(call, 0).result(30) == 404
