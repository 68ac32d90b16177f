"""What an answer costs the database: how many statements, and which commits wait for the disk."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from ezstems.database import db
from ezstems.models import User
from tests.conftest import ON_POSTGRESQL, PASSWORD, Account
from tests.support.multipart import Upload, job_of
from tests.support.separators import FastSeparator
from tests.support.sessions import log_in

STRICT, RELAXED = "strict", "relaxed"
KINDS = {2: STRICT, 1: RELAXED, "on": STRICT, "off": RELAXED}  # PRAGMA synchronous: FULL, NORMAL; synchronous_commit


@contextmanager
def statements(app: Flask, *, of_all_threads: bool = False) -> Iterator[list[str]]:
    """Collect what this thread, or any, tells the app's database."""
    told: list[str] = []
    here = threading.get_ident()  # the housekeeping has its own

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if of_all_threads or threading.get_ident() == here:
            told.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield told
    event.remove(engine, "before_cursor_execute", note)


@contextmanager
def commits(app: Flask) -> Iterator[list[str]]:
    """Collect how strictly each commit that follows a change keeps it."""
    kept: list[str] = []

    def note(connection: Any) -> None:
        raw = connection.connection.dbapi_connection
        if connection.dialect.name == "postgresql":
            changed = raw.execute("SELECT pg_current_xact_id_if_assigned()").fetchone()[0]
            asked = "SHOW synchronous_commit"
        else:
            changed, asked = raw.in_transaction, "PRAGMA synchronous"
        if changed:
            kept.append(KINDS[raw.execute(asked).fetchone()[0]])

    with app.app_context():
        engine = db.engine
    event.listen(engine, "commit", note)
    yield kept
    event.remove(engine, "commit", note)


def test_places_in_another_workers_queue_cost_a_list_one_query_however_long_it_is(
    app: Flask, make_app: Callable[..., Flask], account: Account, upload: Upload, separator: FastSeparator
) -> None:
    separator.hold()
    job_of(app, upload())
    assert separator.started.wait(60)
    elsewhere = make_app()
    client = elsewhere.test_client()
    log_in(client, account.email)
    counts = []
    for _ in range(2):
        waiting = [job_of(app, upload()) for _ in range(4)]
        for path in ("/songs/states", "/songs"):
            with statements(elsewhere) as told:
                assert client.get(path).status_code == 200
            assert len([statement for statement in told if "row_number" in statement]) == 1
            counts.append(len(told))
    assert counts[:2] == counts[2:]
    states = {s["id"]: s["queue_position"] for s in client.get("/songs/states").json["data"]}
    assert [states[job.id] for job in waiting] == [5, 6, 7, 8]


def test_a_status_call_looks_up_the_key_counts_and_looks_up_the_job(
    app: Flask, account: Account, done: Callable[..., Any]
) -> None:
    job = done()
    client = app.test_client()
    with statements(app) as told:
        assert client.get(f"/api/v1/status.php?id={job.id}", headers=account.headers).status_code == 200
    words = [statement.split()[0] for statement in told]
    skip_fsync = "SET" if ON_POSTGRESQL else "PRAGMA"
    assert words == ["SELECT", skip_fsync, "UPDATE", "SELECT"], told


def test_counting_a_call_does_not_wait_for_the_disk_and_accepting_a_job_does(
    app: Flask, account: Account, upload: Upload, separator: FastSeparator
) -> None:
    separator.hold()
    client = app.test_client()
    with commits(app) as kept:
        client.get("/api/v1/keys.php", headers=account.headers)
    assert kept == [RELAXED]
    with commits(app) as kept:
        answer: TestResponse = upload()
    assert answer.status_code == 200
    assert kept[:2] == [RELAXED, STRICT], "an accepted job survives a power cut"
    assert RELAXED not in kept[1:]


def test_the_password_of_an_account_that_is_being_made_costs_the_database_nothing(app: Flask) -> None:
    with app.app_context(), statements(app) as told:
        User(email="new@example.com", plan="basic").set_password(PASSWORD)
    assert told == []
