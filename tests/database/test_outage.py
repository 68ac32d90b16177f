"""PostgreSQL goes away while the server works, and comes back: nothing is lost, and the log says so twice."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from ezstems.database import db
from tests.support.backends import Postgres
from tests.support.callers import Caller
from tests.support.servers import Server

GONE, BACK = "the database can't be reached", "the database is back after"


@pytest.fixture
def mortal() -> Iterator[Postgres]:
    """Return a PostgreSQL of the test's own, which keeps what it promised when it is killed."""
    with Postgres(durable=True) as server:
        yield server


def test_killed_in_the_middle_of_a_job(mortal: Postgres, tmp_path: Path, song: bytes) -> None:
    with Server(tmp_path / "instance", database_url=mortal.url) as server:
        caller = Caller(server, server.key())
        server.hold()
        running, waiting = (caller.upload(song)["id"] for _ in range(2))
        caller.wait(running, "processing")
        mortal.kill()
        answers = [caller.get("status.php", id=running), caller.send(song, stems=2), caller.get("keys.php")]
        for answer in answers:
            assert (answer.status_code, answer.headers["Retry-After"]) == (500, "10"), answer.text
            assert answer.json() == {
                "error": "Server busy", "message": "The server's database can't be reached. Try again later."
            }  # fmt: skip
        health = requests.get(f"{server.url}/health", timeout=60)
        assert (health.status_code, health.json()["status"]) == (503, "no database")
        server.release()  # the job ends while nobody can write that down
        time.sleep(5)  # so long that whatever is tried every two seconds was
        mortal.start()
        for job_id in (running, waiting):
            caller.wait(job_id)
            assert caller.get("download.php", id=job_id).status_code == 200
        new = caller.upload(song)["id"]
        caller.wait(new)
        rows = server.rows("SELECT id, status, crashes FROM jobs ORDER BY number")
        assert rows == [{"id": one, "status": "completed", "crashes": 0} for one in (running, waiting, new)]
        log = server.logged(BACK)
        assert (log.count(GONE), log.count(BACK)) == (1, 1), log
        assert "Traceback" not in log
        assert server.uploads() == server.kept_uploads()


def test_a_server_that_is_away_at_the_start_is_told_of_in_one_line(mortal: Postgres, tmp_path: Path) -> None:
    url = mortal.url.replace("ezstems@", "ezstems:secret@") + "?sslpassword=secret"
    server = Server(tmp_path / "instance", database_url=url)
    mortal.stop()
    refused = server.refuse()
    assert refused.returncode != 0
    (line,) = [line for line in refused.stderr.splitlines() if "can't be opened" in line]
    assert f"127.0.0.1:{mortal.port}" in line and "secret" not in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.parametrize("end", ["rollback", "remove", "commit"])
def test_a_connection_that_is_lost_between_a_query_and_its_end(
    end: str, postgres: Postgres, make_app: Callable[..., Flask]
) -> None:
    """What only read is done; what was to be kept is told."""
    name = postgres.new_database()
    app = make_app(database_url=postgres.url_of(name))
    other = create_engine(postgres.url_of(name))
    with app.app_context():
        number = db.session.scalar(text("SELECT pg_backend_pid()"))
        with other.begin() as connection:
            assert connection.scalar(text("SELECT pg_terminate_backend(:n, 60000)"), {"n": number})
        if end == "commit":
            with pytest.raises(OperationalError):
                db.session.commit()
            db.session.rollback()
        else:
            getattr(db.session, end)()
        assert db.session.scalar(text("SELECT pg_backend_pid()")) != number
        db.session.remove()
        db.engine.dispose()
    other.dispose()
    postgres.drop(name)
