"""`ezstems backup`: everything that can't be fetched again, in one file."""

import sqlite3
from pathlib import Path

import click
from flask import current_app
from sqlalchemy.exc import OperationalError

from ezstems import database
from ezstems.commands import stoppable, with_instance
from ezstems.database import db
from ezstems.instance import privileges
from ezstems.jobs import backup as backups


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@with_instance
def backup(file: Path) -> None:
    """Write the instance into FILE, a tar, whether the server runs or not; an older FILE is replaced in the end."""
    if url := current_app.config["EZSTEMS_STORAGE_URL"]:
        own = "use the bucket's versions, or a copy of it, and the database's own tools"
        raise click.ClickException(f"uploads and results are in {url}: {own}; see docs/scaling.md")
    if db.engine.dialect.name != "sqlite":
        raise click.ClickException(f"the database is {db.engine.dialect.name}; back it up with its own tools")
    folder, source = Path(current_app.instance_path), database.sqlite_file()
    try:
        with stoppable(), privileges.as_caller():  # FILE may lie where the caller alone may write
            min_free_bytes = current_app.config["EZSTEMS_MIN_FREE_MB"] << 20
            jobs, lacking = backups.write(file.resolve(), folder, min_free_bytes)
    except OSError as error:
        why = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
        raise click.ClickException(f"{file} could not be written: {why}") from error
    except sqlite3.Error as error:
        raise click.ClickException(f"{file} could not be written: {error}") from error
    except OperationalError as error:  # another process writes to the database all the time
        raise click.ClickException(f"{file} could not be written: {error.orig}") from error
    click.echo(f"{file}: {jobs} jobs with their files, {file.stat().st_size / 1e6:.1f} MB")
    if lacking:
        click.echo(f"{lacking} jobs have lost their files before; `ezstems restore` will ask for --incomplete")
    if source is not None and source.resolve().parent != folder.resolve():
        click.echo(f"the database {source} lies outside the instance folder; a copy of it is in the backup, and")
        click.echo("`ezstems restore` puts it into the restored folder")
