"""The one queue of a cluster, on a real PostgreSQL: who claims what, what goes back, and whether indexes are used."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event, func, select, text

from ezstems.database import db
from ezstems.jobs import Desk, tickets
from ezstems.jobs.celery_app import make_celery
from ezstems.jobs.turn import TICKETS, turn
from ezstems.models import (
    COMPLETED,
    PROCESSING,
    QUEUED,
    Delivery,
    IdempotencyKey,
    Job,
    SeparationWorker,
    User,
    Webhook,
    shared_queue,
)
from tests.support.backends import Postgres
from tests.support.clocks import Clock

DEAD_SECONDS = 60.0
ROWS = text(
    "INSERT INTO jobs (id, second, stems, user_id, cutoff, output, original_name, filename, size_bytes, status, "
    "progress, crashes, created_at) SELECT n || '_2', n, 2, :user, 'full', 'wav', 'a.wav', n || '.wav', 1, "
    ":status, 0, 0, timezone('UTC', now()) - interval '90 seconds' "
    "FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) n"
)


@pytest.fixture
def app(postgres: Postgres, make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Flask]:
    name, store = postgres.new_database(), tmp_path / "store"
    store.mkdir()
    urls = {"database_url": postgres.url_of(name), "storage_url": f"file://{store}"}
    app = make_app(broker_url="redis://127.0.0.1:1/0", **urls)
    with app.app_context():
        db.session.execute(text("INSERT INTO users (email, plan, password_hash, created_at) "
                                "VALUES ('a@b.c', 'basic', '', now())"))  # fmt: skip
        db.session.commit()
        yield app
        db.session.remove()
        db.engine.dispose()
    postgres.drop(name)


def fill(status: str, first: int, last: int) -> None:
    user = db.session.scalar(text("SELECT id FROM users"))
    db.session.execute(ROWS, {"user": user, "status": status, "first": first, "last": last})
    db.session.commit()


def beat(worker: str) -> None:
    SeparationWorker.beat(worker, host="a box", pid=1, model="a model")


def test_each_is_claimed_once_and_in_order(app: Flask) -> None:
    fill(QUEUED, 1, 40)

    def claim_all(owner: str) -> list[int]:
        claimed = []
        with app.app_context():
            while (number := shared_queue.claim_next(owner)) is not None:
                claimed.append(number)
                assert Job.is_run_by(number, owner)
                assert Job.fail(number, owner, "over")
        return claimed

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(claim_all, [f"owner {number}" for number in range(8)]))
    assert sorted(number for claimed in claims for number in claimed) == list(range(1, 41))
    assert all(claimed == sorted(claimed) for claimed in claims)


def test_a_claim_whose_answer_was_lost_is_answered_again(app: Flask) -> None:
    fill(QUEUED, 1, 2)
    assert [shared_queue.claim_next("me"), shared_queue.claim_next("me"), shared_queue.claim_next("you")] == [1, 1, 2]
    assert shared_queue.claim_next("they") is None


def test_what_dead_processes_ran_goes_back_as_suspects(app: Flask) -> None:
    fill(QUEUED, 1, 4)
    for owner in ("living", "dead", "gone"):
        beat(owner)
        shared_queue.claim_next(owner)
    db.session.execute(text("UPDATE workers SET seen_at = seen_at - interval '61 seconds' WHERE id = 'dead'"))
    db.session.commit()
    SeparationWorker.leave("gone")
    assert [tuple(row) for row in shared_queue.give_back(DEAD_SECONDS)] == [(2, "2_2", 1), (3, "3_2", 1)]
    assert shared_queue.give_back(DEAD_SECONDS) == []
    assert shared_queue.places([1, 2, 3, 4]) == {2: 1, 3: 2, 4: 3} and shared_queue.places([4]) == {4: 3}
    assert not Job.is_run_by(2, "dead")  # who comes back from a cut network stops, and settles nothing
    assert not Job.complete(2, "dead", clipped={})
    assert SeparationWorker.models_of_living(DEAD_SECONDS) == ["a model"]
    assert 90 <= shared_queue.oldest_wait_seconds() < 200


def test_the_long_dead_are_forgotten_with_what_they_left(app: Flask) -> None:
    fill(QUEUED, 1, 1)
    beat("dead")
    shared_queue.claim_next("dead")
    assert Job.complete(1, "dead", clipped={})
    assert SeparationWorker.long_dead(DEAD_SECONDS) == []
    db.session.execute(text("UPDATE workers SET seen_at = seen_at - interval '1 day'"))
    db.session.commit()
    assert SeparationWorker.long_dead(DEAD_SECONDS) == ["dead"]
    assert [job.filename for job in shared_queue.forget("dead")] == ["1.wav"]
    assert SeparationWorker.long_dead(DEAD_SECONDS) == []


def test_a_turn_is_one_processs_at_a_time(app: Flask) -> None:
    with turn(TICKETS) as first:
        with turn(TICKETS) as second:
            assert (first, second) == (True, False)
        with turn(TICKETS + 1) as other:
            assert other
    with turn(TICKETS) as again:
        assert again


def test_the_plans_use_indexes(app: Flask) -> None:
    fill(COMPLETED, 1, 100_000)
    fill(QUEUED, 100_001, 110_000)
    db.session.execute(text("ANALYZE jobs"))
    db.session.commit()

    def explained(act: Callable[[], object]) -> str:
        """Return the plans of what an act executes."""
        statements: list[tuple[str, object]] = []

        def note(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
            statements.append((statement, values))

        event.listen(db.engine, "before_cursor_execute", note)
        try:
            act()
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
        connection = db.session.connection()
        plans = [connection.exec_driver_sql(f"EXPLAIN {one}", values).scalars() for one, values in statements]
        found = "\n".join(line for lines in plans for line in lines)
        db.session.rollback()
        return found

    claim = explained(lambda: shared_queue.claim_next("me"))
    assert "ix_jobs_queued" in claim and "Seq Scan" not in claim, claim
    for numbers in ([109_999], [100_010, 105_000, 109_999]):
        places = explained(lambda numbers=numbers: shared_queue.places(numbers))
        assert "ix_jobs_queued" in places and "Seq Scan" not in places, places
    for act in (lambda: shared_queue.length(2000), lambda: shared_queue.length_up_to(5), lambda: shared_queue.first(9),
                shared_queue.oldest_wait_seconds):  # fmt: skip
        found = explained(act)
        assert "ix_jobs_queued" in found and "Seq Scan on jobs" not in found, found
    back = explained(lambda: shared_queue.give_back(DEAD_SECONDS))
    assert re.search("ix_jobs_(status|owner)", back) and "Seq Scan on jobs" not in back, back
    assert db.session.scalar(select(func.count()).where(Job.status == PROCESSING)) == 0  # which had no living owner


def test_a_broker_that_is_away_is_told_by_who_has_no_turn_and_while_nothing_waits(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets, "COMPARE_EVERY_SECONDS", 0.02)
    sender, notes = tickets.Tickets(app, make_celery(app.config)), list[str | None]()
    monkeypatch.setattr(sender, "_note", notes.append)
    with turn(TICKETS) as is_ours:  # another's, to that thread
        assert is_ours
        sender.start()
        deadline = time.monotonic() + 60
        while len(notes) < 4:
            assert time.monotonic() < deadline, notes
            time.sleep(0.01)
    sender.stop(10)
    assert all(note is not None and note.startswith("the broker can't be reached") for note in notes)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_box_with_a_wrong_clock_takes_nothing_that_another_is_about(
    app: Flask, minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = db.session.scalars(select(User.id)).one()
    Webhook.set_url(user_id, "https://example.com")
    assert Delivery.test(user_id) is not None
    (delivery,) = Delivery.due(1, (), ())
    assert Delivery.lease(delivery, "a claim")
    db.session.commit()
    claim, _ = IdempotencyKey.take(user_id, "a key")
    assert claim is not None
    Clock(monkeypatch).jump(minutes=minutes)
    assert Delivery.due(1, (), ()) == []
    assert IdempotencyKey.take(user_id, "a key")[0] is None
    assert Delivery.settle(delivery.id, "a claim", delivered=False)
    assert Delivery.resend(delivery.id) and len(Delivery.due(1, (), ())) == 1


def test_who_waits_is_told_of_all_boxes_separations(app: Flask) -> None:
    desk: Desk = app.extensions["ezstems"]
    fill(COMPLETED, 1, 1)
    fill(QUEUED, 2, 9)
    db.session.execute(text("UPDATE jobs SET started_at = '2026-01-01', finished_at = '2026-01-01 00:00:08' "
                            "WHERE status = 'completed'"))  # fmt: skip
    last = db.session.scalars(select(Job).order_by(Job.number.desc())).first()
    assert last is not None and desk.estimate.seconds_left(last, 8) == 60  # as nobody lives: 68 s
    for number in range(4):
        beat(f"{number}")
    desk.estimate._looked_seconds = float("-inf")
    assert desk.estimate.seconds_left(last, 8) == 23


def test_one_that_is_claimed_while_it_is_asked_for_was_the_next(app: Flask) -> None:
    desk: Desk = app.extensions["ezstems"]
    fill(QUEUED, 1, 3)
    jobs = db.session.scalars(select(Job).order_by(Job.number)).all()
    assert list(desk.positions(jobs).values()) == [1, 2, 3]
    db.session.execute(text("UPDATE jobs SET status = 'processing' WHERE number = :first"), {"first": jobs[0].number})
    assert jobs[0].status == QUEUED, "as it was read"
    assert list(desk.positions(jobs).values()) == [1, 1, 2]
