"""The database: the declarative base, its migrations, and SQLite's manners."""

from pathlib import Path
from typing import Any

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData, event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase

BUSY_TIMEOUT_SECONDS = 30
_RELAXED = "relaxed"


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
migrate = Migrate(db=db, directory=str(Path(__file__).with_name("migrations")))


def init_app(app: Flask) -> None:
    """Bind the tables and their migrations to the app's database."""
    app.config["SQLALCHEMY_DATABASE_URI"] = app.config["EZSTEMS_DATABASE_URL"]
    # A connection for every thread that may want one at a time: requests, separations, housekeeping.
    options: dict[str, Any] = {"pool_size": app.config["EZSTEMS_THREADS"] + app.config["EZSTEMS_SEPARATIONS"] + 2}
    if app.config["EZSTEMS_DATABASE_URL"].startswith("sqlite:"):
        options["connect_args"] = {"timeout": BUSY_TIMEOUT_SECONDS}
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    db.init_app(app)
    migrate.init_app(app)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            _set_up_sqlite(db.engine)


def relax() -> None:
    """Let the session's next commit not wait for the disk: a power cut may forget it, and it alone."""
    connection = db.session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
        connection.info[_RELAXED] = True


def is_missing() -> bool:
    """Tell whether SQLite's file was taken away; open connections go on writing to what nobody will find again."""
    return db.engine.dialect.name == "sqlite" and not Path(db.engine.url.database or "").exists()


def _set_up_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: a commit that was answered with 200 must survive a power cut, which WAL with NORMAL does not promise.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "checkin")
    def be_strict(connection: Any, record: Any) -> None:
        if record.info.pop(_RELAXED, False) and connection is not None:
            connection.execute("PRAGMA synchronous=FULL")
