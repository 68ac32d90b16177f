"""The database: the declarative base, its migrations, and SQLite's manners."""

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

from ezstems.database_watch import DatabaseWatch

BUSY_TIMEOUT_SECONDS = 30
EXTENSION = "watch"
_RELAXED = "relaxed"
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
    # So many stay open, for the threads that want one at a time in daily life: requests, separations, housekeeping.
    options: dict[str, Any] = {"pool_size": app.config["EZSTEMS_THREADS"] + app.config["EZSTEMS_SEPARATIONS"] + 2}
    if app.config["EZSTEMS_DATABASE_URL"].get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": BUSY_TIMEOUT_SECONDS}
        # Every thread may have one; how many threads there are is bounded elsewhere. Those that wait for the one writer
        # must not keep the others, who would only read, from a connection.
        options["max_overflow"] = -1
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    db.init_app(app)
    migrate.init_app(app)
    app.extensions[EXTENSION] = watch = DatabaseWatch()
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            _set_up_sqlite(db.engine, file(), watch)


def current_watch() -> DatabaseWatch:
    """Return the watch over the files of the app at hand."""
    return current_app.extensions[EXTENSION]


def file() -> Path | None:
    """Return SQLite's file; None where the database is in memory, or another server's."""
    url = db.engine.url
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(url.database or "")


def name() -> str:
    """Return the database's URL without what is secret in it."""
    return db.engine.url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def look() -> Iterator[Connection | None]:
    """Lend a connection that makes no database and changes no setting of one; None where SQLite has no file."""
    path = file()
    if path is None:
        with db.engine.connect() as connection:
            yield connection
    elif not path.exists():
        yield None
    else:
        opened = partial(sqlite3.connect, _existing(path), uri=True, timeout=BUSY_TIMEOUT_SECONDS)
        with create_engine("sqlite://", creator=opened, poolclass=NullPool).connect() as connection:
            yield connection


def relax() -> None:
    """Let the session's next commit not wait for the disk: a power cut may forget it, and it alone."""
    connection = db.session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
        connection.info[_RELAXED] = True


@event.listens_for(db.session, "before_commit")
def _require_database(_session: Any) -> None:
    current_watch().require()


def is_busy(error: BaseException | None) -> bool:
    """Tell whether an error means that the database, or the way to it, is taken up by others at this moment."""
    if isinstance(error, TimeoutError):  # every connection is in use
        return True
    if not isinstance(error, OperationalError):
        return False
    # What else SQLite calls operational is about its file. Of a server it is the way to it, a lock, or its own stop.
    return not isinstance(error.orig, sqlite3.Error) or "is locked" in str(error.orig)


def _existing(path: Path) -> str:
    """Return the name by which SQLite opens a file and never makes one."""
    return f"file:{quote(os.fsencode(path))}?mode=rw"


def _set_up_sqlite(engine: Engine, path: Path | None, watch: DatabaseWatch) -> None:
    @event.listens_for(engine, "do_connect")
    def open_the_same(_dialect: Any, _record: Any, arguments: list[str], options: dict[str, Any]) -> None:
        watch.require()
        if path is not None:
            arguments[0], options["uri"] = _existing(path), True

    @event.listens_for(engine, "connect")
    def pragmas(connection: Any, record: Any) -> None:
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
    def count(_connection: Any, record: Any) -> None:
        if record.info.pop(_WATCHED, False):
            watch.closed()

    @event.listens_for(engine, "checkin")
    def be_strict(connection: Any, record: Any) -> None:
        if record.info.pop(_RELAXED, False) and connection is not None:
            connection.execute("PRAGMA synchronous=FULL")
