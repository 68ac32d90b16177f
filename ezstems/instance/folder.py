"""Prepare the instance folder: make what it lacks and migrate its database, before anything else opens them.

Where the files (the folder's, or a store's) and the database aren't one instance's, both are refused and untouched.
"""

import logging
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path, PurePath

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy.exc import SQLAlchemyError

from ezstems import database, disk
from ezstems.errors import ConfigurationError, StorageAway
from ezstems.files import exclusive_lock
from ezstems.instance import identity
from ezstems.instance.home import FolderHome, Home, StoreHome
from ezstems.jobs import storage
from ezstems.jobs.bucket import Bucket

log = logging.getLogger(__name__)

KEY = PurePath("secret_key")
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
    storage.require(app)
    try:
        home, bucket = home_of(app), storage.bucket_of(app)
        if folder.exists():
            disk.release_reserve(folder)
        with app.app_context():
            if folder in _served and home.read_id() != _served[folder]:
                gone = f"the instance that this server was started with is no longer in {home.name}"
                raise ConfigurationError(f"{gone}: put it back, or restart the server")
            if not make:
                _require_instance(home)
            if not adopt:  # before anything is written; a folder's id is only known for sure with its lock, below
                (identity.require_match if bucket else identity.refuse_foreign_database)(home)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive_lock(folder / ".lock"), app.app_context():
            if not adopt:
                identity.require_match(home)
            _make_private(folder)
            disk.keep_reserve(folder)
            app.config["SECRET_KEY"] = _shared_key(bucket) if bucket else _secret_key(folder / "secret_key")
            if (file := database.sqlite_file()) and not file.exists():
                # Hashes of passwords and keys; SQLite gives its other files the same mode.
                os.close(os.open(file, os.O_CREAT, 0o600))
            _migrate(may_be_newer=folder in _served)
            id_file = None if bucket else folder / identity.ID_FILE
            database.current_watch().watch_id(id_file, identity.bind(home, anew=adopt))
    except StorageAway as error:
        raise storage.unusable(app, error) from error
    except OSError as error:
        where = f"{error.filename or folder}: {error.strerror}"
        raise ConfigurationError(f"the instance folder {folder} must be writable: {where}") from error
    except SQLAlchemyError as error:
        log.debug("the database can't be opened", exc_info=error)
        if folder.exists() and shutil.disk_usage(folder).free < disk.SCARCE_BYTES:
            raise ConfigurationError(f"the disk of {folder} is full; free a megabyte of it, then try again") from error
        file = app.config["EZSTEMS_DATABASE_URL"].set(query={}).render_as_string()
        why = " ".join(str(getattr(error, "orig", error)).split())
        raise ConfigurationError(f"the database {file} can't be opened or migrated: {why}") from error


def hold(app: Flask) -> None:
    """Refuse any other instance in its place from now on, in forks too: what was moved away may come back."""
    _served[Path(app.instance_path)] = home_of(app).read_id()


def home_of(app: Flask) -> Home:
    """Return where the files of an app's settings are."""
    bucket = storage.bucket_of(app)
    return StoreHome(bucket) if bucket else FolderHome(Path(app.instance_path))


def _migrate(*, may_be_newer: bool) -> None:
    """Migrate the database; one of a newer version is refused, except to a server that has started before it was.

    Else a box that still runs the older version would end as soon as one process of it is replaced.
    """
    try:
        upgrade()
    except SystemExit as error:  # how Flask-Migrate ends where a revision is unknown
        if may_be_newer:
            log.warning("the database was migrated by a newer version of EzStems; this server goes on until its end")
            return
        hint = "it is of a newer version of EzStems, or damaged; install that version, or restore a backup"
        raise ConfigurationError(f"the database can't be migrated: {hint}") from error


def _make_private(folder: Path) -> None:
    """Close the locks to the machine's other users, who could block a start with one, or pose as a worker.

    An earlier version, or a command of a lax umask, may have left them open.
    """
    (folder / "workers").mkdir(mode=0o700, exist_ok=True)
    (folder / ".lock").touch(0o600)
    for path in (folder / "workers", folder / ".lock"):
        if (mode := path.stat().st_mode) & 0o077:
            path.chmod(mode & 0o700)


def _require_instance(home: Home) -> None:
    if not identity.database_exists():
        identity.require_match(home)  # songs without their database are more than no instance
        where = f"there is no instance in {home.place}: the database {database.url_to_show()} is not there, or empty"
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
    return _long_enough(location.read_bytes(), str(location))


def _shared_key(bucket: Bucket) -> bytes:
    """Return the key that all boxes share; the first one makes it."""
    try:
        key = bucket.read(KEY)
    except FileNotFoundError:
        with suppress(FileExistsError):
            bucket.put(KEY, secrets.token_hex(32).encode(), create=True)
        key = bucket.read(KEY)
    return _long_enough(key, f"{KEY} in {bucket.url}")


def _long_enough(key: bytes, where: str) -> bytes:
    if len(key.strip()) < KEY_LEAST_BYTES:
        remedy = "restore it from a backup, or delete it for a new one, which ends every session of the website"
        raise ConfigurationError(f"{where} must hold {KEY_LEAST_BYTES} bytes or more: {remedy}")
    return key
