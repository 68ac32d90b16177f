"""The database in use is the one on the disk: what would be lost is refused; no lawful change is taken for a loss."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import URL, text

from ezstems import database
from ezstems.database import current_watch, db
from ezstems.database_watch import LOST, RETRY_AFTER_SECONDS
from ezstems.errors import DatabaseLost
from ezstems.jobs.desk import Desk
from ezstems.models import User
from tests.conftest import Account
from tests.support.callers import Caller
from tests.support.multipart import Upload, job_of
from tests.support.separators import FastSeparator
from tests.support.servers import Server
from tests.support.sessions import token


def replace(file: Path) -> None:
    """Put a copy in a file's place."""
    shutil.copy(file, file.with_name("copy"))
    file.with_name("copy").replace(file)


def move(file: Path) -> None:
    file.parent.rename(file.parent.with_name("moved"))


def move_and_make(file: Path) -> None:
    move(file)
    shutil.copytree(file.parent.with_name("moved"), file.parent)


LOST_ANSWERS = {("health", 503), ("upload", 500)}
GOOD_ANSWERS = {("health", 200), ("upload", 200)}
SLIPS = {
    "database deleted": ("ezstems.sqlite3", Path.unlink),
    "database replaced": ("ezstems.sqlite3", replace),
    "WAL deleted": ("ezstems.sqlite3-wal", Path.unlink),
    "WAL replaced": ("ezstems.sqlite3-wal", replace),
    "shared memory deleted": ("ezstems.sqlite3-shm", Path.unlink),
    "id deleted": ("instance_id", Path.unlink),
    "id replaced": ("instance_id", replace),
    "folder moved": ("ezstems.sqlite3", move),
    "folder replaced": ("ezstems.sqlite3", move_and_make),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_what_would_be_lost_is_refused(
    app: Flask,
    client: FlaskClient,
    upload: Upload,
    account: Account,
    instance: Path,
    caplog: pytest.LogCaptureFixture,
    finished: Callable[..., object],
    no_housekeeping: None,
    slip: str,
) -> None:
    finished(upload().json["data"]["id"])  # while it works, files come and go under who copies them
    browser = app.test_client()
    form = {"email": "new@example.com", "password": "a good password", "csrf_token": token(browser, "/register")}
    assert client.get("/health").status_code == 200
    name, act = SLIPS[slip]
    act(instance / name)
    for answer in (upload(), client.get("/api/v1/keys.php", headers=account.headers)):
        assert (answer.status_code, answer.json["message"]) == (500, LOST)
        assert answer.headers["Retry-After"] == str(RETRY_AFTER_SECONDS)
    page = browser.post("/register", data=form)
    assert page.status_code == 500 and "replaced or deleted" in page.text
    health = client.get("/health")
    assert (health.status_code, health.json["status"], health.json["message"]) == (503, "no database", LOST)
    assert "restart" in LOST
    noticed = [record for record in caplog.records if "while it was in use" in record.getMessage()]
    assert len(noticed) == 1 and name.partition("-")[0] in noticed[0].getMessage()
    assert not (instance / "ezstems.sqlite3").exists() or "database deleted" not in slip, "none is put in its place"


def test_what_comes_back_is_the_same(
    app: Flask, client: FlaskClient, upload: Upload, separator: FastSeparator, desk: Desk, instance: Path,
    finished: Callable[..., object], caplog: pytest.LogCaptureFixture, no_housekeeping: None,
) -> None:  # fmt: skip
    separator.hold()
    running, queued = (job_of(app, upload()) for _ in range(2))
    assert separator.started.wait(60)
    moved = instance.with_name("moved")
    instance.rename(moved)
    assert upload().status_code == 500
    assert not desk._admission.may_begin()
    instance.mkdir()  # somebody makes an empty one; nothing is put there
    for duty in desk._housekeeper._duties:
        duty()
    assert client.get("/health").status_code == 503 and not [*instance.iterdir()]
    instance.rmdir()
    moved.rename(instance)
    assert client.get("/health").status_code == 200
    separator.release()
    assert {finished(job.id).status for job in (running, queued)} == {"completed"}
    assert upload().status_code == 200
    assert "is back in its place" in caplog.text


def test_a_job_ends_when_its_database_is_back_and_the_log_is_not_filled(
    app: Flask, upload: Upload, separator: FastSeparator, instance: Path, finished: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, no_housekeeping: None,
) -> None:  # fmt: skip
    monkeypatch.setattr("ezstems.jobs.runner.RETRY_EVERY_SECONDS", 0.01)
    monkeypatch.setattr("ezstems.jobs.runner.REPORT_EVERY_SECONDS", 0.0)
    separator.hold()
    running = job_of(app, upload())
    waiting = job_of(app, upload())
    assert separator.started.wait(60)
    file, away = instance / "ezstems.sqlite3", instance / "away"
    file.rename(away)
    separator.release()
    deadline = time.monotonic() + 60
    while not (instance / "results" / f"{running.id}.zip").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)  # its end is tried twenty times; and the next must not begin
    assert separator.sources == [running.filename]
    away.rename(file)
    assert finished(running.id).status == finished(waiting.id).status == "completed"
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_a_database_given_to_another_folder_is_noticed(
    app: Flask, client: FlaskClient, desk: Desk, instance: Path, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezstems.jobs.desk.HOUSEKEEPING_EVERY_SECONDS", 0.01)
    desk.start()
    with closing(sqlite3.connect(instance / "ezstems.sqlite3", timeout=30)) as rows:
        rows.execute("UPDATE instances SET id = ?", ("f" * 32,))
        rows.commit()
    deadline = time.monotonic() + 60
    while client.get("/health").status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert upload().status_code == 500


def in_another_process(file: Path, *statements: str) -> None:
    code = (
        "import sqlite3, sys; rows = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n"
        "for statement in sys.argv[2:]: rows.execute(statement).fetchall()\n"
        "rows.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(file), *statements], check=True, timeout=60)


def test_no_lawful_change_is_taken_for_a_loss(make_app: Callable[..., Flask], instance: Path) -> None:
    app = make_app()
    file, wal = instance / "ezstems.sqlite3", instance / "ezstems.sqlite3-wal"

    def use() -> None:
        with app.app_context():
            current_watch().require()
            assert User.register(f"{os.urandom(4).hex()}@example.com", "basic", None, "a good password")
            db.session.remove()
            current_watch().require()

    use()
    for statement in ("PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(RESTART)", "VACUUM", "REINDEX"):
        with app.app_context(), db.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(statement))
        use()
        in_another_process(file, statement, "UPDATE users SET max_mb = NULL")
        use()
    # The last connection of all takes `-wal` with it; whoever comes next makes another.
    for between in (lambda: None, lambda: in_another_process(file, "VACUUM"), lambda: (instance / "x").touch()):
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
            assert not wal.exists()
            between()
            current_watch().require()
            assert not wal.exists()
        use()
        assert wal.exists()
    # While this process has a connection, no other takes it away.
    with app.app_context(), db.engine.connect() as kept:
        kept.execute(text("SELECT 1 FROM users"))
        in_another_process(file, "SELECT * FROM users", "UPDATE users SET max_mb = NULL")
        assert wal.exists()
    use()
    os.utime(file)  # as a checkpoint does
    use()
    for seconds in (1, 2):
        os.utime(instance / "instance_id", (seconds, seconds))
        use()


def test_a_new_database_gets_its_other_files_with_its_first_table(tmp_path: Path) -> None:
    app = Flask("x", instance_path=str(tmp_path))
    app.config.update(EZSTEMS_DATABASE_URL=URL.create("sqlite", database=str(tmp_path / "a?b #%41.sqlite3")))
    app.config.update(EZSTEMS_THREADS=2, EZSTEMS_SEPARATIONS=1)
    database.init_app(app)
    with app.app_context():
        file = database.sqlite_file()
        assert file is not None
        file.touch()
        with db.engine.connect() as connection:
            assert not current_watch().is_lost()
            connection.execute(text("CREATE TABLE x (y)"))
            connection.commit()
            assert [*tmp_path.glob("*-wal")] and not current_watch().is_lost()
            [*tmp_path.glob("*-wal")][0].unlink()
            assert current_watch().is_lost()
        db.engine.dispose()


def test_a_symlinked_database(make_app: Callable[..., Flask], instance: Path, tmp_path: Path) -> None:
    instance.mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real").touch()
    (instance / "ezstems.sqlite3").symlink_to(tmp_path / "disk" / "real")
    app = make_app()
    with app.app_context():
        assert User.register("a@example.com", "basic", None, "a good password")
        (tmp_path / "disk" / "real-wal").rename(tmp_path / "wal")
        with pytest.raises(DatabaseLost):
            User.register("b@example.com", "basic", None, "a good password")
        db.session.rollback()
        (tmp_path / "wal").rename(tmp_path / "disk" / "real-wal")
        replace(instance / "ezstems.sqlite3")
        assert current_watch().is_lost()


@pytest.mark.parametrize("error", [PermissionError, OSError(errno.EIO, "x"), OSError(errno.ESTALE, "x")], ids=str)
def test_a_database_out_of_reach_is_lost_until_it_is_back(
    app: Flask, client: FlaskClient, upload: Upload, monkeypatch: pytest.MonkeyPatch, error: type[OSError] | OSError
) -> None:
    upload()

    def unreachable(*_: object, **__: object) -> os.stat_result:
        raise error

    with monkeypatch.context() as context:
        context.setattr("ezstems.database_watch._stat", unreachable)
        assert (client.get("/health").status_code, upload().status_code) == (503, 500)
        assert not app.extensions["ezstems"]._admission.may_begin()
    assert (client.get("/health").status_code, upload().status_code) == (200, 200)


def test_it_costs_microseconds(app: Flask) -> None:
    with app.app_context():
        db.session.execute(text("SELECT 1"))
        watch = current_watch()
        taken = []
        for _ in range(20):
            started = time.thread_time()
            for _ in range(100):
                watch.require()
            taken.append((time.thread_time() - started) / 100)
        assert min(taken) < 200e-6  # what others do to the processor's caches meanwhile is none of it


@pytest.fixture
def server(instance: Path) -> Iterator[Server]:
    with Server(instance, workers=2) as running:
        yield running


def test_slips_beside_two_workers(server: Server, song: bytes, tmp_path: Path) -> None:
    caller = Caller(server, server.key())
    first = caller.upload(song)["id"]
    caller.wait(first)
    tar = tmp_path / "backup.tar"
    server.command("backup", str(tar))

    def answers() -> set[tuple[str, int]]:
        """Ask both workers for their health, and to take a song."""
        found: dict[str, set[tuple[str, int]]] = {}
        deadline = time.monotonic() + 60
        while len(found) < 2 or any(len(seen) < 2 for seen in found.values()):
            assert time.monotonic() < deadline, found
            health, sent = requests.get(f"{server.url}/health", timeout=30), caller.send(song, stems=2)
            for what, answer in (("health", health), ("upload", sent)):
                found.setdefault(answer.headers["X-Worker"], set()).add((what, answer.status_code))
        return set().union(*found.values())

    # The folder moves; commands find no instance there, and what one makes is not the server's.
    moved = server.instance.with_name("moved")
    server.instance.rename(moved)
    assert answers() == LOST_ANSWERS
    with pytest.raises(AssertionError, match="there is no instance in"):
        server.command("users", "list")
    assert not server.instance.exists()
    server.command("users", "add", "new@example.com", "--password", "a password")
    assert answers() == LOST_ANSWERS
    assert server.command("jobs", "list").count("\n") == 0, "no upload went there"
    shutil.rmtree(server.instance)
    moved.rename(server.instance)
    assert answers() == GOOD_ANSWERS

    # A backup is unpacked over it.
    accepted = {row["id"] for row in server.rows("SELECT id FROM jobs")}
    subprocess.run(["tar", "-xf", str(tar), "-C", str(server.instance)], check=True)
    assert answers() == LOST_ANSWERS
    log = server.logged("ezstems.sqlite3 was replaced while it was in use")
    assert log.count("while it was in use") <= 2 * 3, "one line a worker and slip, not one a call"
    server.stop()

    # What was unpacked is one instance; the songs of since are kept, in no row's name.
    server.start()
    assert answers() == GOOD_ANSWERS
    assert caller.get("download.php", id=first).status_code == 200
    assert len(accepted) > 1
    for job_id in accepted:
        assert [*server.instance.glob(f"*/{job_id}*"), *server.instance.glob(f"lost/*/{job_id}*")], "nothing is deleted"


def test_workers_that_come_later_make_no_instance_where_it_was(server: Server, song: bytes) -> None:
    caller = Caller(server, server.key())
    first = caller.upload(song)["id"]
    caller.wait(first)
    moved = server.instance.with_name("moved")
    server.instance.rename(moved)
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    gone = f"the instance that this server was started with is no longer in the instance folder {server.instance}"
    server.logged(f"nothing is reloaded, the server goes on as it was: {gone}")
    os.kill(server.workers()[0], signal.SIGKILL)
    server.logged(f"this worker can't start, and tries again every 5 seconds: {gone}")
    assert not server.instance.exists()

    # Nor do they take another one for it.
    server.command("users", "add", "new@example.com", "--password", "a password")
    log = server.log.stat().st_size
    while gone not in server.log.read_text()[log:]:
        time.sleep(0.1)
    shutil.rmtree(server.instance)
    moved.rename(server.instance)
    deadline = time.monotonic() + 60
    while server.log.read_text().count(": started with the model") < 3:
        assert time.monotonic() < deadline, server.log.read_text()[-4000:]
        time.sleep(0.1)
    assert caller.get("download.php", id=first).status_code == 200
    assert caller.send(song, stems=2).status_code == 200


def test_a_stop_leaves_no_wal_that_would_spoil_another_database(server: Server, song: bytes) -> None:
    caller = Caller(server, server.key())
    first = caller.upload(song)["id"]
    caller.wait(first)
    server.stop()
    assert [path.name for path in server.instance.glob("ezstems.sqlite3*")] == ["ezstems.sqlite3"]

    # What stood in one that was deleted while it ran is kept by a stop.
    server.start()
    second = caller.upload(song)["id"]
    caller.wait(second)
    (server.instance / "ezstems.sqlite3-wal").unlink()
    server.stop()
    server.start()
    assert [caller.status(job_id)["status"] for job_id in (first, second)] == ["completed", "completed"]
