"""The instance folder: whatever it lacks is made, and the database migrated, before anything else looks at it."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from flask_migrate import upgrade

from ezstems.errors import ConfigurationError


def prepare(app: Flask) -> None:
    """Make the folder, the secret key and the tables; processes that start at once take turns."""
    folder = Path(app.instance_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _turn(folder / ".lock"):
            app.config["SECRET_KEY"] = _secret_key(folder / "secret_key")
            with app.app_context():
                upgrade()
    except PermissionError as error:
        raise ConfigurationError(f"the instance folder {folder} must be writable: {error.strerror}") from error


@contextmanager
def _turn(location: Path) -> Iterator[None]:
    with location.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


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
