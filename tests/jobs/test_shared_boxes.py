"""What boxes of a cluster do to each other: clocks that differ, processes given up, seats, turns, deletions."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from ezstems.database import db
from ezstems.errors import ServerFull, StorageAway
from ezstems.jobs import Desk, retention, storage
from ezstems.jobs.bucket import Bucket
from ezstems.jobs.runner import Runner
from ezstems.jobs.separation_process import SeparationProcess
from ezstems.jobs.storage import open_archive
from ezstems.jobs.turn import TICKETS, turn
from ezstems.jobs.watchdog import RunningJob
from ezstems.models import COMPLETED, QUEUED, Job, SeparationWorker, User, rows, shared_queue, utcnow
from tests.support.backends import Postgres
from tests.support.separators import FastSeparator

pytestmark = pytest.mark.usefixtures("no_housekeeping")


@pytest.fixture
def app(postgres: Postgres, make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Flask]:
    (tmp_path / "store").mkdir()
    name = postgres.new_database()
    settings = {"database_url": postgres.url_of(name), "storage_url": f"file://{tmp_path}/store", "queue_size": 5}
    app = make_app(broker_url="redis://127.0.0.1:1/0", **settings)
    with app.app_context():
        db.session.add(User(email="a@b.c", plan="basic", password_hash=""))
        db.session.commit()
        yield app
        db.session.remove()
        db.engine.dispose()
    postgres.drop(name)


@pytest.fixture
def objects(app: Flask) -> Bucket:
    found = storage.bucket_of(app)
    assert found is not None
    return found


def names(objects: Bucket) -> set[str]:
    return {str(each.key) for folder in ("uploads", "results", "lost") for each in objects.list(folder)}


def upload(app: Flask, song: bytes) -> int:
    """Hand a song in; return its job's number."""
    desk: Desk = app.extensions["ezstems"]
    with app.app_context():
        incoming = desk.incoming()
        incoming.write(song)
        user = db.session.scalars(select(User)).one()
        options = {"stems": 2, "cutoff": "full", "output": "wav"}
        return desk.submit(user, incoming, name="a.wav", extension="wav", **options).number


def claim(owner: str) -> int | None:
    """Claim the next job, as a process that lives."""
    SeparationWorker.beat(owner, host="a box", pid=1, model="a model")
    return shared_queue.claim_next(owner)


