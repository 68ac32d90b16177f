"""`ezstems backup`: everything that can't be fetched again, in one file."""

import signal
import sqlite3
import sys
from pathlib import Path

import click
from flask import current_app
from sqlalchemy.exc import OperationalError

from ezstems.commands import with_app
from ezstems.database import db
from ezstems.jobs import backup as backups


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@with_app
def backup(file: Path) -> None:
    """Write the instance into FILE, a tar, whether the server runs or not; an older FILE is replaced in the end."""
    if db.engine.dialect.name != "sqlite":
        raise click.ClickException(f"the database is {db.engine.dialect.name}; back it up with its own tools")
    # A stop is no reason to leave half a backup behind.
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        min_free_bytes = current_app.config["EZSTEMS_MIN_FREE_MB"] << 20
        jobs = backups.write(file.resolve(), Path(current_app.instance_path), min_free_bytes)
    except OSError as error:
        raise click.ClickException(f"{file} could not be written: {error.strerror}") from error
    except sqlite3.Error as error:
        raise click.ClickException(f"{file} could not be written: {error}") from error
    except OperationalError as error:  # another process writes to the database all the time
        raise click.ClickException(f"{file} could not be written: {error.orig}") from error
    finally:
        signal.signal(signal.SIGTERM, before)
    click.echo(f"{file}: {jobs} jobs with their files, {file.stat().st_size / 1e6:.1f} MB")
