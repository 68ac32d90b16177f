"""The hot queries find their rows by indexes, however many there are: PostgreSQL's plans with 110,000 jobs."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path, PurePath
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text

from ezstems.database import db
from ezstems.jobs import recovery, retention
from ezstems.jobs.bucket import Bucket
from ezstems.jobs.estimate import Estimate
from ezstems.jobs.preview_maker import newest_completed
from ezstems.jobs.store_archive import StoreArchive
from ezstems.jobs.waiting import Waits
from ezstems.models import (
    ApiKey,
    Attempt,
    Delivery,
    IdempotencyKey,
    Job,
    Session,
    User,
    count_call,
    free_second,
    own_queue,
    utcnow,
)
from ezstems.web.api.jobs import asked
from ezstems.web.job_lookup import job_of

OWNER = "a" * 32
ROWS = f"""
    INSERT INTO users (id, email, password_hash, plan, created_at)
        SELECT n, n || '@example.com', '', 'basic', now() FROM generate_series(1, 1000) n;
    INSERT INTO api_keys (user_id, key_hash, tail, is_active, window_calls, created_at)
        SELECT 1 + n % 1000, md5(n::text), '', true, 0, now() FROM generate_series(1, 3000) n;
    INSERT INTO jobs (id, second, stems, user_id, cutoff, output, original_name, filename, size_bytes, status, owner,
            progress, crashes, created_at, finished_at, expired_at)
        SELECT n || '_2', n, 2, 1 + n % 1000, 'full', 'wav', 'a.wav', n || '.wav', 1,
            CASE WHEN n <= 100000 THEN 'completed' ELSE 'queued' END, '{OWNER}', 0, 0, now(),
            CASE WHEN n <= 100000 THEN now() - n * interval '3 seconds' END,
            CASE WHEN n > 50000 AND n <= 100000 THEN now() END
        FROM generate_series(1, 110000) n;
    INSERT INTO sessions (token_hash, user_id, created_at, seen_at)
        SELECT md5(n::text), 1 + n % 1000, now(), now() - n * interval '1 minute' FROM generate_series(1, 20000) n;
    INSERT INTO deliveries (message_id, user_id, job_id, event, url, host, body, state, attempts, next_at, tried_at,
            created_at)
        SELECT n, 1 + n % 1000, n || '_2', 'job.completed', 'https://a.example/', n % 9 || '.example', '{{}}',
            CASE WHEN n <= 50000 THEN 'delivered' ELSE 'pending' END, 1, now() - (50100 - n) * interval '4 seconds',
            CASE WHEN n <= 50000 THEN now() - (50100 - n) * interval '4 seconds' END,
            now() - (50100 - n) * interval '4 seconds'
        FROM generate_series(1, 50100) n;
    INSERT INTO idempotency_keys (user_id, key, claim, created_at, leased_until)
        SELECT 1 + n % 1000, n, n, now() - n * interval '4 seconds', now() FROM generate_series(1, 20000) n;
    INSERT INTO attempts (kind, slot, ends_at, count)
        SELECT 'login from', n, now() + n * interval '1 minute', 1 FROM generate_series(1, 20000) n;
    ANALYZE;
"""


@pytest.fixture
def crowded(app: Flask) -> Iterator[Flask]:
    """Return an app with many rows."""
    with app.app_context():
        for statement in ROWS.split(";"):
            if statement.strip():
                db.session.execute(text(statement))
        db.session.commit()
        yield app


def plans(act: Callable[[], Any]) -> list[str]:
    """Return the plan of each query that something makes."""
    told: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            cursor.execute(f"EXPLAIN {statement}", values)
            told.append("\n".join(row[0] for row in cursor.fetchall()))

    event.listen(db.engine, "before_cursor_execute", explain)
    try:
        act()
    finally:
        event.remove(db.engine, "before_cursor_execute", explain)
        db.session.rollback()
    assert told
    return told


def listed(app: Flask, query: str) -> object:
    """List an account's jobs as jobs.php does."""
    with app.test_request_context(f"/?{query}"):
        return db.session.scalars(asked(5)).all()


