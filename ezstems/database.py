"""The database: the declarative base, its migrations, and how SQLite is set up."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask, current_app
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, MetaData, NullPool, create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError, TimeoutError
from sqlalchemy.orm import DeclarativeBase

from ezstems import database_server
from ezstems.database_watch import DatabaseWatch

BUSY_TIMEOUT_SECONDS = 30
WATCH = "database watch"  # among the app's extensions
_FSYNC_SKIPPED = "fsync skipped"
_WATCHED = "watched"


class Base(DeclarativeBase):
    """Name constraints, so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# What was committed needs no second look: a job that was stored must not be refused because reading it back failed.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
MIGRATIONS = str(Path(__file__).with_name("migrations"))
migrate = Migrate(db=db, directory=MIGRATIONS)


def init_app(app: Flask) -> None:
    """Bind the tables and their migrations to the app's database."""
    app.config["SQLALCHEMY_DATABASE_URI"] = app.config["EZSTEMS_DATABASE_URL"]
    # One for each thread that usually needs one: requests, separations, housekeeping; and one to spare.
    options: dict[str, Any] = {"pool_size": app.config["EZSTEMS_THREADS"] + app.config["EZSTEMS_SEPARATIONS"] + 2}
    if app.config["EZSTEMS_DATABASE_URL"].get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": BUSY_TIMEOUT_SECONDS}
        # Every thread may have one; the number of threads is bounded elsewhere. Those that wait for the one writer must
        # not keep connections from those that only read.
        options["max_overflow"] = -1
    else:
        options |= database_server.engine_options(app.config["EZSTEMS_DATABASE_URL"])
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    db.init_app(app)
    migrate.init_app(app)
    app.extensions[WATCH] = watch = DatabaseWatch()
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            _set_up_sqlite(db.engine, sqlite_file(), watch)
        else:
            database_server.Outage(db.engine)
            database_server.lose_rollbacks_with_the_connection(db.engine)


def current_watch() -> DatabaseWatch:
    """Return the watch over the present app's database."""
    return current_app.extensions[WATCH]


def sqlite_file() -> Path | None:
    """Return the path of SQLite's file; None where the database is another kind, or in memory."""
    url = db.engine.url
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(url.database or "")


def url_to_show() -> str:
    """Return the database's URL without its secrets."""
    return db.engine.url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def connect_if_there() -> Iterator[Connection | None]:
    """Lend a connection that creates no database and sets nothing up in one; None where SQLite has no file."""
    path = sqlite_file()
    if path is None:
        with db.engine.connect() as connection:
            yield connection
    elif not path.exists():
        yield None
    else:
        opened = partial(sqlite3.connect, _uri_of_existing(path), uri=True, timeout=BUSY_TIMEOUT_SECONDS)
        with create_engine("sqlite://", creator=opened, poolclass=NullPool).connect() as connection:
            yield connection


def skip_fsync_once() -> None:
    """Commit the session's next transaction without waiting for the disk: a power cut may lose it, and it alone."""
    connection = db.session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
        connection.info[_FSYNC_SKIPPED] = True
    elif connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


@event.listens_for(db.session, "before_commit")
def _require_database(_session: Any) -> None:
    current_watch().require()


def is_busy(error: BaseException | None) -> bool:
    """Tell whether an error means that others keep the database, or all connections to it, busy."""
    if isinstance(error, TimeoutError):  # every connection is in use
        return True
    if not isinstance(error, OperationalError):
        return False
    # Any other OperationalError of SQLite is about its file; a server's is about the connection, a lock, or its stop.
    return not isinstance(error.orig, sqlite3.Error) or "is locked" in str(error.orig)


def _uri_of_existing(path: Path) -> str:
    """Return the URI by which SQLite opens a file and never creates one."""
    return f"file:{quote(os.fsencode(path))}?mode=rw"


def _set_up_sqlite(engine: Engine, path: Path | None, watch: DatabaseWatch) -> None:
    @event.listens_for(engine, "do_connect")
    def open_existing(_dialect: Any, _record: Any, arguments: list[str], options: dict[str, Any]) -> None:
        watch.require()
        if path is not None:
            arguments[0], options["uri"] = _uri_of_existing(path), True

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: a commit that was answered with 200 must survive a power cut, which WAL with NORMAL does not promise.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()
        if path is not None:
            watch.opened(path)
            record.info[_WATCHED] = True

    @event.listens_for(engine, "close")
    def count_closed(_connection: Any, record: Any) -> None:
        if record.info.pop(_WATCHED, False):
            watch.closed()

    @event.listens_for(engine, "checkin")
    def restore_fsync(connection: Any, record: Any) -> None:
        if record.info.pop(_FSYNC_SKIPPED, False) and connection is not None:
            connection.execute("PRAGMA synchronous=FULL")
