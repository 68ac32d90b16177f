"""The instance folder: whatever it lacks is made, and the database migrated, before anything else looks at it."""

import logging
import os
import secrets
import shutil
from pathlib import Path

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy.exc import SQLAlchemyError

from ezstems import disk
from ezstems.audio.files import turn
from ezstems.database import db
from ezstems.errors import ConfigurationError

log = logging.getLogger(__name__)


def prepare(app: Flask) -> None:
    """Make the folder, the secret key and the tables; processes that start at once take turns."""
    folder = Path(app.instance_path)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk.keep_reserve(folder)
        with turn(folder / ".lock"):
            app.config["SECRET_KEY"] = _secret_key(folder / "secret_key")
            with app.app_context():
                if db.engine.dialect.name == "sqlite" and (file := db.engine.url.database):
                    # Hashes of passwords and keys; SQLite gives its other files the same mode.
                    os.close(os.open(file, os.O_CREAT, 0o600))
                try:
                    upgrade()
                except SystemExit as error:  # how Flask-Migrate ends where a revision is unknown
                    hint = "it is of a newer version of EzStems, or damaged; install that version, or restore a backup"
                    raise ConfigurationError(f"the database can't be migrated: {hint}") from error
    except OSError as error:
        raise ConfigurationError(f"the instance folder {folder} must be writable: {error.strerror}") from error
    except SQLAlchemyError as error:
        log.debug("the database can't be opened", exc_info=error)
        if shutil.disk_usage(folder).free < disk.SCARCE_BYTES:
            raise ConfigurationError(f"the disk of {folder} is full; free a megabyte of it, then try again") from error
        raise ConfigurationError(f"the database can't be opened or migrated: {error}") from error


def _secret_key(location: Path) -> bytes:
    if not location.exists():
        beside = location.with_suffix(".part")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.write(secrets.token_hex(32))
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(location)
    return location.read_bytes()