def test_no_hot_query_reads_a_whole_table(crowded: Flask) -> None:
    user = db.session.get_one(User, 5)
    key = db.session.get_one(ApiKey, 5)
    long_ago = utcnow() - timedelta(hours=72)
    archive = StoreArchive(Bucket("file:///nowhere"), Path("scratch"), OWNER)
    hot: dict[str, Callable[[], Any]] = {
        "find a key": lambda: ApiKey.find("nobody's"),
        "count a call": lambda: count_call(key, 100, 60),
        "find an own job": lambda: job_of(user, "5004_2"),
        "find a free id": lambda: free_second(2, 109_990),
        "count an account's unfinished jobs": lambda: Job.unfinished(5),
        "lock an account": lambda: User.lock(5),
        "claim": lambda: Job.claim(100_500, OWNER),
        "report": lambda: Job.report(100_500, OWNER, 5),
        "is it gone": lambda: Job.is_gone(100_500),
        "complete": lambda: Job.complete(100_500, OWNER, clipped={}, model="x", samples=1, result_bytes=1),
        "who waits": lambda: own_queue.waiting("b" * 32),
        "adopt": lambda: recovery._adopt_from(None, OWNER),
        "the last upload": Job.last_created_at,
        "past their retention": lambda: db.session.scalars(Job.kept().where(Job.finished_at <= long_ago)).all(),
        "a session": lambda: User.of_session("nobody's"),
        "prune sessions": lambda: Session.prune(5),
        "end sessions": lambda: Session.end_all(5),
        "count an attempt": lambda: Attempt.wait_seconds("login from", 77, 5, 60),
        "begin a window": lambda: Attempt.wait_seconds("login to", 7, 5, 60),
        "list jobs": lambda: listed(crowded, ""),
        "list jobs by ids": lambda: listed(crowded, "ids=5004_2,6004_2"),
        "list jobs of a status": lambda: listed(crowded, "status=completed&before=99004_2&limit=10"),
        "an account's webhooks": lambda: Delivery.last(20, 5),
        "messages to send": lambda: Delivery.due(8, ["1.example"], [7]),
        "lease a message": lambda: Delivery.lease(db.session.get_one(Delivery, 50_050), "me"),
        "settle a message": lambda: Delivery.settle(50_050, "me", delivered=True, state="delivered"),
        "misdated messages": Delivery.hasten_misdated,
        "prune messages": lambda: Delivery.prune(long_ago),
        "claim an upload's key": lambda: IdempotencyKey.take(5, "4"),
        "prune upload's keys": lambda: IdempotencyKey.prune(long_ago),
        "who waits for an end": lambda: Waits(crowded)._unfinished(db.session.connection(), {100_001, 100_002}),
        "how long jobs take": lambda: Estimate(lambda: 1).seconds_left(db.session.get_one(Job, 100_500), 5),
        "what waits and runs": Job.unfinished_by_status,
        "who may lack previews": newest_completed,
        "rows of objects": lambda: retention._rows_of(archive, [PurePath("uploads", f"{n}.wav") for n in range(100)]),
        "log in": lambda: User.with_address("7@example.com"),
    }
    # Of one row each.
    small = ("Seq Scan on instances", "Seq Scan on webhooks")
    for name, act in hot.items():
        for plan in plans(act):
            lines = [line for line in plan.splitlines() if "Seq Scan" in line and not any(one in line for one in small)]
            assert not lines, f"{name}:\n{plan}"


def test_a_query_without_an_index_would_be_seen(crowded: Flask) -> None:
    (plan,) = plans(lambda: db.session.execute(text("SELECT * FROM jobs WHERE original_name = 'b.wav'")))
    assert "Seq Scan on jobs" in plan
