"""What PostgreSQL takes otherwise than SQLite: NULs, large numbers, tables that are altered in a transaction."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import downgrade, upgrade
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from ezstems import create_app
from ezstems.database import db
from ezstems.jobs import runner
from ezstems.models import Attempt, Job, User, utcnow
from tests.conftest import PASSWORD, Account
from tests.support.backends import Postgres
from tests.support.forks import FORKS
from tests.support.multipart import error_of
from tests.support.sessions import log_in

HUGE = 10**17


def test_a_nul_is_nobodys_address(client: FlaskClient, account: Account) -> None:
    answer = log_in(client, f"{account.email}\0")
    assert (answer.status_code, "is wrong" in answer.text) == (200, True)
    answer = log_in(client, "\0@example.com", password="\0" * 12)
    assert (answer.status_code, "is wrong" in answer.text) == (200, True)


def test_a_nul_in_what_an_upload_says(upload: Callable[..., TestResponse], app: Flask) -> None:
    answer = upload(name="a\0song.wav")
    assert answer.status_code == 200
    with app.app_context():
        assert db.session.scalars(select(Job.original_name)).all() == ["asong.wav"]
    assert error_of(upload(stems="2\0"), 400)
    assert error_of(upload(cutoff="full\0"), 400)
    assert error_of(upload(output="wav\0"), 400)


@pytest.mark.parametrize("job_id", ["1_2\0", "\0", f"{HUGE}_2", "999999999999_2", "\ud800_2", "１_2"])
def test_ids_that_no_row_can_have(client: FlaskClient, account: Account, job_id: str) -> None:
    for endpoint in ("status", "download"):
        answer = client.get(f"/api/v1/{endpoint}.php", query_string={"id": job_id.encode("utf-8", "replace")},
                            headers=account.headers)  # fmt: skip
        assert error_of(answer, 404 if job_id == "999999999999_2" else 400)


def test_a_key_whose_number_no_row_can_have(client: FlaskClient, account: Account) -> None:
    log_in(client, account.email)
    page = client.get("/account").text
    token = page.split('name="csrf-token" content="')[1].split('"')[0]
    for number, status in ((2**31 - 1, 404), (2**31, 404), (HUGE, 404), ("1\0", 400), ("９", 400)):
        answer = client.delete("/api/v1/keys.php", query_string={"id": number}, headers={"X-CSRFToken": token})
        assert error_of(answer, status), number


def test_a_key_that_holds_anything_is_unknown(client: FlaskClient) -> None:
    for key in ("\udcff", "é" * 40, "k" * 4000):
        assert client.get("/api/v1/keys.php", headers={"Authorization": f"Bearer {key}"}).status_code == 401


def test_a_song_of_a_week_and_the_job_after_four_billion(app: Flask, done: Callable[..., Job]) -> None:
    first = done()
    with app.app_context():
        db.session.execute(text("ALTER SEQUENCE jobs_number_seq RESTART WITH 5000000000"))
        db.session.execute(text("UPDATE jobs SET samples = 604800 * 44100::bigint"))
        db.session.commit()
    second = done()
    assert (first.number, second.number) == (1, 5_000_000_000)
    with app.app_context():
        assert db.session.get_one(Job, 1).samples == 604_800 * 44_100


def test_addresses_are_compared_as_they_are_stored(client: FlaskClient, app: Flask) -> None:
    with app.app_context():
        assert User.register("Ünïcode@Example.com", "basic", None, PASSWORD)
        assert User.register("üNÏCODE@example.COM", "basic", None, PASSWORD) is None
    assert log_in(client, " ÜNÏCODE@EXAMPLE.COM ").status_code == 302


def test_attempts_that_are_over_go_whoever_deletes_them(app: Flask) -> None:
    with app.app_context():
        db.session.add_all([Attempt(kind="x", slot=slot, ends_at=utcnow(), count=1) for slot in range(50)])
        db.session.commit()
        # Somebody else changes one at this moment: that one stays, and nobody waits.
        with db.engine.connect() as other:
            other.execute(text("UPDATE attempts SET count = 2 WHERE slot = 7"))
            assert Attempt.wait_seconds("y", 1, 5, 60) == 0
            other.rollback()
        assert db.session.execute(select(Attempt.kind, Attempt.slot)).all() == [("x", 7), ("y", 1)]


@pytest.mark.usefixtures("no_housekeeping")  # its queries and the migrations may wait for each other
def test_up_and_down_and_up(app: Flask, account: Account, done: Callable[..., Job]) -> None:
    done()
    with app.app_context():
        with db.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), db.metadata) == []
        downgrade(revision="0001")
        assert db.session.scalar(text("SELECT count(*) FROM jobs")) == 1
        db.session.remove()
        upgrade()
        with db.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), db.metadata) == []
        assert db.session.scalars(select(Job.status)).all() == ["completed"]
        db.session.remove()
        downgrade(revision="base")
        tables = db.session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        assert tables == ["alembic_version"]


def start(folder: Path, url: str, ready: object) -> None:
    ready.wait(60)  # type: ignore[attr-defined]
    create_app({"EZSTEMS_INSTANCE": folder, "EZSTEMS_DATABASE_URL": url, "SEPARATOR": object()})


def test_boxes_that_start_at_once_migrate_one_after_the_other(postgres: Postgres, tmp_path: Path) -> None:
    """The first of them binds the empty database to its folder; the others are told so."""
    url = postgres.url_of(postgres.new_database())
    ready = FORKS.Barrier(3)
    boxes = [FORKS.Process(target=start, args=(tmp_path / str(box), url, ready)) for box in range(3)]
    for box in boxes:
        box.start()
    for box in boxes:
        box.join(120)
    assert sorted(box.exitcode for box in boxes) == [0, 1, 1]
    assert len(postgres.execute("SELECT id FROM instances", url.rpartition("/")[2])) == 1


@pytest.mark.parametrize("change", ["claim", "complete"])
def test_a_change_that_was_made_though_the_server_could_not_say_so(
    done: Callable[..., Job], app: Flask, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    real, tries = getattr(Job, change), []

    def make_and_lose_the_answer(*arguments: object, **values: object) -> bool:
        tries.append(real(*arguments, **values))
        if len(tries) == 1:
            raise OperationalError("UPDATE", {}, psycopg.OperationalError("server closed the connection"))
        return tries[-1]

    monkeypatch.setattr(runner, "RETRY_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(Job, change, make_and_lose_the_answer)
    job = done()
    assert tries == [True, False] and job.crashes == 0
    assert [path.name for path in (Path(app.instance_path) / "uploads").iterdir()] == [job.filename]
