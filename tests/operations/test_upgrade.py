"""An instance of the first version, with everything in it, is one of today's after a start."""

import secrets
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from click.testing import Result
from flask import Flask
from flask_migrate import upgrade
from werkzeug.security import generate_password_hash

from ezstems import config, create_app, database
from ezstems.database import db
from ezstems.errors import ConfigurationError
from tests.support.callers import Caller
from tests.support.servers import PASSWORD, Server
from tests.support.sessions import enter

FIRST = "0001"
KEYS = {"in use": "a" * 64, "of its own rate": "b" * 64, "revoked": "c" * 64}
# By what became of it: status, crashes, error, has it expired.
JOBS = {
    "completed": ("completed", 0, None, False),
    "broken": ("failed", 0, "The separation failed on the server.", False),
    "expired": ("completed", 0, None, True),
    "running": ("processing", 0, None, False),
    "crashed": ("processing", 1, None, False),
    "first": ("queued", 0, None, False),
    "second": ("queued", 0, None, False),
}
IDS = {name: f"{1_700_000_000 + number}_2" for number, name in enumerate(JOBS)}


def bare_app(folder: Path) -> Flask:
    """Make an app that knows the database and hasn't touched it."""
    app = Flask("ezstems", instance_path=str(folder))
    app.config.update(config.load(folder, {}))
    database.init_app(app)
    return app


def fill(folder: Path, song: bytes) -> None:
    """Put accounts, keys, jobs and files into an instance of the first version."""
    now = datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
    stamp, long_ago = str(now), str(now - timedelta(hours=1))
    with closing(sqlite3.connect(folder / "ezstems.sqlite3")) as rows:
        hashed = generate_password_hash(PASSWORD)
        for number, plan, most in ((1, "basic", None), (2, "custom", 120)):
            values = (number, f"u{number}@example.com", hashed, plan, most, stamp)
            rows.execute("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)", values)
        for number, (what, key) in enumerate(KEYS.items(), 1):
            digest, active, rate = sha256(key.encode()).hexdigest(), what != "revoked", 7 if "rate" in what else None
            rows.execute(
                "INSERT INTO api_keys VALUES (?, 1, ?, ?, ?, ?, NULL, 0, ?, NULL)",
                (number, digest, key[-8:], active, rate, stamp),
            )
        columns = (
            "number, id, second, stems, user_id, cutoff, output, original_name, filename, size_bytes, status, owner, "
            "progress, crashes, error, model, samples, created_at, started_at, finished_at, expired_at"
        )
        for number, (name, (status, crashes, error, expired)) in enumerate(JOBS.items(), 1):
            job_id = IDS[name]
            model, samples, ended = ("official", 441, long_ago) if status in ("completed", "failed") else (None,) * 3
            file = (job_id, int(job_id[:-2]), 2, 1, "11kHz", "wav", "my song.wav", f"{job_id}_00000.wav", len(song))
            values = (number, *file, status, "a worker of then", 0, crashes, error, model, samples)
            values += (long_ago, long_ago, ended, stamp if expired else None)
            rows.execute(f"INSERT INTO jobs ({columns}) VALUES ({', '.join('?' * len(values))})", values)
            if status != "completed":
                (folder / "uploads" / f"{job_id}_00000.wav").write_bytes(song)
            elif not expired:
                with zipfile.ZipFile(folder / "results" / f"{job_id}.zip", "w") as packed:
                    packed.writestr("vocals.wav", song)
        rows.commit()


@pytest.fixture
def old(instance: Path, song: bytes) -> Path:
    """Return an instance folder as the first version left it when its machine lost power."""
    for folder in (instance, instance / "uploads", instance / "results", instance / "workers"):
        folder.mkdir(mode=0o700)
    (instance / "secret_key").write_text(secrets.token_hex(32))
    (instance / "uploads" / "a worker of then.abc.part").write_bytes(b"half")
    (instance / "ezstems.sqlite3").touch(0o600)
    (instance / "workers" / "a worker of then.lock").touch()
    app = bare_app(instance)
    with app.app_context():
        upgrade(revision=FIRST)
        assert db.session.execute(db.text("SELECT version_num FROM alembic_version")).scalars().all() == [FIRST]
        db.session.remove()
        db.engine.dispose()
    fill(instance, song)
    return instance


@pytest.fixture
def server(old: Path) -> Iterator[Server]:
    with Server(old) as running:
        yield running


def test_everything_of_the_first_version_is_there_after_a_start(server: Server, song: bytes) -> None:
    caller = Caller(server, KEYS["in use"])
    assert server.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert server.rows("PRAGMA foreign_key_check") == []
    head = ScriptDirectory(str(Path(database.__file__).with_name("migrations"))).get_current_head()
    assert server.rows("SELECT version_num FROM alembic_version") == [{"version_num": head}]

    # Jobs: what had ended is as it was, what hadn't is done, in the order it had.
    for name in ("running", "crashed", "first", "second"):
        caller.wait(IDS[name])
    assert caller.status(IDS["broken"])["error"] == JOBS["broken"][2]
    assert caller.get("status.php", id=IDS["expired"]).status_code == 404
    done = {name: caller.get("download.php", id=IDS[name]) for name in JOBS if name not in ("broken", "expired")}
    assert {answer.status_code for answer in done.values()} == {200}
    assert "my song" in done["completed"].headers["Content-Disposition"]
    live = "status = 'completed' AND expired_at IS NULL"
    order = [row["id"] for row in server.rows(f"SELECT id FROM jobs WHERE {live} ORDER BY started_at, number")]
    assert order == [IDS[name] for name in done]
    assert server.parts() == []
    assert server.command("jobs", "retry", IDS["broken"]) == f"job {IDS['broken']} is queued again"
    caller.wait(IDS["broken"])

    # Keys and accounts.
    def limit_of(key: str) -> str | None:
        return Caller(server, key).get("keys.php").headers.get("X-RateLimit-Limit")

    assert [limit_of(key) for key in KEYS.values()] == ["1000000", "7", None]
    assert Caller(server, KEYS["revoked"]).get("keys.php").status_code == 401
    caller.wait(caller.upload(song)["id"])
    browser = enter(server.url, "u1@example.com")
    assert "my song" in browser.get(f"{server.url}/songs", timeout=60).text

    # The next start has nothing to do; a command makes the same one.
    server.stop()
    tables = ("SELECT sql FROM sqlite_master ORDER BY name", "SELECT * FROM jobs", "SELECT * FROM users")
    before = [server.rows(query) for query in tables]
    listed = server.command("users", "list")
    assert [server.rows(query) for query in tables] == before
    assert "u1@example.com  basic   30" in listed and "u2@example.com  custom  120" in listed


def test_what_a_newer_version_made_is_refused_in_one_line(run: Callable[..., Result], instance: Path) -> None:
    run("users", "add", "a@example.com", "--password", "a password")
    with closing(sqlite3.connect(instance / "ezstems.sqlite3")) as rows:
        rows.execute("UPDATE alembic_version SET version_num = '9999'")
        rows.commit()
    with pytest.raises(ConfigurationError, match="newer version of EzStems"):
        create_app({"EZSTEMS_INSTANCE": instance})
