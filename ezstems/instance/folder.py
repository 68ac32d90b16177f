"""The instance folder: whatever it lacks is made, and the database migrated, before anything else looks at it.

Before that, folder and database are looked at, and refused untouched where they aren't one instance's.
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
from ezstems.audio.files import turn
from ezstems.errors import ConfigurationError
from ezstems.instance import identity

log = logging.getLogger(__name__)

KEY_LEAST_BYTES = 16  # ours has 64; an operator's own may be shorter
# The ids of the instances that this process serves, and those that it forks, by their folders.
_served: dict[Path, str | None] = {}


def prepare(app: Flask, *, make: bool = True, adopt: bool = False) -> None:
    """Make the folder, the secret key and the tables; processes that start at once take turns.

    Without `make`, what isn't there is refused instead. With `adopt`, folder and database are bound to each other,
    whatever they were bound to; otherwise those that aren't one instance's are refused, and nothing of them changes.
    """
    folder = Path(app.instance_path)
    make = make and folder not in _served
    try:
        if folder.exists():
            disk.give_up_reserve(folder)
        with app.app_context():
            if folder in _served and identity.of_folder(folder) != _served[folder]:
                gone = f"the instance that this server was started with is no longer in {folder}"
                raise ConfigurationError(f"{gone}: put it back, or restart the server")
            if not make:
                _require(folder)
            if not adopt:
                identity.require_own(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with turn(folder / ".lock"), app.app_context():
            if not adopt:
                identity.require_match(folder)
            _make_private(folder)
            disk.keep_reserve(folder)
            app.config["SECRET_KEY"] = _secret_key(folder / "secret_key")
            if (file := database.file()) and not file.exists():
                # Hashes of passwords and keys; SQLite gives its other files the same mode.
                os.close(os.open(file, os.O_CREAT, 0o600))
            try:
                upgrade()
            except SystemExit as error:  # how Flask-Migrate ends where a revision is unknown
                hint = "it is of a newer version of EzStems, or damaged; install that version, or restore a backup"
                raise ConfigurationError(f"the database can't be migrated: {hint}") from error
            database.current_watch().keep(folder / identity.FILE, identity.bind(folder, anew=adopt))
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


def serve(folder: Path) -> None:
    """Make, or take, no other instance in this one's place from now on, in forks too: it may come back."""
    _served[folder] = identity.of_folder(folder)


def _make_private(folder: Path) -> None:
    """Shut other users of the machine out of the locks: whoever holds one keeps starts waiting, or passes for a worker.

    An earlier version, or a command of a lax umask, may have left them open.
    """
    (folder / "workers").mkdir(mode=0o700, exist_ok=True)
    (folder / ".lock").touch(0o600)
    for path in (folder / "workers", folder / ".lock"):
        if (mode := path.stat().st_mode) & 0o077:
            path.chmod(mode & 0o700)


def _require(folder: Path) -> None:
    if not identity.is_there():
        identity.require_match(folder)  # songs without their database are more than no instance
        where = f"there is no instance in {folder}: the database {database.name()} is not there, or empty"
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