def test_who_stands_still_loses_the_turn(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezstems.jobs.turn.LONGEST_SECONDS", 1)

    def take() -> bool:
        with app.app_context(), turn(TICKETS) as is_ours:
            return is_ours

    with pytest.raises(OperationalError), turn(TICKETS) as first:
        assert first
        deadline = time.monotonic() + 60
        while not take():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert take()


def test_seats_are_exact_over_boxes(app: Flask, make_app: Callable[..., Flask], tmp_path: Path, song: bytes) -> None:
    settings = {"database_url": app.config["EZSTEMS_DATABASE_URL"], "storage_url": app.config[storage.URL]}
    other = make_app(instance=tmp_path / "other", broker_url="redis://127.0.0.1:1/0", queue_size=5, **settings)

    def try_upload(box: Flask) -> bool:
        try:
            return bool(upload(box, song))
        except ServerFull as error:
            assert "5 jobs are waiting" in str(error)
            return False

    with ThreadPoolExecutor(12) as pool:
        taken = list(pool.map(try_upload, [app, other] * 6))
    assert sum(taken) == 5 == db.session.scalar(select(func.count()).where(Job.status == QUEUED))
    assert len(list(storage.bucket_of(app).list("uploads"))) == 5  # type: ignore[union-attr]


def test_a_result_of_who_was_given_up_goes_and_the_others_stays(
    app: Flask, separator: FastSeparator, objects: Bucket, song: bytes
) -> None:
    number = upload(app, song)
    runners = {name: Runner(app, name, open_archive(app, name), separator, lambda: False) for name in ("slow", "new")}
    slow = runners["slow"]._archive
    pack = slow.pack

    def stand_still(*arguments: Any) -> int:
        """Pack; be taken for dead before the row says so, while another one does it all."""
        size_bytes = pack(*arguments)
        with app.app_context():
            SeparationWorker.leave("slow")
            shared_queue.give_back(60)
            assert claim("new") == number
        runners["new"].run(number, RunningJob(number))
        return size_bytes

    slow.pack = stand_still  # type: ignore[method-assign]
    assert claim("slow") == number
    runners["slow"].run(number, RunningJob(number))
    job = db.session.get_one(Job, number, populate_existing=True)
    assert (job.status, job.owner) == (COMPLETED, "new")
    results = {f"results/{job.id}.new.{kind}" for kind in ("zip", "peaks")}
    assert names(objects) - {f"uploads/{job.upload_key}"} == results


def test_what_ends_while_it_is_deleted_leaves_no_result(
    app: Flask, separator: FastSeparator, objects: Bucket, song: bytes
) -> None:
    job = db.session.get_one(Job, upload(app, song))
    archive = open_archive(app, "new")
    runner = Runner(app, "new", archive, separator, lambda: False)

    def end_and_delete(number: int) -> bool:
        assert claim("new") == number
        runner.run(number, RunningJob(number))
        assert len(names(objects)) >= 2
        return Job.delete(number)

    assert retention.expire_and_delete(archive, job, end_and_delete)
    assert names(objects) == set()


def test_an_account_is_deleted_while_it_uploads(
    app: Flask, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, song: bytes
) -> None:
    for name in ("DATABASE_URL", "STORAGE_URL", "BROKER_URL"):
        value = app.config[f"EZSTEMS_{name}"]
        monkeypatch.setenv(f"EZSTEMS_{name}", value if isinstance(value, str) else value.render_as_string(False))
    job = db.session.get_one(Job, upload(app, song))
    facts = {each.name: getattr(job, each.name) for each in Job.__table__.columns if each.name != "number"}
    assert User.lock(job.user_id)
    db.session.add(Job(**facts | {"id": "1_2", "second": 1, "upload_key": "another.wav"}))
    db.session.flush()
    waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with ThreadPoolExecutor(1) as pool:
        deleted = pool.submit(run, "users", "delete", "a@b.c", "--yes")
        deadline = time.monotonic() + 60
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watch:
            while not watch.scalar(waits):
                assert time.monotonic() < deadline and not deleted.done()
                time.sleep(0.05)
        db.session.commit()
        assert "with 2 jobs" in deleted.result().output
    assert db.session.scalar(select(func.count()).select_from(Job)) == 0


@pytest.mark.parametrize("hours", [5, -5])
def test_a_box_whose_clock_is_wrong_expires_nothing_and_dates_nothing(
    app: Flask, separator: FastSeparator, song: bytes, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    numbers = [upload(app, song) for _ in range(2)]
    for number in numbers:
        assert claim("me") == number
        Runner(app, "me", open_archive(app, "me"), separator, lambda: False).run(number, RunningJob(number))
    Job.update_if(numbers[0], finished_at=utcnow() - timedelta(hours=70))
    ended = dict(db.session.execute(select(Job.number, Job.finished_at)).tuples().all())
    now = rows.datetime.now
    monkeypatch.setattr(rows, "datetime", SimpleNamespace(now=lambda zone: now(zone) + timedelta(hours=hours)))
    sweeper = retention.Sweeper(open_archive(app, "sweeper"), 72)
    sweeper.sweep_when_due()
    kept = Job.kept().with_only_columns(Job.number, Job.finished_at)
    assert dict(db.session.execute(kept).tuples().all()) == ended


def test_what_a_process_is_said_to_run_and_does_not_waits_again(
    app: Flask, separator: FastSeparator, song: bytes
) -> None:
    tickets: Any = SimpleNamespace(send=lambda *_: None)
    process = SeparationProcess(app, separator, tickets, lambda: False)
    number = upload(app, song)
    process._heartbeat.beat_if_due()
    assert shared_queue.claim_next(process.id) == number  # and the answer is lost, or the database is an older copy
    with process._ticket:
        process._give_back()
        assert Job.is_run_by(number, process.id)
    process._give_back()
    job = db.session.get_one(Job, number, populate_existing=True)
    assert (job.status, job.owner, job.crashes) == (QUEUED, None, 0)


def test_a_store_that_was_exchanged_is_away(app: Flask, objects: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezstems.jobs.bucket.PROBE_EVERY_SECONDS", -1.0)
    assert not objects.is_away()
    own = objects.read(PurePath("instance_id"))
    objects.put(PurePath("instance_id"), b"0" * 32)
    assert objects.is_away()
    with pytest.raises(StorageAway):
        objects.require_there()
    objects.put(PurePath("instance_id"), own)
    assert not objects.is_away()
    objects.require_there()


def test_a_name_that_no_key_can_have_takes_no_store_away(
    app: Flask, objects: Bucket, separator: FastSeparator, song: bytes, tmp_path: Path, caplog: Any
) -> None:
    number = upload(app, song)
    assert claim("me") == number
    Runner(app, "me", open_archive(app, "me"), separator, lambda: False).run(number, RunningJob(number))
    Job.update_if(number, finished_at=utcnow() - timedelta(hours=73))
    (tmp_path / "store" / "uploads" / "two\nlines.wav").write_bytes(b"x")
    retention.Sweeper(open_archive(app, "sweeper"), 72).sweep_when_due()
    assert Job.is_gone(number)  # what expires, does
    assert "can't be listed until its operator deletes what has such a name" in caplog.text
    assert "can't be reached" not in caplog.text.replace("the broker can't be reached", "")
    assert not objects.is_away()
