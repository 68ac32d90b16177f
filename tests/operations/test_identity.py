"""Instance folder and database carry one id: a pair that isn't one instance's is refused, and nothing is touched."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy.engine import make_url

from ezstems import database
from ezstems.database import db
from ezstems.errors import ConfigurationError
from ezstems.instance import home, identity
from ezstems.models import User
from tests.support.servers import Server

Run = Callable[..., Result]
ADD = ("users", "add", "a@example.com", "--password", "a password")
OTHER_ID = "f" * 32
SONG = "results/1700000000_2.zip"


def database_of(folder: Path) -> Path:
    return folder / "ezstems.sqlite3"


def execute(database: Path, *statements: str) -> list[Any]:
    with closing(sqlite3.connect(database, timeout=30)) as rows:
        found = [rows.execute(statement).fetchall() for statement in statements]
        rows.commit()
        return found[-1]


def ids(folder: Path, file: Path | None = None) -> tuple[str | None, str | None]:
    """Return the ids that a folder and a database hold."""
    own, held = folder / identity.ID_FILE, execute(file or database_of(folder), "SELECT id FROM instances")
    return own.read_text() if own.exists() else None, held[0][0] if held else None


def everything(*places: Path) -> dict[str, Any]:
    """Return all that lies at some places: the bytes of files, the rows of databases."""
    found: dict[str, Any] = {}
    for place in places:
        for path in [place, *place.rglob("*")] if place.exists() else []:
            if path.is_file() and path.name != ".lock" and not path.name.endswith(("-wal", "-shm")):
                is_database = path.suffix == ".sqlite3" and path.stat().st_size
                found[str(path)] = list(dump(path)) if is_database else path.read_bytes()
    return found


def dump(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as rows:
        return list(rows.iterdump())


def add_song(folder: Path) -> None:
    (folder / SONG).parent.mkdir(exist_ok=True)
    (folder / SONG).write_bytes(b"a song")


@pytest.fixture
def start(make_app: Callable[..., Flask]) -> Callable[..., Flask]:
    """Return a starter of apps that hold nothing open afterwards."""

    def begin(folder: Path, **settings: Any) -> Flask:
        app = make_app(instance=folder, **settings)
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
        return app

    return begin


@pytest.fixture
def made(start: Callable[..., Flask], instance: Path) -> Path:
    """Return an instance folder with an account and a song; nobody has it open."""
    with start(instance).app_context():
        assert User.register("a@example.com", "basic", None, "a password")
        db.session.remove()
        db.engine.dispose()
    add_song(instance)
    return instance


@pytest.fixture
def refused(start: Callable[..., Flask]) -> Callable[..., str]:
    """Return a starter that must be refused in a line, and touch nothing."""

    def begin(folder: Path, database: Path | None = None, **settings: Any) -> str:
        if database is not None:
            settings["database_url"] = f"sqlite:///{database}"
        before = everything(folder, *([database] if database else []))
        with pytest.raises(ConfigurationError) as error:
            start(folder, **settings)
        assert everything(folder, *([database] if database else [])) == before
        told = str(error.value)
        assert "\n" not in told and str(folder) in told and "ezstems instance adopt" in told
        return told

    return begin


def test_a_new_instance_gets_one_id_and_keeps_it(start: Callable[..., Flask], instance: Path) -> None:
    start(instance)
    own, held = ids(instance)
    assert own == held and own is not None and re.fullmatch("[0-9a-f]{32}", own)
    assert oct((instance / identity.ID_FILE).stat().st_mode & 0o777) == "0o600"
    assert not [*instance.glob(home.PARTS)]
    start(instance)
    assert ids(instance) == (own, held)


def test_one_of_before_is_bound_with_all_it_has(made: Path, start: Callable[..., Flask]) -> None:
    execute(database_of(made), "DELETE FROM instances")
    (made / identity.ID_FILE).unlink()
    start(made)
    own, held = ids(made)
    assert own == held is not None and (made / SONG).exists()
    assert execute(database_of(made), "SELECT email FROM users") == [("a@example.com",)]


@pytest.mark.parametrize("lost", ["gone", "without a byte", "without a table", "new"])
def test_one_of_before_with_songs_and_a_lost_database_is_refused(
    made: Path, refused: Callable[..., str], lost: str
) -> None:
    (made / identity.ID_FILE).unlink()
    lose(database_of(made), lost)
    assert "holds songs, but the database sqlite:////" in refused(made)
    assert database_of(made).exists() == (lost != "gone")


def lose(database: Path, how: str) -> None:
    if how == "new":
        execute(database, "DELETE FROM instances", "DELETE FROM users")
        return
    database.unlink()
    if how == "without a byte":
        database.touch()
    elif how == "without a table":
        execute(database, "CREATE TABLE x (y)", "DROP TABLE x")


@pytest.mark.parametrize("lost", ["gone", "without a byte", "without a table", "new"])
def test_a_bound_folder_with_songs_and_a_lost_database_is_refused(
    made: Path, run: Run, refused: Callable[..., str], lost: str
) -> None:
    lose(database_of(made), lost)
    assert "is lost, or belongs to others, nothing was touched" in refused(made)
    assert database_of(made).exists() == (lost != "gone")
    # So is every command; the one that makes what is lacking, too.
    for command in (ADD, ("users", "list"), ("jobs", "prune")):
        assert "holds songs" in str(run(*command, code=1).exception)
    assert (made / SONG).exists() and database_of(made).exists() == (lost != "gone")


def test_an_older_unbound_database_under_a_bound_folder_with_songs_is_refused(
    made: Path, refused: Callable[..., str]
) -> None:
    execute(database_of(made), "DELETE FROM instances")
    assert "is bound to none" in refused(made)


@pytest.mark.parametrize("left", ["uploads/w.1.part", None])
def test_a_bound_folder_without_songs_takes_a_new_database(
    made: Path, start: Callable[..., Flask], left: str | None
) -> None:
    own, _ = ids(made)
    (made / SONG).unlink()
    if left:  # half an upload is no song
        (made / left).write_bytes(b"half")
    database_of(made).unlink()
    start(made)
    assert ids(made) == (own, own)


@pytest.mark.parametrize("value", ["", "x", "F" * 32, "0" * 31])
def test_an_id_that_is_none_is_refused(made: Path, refused: Callable[..., str], value: str) -> None:
    (made / identity.ID_FILE).write_text(value)
    assert "nothing was touched" in refused(made)
    (made / SONG).unlink()
    execute(database_of(made), "DELETE FROM instances")
    assert f"must hold 32 hexadecimal digits, not {value!r}" in refused(made)


def test_another_database_is_refused(
    made: Path, tmp_path: Path, start: Callable[..., Flask], refused: Callable[..., str]
) -> None:
    own, _ = ids(made)
    start(tmp_path / "other")
    other = database_of(tmp_path / "other")
    told = refused(made, other)
    assert f"has the id {own}, the database sqlite:///{other} has {ids(other.parent)[0]}" in told
    # Without songs it is none the less.
    (made / SONG).unlink()
    refused(made, other)
    start(made)
    start(tmp_path / "other")


@pytest.mark.parametrize("there", [False, True])
def test_another_folder_is_refused_and_not_even_made(
    made: Path, tmp_path: Path, refused: Callable[..., str], there: bool
) -> None:
    other = tmp_path / "other"
    if there:
        other.mkdir()
    told = refused(other, database_of(made))
    assert "belongs to another instance folder" in told
    assert other.exists() == there and not [*other.glob("*")]


def test_a_password_in_the_url_is_not_told(app: Flask) -> None:
    with app.app_context():
        engine = db.engine
        engine.url = make_url("postgresql://someone:secret@host/name?password=secret")
        assert database.url_to_show() == "postgresql://someone:***@host/name"


def test_a_binding_that_was_cut_short_is_ended(made: Path, start: Callable[..., Flask]) -> None:
    # A first one: the row is there, the file isn't the folder's yet.
    own, _ = ids(made)
    (made / identity.ID_FILE).rename(part(made, own))
    start(made)
    assert ids(made) == (own, own) and not [*made.glob(home.PARTS)]
    # A later one, of a pair that had an id before.
    part(made, OTHER_ID).write_text(OTHER_ID)
    execute(database_of(made), f"UPDATE instances SET id = '{OTHER_ID}'")
    start(made)
    assert ids(made) == (OTHER_ID, OTHER_ID) and not [*made.glob(home.PARTS)]
    # One that never reached the database.
    part(made, "0" * 32).write_text("0" * 32)
    start(made)
    assert ids(made) == (OTHER_ID, OTHER_ID)
    execute(database_of(made), "DELETE FROM instances")
    (made / identity.ID_FILE).unlink()
    start(made)
    own, held = ids(made)
    assert own == held not in (None, OTHER_ID, "0" * 32) and not [*made.glob(home.PARTS)]


def test_a_binding_that_ends_while_it_is_looked_at_is_no_other_folders(
    made: Path, start: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, (own, _), look = start(made), ids(made), identity.database_id
    (made / identity.ID_FILE).rename(part(made, own))

    def look_while_it_ends() -> str | None:
        held = look()
        part(made, own).rename(made / identity.ID_FILE)
        return held

    monkeypatch.setattr(identity, "database_id", look_while_it_ends)
    with app.app_context():
        identity.require_match(home.FolderHome(made))
    assert ids(made) == (own, own)


def part(folder: Path, new: str | None) -> Path:
    return folder / f"instance_id.{new}.part"


def test_two_folders_that_bind_one_database_at_once(made: Path, tmp_path: Path) -> None:
    shared = made.rename(tmp_path / "was") / "ezstems.sqlite3"
    execute(shared, "DELETE FROM instances")
    code = (
        "import time; from ezstems import create_app; from ezstems.instance import identity; bind = identity.bind\n"
        "def slow(*a, **o):\n    time.sleep(1); return bind(*a, **o)\n"
        "identity.bind = slow; create_app()"
    )
    folders = [tmp_path / name for name in ("first", "second")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"EZSTEMS_INSTANCE": str(folder), "EZSTEMS_DATABASE_URL": f"sqlite:///{shared}"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    told = [process.communicate(timeout=60)[1] for process in processes]
    won = [folder for folder, process in zip(folders, processes, strict=True) if process.returncode == 0]
    assert len(won) == 1, told
    assert ids(won[0], shared)[0] == ids(won[0], shared)[1]
    assert "belongs to another instance folder" in "".join(told)


def test_two_servers_on_one_database(tmp_path: Path) -> None:
    first = Server(tmp_path / "first")
    with first:
        (tmp_path / "second").mkdir()
        database = database_of(first.instance)
        (tmp_path / "second" / "config.py").write_text(f"EZSTEMS_DATABASE_URL = 'sqlite:///{database}'\n")
        second = Server(tmp_path / "second").refuse()
        assert second.returncode != 0 and second.stdout == ""
        told = second.stderr.splitlines()
        assert len(told) == 1 and told[0].startswith("ezstems: the database ") and str(database) in told[0]
        assert [path.name for path in (tmp_path / "second").iterdir()] == ["config.py"]
        assert first.command("instance", "show").splitlines()[1].split()[-1] == ids(first.instance)[1]


def test_show_tells_both_and_whether_they_fit(made: Path, run: Run, tmp_path: Path) -> None:
    own, _ = ids(made)
    shown = run("instance", "show").output.splitlines()
    assert [line.split(maxsplit=1) for line in shown if not line.startswith("its")] == [
        ["folder", str(made)],
        ["files", "1, 1 of which no row names"],
        ["database", f"sqlite:///{database_of(made)}"],
        ["accounts", "1"],
        ["jobs", "0"],
    ]
    assert [line.split()[-1] for line in shown if line.startswith("its")] == [own, own]
    before = everything(made)
    database_of(made).rename(tmp_path / "elsewhere")
    told = run("instance", "show", code=1).output
    assert "(not there, or empty)" in told and "a start is refused: the instance folder" in told
    assert not database_of(made).exists()
    (tmp_path / "elsewhere").rename(database_of(made))
    assert everything(made) == before


def test_adopting_binds_the_pair_and_no_former_partner(
    made: Path, run: Run, tmp_path: Path, start: Callable[..., Flask], refused: Callable[..., str]
) -> None:
    older = tmp_path / "older.sqlite3"
    shutil.copy(database_of(made), older)
    execute(older, f"UPDATE instances SET id = '{OTHER_ID}'", "DELETE FROM users")
    shutil.copytree(made, former := tmp_path / "former")
    older.replace(database_of(made))
    refused(made)
    before = everything(made)
    asked = run("instance", "adopt", code=1, typed="n\n").output
    assert f"Bind {made} with 1 files and sqlite:///{database_of(made)} with 0 accounts and 0 jobs" in asked
    assert "1 files that no row names go to lost/ at the next sweep" in asked
    assert everything(made) == before
    assert run("instance", "adopt", typed="y\n").output.splitlines()[-1].startswith(f"bound {made} with 1 files")
    start(made)
    own, held = ids(made)
    assert own == held not in (None, OTHER_ID, ids(former)[0])
    # The database that the folder had, and the folder that the database had: neither fits any more.
    assert "not one instance's" in refused(made, database_of(former))
    assert "not one instance's" in refused(former, database_of(made))


@pytest.mark.parametrize("lost", ["gone", "without a byte", "new", "malformed"])
def test_adopting_works_where_a_start_is_refused(
    made: Path, run: Run, start: Callable[..., Flask], refused: Callable[..., str], lost: str
) -> None:
    if lost == "malformed":
        (made / identity.ID_FILE).write_text("x")
    else:
        lose(database_of(made), lost)
    refused(made)
    run("instance", "adopt", "--yes")
    start(made)
    own, held = ids(made)
    assert own == held is not None and (made / SONG).exists()


def test_a_killed_adoption_leaves_one_pair_or_the_other(
    made: Path, run: Run, start: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _ = ids(made)

    class Killed(BaseException):
        pass

    def die(*_arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:  # before the row
        patched.setattr(identity, "delete", die)
        with pytest.raises(Killed):
            run("instance", "adopt", "--yes")
    start(made)
    assert ids(made) == (own, own)
    with monkeypatch.context() as patched:  # before the file has its name
        patched.setattr(Path, "replace", die)
        with pytest.raises(Killed):
            run("instance", "adopt", "--yes")
    start(made)
    renewed, held = ids(made)
    assert renewed == held not in (own, None)


def test_nothing_is_swept_where_a_start_is_refused(made: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    os.utime(made / SONG, (0, 0))
    database_of(made).unlink()
    refused(made)
    assert (made / SONG).read_bytes() == b"a song"


@pytest.mark.parametrize("folder", ["not there", "empty"])
@pytest.mark.parametrize(
    "command",
    [
        "users list", "users set-plan a@example.com --plan pro", "users delete a@example.com --yes",
        "users set-password a@example.com --password x", "keys list", "keys add a@example.com", "keys revoke 1",
        "models list", "jobs list", "jobs show 1_2", "jobs retry 1_2", "jobs delete 1_2", "jobs prune",
        "backup b.tar", "instance show", "instance adopt --yes",
    ],
)  # fmt: skip
def test_a_command_that_has_nothing_to_do_makes_no_instance(
    run: Run, instance: Path, folder: str, command: str
) -> None:
    if folder == "empty":
        instance.mkdir()
    result = run(*command.split(), code=1)
    told = result.output or str(result.exception)
    assert f"there is no instance in {instance}" in told and len(told.splitlines()) == 1
    assert instance.exists() == (folder == "empty") and not [*instance.glob("*")]
