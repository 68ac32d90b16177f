"""The migrations: from the first tables to the present ones with every row, all or nothing, one process at a time."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_migrate import downgrade
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Engine
from werkzeug.security import generate_password_hash

from ezstems import create_app
from ezstems.database import db
from ezstems.instance import folder as instance_folder
from ezstems.models import ApiKey, User
from tests.conftest import PASSWORD
from tests.support.forks import FORKS
from tests.support.sessions import log_in

HEAD = "0007"
KEY = "k" * 64
# What an instance of the first version held: two accounts, a key, a job.
ROWS = """
    INSERT INTO users VALUES (1, 'a@example.com', '{hash}', 'custom', 200, '2025-01-01 00:00:00'),
        (2, 'b@example.com', '{hash}', 'basic', NULL, '2025-01-02 00:00:00');
    INSERT INTO api_keys VALUES (7, 1, '{key}', 'kkkkkkkk', 1, 50, NULL, 0, '2025-01-03 00:00:00', NULL);
    INSERT INTO jobs VALUES (3, '1735689600_2', 1735689600, 2, 1, '11kHz', 'wav', 'a.wav', '1735689600_2_1.wav', 9,
        'failed', NULL, 0, 0, 'no audio', NULL, NULL, '2025-01-04 00:00:00', NULL, '2025-01-04 00:00:01', NULL);
"""


def database(folder: Path) -> Path:
    return folder / "ezstems.sqlite3"


def contents(folder: Path) -> tuple[list[Any], list[Any]]:
    """Return the schema of an instance's database, and every row of it."""
    with closing(sqlite3.connect(database(folder), timeout=30)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert file.execute("PRAGMA foreign_key_check").fetchall() == []
        schema = file.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        tables = [name for kind, name, _ in schema if kind == "table"]
        return schema, [file.execute(f"SELECT * FROM {name}").fetchall() for name in tables]


def version(folder: Path) -> str:
    with closing(sqlite3.connect(database(folder), timeout=30)) as file:
        return file.execute("SELECT version_num FROM alembic_version").fetchone()[0]


@pytest.fixture
def first(make_app: Callable[..., Flask], instance: Path) -> Path:
    """Return the instance folder, with the first version's tables and rows in it."""
    app = make_app()
    with app.app_context():
        downgrade(revision="0001")
        db.session.remove()
        db.engine.dispose()
    hashed = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")
    with closing(sqlite3.connect(database(instance))) as file:
        file.executescript(ROWS.format(hash=hashed, key=ApiKey.digest(KEY)))
    # Of before the folder and its database had an id; with a song, they must find to each other after any kill.
    (instance / "instance_id").unlink()
    (instance / "uploads" / "1735689600_2_1.wav").write_bytes(b"no audio")
    return instance


@pytest.fixture
def as_first(first: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a maker of copies of that folder."""

    def copy(name: str) -> Path:
        return shutil.copytree(first, tmp_path / name)

    return copy


def start(folder: Path, die_at: int | None, turns: bool, ready: Any) -> None:
    """Start the app in a process of its own; be killed before a statement, or before the end when it has no more."""
    count = 0

    def on_statement(*_: object) -> None:
        nonlocal count
        if count == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    event.listen(Engine, "before_cursor_execute", on_statement)
    event.listen(Engine, "commit", on_statement)
    if not turns:
        instance_folder.exclusive_lock = lambda _location: nullcontext()  # type: ignore[assignment]
    if ready is not None:
        ready.wait(60)
    create_app({"EZSTEMS_INSTANCE": folder, "SEPARATOR": object()})
    os._exit(0)


def run(folder: Path, *, die_at: int | None = None, turns: bool = True, processes: int = 1) -> list[int]:
    """Start the app in processes at once; return their exit codes."""
    ready = FORKS.Barrier(processes) if processes > 1 else None
    started = [FORKS.Process(target=start, args=(folder, die_at, turns, ready)) for _ in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    return [process.exitcode for process in started]


def test_the_tables_are_those_of_the_models(app: Flask) -> None:
    with app.app_context(), db.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), db.metadata) == []
    assert version(Path(app.instance_path)) == HEAD


def test_everything_of_the_first_version_is_there_and_works(first: Path, make_app: Callable[..., Flask]) -> None:
    assert version(first) == "0001"
    app = make_app()
    client = app.test_client()
    keys = client.get("/api/v1/keys.php", headers={"Authorization": f"Bearer {KEY}"}).json["data"]
    assert [(key["id"], key["api_key"], key["rate_limit"]) for key in keys] == [(7, "********kkkkkkkk", 50)]
    job = client.get("/api/v1/status.php?id=1735689600_2", headers={"Authorization": f"Bearer {KEY}"}).json["data"]
    assert (job["status"], job["error"]) == ("failed", "no audio")
    for email, plan in (("a@example.com", "custom"), ("b@example.com", "basic")):
        other = app.test_client()
        assert log_in(other, email).status_code == 302
        assert f"plan {plan}" in other.get("/account").text


def test_an_older_sqlite_that_drops_no_column(
    first: Path, make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SQLiteDialect_pysqlite, "_get_server_version_info", lambda *_: (3, 34, 1))
    statements: list[str] = []
    event.listen(Engine, "before_cursor_execute", heard := lambda *call: statements.append(call[2]))
    try:
        app = make_app()
    finally:
        event.remove(Engine, "before_cursor_execute", heard)
    assert version(first) == HEAD
    assert not [statement for statement in statements if "DROP COLUMN" in statement]
    assert log_in(app.test_client(), "a@example.com").status_code == 302
    with app.app_context():
        assert User.register("new@example.com", "basic", None, PASSWORD) is not None


@pytest.mark.parametrize("revision", ["0002", "0001", "base"])
def test_every_version_can_be_left_and_come_back_to(
    app: Flask, account: object, revision: str, make_app: Callable[..., Flask]
) -> None:
    schema, rows = contents(Path(app.instance_path))
    with app.app_context():
        downgrade(revision=revision)
    make_app()
    again = contents(Path(app.instance_path))
    assert [name for _, name, _ in again[0]] == [name for _, name, _ in schema]
    if revision != "base":
        assert again[1] == rows


@pytest.mark.slow
def test_a_process_killed_at_any_moment_leaves_what_was(as_first: Callable[[str], Path]) -> None:
    before, number = contents(as_first("before")), 0
    while True:
        folder = as_first(f"killed-{number}")
        (code,) = run(folder, die_at=number)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if version(folder) == HEAD:
            # Killed after the commit, by what the app asks next.
            assert run(folder) == [0]
        else:
            assert contents(folder) == before, number
        number += 1
    assert number > 15, "every statement was a moment"
    assert version(folder) == HEAD
    folder = as_first("again")
    assert run(folder, die_at=number // 2) == [-signal.SIGKILL]
    assert run(folder) == [0] and version(folder) == HEAD


def test_processes_that_start_at_once_migrate_once(as_first: Callable[[str], Path]) -> None:
    folder = as_first("at-once")
    assert run(folder, turns=False, processes=4) == [0] * 4
    assert version(folder) == HEAD
