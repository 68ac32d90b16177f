"""Prepare the instance folder: make what it lacks and migrate its database, before anything else opens them.

Where folder and database aren't one instance's, both are refused and left untouched.
"""

import logging
import os
import secrets
import shutil
from pathlib import Path

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy.exc import SQLAlchemyError

from ezstems import database, disk
from ezstems.errors import ConfigurationError
from ezstems.files import exclusive_lock
from ezstems.instance import identity

log = logging.getLogger(__name__)

KEY_LEAST_BYTES = 16  # ours has 64; an operator's own may be shorter
# The ids of the instances that this process serves, and those that it forks, by their folders.
_served: dict[Path, str | None] = {}


def prepare(app: Flask, *, make: bool = True, adopt: bool = False) -> None:
    """Make the folder, the secret key and the tables; processes that start together do it one after the other.

    Without `make`, refuse where there is no instance. With `adopt`, bind folder and database to each other, whatever
    they were bound to; otherwise refuse, and change, none that aren't one instance's.
    """
    folder = Path(app.instance_path)
    make = make and folder not in _served
    try:
        if folder.exists():
            disk.release_reserve(folder)
        with app.app_context():
            if folder in _served and identity.folder_id(folder) != _served[folder]:
                gone = f"the instance that this server was started with is no longer in {folder}"
                raise ConfigurationError(f"{gone}: put it back, or restart the server")
            if not make:
                _require_instance(folder)
            if not adopt:
                identity.refuse_foreign_database(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive_lock(folder / ".lock"), app.app_context():
            if not adopt:
                identity.require_match(folder)
            _make_private(folder)
            disk.keep_reserve(folder)
            app.config["SECRET_KEY"] = _secret_key(folder / "secret_key")
            if (file := database.sqlite_file()) and not file.exists():
                # Hashes of passwords and keys; SQLite gives its other files the same mode.
                os.close(os.open(file, os.O_CREAT, 0o600))
            try:
                upgrade()
            except SystemExit as error:  # how Flask-Migrate ends where a revision is unknown
                hint = "it is of a newer version of EzStems, or damaged; install that version, or restore a backup"
                raise ConfigurationError(f"the database can't be migrated: {hint}") from error
            database.current_watch().watch_id(folder / identity.ID_FILE, identity.bind(folder, anew=adopt))
    except OSError as error:
        where = f"{error.filename or folder}: {error.strerror}"
        raise ConfigurationError(f"the instance folder {folder} must be writable: {where}") from error
    except SQLAlchemyError as error:
        log.debug("the database can't be opened", exc_info=error)
        if folder.exists() and shutil.disk_usage(folder).free < disk.SCARCE_BYTES:
            raise ConfigurationError(f"the disk of {folder} is full; free a megabyte of it, then try again") from error
        file = app.config["EZSTEMS_DATABASE_URL"].render_as_string()
        why = " ".join(str(getattr(error, "orig", error)).split())
        raise ConfigurationError(f"the database {file} can't be opened or migrated: {why}") from error


def hold(folder: Path) -> None:
    """Refuse any other instance in this folder from now on, in forks too: what was moved away may come back."""
    _served[folder] = identity.folder_id(folder)


def _make_private(folder: Path) -> None:
    """Close the locks to the machine's other users, who could block a start with one, or pose as a worker.

    An earlier version, or a command of a lax umask, may have left them open.
    """
    (folder / "workers").mkdir(mode=0o700, exist_ok=True)
    (folder / ".lock").touch(0o600)
    for path in (folder / "workers", folder / ".lock"):
        if (mode := path.stat().st_mode) & 0o077:
            path.chmod(mode & 0o700)


def _require_instance(folder: Path) -> None:
    if not identity.database_exists():
        identity.require_match(folder)  # songs without their database are more than no instance
        where = f"there is no instance in {folder}: the database {database.url_to_show()} is not there, or empty"
        raise ConfigurationError(f"{where}; EZSTEMS_INSTANCE names the folder, a server's start fills it")


def _secret_key(location: Path) -> bytes:
    if not os.path.lexists(location):  # a link that leads nowhere is no reason for another key
        beside = location.with_suffix(".part")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.write(secrets.token_hex(32))
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(location)
    key = location.read_bytes()
    if len(key.strip()) < KEY_LEAST_BYTES:
        remedy = "restore it from a backup, or delete it for a new one, which ends every session of the website"
        raise ConfigurationError(f"{location} must hold {KEY_LEAST_BYTES} bytes or more: {remedy}")
    return key
